/** Runs a few at a time, keeps a few in the queue, and refuses the rest. */
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

  /** The turn goes straight to the next in the queue, so that no later caller gets in before it. */
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
