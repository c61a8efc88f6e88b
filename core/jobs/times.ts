import type { Cron } from './cron.ts';
import type { Span, Zone } from './zone.ts';

/** The due times of a schedule, in ms since 1970. None is later than the year 9999; cron expressions begin in 1970. */
export interface Times {
  /** The first due time after a moment; null if there is none. The cost does not depend on how long ago the schedule began. */
  next(after: number): number | null;
  /** The last due time at or before a moment; null if there is none. */
  previous(at: number): number | null;
  /** The due times after `from` and up to `until`, included. */
  between(from: number, until: number, limit: number): DueTimes;
}

export interface DueTimes {
  /** The latest of them, at most `limit`, in order. */
  readonly times: readonly number[];
  /** How many there are in all, unless `more`. */
  readonly count: number;
  /** Whether there are more than `count`: the period was too long to count all. */
  readonly more: boolean;
}

/** The end of the year 9999: a date of RFC 3339 has four digits for its year. */
export const LATEST = 253_402_300_799_999;
const DAY_MS = 86_400_000;
/** How many changes of the offset are looked at to count due times: about two centuries. */
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

/** A schedule with one due time. */
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

/** Due at `first` and then every `everyMs`, whatever daylight saving does. */
export class IntervalTimes implements Times {
  readonly #first: number;
  readonly #everyMs: number;
  /** The index of the last due time; negative if there is none. */
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

  /** How many due times there are up to a moment, ignoring the end; negative before the first. */
  #upTo(at: number): number {
    return Math.floor((at - this.#first) / this.#everyMs) + 1;
  }
  #counted(at: number): number {
    return Math.max(0, Math.min(this.#last + 1, this.#upTo(at)));
  }
}

/**
 * The local times of a cron expression as moments. An expression that matches every hour follows wall time: a repeated hour
 * runs twice, a skipped one not at all. All others run once per local day: at the first of two equal local times, and for
 * a skipped local time at the moment that would have had it without the change.
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
      // The next due time has a later local time than this; two days are more than any offset.
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

  /** The first due time after a moment; if it is not in the span, the span has none. */
  #firstIn(span: Span, from: number): number {
    const { offsetMs, beforeMs } = span;
    const found = this.#cron.next(Math.max(from + offsetMs, this.#seenBefore(span))) - offsetMs;
    if (from + 1 >= this.#shiftedUntil(span)) return found;
    const shifted = this.#cron.next(from + beforeMs) - beforeMs;
    return shifted < this.#shiftedUntil(span) ? Math.min(found, shifted) : found;
  }

  /** The last due time up to a moment; if it is before the span, the span has none. */
  #lastIn(span: Span, to: number): number {
    const { offsetMs, beforeMs } = span;
    const local = this.#cron.previous(to + offsetMs);
    const found = local > this.#seenBefore(span) ? local - offsetMs : Number.NEGATIVE_INFINITY;
    const shiftedUntil = this.#shiftedUntil(span);
    if (shiftedUntil <= span.from) return found;
    const shifted = this.#cron.previous(Math.min(to, shiftedUntil - 1) + beforeMs) - beforeMs;
    return Math.max(found, shifted);
  }

  /** How many due times there are after one moment and up to another, both in one span. */
  #countIn(span: Span, from: number, to: number): number {
    let counted = from;
    let count = 0;
    // In this part a shifted due time may coincide with another, so count them one by one.
    const together = Math.min(to, this.#shiftedUntil(span) - 1);
    while (counted < together) {
      counted = Math.min(this.#firstIn(span, counted), together + 1);
      if (counted <= together) count++;
    }
    const { offsetMs } = span;
    const local = Math.max(Math.max(from, together) + offsetMs, this.#seenBefore(span));
    return count + this.#cron.count(local, to + offsetMs);
  }

  /** Local times up to this one are repeated in the span, and do not count again. */
  #seenBefore({ from, beforeMs }: Span): number {
    return this.#cron.everyHour ? Number.NEGATIVE_INFINITY : from + beforeMs - 1;
  }
  /** Before this moment the skipped local times are due too. */
  #shiftedUntil({ from, offsetMs, beforeMs }: Span): number {
    return this.#cron.everyHour ? Number.NEGATIVE_INFINITY : from + offsetMs - beforeMs;
  }
}
