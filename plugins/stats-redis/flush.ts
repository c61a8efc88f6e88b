import { GantryError, isGantryError, type Logger } from '../../core/api.ts';
import { type Meters, periodAfter, type SlowCalls } from '../../core/parts.ts';
import type { Link } from '../_redis/link.ts';
import { adviceFor } from '../_redis/trouble.ts';
import type { Buffer } from './buffer.ts';
import type { Writer } from './writer.ts';

export interface FlushParts {
  readonly meters: Meters;
  readonly slow: SlowCalls;
  readonly buffer: Buffer;
  readonly link: Link;
  readonly writer: Writer;
  readonly log: Logger;
  readonly flushMs: number;
}

/** Takes what was counted every so often, and when a minute begins, and brings it to Redis. */
export class Flush {
  readonly #parts: FlushParts;
  #takenAt = Date.now();
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | null = null;
  #next: Promise<void> | null = null;
  #refusal: GantryError | null = null;

  constructor(parts: FlushParts) {
    this.#parts = parts;
  }

  /** Null where Redis takes what is written; it may answer, and have no room. */
  get refusal(): GantryError | null {
    return this.#refusal;
  }

  start(): void {
    const now = Date.now();
    const ms = Math.min(this.#parts.flushMs, periodAfter('minute', now) - now);
    this.#timer = setTimeout(() => this.#tick(), ms).unref();
  }
  stop(): void {
    clearTimeout(this.#timer);
  }

  /** Resolves when all that was recorded before is in Redis. One at a time: who comes meanwhile waits for the next one. */
  run(): Promise<void> {
    if (this.#running === null) {
      this.#running = this.#write().finally(() => {
        this.#running = null;
      });
      return this.#running;
    }
    this.#next ??= this.#running
      .catch(() => {})
      .then(() => {
        this.#next = null;
        return this.run();
      });
    return this.#next;
  }

  #tick(): void {
    this.#take();
    // Why it fails is told by the link, or below.
    if (this.#running === null && this.#parts.link.isUp) this.run().catch(() => {});
    this.start();
  }

  /** Calls belong to the minute in which they were recorded: what there is was recorded since the last time. */
  #take(): void {
    const { buffer, meters } = this.#parts;
    buffer.add(this.#takenAt, meters.take());
    this.#takenAt = Date.now();
  }

  async #write(): Promise<void> {
    const { buffer, writer, log } = this.#parts;
    this.#take();
    try {
      for (;;) {
        const { batches, lostCalls } = buffer.seal(Date.now());
        if (lostCalls > 0) log.warn({ lostCalls }, 'calls that may have been counted were too old to be counted again');
        if (batches.length === 0) break;
        const { written, error } = await writer.write(batches);
        for (const batch of written) buffer.settle(batch);
        if (error !== null) throw error;
      }
      await this.#writeSlow();
    } catch (thrown) {
      throw isGantryError(thrown) ? thrown : this.#refused(thrown);
    }
    if (this.#refusal !== null) log.info({}, 'Redis takes the statistics again');
    this.#refusal = null;
  }

  async #writeSlow(): Promise<void> {
    const { slow, writer } = this.#parts;
    const calls = slow.take();
    if (calls.length === 0) return;
    try {
      await writer.writeSlow(calls);
    } catch (error) {
      for (const call of calls) slow.add(call);
      throw error;
    }
  }

  #refused(cause: unknown): GantryError {
    const text = cause instanceof Error ? cause.message : String(cause);
    const hint = `Redis: ${text}. ${adviceFor(cause)}`.trim();
    const error = new GantryError('KV_UNAVAILABLE', 'The statistics cannot be written', { cause, hint });
    if (this.#refusal === null)
      this.#parts.log.warn({ error }, 'Redis does not take the statistics: they wait in memory');
    return (this.#refusal = error);
  }
}
