/**
 * Cron expressions against two independent readers of them, croner and cron-parser: where the two agree, so do we. They
 * differ from each other, and then nothing is asked, mostly on days on which the clocks change; the examples of
 * schedule-zones.test.ts say what is right there.
 */
import { expect } from 'chai';
import { CronExpressionParser } from 'cron-parser';
import { Cron as Croner } from 'croner';
import { upcoming } from '../../../core/jobs/schedule.ts';
import { compileSchedule } from './fixtures/schedule.ts';

/** Another one finds other cases: `SEED=7 npx mocha test/core/jobs/cron-oracles.test.ts`. */
const SEED = Number(process.env['SEED'] ?? 20_260_615);
const CASES = Number(process.env['CASES'] ?? 4000);
const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;

/**
 * Around these changes the two agree on what we do not do. A day is left out: neither runs what is due only on that day;
 * for us it is a local time that is skipped, like any other, and due as much later.
 */
const SKIPPED = ['Pacific/Apia 2011-12-30'];

const ZONES = [
  'UTC',
  'Europe/Warsaw',
  'Europe/London',
  'America/New_York',
  'America/Sao_Paulo',
  'America/St_Johns',
  'Africa/Cairo',
  'Africa/Casablanca',
  'Asia/Kathmandu',
  'Asia/Tehran',
  'Australia/Lord_Howe',
  'Australia/Sydney',
  'Pacific/Apia',
  'Pacific/Chatham',
];

/** Numbers from 0 to 1, always the same ones for a seed (mulberry32). */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

class Chance {
  readonly #random: () => number;

  constructor(seed: number) {
    this.#random = generator(seed);
  }
  from(least: number, most: number): number {
    return least + Math.floor(this.#random() * (most - least + 1));
  }
  of<T>(all: readonly T[]): T {
    return all[this.from(0, all.length - 1)] as T;
  }
  in(percent: number): boolean {
    return this.#random() * 100 < percent;
  }
}

const MONTHS = ['JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC'];
const WEEKDAYS = ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT'];

/** What all three can read: they differ in W, L-3, 5/10 and in ranges over the end. */
function expression(chance: Chance): string {
  const plain = (least: number, most: number) => field(chance, least, most);
  const months = () => (chance.in(30) ? chance.of(MONTHS) : plain(1, 12));
  const days = () => (chance.in(15) ? 'L' : plain(1, 31));
  const weekdays = () => {
    if (chance.in(12)) return `${chance.from(0, 6)}L`;
    if (chance.in(12)) return `${chance.from(0, 6)}#${chance.from(1, 5)}`;
    if (chance.in(20)) return `${chance.of(WEEKDAYS.slice(4))},${chance.of(WEEKDAYS.slice(0, 4))}`;
    return chance.in(20) ? 'mon-fri' : plain(0, 7);
  };
  const any = (percent: number, other: () => string) => (chance.in(percent) ? '*' : other());
  const fields = [
    any(25, () => plain(0, 59)),
    any(35, () => plain(0, 23)),
    any(55, days),
    any(60, months),
    any(55, weekdays),
  ];
  if (chance.in(40)) fields.unshift(any(20, () => plain(0, 59)));
  return fields.join(' ');
}

function field(chance: Chance, least: number, most: number): string {
  const value = () => chance.from(least, most);
  const range = () => {
    const [a, b] = [value(), value()];
    return `${Math.min(a, b)}-${Math.max(a, b)}`;
  };
  const step = () => chance.from(1, Math.min(most, 20));
  switch (chance.from(0, 5)) {
    case 0:
      return `*/${Math.min(step(), most)}`;
    case 1:
      return range();
    case 2:
      return `${range()}/${Math.min(step(), 5)}`;
    case 3: {
      // cron-parser does not take a value that is there twice.
      const [a, b, c, d] = [value(), value(), value(), value()].sort((one, other) => one - other);
      return a !== b && b !== c && c !== d && !(a === 0 && d === 7) ? `${d},${b}-${c},${a}` : String(a);
    }
    default:
      return String(value());
  }
}

/** When the clocks of a zone change by an hour. */
function changes(timeZone: string): number[] {
  const clock = new Intl.DateTimeFormat('en-US', { timeZone, timeZoneName: 'longOffset' });
  const offset = (at: number) => clock.format(at).split('GMT')[1];
  const found: number[] = [];
  for (let day = Date.UTC(2009, 0, 1); day < Date.UTC(2036, 0, 1); day += DAY_MS) {
    if (offset(day) === offset(day + DAY_MS)) continue;
    let at = day;
    while (offset(at) === offset(day)) at += 60_000;
    if (!SKIPPED.some((known) => known === `${timeZone} ${new Date(at).toISOString().slice(0, 10)}`)) found.push(at);
  }
  return found;
}

function fromCroner(cron: string, timezone: string, after: number, count: number): number[] {
  return new Croner(cron, { timezone }).nextRuns(count, new Date(after)).map(Number);
}
function fromParser(cron: string, tz: string, after: number, count: number): number[] {
  const found = CronExpressionParser.parse(cron, { tz, currentDate: new Date(after) });
  return Array.from({ length: count }, () => found.next().getTime());
}
const shown = (times: readonly number[]) => times.map((at) => new Date(at).toISOString()).join(' ');

/** Where one of them finds nothing, or gives up, there is nothing to compare. */
function agreed(cron: string, timeZone: string, after: number): number[] | null {
  try {
    const [one, other] = [fromCroner(cron, timeZone, after, 3), fromParser(cron, timeZone, after, 3)];
    return shown(one) === shown(other) ? one : null;
  } catch {
    return null;
  }
}

describe('cron expressions and two other readers of them', () => {
  function compare(seed: number, zones: readonly string[], momentIn: (chance: Chance, zone: string) => number): void {
    const chance = new Chance(seed);
    const wrong: string[] = [];
    let compared = 0;
    for (let i = 0; i < CASES; i++) {
      const [cron, timeZone] = [expression(chance), chance.of(zones)];
      const after = momentIn(chance, timeZone);
      const theirs = agreed(cron, timeZone, after);
      if (theirs === null) continue;
      compared++;
      const ours = shown(upcoming(compileSchedule({ cron, timeZone }, 0), after, 3));
      if (ours === shown(theirs)) continue;
      wrong.push(
        `seed ${seed}, case ${i}: '${cron}' in ${timeZone} after ${shown([after])}: ${ours}, not ${shown(theirs)}`,
      );
    }
    expect(wrong.join('\n')).to.equal('');
    expect(compared, 'how many could be compared').to.be.above(CASES * 0.9);
  }

  it('agree on any day', function () {
    this.timeout(120_000);
    compare(SEED, ZONES, (chance) => chance.from(Date.UTC(2000, 0, 1), Date.UTC(2040, 0, 1)));
  });

  it('agree on the days around a change of the clocks', function () {
    this.timeout(120_000);
    // Both were made to go on from one due time to the next. Asked from within an hour that there is twice, or the hour
    // that follows one that was skipped, they both forget what was before it, and differ from what they say when asked
    // earlier. Where what is skipped is no full hour of the clock, as 02:45 to 03:45, both drop what falls into it.
    const zones = ZONES.filter(
      (zone) => !['Australia/Lord_Howe', 'Pacific/Chatham', 'America/St_Johns'].includes(zone),
    );
    const byZone = new Map(zones.map((zone) => [zone, changes(zone)]));
    compare(SEED + 1, zones, (chance, zone) => {
      const all = byZone.get(zone) ?? [];
      if (all.length === 0) return chance.from(Date.UTC(2000, 0, 1), Date.UTC(2040, 0, 1));
      const near = chance.in(50) ? 2 * HOUR_MS : DAY_MS;
      return chance.of(all) + (chance.in(80) ? -chance.from(1, near) : HOUR_MS + chance.from(0, near));
    });
  });
});
