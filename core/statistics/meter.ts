/** Hot. */

import type { Meter, ServiceStats } from '../ports/stats.ts';
import { BUCKETS, bucketOf, Latency } from './histogram.ts';
import { meanOf, Tally } from './tally.ts';

// Behind the buckets in the same array: a number in a typed array is written in place, and never makes an object.
const FAILURES = BUCKETS;
const SUM = BUCKETS + 1;
const MIN = BUCKETS + 2;
const MAX = BUCKETS + 3;
const CELLS = BUCKETS + 4;

/** The numbers of one service: 7 kB, and what its taken calls need (see Tally). */
export class ServiceMeter implements Meter {
  readonly service: string;
  /** What was recorded since it was last taken. */
  readonly #cells = new Float64Array(CELLS);
  readonly #taken = new Tally();

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

  /** What was recorded since the last time that it was asked; null where that is nothing. snapshot() does not mind. */
  take(): Tally | null {
    const cells = this.#cells;
    const [minMs, maxMs] = [cells[MIN] as number, cells[MAX] as number];
    if (minMs === Number.POSITIVE_INFINITY) return null;
    const counts = new Map<number, number>();
    const last = bucketOf(maxMs);
    for (let bucket = bucketOf(minMs); bucket <= last; bucket++) {
      const count = cells[bucket] as number;
      if (count > 0) counts.set(bucket, count);
    }
    const tally = new Tally({ failures: cells[FAILURES] as number, sumMs: cells[SUM] as number, minMs, maxMs, counts });
    cells.fill(0);
    cells[MIN] = Number.POSITIVE_INFINITY;
    this.#taken.add(tally);
    return tally;
  }

  /** A copy of everything since the start; 0 for all times of a service that was not called yet. */
  snapshot(): ServiceStats {
    const cells = this.#cells;
    const taken = this.#taken;
    const counts = Array.from(cells.subarray(0, BUCKETS));
    for (const [bucket, count] of taken.counts) counts[bucket] = (counts[bucket] as number) + count;
    let calls = 0;
    for (const count of counts) calls += count;
    const sumMs = (cells[SUM] as number) + taken.sumMs;
    const minMs = calls === 0 ? 0 : Math.min(cells[MIN] as number, taken.minMs);
    const maxMs = Math.max(cells[MAX] as number, taken.maxMs);
    return {
      service: this.service,
      calls,
      failures: (cells[FAILURES] as number) + taken.failures,
      minMs,
      meanMs: meanOf(calls, sumMs, minMs, maxMs),
      maxMs,
      sumMs,
      latency: new Latency(counts, minMs, maxMs),
    };
  }
}
