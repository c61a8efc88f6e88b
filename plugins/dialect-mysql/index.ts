/** Keeps the operational database in MariaDB 10.3 or newer, or in MySQL 8.0.17 or newer. */
import { isIP, type Socket } from 'node:net';
import driver, { type Connection } from 'mysql2';
import { definePlugin, GantryError, pause } from '../../core/api.ts';
import { Config } from './config.ts';
import { advise, classify } from './failures.ts';

/**
 * The one collation of each of the two in which 'a' and 'a ' differ, and everything else too. Comments of these kinds
 * are read by MariaDB alone, and by MySQL alone, so that nobody has to know which of them it is.
 */
const EXACT = '/*M!100300 utf8mb4_nopad_bin */ /*!80017 utf8mb4_0900_bin */';
/** Names of locks are the whole server's, and at most 64 characters long. */
const LOCK = "CONCAT('gantry.', MD5(DATABASE()))";
const LOCK_STEP_S = 2;
/** In UTC: UNIX_TIMESTAMP() would take the zone of the session, in which an hour may come twice. */
const NOW = "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000)";
/** A longer silence than that in which the server ends a statement: it hangs, or the way to it is gone. */
const SILENCE_MS = 2000;
/** How long a transaction may hold its locks without a word: its server is frozen, or gone without a farewell. */
const IDLE_S = 60;

export default definePlugin({
  id: 'dialect.mysql',
  api: 1,
  config: Config,
  needs: ['server'],
  create({ id, config, server }) {
    if (config.tls?.rejectUnauthorized === true && isIP(config.host) !== 0) refuseAddress(id, config.host);
    return {
      supports: { transactionalDdl: false, emptyText: true },
      options: () => options(config, server.name),
      exactText: (length) => `VARCHAR(${length}) CHARACTER SET utf8mb4 COLLATE ${EXACT}`,
      now: NOW,
      patience: (ms) => patience(ms, config.statementTimeoutMs),
      tables: { engine: 'InnoDB', charset: 'utf8mb4', collate: EXACT },
      async lock(run) {
        // The session's, not the transaction's: here a transaction ends with each table that is made.
        while (true) {
          const [row] = await run(`SELECT GET_LOCK(${LOCK}, ${LOCK_STEP_S}) AS held`);
          if (row?.['held'] === null) await pause(LOCK_STEP_S * 1000);
          else if (Number(row?.['held']) === 1) return;
        }
      },
      async unlock(run) {
        await run(`SELECT RELEASE_LOCK(${LOCK}) AS released`);
      },
      classify,
      advise,
    };
  },
});

/** Given an address, the driver takes a certificate of 'localhost' for right. */
function refuseAddress(id: string, got: string): never {
  const path = `plugins.${id}.host`;
  const hint = 'Write the name that the certificate carries, and let DNS or the hosts file lead there.';
  const problem = { path, plugin: id, message: 'is an address, which tls cannot check', expected: 'a name', got, hint };
  throw new GantryError('CONFIG_INVALID', 'The configuration has 1 problem(s)', { problems: [problem] });
}

function options(config: Config, name: string): Record<string, unknown> {
  const { host, port, database, user, password, tls, pool, connectTimeoutMs, statementTimeoutMs } = config;
  return {
    dialect: 'mysql',
    dialectModule: driver,
    host,
    port,
    database,
    username: user,
    password: password.reveal(),
    // What is written and read as a date is UTC, whatever the server's zone is.
    timezone: '+00:00',
    pool: { max: pool.max, min: 0, acquire: pool.acquireMs, idle: pool.idleMs, validate: isIdle },
    hooks: { afterConnect: (connection: Connection) => settle(connection, statementTimeoutMs) },
    dialectOptions: {
      charset: 'utf8mb4',
      connectTimeout: connectTimeoutMs,
      enableKeepAlive: true,
      connectAttributes: { program_name: `gantry ${name}` },
      // Without verifyIdentity the driver takes a certificate of any name.
      ...(tls === undefined ? {} : { ssl: { ...tls, key: tls.key?.reveal(), verifyIdentity: tls.rejectUnauthorized } }),
    },
  };
}

/** The driver's connection, as far as it is used here and its types do not tell. */
interface Inside {
  readonly stream: Socket;
  /** What waits for an answer. */
  readonly _command?: unknown;
  readonly _fatalError?: unknown;
  readonly _protocolError?: unknown;
  readonly _closing?: unknown;
}

/** In MySQL that of the connection, which is closed then also while it is idle: the pool opens another one. */
function patience(ms: number | null, statementTimeoutMs: number): string {
  const seconds = ms === null ? 'DEFAULT' : Math.ceil(ms / 1000);
  const writing = ms === null ? idleSeconds(statementTimeoutMs) : seconds;
  return `SET SESSION /*M!100300 idle_write_transaction_timeout = ${writing}, idle_readonly_transaction_timeout = ${seconds} */ /*!80017 wait_timeout = ${seconds} */`;
}

function idleSeconds(statementTimeoutMs: number): number {
  return IDLE_S + Math.ceil(statementTimeoutMs / 1000);
}

/** What a session must be like, whatever the server's own settings are. */
async function settle(connection: Connection, statementTimeoutMs: number): Promise<void> {
  const seconds = Math.ceil(statementTimeoutMs / 1000);
  const settings = [
    `/*M!100300 max_statement_time = ${statementTimeoutMs / 1000}, */`,
    `/*M!100300 idle_write_transaction_timeout = ${idleSeconds(statementTimeoutMs)}, */`,
    `/*!80017 max_execution_time = ${statementTimeoutMs}, */`,
    `innodb_lock_wait_timeout = ${seconds},`,
    // Too long a text is an error and is not cut; a backslash escapes, as Sequelize takes for granted.
    "sql_mode = 'STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'",
  ];
  const { stream } = connection as unknown as Inside;
  try {
    await new Promise<void>((resolve, reject) => {
      connection.query(`SET SESSION ${settings.join(' ')}`, (error: Error | null) => {
        if (error === null) resolve();
        else reject(error);
      });
    });
  } catch (error) {
    // The pool does not know it yet, and would never close it.
    stream.destroy();
    throw error;
  }
  const late = Object.assign(new Error('The database server does not answer'), { code: 'ETIMEDOUT' });
  stream.setTimeout(statementTimeoutMs + SILENCE_MS).on('timeout', () => {
    if (!isIdle(connection as unknown as Inside)) stream.destroy(late);
  });
}

/** One that still waits for an answer was given back because its caller would not wait: it may never come. */
function isIdle({ _command, _fatalError, _protocolError, _closing, stream }: Inside): boolean {
  return !_command && !_fatalError && !_protocolError && !_closing && !stream.destroyed;
}
