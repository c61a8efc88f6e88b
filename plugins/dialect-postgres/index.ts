/** Keeps the operational database in PostgreSQL 12 or newer. */
import driver from 'pg';
import { definePlugin, pause } from '../../core/api.ts';
import { Config } from './config.ts';
import { advise, classify } from './failures.ts';

/** Of advisory locks, which one: the word 'gantry' as a number. */
const LOCK = '113668162613881';
const LOCK_STEP_MS = 100;
/** The functions without `clock` tell when the transaction or the statement began. */
const NOW = 'CAST(FLOOR(EXTRACT(EPOCH FROM clock_timestamp()) * 1000) AS BIGINT)';
/** The server says first that a statement took too long; after this much more, it says nothing at all. */
const SILENCE_MS = 2000;
/** How long a transaction may hold its locks without a word: its server is frozen, or gone without a farewell. */
const IDLE_MS = 60_000;

export default definePlugin({
  id: 'dialect.postgres',
  api: 1,
  config: Config,
  needs: ['server'],
  create({ config, server }) {
    return {
      supports: { transactionalDdl: true, emptyText: true },
      options: () => options(config, server.name),
      // "C": by the bytes of UTF-8, which is by code points, whatever the language of the database.
      exactText: (length) => `VARCHAR(${length}) COLLATE "C"`,
      now: NOW,
      patience: (ms) => (ms === null ? null : `SET LOCAL idle_in_transaction_session_timeout = ${ms}`),
      async lock(run) {
        // Asked for again and again instead of waited for: no statement lasts, so each may be bounded in time.
        while (true) {
          const [row] = await run(`SELECT pg_try_advisory_xact_lock(${LOCK}) AS held`);
          if (row?.['held'] === true) return;
          await pause(LOCK_STEP_MS);
        }
      },
      classify,
      advise,
    };
  },
});

function options(config: Config, name: string): Record<string, unknown> {
  const { host, port, database, user, password, schema, tls, pool, connectTimeoutMs, statementTimeoutMs } = config;
  return {
    dialect: 'postgres',
    dialectModule: driver,
    host,
    port,
    database,
    username: user,
    password: password.reveal(),
    pool: { max: pool.max, min: 0, acquire: pool.acquireMs, idle: pool.idleMs, validate: isIdle },
    dialectOptions: {
      application_name: `gantry ${name}`,
      keepAlive: true,
      connectionTimeoutMillis: connectTimeoutMs,
      statement_timeout: statementTimeoutMs,
      query_timeout: statementTimeoutMs + SILENCE_MS,
      idle_in_transaction_session_timeout: Math.max(IDLE_MS, 2 * statementTimeoutMs),
      ...(schema === undefined ? {} : { options: `-c search_path=${schema}` }),
      ...(tls === undefined ? {} : { ssl: { ...tls, key: tls.key?.reveal() } }),
    },
  };
}

/** The driver's connection, as the pool sees it. */
interface Pooled {
  readonly _invalid?: boolean;
  readonly _ending: boolean;
  readonly readyForQuery: boolean;
}

/** One that still waits for an answer was given back because its caller would not wait: it may never come. */
function isIdle(connection: Pooled): boolean {
  return connection._invalid !== true && !connection._ending && connection.readyForQuery;
}
