import type { DriverError, DriverProblem } from '../../core/ports/index.ts';

/** SQLSTATE by SQLSTATE, then by class: PostgreSQL's documentation, Appendix A, "PostgreSQL Error Codes". */
const STATES: Readonly<Record<string, DriverProblem>> = {
  '23505': 'duplicate', // unique_violation
  '40001': 'busy', // serialization_failure
  '40P01': 'busy', // deadlock_detected
  '55P03': 'busy', // lock_not_available
  '55006': 'busy', // object_in_use
  '53100': 'full', // disk_full
  '57014': 'timeout', // query_canceled, by statement_timeout
  '25P03': 'unavailable', // idle_in_transaction_session_timeout
  '25P04': 'timeout', // transaction_timeout
  '25006': 'unavailable', // read_only_sql_transaction: a standby, e.g. after a failover
  '57P01': 'unavailable', // admin_shutdown
  '57P02': 'unavailable', // crash_shutdown
  '57P03': 'unavailable', // cannot_connect_now: starting up, shutting down, in recovery
  '57P05': 'unavailable', // idle_session_timeout
};
const CLASSES: Readonly<Record<string, DriverProblem>> = {
  '08': 'unavailable', // connection exception
  '53': 'unavailable', // insufficient resources: out of memory, too many connections
};

/** What Node says of a socket. */
const SOCKET = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'EHOSTDOWN',
  'ENETUNREACH',
  'ENETDOWN',
  'EADDRNOTAVAIL',
]);

/** What the driver says without a code (pg/lib/client.js). */
const GONE =
  /^(Connection terminated|timeout expired|Client has encountered a connection error|Client was closed|Query read timeout)/;

export function classify({ code, message = '' }: DriverError): DriverProblem | null {
  if (typeof code === 'string' && code !== '') {
    if (SOCKET.has(code)) return 'unavailable';
    return STATES[code] ?? (code.length === 5 ? CLASSES[code.slice(0, 2)] : undefined) ?? null;
  }
  if (!GONE.test(message)) return null;
  return message.startsWith('Query') ? 'timeout' : 'unavailable';
}

/** What to look at, by SQLSTATE. */
const ADVICE: Readonly<Record<string, string>> = {
  '3D000': 'Make the database, or write the name of one that is there: key "database".',
  '3F000': 'Make the schema that the key "schema" names, and give it to the user; or take the key away.',
  '42501': 'The user must be allowed to make tables in the schema: make the user its owner.',
  '28P01': 'Look at the keys "user" and "password".',
  '28000': 'The server lets this user in from elsewhere, or otherwise: look at its pg_hba.conf, and at the key "user".',
  '53100': 'There is no room on the disk of the database: make some. Nothing has to be started again.',
  '53300': 'It takes no more connections: raise max_connections there (or the limit of the user), or lower "pool.max".',
};

export function advise({ code }: DriverError): string | null {
  return typeof code === 'string' && Object.hasOwn(ADVICE, code) ? (ADVICE[code] as string) : null;
}
