import { expect } from 'chai';
import { Logs } from '../../../core/log/log.ts';
import type { Period } from '../../../core/parts.ts';
import type { Stats } from '../../../core/ports/index.ts';
import { Process } from '../../../core/process.ts';
import plugin from '../../../plugins/stats-memory/index.ts';
import { testStats } from '../../kit/stats.ts';

const ID = 'stats.memory';

describe(ID, () => {
  // Buckets are 1/32 of their doubling wide.
  testStats({ plugin, config: {}, relativeError: 1 / 32, resolutionMs: 0.008 });

  describe('maxServices', () => {
    it('counts services beyond it as one, and says so once', () => {
      const { stats, lines } = build({ maxServices: 2 });
      for (const name of ['a', 'b', 'c', 'd', 'a']) stats.meter(name).record(1, name === 'd');
      expect(stats.meter('c')).to.equal(stats.meter('d'));
      expect(stats.snapshot().map((s) => [s.service, s.calls, s.failures])).to.deep.equal([
        ['a', 2, 0],
        ['b', 1, 0],
        ['(other)', 2, 1],
      ]);
      expect(lines).to.have.lengthOf(1);
      expect(lines[0]).to.include({ plugin: ID, level: 'warn', maxServices: 2, service: 'c' });
    });

    it('holds however many names come', () => {
      const { stats } = build({ maxServices: 5 });
      for (let i = 0; i < 1000; i++) stats.meter(`service.${i}`).record(1, false);
      const all = stats.snapshot();
      expect(all).to.have.lengthOf(6);
      expect(all.reduce((sum, s) => sum + s.calls, 0)).to.equal(1000);
    });

    it('has one entry for a service that is really named (other)', () => {
      const { stats, lines } = build({ maxServices: 1 });
      for (const name of ['(other)', 'a', 'b']) stats.meter(name).record(1, false);
      expect(stats.snapshot().map((s) => [s.service, s.calls])).to.deep.equal([
        ['(other)', 2],
        ['a', 1],
      ]);
      expect(lines).to.have.lengthOf(1);
    });

    it('is refused where it is no number of services', () => {
      for (const maxServices of [0, -1, 1.5, 'many']) {
        expect(() => build({ maxServices }))
          .to.throw()
          .with.property('code', 'CONFIG_INVALID');
      }
      expect(() => build({ maxService: 5 }))
        .to.throw()
        .with.property('code', 'CONFIG_INVALID');
    });
  });

  describe('periods', () => {
    const { now } = Date;
    afterEach(() => {
      Date.now = now;
    });
    const start = Date.UTC(2024, 0, 31, 23, 58);
    const MINUTE_MS = 60_000;
    const DAY_MS = 1440 * MINUTE_MS;
    /** Records so many calls in minutes after each other, and gives what is kept of them then. */
    const kept = async (config: object, counts: readonly number[], per: Period, stepMs = MINUTE_MS) => {
      Date.now = () => start;
      const { stats } = build(config);
      const ask = async () => {
        const query = { per, from: new Date(0), until: new Date(Date.now() + DAY_MS) };
        return (await (stats as Required<Stats>).history(query)).map(({ from, calls }) => [from.toISOString(), calls]);
      };
      for (const [i, count] of counts.entries()) {
        Date.now = () => start + i * stepMs;
        // What was recorded before is taken now, and was in the minute before.
        await ask();
        for (let n = 0; n < count; n++) stats.meter('a').record(1, false);
      }
      Date.now = () => start + counts.length * stepMs;
      return ask();
    };

    it('have calls where they were, when a month begins, too', async () => {
      expect(await kept({}, [1, 2, 3], 'minute')).to.deep.equal([
        ['2024-01-31T23:58:00.000Z', 1],
        ['2024-01-31T23:59:00.000Z', 2],
        ['2024-02-01T00:00:00.000Z', 3],
      ]);
      expect(await kept({}, [1, 2, 3], 'month')).to.deep.equal([
        ['2024-01-01T00:00:00.000Z', 3],
        ['2024-02-01T00:00:00.000Z', 3],
      ]);
    });

    it('are forgotten after their time', async () => {
      const keep = { minuteHours: 1, hourDays: 1, dayDays: 2, monthMonths: 1 };
      const counts = Array.from({ length: 100 }, () => 1);
      const minutes = await kept({ keep }, counts, 'minute');
      expect(minutes.length).to.be.within(60, 62);
      expect(minutes.at(-1)).to.deep.equal([new Date(start + 99 * MINUTE_MS).toISOString(), 1]);
      expect((await kept({ keep }, counts, 'hour')).length).to.equal(3);
      expect((await kept({ keep }, counts, 'day', DAY_MS)).length).to.be.within(2, 4);
    });

    it('are forgotten where there are too many, the oldest minutes first', async () => {
      const counts = Array.from({ length: 50 }, () => 1);
      const minutes = await kept({ maxPeriods: 12 }, counts, 'minute');
      expect(minutes.length).to.be.within(4, 8);
      expect(minutes.at(-1)).to.deep.equal([new Date(start + 49 * MINUTE_MS).toISOString(), 1]);
      const hours = await kept({ maxPeriods: 12 }, counts, 'hour');
      expect(hours.reduce((sum, [, calls]) => sum + Number(calls), 0)).to.equal(50);
    });
  });

  it('shows a service that was not called yet with zeros', () => {
    const { stats } = build({});
    stats.meter('idle');
    const [idle] = stats.snapshot();
    expect(idle).to.include({ calls: 0, failures: 0, minMs: 0, meanMs: 0, maxMs: 0, sumMs: 0 });
    expect(idle?.latency.quantile(0.99)).to.equal(0);
  });

  it('makes no object while it records', function () {
    this.timeout(10_000);
    const { stats } = build({});
    const meter = stats.meter('hot');
    // Objects hold their numbers boxed: handing one on makes no new box, which would be the caller's.
    const times = Array.from({ length: 1000 }, (_, i) => ({ ms: (i + 1) ** 2 / 100 }) as { ms: unknown });
    (times[0] as { ms: unknown }).ms = 'no number';
    const rounds = (n: number) => {
      for (let i = 0; i < n; i++) for (const one of times) meter.record(one.ms as number, false);
    };
    rounds(500);
    // The best of a few: only the compiler's own work may add to one of them.
    const grown = Array.from({ length: 5 }, () => {
      const before = process.memoryUsage().heapUsed;
      rounds(200);
      return Math.abs(process.memoryUsage().heapUsed - before);
    });
    // 200 000 records of one number object each would be more than 2 MB.
    expect(Math.min(...grown)).to.be.below(100_000);
  });
});

function build(config: object): { stats: Stats; lines: Record<string, unknown>[] } {
  const lines: Record<string, unknown>[] = [];
  const logs = new Logs({ level: 'info', to: { write: (line) => void lines.push(JSON.parse(line)) } });
  const kernel = new Process({ logs }).create([{ id: ID, plugin, config: { ...config } }]);
  return { stats: kernel.cradle.stats, lines };
}
