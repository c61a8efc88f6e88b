import type { GantryError } from '../errors.ts';
import type { Page } from './page.ts';
import type { Attempt, JobRuns, RunKey, RunQuery } from './runs.ts';

/**
 * Runs jobs when they are due, on one server of a cluster at a time, and durable calls on any. What it must not forget is
 * in the odb; what it plans follows from the job records that this server runs with.
 */
export interface Scheduler {
  /** Why jobs or durable calls do not run as they should, as far as this server knows; null: they do. */
  readonly problem: GantryError | null;
  /** As this server knows it; asks nobody. */
  status(): SchedulerStatus;
  /**
   * Keeps a call, so that some server runs it at least once, this one at once if it can; gives its token. Rejects with
   * INVALID for what cannot be kept, and as the odb does: then nobody knows whether it will run.
   */
  accept(call: DurableCall): Promise<string>;
  /** Runs a job now, beside its schedule, whether it is active or not; gives the token. Rejects with NOT_FOUND. */
  fire(job: string, by: Asker, payload?: unknown): Promise<string>;
  /**
   * Runs a job for each due time of a period that has not run, one after the other, the earliest first. Those that are there already, and those
   * in the future, are left. Rejects with NOT_FOUND, or INVALID where there are more than `limit`.
   */
  backfill(job: string, period: Backfill, by: Asker): Promise<{ readonly due: number; readonly added: number }>;
  /** Gives dead ones `attempts` attempts more; tells which. */
  replay(tokens: readonly string[], attempts: number): Promise<readonly string[]>;
  /** Takes dead ones out of the list; they stay in the history. Tells which. */
  bury(tokens: readonly string[]): Promise<readonly string[]>;
  /** Ends what waits, and tells what runs that it should end; false where there is nothing of that token to end. */
  cancel(token: string, by: Asker): Promise<boolean>;
  /** Ended and open runs, latest due first. */
  history(query: RunQuery): Promise<Page<Attempt>>;
  /** All attempts of one firing or durable call. */
  find(token: string): Promise<readonly Attempt[]>;
  /** Of each of these jobs that has one: the latest run that ended, and those that are open. */
  latest(jobs: readonly string[]): Promise<readonly JobRuns[]>;
}

/** A call that must not be forgotten. */
export interface DurableCall {
  readonly service: string;
  /** JSON, at most 1 MB of it. */
  readonly input: unknown;
  readonly verb: string | null;
  /** Whose it is. */
  readonly cid: string;
  readonly channel: string;
  readonly identity: { readonly name: string; readonly roles: readonly string[] } | null;
  readonly traceparent: string | null;
  /** Invoked with the outcome, durably too; null: nobody is. */
  readonly callback: string | null;
  /** In all, at least 1. */
  readonly attempts: number;
  /** Before the second attempt; doubles with each. */
  readonly backoffMs: number;
  readonly maxBackoffMs: number;
  /** Of one attempt; null: the service's own. */
  readonly timeoutMs: number | null;
  /** Not started earlier, counted from now. */
  readonly afterMs: number;
  /** Of the same key, only the first is kept: its token is given again. Null: a new one each time. */
  readonly key: string | null;
}

/** The person or service that asked for it, for people to read. */
export interface Asker {
  readonly name: string;
  readonly cid: string;
}

export interface Backfill {
  readonly from: Date;
  /** Included. */
  readonly until: Date;
  /** The most that may be added: 1 to 10,000. */
  readonly limit: number;
}

export interface SchedulerStatus {
  /** The server that has the scheduler's lease; null: none, or not known. */
  readonly holder: { readonly server: string; readonly epoch: number } | null;
  readonly isHolder: boolean;
  /** Whether this server may become the holder; else why not. */
  readonly standsBack: string | null;
  /** When the lease was last seen to be held, by the clock of the database; null: never. */
  readonly heldAt: Date | null;
  /** All jobs are paused. */
  readonly paused: boolean;
  /** Jobs that will run again; null where this server is not the holder. */
  readonly planned: number | null;
  /** Due longer ago than the time that a job gives itself, and not started; the longest first, at most 20. */
  readonly overdue: readonly { readonly job: string; readonly dueAt: Date; readonly lateMs: number }[];
  /** Runs in flight on this server. */
  readonly inHand: readonly (RunKey & { readonly job: string | null; readonly service: string })[];
  /** Of the last look at the database, or null. */
  readonly waiting: number | null;
  readonly dead: number | null;
  /** By how much the clock of this server is ahead of that of the database, in ms; null: not known yet. */
  readonly aheadMs: number | null;
  readonly counters: SchedulerCounters;
}

/** Counted since this process started, over the runs that this server executed or decided on. */
export interface SchedulerCounters {
  readonly started: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly timedOut: number;
  readonly interrupted: number;
  readonly skipped: number;
  readonly missed: number;
  /** Times that this server became the holder. */
  readonly takenOver: number;
  /** How long after they were due runs were started, and how long they took: in ms, by upper bound of the bucket. */
  readonly lateness: readonly Bucket[];
  readonly duration: readonly Bucket[];
}

export interface Bucket {
  /** Infinity for the last one. */
  readonly upToMs: number;
  readonly count: number;
  /** Of the values in it. */
  readonly sumMs: number;
}
