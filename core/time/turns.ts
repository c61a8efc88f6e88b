/** A few at a time, a few in the queue, the rest turned away. */
export class Turns {
  readonly #waiting: number;
  readonly #queue: (() => void)[] = [];
  #free: number;

  /** `parallel` run at once, `waiting` more may wait for their turn. */
  constructor(parallel: number, waiting: number) {
    this.#free = parallel;
    this.#waiting = waiting;
  }

  /** In the order of asking. Null: the queue is full, and the work is not done at all. */
  take<T>(work: () => Promise<T>): Promise<T> | null {
    if (this.#free > 0) {
      this.#free--;
      return this.#run(work);
    }
    if (this.#queue.length >= this.#waiting) return null;
    return new Promise<void>((resolve) => this.#queue.push(resolve)).then(() => this.#run(work));
  }

  /** The turn goes straight to the next in the queue: nobody who asks meanwhile can slip in before it. */
  async #run<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } finally {
      const next = this.#queue.shift();
      if (next === undefined) this.#free++;
      else next();
    }
  }
}
