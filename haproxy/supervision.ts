import { backoffMs, type Logger, pause } from 'gantry/api';

const WATCH_MS = 100;
/** Who runs that long is well: the next end is a first one again. */
const STEADY_MS = 10_000;

/** Looks whether the program is there, and starts it again where it should be. */
export class Supervision {
  readonly #isMissing: () => Promise<boolean>;
  /** Gives how often it has ended by itself; null where there was nothing to start. */
  readonly #revive: () => Promise<number | null>;
  readonly #log: Logger;
  readonly #end = new AbortController();
  #watching: Promise<void> | null = null;
  #attempts = 0;
  #waitMs = 0;
  #hasRun = false;
  #revivedAt = 0;

  constructor(parts: { isMissing: () => Promise<boolean>; revive: () => Promise<number | null>; log: Logger }) {
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
      else if (Date.now() - this.#revivedAt > STEADY_MS) this.#forget();
    }
  }

  #forget(): void {
    this.#attempts = 0;
    this.#waitMs = 0;
    this.#hasRun = false;
  }

  /** At once the first time; later and later where it ends again and again, or cannot be started. */
  async #again(signal: AbortSignal): Promise<void> {
    if (this.#waitMs > 0) await pause(this.#waitMs, signal);
    const began = Date.now();
    const attempts = this.#attempts + 1;
    const waitMs = Math.round(backoffMs(attempts, { backoffMs: 250, maxBackoffMs: 10_000 }));
    try {
      const crashes = await this.#revive();
      if (crashes === null) return;
      const how = this.#hasRun
        ? 'HAProxy ended again shortly after it was started'
        : 'HAProxy ended without being told to';
      this.#log.warn({ crashes, attempts }, `${how}, and was started again`);
      this.#hasRun = true;
    } catch (error) {
      if (signal.aborted) return;
      this.#log.error({ error, attempts, waitMs }, 'HAProxy could not be started again; it is tried once more');
    }
    this.#attempts = attempts;
    this.#waitMs = waitMs;
    this.#revivedAt = began;
  }
}
