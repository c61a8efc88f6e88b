/** The contract kit of the stats port: every promise of core/ports/stats.ts. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect } from 'chai';
import fc from 'fast-check';
import { Kernel } from '../../core/kernel.ts';
import { Logs } from '../../core/log.ts';
import type { Plugin } from '../../core/plugin.ts';
import type { Meter, ServiceStats, Stats } from '../../core/ports/stats.ts';

export interface StatsKit {
  readonly plugin: Plugin;
  readonly config?: Readonly<Record<string, unknown>>;
  /** How far a quantile may be off, as a share of the latency. */
  readonly relativeError?: number;
  /** How far it may be off however short the latency is. */
  readonly resolutionMs?: number;
  /** The longest latency for which this holds. */
  readonly longestMs?: number;
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
}: StatsKit): void {
  let kernel: Kernel;
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

  beforeEach(async () => {
    const loaded = { id: plugin.id, plugin, config: structuredClone(config) };
    kernel = await new Kernel({ logs: new Logs({ level: 'silent' }) }).create([loaded]).start();
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

  function recordedAs(all: readonly Sample[]): string {
    const name = fresh();
    const meter = stats.meter(name);
    for (const { ms, failed } of all) meter.record(ms, failed);
    return name;
  }
  function recorded(all: readonly Sample[]): ServiceStats {
    return of(recordedAs(all));
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
