import { expect } from 'chai';
import fc from 'fast-check';
import type { Stats } from '../../core/api.ts';
import { Kernel } from '../../core/kernel.ts';
import { Logs } from '../../core/log.ts';
import { add, BOUNDS_MS, BUCKETS, bucketOf, Latency } from '../../plugins/stats-memory/histogram.ts';
import plugin from '../../plugins/stats-memory/index.ts';
import { testStats } from '../kit/stats.ts';

const ID = 'stats.memory';

describe(ID, () => {
  // Buckets are 1/32 of their doubling wide.
  testStats({ plugin, config: {}, relativeError: 1 / 32, resolutionMs: 0.008 });

  describe('buckets', () => {
    const right = (ms: number) => BOUNDS_MS.findIndex((bound) => ms <= bound);

    it('reach from 10 microseconds to 10 minutes, none wider than 1/32 of where it begins', () => {
      expect(BOUNDS_MS[0]).to.be.at.most(0.01);
      expect(BOUNDS_MS.at(-2)).to.be.at.least(600_000);
      for (let i = 1; i < BUCKETS - 1; i++) {
        const [from, to] = [BOUNDS_MS[i - 1] as number, BOUNDS_MS[i] as number];
        expect((to - from) / from).to.be.at.most(1 / 32);
      }
    });

    it('have powers of two ms among their bounds, for those who want few', () => {
      for (let ms = 1 / 128; ms <= 2 ** 20; ms *= 2) expect(BOUNDS_MS).to.include(ms);
    });

    it('are found for every double: any bit pattern', () => {
      const bits = fc.bigInt({ min: 0n, max: 0x7ff0_0000_0000_0000n });
      fc.assert(
        fc.property(bits, (pattern) => {
          const ms = new Float64Array(new BigUint64Array([pattern]).buffer)[0] as number;
          expect(bucketOf(ms)).to.equal(right(ms));
        }),
        { numRuns: 2000 },
      );
    });

    it('are found for every double in their range', () => {
      const exponent = fc.double({ min: -8, max: 21, noNaN: true });
      fc.assert(
        fc.property(exponent, (power) => bucketOf(2 ** power) === right(2 ** power)),
        { numRuns: 5000 },
      );
    });

    it('are found at each bound, and at the doubles next to it', () => {
      for (const [i, bound] of BOUNDS_MS.entries()) {
        expect(bucketOf(bound), `at ${bound}`).to.equal(i);
        if (i === BUCKETS - 1) continue;
        expect(bucketOf(next(bound, 1n)), `after ${bound}`).to.equal(i + 1);
        expect(bucketOf(next(bound, -1n)), `before ${bound}`).to.equal(i);
      }
    });

    it('take what is no latency as 0', () => {
      for (const ms of [Number.NaN, -1, Number.NEGATIVE_INFINITY, 0, -0]) expect(bucketOf(ms)).to.equal(0);
    });
  });

  describe('histograms', () => {
    const times = fc.array(fc.double({ min: 0, max: 1e6, noNaN: true }), { maxLength: 100 });

    it('add up to what one would be that saw everything, quantiles too', () => {
      fc.assert(
        fc.property(fc.array(times, { maxLength: 4 }), fc.double({ min: 0, max: 1, noNaN: true }), (parts, share) => {
          const sum = add(parts.map(histogram));
          const whole = histogram(parts.flat());
          expect(sum).to.deep.equal(whole);
          expect(sum.quantile(share)).to.equal(whole.quantile(share));
        }),
      );
    });

    it('of nothing have quantiles of 0', () => {
      expect(add([]).quantile(0.99)).to.equal(0);
      expect(histogram([]).quantile(0.5)).to.equal(0);
    });

    it('take a share below 0 as 0 and above 1 as 1', () => {
      expect(histogram([3, 9]).quantile(-1)).to.equal(3);
      expect(histogram([3, 9]).quantile(7)).to.equal(9);
    });

    it('go no further than they must: half of two calls is the shorter one', () => {
      expect(histogram([1, 1000]).quantile(0.5)).to.equal(1);
      expect(histogram([1, 1000]).quantile(0.51)).to.be.within(970, 1000);
    });

    it('spread the calls of one bucket evenly over it', () => {
      const counts = new Array<number>(BUCKETS).fill(0);
      counts[bucketOf(33)] = 100;
      const told = new Latency(counts, 0, 100);
      expect(told.quantile(0.25)).to.equal(32.25);
      expect(told.quantile(0.5)).to.equal(32.5);
    });
  });

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
  const kernel = new Kernel({ logs }).create([{ id: ID, plugin, config: { ...config } }]);
  return { stats: kernel.cradle.stats, lines };
}

function histogram(times: readonly number[]): Latency {
  const counts = new Array<number>(BUCKETS).fill(0);
  for (const ms of times) counts[bucketOf(ms)] = (counts[bucketOf(ms)] as number) + 1;
  return new Latency(counts, times.length === 0 ? 0 : Math.min(...times), Math.max(0, ...times));
}

/** The double that comes `steps` after. */
function next(value: number, steps: bigint): number {
  const real = new Float64Array([value]);
  const bits = new BigInt64Array(real.buffer);
  bits[0] = (bits[0] as bigint) + steps;
  return real[0] as number;
}
