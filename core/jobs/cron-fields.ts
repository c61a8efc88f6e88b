import { didYouMean, type Problem } from '../errors.ts';

/** The values of a field as bits, counted from its least value. 60 bits do not fit in one number: `high` has those from 30 on. */
export interface Values {
  low: number;
  high: number;
}

/** Days that depend on the month: counted from its end, or given by weekday. */
export interface OddDays {
  /** Bit n: the day that is n days before the last one. */
  fromLast: number;
  /** Bit n - 1: the weekday nearest to day n. */
  nearest: number;
  lastWeekday: boolean;
  /** At index n - 1, bit w: the nth weekday w of the month. */
  nth: [number, number, number, number, number];
  /** Bit w: the last weekday w of the month. */
  last: number;
}

/** A cron expression after parsing. */
export interface CronFields {
  readonly seconds: Values;
  readonly minutes: Values;
  readonly hours: number;
  /** Bit n - 1 is day n. */
  readonly days: number;
  /** Bit n - 1 is month n. */
  readonly months: number;
  /** Bit 0 is Sunday. */
  readonly weekdays: number;
  /** Null if there are none, as in most expressions. */
  readonly odd: OddDays | null;
  readonly anyDay: boolean;
  readonly anyWeekday: boolean;
}

interface Field {
  readonly name: string;
  readonly min: number;
  readonly max: number;
  /** How many different values the field has. */
  readonly count: number;
  readonly names: readonly string[];
  readonly expected: string;
}

const MONTHS = ['JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC'];
const WEEKDAYS = ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT'];

const field = (name: string, min: number, max: number, expected: string, names: readonly string[] = []): Field => ({
  name,
  min,
  max,
  count: names.length || max - min + 1,
  names,
  expected,
});

const SECOND = field('second', 0, 59, '0 to 59');
const MINUTE = field('minute', 0, 59, '0 to 59');
const HOUR = field('hour', 0, 23, '0 to 23');
const DAY = field('day-of-month', 1, 31, '1 to 31, L (the last), L-3, 15W (the nearest weekday) or LW');
const MONTH = field('month', 1, 12, '1 to 12 or JAN to DEC', MONTHS);
const WEEKDAY = field(
  'day-of-week',
  0,
  7,
  '0 to 7 (0 and 7 are Sunday), SUN to SAT, 5L (the last Friday) or 5#2',
  WEEKDAYS,
);
const FIELDS = [SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY];

const NICKNAMES: Readonly<Record<string, string>> = {
  '@YEARLY': '0 0 1 1 *',
  '@ANNUALLY': '0 0 1 1 *',
  '@MONTHLY': '0 0 1 * *',
  '@WEEKLY': '0 0 * * 0',
  '@DAILY': '0 0 * * *',
  '@MIDNIGHT': '0 0 * * *',
  '@HOURLY': '0 * * * *',
};

/** What is wrong with a field: a problem without a path. */
type Wrong = Omit<Problem, 'path'>;

interface Reading {
  readonly odd: OddDays;
  isOdd: boolean;
  wrong: Wrong | null;
}

/** Parses 5 fields, 6 with the second first, or a nickname. Returns at most one problem for each field. */
export function readCron(text: string): { readonly fields: CronFields } | { readonly wrong: readonly Wrong[] } {
  const upper = text.trim().toUpperCase();
  const full = NICKNAMES[upper] ?? upper;
  if (full.startsWith('@')) return { wrong: [unknownNickname(text)] };
  const parts = full.split(/\s+/);
  if (parts.length === 5) parts.unshift('0');
  if (parts.length !== 6 || full === '') return { wrong: [wrongCount(text, full === '' ? 0 : parts.length)] };

  const odd: OddDays = { fromLast: 0, nearest: 0, lastWeekday: false, nth: [0, 0, 0, 0, 0], last: 0 };
  const reading: Reading = { odd, isOdd: false, wrong: null };
  const wrong: Wrong[] = [];
  const [seconds, minutes, hours, days, months, weekdays] = FIELDS.map((one, i) => {
    const values = valuesOf(parts[i] as string, one, reading);
    if (reading.wrong !== null) wrong.push(reading.wrong);
    reading.wrong = null;
    return values;
  }) as [Values, Values, Values, Values, Values, Values];
  if (wrong.length > 0) return { wrong };
  return {
    fields: {
      seconds,
      minutes,
      hours: hours.low,
      days: days.low | (days.high << 30),
      months: months.low,
      weekdays: weekdays.low,
      odd: reading.isOdd ? odd : null,
      anyDay: isAny(parts[3]),
      anyWeekday: isAny(parts[5]),
    },
  };
}

/** POSIX: a day field is unrestricted only if it is an asterisk; '1-31' restricts it. */
function isAny(part: string | undefined): boolean {
  return part === '*' || part === '?';
}

function valuesOf(part: string, one: Field, reading: Reading): Values {
  const values: Values = { low: 0, high: 0 };
  const isDay = one === DAY || one === WEEKDAY;
  for (const item of isDay && part === '?' ? ['*'] : part.split(',')) {
    if (isDay && readOdd(item, one, reading)) reading.isOdd = true;
    else readItem(item, one, values, reading);
    if (reading.wrong !== null) break;
  }
  return values;
}

const ITEM = /^(?:\*|(\d+|[A-Z]+)(?:-(\d+|[A-Z]+))?)(?:\/(\d+))?$/;

/** Reads `*`, a value or a range, each with an optional step. A range may wrap around: FRI-MON, 22-2. */
function readItem(item: string, one: Field, values: Values, reading: Reading): void {
  const [whole, first, second, stepText] = ITEM.exec(item) ?? [];
  if (whole === undefined) return void (reading.wrong = unreadable(item, one));
  const step = stepText === undefined ? 1 : Number(stepText);
  if (step < 1 || step > one.count) return void (reading.wrong = wrongStep(item, one));
  if (one === WEEKDAY && first !== undefined && second === undefined && stepText !== undefined) {
    return void (reading.wrong = openWeek(item));
  }
  const from = first === undefined ? one.min : numberOf(first, one, reading);
  const open = first === undefined || (stepText !== undefined && second === undefined);
  let to = open ? one.min + one.count - 1 : second === undefined ? from : numberOf(second, one, reading);
  if (reading.wrong !== null) return;
  if (to < from) to += one.count;
  for (let value = from; value <= to; value += step) {
    const bit = (value - one.min) % one.count;
    if (bit < 30) values.low |= 1 << bit;
    else values.high |= 1 << (bit - 30);
  }
}

/** Reads L, L-3, 15W and LW in day-of-month, 5L and FRI#2 in day-of-week. False: the item is none of these. */
function readOdd(item: string, one: Field, reading: Reading): boolean {
  if (!/[LW#]/.test(item)) return false;
  const { odd } = reading;
  if (one === DAY) {
    const [isLast, before] = /^L(?:-(\d+))?$/.exec(item) ?? [];
    const [, near] = /^(\d+)W$/.exec(item) ?? [];
    if (item === 'LW') odd.lastWeekday = true;
    else if (isLast !== undefined) {
      if (Number(before ?? 0) > 30) reading.wrong = outside(item, one, 'L-30 is the first day of a month with 31.');
      odd.fromLast |= 1 << Number(before ?? 0);
    } else if (near !== undefined) odd.nearest |= 1 << (numberOf(near, one, reading) - 1);
    else return false;
    return true;
  }
  const [, weekday, last, nth] = /^(\d+|[A-Z]{3,})(?:(L)|#(\d+))$/.exec(item) ?? [];
  if (weekday === undefined) return false;
  const bit = 1 << (numberOf(weekday, one, reading) % 7);
  if (last !== undefined) odd.last |= bit;
  else if (Number(nth) >= 1 && Number(nth) <= 5) odd.nth[(Number(nth) - 1) as 0] |= bit;
  else reading.wrong ??= outside(item, one, 'A month has a day of the week 4 or 5 times: #1 to #5.');
  return true;
}

function numberOf(text: string, one: Field, reading: Reading): number {
  const index = one.names.indexOf(text);
  if (index !== -1) return one.min + index;
  const value = Number(text);
  if (value >= one.min && value <= one.max) return value;
  reading.wrong ??= Number.isNaN(value) ? unknownName(text, one) : outside(text, one, hintFor(text, one));
  return one.min;
}

function outside(got: string, { name, expected }: Field, hint: string): Wrong {
  return { message: `has a value in its ${name} field that does not exist`, expected, got, hint };
}

function hintFor(text: string, one: Field): string {
  const zero = { [MINUTE.name]: '60', [SECOND.name]: '60', [HOUR.name]: '24' }[one.name];
  if (text === zero) return `After ${one.max} comes 0: write 0.`;
  return `Choose a value from ${one.min} to ${one.max}.`;
}

function unknownName(got: string, one: Field): Wrong {
  if (got === 'L' || got === 'LW') return unreadable(got, one);
  const hint = one.names.length === 0 ? 'This field has no names, only numbers.' : meant(got, one);
  return { message: `has an unknown name in its ${one.name} field`, expected: one.expected, got, hint };
}

function meant(got: string, { names }: Field): string {
  const begun = names.find((name) => got.startsWith(name));
  if (begun !== undefined) return `Did you mean '${begun}'?`;
  return didYouMean(got, names) || `Known: ${names.join(', ')}.`;
}

function unreadable(item: string, one: Field): Wrong {
  return {
    message: `has something in its ${one.name} field that cannot be read`,
    expected: `* or ${one.expected}; lists as 1,15, ranges as 1-5, steps as */5`,
    got: item === '' ? 'nothing between two commas, or at an end' : item,
    hint: unreadableHint(item, one),
  };
}

function unreadableHint(item: string, one: Field): string {
  if (item === 'L' && one === WEEKDAY) return 'Say of which day: 5L or FRIL is the last Friday of a month.';
  if (item.includes('?')) return "'?' stands alone, in one of the two day fields; elsewhere write *.";
  if (/^-|-(\/|$)/.test(item)) return 'A range has a value on both sides.';
  if (/#|\d[LW]|^LW?$|^L-/.test(item)) {
    return one === DAY || one === WEEKDAY
      ? 'L, W and # go with one value, not with a range or a step. W is for days of the month, # for those of the week.'
      : 'L, W and # are for the day fields.';
  }
  if (/[.:]/.test(item)) return 'The fields are: second (may be left out) minute hour day-of-month month day-of-week.';
  return 'Leave out spaces within a field.';
}

function wrongStep(got: string, one: Field): Wrong {
  return {
    message: `has a step in its ${one.name} field that leads nowhere`,
    expected: `a step from 1 to ${one.count}`,
    got,
    hint: "A step counts within its field and begins anew with it. For an interval use every: '1h30m'.",
  };
}

function openWeek(got: string): Wrong {
  return {
    message: 'has a step in its day-of-week field without an end',
    expected: 'a range with a step, e.g. 1-5/2',
    got,
    hint: 'Weeks end on Saturday for some and on Sunday for others: write the last day too.',
  };
}

function unknownNickname(got: string): Wrong {
  const names = Object.keys(NICKNAMES).map((name) => name.toLowerCase());
  const hint = /^\s*@every/i.test(got)
    ? "For an interval use every: '1h30m' instead of cron."
    : /^\s*@reboot/i.test(got)
      ? 'A schedule is about times; the start of a server is none.'
      : didYouMean(got, names) || 'Or write five fields.';
  return { message: 'is a nickname that is not known', expected: `one of ${names.join(', ')}`, got, hint };
}

function wrongCount(text: string, count: number): Wrong {
  const hint =
    count === 7
      ? 'Years are not supported: leave the seventh field out, and use start and end.'
      : count > 7
        ? 'Leave out spaces within a field.'
        : "'*' in a field means each of its values: '*/5 * * * *' is every five minutes.";
  return {
    message: `has ${count} field${count === 1 ? '' : 's'}`,
    expected: '5 fields: minute hour day-of-month month day-of-week; or 6, with the second first',
    got: JSON.stringify(text),
    hint,
  };
}
