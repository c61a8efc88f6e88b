import { rmSync } from 'node:fs';
import { expect } from 'chai';
import { Call, defineService, GantryError, type Message, type Reply, Type } from '../../../core/api.ts';
import { BY, operated } from '../../fixtures/operated.ts';
import { sharedKv } from '../../fixtures/shared-kv.ts';

type Server = Awaited<ReturnType<typeof operated>>;

describe('Idempotency-Key', function () {
  this.timeout(20_000);
  let store: ReturnType<typeof sharedKv>;
  let servers: Server[] = [];
  /** How often the handler was entered, and what it waits for. */
  let entered: { input: unknown; key: string | null; child: string | null }[] = [];
  let gate: Promise<unknown> | null = null;

  const counter = defineService({
    name: 'counter',
    input: Type.Object({ n: Type.Number(), fail: Type.Optional(Type.String()), big: Type.Optional(Type.Number()) }),
    output: Type.Unknown(),
    errors: { SOLD_OUT: { kind: 'conflict' } },
    create:
      ({ errors }) =>
      async (input, call) => {
        const at = entered.push({ input, key: call.idempotencyKey, child: call.child().idempotencyKey });
        await gate;
        call.reply.status = 201;
        call.reply.headers = { 'x-at': String(at) };
        if (input.fail === 'conflict') throw errors.SOLD_OUT('Nothing is left');
        if (input.fail === 'busy') throw new GantryError('BUSY', 'Later');
        if (input.fail === 'bug') throw new Error('a bug');
        return input.big === undefined ? { at } : { at, text: 'x'.repeat(input.big) };
      },
  });
  const raw = defineService({
    name: 'raw',
    input: Type.Unsafe<Uint8Array>({ content: 'bytes' }),
    output: Type.Unsafe<Uint8Array>({ content: 'bytes' }),
    create: () => (input) => {
      entered.push({ input: Buffer.from(input).toString('hex'), key: null, child: null });
      return Buffer.concat([Buffer.from([0, 255]), input]);
    },
  });
  const writer = defineService({
    name: 'writer',
    input: Type.Object({ id: Type.String(), fail: Type.Optional(Type.Boolean()) }),
    output: Type.Unknown(),
    create:
      ({ effects }) =>
      async ({ id, fail = false }, call) => {
        entered.push({ input: id, key: call.idempotencyKey, child: null });
        const done = await effects?.once(call, async (run) => {
          await run('INSERT INTO effect_of_test (id) VALUES ($1)', [id]);
          if (fail) throw new Error('after the effect');
          return { id };
        });
        return done;
      },
  });

  async function start(
    options: Parameters<typeof operated>[0] = {},
    more: Record<string, object> = {},
  ): Promise<Server> {
    const kv = { id: 'kv.memory', plugin: store.plugin, config: {} };
    const server = await operated({ ...options, more: [kv] });
    servers.push(server);
    server.kernel.deploy([counter, raw, writer]);
    const bound = (name: string, service = name) => ({
      ...{ name, transport: 'topics', address: { topic: name }, service },
      ...more[name],
    });
    const channels = [bound('counter'), bound('other', 'counter'), bound('raw'), bound('writer')];
    await server.kernel.start({ channels } as never);
    return server;
  }
  const send = async (
    server: Server,
    input: unknown,
    key: string | null,
    more: Partial<Message> & { to?: string } = {},
  ) => {
    const { to = 'counter', ...rest } = more;
    const channel = server.bound.get(to);
    if (channel === undefined) throw new Error(`nobody at ${to}`);
    const body = input instanceof Uint8Array ? input : JSON.stringify(input);
    const headers = key === null ? {} : { 'idempotency-key': key };
    const call = new Call(channel.name, { body, method: 'POST', path: '/x', headers, ...rest });
    const reply = await channel.run(call);
    return { ...told(reply), notes: call.notes, call };
  };
  const told = ({ error, body }: Reply) => ({
    code: error?.code ?? 'ok',
    message: error?.message,
    body: typeof body === 'string' ? JSON.parse(body) : body,
  });

  beforeEach(async () => {
    store = sharedKv();
    await store.start();
    entered = [];
    gate = null;
  });
  afterEach(async () => {
    for (const { kernel, data } of servers.reverse()) {
      await kernel.stop();
      rmSync(data, { recursive: true, force: true });
    }
    servers = [];
    await store.stop();
  });

  it('gives repeats the first result, with its status and headers, on every server', async () => {
    const [one, other] = [await start(), await start()];
    const first = await send(one, { n: 1 }, 'a-key');
    expect(first.body).to.deep.equal({ at: 1 });
    for (const server of [one, other]) {
      const again = await send(server, { n: 1 }, '"a-key"');
      expect(again).to.include({ code: 'ok' });
      expect(again.body).to.deep.equal({ at: 1 });
      expect(again.notes).to.deep.equal({ status: 201, headers: { 'x-at': '1', 'idempotency-replayed': 'true' } });
    }
    expect(entered).to.have.lengthOf(1);
  });

  it('is a key of its own for each caller, channel and text, the same in what the call invokes', async () => {
    const server = await start();
    await send(server, { n: 1 }, 'a');
    await send(server, { n: 1 }, 'b');
    await send(server, { n: 1 }, 'a', { to: 'other' });
    expect(entered).to.have.lengthOf(3);
    expect(new Set(entered.map(({ key }) => key)).size).to.equal(3);
    for (const { key, child } of entered)
      expect(key)
        .to.match(/^[0-9a-f]{64}$/)
        .and.equal(child);
  });

  it('is nothing to calls without one, and to calls that change nothing', async () => {
    const server = await start();
    for (let i = 0; i < 2; i++) await send(server, { n: 1 }, null);
    for (let i = 0; i < 2; i++) await send(server, { n: 1 }, 'a', { method: 'GET' });
    expect(entered.map(({ key }) => key)).to.deep.equal([null, null, null, null]);
    expect(store.state.asked).to.equal(0);
  });

  it('refuses another body, query or path under the same key', async () => {
    const server = await start();
    await send(server, { n: 1 }, 'a');
    for (const other of [await send(server, { n: 2 }, 'a'), await send(server, { n: 1 }, 'a', { query: { x: '1' } })]) {
      expect(other.code).to.equal('IDEMPOTENCY_KEY_REUSED');
    }
    expect(await send(server, { n: 1 }, 'a')).to.include({ code: 'ok' });
    expect(entered).to.have.lengthOf(1);
  });

  for (const key of ['', ' ', 'ä', 'x'.repeat(256), 'a\u0007']) {
    it(`refuses what is no key: ${JSON.stringify(key.slice(0, 5))}`, async () => {
      const server = await start();
      expect((await send(server, { n: 1 }, key)).code).to.equal('INPUT_INVALID');
      expect(entered).to.deep.equal([]);
    });
  }

  it('lets a repeat of a call in hand wait for its result, on every server', async () => {
    const [one, other] = [await start(), await start()];
    let open = () => {};
    gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const first = send(one, { n: 1 }, 'a');
    const repeats = [send(one, { n: 1 }, 'a'), send(other, { n: 1 }, 'a'), send(other, { n: 1 }, 'a')];
    const mismatch = await send(other, { n: 2 }, 'a');
    expect(mismatch.code).to.equal('IDEMPOTENCY_KEY_REUSED');
    open();
    for (const reply of await Promise.all([first, ...repeats])) expect(reply.body).to.deep.equal({ at: 1 });
    expect(entered).to.have.lengthOf(1);
  });

  it('holds the lease of a call that runs for longer than it', async () => {
    const short = { counter: { idempotency: { leaseMs: 300 } } };
    const [one, other] = [await start({}, short), await start({}, short)];
    gate = new Promise((resolve) => setTimeout(resolve, 1500));
    const both = await Promise.all([send(one, { n: 1 }, 'a'), send(other, { n: 1 }, 'a')]);
    expect(both.map(({ body }) => body)).to.deep.equal([{ at: 1 }, { at: 1 }]);
    expect(entered).to.have.lengthOf(1);
  });

  it('runs again what a server had in hand that died, once its lease is over; the late one keeps nothing', async () => {
    const short = { counter: { idempotency: { leaseMs: 300 } } };
    const [dead, alive] = [await start({}, short), await start({}, short)];
    let thaw = () => {};
    gate = new Promise<void>((resolve) => {
      thaw = resolve;
    });
    const lost = send(dead, { n: 1 }, 'a');
    while (entered.length === 0) await new Promise((go) => setTimeout(go, 5));
    const { idempotencyKey } = (await probe(dead)).call;
    expect(idempotencyKey).to.be.a('string');
    // The lease that nobody renews any more: as the store has it when it is over.
    const { keys } = await store.kv.list('idempotency:');
    await store.kv.remove(...keys);
    gate = null;
    const again = await send(alive, { n: 1 }, 'a');
    expect(again.body).to.deep.equal({ at: 2 });
    thaw();
    await lost;
    expect((await send(alive, { n: 1 }, 'a')).body, 'the result that is kept').to.deep.equal({ at: 2 });
    expect(entered).to.have.lengthOf(2);

    async function probe(server: Server) {
      const channel = server.bound.get('counter');
      return { call: new Call(channel?.name ?? '', { method: 'POST', headers: { 'idempotency-key': 'a' } }) };
    }
  });

  it('keeps a refusal of the service, and neither what may pass nor a bug', async () => {
    const server = await start();
    for (const fail of ['conflict', 'busy', 'bug']) {
      entered = [];
      const replies = [await send(server, { n: 1, fail }, fail), await send(server, { n: 1, fail }, fail)];
      const [first, again] = replies.map(({ code, message }) => ({ code, message }));
      expect(again).to.deep.equal(first);
      expect(entered, fail).to.have.lengthOf(fail === 'conflict' ? 1 : 2);
    }
  });

  it('keeps bytes as they are; a result that is too large is not given again, and the call is not run again', async () => {
    const server = await start();
    const bytes = Buffer.from([1, 2, 0, 254]);
    for (let i = 0; i < 2; i++) {
      const { body } = await send(server, bytes, 'a', { to: 'raw' });
      expect(Buffer.from(body as Uint8Array).toString('hex')).to.equal('00ff010200fe');
    }
    expect(entered).to.have.lengthOf(1);
    expect((await send(server, Buffer.from([9]), 'a', { to: 'raw' })).code).to.equal('IDEMPOTENCY_KEY_REUSED');
    expect((await send(server, { n: 1, big: 600_000 }, 'big')).code).to.equal('ok');
    expect((await send(server, { n: 1, big: 600_000 }, 'big')).code).to.equal('IDEMPOTENCY_RESULT_GONE');
    expect(entered).to.have.lengthOf(2);
  });

  it('is forgotten after its time', async () => {
    const server = await start({}, { counter: { idempotency: { keepMs: 1000 } } });
    await send(server, { n: 1 }, 'a');
    await send(server, { n: 1 }, 'a');
    expect(entered).to.have.lengthOf(1);
    await new Promise((go) => setTimeout(go, 1100));
    await send(server, { n: 1 }, 'a');
    expect(entered).to.have.lengthOf(2);
  });

  it('can be asked for, and switched off', async () => {
    const server = await start(
      {},
      { counter: { idempotency: { required: true } }, other: { idempotency: { active: false } } },
    );
    expect((await send(server, { n: 1 }, null)).code).to.equal('IDEMPOTENCY_KEY_MISSING');
    expect((await send(server, { n: 1 }, null, { method: 'GET' })).code).to.equal('ok');
    for (let i = 0; i < 2; i++) await send(server, { n: 1 }, 'a', { to: 'other' });
    expect(entered).to.have.lengthOf(3);
  });

  it('is not noticed while the store is away, which is told once; or such calls are refused', async () => {
    const server = await start({}, { other: { idempotency: { withoutStore: 'refuse' } } });
    store.state.away = true;
    for (let i = 0; i < 3; i++) expect((await send(server, { n: 1 }, 'a')).code).to.equal('ok');
    expect((await send(server, { n: 1 }, 'a', { to: 'other' })).code).to.equal('KV_UNAVAILABLE');
    expect((await send(server, { n: 1 }, null, { to: 'other' })).code).to.equal('ok');
    const away = server.lines.filter(({ level, msg }) => level === 'warn' && msg.includes('idempotency keys is away'));
    expect(away).to.have.lengthOf(1);
    expect(entered).to.have.lengthOf(4);
    store.state.away = false;
    for (let i = 0; i < 2; i++) await send(server, { n: 1 }, 'b');
    expect(entered).to.have.lengthOf(5);
    expect(server.lines.some(({ msg }) => msg.includes('is back'))).to.equal(true);
  });

  it('that is lost in the middle does not spoil the answer', async () => {
    const server = await start();
    let open = () => {};
    gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const first = send(server, { n: 1 }, 'a');
    while (entered.length === 0) await new Promise((go) => setTimeout(go, 5));
    store.state.away = true;
    open();
    expect((await first).body).to.deep.equal({ at: 1 });
  });

  describe('with effects', () => {
    const rows = async (server: Server) => {
      const { value } = await server.kernel.cradle.odb.once(`look ${Math.random()}`, async (run) => {
        return (await run('SELECT id FROM effect_of_test ORDER BY id')).rows.map(({ id }) => id);
      });
      return value;
    };
    const prepare = async (server: Server) => {
      await server.kernel.cradle.odb.once('table', async (run) => {
        await run('CREATE TABLE effect_of_test (id VARCHAR(50) NOT NULL)');
      });
    };

    it('each effect is there once, however often the handler is entered', async () => {
      const server = await start();
      await prepare(server);
      // Without the store every repeat enters the handler: the effect is what stays single.
      store.state.away = true;
      const all = await Promise.all([1, 2, 3, 4, 5].map(() => send(server, { id: 'x' }, 'k', { to: 'writer' })));
      expect(all.filter(({ body }) => body.first)).to.have.lengthOf(1);
      for (const { body } of all) expect(body.value).to.deep.equal({ id: 'x' });
      expect(entered).to.have.lengthOf(5);
      expect(await rows(server)).to.deep.equal(['x']);
    });

    it('one that failed leaves nothing, and is made by a repeat', async () => {
      const server = await start();
      await prepare(server);
      expect((await send(server, { id: 'x', fail: true }, 'k', { to: 'writer' })).code).to.equal('SERVICE_FAILED');
      expect(await rows(server)).to.deep.equal([]);
      expect((await send(server, { id: 'x' }, 'k', { to: 'writer' })).body).to.include({ first: true });
      expect(await rows(server)).to.deep.equal(['x']);
    });

    it('a call without a key has one transaction, and another effect each time', async () => {
      const server = await start();
      await prepare(server);
      for (let i = 0; i < 2; i++) await send(server, { id: 'x' }, null, { to: 'writer' });
      await send(server, { id: 'y', fail: true }, null, { to: 'writer' });
      expect(await rows(server)).to.deep.equal(['x', 'x']);
    });
  });

  it('is a setting of a channel record, checked like the others', async () => {
    const server = await start();
    const channel = { name: 'c', transport: 'topics', address: { topic: 'c' }, service: 'counter' };
    const wrong = { ...channel, idempotency: { leaseMs: 5 } };
    const refused = await server.records.create('channel', wrong, BY).catch((error: GantryError) => error);
    expect((refused as GantryError).problems?.[0]).to.include({ path: '/idempotency/leaseMs' });
    await server.records.create('channel', { ...channel, idempotency: { required: true } }, BY);
    expect((await send(server, { n: 1 }, null, { to: 'c' })).code).to.equal('IDEMPOTENCY_KEY_MISSING');
  });
});
