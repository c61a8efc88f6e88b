/** Keeps the operational database in Oracle Database 12.2 or newer, without Oracle's client libraries. */
import driver, { type Connection } from 'oracledb';
import { definePlugin } from '../../core/api.ts';
import { Config } from './config.ts';
import { classify, codeOf } from './failures.ts';

/** How texts compare and sort; a trigger at log-on may have chosen a language's way. */
const SESSION = 'ALTER SESSION SET NLS_COMP = BINARY NLS_SORT = BINARY';
/** An interval has no length in one unit: it is told in its parts. */
const SINCE_1970 = "(SYS_EXTRACT_UTC(SYSTIMESTAMP) - CAST(DATE '1970-01-01' AS TIMESTAMP))";
const PARTS_MS = { DAY: 86_400_000, HOUR: 3_600_000, MINUTE: 60_000, SECOND: 1000 };
const NOW = `FLOOR(${Object.entries(PARTS_MS)
  .map(([part, ms]) => `EXTRACT(${part} FROM ${SINCE_1970}) * ${ms}`)
  .join(' + ')})`;
/** Waits in steps, so that no call lasts: each may be bounded in time. */
const LOCK_STEP_S = 2;
/** A block, since LOCK TABLE needs a table, and knows none that is made after it. ORA-00955: it is there. */
const LOCK = [
  'BEGIN',
  "BEGIN EXECUTE IMMEDIATE 'CREATE TABLE gantry_lock (id NUMBER(1))';",
  'EXCEPTION WHEN OTHERS THEN IF SQLCODE <> -955 THEN RAISE; END IF; END;',
  `EXECUTE IMMEDIATE 'LOCK TABLE gantry_lock IN EXCLUSIVE MODE WAIT ${LOCK_STEP_S}';`,
  'END;',
].join(' ');

export default definePlugin({
  id: 'dialect.oracle',
  api: 1,
  config: Config,
  create({ config }) {
    return {
      supports: { transactionalDdl: false, emptyText: false },
      options: () => options(config),
      // By the bytes of AL32UTF8, which is by code points. (NVARCHAR2 sorts by those of UTF-16, which is not.)
      exactText: (length) => `VARCHAR2(${length} CHAR)`,
      now: NOW,
      async lock(run) {
        while (true) {
          try {
            await run(LOCK);
            return;
          } catch (error) {
            if (!isHeld(error)) throw error;
          }
        }
      },
      classify,
    };
  },
});

/** Somebody else has it still. What is thrown is the driver's error, or has it as its parent. */
function isHeld(thrown: unknown): boolean {
  const { parent, ...error } = thrown as { code?: unknown; parent?: { code?: unknown; message?: string } };
  return codeOf(parent ?? { ...error, message: (thrown as Error).message }) === 'ORA-00054';
}

function options(config: Config): Record<string, unknown> {
  const { host, port, service, user, password, pool, connectTimeoutMs, statementTimeoutMs } = config;
  return {
    dialect: 'oracle',
    dialectModule: driver,
    host,
    port,
    database: service,
    username: user,
    password: password.reveal(),
    pool: { max: pool.max, min: 0, acquire: pool.acquireMs, idle: pool.idleMs },
    hooks: { afterConnect: (connection: Connection) => settle(connection, statementTimeoutMs) },
    dialectOptions: {
      connectTimeout: Math.ceil(connectTimeoutMs / 1000),
      transportConnectTimeout: Math.ceil(connectTimeoutMs / 1000),
      // Minutes: a question to a silent server, whether it is there still.
      expireTime: 1,
    },
  };
}

async function settle(connection: Connection, statementTimeoutMs: number): Promise<void> {
  connection.callTimeout = statementTimeoutMs;
  try {
    await connection.execute(SESSION);
  } catch (error) {
    // The pool does not know it yet, and would never close it.
    await connection.close({ drop: true }).catch(() => {});
    throw error;
  }
}
