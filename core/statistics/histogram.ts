/** Hot. Latency buckets that are the same for every histogram, so that adding two is adding their counts. */
import type { Histogram } from '../ports/stats.ts';

/** Each doubling of the latency is cut into this many buckets of equal width: a bucket is at most 1/32 wide. */
const PARTS = 32;
const PART_BITS = 5;
/** The doublings: from 2^-7 ms (7.8 us) to 2^20 ms (17.5 min). One bucket is below them and one above. */
const FIRST = -7;
const DOUBLINGS = 27;
const LEAST_MS = 2 ** FIRST;
const MOST_MS = 2 ** (FIRST + DOUBLINGS);

export const BUCKETS = DOUBLINGS * PARTS + 2;

/** The upper bound of each bucket, which belongs to the bucket; the last is Infinity. */
export const BOUNDS_MS: readonly number[] = Object.freeze(Array.from({ length: BUCKETS }, (_, i) => bound(i)));

function bound(bucket: number): number {
  if (bucket === 0) return LEAST_MS;
  if (bucket === BUCKETS - 1) return Number.POSITIVE_INFINITY;
  return LEAST_MS * 2 ** Math.floor((bucket - 1) / PARTS) * (1 + (((bucket - 1) % PARTS) + 1) / PARTS);
}

// One number seen as two words. An IEEE 754 double is sign, 11 bits of exponent, 52 of mantissa: the exponent is the
// doubling and the first bits of the mantissa are the part of it, so the upper word, shifted, is the bucket.
const real = new Float64Array(1);
const words = new Int32Array(real.buffer);
const UPPER = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1 ? 1 : 0;
const LOWER = 1 - UPPER;
const SHIFT = 20 - PART_BITS;
const BIAS = 1023;
const BELOW = (BIAS + FIRST) * PARTS - 1;

/** The bucket of a latency: the first whose bound is not below it. Bucket 0 for what is no number. */
export function bucketOf(ms: number): number {
  if (!(ms > LEAST_MS)) return 0;
  if (ms > MOST_MS) return BUCKETS - 1;
  real[0] = ms;
  const upper = words[UPPER] as number;
  // A bound itself has a lower word of 0 and belongs to the bucket below: take one off its last place.
  return ((words[LOWER] === 0 ? upper - 1 : upper) >>> SHIFT) - BELOW;
}

/** How often each latency was seen, from one moment. */
export class Latency implements Histogram {
  readonly boundsMs: readonly number[] = BOUNDS_MS;
  readonly counts: readonly number[];
  /** 0 where nothing was counted. */
  readonly minMs: number;
  readonly maxMs: number;

  constructor(counts: readonly number[], minMs: number, maxMs: number) {
    this.counts = counts;
    this.minMs = minMs;
    this.maxMs = maxMs;
  }

  /**
   * Spreads the calls of a bucket evenly over it, between the least and the greatest that was seen: off by 1/32 at
   * most, or by 8 us where that is more. 0 where nothing was counted; a share outside 0..1 is taken as 0 or 1.
   */
  quantile(share: number): number {
    const calls = this.counts.reduce((sum, count) => sum + count, 0);
    if (calls === 0) return 0;
    const rank = Math.min(1, Math.max(0, share)) * calls;
    let below = 0;
    for (const [i, count] of this.counts.entries()) {
      if (count > 0 && below + count >= rank) return this.#within(i, (rank - below) / count);
      below += count;
    }
    return this.maxMs;
  }

  #within(bucket: number, share: number): number {
    const from = Math.max(this.minMs, bucket === 0 ? 0 : bound(bucket - 1));
    const to = Math.min(this.maxMs, bound(bucket));
    return Math.min(to, from + (to - from) * share);
  }
}
