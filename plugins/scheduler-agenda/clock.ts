import { setImmediate as turn } from 'node:timers/promises';

/** What the scheduler has of time, so that a test can be its clock. */
export interface Clock {
  /** Ms that go on evenly, whatever is done to the clock on the wall. */
  steady(): number;
  /** Ms since 1970, as this machine believes. */
  wall(): number;
  /** Calls back after so many ms; returns the undo. */
  after(ms: number, work: () => void): () => void;
  /** Resolves when others had their turn. */
  turn(): Promise<void>;
}

/** A timer set for longer fires at once. */
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

/** Beyond it the clock of the database was set. */
const STEP_MS = 5000;

/**
 * The time of the database, which is the same for all servers, between two looks at it: when a server's own clock is
 * wrong, or is set, its jobs are due when they should be nevertheless.
 */
export class DatabaseTime {
  readonly #clock: Clock;
  /** From steady time to that of the database; null before the first look. */
  #offset: number | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * What the database said, asked and answered at these steady times: it was so somewhere between them. Gives by how much
   * its clock was set; 0: it was not.
   */
  sync(said: number, askedAt: number, answeredAt: number): number {
    // It says whole milliseconds.
    const [least, most] = [said - answeredAt, said + 1 - askedAt];
    const before = this.#offset;
    // What is known stays as far as it can be: an answer that took long tells little. At first rather late than early.
    this.#offset = before === null ? least : Math.min(Math.max(before, least), most);
    const step = before === null ? 0 : this.#offset - before;
    return Math.abs(step) > STEP_MS ? Math.round(step) : 0;
  }

  get isKnown(): boolean {
    return this.#offset !== null;
  }
  /** Before the first look it is the machine's own. */
  now(): number {
    return this.#offset === null ? this.#clock.wall() : Math.floor(this.#clock.steady() + this.#offset);
  }

  /** By how much this machine's clock is ahead; null before the first look. */
  get aheadMs(): number | null {
    return this.#offset === null ? null : Math.round(this.#clock.wall() - this.now());
  }
}
