/** A few at a time, in the order of asking. */
export class Turns {
  readonly #mostWaiting: number;
  readonly #queue: (() => void)[] = [];
  #free: number;

  constructor(parallel: number, mostWaiting: number) {
    this.#free = parallel;
    this.#mostWaiting = mostWaiting;
  }

  /** Null where too many wait: the work is not done then. */
  take<T>(work: () => Promise<T>): Promise<T> | null {
    if (this.#free === 0 && this.#queue.length >= this.#mostWaiting) return null;
    return this.#run(work);
  }

  async #run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#queue.push(resolve));
    try {
      return await work();
    } finally {
      // The turn goes to the next one itself, so that nobody slips in between.
      const next = this.#queue.shift();
      if (next === undefined) this.#free++;
      else next();
    }
  }
}
