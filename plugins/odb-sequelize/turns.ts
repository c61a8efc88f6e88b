import { pause } from '../../core/api.ts';

/** One after the other, in the order of their coming. */
export class Turns {
  #last: Promise<void> = Promise.resolve();

  /** Resolves when it is this one's turn, with what ends the turn. Rejects, and is passed over, when the signal fires. */
  async enter(signal: AbortSignal): Promise<() => void> {
    const before = this.#last;
    let leave = () => {};
    const own = new Promise<void>((resolve) => {
      leave = resolve;
    });
    this.#last = before.then(() => own);
    try {
      await untilAborted(before, signal);
    } catch (reason) {
      leave();
      throw reason;
    }
    return leave;
  }
}

/** Turns by name: those who ask for the same one come one after the other. */
export class NamedTurns {
  readonly #known = new Map<string, { readonly turns: Turns; users: number }>();

  /** As Turns.enter(). */
  async enter(name: string, signal: AbortSignal): Promise<() => void> {
    const known = this.#known.get(name) ?? { turns: new Turns(), users: 0 };
    this.#known.set(name, known);
    known.users++;
    const done = () => {
      if (--known.users === 0) this.#known.delete(name);
    };
    try {
      const leave = await known.turns.enter(signal);
      return () => {
        leave();
        done();
      };
    } catch (reason) {
      done();
      throw reason;
    }
  }
}

/** As the work, but rejects with the signal's reason as soon as it fires; the work itself goes on. */
export async function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  let stop = () => {};
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

/** Waits at most so long, however it ends. */
export async function within(ms: number, work: Promise<unknown>): Promise<void> {
  const over = new AbortController();
  await Promise.race([work.catch(() => {}), pause(ms, over.signal)]).finally(() => over.abort());
}
