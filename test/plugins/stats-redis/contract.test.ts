import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { expect } from 'chai';
import fc from 'fast-check';
import { Logs } from '../../../core/log/log.ts';
import type { PeriodStats, Stats, StatsQuery } from '../../../core/ports/index.ts';
import { Process } from '../../../core/process.ts';
import { PERIODS, type Period, periodOf } from '../../../core/statistics/periods.ts';
import { Tally } from '../../../core/statistics/tally.ts';
import { Buffer } from '../../../plugins/stats-redis/buffer.ts';
import plugin from '../../../plugins/stats-redis/index.ts';
import { freePort } from '../../engines/engine.ts';
import { needs, type RedisProcess, redis, startRedis } from '../../engines/index.ts';
import { testStats } from '../../kit/stats.ts';

const ID = 'stats.redis';
const DAY_MS = 86_400_000;

interface World {
  readonly stats: Stats;
  readonly lines: readonly Record<string, unknown>[];
  stop(): Promise<void>;
}

async function server(config: object): Promise<World> {
  const lines: Record<string, unknown>[] = [];
  const logs = new Logs({ level: 'info', to: { write: (line) => void lines.push(JSON.parse(line)) } });
  const kernel = new Process({ logs, name: 'server1' }).create([{ id: ID, plugin, config: { ...config } }]);
  await kernel.start();
  return { stats: kernel.cradle.stats, lines, stop: () => kernel.stop() };
}

/** Waits until it is so; a test that waits in vain ends by its own limit. */
async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await wait(5);
}

function history(stats: Stats, service: string, per: Period = 'hour'): Promise<readonly PeriodStats[]> {
  const query: StatsQuery = { per, service, from: new Date(Date.now() - DAY_MS), until: new Date(Date.now() + DAY_MS) };
  return (stats as Required<Stats>).history(query);
}

async function calls(stats: Stats, service: string, per: Period = 'hour'): Promise<number> {
  return (await history(stats, service, per)).reduce((sum, one) => sum + one.calls, 0);
}

async function failureOf(work: Promise<unknown> | undefined): Promise<{ code?: string; hint?: string } | null> {
  return (work ?? Promise.resolve()).then(
    () => null,
    (error) => error,
  );
}

/** Between a server and Redis: lets all through, or only what is asked, or nothing. */
class Cable {
  readonly #server = createServer((near) => this.#join(near));
  readonly #sockets = new Set<Socket>();
  readonly #target: number;
  /** Whether answers come back. */
  isDeaf = false;
  isCut = false;

  constructor(target: number) {
    this.#target = target;
  }
  async open(): Promise<number> {
    await once(this.#server.listen(0, '127.0.0.1'), 'listening');
    return (this.#server.address() as AddressInfo).port;
  }
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }
  async close(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }
  #join(near: Socket): void {
    if (this.isCut) return void near.destroy();
    const far = connect(this.#target, '127.0.0.1');
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(from);
      from.on('error', () => {});
      from.on('close', () => {
        this.#sockets.delete(from);
        to.destroy();
      });
      from.on('data', (data) => {
        if (from === near || !this.isDeaf) to.write(data);
      });
    }
  }
}

describe(ID, () => {
  const engine = needs(redis);
  const prefix = `test-${randomBytes(4).toString('hex')}:`;
  const at = () => {
    const { host, port, user: username, password } = engine();
    return { host, port, username, password, prefix };
  };
  let last = 0;
  const fresh = () => `own.service.${++last}`;
  const stopped: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const stop of stopped.splice(0).reverse()) await stop();
  });
  const started = async (config: object = {}): Promise<World> => {
    const world = await server({ ...at(), ...config });
    stopped.push(() => world.stop());
    return world;
  };

  testStats({ plugin, config: at, relativeError: 1 / 32, resolutionMs: 0.008, shared: true });

  describe('with a cable', () => {
    const cable = async () => {
      const made = new Cable(engine().port);
      stopped.push(() => made.close());
      return { cable: made, port: await made.open() };
    };

    it('counts once what was written and not answered', async function () {
      this.timeout(60_000);
      const { cable: between, port } = await cable();
      const near = await started({ port, commandTimeoutMs: 200, flushMs: 60_000 });
      const direct = await started();
      const service = fresh();
      const record = (n: number) => {
        for (let i = 0; i < n; i++) near.stats.meter(service).record(1 + (i % 50), i % 10 === 0);
      };
      let recorded = 0;
      for (let round = 1; round <= 3; round++) {
        record(100 * round);
        recorded += 100 * round;
        between.isDeaf = true;
        expect((await failureOf(near.stats.flush?.()))?.code).to.equal('KV_UNAVAILABLE');
        await until(async () => (await calls(direct.stats, service)) === recorded);
        // More of the same minute, while nobody knows what became of the first.
        record(10);
        recorded += 10;
        between.isDeaf = false;
        between.cut();
        await until(async () => (await failureOf(near.stats.flush?.())) === null);
        for (const per of PERIODS) expect(await calls(direct.stats, service, per), per).to.equal(recorded);
      }
      const [own] = near.stats.snapshot();
      expect(own?.calls).to.equal(recorded);
      const told = (await history(direct.stats, service)).map(({ failures }) => failures);
      expect(told.reduce((a, b) => a + b)).to.equal(own?.failures);
    });

    it('counts in the minute in which it was what is written later', async function () {
      this.timeout(60_000);
      const { cable: between, port } = await cable();
      between.isCut = true;
      const { stats } = await started({ port, flushMs: 60_000 });
      const service = fresh();
      const { now } = Date;
      const minute = periodOf('minute', now());
      try {
        for (const later of [1, 2, 3]) {
          Date.now = () => minute + later * 60_000;
          // What was recorded before is taken now, and was in the minute before.
          await failureOf(stats.flush?.());
          for (let i = 0; i < later; i++) stats.meter(service).record(1, false);
        }
        Date.now = () => minute + 4 * 60_000;
        between.isCut = false;
        await until(() => stats.problem === null);
        const told = await history(stats, service, 'minute');
        expect(told.map(({ from, calls: n }) => [from.getTime() - minute, n])).to.deep.equal([
          [60_000, 1],
          [120_000, 2],
          [180_000, 3],
        ]);
      } finally {
        Date.now = now;
      }
      expect(await calls(stats, service, 'month')).to.equal(6);
    });

    it('goes on without Redis, tells of it once, and writes all when it is back', async function () {
      this.timeout(60_000);
      const { cable: between, port } = await cable();
      between.isCut = true;
      const { stats, lines } = await started({ port, flushMs: 50 });
      const service = fresh();
      expect(stats.problem).to.include({ code: 'KV_UNAVAILABLE', retryable: true });
      stats.meter(service).record(3, false);
      for (const work of [stats.flush?.(), history(stats, service), stats.slowCalls?.(5)]) {
        expect((await failureOf(work))?.code).to.equal('KV_UNAVAILABLE');
      }
      expect(stats.snapshot()[0]).to.include({ calls: 1, maxMs: 3 });
      between.isCut = false;
      await until(() => stats.problem === null);
      expect(await calls(stats, service)).to.equal(1);
      between.isCut = true;
      between.cut();
      await until(() => stats.problem !== null);
      stats.meter(service).record(4, true);
      between.isCut = false;
      await until(() => stats.problem === null);
      expect(await history(stats, service).then(([one]) => one)).to.include({ calls: 2, failures: 1, maxMs: 4 });
      const told = lines.map(({ level, msg }) => `${level}: ${msg}`);
      const [gone, back] = [
        'warn: The store of the statistics is not available',
        'info: The store of the statistics is back',
      ];
      expect(told.map((line) => [gone, back].findIndex((one) => line.startsWith(one)))).to.deep.equal([0, 1, 0, 1]);
    });
  });

  describe('with a Redis of its own', () => {
    let own: RedisProcess;
    const world = (config: object = {}) =>
      started({ port: own.port, username: undefined, password: undefined, ...config });
    before(async function () {
      this.timeout(60_000);
      own = await startRedis();
    });
    after(() => own?.close());

    /** Records all the while, as a server does that is called; gives how often. */
    const work = (stats: Stats, service: string) => {
      let recorded = 0;
      const timer = setInterval(() => {
        for (let i = 0; i < 20; i++) stats.meter(service).record((recorded * 7) % 1000, recorded++ % 3 === 0);
      }, 2);
      return () => {
        clearInterval(timer);
        return recorded;
      };
    };
    const flushed = (stats: Stats) => until(async () => (await failureOf(stats.flush?.())) === null);

    it('loses nothing and counts nothing twice when it is killed, again and again', async function () {
      this.timeout(120_000);
      const { stats } = await world({ flushMs: 50 });
      const service = fresh();
      const end = work(stats, service);
      for (let i = 0; i < 4; i++) {
        const before = stats.snapshot()[0]?.calls ?? 0;
        await until(() => stats.problem === null && (stats.snapshot()[0]?.calls ?? 0) > before + 500);
        await own.kill();
        await until(() => stats.problem !== null);
        await own.start();
      }
      const recorded = end();
      await flushed(stats);
      expect(recorded).to.be.greaterThan(2000);
      for (const per of PERIODS) expect(await calls(stats, service, per), per).to.equal(recorded);
    });

    it('the same when it stands still, and when its end is asked for meanwhile that end is soon', async function () {
      this.timeout(120_000);
      const { stats } = await world({ flushMs: 50, commandTimeoutMs: 100 });
      const service = fresh();
      const end = work(stats, service);
      for (let i = 0; i < 3; i++) {
        own.freeze();
        await until(() => stats.problem !== null);
        own.thaw();
        await until(() => stats.problem === null);
      }
      const recorded = end();
      await flushed(stats);
      expect(await calls(stats, service)).to.equal(recorded);

      const stuck = await server({ port: own.port, flushMs: 60_000, commandTimeoutMs: 100 });
      stuck.stats.meter(service).record(1, false);
      own.freeze();
      try {
        await stuck.stop();
      } finally {
        own.thaw();
      }
      const told = stuck.lines.find(({ msg }) => String(msg).includes('could not be written'));
      expect(told).to.include({ level: 'warn', calls: 1 });
    });

    it('waits while Redis has no room, and says what to do', async function () {
      this.timeout(60_000);
      const { stats, lines } = await world({ flushMs: 50 });
      const service = fresh();
      await own.run('CONFIG', 'SET', 'maxmemory', '1');
      try {
        stats.meter(service).record(1, false);
        await until(() => stats.problem !== null);
        expect(stats.problem).to.include({ code: 'KV_UNAVAILABLE' });
        expect(stats.problem?.hint).to.contain('maxmemory');
        // What is there can be read.
        expect(await history(stats, service)).to.deep.equal([]);
        stats.meter(service).record(1, false);
      } finally {
        await own.run('CONFIG', 'SET', 'maxmemory', '0');
      }
      await until(() => stats.problem === null);
      expect(await calls(stats, service)).to.equal(2);
      expect(lines.filter(({ level }) => level === 'warn')).to.have.lengthOf(1);
    });

    it('finds services again after Redis lost its data', async () => {
      const { stats } = await world();
      const service = fresh();
      stats.meter(service).record(1, false);
      await stats.flush?.();
      await own.run('FLUSHALL');
      await own.stop();
      await own.start();
      await until(() => stats.problem === null);
      stats.meter(service).record(1, false);
      await stats.flush?.();
      const all = await (stats as Required<Stats>).history({
        per: 'month',
        from: new Date(),
        until: new Date(Date.now() + 1),
      });
      expect(all.map((one) => [one.service, one.calls])).to.deep.equal([[service, 1]]);
    });

    it('leaves nothing in Redis for ever, and looks for nothing there', async function () {
      this.timeout(60_000);
      await own.run('FLUSHALL');
      await own.run('CONFIG', 'RESETSTAT');
      const { stats } = await world({ slowMs: 0, keep: { minuteHours: 3, hourDays: 3, dayDays: 5, monthMonths: 2 } });
      for (const name of ['a', 'b']) stats.meter(name).record(1, false);
      await stats.flush?.();
      await stats.slowCalls?.(5);
      for (const per of PERIODS) await history(stats, 'a', per);
      const told = String(await own.run('INFO', 'commandstats'));
      expect(told)
        .to.match(/cmdstat_hgetall/)
        .and.not.match(/cmdstat_(keys|scan)/);
      const keys = (await own.run('KEYS', '*')) as string[];
      expect(keys).to.have.length.at.least(3 * PERIODS.length);
      const days = { minute: 1, hour: 3, day: 6, month: 2 * 31 } as const;
      for (const key of keys) {
        const per = PERIODS.find((one) => key.includes(`:${one}:`)) as Period;
        const left = Number(await own.run('PTTL', key)) / DAY_MS;
        expect(left, key).to.be.within(days[per] - 1.1, days[per] + 31);
      }
    });

    it('has one field more for each server process, in minutes only', async () => {
      const [one, other] = [await world(), await world()];
      const service = fresh();
      for (const { stats } of [one, other, one]) {
        stats.meter(service).record(1, false);
        await stats.flush?.();
      }
      const keys = ((await own.run('KEYS', `*{${service}}*`)) as string[]).sort();
      const marks = async (key: string) =>
        ((await own.run('HKEYS', key)) as string[]).filter((field) => field.startsWith('@')).length;
      for (const key of keys) {
        const expected = key.includes(':minute:') ? [1, 2] : [0];
        expect(expected, key).to.include(await marks(key));
      }
    });
  });

  describe('on a Redis Cluster', () => {
    let nodes: readonly RedisProcess[] = [];
    const cluster = () => ({ cluster: nodes.map(({ host, port }) => ({ host, port })), prefix });

    before(async function () {
      this.timeout(60_000);
      const ports = [await freePort(), await freePort(), await freePort()];
      nodes = await Promise.all(
        ports.map((port) => startRedis({ lines: () => ['cluster-enabled yes', `cluster-port ${port}`] })),
      );
      const [first] = nodes as [RedisProcess];
      for (const [i, [from, to]] of [
        [0, 5460] as const,
        [5461, 10_922] as const,
        [10_923, 16_383] as const,
      ].entries()) {
        await nodes[i]?.run('CLUSTER', 'ADDSLOTSRANGE', from, to);
        await first.run('CLUSTER', 'MEET', first.host, nodes[i]?.port ?? 0, ports[i] ?? 0);
      }
      const isWhole = async (node: RedisProcess) => {
        const told = String(await node.run('CLUSTER', 'INFO'));
        return told.includes('cluster_state:ok') && told.includes('cluster_known_nodes:3');
      };
      for (const node of nodes) await until(() => isWhole(node));
    });
    after(() => Promise.all(nodes.map((node) => node.close())));

    testStats({ plugin, config: cluster, relativeError: 1 / 32, resolutionMs: 0.008, shared: true });

    it('loses nothing and counts nothing twice when a node is killed', async function () {
      this.timeout(60_000);
      const { stats } = await started({
        username: undefined,
        password: undefined,
        host: undefined,
        port: undefined,
        ...cluster(),
      });
      const services = Array.from({ length: 50 }, fresh);
      let recorded = 0;
      const timer = setInterval(() => {
        recorded++;
        for (const service of services) stats.meter(service).record(recorded % 100, false);
      }, 2);
      try {
        await until(() => recorded > 20);
        await nodes[1]?.kill();
        await until(() => stats.problem !== null);
        await nodes[1]?.start();
        await until(() => stats.problem === null);
      } finally {
        clearInterval(timer);
      }
      await until(async () => (await failureOf(stats.flush?.())) === null);
      for (const service of services) expect(await calls(stats, service), service).to.equal(recorded);
    });
  });

  describe('buffer', () => {
    const tally = (n: number) => {
      const made = new Tally();
      for (let i = 0; i < n; i++)
        made.add(new Tally({ failures: 0, sumMs: 1, minMs: 1, maxMs: 1, counts: new Map([[9, 1]]) }));
      return made;
    };
    const MINUTE_MS = 60_000;
    const start = Date.UTC(2024, 0, 31, 23, 30);
    const never = () => Number.POSITIVE_INFINITY;
    const shown = (buffer: Buffer) =>
      buffer.seal(0).batches.map(({ per, begin, service, tally: { calls: n } }) => {
        return `${per} ${new Date(begin).toISOString().slice(0, 16)} ${service} ${n}`;
      });

    it('keeps calls in the minute in which they were', () => {
      const buffer = new Buffer(100, never, () => {});
      for (const late of [0, 30_000, 60_000, 59_999]) buffer.add(start + late, [['a', tally(1)]]);
      buffer.add(start, [['b', tally(2)]]);
      expect(shown(buffer)).to.deep.equal([
        'minute 2024-01-31T23:30 a 3',
        'minute 2024-01-31T23:30 b 2',
        'minute 2024-01-31T23:31 a 1',
      ]);
      expect(buffer.calls).to.equal(6);
    });

    it('gives the same until it is settled, and only then what came later', () => {
      const buffer = new Buffer(100, never, () => {});
      buffer.add(start, [['a', tally(1)]]);
      const [first] = buffer.seal(0).batches;
      buffer.add(start, [['a', tally(5)]]);
      expect(buffer.seal(0).batches).to.deep.equal([first]);
      expect(first?.tally.calls).to.equal(1);
      buffer.settle(first as NonNullable<typeof first>);
      const [second] = buffer.seal(0).batches;
      expect(second?.tally.calls).to.equal(5);
      expect(second?.seq).to.be.greaterThan(first?.seq ?? 0);
      // An answer that comes late settles nothing else.
      buffer.settle(first as NonNullable<typeof first>);
      expect(buffer.calls).to.equal(5);
      buffer.settle(second as NonNullable<typeof second>);
      expect([buffer.size, buffer.calls]).to.deep.equal([0, 0]);
    });

    it('adds the oldest minutes up to hours where it is too much, then to days, and tells', () => {
      let told = 0;
      const buffer = new Buffer(4, never, () => told++);
      for (let minute = 0; minute < 32; minute++) buffer.add(start + minute * MINUTE_MS, [['a', tally(1)]]);
      expect(told).to.be.greaterThan(0);
      expect(shown(buffer)).to.deep.equal([
        'minute 2024-01-31T23:59 a 1',
        'minute 2024-02-01T00:00 a 1',
        'minute 2024-02-01T00:01 a 1',
        'hour 2024-01-31T23:00 a 29',
      ]);
    });

    it('never loses a call, nor writes one in another period, nor grows beyond its limit by much', () => {
      const step = fc.record({
        minutes: fc.integer({ min: 0, max: 600 }),
        services: fc.uniqueArray(fc.constantFrom('a', 'b', 'c'), { minLength: 1 }),
        sealed: fc.boolean(),
        settled: fc.boolean(),
      });
      fc.assert(
        fc.property(fc.array(step, { maxLength: 100 }), fc.integer({ min: 1, max: 20 }), (steps, most) => {
          const buffer = new Buffer(most, never, () => {});
          const expected = new Map<string, number>();
          const found = new Map<string, number>();
          const count = (into: Map<string, number>, service: string, begin: number, n: number) => {
            const month = `${service} ${periodOf('month', begin)}`;
            into.set(month, (into.get(month) ?? 0) + n);
          };
          const settle = () => {
            for (const batch of buffer.seal(0).batches) {
              expect(batch.begin).to.equal(periodOf(batch.per, batch.begin));
              count(found, batch.service, batch.begin, batch.tally.calls);
              buffer.settle(batch);
            }
          };
          let now = start;
          for (const { minutes, services, sealed, settled } of steps) {
            now += minutes * MINUTE_MS;
            buffer.add(
              now,
              services.map((service) => [service, tally(1)] as const),
            );
            for (const service of services) count(expected, service, now, 1);
            if (sealed) buffer.seal(0);
            if (settled) settle();
          }
          settle();
          settle();
          expect(buffer.size).to.equal(0);
          expect(found).to.deep.equal(expected);
        }),
      );
    });

    it('stays within its limit, but for the present and a month each', () => {
      const buffer = new Buffer(10, never, () => {});
      for (let hour = 0; hour < 24 * 90; hour++) {
        buffer.add(start + hour * 60 * MINUTE_MS, [
          ['a', tally(1)],
          ['b', tally(1)],
        ]);
        expect(buffer.size).to.be.at.most(16);
      }
      expect(buffer.calls).to.equal(24 * 90 * 2);
    });

    it('gives up what nobody can know any more, and says how much that is', () => {
      const buffer = new Buffer(
        10,
        () => 1000,
        () => {},
      );
      buffer.add(start, [['a', tally(7)]]);
      expect(buffer.seal(999)).to.include({ lostCalls: 0 });
      buffer.add(start, [['a', tally(2)]]);
      const { batches, lostCalls } = buffer.seal(1000);
      expect(lostCalls).to.equal(7);
      expect(batches.map((batch) => batch.tally.calls)).to.deep.equal([2]);
    });
  });

  describe('config', () => {
    const problem = (config: object) => {
      try {
        new Process({ logs: new Logs({ level: 'silent' }) }).create([{ id: ID, plugin, config: { ...config } }]);
        return null;
      } catch (thrown) {
        return thrown as { code: string; problems: readonly { path: string }[] };
      }
    };

    it('takes one way to Redis', () => {
      const host = 'redis1';
      for (const good of [
        {},
        { url: 'redis://u:p@redis1:6380/2' },
        { host, port: 1, db: 3 },
        { cluster: [{ host }] },
      ]) {
        expect(problem(good), JSON.stringify(good)).to.equal(null);
      }
      for (const bad of [
        { url: 'http://a' },
        { host, cluster: [{ host }] },
        { sentinels: [{ host }] },
        { hots: 'a' },
      ]) {
        expect(problem(bad)?.code, JSON.stringify(bad)).to.equal('CONFIG_INVALID');
      }
      expect(problem({ sentinels: [{ host }] })?.problems[0]?.path).to.equal('plugins.stats.redis.master');
    });
  });
});
