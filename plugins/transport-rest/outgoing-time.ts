import type { Call, GantryError } from '../../core/api.ts';
import { type Place, reasonOf, tooSlow } from './outgoing-errors.ts';

/**
 * What is left for one message. Ends when it is used up, or when the call ends. Not an AbortSignal: one of those costs
 * as much as the rest of a request's bookkeeping, and here at most one listens.
 */
export class Time {
  /** Why it ended, or null. */
  ended: GantryError | null = null;
  /** Told when it ends: the exchange or the pause that is under way. */
  onEnd: (() => void) | null = null;
  readonly #endsAt: number;
  readonly #timer: NodeJS.Timeout;
  readonly #deaf: (() => void) | undefined;

  /** Throws where there is no time at all. */
  constructor(place: Place, limitMs: number, call: Call | undefined) {
    if (call?.aborted === true) throw reasonOf(call.signal);
    const late = () => tooSlow(place, `was not answered within ${Math.round(limitMs)} ms.`);
    if (limitMs <= 0) throw late();
    this.#endsAt = performance.now() + limitMs;
    this.#timer = setTimeout(() => this.#end(late()), limitMs);
    this.#deaf = call?.onAbort(() => this.#end(reasonOf(call.signal)));
  }

  get leftMs(): number {
    return this.#endsAt - performance.now();
  }

  /** Rejects when the time ends first. */
  pause(ms: number): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.ended !== null) {
        reject(this.ended);
        return;
      }
      const timer = setTimeout(() => {
        this.onEnd = null;
        resolve();
      }, ms);
      this.onEnd = () => {
        clearTimeout(timer);
        reject(this.ended);
      };
    });
  }

  /** The message is done. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#deaf?.();
  }

  #end(reason: GantryError): void {
    if (this.ended !== null) return;
    this.ended = reason;
    const tell = this.onEnd;
    this.onEnd = null;
    tell?.();
  }
}
