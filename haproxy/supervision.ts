import { backoffMs, type Logger, pause } from 'gantry/api';

const WATCH_MS = 100;
/** Who runs that long is well: the next end is a first one again. */
const STEADY_MS = 10_000;

/** Looks whether the program is there, and starts it again where it should be. */
export class Supervision {
  readonly #isMissing: () => Promise<boolean>;
  /** Gives whether there was something to start. */
  readonly #revive: () => Promise<boolean>;
  readonly #log: Logger;
  readonly #end = new AbortController();
  #watching: Promise<void> | null = null;
  #attempts = 0;
  #revivedAt = 0;

  constructor(parts: { isMissing: () => Promise<boolean>; revive: () => Promise<boolean>; log: Logger }) {
    this.#isMissing = parts.isMissing;
    this.#revive = parts.revive;
    this.#log = parts.log;
  }

  begin(): void {
    // Ends with a rejection when it is told to.
    this.#watching = this.#watch().catch(() => {});
  }

  async end(): Promise<void> {
    this.#end.abort(new Error('ended'));
    await this.#watching;
  }

  async #watch(): Promise<void> {
    const { signal } = this.#end;
    for (;;) {
      await pause(WATCH_MS, signal);
      if (await this.#isMissing()) await this.#again(signal);
      else if (Date.now() - this.#revivedAt > STEADY_MS) this.#attempts = 0;
    }
  }

  /** At once the first time; later and later where it ends again and again. */
  async #again(signal: AbortSignal): Promise<void> {
    if (this.#attempts > 0) {
      const waitMs = Math.round(backoffMs(this.#attempts, { backoffMs: 250, maxBackoffMs: 10_000 }));
      this.#log.warn({ attempts: this.#attempts, waitMs }, 'HAProxy ended again shortly after it was started');
      await pause(waitMs, signal);
    }
    const began = Date.now();
    const isOne = await this.#revive().catch((error: unknown) => {
      this.#log.error({ error }, 'HAProxy could not be started again');
      return true;
    });
    if (!isOne) return;
    this.#attempts++;
    this.#revivedAt = began;
  }
}
