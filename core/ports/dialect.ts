/** The differences between SQL engines, and nothing else: the ODB owns tables, migrations and queries. */
export interface Dialect {
  readonly supports: DialectSupports;
  /** Options that are passed to Sequelize unchanged: dialect, driver module, address, pool. No I/O. */
  options(): Record<string, unknown>;
  /** The SQL type of a text that compares exactly ('a', 'A', 'a ' and 'ä' differ) and sorts by code point. */
  exactText(length: number): string;
  /**
   * An SQL expression for the engine's clock, as an integer in ms since 1970. It gives the time of the statement, not
   * that of the transaction's start, and does not depend on the time zone of the session.
   */
  readonly now: string;
  /** Options of every table, e.g. its character set, passed to Sequelize's createTable unchanged. */
  readonly tables?: Readonly<Record<string, unknown>>;
  /** Runs once, before the first connection, e.g. to make a folder. */
  prepare?(): Promise<void>;
  /**
   * A statement for the start of a transaction that makes the engine roll it back after `ms` without a statement: a
   * process that hangs must not hold its locks. `ms` of null restores the timeout that the connection began with. The
   * result is null if no statement is needed. Absent: the engine has no such timeout.
   */
  patience?(ms: number | null): string | null;
  /** Waits until no other server migrates. `run` uses one connection, in a transaction that outlives the migration. */
  lock(run: Run): Promise<void>;
  /** Releases the lock, for engines in which the end of the transaction does not. */
  unlock?(run: Run): Promise<void>;
  /** Classifies an error of the driver that Sequelize did not classify. Null: none of these. */
  classify(error: DriverError): DriverProblem | null;
  /** Advice for the operator, if the engine's error code says more than the class of the error. Null: no advice. */
  advise?(error: DriverError): string | null;
  /**
   * Identifies the database that connections lead to, so that a replaced one is noticed, e.g. a restored file. Null if
   * there is none. It must be fast: it is called before each operation.
   */
  identity?(): string | null;
  /** True if this process must run one write transaction at a time, since the engine does not queue them well. */
  readonly oneWriter?: boolean;
}

export interface DialectSupports {
  /** Tables are created in the transaction that holds the lock. False: on other connections, while it is held. */
  readonly transactionalDdl: boolean;
  /** An empty text stays empty and does not become NULL. */
  readonly emptyText: boolean;
}

/** Runs one statement and gives its rows. */
export type Run = (sql: string) => Promise<readonly Readonly<Record<string, unknown>>[]>;

/** full: the disk or the database has no room left, and nothing was written, even if only the commit reported it. */
export type DriverProblem = 'duplicate' | 'busy' | 'unavailable' | 'timeout' | 'full';

export interface DriverError {
  readonly code?: unknown;
  readonly errno?: unknown;
  readonly message?: string;
}
