/** The contract kit of the stats port: every promise of core/ports/stats.ts. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect } from 'chai';
import fc from 'fast-check';
import { Call, type Reply } from '../../core/call.ts';
import type { Plugin } from '../../core/cradle.ts';
import { Logs } from '../../core/log/log.ts';
import type { Meter, PeriodStats, ServiceStats, SlowCall, Stats, StatsQuery } from '../../core/ports/stats.ts';
import type { Channel } from '../../core/ports/transport.ts';
import { Process } from '../../core/process.ts';

export interface StatsKit {
  readonly plugin: Plugin;
  /** Its block; where that is known only once an engine runs, what gives it then. */
  readonly config?: Readonly<Record<string, unknown>> | (() => Readonly<Record<string, unknown>>);
  /** How far a quantile may be off, as a share of the latency. */
  readonly relativeError?: number;
  /** How far it may be off however short the latency is. */
  readonly resolutionMs?: number;
  /** The longest latency for which this holds. */
  readonly longestMs?: number;
  /** Whether it keeps periods and slow calls. Default: true. */
  readonly periods?: boolean;
  /** Whether what it keeps is that of all servers with the same config, and outlives them. Default: false. */
  readonly shared?: boolean;
}

interface Sample {
  readonly ms: number;
  readonly failed: boolean;
}

export function testStats({
  plugin,
  config = {},
  relativeError = 0.06,
  resolutionMs = 0.01,
  longestMs = 600_000,
  periods = true,
  shared = false,
}: StatsKit): void {
  let kernel: Process;
  let stats: Stats;
  let last = 0;

  /** A name that no other test counts under. */
  const fresh = () => `kit.service.${++last}`;
  const of = (service: string): ServiceStats => {
    const found = stats.snapshot().filter((s) => s.service === service);
    expect(found, `entries named '${service}' in the snapshot`).to.have.lengthOf(1);
    return found[0] as ServiceStats;
  };

  /** From far below the resolution to the longest, as likely short as long. */
  const latency = fc.oneof(
    fc.double({ min: -9, max: Math.log10(longestMs), noNaN: true }).map((exponent) => 10 ** exponent),
    fc.double({ min: 0, max: longestMs, noNaN: true }),
    fc.integer({ min: 0, max: 5000 }),
  );
  const samples = fc.array(fc.record({ ms: latency, failed: fc.boolean() }), { minLength: 1, maxLength: 300 });

  const server = async (name: string) => {
    const block = structuredClone(typeof config === 'function' ? config() : config);
    const logs = new Logs({ level: 'silent' });
    return new Process({ logs, name }).create([{ id: plugin.id, plugin, config: block }]).start();
  };

  beforeEach(async () => {
    kernel = await server('server1');
    stats = kernel.cradle.stats;
  });
  afterEach(() => kernel.stop());

  describe('meters', () => {
    it('gives the same meter for the same name', () => {
      const name = fresh();
      const first = stats.meter(name);
      expect(stats.meter(name)).to.equal(first);
      expect(stats.meter(fresh())).to.not.equal(first);
    });

    it('counts what any holder of a name records under that name, and nothing elsewhere', () => {
      const [one, two] = [fresh(), fresh()];
      stats.meter(one).record(1, false);
      stats.meter(two).record(5, true);
      stats.meter(one).record(2, false);
      expect(of(one)).to.include({ calls: 2, failures: 0, maxMs: 2 });
      expect(of(two)).to.include({ calls: 1, failures: 1, maxMs: 5 });
    });

    it('takes any name, those of Object.prototype too', () => {
      for (const name of ['__proto__', 'constructor', 'toString', '', 'line\nbreak "quoted"']) {
        stats.meter(name).record(3, false);
        expect(of(name), JSON.stringify(name)).to.include({ service: name, calls: 1, minMs: 3, maxMs: 3 });
      }
    });

    it('lists services in the order of their first use', () => {
      const names = [fresh(), fresh(), fresh()].reverse();
      for (const name of [...names, ...names.toReversed()]) stats.meter(name).record(1, false);
      const listed = stats.snapshot().map((s) => s.service);
      expect(listed.filter((name) => names.includes(name))).to.deep.equal(names);
    });
  });

  describe('numbers', () => {
    it('has calls, failures, least, greatest, sum and mean of any samples', () => {
      fc.assert(
        fc.property(samples, (all) => {
          const told = recorded(all);
          const times = all.map((s) => s.ms);
          const sum = times.reduce((a, b) => a + b, 0);
          expect(told.calls).to.equal(all.length);
          expect(total(told.latency.counts)).to.equal(all.length);
          expect(told.failures).to.equal(all.filter((s) => s.failed).length);
          expect(told.minMs).to.equal(Math.min(...times));
          expect(told.maxMs).to.equal(Math.max(...times));
          expect(told.sumMs).to.be.closeTo(sum, sum * 1e-9);
          expect(told.meanMs).to.be.closeTo(sum / all.length, sum * 1e-9);
        }),
      );
    });

    it('counts a call whose time cannot be, and spoils no number with it', () => {
      const name = fresh();
      const meter = stats.meter(name);
      const wrong = [Number.NaN, -1, -0, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
      for (const ms of [7, ...wrong]) meter.record(ms, true);
      const told = of(name);
      expect(told).to.include({ calls: 6, failures: 6 });
      expect(total(told.latency.counts)).to.equal(6);
      for (const key of ['minMs', 'meanMs', 'maxMs', 'sumMs'] as const) {
        expect(told[key], key).to.satisfy((n: number) => Number.isFinite(n) && n >= 0);
      }
      expect(told.latency.quantile(0.5)).to.satisfy((n: number) => Number.isFinite(n) && n >= 0);
    });

    it('gives a copy that later calls do not change', () => {
      const name = fresh();
      const meter = stats.meter(name);
      meter.record(10, false);
      const before = of(name);
      const kept = JSON.stringify(before);
      const median = before.latency.quantile(0.5);
      for (let i = 0; i < 1000; i++) meter.record(5000, true);
      expect(JSON.stringify(before)).to.equal(kept);
      expect(before.latency.quantile(0.5)).to.equal(median);
      expect(of(name).calls).to.equal(1001);
    });
  });

  describe('histogram', () => {
    it('has ascending bounds, the last Infinity, with a count for each, the same for every service', () => {
      const [one, two] = [fresh(), fresh()];
      stats.meter(one).record(0.02, false);
      stats.meter(two).record(90_000, false);
      const { boundsMs, counts } = of(one).latency;
      expect(counts).to.have.lengthOf(boundsMs.length);
      expect(boundsMs.at(-1)).to.equal(Number.POSITIVE_INFINITY);
      for (const [i, bound] of boundsMs.entries()) {
        expect(bound, `bound ${i}`).to.be.greaterThan(i === 0 ? 0 : (boundsMs[i - 1] as number));
      }
      expect([...of(two).latency.boundsMs]).to.deep.equal([...boundsMs]);
    });

    it('counts each call once, in the first bucket whose bound is not below it', () => {
      const { boundsMs } = of(recordedAs([{ ms: 1, failed: false }])).latency;
      const onBound = fc.constantFrom(...boundsMs.filter(Number.isFinite));
      fc.assert(
        fc.property(fc.array(fc.oneof(latency, onBound), { minLength: 1, maxLength: 50 }), (times) => {
          const expected = new Array<number>(boundsMs.length).fill(0);
          for (const ms of times) {
            const bucket = boundsMs.findIndex((bound) => ms <= bound);
            expected[bucket] = (expected[bucket] as number) + 1;
          }
          const { counts } = recorded(times.map((ms) => ({ ms, failed: false }))).latency;
          expect([...counts]).to.deep.equal(expected);
        }),
      );
    });

    it(`gives quantiles that are off by ${relativeError * 100} % or ${resolutionMs} ms at most`, () => {
      const share = fc.oneof(fc.constantFrom(0.5, 0.9, 0.95, 0.99, 0.999), fc.double({ min: 0, max: 1, noNaN: true }));
      fc.assert(
        fc.property(samples, share, (all, wanted) => {
          const told = recorded(all);
          const sorted = all.map((s) => s.ms).sort((a, b) => a - b);
          const got = told.latency.quantile(wanted);
          const [low, high] = around(sorted, wanted);
          expect(got).to.be.at.least(Math.min(low * (1 - relativeError), low - resolutionMs));
          expect(got).to.be.at.most(Math.max(high * (1 + relativeError), high + resolutionMs));
          expect(got).to.be.within(told.minMs, told.maxMs);
        }),
        { numRuns: 300 },
      );
    });

    it('has the least and the greatest at its ends, and never falls between them', () => {
      fc.assert(
        fc.property(samples, (all) => {
          const { latency: told, minMs, maxMs } = recorded(all);
          expect(told.quantile(0)).to.equal(minMs);
          expect(told.quantile(1)).to.equal(maxMs);
          let before = minMs;
          for (let share = 0; share <= 1; share += 1 / 64) {
            const now = told.quantile(share);
            expect(now, `quantile(${share})`).to.be.at.least(before);
            before = now;
          }
        }),
      );
    });

    it('adds up: the counts of two services are those of one that saw all their calls', () => {
      fc.assert(
        fc.property(samples, samples, (one, two) => {
          const [a, b] = [recorded(one).latency.counts, recorded(two).latency.counts];
          const sum = a.map((count, i) => count + (b[i] as number));
          expect([...recorded([...one, ...two]).latency.counts]).to.deep.equal(sum);
        }),
      );
    });
  });

  describe('on the hot path', () => {
    it('keeps no more for a million calls than for one', function () {
      this.timeout(20_000);
      const name = fresh();
      const meter = stats.meter(name);
      const times = Array.from({ length: 1000 }, (_, i) => (i + 1) ** 2 / 100);
      run(meter, times, 200);
      const before = usedHeap();
      run(meter, times, 1000);
      // One number kept for each call would be 8 MB.
      expect(usedHeap() - before, 'bytes that the heap grew by').to.be.below(2_000_000);
      expect(of(name).calls).to.equal(1_200_000);
    });
  });

  if (periods) describePeriods();
  else it.skip('keeps no periods and no slow calls, as the plugin declares');

  function recordedAs(all: readonly Sample[]): string {
    const name = fresh();
    const meter = stats.meter(name);
    for (const { ms, failed } of all) meter.record(ms, failed);
    return name;
  }
  function recorded(all: readonly Sample[]): ServiceStats {
    return of(recordedAs(all));
  }

  function describePeriods(): void {
    const PERS = ['minute', 'hour', 'day', 'month'] as const;
    const DAY_MS = 86_400_000;
    const ask = async (query: Partial<StatsQuery>, of = stats): Promise<readonly PeriodStats[]> => {
      // Whatever minute, month or year begins while a test runs.
      const [from, until] = [new Date(Date.now() - DAY_MS), new Date(Date.now() + 40 * DAY_MS)];
      const told = await of.history?.({ per: 'minute', from, until, ...query });
      expect(told, 'what history() gives').to.be.an('array');
      return told as readonly PeriodStats[];
    };
    const callsOf = (told: readonly PeriodStats[]) => told.reduce((sum, { calls }) => sum + calls, 0);

    describe('periods', () => {
      it('have every call of a service once, in each granularity, at once', async () => {
        const property = fc.asyncProperty(samples, async (all) => {
          const name = recordedAs(all);
          const whole = of(name);
          for (const per of PERS) {
            const told = await ask({ per, service: name });
            expect(told.length, per).to.be.within(1, 2);
            const of = (key: 'calls' | 'failures' | 'sumMs') => total(told.map((one) => one[key]));
            expect([of('calls'), of('failures')], per).to.deep.equal([whole.calls, whole.failures]);
            expect(of('sumMs')).to.be.closeTo(whole.sumMs, Math.max(1e-3, whole.sumMs * 1e-9));
            expect(Math.min(...told.map(({ minMs }) => minMs))).to.equal(whole.minMs);
            expect(Math.max(...told.map(({ maxMs }) => maxMs))).to.equal(whole.maxMs);
            const counts = whole.latency.counts.map((_, i) =>
              total(told.map((one) => one.latency.counts[i] as number)),
            );
            expect(counts, per).to.deep.equal([...whole.latency.counts]);
          }
        });
        await fc.assert(property, { numRuns: 20 });
      });

      it('begin where UTC has them begin', async () => {
        const earliest = Date.now();
        const name = recordedAs([{ ms: 1, failed: false }]);
        for (const [per, length] of [
          ['minute', 16],
          ['hour', 13],
          ['day', 10],
          ['month', 7],
        ] as const) {
          const [told] = await ask({ per, service: name });
          const begin = told?.from.toISOString() ?? '';
          const around = [earliest, Date.now()].map((ms) => new Date(ms).toISOString().slice(0, length));
          expect(around, per).to.include(begin.slice(0, length));
          expect(new Date(begin).getTime() % 60_000, per).to.equal(0);
          expect(begin.slice(length), per).to.match(/^(-01)?(T00)?(:00){0,2}(:00\.000|\.000)Z$/);
        }
      });

      it('come with the oldest first, then by service, without those that nobody called', async () => {
        const names = [fresh(), fresh(), fresh()].sort();
        for (const name of names.toReversed()) stats.meter(name).record(1, false);
        const idle = fresh();
        stats.meter(idle);
        const told = await ask({ per: 'hour' });
        const keys = told.map(({ from, service }) => `${from.toISOString()} ${service}`);
        expect(keys).to.deep.equal([...new Set(keys)].sort());
        expect(told.map(({ service }) => service))
          .to.include.members(names)
          .and.not.include(idle);
        expect(await ask({ service: idle })).to.deep.equal([]);
        expect(await ask({ service: fresh() })).to.deep.equal([]);
      });

      it('are those of the time that was asked for, its end not included', async () => {
        const name = recordedAs([{ ms: 1, failed: false }]);
        const [told] = await ask({ per: 'day', service: name });
        const from = told?.from as Date;
        const next = new Date(from.getTime() + DAY_MS);
        const day = { per: 'day', service: name } as const;
        expect(callsOf(await ask({ ...day, from, until: next }))).to.equal(1);
        const late = new Date(next.getTime() - 1);
        expect(callsOf(await ask({ ...day, from: late, until: next }))).to.equal(1);
        expect(await ask({ ...day, from: next, until: new Date(next.getTime() + DAY_MS) })).to.deep.equal([]);
        expect(await ask({ ...day, from: new Date(from.getTime() - DAY_MS), until: from })).to.deep.equal([]);
        expect(await ask({ ...day, from, until: from })).to.deep.equal([]);
        expect(await ask({ ...day, from: next, until: from })).to.deep.equal([]);
      });

      it('are refused where a time is none', async () => {
        const refused = await ask({ from: new Date('no time') }).then(
          () => null,
          (error: { code?: string }) => error.code,
        );
        expect(refused).to.equal('INVALID');
      });

      it('know services by any name', async () => {
        const names = [
          '__proto__',
          'constructor',
          '',
          '{}',
          '}{',
          'a{b}c',
          '{',
          '%',
          'ü 😀 "',
          'line\nbreak',
          'a:b',
          '*',
        ];
        for (const [i, name] of names.entries()) for (let n = 0; n <= i; n++) stats.meter(name).record(1, false);
        for (const service of names) {
          const { calls } = of(service);
          expect(callsOf(await ask({ service })), JSON.stringify(service)).to.be.at.least(calls);
          if (!shared) expect(callsOf(await ask({ service }))).to.equal(calls);
        }
        expect((await ask({ per: 'day' })).map(({ service }) => service)).to.include.members(names);
      });

      it('keep what snapshot() tells: that is everything since the start, however often they are asked', async () => {
        const name = fresh();
        for (let i = 1; i <= 3; i++) {
          stats.meter(name).record(10 * i, i === 2);
          await ask({ service: name });
        }
        expect(of(name)).to.include({ calls: 3, failures: 1, minMs: 10, meanMs: 20, maxMs: 30, sumMs: 60 });
        expect(callsOf(await ask({ service: name }))).to.equal(3);
      });
    });

    describe('slow calls', () => {
      const HOUR_MS = 3_600_000;
      const reply = (outcome: Reply['outcome']): Reply => ({ outcome, body: null, contentType: '', error: null });
      /** A call that came through a channel to that service, and took that long. */
      const end = (service: string, ms: number, outcome: Reply['outcome'] = 'ok', on = kernel) => {
        const name = `channel of ${service}`;
        on.hooks.channelBound.call({ name, contract: { name: service } } as Channel);
        on.hooks.done.call(new Call(name, { cid: `cid-${service}-${ms}` }), reply(outcome), ms);
      };
      const slow = async (limit: number, service?: string): Promise<readonly SlowCall[]> => {
        const told = await stats.slowCalls?.(limit, service);
        expect(told, 'what slowCalls() gives').to.be.an('array');
        return told as readonly SlowCall[];
      };

      it('are told with all that is known of them', async () => {
        const earliest = Date.now();
        const service = fresh();
        end(service, HOUR_MS, 'timeout');
        const [told, ...others] = await slow(10, service);
        expect(others).to.deep.equal([]);
        const { at, ...rest } = told as SlowCall;
        expect(rest).to.deep.equal({
          ...{ service, server: 'server1', channel: `channel of ${service}`, cid: `cid-${service}-${HOUR_MS}` },
          ...{ ms: HOUR_MS, outcome: 'timeout' },
        });
        expect(at).to.be.a('date');
        expect(at.getTime()).to.be.within(earliest, Date.now());
      });

      it('come with the slowest first, no more than were asked for, and quick ones are none', async () => {
        const [one, other] = [fresh(), fresh()];
        for (const minutes of [70, 90, 60, 80]) end(one, minutes * 60_000);
        end(other, HOUR_MS * 2);
        end(one, 0.001);
        const minutes = (await slow(3, one)).map(({ ms }) => ms / 60_000);
        expect(minutes).to.deep.equal([90, 80, 70]);
        expect((await slow(1)).map(({ ms }) => ms)).to.deep.equal([HOUR_MS * 2]);
        const all = (await slow(1000)).map(({ ms }) => ms);
        expect(all).to.deep.equal(all.toSorted((a, b) => b - a));
        expect(all.every((ms) => ms >= 1)).to.equal(true);
        expect(await slow(0)).to.deep.equal([]);
        expect(await slow(5, fresh())).to.deep.equal([]);
      });
    });

    if (!shared) return;
    describe('of several servers', () => {
      it('add up, and each tells its own in snapshot()', async () => {
        const name = fresh();
        const other = await server('server2');
        try {
          const both = [stats, other.cradle.stats];
          for (const [i, one] of both.entries()) {
            for (let n = 0; n < 100; n++) one.meter(name).record(i + 1, n < 10);
          }
          await Promise.all(both.map((one) => one.flush?.()));
          for (const one of both) {
            const told = await ask({ per: 'month', service: name }, one);
            expect(callsOf(told)).to.equal(200);
            expect(total(told.map(({ failures }) => failures))).to.equal(20);
            expect(total(told.map(({ sumMs }) => sumMs))).to.be.closeTo(300, 1e-3);
            const [own] = one.snapshot().filter(({ service }) => service === name);
            expect(own?.calls).to.equal(100);
          }
        } finally {
          await other.stop();
        }
      });

      it('are still there when these have ended: an end writes what is left', async () => {
        const name = fresh();
        const other = await server('server2');
        other.cradle.stats.meter(name).record(7, true);
        other.hooks.channelBound.call({ name: 'c', contract: { name } } as Channel);
        other.hooks.done.call(new Call('c', {}), { outcome: 'ok', body: null, contentType: '', error: null }, 1e7);
        await other.stop();
        expect((await ask({ service: name })).map(({ calls, failures }) => [calls, failures])).to.deep.equal([[1, 1]]);
        expect((await stats.slowCalls?.(5, name))?.map((one) => one.server)).to.deep.equal(['server2']);
      });
    });
  }
}

function run(meter: Meter, times: readonly number[], rounds: number): void {
  for (let round = 0; round < rounds; round++) for (const ms of times) meter.record(ms, ms === 1);
}

/** What is still in use once the garbage is gone. */
function usedHeap(): number {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
  collect();
  return process.memoryUsage().heapUsed;
}

/** The samples between which a quantile may lie: one of them, or two where the share falls just between these. */
function around(sorted: readonly number[], share: number): [number, number] {
  const rank = share * sorted.length;
  const at = (i: number) => sorted[Math.min(sorted.length - 1, Math.max(0, i))] as number;
  return [at(Math.ceil(rank - 1e-6) - 1), at(Math.floor(rank + 1e-6))];
}

function total(counts: readonly number[]): number {
  return counts.reduce((sum, count) => sum + count, 0);
}
