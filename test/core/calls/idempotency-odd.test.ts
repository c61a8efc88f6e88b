import { rmSync } from 'node:fs';
import { expect } from 'chai';
import { Call, defineService, GantryError, type Message, type Reply, Type } from '../../../core/api.ts';
import { operated } from '../../fixtures/operated.ts';
import { sharedKv } from '../../fixtures/shared-kv.ts';

type Server = Awaited<ReturnType<typeof operated>>;

describe('Idempotency-Key, against odd circumstances', function () {
  this.timeout(20_000);
  let store: ReturnType<typeof sharedKv>;
  let servers: Server[] = [];
  let entered = 0;
  let atOnce = 0;
  let most = 0;

  const slow = defineService({
    name: 'slow',
    input: Type.Unknown(),
    output: Type.Unknown(),
    create: () => async () => {
      entered++;
      most = Math.max(most, ++atOnce);
      await new Promise((go) => setTimeout(go, 600));
      atOnce--;
      return { entered };
    },
  });
  const refuses = defineService({
    name: 'refuses',
    input: Type.Unknown(),
    output: Type.Unknown(),
    create: () => () => {
      entered++;
      throw new GantryError('AUTH_MISSING', 'Log in', { challenge: 'Basic realm="x"' });
    },
  });
  const reserve = defineService({
    name: 'reserve',
    input: Type.Object({ sku: Type.String() }),
    output: Type.Unknown(),
    create:
      ({ effects }) =>
      async ({ sku }, call) => {
        const done = await effects?.once(call, async (run) => {
          await run('INSERT INTO reserved (sku) VALUES ($1)', [sku]);
          return { sku };
        });
        return done?.value;
      },
  });
  const order = defineService({
    name: 'order',
    input: Type.Object({ lines: Type.Array(Type.String()) }),
    output: Type.Unknown(),
    create:
      () =>
      async ({ lines }, call) => {
        const all: unknown[] = [];
        for (const sku of lines) all.push(await call.invoke('reserve', { sku }));
        return all;
      },
  });

  async function start(more: Record<string, object> = {}): Promise<Server> {
    const kv = { id: 'kv.memory', plugin: store.plugin, config: {} };
    const server = await operated({ more: [kv] });
    servers.push(server);
    server.kernel.deploy([slow, refuses, reserve, order]);
    const bound = (name: string) => ({
      ...{ name, transport: 'topics', address: { topic: name }, service: name },
      ...more[name],
    });
    await server.kernel.start({ channels: ['slow', 'refuses', 'reserve', 'order'].map(bound) } as never);
    return server;
  }
  async function send(server: Server, topic: string, key: string | null, body: unknown = {}, before = (_: Call) => {}) {
    const channel = server.bound.get(topic);
    if (channel === undefined) throw new Error('no channel');
    const headers = key === null ? {} : { 'idempotency-key': key };
    const call = new Call(channel.name, { body: JSON.stringify(body), headers, method: 'POST' } as Message);
    before(call);
    const reply: Reply = await channel.run(call);
    return {
      call,
      reply,
      code: reply.error?.code ?? 'ok',
      body: reply.error === null ? JSON.parse(String(reply.body)) : null,
    };
  }

  beforeEach(async () => {
    entered = atOnce = most = 0;
    store = sharedKv();
    await store.start();
  });
  afterEach(async () => {
    for (const { kernel, data } of servers.reverse()) {
      await kernel.stop();
      rmSync(data, { recursive: true, force: true });
    }
    servers = [];
    await store.stop();
  });
  const count = async (server: Server) => {
    const { odb } = server.kernel.cradle as unknown as {
      odb: {
        once(
          key: string,
          work: (run: (sql: string) => Promise<{ rows: unknown[] }>) => Promise<unknown>,
        ): Promise<{ value: unknown }>;
      };
    };
    const done = await odb.once(
      `count${Math.random()}`,
      async (run) => (await run('SELECT sku FROM reserved ORDER BY sku')).rows,
    );
    return (done.value as { sku: string }[]).map(({ sku }) => sku);
  };
  const table = async (server: Server) => {
    const { odb } = server.kernel.cradle as unknown as {
      odb: { once(key: string, work: (run: (sql: string) => Promise<unknown>) => Promise<unknown>): Promise<unknown> };
    };
    await odb.once('table', async (run) => {
      await run('CREATE TABLE reserved (sku TEXT)');
    });
  };

  it('a repeat after a timeout does not run beside the handler that still does', async () => {
    const server = await start({ slow: { timeoutMs: 200 } });
    const first = await send(server, 'slow', 'k');
    expect(first.code).to.equal('CALL_TIMEOUT');
    await send(server, 'slow', 'k');
    await new Promise((go) => setTimeout(go, 700));
    expect({ entered, most }).to.deep.equal({ entered: 1, most: 1 });
  });

  it('a refusal is given again with its challenge', async () => {
    const server = await start();
    const first = await send(server, 'refuses', 'k');
    const again = await send(server, 'refuses', 'k');
    expect(entered).to.equal(1);
    expect(again.reply.error?.challenge).to.equal(first.reply.error?.challenge);
  });

  it('a service that another one invokes for each line has an effect for each', async () => {
    const server = await start();
    await table(server);
    const told = await send(server, 'order', 'k', { lines: ['tea', 'milk', 'sugar'] });
    expect(await count(server), JSON.stringify(told.body)).to.deep.equal(['milk', 'sugar', 'tea']);
  });

  it('another call under an old key has an effect of its own, or is refused, and not the answer of the first', async () => {
    // keepMs is over, or the store lost it; keys of effects are kept for 35 days.
    const server = await start({ reserve: { idempotency: { keepMs: 1000 } } });
    await table(server);
    await send(server, 'reserve', 'k', { sku: 'tea' });
    await new Promise((go) => setTimeout(go, 1200));
    const other = await send(server, 'reserve', 'k', { sku: 'coffee' });
    const rows = await count(server);
    expect(other.code === 'ok' ? rows : ['coffee', 'tea'], JSON.stringify(other.body)).to.deep.equal(['coffee', 'tea']);
  });

  it('a channel that ignores the header ignores it', async () => {
    const server = await start({ reserve: { idempotency: { active: false } } });
    await table(server);
    await send(server, 'reserve', 'k', { sku: 'tea' });
    const other = await send(server, 'reserve', 'k', { sku: 'coffee' });
    expect(await count(server), `${other.code} ${JSON.stringify(other.body)}`).to.deep.equal(['coffee', 'tea']);
  });

  it('a tap that looks at the key before the caller is known does not mix callers', () => {
    const mine = (who: string) => {
      const call = new Call('c', { headers: { 'idempotency-key': 'k' }, method: 'POST' });
      void call.idempotencyKey;
      call.identity = { name: who, roles: [] };
      return call.idempotencyKey;
    };
    expect(mine('ann')).not.to.equal(mine('bob'));
  });

  it('a call whose caller is gone is not begun after a wait', async () => {
    const server = await start();
    const first = send(server, 'slow', 'k');
    await new Promise((go) => setTimeout(go, 100));
    let gone: Call | undefined;
    const second = send(server, 'slow', 'k', {}, (call) => {
      gone = call;
    });
    await new Promise((go) => setTimeout(go, 60));
    // The first one's server dies: nobody holds the mark any more.
    gone?.abort(new GantryError('CALL_ABORTED', 'gone'));
    const key = (gone as Call).idempotencyKey;
    await store.kv.remove(`idempotency:${key}`);
    expect((await second).code).to.equal('CALL_ABORTED');
    await first;
    expect(entered).to.equal(1);
  });

  it('a result is kept where the store was away for a while in the middle of the call', async () => {
    const server = await start({ slow: { idempotency: { leaseMs: 300 } } });
    const first = send(server, 'slow', 'k');
    await new Promise((go) => setTimeout(go, 50));
    store.state.away = true;
    await new Promise((go) => setTimeout(go, 400));
    store.state.away = false;
    expect((await first).code).to.equal('ok');
    expect((await send(server, 'slow', 'k')).body).to.deep.equal({ entered: 1 });
  });

  it('two callers of one name who came by different guards do not meet', async () => {
    const { kernel } = await start();
    void kernel;
    const mine = (security: string) => {
      const call = new Call('c', { headers: { 'idempotency-key': 'k' }, method: 'POST' });
      call.identity = { name: 'bob', roles: [] };
      call.security = security;
      return call.idempotencyKey;
    };
    expect(mine('people')).not.to.equal(mine('machines'));
  });

  it('two effects of one handler need labels, and one that failed may be tried again', async () => {
    const server = await start();
    await table(server);
    const twice = defineService({
      name: 'twice',
      input: Type.Object({ labels: Type.Array(Type.String()) }),
      output: Type.Unknown(),
      create:
        ({ effects }) =>
        async ({ labels }, call) => {
          for (const label of labels) {
            const write = async (fail: boolean) =>
              effects?.once(
                call,
                async (run) => {
                  await run('INSERT INTO reserved (sku) VALUES ($1)', [label]);
                  if (fail) throw new Error('undone');
                },
                label,
              );
            await write(true).catch(() => {});
            await write(false);
          }
        },
    });
    server.kernel.deploy([twice]);
    const channel = { name: 't', transport: 'topics', address: { topic: 't' }, service: 'twice' };
    await server.records.create('channel', channel, { name: 'tester' });
    const same = await send(server, 't', 'k1', { labels: ['a', 'a'] });
    expect(same.code).to.equal('INVALID');
    expect(same.reply.error?.hint).to.include('label');
    for (let i = 0; i < 2; i++) await send(server, 't', `k2${i}`, { labels: ['b', 'c'] });
    expect(await count(server)).to.deep.equal(['a', 'b', 'b', 'c', 'c']);
  });
});
