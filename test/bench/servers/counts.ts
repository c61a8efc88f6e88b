const BUCKETS = 32;

/** What the peers keep of each route: calls, failures, the sum and a histogram with bounds of powers of two of a us. */
export class Counts {
  calls = 0;
  failures = 0;
  sumMs = 0;
  maxMs = 0;
  readonly histogram = new Uint32Array(BUCKETS);

  record(ms: number, failed: boolean): void {
    this.calls++;
    if (failed) this.failures++;
    this.sumMs += ms;
    if (ms > this.maxMs) this.maxMs = ms;
    const bucket = Math.min(BUCKETS - 1, 32 - Math.clz32(ms * 1000));
    this.histogram[bucket] = (this.histogram[bucket] as number) + 1;
  }
}
