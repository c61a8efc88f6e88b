import type { Histogram, ServiceStats } from '../ports/stats.ts';
import { BOUNDS_MS, BUCKETS, Latency } from './histogram.ts';

/** What a tally may begin with. */
export interface TallyParts {
  readonly failures: number;
  readonly sumMs: number;
  /** Infinity where nothing was counted. */
  readonly minMs: number;
  readonly maxMs: number;
  /** How many calls there were, by bucket (core/statistics/histogram.ts); no zeros. */
  readonly counts: Map<number, number>;
}

/**
 * The calls of one service in one span of time. Adding two gives what one would be that had seen all their calls. Holds
 * only the buckets that were hit: 1 kB for 20 of them, 40 kB for all.
 */
export class Tally {
  calls = 0;
  failures: number;
  sumMs: number;
  /** Infinity where nothing was counted. */
  minMs: number;
  maxMs: number;
  readonly counts: Map<number, number>;

  constructor({ failures, sumMs, minMs, maxMs, counts }: TallyParts = empty()) {
    for (const count of counts.values()) this.calls += count;
    this.failures = failures;
    this.sumMs = sumMs;
    this.minMs = minMs;
    this.maxMs = maxMs;
    this.counts = counts;
  }

  add(other: Tally): void {
    this.calls += other.calls;
    this.failures += other.failures;
    this.sumMs += other.sumMs;
    if (other.minMs < this.minMs) this.minMs = other.minMs;
    if (other.maxMs > this.maxMs) this.maxMs = other.maxMs;
    for (const [bucket, count] of other.counts) this.counts.set(bucket, (this.counts.get(bucket) ?? 0) + count);
  }

  /** A copy, as the stats port tells it. */
  stats(service: string): ServiceStats {
    const { calls, failures, sumMs, maxMs } = this;
    const minMs = calls === 0 ? 0 : this.minMs;
    const latency = new SparseLatency(new Map(this.counts), minMs, maxMs);
    return { service, calls, failures, minMs, meanMs: meanOf(calls, sumMs, minMs, maxMs), maxMs, sumMs, latency };
  }
}

/** A latency that is kept by the thousand: its 867 counts are made when they are asked for. */
class SparseLatency implements Histogram {
  readonly boundsMs: readonly number[] = BOUNDS_MS;
  /** Of the buckets that were hit. */
  readonly hit: ReadonlyMap<number, number>;
  readonly #minMs: number;
  readonly #maxMs: number;

  constructor(counts: ReadonlyMap<number, number>, minMs: number, maxMs: number) {
    this.hit = counts;
    this.#minMs = minMs;
    this.#maxMs = maxMs;
  }

  get counts(): readonly number[] {
    const counts = new Array<number>(BUCKETS).fill(0);
    for (const [bucket, count] of this.hit) counts[bucket] = count;
    return counts;
  }
  quantile(share: number): number {
    return new Latency(this.counts, this.#minMs, this.#maxMs).quantile(share);
  }
}

/** Everything as one, e.g. the periods of a day: the mean is that of all calls, and never one of means. */
export function addStats(service: string, all: Iterable<ServiceStats>): ServiceStats {
  const sum = new Tally();
  for (const { calls, failures, sumMs, minMs, maxMs, latency } of all) {
    if (calls === 0) continue;
    sum.add(new Tally({ failures, sumMs, minMs, maxMs, counts: hitOf(latency) }));
  }
  return sum.stats(service);
}

function hitOf(latency: Histogram): Map<number, number> {
  if (latency instanceof SparseLatency) return new Map(latency.hit);
  const counts = latency.counts.map((count, bucket) => [bucket, count] as const);
  return new Map(counts.filter(([, count]) => count > 0));
}

/** Rounding must not take the mean past what was seen. */
export function meanOf(calls: number, sumMs: number, minMs: number, maxMs: number): number {
  return calls === 0 ? 0 : Math.min(maxMs, Math.max(minMs, sumMs / calls));
}

function empty(): TallyParts {
  return { failures: 0, sumMs: 0, minMs: Number.POSITIVE_INFINITY, maxMs: 0, counts: new Map() };
}
