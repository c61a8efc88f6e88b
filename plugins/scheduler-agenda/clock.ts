import { setImmediate as turn } from 'node:timers/promises';

/** All that the scheduler knows of time. A test can replace it. */
export interface Clock {
  /** Monotonic time in ms: setting the machine's clock does not change it. */
  steady(): number;
  /** The machine's clock, in ms since 1970. */
  wall(): number;
  /** Calls `work` after `ms`. Returns a function that cancels it. */
  after(ms: number, work: () => void): () => void;
  /** Resolves after other callbacks had a chance to run. */
  turn(): Promise<void>;
}

/** Node fires a timer at once if its delay is longer than this. */
const LONGEST_MS = 2 ** 31 - 1;

export const machineClock: Clock = {
  steady: () => performance.now(),
  wall: () => Date.now(),
  after(ms, work) {
    const timer = setTimeout(work, Math.min(Math.max(0, ms), LONGEST_MS));
    timer.unref();
    return () => clearTimeout(timer);
  },
  turn: () => turn(),
};

/** A larger deviation means that the database's clock was set. */
const STEP_MS = 5000;

/**
 * The database's time, which is the same for all servers, estimated between two answers by monotonic time. So jobs are due
 * at the right moment even if a server's own clock is wrong or is set.
 */
export class DatabaseTime {
  readonly #clock: Clock;
  /** What to add to steady time to get the database's time; null before the first answer. */
  #offset: number | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Takes in the time that the database gave (ms since 1970) for a question sent and answered at these steady times: its
   * clock showed it at some moment between them. Returns by how many ms the database's clock was set; 0 if it was not.
   */
  sync(said: number, askedAt: number, answeredAt: number): number {
    // The database cuts off fractions of a millisecond.
    const [least, most] = [said - answeredAt, said + 1 - askedAt];
    const before = this.#offset;
    // Keep the estimate if the answer allows it, since a slow answer says little. The first estimate is the latest possible.
    this.#offset = before === null ? least : Math.min(Math.max(before, least), most);
    const step = before === null ? 0 : this.#offset - before;
    return Math.abs(step) > STEP_MS ? Math.round(step) : 0;
  }

  get isKnown(): boolean {
    return this.#offset !== null;
  }
  /** Ms since 1970; before the first answer by the machine's own clock. */
  now(): number {
    return this.#offset === null ? this.#clock.wall() : Math.floor(this.#clock.steady() + this.#offset);
  }

  /** How many ms this machine's clock is ahead of the database's; null before the first answer. */
  get aheadMs(): number | null {
    return this.#offset === null ? null : Math.round(this.#clock.wall() - this.now());
  }
}
