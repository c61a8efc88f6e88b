import { expect } from 'chai';
import fc from 'fast-check';
import { GantryError, type Problem } from '../../../core/errors.ts';
import { type Schedule, ScheduleSchema, upcoming } from '../../../core/jobs/schedule.ts';
import { compileConfig } from '../../../core/schema/check.ts';
import { checkSchedule, checkScheduleForm, compileSchedule } from './fixtures/schedule.ts';

const NOW = Date.parse('2026-06-15T12:00:00Z');
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

const iso = (times: readonly (number | null)[]) => times.map((at) => at && new Date(at).toISOString().slice(0, -5));

function refusal(schedule: unknown, anchor?: number): Problem {
  const problems = checkSchedule(schedule, '.schedule', NOW, anchor);
  expect(problems, JSON.stringify(schedule)).to.have.lengthOf(1);
  return problems[0] as Problem;
}

describe('a schedule of one time', () => {
  const times = compileSchedule({ at: '2026-06-15T14:30:00.250+02:00' }, 0);
  const at = Date.parse('2026-06-15T12:30:00.250Z');

  it('is due at it, once', () => {
    expect(times.next(at - 1)).to.equal(at);
    expect(times.next(at)).to.equal(null);
    expect(times.previous(at - 1)).to.equal(null);
    expect(times.previous(at)).to.equal(at);
    expect(times.between(at - 1, at, 5)).to.deep.equal({ times: [at], count: 1, more: false });
    expect(times.between(at, at + 1, 5)).to.deep.equal({ times: [], count: 0, more: false });
    expect(times.between(at - 1, at, 0)).to.deep.equal({ times: [], count: 1, more: false });
    expect(upcoming(times, 0, 5)).to.deep.equal([at]);
  });
  it('is the moment that its offset says', () => {
    for (const same of ['2026-06-15T12:30:00Z', '2026-06-15t15:30:00+03:00', '2026-06-15T01:45:00-10:45']) {
      expect(compileSchedule({ at: same }, 0).next(0)).to.equal(Date.parse('2026-06-15T12:30:00Z'));
    }
  });
});

describe('an interval', () => {
  it('is due at its start, and then always as much later', () => {
    const times = compileSchedule({ every: '1h30m', start: '2026-06-15T12:00:00Z' }, 0);
    expect(iso(upcoming(times, 0, 3))).to.deep.equal([
      '2026-06-15T12:00:00',
      '2026-06-15T13:30:00',
      '2026-06-15T15:00:00',
    ]);
    expect(times.previous(NOW - 1)).to.equal(null);
    expect(times.previous(NOW)).to.equal(NOW);
  });
  it('without a start is due for the first time one interval after its anchor', () => {
    const times = compileSchedule({ everyMs: 1000 }, NOW);
    expect(upcoming(times, 0, 2)).to.deep.equal([NOW + 1000, NOW + 2000]);
    expect(times.previous(NOW + 999)).to.equal(null);
  });
  it('has an end, which is included, and a number of repeats, which counts due times', () => {
    const start = '2026-06-15T12:00:00Z';
    const ended = compileSchedule({ every: '1h', start, end: '2026-06-15T14:00:00Z' }, 0);
    expect(upcoming(ended, 0, 9)).to.have.lengthOf(3);
    const cut = compileSchedule({ every: '1h', start, end: '2026-06-15T13:59:59.999Z' }, 0);
    expect(upcoming(cut, 0, 9)).to.have.lengthOf(2);
    const counted = compileSchedule({ every: '1h', start, repeats: 4 }, 0);
    expect(upcoming(counted, 0, 9)).to.have.lengthOf(4);
    expect(counted.next(NOW + 3 * HOUR_MS)).to.equal(null);
    expect(counted.previous(NOW + 90 * HOUR_MS)).to.equal(NOW + 3 * HOUR_MS);
    expect(counted.between(0, NOW + 90 * HOUR_MS, 2)).to.deep.equal({
      times: [NOW + 2 * HOUR_MS, NOW + 3 * HOUR_MS],
      count: 4,
      more: false,
    });
    expect(upcoming(compileSchedule({ everyMs: 1000, repeats: 1 }, NOW), 0, 9)).to.deep.equal([NOW + 1000]);
  });
  it('knows weeks to milliseconds', () => {
    const ms = (every: string) => compileSchedule({ every }, 0).next(0);
    expect(ms('2w')).to.equal(14 * DAY_MS);
    expect(ms('1d12h')).to.equal(1.5 * DAY_MS);
    expect(ms('90s')).to.equal(90_000);
    expect(ms('250ms')).to.equal(250);
    expect(ms('10ms')).to.equal(10);
    expect(ms('1m')).to.equal(60_000);
    expect(ms('1m1ms')).to.equal(60_001);
    expect(ms('1w2d3h4m5s6ms')).to.equal(9 * DAY_MS + 3 * HOUR_MS + 245_006);
    expect(ms('36525d')).to.equal(36_525 * DAY_MS);
  });
  it('keeps its phase over ten years, to the millisecond', () => {
    const start = Date.parse('2016-06-15T12:00:00.007Z');
    const times = compileSchedule({ everyMs: 12_347, start: new Date(start).toISOString() }, 0);
    const n = Math.floor((NOW - start) / 12_347) + 1;
    expect(times.next(NOW)).to.equal(start + n * 12_347);
    expect(times.next(start + n * 12_347)).to.equal(start + (n + 1) * 12_347);
  });
  it('never drifts, and agrees with itself, whatever it is', () => {
    const schedule = fc.record({
      everyMs: fc.oneof(fc.integer({ min: 10, max: 5000 }), fc.integer({ min: 10, max: 3_155_760_000_000 })),
      start: fc.integer({ min: 0, max: 4e12 }),
      length: fc.option(fc.integer({ min: -1e6, max: 4e12 })),
      repeats: fc.option(fc.integer({ min: 1, max: 1e6 })),
    });
    fc.assert(
      fc.property(
        schedule,
        fc.integer({ min: 0, max: 6e12 }),
        fc.nat({ max: 9 }),
        ({ everyMs, start, length, repeats }, at, limit) => {
          const end = length === null ? Number.POSITIVE_INFINITY : start + length;
          const times = compileSchedule(
            {
              everyMs,
              start: new Date(start).toISOString(),
              ...(length === null ? {} : { end: new Date(end).toISOString() }),
              ...(repeats === null ? {} : { repeats }),
            },
            0,
          );
          const next = times.next(at);
          if (next !== null) {
            const n = (next - start) / everyMs;
            expect(Number.isInteger(n) && n >= 0 && n < (repeats ?? Number.POSITIVE_INFINITY)).to.equal(true);
            expect(next).to.be.above(at).and.at.most(end);
            if (n > 0) expect(next - everyMs).to.be.at.most(at);
            expect(times.previous(next)).to.equal(next);
            expect(times.previous(next - 1)).to.equal(times.previous(at));
          }
          const until = at + 7 * everyMs;
          const all = upcoming(times, at, 8).filter((one) => one <= until);
          const expected = { times: limit === 0 ? [] : all.slice(-limit), count: all.length, more: false };
          expect(times.between(at, until, limit)).to.deep.equal(expected);
          expect(times.between(until, at, limit).count).to.equal(0);
        },
      ),
      { seed: 6, numRuns: 3000 },
    );
  });
});

describe('a cron expression', () => {
  it('has a start and an end, which are included', () => {
    const cron = { cron: '0 * * * *', start: '2026-06-15T12:00:00Z', end: '2026-06-15T14:00:00Z' };
    const times = compileSchedule(cron, 0);
    expect(iso(upcoming(times, 0, 9))).to.deep.equal([
      '2026-06-15T12:00:00',
      '2026-06-15T13:00:00',
      '2026-06-15T14:00:00',
    ]);
    expect(times.previous(NOW - 1)).to.equal(null);
    expect(times.previous(NOW + DAY_MS)).to.equal(NOW + 2 * HOUR_MS);
    expect(times.between(0, NOW + DAY_MS, 2)).to.deep.equal({
      times: [NOW + HOUR_MS, NOW + 2 * HOUR_MS],
      count: 3,
      more: false,
    });
  });
  it('is in UTC unless another zone is named, and cares nothing for its anchor', () => {
    expect(compileSchedule({ cron: '30 14 * * *' }, NOW).next(NOW)).to.equal(NOW + 2.5 * HOUR_MS);
    expect(compileSchedule({ cron: '30 14 * * *', timeZone: 'Europe/Warsaw' }, NOW).next(NOW)).to.equal(
      NOW + 0.5 * HOUR_MS,
    );
  });
});

describe('what became due a long time ago', () => {
  // Each would take hours if anything were gone through one by one.
  const old: readonly Schedule[] = [
    { everyMs: 10, start: '1990-01-01T00:00:00.003Z' },
    { everyMs: 10, start: '1990-01-01T00:00:00.003Z', repeats: 9_000_000_000_000 },
    { cron: '* * * * * *', start: '1990-01-01T00:00:00Z' },
    { cron: '* * * * * *', timeZone: 'Europe/Warsaw', start: '1990-01-01T00:00:00Z' },
  ];
  for (const schedule of old) {
    it(`costs nothing: ${JSON.stringify(schedule)}`, () => {
      const times = compileSchedule(schedule, 0);
      const stepMs = 'cron' in schedule ? 1000 : 10;
      const start = Date.parse('1990-01-01T00:00:00Z') + ('cron' in schedule ? 0 : 3);
      let at = NOW;
      for (let i = 0; i < 10_000; i++) {
        const next = times.next(at) as number;
        expect(next - at).to.be.at.most(stepMs);
        at = next;
      }
      expect(times.previous(NOW)).to.be.above(NOW - stepMs);
      const { count, more, times: latest } = times.between(0, NOW, 3);
      expect({ count, more }).to.deep.equal({ count: Math.floor((NOW - start) / stepMs) + 1, more: false });
      expect(latest).to.deep.equal(upcoming(times, NOW - 3 * stepMs, 3));
    });
  }

  it('is counted over two centuries, and then it is said that there is more', () => {
    const times = compileSchedule({ cron: '0 12 * * *', timeZone: 'Europe/Warsaw' }, 0);
    const year = (n: number) => Date.UTC(n, 0, 1);
    expect(times.between(year(2000), year(2100), 1)).to.include({ count: 36_525, more: false });
    const all = times.between(year(1970), year(9000), 1);
    expect(all.more).to.equal(true);
    expect(all.count).to.be.above(36_525);
    // Nothing is left out where nothing was due before.
    const late = compileSchedule({ cron: '0 12 * * *', timeZone: 'Europe/Warsaw', start: '8990-01-01T00:00:00Z' }, 0);
    expect(late.between(year(1970), year(9000), 1)).to.include({ count: 3652, more: false });
  });
});

describe('checkSchedule', () => {
  const good: readonly Schedule[] = [
    { at: '2026-06-15T12:00:00.001Z' },
    { every: '10ms' },
    { every: '2w', start: '2020-01-01T00:00:00Z', end: '2030-01-01T00:00:00Z', repeats: 10_000 },
    { everyMs: 3_155_760_000_000 },
    { cron: '@daily' },
    { cron: '0 0 29 2 *', timeZone: 'Asia/Tokyo', start: '2027-01-01T00:00:00+09:00' },
    { cron: '0 0 * 2 MON#5' },
    { cron: '0 12 * * *', end: '2026-06-15T12:00:00Z', start: '2020-01-01T00:00:00Z' },
  ];
  const schema = compileConfig(ScheduleSchema);

  it('takes what is good, as its schema does', () => {
    for (const schedule of good.slice(0, -1)) {
      expect(checkSchedule(schedule, '.schedule', NOW), JSON.stringify(schedule)).to.deep.equal([]);
      expect(schema(schedule, '.schedule'), JSON.stringify(schedule)).to.deep.equal([]);
    }
    expect(checkSchedule(good.at(-1), '.schedule', NOW - 1)).to.deep.equal([]);
  });

  it('its schema refuses other types and fields, and leaves the rest to it', () => {
    for (const of of [null, 'daily', { every: 5000 }, { everyMs: 1.5 }, { evry: '1h' }]) {
      expect(schema(of, '.schedule'), JSON.stringify(of)).to.not.deep.equal([]);
    }
    expect(schema({ at: 'tomorrow' }, '.schedule')).to.deep.equal([]);
  });

  const wrong: readonly { of: unknown; path: string; said: RegExp; hint: RegExp }[] = [
    { of: null, path: '.schedule', said: /object/, hint: /every/ },
    { of: [], path: '.schedule', said: /object/, hint: /every/ },
    { of: '1h30m', path: '.schedule', said: /object/, hint: /{ every: '1h30m' }/ },
    { of: '0 2 * * *', path: '.schedule', said: /object/, hint: /{ cron: '0 2 \* \* \*' }/ },
    { of: '2030-01-01T00:00:00Z', path: '.schedule', said: /object/, hint: /{ at: '2030/ },
    { of: {}, path: '.schedule', said: /does not say when/, hint: /every/ },
    { of: { evry: '1h' }, path: '.schedule', said: /does not say when/, hint: /Did you mean 'every'/ },
    { of: { every: '1h', cron: '* * * * *' }, path: '.schedule', said: /more than one/, hint: /job of each/ },
    { of: { every: '1h', repeat: 3 }, path: '.schedule.repeat', said: /beside every/, hint: /Did you mean 'repeats'/ },
    { of: { cron: '* * * * *', repeats: 3 }, path: '.schedule.repeats', said: /beside cron/, hint: /until end/ },
    { of: { every: '1d', timeZone: 'UTC' }, path: '.schedule.timeZone', said: /beside every/, hint: /Only cron/ },
    {
      of: { at: '2030-01-01T00:00:00Z', end: '2031-01-01T00:00:00Z' },
      path: '.schedule.end',
      said: /beside at/,
      hint: /Leave it out/,
    },
    { of: { at: 5 }, path: '.schedule.at', said: /not a time/, hint: /text/ },
    { of: { at: '2030-01-01T00:00:00' }, path: '.schedule.at', said: /not a time/, hint: /add Z/ },
    { of: { at: '2030-02-30T00:00:00Z' }, path: '.schedule.at', said: /not a time/, hint: /no such day/ },
    { of: { at: '2030-13-01T00:00:00Z' }, path: '.schedule.at', said: /not a time/, hint: /no such day/ },
    { of: { at: '2030-01-01' }, path: '.schedule.at', said: /not a time/, hint: /day alone/ },
    // What RFC 3339 leaves open and JSON Schema takes.
    { of: { at: '2030-01-01 00:00:00Z' }, path: '.schedule.at', said: /not a time/, hint: /a T/ },
    { of: { at: '2030-12-31T23:59:60Z' }, path: '.schedule.at', said: /not a time/, hint: /leap/ },
    { of: { at: '2030-01-01T24:00:00Z' }, path: '.schedule.at', said: /not a time/, hint: /two digits/ },
    { of: { every: 5000 }, path: '.schedule.every', said: /not an interval/, hint: /everyMs/ },
    { of: { every: '' }, path: '.schedule.every', said: /not an interval/, hint: /Short letters/ },
    { of: { every: '5000' }, path: '.schedule.every', said: /not an interval/, hint: /5000s is seconds/ },
    { of: { every: '1h 30m' }, path: '.schedule.every', said: /not an interval/, hint: /spaces/ },
    { of: { every: '30m1h' }, path: '.schedule.every', said: /not an interval/, hint: /Short letters/ },
    { of: { every: '1h1h' }, path: '.schedule.every', said: /not an interval/, hint: /Short letters/ },
    { of: { every: '1.5h' }, path: '.schedule.every', said: /not an interval/, hint: /Whole numbers/ },
    { of: { every: '-1h' }, path: '.schedule.every', said: /not an interval/, hint: /longer than nothing/ },
    { of: { every: '1mo' }, path: '.schedule.every', said: /not an interval/, hint: /use cron/ },
    { of: { every: '5 minutes' }, path: '.schedule.every', said: /not an interval/, hint: /'5m'/ },
    { of: { every: '*/5 * * * *' }, path: '.schedule.every', said: /not an interval/, hint: /is cron/ },
    {
      of: { every: '9ms' },
      path: '.schedule.every',
      said: /not a possible interval/,
      hint: /more often/,
    },
    {
      of: { every: '0h' },
      path: '.schedule.every',
      said: /not a possible interval/,
      hint: /more often/,
    },
    {
      of: { every: '36526d' },
      path: '.schedule.every',
      said: /not a possible interval/,
      hint: /more rarely/,
    },
    { of: { everyMs: 9 }, path: '.schedule.everyMs', said: /not a possible interval/, hint: /more often/ },
    { of: { everyMs: 10.5 }, path: '.schedule.everyMs', said: /not a possible interval/, hint: /more often/ },
    { of: { everyMs: '1h' }, path: '.schedule.everyMs', said: /not a possible interval/, hint: /is every/ },
    { of: { everyMs: Number.NaN }, path: '.schedule.everyMs', said: /not a possible interval/, hint: /more often/ },
    { of: { every: '1h', repeats: 0 }, path: '.schedule.repeats', said: /number of times/, hint: /leave it out/ },
    { of: { every: '1h', repeats: 1.5 }, path: '.schedule.repeats', said: /number of times/, hint: /leave it out/ },
    { of: { cron: 5 }, path: '.schedule.cron', said: /not a cron expression/, hint: /ranges/ },
    { of: { cron: '*'.repeat(501) }, path: '.schedule.cron', said: /not a cron expression/, hint: /ranges/ },
    { of: { cron: '60 * * * *' }, path: '.schedule.cron', said: /minute/, hint: /write 0/ },
    {
      of: { cron: '* * * * *', timeZone: 'Warsaw' },
      path: '.schedule.timeZone',
      said: /time zone/,
      hint: /Europe\/Warsaw/,
    },
    {
      of: { cron: '* * * * *', timeZone: '+02:00' },
      path: '.schedule.timeZone',
      said: /time zone/,
      hint: /daylight/,
    },
    {
      of: { cron: '* * * * *', timeZone: 'IST' },
      path: '.schedule.timeZone',
      said: /time zone/,
      hint: /abbreviation/,
    },
    { of: { cron: '* * * * *', timeZone: 2 }, path: '.schedule.timeZone', said: /time zone/, hint: /text/ },
  ];
  for (const { of, path, said, hint } of wrong) {
    it(`refuses the form of ${JSON.stringify(of)?.slice(0, 60)}`, () => {
      const problem = refusal(of);
      expect(problem.path).to.equal(path);
      expect(problem.message).to.match(said);
      expect(problem.hint).to.match(hint);
      expect(problem.expected).to.be.a('string');
      expect(problem.got).to.be.a('string');
      expect(checkScheduleForm(of, '.schedule')).to.deep.equal([problem]);
      const error = (() => {
        try {
          compileSchedule(of as Schedule, 0);
        } catch (thrown) {
          return thrown;
        }
        return null;
      })();
      expect(error).to.be.instanceOf(GantryError).with.property('code', 'INVALID');
      expect((error as GantryError).hint).to.contain(problem.message);
    });
  }

  it('tells all that is wrong at once', () => {
    const problems = checkSchedule({ cron: '60 24 * * *', timeZone: 'Mars', start: 'now' }, 'jobs[0].schedule', NOW);
    expect(problems.map(({ path }) => path)).to.deep.equal([
      'jobs[0].schedule.cron',
      'jobs[0].schedule.cron',
      'jobs[0].schedule.timeZone',
      'jobs[0].schedule.start',
    ]);
  });

  const never: readonly { of: Schedule; path: string; said: RegExp; expected: RegExp }[] = [
    {
      of: { at: '2026-06-15T12:00:00Z' },
      path: '.schedule.at',
      said: /is in the past/,
      expected: /2026-06-15T12:00:00.000Z/,
    },
    { of: { cron: '0 0 30 2 *' }, path: '.schedule.cron', said: /no year has such a day/, expected: /day/ },
    { of: { cron: '0 0 31 4,6 *', timeZone: 'Asia/Tokyo' }, path: '.schedule.cron', said: /no year/, expected: /day/ },
    {
      of: { cron: '@daily', start: '2027-01-02T00:00:00Z', end: '2027-01-01T00:00:00Z' },
      path: '.schedule.end',
      said: /before start/,
      expected: /from 2027-01-02T00:00:00.000Z on/,
    },
    {
      of: { every: '1h', start: '2027-01-02T00:00:00Z', end: '2027-01-01T00:00:00Z' },
      path: '.schedule.end',
      said: /before start/,
      expected: /from 2027-01-02/,
    },
    {
      of: { every: '1h', end: '2026-06-15T12:00:00Z' },
      path: '.schedule.end',
      said: /in the past/,
      expected: /after 2026/,
    },
    {
      of: { every: '1h', end: '2026-06-15T12:59:59Z' },
      path: '.schedule.end',
      said: /before the next time/,
      expected: /from 2026-06-15T13:00:00.000Z on/,
    },
    {
      of: { cron: '0 0 29 2 *', end: '2028-02-28T23:59:59Z' },
      path: '.schedule.end',
      said: /before the next time/,
      expected: /from 2028-02-29T00:00:00.000Z on/,
    },
    {
      of: { every: '1d', start: '2026-06-14T13:00:00Z', end: '2026-06-15T12:30:00Z', repeats: 100 },
      path: '.schedule.end',
      said: /before the next time/,
      expected: /from 2026-06-15T13:00:00.000Z on/,
    },
    {
      of: { every: '1h', start: '2026-06-15T00:00:00Z', repeats: 13 },
      path: '.schedule.repeats',
      said: /the last one was at 2026-06-15T12:00:00.000Z/,
      expected: /more/,
    },
  ];
  for (const { of, path, said, expected } of never) {
    it(`refuses what is never due: ${JSON.stringify(of)}`, () => {
      const problem = refusal(of);
      expect(problem.path).to.equal(path);
      expect(problem.message).to.match(said);
      expect(problem.expected).to.match(expected);
      expect(problem.hint).to.be.a('string');
      expect(checkScheduleForm(of, '.schedule')).to.deep.equal([]);
      expect(compileSchedule(of, NOW).next(NOW)).to.equal(null);
    });
  }

  it('goes by the anchor of an interval that is in use', () => {
    const schedule = { every: '10d', end: '2026-06-17T12:00:00Z' };
    expect(refusal(schedule).path).to.equal('.schedule.end');
    expect(checkSchedule(schedule, '.schedule', NOW, NOW - 9 * DAY_MS)).to.deep.equal([]);
    const counted = { every: '1h', repeats: 3 };
    expect(checkSchedule(counted, '.schedule', NOW)).to.deep.equal([]);
    expect(refusal(counted, NOW - 4 * HOUR_MS).path).to.equal('.schedule.repeats');
  });
});
