/** What the stats plugins count with. */
import { expect } from 'chai';
import fc from 'fast-check';
import { Call, type Reply } from '../../../core/api.ts';
import { createHooks } from '../../../core/hooks.ts';
import type { Channel } from '../../../core/ports/index.ts';
import type { ServiceStats, SlowCall } from '../../../core/ports/stats.ts';
import { BOUNDS_MS, BUCKETS, bucketOf, Latency } from '../../../core/statistics/histogram.ts';
import { ServiceMeter } from '../../../core/statistics/meter.ts';
import { PERIODS, periodAfter, periodOf, periodsOf } from '../../../core/statistics/periods.ts';
import { SlowCalls } from '../../../core/statistics/slow-calls.ts';
import { addStats, Tally } from '../../../core/statistics/tally.ts';

describe('statistics', () => {
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
          const sum = addStats('a', parts.map(statsOf)).latency;
          const whole = histogram(parts.flat());
          expect(sum.counts).to.deep.equal(whole.counts);
          expect(sum.quantile(share)).to.equal(whole.quantile(share));
        }),
      );
    });

    it('of nothing have quantiles of 0', () => {
      expect(addStats('a', []).latency.quantile(0.99)).to.equal(0);
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

  describe('meters', () => {
    const sample = fc.record({ ms: fc.double({ min: 0, max: 1e5, noNaN: true }), failed: fc.boolean() });
    /** True: what was recorded is taken here. */
    const work = fc.array(fc.oneof(sample, fc.constant(true)), { maxLength: 200 });

    it('hand over each call once, and still tell of all', () => {
      fc.assert(
        fc.property(work, (steps) => {
          const [taken, plain] = [new ServiceMeter('a'), new ServiceMeter('a')];
          const sum = new Tally();
          const take = () => {
            const tally = taken.take();
            if (tally !== null) sum.add(tally);
          };
          for (const step of steps) {
            if (step === true) take();
            else for (const meter of [taken, plain]) meter.record(step.ms, step.failed);
          }
          same(taken.snapshot(), plain.snapshot());
          take();
          same(taken.snapshot(), plain.snapshot());
          same(sum.stats('a'), plain.snapshot());
          expect(taken.take()).to.equal(null);
        }),
      );
    });

    it('have nothing to hand over where nothing was recorded', () => {
      const meter = new ServiceMeter('a');
      expect(meter.take()).to.equal(null);
      meter.record(0, true);
      expect(meter.take()).to.include({ calls: 1, failures: 1, minMs: 0, maxMs: 0, sumMs: 0 });
      expect(meter.take()).to.equal(null);
    });
  });

  describe('sums', () => {
    it('have the mean of all calls, and not one of means', () => {
      const all = [statsOf([100]), statsOf(Array.from({ length: 99 }, () => 1))];
      expect(addStats('b', all)).to.include({ service: 'b', calls: 100, meanMs: 1.99, minMs: 1, maxMs: 100 });
    });

    it('are not changed by what is empty', () => {
      expect(addStats('a', [statsOf([]), statsOf([5]), statsOf([])])).to.include({ calls: 1, minMs: 5, maxMs: 5 });
      expect(addStats('a', [])).to.include({ calls: 0, minMs: 0, meanMs: 0, maxMs: 0, sumMs: 0 });
    });
  });

  describe('periods', () => {
    const at = fc.date({ min: new Date('1999-01-01'), max: new Date('2100-01-01'), noInvalidDate: true });

    it('begin where UTC has them begin, lie in each other, and follow each other', () => {
      fc.assert(
        fc.property(at, (date) => {
          const begins = PERIODS.map((per) => new Date(periodOf(per, date.getTime())).toISOString());
          const iso = date.toISOString();
          const [minute, hour, day, month] = [16, 13, 10, 7].map((length) => iso.slice(0, length));
          expect(begins).to.deep.equal([
            `${minute}:00.000Z`,
            `${hour}:00:00.000Z`,
            `${day}T00:00:00.000Z`,
            `${month}-01T00:00:00.000Z`,
          ]);
          for (const per of PERIODS) {
            const next = periodAfter(per, date.getTime());
            expect(periodOf(per, next)).to.equal(next);
            expect(periodOf(per, next - 1)).to.equal(periodOf(per, date.getTime()));
          }
        }),
      );
    });

    it('of a query are those that begin before its end, the first one being that of its beginning', () => {
      const days = (from: string, until: string, since = 0) =>
        periodsOf({ per: 'day', from: new Date(from), until: new Date(until) }, since).map((begin) =>
          new Date(begin).toISOString().slice(0, 10),
        );
      expect(days('2024-02-28T23:59Z', '2024-03-01T00:00Z')).to.deep.equal(['2024-02-28', '2024-02-29']);
      expect(days('2024-02-28T00:00Z', '2024-02-28T00:01Z')).to.deep.equal(['2024-02-28']);
      expect(days('2024-02-28T00:00Z', '2024-02-28T00:00Z')).to.deep.equal([]);
      expect(days('1990-01-01', '2024-03-02', Date.UTC(2024, 2, 1, 12))).to.deep.equal(['2024-03-01']);
      expect(days('2024-03-01', '2024-02-01')).to.deep.equal([]);
      expect(days('9999-01-01', '9999-12-31')).to.deep.equal([]);
      expect(() => days('no time', '2024-02-01'))
        .to.throw()
        .with.property('code', 'INVALID');
    });
  });

  describe('slow calls', () => {
    const slowCalls = (options: Partial<ConstructorParameters<typeof SlowCalls>[0]> = {}) =>
      new SlowCalls({ server: 's1', slowMs: 100, slowMsByService: {}, kept: 3, ...options });
    const call = (service: string, ms: number, at = new Date()): SlowCall => ({
      ...{ service, ms, at, server: 's1', channel: 'c', cid: `${service}-${ms}`, outcome: 'ok' },
    });
    const reply: Reply = { outcome: 'ok', body: null, contentType: '', error: null };
    const channel = (name: string, service: string) => ({ name, contract: { name: service } }) as Channel;

    it('are the slowest of each service, in any order of coming', () => {
      fc.assert(
        fc.property(fc.array(fc.integer({ min: 0, max: 50 })), (all) => {
          const slow = slowCalls();
          for (const ms of all) slow.add(call('a', ms));
          slow.add(call('b', 1));
          const expected = all.sort((one, other) => other - one).slice(0, 3);
          expect(slow.list(10, 'a').map(({ ms }) => ms)).to.deep.equal(expected);
          expect(slow.list(100)).to.have.lengthOf(expected.length + 1);
        }),
      );
    });

    it('are seen by channel, from the limit on, with the limit of their service', () => {
      const hooks = createHooks();
      const slow = slowCalls({ slowMsByService: { quick: 10, patient: 1000 } });
      slow.watch('stats.test', hooks);
      for (const service of ['quick', 'patient', 'any']) hooks.channelBound.call(channel(`to ${service}`, service));
      for (const to of ['to quick', 'to patient', 'to any', 'unknown']) {
        for (const ms of [9, 10, 99, 100, 999, 1000]) hooks.done.call(new Call(to, { cid: 'x' }), reply, ms);
      }
      const seen = slow.list(100).map(({ service, ms }) => `${service} ${ms}`);
      expect(seen.sort()).to.deep.equal(
        ['any 100', 'any 999', 'any 1000', 'patient 1000', 'quick 100', 'quick 999', 'quick 1000'].sort(),
      );
      const [first] = slow.list(1, 'patient');
      expect(first).to.include({ server: 's1', channel: 'to patient', cid: 'x', outcome: 'ok' });
      expect(Math.abs(Date.now() - (first?.at.getTime() ?? 0))).to.be.below(10_000);
      hooks.channelUnbound.call(channel('to quick', 'quick'));
      hooks.done.call(new Call('to quick', {}), reply, 5000);
      expect(slow.list(1, 'quick')[0]?.ms).to.equal(1000);
    });

    it('of services without end need no memory without end', () => {
      const slow = slowCalls();
      for (let i = 0; i < 20_000; i++) slow.add(call(`service.${i}`, 100 + i));
      expect(slow.list(Number.MAX_SAFE_INTEGER)).to.have.lengthOf(5000);
      expect(slow.take()).to.have.lengthOf(5000);
      expect(slow.list(1)).to.deep.equal([]);
      slow.add(call('a', 1));
      expect(slow.list(1)).to.have.lengthOf(1);
    });

    it('are forgotten when they are old', () => {
      const slow = slowCalls();
      for (const at of [1, 2, 3]) slow.add(call('a', 100 - at, new Date(at)));
      slow.forget(2);
      expect(slow.list(9).map(({ at }) => at.getTime())).to.deep.equal([2, 3]);
    });

    it('cost nothing where none is kept', () => {
      const hooks = createHooks();
      slowCalls({ kept: 0 }).watch('stats.test', hooks);
      expect(hooks.done.isUsed()).to.equal(false);
    });
  });
});

function same(told: ServiceStats, expected: ServiceStats): void {
  const { latency, sumMs, meanMs, ...rest } = told;
  expect(rest).to.deep.equal({ ...rest, ...pick(expected) });
  expect(sumMs).to.be.closeTo(expected.sumMs, expected.sumMs * 1e-9);
  expect(meanMs).to.be.closeTo(expected.meanMs, expected.meanMs * 1e-9);
  expect(latency.counts).to.deep.equal(expected.latency.counts);
  for (const share of [0, 0.5, 0.99, 1]) expect(latency.quantile(share)).to.equal(expected.latency.quantile(share));
}

function pick({ service, calls, failures, minMs, maxMs }: ServiceStats) {
  return { service, calls, failures, minMs, maxMs };
}

function statsOf(times: readonly number[]): ServiceStats {
  const meter = new ServiceMeter('a');
  for (const ms of times) meter.record(ms, false);
  return meter.snapshot();
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
