import type { Clock } from './clock.ts';

/** Calls `work` at once when triggered, but at most once in `ms`: triggers in between cause one more call at the end. */
export class Throttle {
  readonly #clock: Clock;
  readonly #ms: number;
  readonly #work: () => void;
  #at = Number.NEGATIVE_INFINITY;
  #cancel: (() => void) | null = null;

  constructor(clock: Clock, ms: number, work: () => void) {
    this.#clock = clock;
    this.#ms = ms;
    this.#work = work;
  }

  trigger(): void {
    if (this.#cancel !== null) return;
    const wait = this.#at + this.#ms - this.#clock.steady();
    if (wait <= 0) this.#do();
    else this.#cancel = this.#clock.after(wait, () => this.#do());
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = null;
  }

  #do(): void {
    this.#cancel = null;
    this.#at = this.#clock.steady();
    this.#work();
  }
}
