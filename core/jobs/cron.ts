import type { Problem } from '../errors.ts';
import { type CronFields, type OddDays, readCron, type Values } from './cron-fields.ts';

const DAY_S = 86_400;
/** The Gregorian calendar repeats after 400 years, weekdays included: a day that does not come by then never comes. */
const CYCLE_MONTHS = 4800;

/**
 * The local times that match a cron expression. A local time is a number of ms since 1970-01-01T00:00 of wall time, without
 * a zone and without daylight saving; CronTimes adds the zone.
 */
export class Cron {
  /** Whether the expression matches every hour. */
  readonly everyHour: boolean;
  readonly #secondsLow: number;
  readonly #secondsHigh: number;
  readonly #minutesLow: number;
  readonly #minutesHigh: number;
  readonly #hours: number;
  readonly #days: number;
  readonly #months: number;
  readonly #weekdays: number;
  readonly #odd: OddDays | null;
  readonly #anyDay: boolean;
  readonly #anyWeekday: boolean;

  constructor({ seconds, minutes, hours, days, months, weekdays, odd, anyDay, anyWeekday }: CronFields) {
    this.everyHour = hours === 0xffffff;
    this.#secondsLow = seconds.low;
    this.#secondsHigh = seconds.high;
    this.#minutesLow = minutes.low;
    this.#minutesHigh = minutes.high;
    this.#hours = hours;
    this.#days = days;
    this.#months = months;
    this.#weekdays = weekdays;
    this.#odd = odd;
    this.#anyDay = anyDay;
    this.#anyWeekday = anyWeekday;
  }

  /** The first match after a local time; Infinity if there is none. */
  next(after: number): number {
    const second = Math.floor(after / 1000) + 1;
    const day = Math.floor(second / DAY_S);
    const first = this.#nextDay(day);
    if (first > day) return (first * DAY_S + this.#nextTime(0)) * 1000;
    const time = this.#nextTime(second - day * DAY_S);
    if (time !== -1) return (day * DAY_S + time) * 1000;
    return (this.#nextDay(day + 1) * DAY_S + this.#nextTime(0)) * 1000;
  }

  /** The last match at or before a local time; -Infinity if there is none. */
  previous(at: number): number {
    const second = Math.floor(at / 1000);
    const day = Math.floor(second / DAY_S);
    const last = this.#previousDay(day);
    if (last < day) return (last * DAY_S + this.#previousTime(DAY_S - 1)) * 1000;
    const time = this.#previousTime(second - day * DAY_S);
    if (time !== -1) return (day * DAY_S + time) * 1000;
    return (this.#previousDay(day - 1) * DAY_S + this.#previousTime(DAY_S - 1)) * 1000;
  }

  /** How many matches there are after one local time and up to another. */
  count(after: number, until: number): number {
    if (!(after < until)) return 0;
    const [from, to] = [Math.floor(after / 1000), Math.floor(until / 1000)];
    const [firstDay, lastDay] = [Math.floor(from / DAY_S), Math.floor(to / DAY_S)];
    const before = this.#daysIn(firstDay, firstDay) * this.#timesUpTo(from - firstDay * DAY_S);
    const last = this.#daysIn(lastDay, lastDay) * this.#timesUpTo(to - lastDay * DAY_S);
    return this.#daysIn(firstDay, lastDay - 1) * this.#timesUpTo(DAY_S - 1) - before + last;
  }

  /** The first matching day from `day` on. Days are counted from 1970-01-01. */
  #nextDay(day: number): number {
    const date = dateOf(day);
    let [year, month, from] = [date >> 9, (date >> 5) & 15, (date & 31) - 1];
    for (let left = CYCLE_MONTHS; left >= 0; left--) {
      if ((this.#months >> (month - 1)) & 1) {
        const first = dayOf(year, month);
        const bit = firstBit(this.#daysOf(year, month, first), from);
        if (bit !== -1) return first + bit;
      }
      from = 0;
      if (++month > 12) [year, month] = [year + 1, 1];
    }
    return Number.POSITIVE_INFINITY;
  }

  #previousDay(day: number): number {
    const date = dateOf(day);
    let [year, month, to] = [date >> 9, (date >> 5) & 15, (date & 31) - 1];
    for (let left = CYCLE_MONTHS; left >= 0; left--) {
      if ((this.#months >> (month - 1)) & 1) {
        const first = dayOf(year, month);
        const bit = lastBit(this.#daysOf(year, month, first), to);
        if (bit !== -1) return first + bit;
      }
      to = 30;
      if (--month < 1) [year, month] = [year - 1, 12];
    }
    return Number.NEGATIVE_INFINITY;
  }

  /** How many matching days there are from one day to another, both included. */
  #daysIn(from: number, to: number): number {
    let count = 0;
    for (let day = from; day <= to; ) {
      const date = dateOf(day);
      const [year, month, skipped] = [date >> 9, (date >> 5) & 15, (date & 31) - 1];
      const first = day - skipped;
      const end = Math.min(to, first + lengthOf(year, month) - 1);
      if ((this.#months >> (month - 1)) & 1) {
        const days = this.#daysOf(year, month, first) & firstDays(end - first + 1);
        count += bitCount((days >>> skipped) << skipped);
      }
      day = end + 1;
    }
    return count;
  }

  /** The matching days of a month as bits: bit n - 1 is day n. */
  #daysOf(year: number, month: number, first: number): number {
    const length = lengthOf(year, month);
    const all = firstDays(length);
    const weekday = weekdayOf(first);
    if (this.#odd === null) {
      if (this.#anyWeekday) return this.#days & all;
      const byWeekday = weekly(this.#weekdays, weekday);
      return (this.#anyDay ? byWeekday : this.#days | byWeekday) & all;
    }
    // POSIX: if both day fields are restricted, one match is enough.
    const byDay = this.#anyDay ? 0 : this.#days | oddDays(this.#odd, length, weekday);
    const byWeekday = this.#anyWeekday ? 0 : weekly(this.#weekdays, weekday) | oddWeekdays(this.#odd, length, weekday);
    return (byDay | byWeekday) & all;
  }

  /** The first matching second of a day from `second` on; -1 if there is none. */
  #nextTime(second: number): number {
    const hour = Math.floor(second / 3600);
    const minute = Math.floor(second / 60) % 60;
    if ((this.#hours >> hour) & 1) {
      if (hasValue(this.#minutesLow, this.#minutesHigh, minute)) {
        const found = firstValue(this.#secondsLow, this.#secondsHigh, second % 60);
        if (found !== -1) return hour * 3600 + minute * 60 + found;
      }
      const found = firstValue(this.#minutesLow, this.#minutesHigh, minute + 1);
      if (found !== -1) return hour * 3600 + found * 60 + firstValue(this.#secondsLow, this.#secondsHigh, 0);
    }
    const found = firstBit(this.#hours, hour + 1);
    if (found === -1) return -1;
    const minutes = firstValue(this.#minutesLow, this.#minutesHigh, 0);
    return found * 3600 + minutes * 60 + firstValue(this.#secondsLow, this.#secondsHigh, 0);
  }

  #previousTime(second: number): number {
    const hour = Math.floor(second / 3600);
    const minute = Math.floor(second / 60) % 60;
    if ((this.#hours >> hour) & 1) {
      if (hasValue(this.#minutesLow, this.#minutesHigh, minute)) {
        const found = lastValue(this.#secondsLow, this.#secondsHigh, second % 60);
        if (found !== -1) return hour * 3600 + minute * 60 + found;
      }
      const found = lastValue(this.#minutesLow, this.#minutesHigh, minute - 1);
      if (found !== -1) return hour * 3600 + found * 60 + lastValue(this.#secondsLow, this.#secondsHigh, 59);
    }
    const found = lastBit(this.#hours, hour - 1);
    if (found === -1) return -1;
    const minutes = lastValue(this.#minutesLow, this.#minutesHigh, 59);
    return found * 3600 + minutes * 60 + lastValue(this.#secondsLow, this.#secondsHigh, 59);
  }

  /** How many seconds of a day match, up to and including `second`. */
  #timesUpTo(second: number): number {
    const hour = Math.floor(second / 3600);
    const minute = Math.floor(second / 60) % 60;
    const perMinute = valuesUpTo(this.#secondsLow, this.#secondsHigh, 59);
    const perHour = perMinute * valuesUpTo(this.#minutesLow, this.#minutesHigh, 59);
    let count = bitCount(this.#hours & ((1 << hour) - 1)) * perHour;
    if ((this.#hours >> hour) & 1) {
      count += valuesUpTo(this.#minutesLow, this.#minutesHigh, minute - 1) * perMinute;
      if (hasValue(this.#minutesLow, this.#minutesHigh, minute)) {
        count += valuesUpTo(this.#secondsLow, this.#secondsHigh, second % 60);
      }
    }
    return count;
  }
}

/** How many expressions are cached by their text before the cache is cleared. */
const MOST_KNOWN = 10_000;
const known = new Map<string, Cron>();

/** The expression of a text, or its problems without their paths. */
export function compileCron(text: string): Cron | readonly Omit<Problem, 'path'>[] {
  const had = known.get(text);
  if (had !== undefined) return had;
  const read = readCron(text);
  if ('wrong' in read) return read.wrong;
  const cron = new Cron(read.fields);
  if (known.size >= MOST_KNOWN) known.clear();
  known.set(text, cron);
  return cron;
}

/** L, L-3, 15W and LW in a month of that length whose first day is that weekday. */
function oddDays({ fromLast, nearest, lastWeekday }: OddDays, length: number, first: number): number {
  let days = 0;
  for (let left = fromLast; left !== 0; left &= left - 1) days |= 1 << (length - 1 - lowestBit(left));
  // A month without a 31st has no weekday near it.
  for (let left = nearest & firstDays(length); left !== 0; left &= left - 1) {
    days |= 1 << nearestWeekday(lowestBit(left), length, first);
  }
  if (lastWeekday) days |= 1 << nearestWeekday(length - 1, length, first);
  return days;
}

/** 5L and 5#2 in a month of that length whose first day is that weekday. */
function oddWeekdays({ nth, last }: OddDays, length: number, first: number): number {
  let days = weekly(last, first) & ~firstDays(length - 7);
  for (let i = 0; i < 5; i++) days |= weekly(nth[i as 0], first) & firstDays(7 * i + 7) & ~firstDays(7 * i);
  return days;
}

/** The day from Monday to Friday that is nearest to a day and in the same month. Days are counted from 0. */
function nearestWeekday(day: number, length: number, first: number): number {
  const weekday = (first + day) % 7;
  if (weekday === 6) return day > 0 ? day - 1 : day + 2;
  if (weekday === 0) return day < length - 1 ? day + 1 : day - 2;
  return day;
}

/** The days of a month that are one of these weekdays, if the month begins with the weekday `first`. */
function weekly(weekdays: number, first: number): number {
  const week = ((weekdays >> first) | (weekdays << (7 - first))) & 127;
  return week | (week << 7) | (week << 14) | (week << 21) | ((week & 7) << 28);
}

/** The first n of 31 bits. */
function firstDays(n: number): number {
  return n <= 0 ? 0 : n >= 31 ? 0x7fffffff : (1 << n) - 1;
}

function lowestBit(bits: number): number {
  return 31 - Math.clz32(bits & -bits);
}
/** The first of 31 bits that is set, from bit `from` on; -1 if there is none. */
function firstBit(bits: number, from: number): number {
  return from > 30 || bits >>> from === 0 ? -1 : lowestBit((bits >>> from) << from);
}
/** The last bit that is set, up to bit `to`; -1 if there is none. */
function lastBit(bits: number, to: number): number {
  return 31 - Math.clz32(bits & firstDays(to + 1));
}
function bitCount(bits: number): number {
  let count = 0;
  for (let left = bits; left !== 0; left &= left - 1) count++;
  return count;
}

type Half = Values['low'];
function hasValue(low: Half, high: Half, value: number): boolean {
  return (((value < 30 ? low : high) >> (value % 30)) & 1) === 1;
}
function firstValue(low: Half, high: Half, from: number): number {
  if (from < 30) {
    const found = firstBit(low, from);
    if (found !== -1) return found;
  }
  const found = firstBit(high, Math.max(0, from - 30));
  return found === -1 ? -1 : found + 30;
}
function lastValue(low: Half, high: Half, to: number): number {
  if (to >= 30) {
    const found = lastBit(high, to - 30);
    if (found !== -1) return found + 30;
  }
  return lastBit(low, Math.min(29, to));
}
function valuesUpTo(low: Half, high: Half, to: number): number {
  return bitCount(low & firstDays(to + 1)) + bitCount(high & firstDays(to - 29));
}

/** Year, month and day in one number, to avoid an allocation in a hot loop: `year << 9 | month << 5 | day`. */
function dateOf(day: number): number {
  // Count years from March: the leap day is then the last day, and a formula gives the lengths of months.
  const shifted = day + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const leaps = Math.floor(dayOfEra / 1460) - Math.floor(dayOfEra / 36_524) + Math.floor(dayOfEra / 146_096);
  const yearOfEra = Math.floor((dayOfEra - leaps) / 365);
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const fromMarch = Math.floor((5 * dayOfYear + 2) / 153);
  const month = fromMarch < 10 ? fromMarch + 3 : fromMarch - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  return (year << 9) | (month << 5) | (dayOfYear - Math.floor((153 * fromMarch + 2) / 5) + 1);
}

/** The first day of a month. */
function dayOf(year: number, month: number): number {
  const shifted = month <= 2 ? year - 1 : year;
  const era = Math.floor(shifted / 400);
  const yearOfEra = shifted - era * 400;
  const dayOfYear = Math.floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5);
  return (
    era * 146_097 + yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear - 719_468
  );
}

function lengthOf(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
  return 30 + ((month + (month >> 3)) & 1);
}

/** 0 is Sunday; 1970-01-01 was a Thursday. */
function weekdayOf(day: number): number {
  return (((day + 4) % 7) + 7) % 7;
}
