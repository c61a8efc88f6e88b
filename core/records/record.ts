import type { Definition } from '../ports/kind.ts';
import type { Author, Change, HistoryQuery, Page, RecordQuery, Reference } from '../ports/odb.ts';

export type { Definition } from '../ports/kind.ts';

/** The definitions of this server's config file: no record can replace them. */
export interface Fixed {
  /** Those of a kind. */
  of(kind: string): readonly Definition[];
  has(kind: string, name: string): boolean;
}

/** A record as people see it: secrets are `***`. */
export interface RecordView {
  readonly kind: string;
  readonly name: string;
  readonly version: number;
  /** ISO 8601, UTC, to the millisecond. */
  readonly changedAt: string;
  readonly changedBy: string;
  readonly definition: Definition;
}

/** A record that this server runs with. */
export interface LiveRecord {
  readonly kind: string;
  readonly name: string;
  readonly version: number;
  /** Secrets in the clear. */
  readonly definition: Definition;
}

/** A change that was made. */
export interface Saved {
  readonly kind: string;
  readonly name: string;
  /** 0 for a removed one. */
  readonly version: number;
  readonly revision: number;
  /** ISO 8601. */
  readonly changedAt: string;
  /** Whether this server runs with it already. */
  readonly live: boolean;
  /** Why it does not, or runs with less than all of it. */
  readonly problem?: string;
}

/** One record of a whole configuration: of `export`, and for `apply`. */
export interface Portable {
  readonly kind: string;
  readonly definition: Definition;
}

/** What `apply` did with a record, or would do. */
export interface Applied {
  readonly kind: string;
  readonly name: string;
  readonly action: 'create' | 'update' | 'remove' | 'unchanged';
}

export interface ApplyOptions {
  /** Tells what would be done, and does nothing. */
  readonly dryRun?: boolean;
  /** Also removes the records of the kinds given that are not among those given. */
  readonly prune?: readonly string[];
}

/** How this server stands to the records. */
export interface RecordsStatus {
  /** The revision that it runs with. */
  readonly revision: number;
  /** Where it got them from. */
  readonly source: 'database' | 'snapshot' | 'none';
  /** Since when what it runs with may be older than what is kept; null where it is up to date. ISO 8601. */
  readonly staleSince: string | null;
  /** Why the database could not be asked; null where it could. */
  readonly problem: string | null;
  /** Records that could not be put into effect. */
  readonly refused: readonly (Reference & { readonly problem: string })[];
  /** How many there are, by kind. */
  readonly counts: Readonly<Record<string, number>>;
}

/** The records, as services see them. What is wrong with a definition is told with JSON pointers into it. */
export interface Records {
  /** Rejects with RECORD_NOT_FOUND, with the nearest name, or ODB_UNAVAILABLE, as all that ask the database do. */
  get(kind: string, name: string): Promise<RecordView>;
  list(kind: string, query: RecordQuery): Promise<Page<RecordView>>;
  /** Those that the config file of this server defines: they cannot be changed here. */
  fixtures(kind: string): readonly Definition[];
  /** Rejects with RECORD_INVALID, RECORD_DUPLICATE, RECORD_TAKEN or RECORD_DANGLING. */
  create(kind: string, definition: Definition, by: Author): Promise<Saved>;
  /**
   * Replaces some fields; null removes one. A secret given as `***` stays what it is.
   * `version` is the one that the change was made from: RECORD_STALE where it is not the latest.
   */
  update(
    kind: string,
    name: string,
    version: number,
    changes: Readonly<Record<string, unknown>>,
    by: Author,
  ): Promise<Saved>;
  /** Rejects with RECORD_IN_USE, telling by what. */
  remove(kind: string, name: string, version: number | undefined, by: Author): Promise<Saved>;
  /** What refers to it. */
  referrers(kind: string, name: string): Promise<readonly Reference[]>;
  /** Every record, by kind and name; secrets are sealed: only an installation with the same key can read them. */
  export(kinds?: readonly string[]): Promise<readonly Portable[]>;
  /** Creates and updates what differs, all or nothing. Rejects with the problems of all records. */
  apply(records: readonly Portable[], by: Author, options?: ApplyOptions): Promise<readonly Applied[]>;
  /** Seals every secret anew that is not under the current key; tells how many records changed. */
  reseal(by: Author): Promise<number>;
  history(query: HistoryQuery): Promise<Page<Change>>;
  /** The record that this server runs with; null where there is none. Asks nobody. */
  find(kind: string, name: string): LiveRecord | null;
  /** Of those that this server runs with, in alphabetical order. */
  names(kind: string): readonly string[];
  status(): RecordsStatus;
}
