/** SQLite, in a file of this machine: for one server, or for several on one machine. */
import { randomUUID } from 'node:crypto';
import { statSync } from 'node:fs';
import path from 'node:path';
import { definePlugin, Type } from '../../core/api.ts';
import type { Dialect, DriverError, DriverProblem } from '../../core/ports/index.ts';
import { driverFor } from './driver.ts';
import { prepareFile } from './file.ts';

const MEMORY = ':memory:';
/** From days since noon in 4714 BC; its other functions know milliseconds since 3.42 only. */
const NOW = "CAST(ROUND((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER)";

/** Result codes (https://www.sqlite.org/rescode.html) by what they mean to who asked. */
const PROBLEMS: Readonly<Record<string, DriverProblem>> = {
  SQLITE_BUSY: 'busy',
  SQLITE_LOCKED: 'busy',
  SQLITE_PROTOCOL: 'busy',
  SQLITE_INTERRUPT: 'timeout',
  SQLITE_CANTOPEN: 'unavailable',
  SQLITE_FULL: 'full',
  SQLITE_IOERR: 'unavailable',
  SQLITE_NOMEM: 'unavailable',
  SQLITE_PERM: 'unavailable',
  SQLITE_READONLY: 'unavailable',
};

export default definePlugin({
  id: 'dialect.sqlite',
  api: 1,
  config: Type.Object(
    {
      file: Type.String({
        default: 'gantry.sqlite',
        minLength: 1,
        description: `A path, relative to the server's data folder; ${MEMORY} keeps everything in this process`,
      }),
      busyTimeoutMs: Type.Integer({
        default: 5000,
        minimum: 0,
        maximum: 60_000,
        description: 'How long a change waits while another process writes to the file',
      }),
    },
    { additionalProperties: false },
  ),
  needs: ['server'],
  create({ config: { file, busyTimeoutMs }, server }): Dialect {
    const inMemory = file === MEMORY;
    const target = inMemory ? `gantry-${randomUUID()}` : path.resolve(server.data, file);
    const dialectModule = driverFor({ file: target, inMemory, busyTimeoutMs });
    return {
      supports: { transactionalDdl: true, emptyText: true },
      // Whoever waits for SQLite's lock holds one of Node's few threads, and takes turns with nobody.
      oneWriter: true,
      options: () => ({
        dialect: 'sqlite',
        dialectModule,
        storage: target,
        // Takes the lock at once: one that reads first could not write after another has, and would fail.
        transactionType: 'IMMEDIATE',
        foreignKeys: false,
      }),
      exactText: (length) => `VARCHAR(${length}) COLLATE BINARY`,
      now: NOW,
      ...(inMemory
        ? {}
        : {
            prepare: () => prepareFile(target),
            advise: ({ code }: DriverError) => adviceOf(code, target),
            identity: () => identityOf(target),
          }),
      // The transaction itself is the lock.
      lock: async () => {},
      classify,
    };
  },
});

function classify({ code, message }: DriverError): DriverProblem | null {
  if (typeof code !== 'string') return null;
  const isDuplicate =
    code === 'SQLITE_CONSTRAINT' && /UNIQUE|PRIMARY KEY/.test(typeof message === 'string' ? message : '');
  if (isDuplicate) return 'duplicate';
  return Object.hasOwn(PROBLEMS, code) ? (PROBLEMS[code] as DriverProblem) : null;
}

function adviceOf(code: unknown, file: string): string | null {
  switch (code) {
    case 'SQLITE_FULL':
      return `There is no room on the disk of ${file}: make some. Nothing has to be started again.`;
    case 'SQLITE_CANTOPEN':
      return `The file ${file} is not there any more, or may not be opened: put it back, or give this process the right.`;
    case 'SQLITE_CORRUPT':
    case 'SQLITE_NOTADB':
      return `The file ${file} is damaged: stop the server, put a backup in its place without the old -wal and -shm, and start it again.`;
    case 'SQLITE_IOERR':
      return `The disk of ${file} fails, or has no room: look at the log of the system.`;
    case 'SQLITE_READONLY':
    case 'SQLITE_PERM':
      return `The file ${file} and its folder must be open for writing to this process.`;
    default:
      return null;
  }
}

/** By device and inode: a file that was put in place of another has its own. An empty one is still being copied. */
function identityOf(file: string): string | null {
  try {
    const { dev, ino, size } = statSync(file);
    return size === 0 ? null : `${dev}/${ino}`;
  } catch {
    return null;
  }
}
