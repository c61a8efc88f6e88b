/** What differs between SQL engines, and nothing else: the ODB owns tables, migrations and queries. */
export interface Dialect {
  readonly supports: DialectSupports;
  /** Handed to Sequelize as they are: dialect, driver module, where, pool. No I/O. */
  options(): Record<string, unknown>;
  /** The SQL type of a text that compares exactly ('a', 'A', 'a ' and 'ä' differ) and sorts by code points. */
  exactText(length: number): string;
  /**
   * An expression: the engine's own clock, in whole ms since 1970, of the moment of the statement and not of the
   * transaction's beginning; an integer, whatever the zone of the session is.
   */
  readonly now: string;
  /** Options of every table, e.g. its character set, handed to Sequelize's createTable as they are. */
  readonly tables?: Readonly<Record<string, unknown>>;
  /** Once, before the first connection, e.g. to make a folder. */
  prepare?(): Promise<void>;
  /**
   * A statement for the beginning of a transaction: the engine undoes it after so many ms without a word, since who is
   * frozen must not keep others from what he has locked. Null: after as long as the connection was told at first. It gives
   * null where nothing has to be said. Absent: the engine cannot do it.
   */
  patience?(ms: number | null): string | null;
  /** Waits until no other server migrates. `run` is one connection, inside a transaction that outlives the migration. */
  lock(run: Run): Promise<void>;
  /** Where the end of the transaction does not release it. */
  unlock?(run: Run): Promise<void>;
  /** Names what Sequelize left unnamed. The error is the driver's own. Null: nothing of these. */
  classify(error: DriverError): DriverProblem | null;
  /** What the operator should look at, where the engine's own code tells more than its name. Null: nothing more. */
  advise?(error: DriverError): string | null;
  /**
   * Tells what connections lead to from what came in its place, e.g. a file that was restored; null where nothing is
   * there. Quick: it is asked before each operation.
   */
  identity?(): string | null;
  /** One write transaction at a time within this process, where the engine does not queue them well itself. */
  readonly oneWriter?: boolean;
}

export interface DialectSupports {
  /** Tables are made within the transaction that holds the lock; else beside it, on other connections. */
  readonly transactionalDdl: boolean;
  /** An empty text stays one, and does not become NULL. */
  readonly emptyText: boolean;
}

/** Runs one statement, and gives its rows. */
export type Run = (sql: string) => Promise<readonly Readonly<Record<string, unknown>>[]>;

/** Full: there was no room, and nothing of it was done, not even where it was told at the end of a transaction. */
export type DriverProblem = 'duplicate' | 'busy' | 'unavailable' | 'timeout' | 'full';

export interface DriverError {
  readonly code?: unknown;
  readonly errno?: unknown;
  readonly message?: string;
}
