/** Hot. */
import type { Meter, ServiceStats } from '../../core/api.ts';
import { BUCKETS, bucketOf, Latency } from './histogram.ts';

// Behind the buckets in the same array: a number in a typed array is written in place, and never makes an object.
const FAILURES = BUCKETS;
const SUM = BUCKETS + 1;
const MIN = BUCKETS + 2;
const MAX = BUCKETS + 3;
const CELLS = BUCKETS + 4;

/** The numbers of one service: 7 kB, whatever it does. */
export class ServiceMeter implements Meter {
  readonly service: string;
  readonly #cells = new Float64Array(CELLS);

  constructor(service: string) {
    this.service = service;
    this.#cells[MIN] = Number.POSITIVE_INFINITY;
  }

  /** A time that cannot be (negative, NaN, infinite) counts as a call of 0 ms, so that it spoils no sum. */
  record(ms: number, failed: boolean): void {
    const cells = this.#cells;
    const took = ms >= 0 && ms < Number.POSITIVE_INFINITY ? ms : 0;
    const bucket = bucketOf(took);
    cells[bucket] = (cells[bucket] as number) + 1;
    cells[SUM] = (cells[SUM] as number) + took;
    if (took < (cells[MIN] as number)) cells[MIN] = took;
    if (took > (cells[MAX] as number)) cells[MAX] = took;
    if (failed) cells[FAILURES] = (cells[FAILURES] as number) + 1;
  }

  /** A copy; 0 for all times of a service that was not called yet. */
  snapshot(): ServiceStats {
    const cells = this.#cells;
    const counts = new Array<number>(BUCKETS);
    let calls = 0;
    for (let i = 0; i < BUCKETS; i++) calls += counts[i] = cells[i] as number;
    const sumMs = cells[SUM] as number;
    const minMs = calls === 0 ? 0 : (cells[MIN] as number);
    const maxMs = cells[MAX] as number;
    return {
      service: this.service,
      calls,
      failures: cells[FAILURES] as number,
      minMs,
      // Rounding must not take the mean past what was seen.
      meanMs: calls === 0 ? 0 : Math.min(maxMs, Math.max(minMs, sumMs / calls)),
      maxMs,
      sumMs,
      latency: new Latency(counts, minMs, maxMs),
    };
  }
}
