/** SQLite, in a file of this machine: for one server, or for several on one machine. */
import { randomUUID } from 'node:crypto';
import path from 'node:path';
import { type Dialect, type DriverError, type DriverProblem, definePlugin, Type } from '../../core/api.ts';
import { driverFor } from './driver.ts';
import { prepareFile } from './file.ts';

const MEMORY = ':memory:';

/** Result codes (https://www.sqlite.org/rescode.html) by what they mean to who asked. */
const PROBLEMS: Readonly<Record<string, DriverProblem>> = {
  SQLITE_BUSY: 'busy',
  SQLITE_LOCKED: 'busy',
  SQLITE_PROTOCOL: 'busy',
  SQLITE_INTERRUPT: 'timeout',
  SQLITE_CANTOPEN: 'unavailable',
  SQLITE_FULL: 'unavailable',
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
      ...(inMemory ? {} : { prepare: () => prepareFile(target) }),
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
