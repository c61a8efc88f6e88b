import * as sqlite3 from '@appthreat/sqlite3';

/** What we use of a connection; Sequelize uses more. */
interface Connection {
  configure(option: 'busyTimeout', ms: number): void;
  exec(statements: string, done: (error: DriverFailure | null) => void): void;
  close(): void;
  serialize(work: () => void): void;
}
interface Driver {
  readonly Database: new (file: string, mode: number, done: (error: DriverFailure | null) => void) => Connection;
  readonly OPEN_READWRITE: number;
  readonly OPEN_CREATE: number;
  readonly OPEN_URI: number;
}
interface DriverFailure extends Error {
  readonly code?: string;
}

/** Constants such as OPEN_CREATE are only in its default export, of which its declarations do not know. */
const driver = (sqlite3 as unknown as { readonly default: Driver }).default;

export interface Opening {
  /** A path; or a name under which connections of this process share a database in memory. */
  readonly file: string;
  readonly inMemory: boolean;
  /** How long a connection waits while another one writes. */
  readonly busyTimeoutMs: number;
}

/**
 * The driver as Sequelize takes it, with every connection set up before it is given out.
 *
 * WAL: readers and the writer do not wait for each other, and servers on one machine can share the file. FULL: a change
 * is on the disk before it is acknowledged, so it outlives a power cut and not only this process; NORMAL would sync at
 * checkpoints only.
 */
export function driverFor({ file, inMemory, busyTimeoutMs }: Opening): Driver {
  const target = inMemory ? `file:/${file}?vfs=memdb` : file;
  // Of a file that was taken away, an empty one must not be made.
  const mode = driver.OPEN_READWRITE | (inMemory ? driver.OPEN_CREATE | driver.OPEN_URI : 0);
  const settings = inMemory ? 'PRAGMA synchronous=OFF' : 'PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL';
  /** Called with `new`, it gives what it returns. */
  function Database(_file: string, _mode: number, done: (error: DriverFailure | null) => void): Connection {
    const until = Date.now() + busyTimeoutMs;
    const connection = new driver.Database(target, mode, (error) => {
      if (error !== null) return done(error);
      connection.configure('busyTimeout', busyTimeoutMs);
      setUp();
    });
    const setUp = () =>
      connection.exec(settings, (error) => {
        // While another process changes the file to WAL, SQLite is busy at once and waits for nothing.
        if (error?.code === 'SQLITE_BUSY' && Date.now() < until) return void setTimeout(setUp, 20);
        if (error !== null) connection.close();
        done(error);
      });
    return plainly(connection);
  }
  return { ...driver, Database: Database as unknown as Driver['Database'] };
}

/**
 * Sequelize makes an error within each statement and writes its stack down, in case the statement fails: with source maps
 * that takes longer than the statement. What failed is told by SQLite's own error and by who asked.
 */
function plainly(connection: Connection): Connection {
  const serialize = connection.serialize.bind(connection);
  connection.serialize = (work) =>
    serialize(() => {
      const { stackTraceLimit } = Error;
      Error.stackTraceLimit = 0;
      try {
        work();
      } finally {
        Error.stackTraceLimit = stackTraceLimit;
      }
    });
  return connection;
}
