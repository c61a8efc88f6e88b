import type { GantryError } from '../errors.ts';

/** Keeps how often services were called, how long they took and how they ended. */
export interface Stats {
  /** Looked up once, when a service is deployed; the same name gives the same meter. */
  meter(service: string): Meter;
  /** Everything since the process started, one entry per service, in the order of first use. */
  snapshot(): readonly ServiceStats[];
  /** Pushes out what is buffered, where there is a store behind. */
  flush?(): Promise<void>;
  /** Null while the store behind answers; else why not. Absent: there is no store. */
  readonly problem?: GantryError | null;
  /**
   * What all servers counted, oldest period first, then by service; what is still buffered here is among it. Periods
   * without a call are left out, and so are those that are older than what is kept. Absent: nothing is kept by period.
   * Rejects with KV_UNAVAILABLE, and with INVALID where a time is none, or where it is more than can be given at once.
   */
  history?(query: StatsQuery): Promise<readonly PeriodStats[]>;
  /**
   * The slowest of late (a day at least), slowest first: calls that came through channels and took longer than the plugin's
   * threshold. Rejects with KV_UNAVAILABLE.
   */
  slowCalls?(limit: number, service?: string): Promise<readonly SlowCall[]>;
}

export interface StatsQuery {
  readonly per: 'minute' | 'hour' | 'day' | 'month';
  /** The period that it is in is the first one. */
  readonly from: Date;
  /** Not included. */
  readonly until: Date;
  /** Default: all. */
  readonly service?: string;
}

export interface PeriodStats extends ServiceStats {
  /** When the period began; periods begin where UTC has them begin. */
  readonly from: Date;
}

/** One call that took long. */
export interface SlowCall {
  readonly service: string;
  readonly server: string;
  readonly channel: string;
  readonly cid: string;
  /** When it ended. */
  readonly at: Date;
  readonly ms: number;
  /** 'ok' or the kind of its error. */
  readonly outcome: string;
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
