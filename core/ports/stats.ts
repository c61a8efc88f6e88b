/** Keeps how often services were called, how long they took and how they ended. */
export interface Stats {
  /** Looked up once, when a service is deployed; the same name gives the same meter. */
  meter(service: string): Meter;
  /** Everything since the process started, one entry per service, in the order of first use. */
  snapshot(): readonly ServiceStats[];
  /** Pushes out what is buffered, where there is a store behind. */
  flush?(): Promise<void>;
}

/** Is on the hot path: takes a sample, waits for nothing, allocates nothing. */
export interface Meter {
  record(ms: number, failed: boolean): void;
}

export interface ServiceStats {
  readonly service: string;
  readonly calls: number;
  readonly failures: number;
  readonly minMs: number;
  readonly meanMs: number;
  readonly maxMs: number;
  readonly sumMs: number;
  readonly latency: Histogram;
}

/** Buckets that may be added to those of another period or server without loss. */
export interface Histogram {
  /** Upper bound of each bucket in ms, ascending; the last is Infinity. The same for every histogram of a version. */
  readonly boundsMs: readonly number[];
  readonly counts: readonly number[];
  /** The latency below which a share of the calls stayed, e.g. 0.99. */
  quantile(share: number): number;
}
