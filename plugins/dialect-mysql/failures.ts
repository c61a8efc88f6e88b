import type { DriverError, DriverProblem } from '../../core/ports/index.ts';

/**
 * By number: the error message references of MySQL ("Server Error Message Reference") and of MariaDB ("MariaDB Error
 * Code Reference"). Up to 1799 both mean the same; above that each has its own.
 */
const NUMBERS: Readonly<Record<number, DriverProblem>> = {
  1022: 'duplicate', // ER_DUP_KEY
  1062: 'duplicate', // ER_DUP_ENTRY
  1586: 'duplicate', // ER_DUP_ENTRY_WITH_KEY_NAME
  1020: 'busy', // ER_CHECKREAD: changed since it was read
  1205: 'busy', // ER_LOCK_WAIT_TIMEOUT
  1213: 'busy', // ER_LOCK_DEADLOCK
  1637: 'busy', // ER_TOO_MANY_CONCURRENT_TRXS
  3058: 'busy', // MySQL, ER_USER_LOCK_DEADLOCK
  3101: 'busy', // MySQL, ER_TRANSACTION_ROLLBACK_DURING_COMMIT: a conflict in a group
  3572: 'busy', // MySQL, ER_LOCK_NOWAIT
  1317: 'timeout', // ER_QUERY_INTERRUPTED
  1969: 'timeout', // MariaDB, ER_STATEMENT_TIMEOUT
  3024: 'timeout', // MySQL, ER_QUERY_TIMEOUT
  1021: 'full', // ER_DISK_FULL
  1037: 'unavailable', // ER_OUTOFMEMORY
  1040: 'unavailable', // ER_CON_COUNT_ERROR: too many connections
  1041: 'unavailable', // ER_OUT_OF_RESOURCES
  1042: 'unavailable', // ER_BAD_HOST_ERROR
  1043: 'unavailable', // ER_HANDSHAKE_ERROR
  1047: 'unavailable', // ER_UNKNOWN_COM_ERROR: what a node of Galera says before it has joined
  1053: 'unavailable', // ER_SERVER_SHUTDOWN
  1077: 'unavailable', // ER_NORMAL_SHUTDOWN
  1079: 'unavailable', // ER_SHUTDOWN_COMPLETE
  1114: 'full', // ER_RECORD_FILE_FULL
  1129: 'unavailable', // ER_HOST_IS_BLOCKED
  1152: 'unavailable', // ER_ABORTING_CONNECTION
  1158: 'unavailable', // ER_NET_READ_ERROR
  1159: 'unavailable', // ER_NET_READ_INTERRUPTED
  1160: 'unavailable', // ER_NET_ERROR_ON_WRITE
  1161: 'unavailable', // ER_NET_WRITE_INTERRUPTED
  1184: 'unavailable', // ER_NEW_ABORTING_CONNECTION
  1203: 'unavailable', // ER_TOO_MANY_USER_CONNECTIONS
  1226: 'unavailable', // ER_USER_LIMIT_REACHED
  1290: 'unavailable', // ER_OPTION_PREVENTS_STATEMENT: a replica, e.g. after a failover
  1836: 'unavailable', // ER_READ_ONLY_MODE
  1927: 'unavailable', // MariaDB, ER_CONNECTION_KILLED
  2006: 'unavailable', // CR_SERVER_GONE_ERROR
  2013: 'unavailable', // CR_SERVER_LOST
  3032: 'unavailable', // MySQL, ER_SERVER_OFFLINE_MODE
  3168: 'unavailable', // MySQL, ER_SERVER_ISNT_AVAILABLE
  4031: 'unavailable', // MySQL, ER_CLIENT_INTERACTION_TIMEOUT; of MariaDB's own meaning none of our statements
};

/** What Node says of a socket, and the driver of a connection. */
const CODES = new Set([
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
  'PROTOCOL_CONNECTION_LOST',
  'PROTOCOL_SEQUENCE_TIMEOUT',
]);

/** What the driver says without a code (mysql2/lib/base/connection.js). */
const GONE = /^(Can't add new command when connection is in closed state|Connection lost|read ECONNRESET)/;

export function classify({ code, errno, message = '' }: DriverError): DriverProblem | null {
  if (typeof errno === 'number' && errno > 0) return NUMBERS[errno] ?? null;
  if (typeof code === 'string' && code !== '') return CODES.has(code) ? 'unavailable' : null;
  return GONE.test(message) ? 'unavailable' : null;
}

const NO_ROOM = 'There is no room on the disk of the database: make some. Nothing has to be started again.';
const NO_CONNECTION =
  'It takes no more connections: raise max_connections there (or the limit of the user), or lower "pool.max".';

/** What to look at, by number. */
const ADVICE: Readonly<Record<number, string>> = {
  1044: 'The user may not use this database, or it is not there: look at the keys "database" and "user", and at GRANT.',
  1045: 'Look at the keys "user" and "password".',
  1049: 'Make the database, or write the name of one that is there: key "database".',
  1142: 'The user may not do that there: GRANT ALL on the database to the user.',
  1021: NO_ROOM,
  1114: NO_ROOM,
  1040: NO_CONNECTION,
  1203: NO_CONNECTION,
  1226: NO_CONNECTION,
};

export function advise({ errno }: DriverError): string | null {
  return typeof errno === 'number' && Object.hasOwn(ADVICE, errno) ? (ADVICE[errno] as string) : null;
}
