/** The contract kit of the balancer port: every promise of core/ports/balancer.ts. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { Agent, createServer, type IncomingMessage, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import type { Plugin } from '../../core/cradle.ts';
import { type GantryError, isGantryError } from '../../core/errors.ts';
import { Logs } from '../../core/log/log.ts';
import type { BalancedServer, Balancer, BalancerSettings, BalancerState } from '../../core/ports/balancer.ts';
import { Process } from '../../core/process.ts';

export interface BalancerKit {
  readonly plugin: Plugin;
  readonly config?: Readonly<Record<string, unknown>>;
  /** Settings that the schema takes and the program does not. */
  refused(settings: BalancerSettings): BalancerSettings;
  /** Told each process id that the program has: what is left of it when the tests are killed is to be ended. */
  watch?(pid: number, folder: string): void;
  /** How long anything may take. Default: 10 s. */
  readonly withinMs?: number;
}

/** Settings as the schema fills them in, checked as often as a test can wait for. */
export function balancerSettings(port: number, more: Partial<BalancerSettings> = {}): BalancerSettings {
  return {
    binds: [{ host: '127.0.0.1', port }],
    algorithm: 'roundrobin',
    timeouts: {
      ...{ connectMs: 2000, serverMs: 30_000, clientMs: 30_000, requestMs: 10_000 },
      ...{ keepAliveMs: 30_000, queueMs: 5000, tunnelMs: 60_000 },
    },
    maxConnections: 500,
    check: { path: '/gantry/ping', everyMs: 200, fall: 2, rise: 2, slowStartMs: 0 },
    retries: 3,
    repeatableBytes: 65_536,
    log: { to: 'stdout', level: 'notice' },
    tcp: [],
    ...more,
  };
}

/** A server of HTTP that says its name, and how it is. */
interface Backend {
  readonly name: string;
  readonly port: number;
  isWell: boolean;
  calls: number;
  close(): Promise<void>;
}

const HOSTILE = 'Grüße "1"; show info\n\tserver x 1.2.3.4:5 {{servers}} \'; $PATH # \\ \u{1f511}';

export function testBalancer({ plugin, config = {}, refused, watch, withinMs = 10_000 }: BalancerKit): void {
  let folder: string;
  const lines: string[] = [];
  const backends: Backend[] = [];
  let kernel: Process;
  let balancer: Balancer;
  let settings: BalancerSettings;
  let agent: Agent;

  const begin = async (): Promise<void> => {
    const logs = new Logs({ level: 'debug', to: { write: (line) => void lines.push(line) } });
    kernel = new Process({ logs, data: folder });
    await kernel.create([{ id: plugin.id, plugin, config: structuredClone(config) }]).start();
    ({ balancer } = kernel.cradle);
  };
  const apply = async (state: BalancerState) => {
    const change = await balancer.apply(state);
    const { pid } = await balancer.status();
    if (pid !== null) watch?.(pid, folder);
    return change;
  };
  const of = (...servers: readonly BalancedServer[]): BalancerState => ({ settings, servers });
  const as = (backend: Backend, more: Partial<BalancedServer> = {}): BalancedServer => ({
    ...{ name: backend.name, host: '127.0.0.1', port: backend.port, weight: 100, state: 'online' },
    ...more,
  });
  const ask = () => call(settings.binds[0]?.port as number, agent);
  const until = async (what: string, isSo: () => Promise<boolean>): Promise<void> => {
    const late = Date.now() + withinMs;
    while (!(await isSo())) {
      if (Date.now() > late) throw new Error(`not so in ${withinMs} ms: ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  /** Waits until all that are online get calls. */
  const settled = () =>
    until('all that are online are up', async () =>
      (await balancer.status()).servers.every(({ state, up }) => state !== 'online' || up),
    );
  /** Who answers that many calls, and how often. */
  const spread = async (calls: number): Promise<Record<string, number>> => {
    const counts: Record<string, number> = {};
    for (let i = 0; i < calls; i++) {
      const { status, body } = await ask();
      const name = status === 200 ? body : String(status);
      counts[name] = (counts[name] ?? 0) + 1;
    }
    return counts;
  };
  const two = async () => {
    const [one, other] = backends as [Backend, Backend];
    await apply(of(as(one), as(other)));
    await settled();
    return [one, other] as const;
  };

  before(async function () {
    this.timeout(60_000);
    folder = mkdtempSync(path.join(tmpdir(), 'gantry-balancer-'));
    for (const name of ['one', 'other', HOSTILE]) backends.push(await backend(name));
    agent = new Agent({ keepAlive: true, maxSockets: 1 });
    settings = balancerSettings(await freePort());
    await begin();
  });
  after(async function () {
    this.timeout(60_000);
    agent.destroy();
    await balancer?.halt();
    await kernel?.stop();
    await Promise.all(backends.map((one) => one.close()));
    rmSync(folder, { recursive: true, force: true });
  });

  it('before anything was applied: it does not run, and says so', async () => {
    const status = await balancer.status();
    expect(status).to.include({ running: false, halted: false, pid: null, reloads: 0, crashes: 0 });
    expect(status.servers).to.deep.equal([]);
    const asking = [
      () => balancer.show('info'),
      () => balancer.reload(),
      () => balancer.source(),
      () => balancer.launch(),
    ];
    for (const asked of asking) {
      expect(await refusal(asked())).to.include({ code: 'BALANCER_FAILED', kind: 'unavailable' });
    }
  });

  it('check and source of a state start nothing and change nothing', async () => {
    const [one] = backends as [Backend];
    expect(await balancer.check(of(as(one)))).to.deep.equal([]);
    expect(await balancer.source(of(as(one)))).to.include(String(one.port));
    expect(await balancer.status()).to.include({ running: false });
  });

  it('apply starts it; the same again is nothing', async () => {
    const [one, other] = backends as [Backend, Backend];
    expect(await apply(of(as(one), as(other)))).to.include({ how: 'start' });
    await settled();
    expect(await apply(of(as(one), as(other)))).to.deep.equal({ how: 'none', steps: [] });
    const status = await balancer.status();
    expect(status).to.include({ running: true, halted: false, crashes: 0 });
    expect(status.pid).to.be.a('number');
    expect(status.version).to.be.a('string').that.is.not.empty;
    expect(new Date(String(status.startedAt)).getTime()).to.be.closeTo(Date.now(), 60_000);
    expect(await spread(10)).to.have.all.keys('one', 'other');
  });

  it('servers come, drain, go offline and go, and none of it takes a reload', async () => {
    const [one, other] = await two();
    const { reloads } = await balancer.status();
    const third = backends[2] as Backend;
    const change = await apply(of(as(one), as(other), as(third)));
    expect(change.how).to.equal('runtime');
    expect(change.steps).to.have.lengthOf.above(0);
    await settled();
    expect(await spread(12)).to.have.all.keys('one', 'other', HOSTILE);

    await apply(of(as(one, { state: 'draining' }), as(other), as(third)));
    expect(await spread(12)).to.have.all.keys('other', HOSTILE);
    await apply(of(as(one), as(other, { state: 'offline' }), as(third)));
    expect(await spread(12)).to.not.have.property('other');
    await apply(of(as(one), as(third)));
    await settled();
    expect(await spread(12)).to.have.all.keys('one', HOSTILE);
    expect((await balancer.status()).reloads).to.equal(reloads);
  });

  it('weights are shares', async () => {
    const [one, other] = await two();
    await apply(of(as(one, { weight: 150 }), as(other, { weight: 50 })));
    const { one: ones = 0, other: others = 0 } = await spread(80);
    expect(ones + others).to.equal(80);
    expect(ones).to.be.within(50, 70);
    await apply(of(as(one, { weight: 0 }), as(other)));
    expect(await spread(10)).to.deep.equal({ other: 10 });
  });

  it('who is not well gets nothing; who is again, does', async () => {
    const [one, other] = await two();
    one.isWell = false;
    const isUp = async (name: string) => (await balancer.status()).servers.find((s) => s.name === name)?.up === true;
    await until('it is seen', async () => !(await isUp('one')));
    expect(await spread(10)).to.deep.equal({ other: 10 });
    other.isWell = false;
    await until('it is seen', async () => !(await isUp('other')));
    const { status } = await ask();
    expect(status).to.equal(503);
    one.isWell = true;
    other.isWell = true;
    await until('they are back', async () => (await isUp('one')) && (await isUp('other')));
    expect(await spread(10)).to.have.all.keys('one', 'other');
  });

  it('status tells of each server by its own name', async () => {
    const [one] = backends as [Backend];
    const third = backends[2] as Backend;
    await apply(of(as(one, { state: 'draining', weight: 70 }), as(third)));
    await settled();
    await spread(5);
    const { servers } = await balancer.status();
    expect(servers.map(({ name }) => name)).to.deep.equal(['one', HOSTILE]);
    expect(servers[0]).to.include({ state: 'draining', up: false, weight: 70, address: `127.0.0.1:${one.port}` });
    expect(servers[1]).to.include({ state: 'online', up: true, weight: 100, sessions: 0, queued: 0, errors: 0 });
    expect(servers[1]?.calls).to.be.at.least(5);
    expect(servers[1]?.check).to.be.a('string').that.is.not.empty;
  });

  it('what the program refuses is told, and what ran before goes on', async () => {
    const [one, other] = await two();
    const { pid } = await balancer.status();
    const before = await balancer.source();
    const bad: BalancerState = { settings: refused(settings), servers: [as(one)] };
    const problems = await balancer.check(bad);
    expect(problems).to.have.lengthOf.above(0);
    for (const { path: at, message } of problems) {
      expect(at).to.match(/^\//);
      expect(message).to.not.equal('');
    }
    const error = await refusal(balancer.apply(bad));
    expect(error).to.include({ code: 'BALANCER_REFUSED', kind: 'invalid' });
    expect(error.problems).to.deep.equal(problems);
    expect(await balancer.source()).to.equal(before);
    expect((await balancer.status()).pid).to.equal(pid);
    expect(await spread(10)).to.have.all.keys(one.name, other.name);
    expect(await apply(of(as(one), as(other)))).to.deep.equal({ how: 'none', steps: [] });
  });

  it('takes states one at a time, in order', async () => {
    const [one, other] = await two();
    const states = [
      of(as(one)),
      of(as(one), as(other)),
      of(as(other, { weight: 7 })),
      of(as(one), as(other, { weight: 9 })),
    ];
    await Promise.all(states.map((state) => balancer.apply(state)));
    const { servers } = await balancer.status();
    expect(servers.map(({ name, weight }) => [name, weight])).to.deep.equal([
      ['one', 100],
      ['other', 9],
    ]);
    expect(await balancer.apply(states[3] as BalancerState)).to.include({ how: 'none' });
  });

  it('other settings and a reload lose no call', async () => {
    const [one, other] = await two();
    const { reloads } = await balancer.status();
    let isOver = false;
    const callers = Array.from({ length: 8 }, async () => {
      const own = new Agent({ keepAlive: true, maxSockets: 1 });
      const statuses: number[] = [];
      while (!isOver) statuses.push((await call(settings.binds[0]?.port as number, own)).status);
      own.destroy();
      return statuses;
    });
    const other100 = { ...settings, timeouts: { ...settings.timeouts, queueMs: 4000 } };
    expect(await balancer.apply({ settings: other100, servers: [as(one), as(other)] })).to.include({ how: 'reload' });
    await balancer.reload();
    await balancer.apply(of(as(one), as(other)));
    isOver = true;
    const statuses = (await Promise.all(callers)).flat();
    expect(statuses.length).to.be.above(8);
    expect([...new Set(statuses)]).to.deep.equal([200]);
    expect((await balancer.status()).reloads).to.equal(reloads + 3);
  });

  it('answers its own questions, as text', async () => {
    await two();
    for (const what of ['info', 'stat', 'sess', 'errors'] as const) {
      expect(await balancer.show(what), what).to.be.a('string').that.is.not.empty;
    }
  });

  it('goes on without us; the next one of us finds it, and changes nothing', async () => {
    const [one, other] = await two();
    const { pid, startedAt, reloads } = await balancer.status();
    await kernel.stop();
    expect(await spread(4)).to.have.all.keys('one', 'other');
    expect(await refusal(balancer.status())).to.include({ code: 'BALANCER_FAILED' });
    await begin();
    expect(await balancer.status()).to.include({ running: true, pid, startedAt, reloads });
    expect(await apply(of(as(one), as(other)))).to.deep.equal({ how: 'none', steps: [] });
  });

  it('halted, it stays so until it is launched', async () => {
    const [one, other] = await two();
    await balancer.halt();
    await balancer.halt();
    expect(await balancer.status()).to.include({ running: false, halted: true, pid: null });
    expect((await ask().catch(() => null)) === null, 'nobody listens').to.equal(true);
    expect(await refusal(balancer.show('info'))).to.include({ code: 'BALANCER_FAILED' });
    expect(await apply(of(as(one), as(other, { weight: 55 })))).to.include({ how: 'none' });
    await kernel.stop();
    await begin();
    expect(await balancer.status()).to.include({ running: false, halted: true });
    await balancer.launch();
    await balancer.launch();
    await settled();
    const status = await balancer.status();
    watch?.(status.pid as number, folder);
    expect(status).to.include({ running: true, halted: false, crashes: 0 });
    expect(status.servers.map(({ weight }) => weight)).to.deep.equal([100, 55]);
    expect(await spread(4)).to.have.all.keys('one', 'other');
  });
}

async function backend(name: string): Promise<Backend> {
  const server: Server = createServer((req, res) => {
    if (req.url === '/gantry/ping') return res.writeHead(self.isWell ? 200 : 503).end();
    self.calls++;
    res.end(name);
  });
  server.keepAliveTimeout = 60_000;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const self: Backend = {
    name,
    port: (server.address() as AddressInfo).port,
    isWell: true,
    calls: 0,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
  return self;
}

function call(port: number, agent: Agent): Promise<{ readonly status: number; readonly body: string }> {
  return new Promise((resolve, reject) => {
    const answer = (res: IncomingMessage) => {
      const parts: Buffer[] = [];
      res.on('data', (part: Buffer) => parts.push(part));
      res.on('end', () => resolve({ status: res.statusCode as number, body: Buffer.concat(parts).toString('utf8') }));
      res.on('error', reject);
    };
    request({ host: '127.0.0.1', port, path: '/', agent }, answer).on('error', reject).end();
  });
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

async function refusal(asked: Promise<unknown>): Promise<GantryError> {
  const end = await asked.then(
    (value) => ({ value }),
    (error: unknown) => error,
  );
  if (isGantryError(end)) return end;
  throw new Error(`It was answered, or rejected with what is no GantryError: ${JSON.stringify(end)}`);
}
