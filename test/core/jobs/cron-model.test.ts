/** Cron expressions against a model of them that is slow and plain: it looks at each minute of some days, one by one. */
import { expect } from 'chai';
import fc from 'fast-check';
import { type Times, upcoming } from '../../../core/jobs/schedule.ts';
import { compileSchedule } from './fixtures/schedule.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const RUNS = Number(process.env['CASES'] ?? 300);

// The model of an expression: what a field says of a value, read anew for each.

interface Day {
  readonly day: number;
  readonly month: number;
  readonly weekday: number;
  /** Of the month. */
  readonly length: number;
}

function dayOf(year: number, month: number, day: number): Day {
  const length = new Date(Date.UTC(year, month, 0)).getUTCDate();
  return { day, month, weekday: new Date(Date.UTC(year, month - 1, day)).getUTCDay(), length };
}

/** Walks from the first value to the last one as the hand of a clock does, over the end if need be. */
function says(item: string, value: number, least: number, most: number): boolean {
  const [range = '', step] = item.split('/');
  const [a, b] = range === '*' ? [least, most] : range.split('-').map(Number);
  const last = b ?? (step === undefined ? a : most);
  for (let at = a as number, n = 0; ; at = at === most ? least : at + 1, n++) {
    if (at === value && n % Number(step ?? 1) === 0) return true;
    if (at === last) return false;
  }
}

function saysDay(item: string, { day, length, weekday }: Day): boolean {
  const weekdayOf = (other: number) => (((weekday + other - day) % 7) + 7) % 7;
  const nearest = (to: number) =>
    [to, to - 1, to + 1, to - 2, to + 2].find((d) => d >= 1 && d <= length && weekdayOf(d) >= 1 && weekdayOf(d) <= 5);
  if (item === 'LW') return day === nearest(length);
  if (item.startsWith('L')) return day === length - Number(item.slice(2) || 0);
  if (item.endsWith('W')) return Number.parseInt(item, 10) <= length && day === nearest(Number.parseInt(item, 10));
  return says(item, day, 1, 31);
}

function saysWeekday(item: string, { day, length, weekday }: Day): boolean {
  const [of, nth] = item.split('#').map(Number);
  if (nth !== undefined) return weekday === of && Math.ceil(day / 7) === nth;
  if (item.endsWith('L')) return weekday === Number.parseInt(item, 10) && day + 7 > length;
  return says(item, weekday, 0, 6);
}

const some = (text: string, matches: (item: string) => boolean) => text.split(',').some(matches);

function matchesDay([, , days = '', months = '', weekdays = '']: readonly string[], day: Day): boolean {
  if (!some(months, (item) => says(item, day.month, 1, 12))) return false;
  const [byDay, byWeekday] = [
    some(days, (item) => saysDay(item, day)),
    some(weekdays, (item) => saysWeekday(item, day)),
  ];
  return days === '*' || weekdays === '*' ? byDay && byWeekday : byDay || byWeekday;
}

/** Which local times an expression names. */
function matcher(fields: readonly string[]): (local: number) => boolean {
  const [minutes = '', hours = ''] = fields;
  const minute = Array.from({ length: 60 }, (_, value) => some(minutes, (item) => says(item, value, 0, 59)));
  const hour = Array.from({ length: 24 }, (_, value) => some(hours, (item) => says(item, value, 0, 23)));
  const byDay = new Map<string, boolean>();
  return (local) => {
    const date = new Date(local);
    if (minute[date.getUTCMinutes()] !== true || hour[date.getUTCHours()] !== true) return false;
    const key = date.toISOString().slice(0, 10);
    const known = byDay.get(key);
    const day = known ?? matchesDay(fields, dayOf(date.getUTCFullYear(), date.getUTCMonth() + 1, date.getUTCDate()));
    byDay.set(key, day);
    return day;
  };
}

// The model of a zone: what its clock shows in each minute of some days.

interface Clock {
  readonly zone: string;
  readonly from: number;
  readonly until: number;
  /** What is shown, to when it is: twice, where the clock was put back. */
  readonly shown: ReadonlyMap<number, readonly number[]>;
}

function clockOf(zone: string, around: string): Clock {
  const [from, until] = [Date.parse(around) - 2 * DAY_MS, Date.parse(around) + 2 * DAY_MS];
  const format = new Intl.DateTimeFormat('sv-SE', { timeZone: zone, dateStyle: 'short', timeStyle: 'medium' });
  const shown = new Map<number, number[]>();
  for (let at = from; at < until; at += MINUTE_MS) {
    const local = Date.parse(`${format.format(at).replace(' ', 'T')}Z`);
    shown.set(local, [...(shown.get(local) ?? []), at]);
  }
  return { zone, from, until, shown };
}

function modelled(fields: readonly string[], { shown, from, until }: Clock): number[] {
  const everyHour = Array.from({ length: 24 }, (_, hour) => hour).every((hour) =>
    some(fields[1] as string, (item) => says(item, hour, 0, 23)),
  );
  const matches = matcher(fields);
  const due = new Set<number>();
  const locals = [...shown.keys()];
  const last = Math.max(...locals);
  let before = locals[0] as number;
  for (let local = before; local <= last; local += MINUTE_MS) {
    const times = shown.get(local) ?? [];
    if (times.length > 0) before = local;
    if (!matches(local)) continue;
    if (everyHour) for (const at of times) due.add(at);
    else due.add(times[0] ?? ((shown.get(before) as number[]).at(-1) as number) + local - before);
  }
  // Near the ends it does not know all that it would have to.
  return [...due].filter((at) => at > from + DAY_MS && at <= until - DAY_MS).sort((a, b) => a - b);
}

/** Days on which clocks change, of all the ways in which they do, and some on which they do not. */
const CLOCKS = [
  ['Europe/Warsaw', '2026-03-29'],
  ['Europe/Warsaw', '2026-10-25'],
  ['America/New_York', '2026-03-08'],
  ['America/New_York', '2026-11-01'],
  ['Australia/Lord_Howe', '2026-04-05'],
  ['Australia/Lord_Howe', '2026-10-04'],
  ['America/Sao_Paulo', '2018-02-18'],
  ['America/Sao_Paulo', '2018-11-04'],
  ['Africa/Cairo', '2024-04-26'],
  ['Africa/Cairo', '2024-11-01'],
  ['Pacific/Chatham', '2026-09-27'],
  ['America/St_Johns', '2010-11-07'],
  ['Antarctica/Troll', '2026-03-29'],
  ['Pacific/Apia', '2011-12-30'],
  ['America/Caracas', '2016-05-01'],
  ['Asia/Pyongyang', '2015-08-15'],
  ['Asia/Kathmandu', '2026-02-28'],
  ['UTC', '2028-02-29'],
  // Summer time for a week.
  ['America/Recife', '2000-10-08'],
  ['America/Recife', '2000-10-15'],
  // Offsets are looked through in pieces of 2 ** 35 ms. One begins a few minutes before, or within, such an hour.
  ['Europe/Warsaw', '2065-10-25'],
  ['Europe/Chisinau', '2065-10-25'],
  ['Asia/Beirut', '2083-03-28'],
] as const;

// Expressions, of all that we read.

const within = (least: number, most: number) => fc.integer({ min: least, max: most });
const item = (least: number, most: number): fc.Arbitrary<string> =>
  fc.oneof(
    within(least, most).map(String),
    fc.tuple(within(least, most), within(least, most)).map((range) => range.join('-')),
    fc
      .tuple(within(least, most), within(least, most), within(1, most - least + 1))
      .map(([a, b, step]) => `${a}-${b}/${step}`),
    within(1, most - least + 1).map((step) => `*/${step}`),
  );
const listOf = (items: fc.Arbitrary<string>) =>
  fc.oneof(
    fc.constant('*'),
    fc.array(items, { minLength: 1, maxLength: 3 }).map((all) => all.join(',')),
  );
const from = (least: number, most: number) =>
  fc.tuple(within(least, most), within(1, most - least + 1)).map(([value, step]) => `${value}/${step}`);

const oddDay = fc.oneof(
  fc.constantFrom('L', 'LW'),
  within(1, 30).map((n) => `L-${n}`),
  within(1, 31).map((n) => `${n}W`),
);
const oddWeekday = fc.oneof(
  within(0, 6).map((n) => `${n}L`),
  fc.tuple(within(0, 6), within(1, 5)).map(([weekday, nth]) => `${weekday}#${nth}`),
);
const minutes = listOf(fc.oneof(item(0, 59), from(0, 59)));
const hours = listOf(fc.oneof(item(0, 23), from(0, 23)));
const days = listOf(fc.oneof(item(1, 31), oddDay));
const months = listOf(item(1, 12));
const weekdays = listOf(fc.oneof(item(0, 6), oddWeekday));
/** A change is on one day of a year: most expressions must be about any day to have something to do with it. */
const often = fc.oneof(
  { weight: 3, arbitrary: fc.tuple(minutes, hours, fc.constant('*'), fc.constant('*'), fc.constant('*')) },
  { weight: 1, arbitrary: fc.tuple(minutes, hours, days, fc.constant('*'), weekdays) },
);

function back(times: Times, from: number, until: number): number[] {
  const found: number[] = [];
  for (let at = times.previous(until); at !== null && at > from; at = times.previous(at - 1)) found.unshift(at);
  return found;
}
function forth(times: Times, from: number, until: number): number[] {
  const found: number[] = [];
  for (let at = times.next(from); at !== null && at <= until; at = times.next(at)) found.push(at);
  return found;
}
const iso = (times: readonly number[]) => times.map((at) => new Date(at).toISOString()).join('\n');

describe('cron expressions and a plain model of them', () => {
  for (const [zone, around] of CLOCKS) {
    it(`mean the same in ${zone} about ${around}`, function () {
      this.timeout(120_000);
      const clock = clockOf(zone, around);
      const [start, end] = [clock.from + DAY_MS, clock.until - DAY_MS];
      fc.assert(
        fc.property(often, fc.nat({ max: 20 }), within(start, end), (fields, limit, moment) => {
          const times = compileSchedule({ cron: fields.join(' '), timeZone: zone }, 0);
          const due = modelled(fields, clock);
          expect(iso(forth(times, start, end))).to.equal(iso(due));
          expect(iso(back(times, start, end))).to.equal(iso(due));
          const part = due.filter((at) => at > moment);
          const found = times.between(moment, end, limit);
          expect(iso(found.times)).to.equal(iso(limit === 0 ? [] : part.slice(-limit)));
          expect(found).to.include({ count: part.length, more: false });
        }),
        { seed: Date.parse(around) % 2 ** 31, numRuns: Math.ceil(RUNS / 5) },
      );
    });
  }

  it('have the same days of every month', function () {
    this.timeout(120_000);
    fc.assert(
      fc.property(
        days,
        months,
        weekdays,
        fc.constantFrom(1999, 2000, 2027, 2099, 2100),
        (day, month, weekday, year) => {
          const fields = ['0', '0', day, month, weekday];
          const [from, until] = [Date.UTC(year, 0, 1) - 1, Date.UTC(year + 2, 0, 1) - 1];
          const due: number[] = [];
          const matches = matcher(fields);
          for (let at = from + 1; at <= until; at += DAY_MS) if (matches(at)) due.push(at);
          const times = compileSchedule({ cron: fields.join(' ') }, 0);
          expect(iso(forth(times, from, until))).to.equal(iso(due));
          expect(iso(back(times, from, until))).to.equal(iso(due));
          expect(times.between(from, until, 1000).count).to.equal(due.length);
        },
      ),
      { seed: 1, numRuns: RUNS },
    );
  });
});

describe('due times of any cron expression', () => {
  const zone = fc.constantFrom(...new Set(CLOCKS.map(([name]) => name)));
  const any = fc.tuple(listOf(item(0, 59)), minutes, hours, days, months, weekdays).map((fields) => fields.join(' '));
  const moment = within(Date.UTC(1975, 0, 1), Date.UTC(2060, 0, 1));

  it('come after the moment that was asked about, and lead back to themselves', () => {
    fc.assert(
      fc.property(any, zone, moment, (cron, timeZone, at) => {
        const times = compileSchedule({ cron, timeZone }, 0);
        const next = times.next(at);
        const previous = times.previous(at);
        if (next !== null) {
          expect(next).to.be.above(at);
          expect(times.previous(next)).to.equal(next);
          expect(times.next(next - 1)).to.equal(next);
          expect(times.previous(next - 1)).to.equal(previous);
        }
        if (previous !== null) {
          expect(previous).to.be.at.most(at);
          expect(times.previous(previous)).to.equal(previous);
          expect(times.next(previous)).to.equal(next);
        }
      }),
      { seed: 2, numRuns: RUNS * 5 },
    );
  });

  it('are those in between that one comes to one by one, from any start and up to any end', () => {
    fc.assert(
      fc.property(any, zone, moment, within(0, 300), within(-100, 400), (cron, timeZone, at, length, bound) => {
        const until = at + length * 3_600_000;
        const start = new Date(at + bound * 3_600_000);
        const bounded = compileSchedule({ cron, timeZone, start: start.toISOString() }, 0);
        const ended = compileSchedule({ cron, timeZone, end: start.toISOString() }, 0);
        const all = upcoming(compileSchedule({ cron, timeZone }, 0), at, 2000).filter((one) => one <= until);
        if (all.length === 2000) return;
        for (const [times, wanted] of [
          [bounded, all.filter((one) => one >= start.getTime())],
          [ended, all.filter((one) => one <= start.getTime())],
        ] as const) {
          expect(times.between(at, until, 5)).to.deep.equal({
            times: wanted.slice(-5),
            count: wanted.length,
            more: false,
          });
          expect(forth(times, at, until)).to.deep.equal(wanted);
          expect(back(times, at, until)).to.deep.equal(wanted);
        }
      }),
      { seed: 3, numRuns: RUNS },
    );
  });
});
