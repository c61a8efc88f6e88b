import type { RunSource } from '../call.ts';
import type { Page } from './page.ts';

/**
 * Keeps runs of services that must not be forgotten: firings of jobs, and durable calls. Each attempt is a row that is
 * there before the service is invoked, and whose outcome is written once. Times are in ms since 1970. Every method
 * rejects as those of the odb do, and may be asked again after a lost answer: what was done then is not done twice. What
 * could not be kept, such as a token that is too long, is refused with INVALID, a limit or a page with INPUT_INVALID.
 */
export interface Runs {
  /**
   * Adds those that are not there yet, all in one transaction, and tells which ones this asking added: none of what was
   * there before. With a fence nothing is added unless that lease is held as told: LEASE_LOST.
   */
  add(runs: readonly NewRun[], fence: Fence | null): Promise<readonly RunKey[]>;
  /** The waiting ones that are ready at `now` become running, the longest ready first; of two that take, one gets each. */
  take(query: TakeQuery): Promise<readonly Attempt[]>;
  /** The same for these: those of them that were waiting, and are running now. With a fence as add() has it. */
  start(keys: readonly RunKey[], by: Runner, fence: Fence | null): Promise<readonly Attempt[]>;
  /**
   * Writes outcomes, each where the run is still running by that owner, or waiting where the owner is null; with it, in
   * the same transaction, adds what comes after it. Tells which ones are written. One that ended otherwise, or is
   * another's, stays what it is, and nothing comes after it. One that an asking of just the same outcome, time and owner
   * wrote before is told again: the answer to that may have been lost. With a fence as add() has it.
   */
  end(ends: readonly RunEnd[], owner: string | null, fence: Fence | null): Promise<readonly RunKey[]>;
  /** Waiting ones get another pool, where they are waiting still. Tells how many. */
  move(keys: readonly RunKey[], pool: Pool): Promise<number>;
  /** Those that wait or run, the longest ready first, at most `limit`. */
  open(query: OpenQuery): Promise<readonly Attempt[]>;
  /** When the first one that waits in these pools is ready; null where none waits. */
  readyAt(pools: readonly Pool[]): Promise<number | null>;
  /** Job and due time of each firing of a schedule that is due after that time, those that were skipped or missed too. */
  firings(after: number): Promise<readonly { readonly job: string; readonly dueAt: number }[]>;
  /** All attempts of one firing or durable call, the first one first. */
  find(token: string): Promise<readonly Attempt[]>;
  /** Ended and open ones, latest due first. */
  history(query: RunQuery): Promise<Page<Attempt>>;
  /** Of each of these jobs that has one: of those that ended the latest due, and those that are open, at most 10 each. */
  latest(jobs: readonly string[]): Promise<readonly JobRuns[]>;
  /** How many there are. */
  counts(): Promise<RunCounts>;
  /** Takes those that are dead out of the list of dead ones; tells which were in it. They stay in the history. */
  bury(tokens: readonly string[]): Promise<readonly string[]>;
  /**
   * The last attempt of each, where it is dead, is followed by another one, and is no longer dead; tells the new ones.
   * They are ready now, and wait in the pool of the one before; where that was `queue`, in `holder`. `budget` attempts may
   * be made from then on: `attempts` of the new one is its number and `budget` - 1.
   */
  replay(tokens: readonly string[], now: number, budget: number): Promise<readonly RunKey[]>;
  /**
   * Forgets ended ones that ended before that time, and of each job and each service of durable calls all but the latest `keep`; dead ones stay for
   * `deadBefore`. Never one that is due after `accounted`. In portions; tells how many.
   */
  forget(query: ForgetQuery): Promise<number>;
}

/** What an outcome and an effect are bound to: this lease, held by this holder in this epoch, and not lapsed. */
export interface Fence {
  readonly lease: string;
  readonly holder: string;
  readonly epoch: number;
}

/** One attempt. */
export interface RunKey {
  /** Of the firing or durable call: the same for all its attempts. 1 to 100 characters. */
  readonly token: string;
  /** From 1. */
  readonly attempt: number;
}

export type { RunSource } from '../call.ts';
/** Which server may start a waiting run: the scheduler's holder, any, or none before its predecessor has ended. */
export type Pool = 'holder' | 'any' | 'queue';
export type RunOutcome =
  | 'succeeded'
  | 'failed'
  | 'timeout'
  /** Its server ended, or lost its lease, before there was an outcome. */
  | 'interrupted'
  /** The run before was under way. */
  | 'skipped'
  /** Not started in time. */
  | 'missed'
  | 'cancelled';

/** The server that runs it. */
export interface Runner {
  /** The holder of the lease that shows that it is alive. */
  readonly owner: string;
  /** The name of its server. */
  readonly server: string;
  /** Of the scheduler's lease; 0 where it has nothing to do with it. */
  readonly epoch: number;
  /** When it starts them. */
  readonly now: number;
}

interface About extends RunKey {
  readonly source: RunSource;
  /** Null for a durable call. */
  readonly job: string | null;
  readonly service: string;
  readonly dueAt: number;
  /** Not started earlier: that of a later attempt is after its due time. */
  readonly readyAt: number;
  readonly pool: Pool;
  /** How many attempts there may be in all. */
  readonly attempts: number;
  /** How many due times it stands for: more than one for those that were missed together, of which `dueAt` is the last. */
  readonly count: number;
  /** What it is run with, where its job does not say it. JSON; null: nothing. */
  readonly data: unknown;
}

/**
 * With an owner it is running from the start; with an outcome it has ended already, when its owner began or else now; else
 * it waits.
 */
export interface NewRun extends About {
  readonly by: Runner | null;
  readonly outcome: RunOutcome | null;
  /** Why it was skipped or missed. */
  readonly reason: string | null;
}

export interface Attempt extends About {
  readonly state: 'waiting' | 'running' | 'ended';
  readonly owner: string | null;
  readonly server: string | null;
  readonly epoch: number;
  readonly startedAt: number | null;
  readonly endedAt: number | null;
  readonly outcome: RunOutcome | null;
  /** Why it did not succeed. */
  readonly reason: string | null;
  /** The code of its error. */
  readonly code: string | null;
  /** In the list of those that were given up. */
  readonly dead: boolean;
}

export interface RunEnd extends RunKey {
  readonly outcome: RunOutcome;
  readonly endedAt: number;
  /** At most 4000 characters are kept. */
  readonly reason: string | null;
  readonly code: string | null;
  readonly dead: boolean;
  /** Added with it: another attempt, or what its outcome asks for. Those that are there already stay what they are. */
  readonly followers: readonly NewRun[];
}

export interface TakeQuery extends Runner {
  readonly pools: readonly Pool[];
  readonly limit: number;
}

export interface OpenQuery {
  readonly state?: 'waiting' | 'running';
  readonly owner?: string;
  readonly pools?: readonly Pool[];
  readonly job?: string;
  /** Jobs only, or durable calls only. */
  readonly of?: 'jobs' | 'calls';
  /** Without `data`, which is null then: it may be much. */
  readonly brief?: boolean;
  readonly limit: number;
}

export interface RunQuery {
  readonly job?: string;
  readonly service?: string;
  readonly of?: 'jobs' | 'calls';
  readonly outcome?: RunOutcome;
  readonly state?: Attempt['state'];
  readonly dead?: boolean;
  /** Due times. */
  readonly from?: number;
  /** Not included. */
  readonly until?: number;
  /** `next` of the page before. */
  readonly after?: string;
  /** 1 to 1000. */
  readonly limit: number;
}

export interface JobRuns {
  readonly job: string;
  readonly last: Attempt | null;
  readonly open: readonly Attempt[];
}

export interface RunCounts {
  readonly running: number;
  readonly waiting: number;
  /** Durable calls and firings that were given up. */
  readonly dead: number;
}

export interface ForgetQuery {
  /** Ended earlier. */
  readonly before: number;
  readonly deadBefore: number;
  /** Of each job, and of each service of durable calls. */
  readonly keep: number;
  /** The jobs and services that are looked at for it; all ended ones are looked at for `before`. */
  readonly jobs: readonly string[];
  readonly services: readonly string[];
  /** Due after it: stays. */
  readonly accounted: number;
}
