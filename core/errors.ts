/** The class of an error. Transports translate kinds, not codes; the table is in ARCHITECTURE.md. */
export type ErrorKind =
  | 'invalid'
  | 'unauthorized'
  | 'forbidden'
  | 'missing'
  | 'conflict'
  | 'busy'
  | 'timeout'
  | 'unavailable'
  | 'bug'
  | 'setup';

/** All codes of the core. Each code belongs to one kind. */
export const CODES = {
  // for the operator: the process does not start
  CONFIG_INVALID: 'setup',
  CONFIG_UNREADABLE: 'setup',
  PLUGIN_NOT_FOUND: 'setup',
  PLUGIN_MALFORMED: 'setup',
  PLUGIN_NEED_UNMET: 'setup',
  PLUGIN_CYCLE: 'setup',
  PLUGIN_START_FAILED: 'setup',
  PLUGIN_START_TIMEOUT: 'setup',
  ADDRESS_IN_USE: 'setup',
  SERVICE_FILE_INVALID: 'setup',
  SERVICE_INVALID: 'setup',
  HOOK_MISUSED: 'setup',
  KEY_INVALID: 'setup',
  SNAPSHOT_INVALID: 'setup',
  // definitions that change at run time
  CHANNEL_INVALID: 'invalid',
  CHANNEL_DUPLICATE: 'conflict',
  CHANNEL_NOT_FOUND: 'missing',
  CONNECTION_INVALID: 'invalid',
  CONNECTION_DUPLICATE: 'conflict',
  CONNECTION_NOT_FOUND: 'bug',
  SERVICE_DUPLICATE: 'conflict',
  SERVICE_NOT_FOUND: 'missing',
  SERVICE_NOT_DEPLOYED: 'unavailable',
  // records
  RECORD_INVALID: 'invalid',
  RECORD_DANGLING: 'invalid',
  RECORD_NOT_FOUND: 'missing',
  RECORD_DUPLICATE: 'conflict',
  RECORD_TAKEN: 'conflict',
  RECORD_STALE: 'conflict',
  RECORD_IN_USE: 'conflict',
  ODB_UNAVAILABLE: 'unavailable',
  ODB_FAILED: 'bug',
  SECRET_UNREADABLE: 'bug',
  // the cluster, its store and its balancer
  KV_UNAVAILABLE: 'unavailable',
  BALANCER_FAILED: 'unavailable',
  BALANCER_REFUSED: 'invalid',
  CLUSTER_REFUSED: 'setup',
  // services that are deployed at run time
  MODULE_INVALID: 'invalid',
  CHECK_FAILED: 'unavailable',
  // jobs and durable calls
  LEASE_LOST: 'conflict',
  SCHEDULER_UNAVAILABLE: 'unavailable',
  RUN_INTERRUPTED: 'unavailable',
  // a call
  ADDRESS_NOT_FOUND: 'missing',
  METHOD_UNSUPPORTED: 'missing',
  INPUT_MALFORMED: 'invalid',
  INPUT_INVALID: 'invalid',
  INPUT_TOO_LARGE: 'invalid',
  INPUT_TOO_DEEP: 'invalid',
  MEDIA_UNSUPPORTED: 'invalid',
  REPLY_UNACCEPTABLE: 'invalid',
  AUTH_MISSING: 'unauthorized',
  AUTH_REJECTED: 'unauthorized',
  AUTH_FORBIDDEN: 'forbidden',
  SERVICE_FAILED: 'bug',
  INVOCATION_INVALID: 'bug',
  OUTPUT_INVALID: 'bug',
  TAP_FAILED: 'bug',
  CALL_TIMEOUT: 'timeout',
  CALL_ABORTED: 'timeout',
  IDEMPOTENCY_KEY_MISSING: 'invalid',
  IDEMPOTENCY_KEY_REUSED: 'invalid',
  IDEMPOTENCY_RESULT_GONE: 'conflict',
  SERVER_BUSY: 'busy',
  SERVER_STARTING: 'unavailable',
  SERVER_DRAINING: 'unavailable',
  OUTGOING_UNAVAILABLE: 'unavailable',
  OUTGOING_TIMEOUT: 'timeout',
  OUTGOING_REJECTED: 'bug',
  OUTGOING_MALFORMED: 'bug',
  // general codes, for services that declare none
  INVALID: 'invalid',
  FORBIDDEN: 'forbidden',
  NOT_FOUND: 'missing',
  CONFLICT: 'conflict',
  BUSY: 'busy',
  UNAVAILABLE: 'unavailable',
  TIMEOUT: 'timeout',
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof CODES;

/** One thing that is wrong with a value: where it is, what was expected, what was found, and how to fix it. */
export interface Problem {
  /** JSON pointer (RFC 6901) in a call's input; a dotted key path in a config. */
  readonly path: string;
  readonly message: string;
  readonly expected?: string | undefined;
  readonly got?: string | undefined;
  readonly hint?: string | undefined;
  /** The plugin whose config block it is in. */
  readonly plugin?: string | undefined;
}

export interface ErrorOptions {
  /** For the operator: what to change. Never sent to a caller. */
  readonly hint?: string | undefined;
  /** For the caller: each thing that is wrong. */
  readonly problems?: readonly Problem[];
  /** The underlying error. It is logged and never leaves the process. */
  readonly cause?: unknown;
  /** Required for a code that is not in the table above. */
  readonly kind?: ErrorKind;
  /** How long the caller should wait before it tries again. */
  readonly retryAfterMs?: number;
  /** The challenge for a refused caller: the value of `WWW-Authenticate` (RFC 9110, 11.6.1). */
  readonly challenge?: string;
  /** The answer of the other system, for a service that called it. */
  readonly answer?: unknown;
}

const BRAND = Symbol.for('gantry.error');

/** Any failure raised on purpose. `message` is for the caller, `hint` for the operator, `cause` for the log. */
export class GantryError extends Error {
  readonly [BRAND] = true;
  readonly code: string;
  readonly kind: ErrorKind;
  readonly hint: string | undefined;
  readonly problems: readonly Problem[] | undefined;
  readonly retryAfterMs: number | undefined;
  readonly challenge: string | undefined;
  readonly answer: unknown;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions);
  constructor(code: string, message: string, options: ErrorOptions & { kind: ErrorKind });
  constructor(code: string, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'GantryError';
    this.code = code;
    this.kind = options.kind ?? (Object.hasOwn(CODES, code) ? CODES[code as ErrorCode] : 'bug');
    this.hint = options.hint;
    this.problems = options.problems;
    this.retryAfterMs = options.retryAfterMs;
    this.challenge = options.challenge;
    this.answer = options.answer;
  }

  /** Whether the same call may succeed later or elsewhere. */
  get retryable(): boolean {
    return this.kind === 'busy' || this.kind === 'unavailable' || this.kind === 'timeout';
  }
}

/** Tests a brand instead of `instanceof`: a third-party plugin may bring a second copy of this class. */
export function isGantryError(thrown: unknown): thrown is GantryError {
  try {
    return typeof thrown === 'object' && thrown !== null && (thrown as { [BRAND]?: unknown })[BRAND] === true;
  } catch {
    // A property access may throw, e.g. on a proxy.
    return false;
  }
}

/** Returns a GantryError unchanged, and wraps anything else as the cause of SERVICE_FAILED. */
export function toGantryError(thrown: unknown): GantryError {
  return isGantryError(thrown) ? thrown : new GantryError('SERVICE_FAILED', 'The service failed', { cause: thrown });
}

/** Throws CONFIG_INVALID with all problems; does nothing if there are none. */
export function refuse(problems: readonly Problem[]): void {
  if (problems.length === 0) return;
  throw new GantryError('CONFIG_INVALID', `The configuration has ${problems.length} problem(s)`, { problems });
}

/** A problem as text for a person, one line per fact. */
export function explain(problem: Problem): string {
  const { plugin, path: at, message, expected, got, hint } = problem;
  const where = plugin === undefined ? at : `${at} (plugin ${plugin})`;
  const facts = [
    `${where}: ${message}`,
    ...(expected === undefined ? [] : [`    expected: ${expected}`]),
    ...(got === undefined ? [] : [`    got:      ${got}`]),
    ...(hint === undefined ? [] : [`    hint:     ${hint}`]),
  ];
  return facts.join('\n');
}

/** What a caller may see of an error, in any format. */
export interface Fault {
  readonly code: string;
  readonly kind: ErrorKind;
  readonly message: string;
  readonly cid: string;
  readonly errors?: readonly Problem[];
}

/** The caller's view of an error: no hint, no cause, no stack. */
export function toFault(error: GantryError, cid: string): Fault {
  const { code, kind, message, problems } = error;
  return problems === undefined || problems.length === 0
    ? { code, kind, message, cid }
    : { code, kind, message, cid, errors: problems };
}

/** A question that suggests the known name nearest to a mistyped one; '' if none is near. */
export function didYouMean(given: string, known: Iterable<string>): string {
  // The name may be missing in a record that was edited by hand.
  if (typeof given !== 'string') return '';
  let best = '';
  let least = Math.max(2, Math.floor(given.length / 3)) + 1;
  for (const name of known) {
    const distance = editDistance(given.toLowerCase(), name.toLowerCase(), least);
    if (distance < least && distance < name.length) [best, least] = [name, distance];
  }
  return best === '' ? '' : `Did you mean '${best}'?`;
}

/** Levenshtein distance; gives up at `limit`. */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return limit;
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const swap = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(swap, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}
