import type { GantryError } from '../errors.ts';
import type { Leases } from './leases.ts';
import type { Page } from './page.ts';
import type { RunKey, Runs } from './runs.ts';

export type { Page } from './page.ts';

/**
 * Keeps records: what changes while running, the same for every server. Knows how to keep them, not what they mean.
 * Names of kinds and fields have at most 64 characters, authors and ids of calls at most 200; none of these texts nor a
 * name holds NUL or half a surrogate pair: RECORD_INVALID.
 * Every method rejects with ODB_UNAVAILABLE (retryable) while the database cannot be reached or does not answer in
 * time, and what was under way is undone; after a lost answer to a write, reading tells whether it was done.
 */
export interface Odb {
  /**
   * Null while the database answers and has room for changes; otherwise why the last operation failed. The next
   * operation that succeeds clears it.
   */
  readonly problem: GantryError | null;
  /** The revision of the last change. 0: there was none yet. */
  revision(): Promise<number>;
  /** Every record of the kinds, all as they were at one revision, by kind (in the order given) and name. */
  load(kinds: readonly string[]): Promise<Loading>;
  find(kind: string, name: string): Promise<Stored | null>;
  /** Those of the names that are there. */
  pick(kind: string, names: readonly string[]): Promise<readonly Stored[]>;
  list(kind: string, query: RecordQuery): Promise<Page<Stored>>;
  /** The records that refer to this one, by kind and name. */
  referrers(kind: string, name: string): Promise<readonly Reference[]>;
  /** The changes after a revision, oldest first: none is ever missing between two that are there. */
  changes(after: number, limit: number): Promise<readonly Change[]>;
  /** The change log, newest first unless asked otherwise. */
  history(query: HistoryQuery): Promise<Page<Change>>;
  /**
   * All or nothing, each change with a revision of its own, in their order. Rejects with RECORD_DUPLICATE,
   * RECORD_NOT_FOUND, RECORD_STALE, RECORD_TAKEN (a claim is another's), RECORD_IN_USE (a removed one is referred to;
   * the message tells by what) or RECORD_DANGLING (a reference leads nowhere), the last two as the whole batch left it.
   */
  write(writes: readonly Write[], by: Author): Promise<readonly Written[]>;
  /** Rejects as write() would, and changes nothing. */
  rehearse(writes: readonly Write[], by: Author): Promise<void>;
  /**
   * Makes an effect happen once, however often it is asked for: `work` and the keeping of its key are one transaction; without a key (null) it is that transaction.
   * Where the key is kept already, nothing is run, and what `work` gave then is given again. Of two at the same time
   * the later one waits for the earlier one's end, and runs where that failed. What `work` throws undoes everything, the
   * key too, and is thrown on. `work` runs at most once for one asking, and must do nothing but run statements: it must not ask the odb for more.
   * With `within` nothing is done, and nothing given again, unless that run is still running by that owner: LEASE_LOST. It cannot be ended meanwhile.
   */
  once<T>(key: string | null, work: (run: RunSql) => Promise<T>, within?: OwnRun): Promise<Once<T>>;
  /** Forgets keys that were kept before that time, and tells how many. */
  forget(before: Date): Promise<number>;
  readonly leases: Leases;
  readonly runs: Runs;
}

/** A run, and the holder that must be running it. */
export interface OwnRun extends RunKey {
  readonly owner: string;
}

/**
 * Runs one statement on a table of the same database; values stand for `$1`, `$2` ... in it. Rejects with
 * ODB_UNAVAILABLE, with RECORD_DUPLICATE where a unique key is there already, with INVALID for what may not run here, e.g.
 * what ends the transaction, and with ODB_FAILED for all else. The first that fails is the last one: all is undone then,
 * also where `work` catches it.
 */
export type RunSql = (sql: string, values?: readonly unknown[]) => Promise<SqlResult>;

export interface SqlResult {
  readonly rows: readonly Readonly<Record<string, unknown>>[];
  /** Of INSERT, UPDATE and DELETE. */
  readonly changed: number;
}

export interface Once<T> {
  /** False: it was done before, and `value` is what was kept of it. */
  readonly first: boolean;
  /** As JSON gives it back; at most 64 kB of that. */
  readonly value: T;
}

/** A record as it is kept. */
export interface Stored {
  readonly kind: string;
  /** 1 to 200 characters; compares exactly. */
  readonly name: string;
  /** 1, and one more with each update. */
  readonly version: number;
  /** JSON, without the name. */
  readonly body: Readonly<Record<string, unknown>>;
  readonly changedAt: Date;
  readonly changedBy: string;
  /** That of its last change. */
  readonly revision: number;
}

export interface Loading {
  readonly revision: number;
  readonly records: readonly Stored[];
}

/** Another record, by its kind and name. */
export interface Reference {
  readonly kind: string;
  readonly name: string;
}

/** One change to make. */
export type Write =
  | ({ readonly action: 'create' } & Content)
  | ({ readonly action: 'update'; readonly version: number } & Content)
  | {
      readonly action: 'remove';
      readonly kind: string;
      readonly name: string;
      /** Left out: whichever it has. */
      readonly version?: number;
      readonly before?: unknown;
    };

interface Content {
  readonly kind: string;
  readonly name: string;
  readonly body: Readonly<Record<string, unknown>>;
  /** What lists can be filtered and sorted by; texts of at most 200 characters. An empty one counts as absent. */
  readonly fields?: Readonly<Record<string, string>>;
  /** Records that must be there as long as this one is. */
  readonly references?: readonly Reference[];
  /** Texts that no other record may claim, e.g. `channel rest GET /orders`; any length. */
  readonly claims?: readonly string[];
  /** The record before and after, as the change log may show it: without secrets. JSON. */
  readonly before?: unknown;
  readonly after?: unknown;
}

export interface Written {
  readonly kind: string;
  readonly name: string;
  /** 0 for a removed one. */
  readonly version: number;
  readonly revision: number;
  readonly changedAt: Date;
}

/** The author of a change. */
export interface Author {
  readonly name: string;
  /** The id of the call that asked for it. */
  readonly cid?: string;
}

/** One line of the change log, which is the audit, too. */
export interface Change {
  readonly revision: number;
  readonly action: 'create' | 'update' | 'remove';
  readonly kind: string;
  readonly name: string;
  readonly version: number;
  readonly changedAt: Date;
  readonly changedBy: string;
  readonly cid: string | null;
  readonly before: unknown;
  readonly after: unknown;
}

export interface RecordQuery {
  /** A part of the name; ASCII letters in any case; `%` and `_` mean themselves. */
  readonly search?: string;
  /** Exactly these values of fields. */
  readonly filter?: Readonly<Record<string, string>>;
  /** 'name' (the default), 'changedAt' or a field; those of one value are in the order of their names. */
  readonly sort?: string;
  readonly descending?: boolean;
  /** `next` of the page before. */
  readonly after?: string;
  /** 1 to 1000. */
  readonly limit: number;
}

export interface HistoryQuery {
  readonly kind?: string;
  readonly name?: string;
  readonly action?: Change['action'];
  readonly changedBy?: string;
  readonly cid?: string;
  readonly from?: Date;
  /** Not included. */
  readonly until?: Date;
  /** A part of the name, of `before` or of `after`; case counts. */
  readonly search?: string;
  readonly ascending?: boolean;
  readonly after?: string;
  readonly limit: number;
}
