import type { Cron } from './cron.ts';
import type { Span, Zone } from './zone.ts';

/** The due times of a schedule, in ms since 1970. The year 9999 is the last; a cron expression begins in 1970. */
export interface Times {
  /** The first due time after that moment, null: never again. It costs the same however long ago it started. */
  next(after: number): number | null;
  /** The last due time at or before that moment; null: none yet. */
  previous(at: number): number | null;
  /** The due times after `from` and up to `until`, included. */
  between(from: number, until: number, limit: number): DueTimes;
}

export interface DueTimes {
  /** The latest ones, at most as many as asked for, the earliest first. */
  readonly times: readonly number[];
  /** How many there are, those not listed too. */
  readonly count: number;
  /** Whether there are even more than `count`: they reach back longer than could be counted. */
  readonly more: boolean;
}

/** The end of the year 9999: a date of RFC 3339 has four digits for its year. */
export const LATEST = 253_402_300_799_999;
const DAY_MS = 86_400_000;
/** How many changes of the clocks are looked at to count: those of about two centuries. */
const MOST_SPANS = 512;

/** The latest due times, by going back from `until`. */
function latest(times: Times, from: number, until: number, limit: number): number[] {
  const found: number[] = [];
  let at = times.previous(until);
  while (at !== null && at > from && found.length < limit) {
    found.push(at);
    at = times.previous(at - 1);
  }
  return found.reverse();
}

/** One time. */
export class OnceTimes implements Times {
  readonly #at: number;

  constructor(at: number) {
    this.#at = at;
  }

  next(after: number): number | null {
    return after < this.#at ? this.#at : null;
  }
  previous(at: number): number | null {
    return at >= this.#at ? this.#at : null;
  }
  between(from: number, until: number, limit: number): DueTimes {
    const times = latest(this, from, until, 1);
    return { times: times.slice(0, limit), count: times.length, more: false };
  }
}

/** `first` and then always `everyMs` later, whatever the clocks on the walls do. */
export class IntervalTimes implements Times {
  readonly #first: number;
  readonly #everyMs: number;
  /** The number of the last one, from 0; less than 0: there is none. */
  readonly #last: number;

  constructor(first: number, everyMs: number, end: number, repeats: number) {
    this.#first = first;
    this.#everyMs = everyMs;
    this.#last = Math.min(repeats - 1, Math.floor((Math.min(end, LATEST) - first) / everyMs));
  }

  next(after: number): number | null {
    const n = Math.max(0, this.#upTo(after));
    return n <= this.#last ? this.#first + n * this.#everyMs : null;
  }
  previous(at: number): number | null {
    const n = Math.min(this.#last, this.#upTo(at) - 1);
    return n >= 0 ? this.#first + n * this.#everyMs : null;
  }
  between(from: number, until: number, limit: number): DueTimes {
    const count = this.#counted(until) - this.#counted(from);
    return { times: latest(this, from, until, limit), count: Math.max(0, count), more: false };
  }

  /** How many there were at a moment, if there were no end to them; less than 0: it is before all of them. */
  #upTo(at: number): number {
    return Math.floor((at - this.#first) / this.#everyMs) + 1;
  }
  #counted(at: number): number {
    return Math.max(0, Math.min(this.#last + 1, this.#upTo(at)));
  }
}

/**
 * The local times of a cron expression as moments. What leaves out no hour follows the clock on the wall: a local time
 * that is there twice is due twice, one that is not there is not. All else is due once a day, whatever the clock does:
 * at the first of two, and in place of a time that is skipped at the moment that would have had it without the change.
 */
export class CronTimes implements Times {
  readonly #cron: Cron;
  readonly #zone: Zone;
  readonly #start: number;
  readonly #end: number;

  constructor(cron: Cron, zone: Zone, start: number, end: number) {
    this.#cron = cron;
    this.#zone = zone;
    this.#start = Math.max(0, start);
    this.#end = Math.min(LATEST, end);
  }

  next(after: number): number | null {
    let from = Math.max(after, this.#start - 1);
    while (from < this.#end) {
      const span = this.#zone.spanAt(from + 1);
      const found = this.#firstIn(span, from);
      if (found < span.until) return found <= this.#end ? found : null;
      if (found === Number.POSITIVE_INFINITY) return null;
      // What is due later has a local time later than this one; two days are more than any offset.
      const local = this.#cron.next(span.until - 2 * DAY_MS);
      from = Math.max(span.until - 1, local - 2 * DAY_MS);
    }
    return null;
  }

  previous(at: number): number | null {
    let to = Math.min(at, this.#end);
    while (to >= this.#start) {
      const span = this.#zone.spanAt(to);
      const found = this.#lastIn(span, to);
      if (found >= span.from) return found >= this.#start ? found : null;
      const local = this.#cron.previous(span.from + 2 * DAY_MS);
      to = Math.min(span.from - 1, local + 2 * DAY_MS);
    }
    return null;
  }

  between(from: number, until: number, limit: number): DueTimes {
    const first = Math.max(from, this.#start - 1);
    let to = Math.min(until, this.#end);
    let count = 0;
    for (let spans = 0; to > first && spans < MOST_SPANS; spans++) {
      const span = this.#zone.spanAt(to);
      count += this.#countIn(span, Math.max(first, span.from - 1), to);
      to = span.from - 1;
    }
    return { times: latest(this, from, until, limit), count, more: to > first && (this.previous(to) ?? first) > first };
  }

  /** The first one after a moment; beyond the span: none is in it. */
  #firstIn(span: Span, from: number): number {
    const { offsetMs, beforeMs } = span;
    const found = this.#cron.next(Math.max(from + offsetMs, this.#seenBefore(span))) - offsetMs;
    if (from + 1 >= this.#shiftedUntil(span)) return found;
    const shifted = this.#cron.next(from + beforeMs) - beforeMs;
    return shifted < this.#shiftedUntil(span) ? Math.min(found, shifted) : found;
  }

  /** The last one up to a moment; before the span: none is in it. */
  #lastIn(span: Span, to: number): number {
    const { offsetMs, beforeMs } = span;
    const local = this.#cron.previous(to + offsetMs);
    const found = local > this.#seenBefore(span) ? local - offsetMs : Number.NEGATIVE_INFINITY;
    const shiftedUntil = this.#shiftedUntil(span);
    if (shiftedUntil <= span.from) return found;
    const shifted = this.#cron.previous(Math.min(to, shiftedUntil - 1) + beforeMs) - beforeMs;
    return Math.max(found, shifted);
  }

  /** How many there are after one moment and up to another, both of one span. */
  #countIn(span: Span, from: number, to: number): number {
    let counted = from;
    let count = 0;
    // Here shifted times and others may fall together.
    const together = Math.min(to, this.#shiftedUntil(span) - 1);
    while (counted < together) {
      counted = Math.min(this.#firstIn(span, counted), together + 1);
      if (counted <= together) count++;
    }
    const { offsetMs } = span;
    const local = Math.max(Math.max(from, together) + offsetMs, this.#seenBefore(span));
    return count + this.#cron.count(local, to + offsetMs);
  }

  /** Up to that local time the clock shows again what it has shown before, and it does not count. */
  #seenBefore({ from, beforeMs }: Span): number {
    return this.#cron.everyHour ? Number.NEGATIVE_INFINITY : from + beforeMs - 1;
  }
  /** Before that moment also those are due whose local time was skipped. */
  #shiftedUntil({ from, offsetMs, beforeMs }: Span): number {
    return this.#cron.everyHour ? Number.NEGATIVE_INFINITY : from + offsetMs - beforeMs;
  }
}
