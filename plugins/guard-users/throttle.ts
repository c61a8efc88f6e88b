import { GantryError } from '../../core/api.ts';

interface Failures {
  count: number;
  /** When the first of them is forgotten, on the clock of `performance.now()`. */
  until: number;
}

/** Names are what callers send: they must not fill the memory. */
const MOST = 10_000;

/** Counts wrong passwords by who sent them. After too many, even the right one has to wait: guessing becomes slow. */
export class Throttle {
  readonly #most: number;
  readonly #waitMs: number;
  readonly #failures = new Map<string, Failures>();

  constructor(most: number, waitMs: number) {
    this.#most = most;
    this.#waitMs = waitMs;
  }

  /** Throws BUSY for who has to wait. */
  refuse(who: string): void {
    const known = this.#failures.get(who);
    if (known === undefined || known.count < this.#most) return;
    const left = known.until - performance.now();
    if (left > 0) {
      throw new GantryError('BUSY', 'Too many wrong passwords: wait before the next one', { retryAfterMs: left });
    }
    this.#failures.delete(who);
  }

  failed(who: string): void {
    const now = performance.now();
    const known = this.#failures.get(who);
    const count = known === undefined || known.until <= now ? 1 : known.count + 1;
    // The newest is last: the oldest goes where there are too many.
    this.#failures.delete(who);
    this.#failures.set(who, { count, until: now + this.#waitMs });
    if (this.#failures.size > MOST) this.#failures.delete(this.#failures.keys().next().value as string);
  }

  forget(who: string): void {
    this.#failures.delete(who);
  }
}
