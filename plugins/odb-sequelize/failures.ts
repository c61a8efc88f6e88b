import { GantryError, isGantryError } from '../../core/api.ts';
import type { Dialect, DriverError, DriverProblem } from '../../core/ports/index.ts';
import { Uncertain, Unreached } from './session.ts';

/** What a failed operation comes to. */
export interface Failure {
  readonly error: GantryError;
  /** Whether the very same may be tried again at once: as often as there is time, once, or not. */
  readonly again: 'often' | 'once' | 'never';
  /** Whether something may have been asked of it: else even a change may be tried once more. */
  readonly begun: boolean;
  /** It answers, and has no room for changes. */
  readonly full?: true;
  /** It may have been done. */
  readonly uncertain?: true;
}

/** What Sequelize calls what happened, for each what it is and what the operator should look at. */
const NAMED: Readonly<Record<string, readonly [DriverProblem | 'denied', string]>> = {
  SequelizeConnectionRefusedError: [
    'unavailable',
    'Nothing listens there: is it running, and are host and port right?',
  ],
  SequelizeHostNotFoundError: ['unavailable', 'Its host has no address: is the name right, and does DNS answer?'],
  SequelizeHostNotReachableError: ['unavailable', 'There is no way to its host: look at the network.'],
  SequelizeInvalidConnectionError: ['denied', 'Its address is not valid: look at the settings of the dialect.'],
  SequelizeConnectionTimedOutError: ['timeout', 'Its host does not answer: look at the network and at firewalls.'],
  SequelizeConnectionAcquireTimeoutError: [
    'timeout',
    "All connections were in use, or none could be opened: look at the database's load, or let the pool be larger.",
  ],
  SequelizeAccessDeniedError: ['denied', 'User or password is wrong, or the user may not use this database.'],
  SequelizeTimeoutError: ['busy', ''],
  SequelizeUniqueConstraintError: ['duplicate', ''],
};

const UNAVAILABLE = 'It went away, is starting or has no room: look at its own log.';
const BUSY = 'Others hold what was to be written: look for long transactions in the database.';
const SLOW = 'Look at the load of the database, and at the network.';
const DENIED = 'It takes no connection with these settings: look at user, password, database and tls.';
const FULL = 'Make room on its disk. Nothing has to be started again.';
const UNTRUSTED =
  'Its certificate is not trusted here: name who signed it in "tls.ca", and look whether "host" is its name.';
const TABLES = 'May the user do that there? Were the tables changed by hand? A backup has them as they were.';

const ADVICE: Readonly<Record<string, string>> = {
  denied: DENIED,
  timeout: SLOW,
  full: FULL,
  duplicate: TABLES,
  refused: TABLES,
};

/** Tells the failures of one database. */
export class Failures {
  readonly #dialect: Dialect;
  /** What no text may show. */
  readonly #secrets: readonly string[];
  /** Errors that told of no room. */
  readonly #overflows = new WeakSet<object>();
  /** Which database: where it is, and who asks. */
  readonly #place: string;

  /** Options are those of Sequelize; none while they are not known. */
  constructor(dialect: Dialect, options: Readonly<Record<string, unknown>> = {}) {
    this.#dialect = dialect;
    const { password } = options;
    this.#secrets = typeof password === 'string' && password !== '' ? [password] : [];
    this.#place = placeOf(options);
  }

  /** While running: it was not available, or it failed; what is ours already stays as it is. */
  of(thrown: unknown): Failure {
    if (isGantryError(thrown)) {
      const full = this.#overflows.has(thrown) ? ({ full: true } as const) : {};
      return { error: thrown, again: 'never', begun: true, ...full };
    }
    const what = this.#name(thrown);
    const begun = !(thrown instanceof Unreached);
    if (what === 'busy')
      return { error: this.unavailable('The database is busy', BUSY, thrown), again: 'often', begun };
    if (what === 'full') {
      const error = this.unavailable('The database has no room; nothing was changed', this.#hint(thrown), thrown);
      this.#overflows.add(error);
      return { error, again: 'never', begun, full: true };
    }
    if (thrown instanceof Uncertain && !isRefusal(thrown)) {
      const text = 'The connection to the database was lost at the end of the change, which may have been made';
      return { error: this.unavailable(text, this.#hint(thrown), thrown), again: 'never', begun, uncertain: true };
    }
    if (!begun || what === 'denied') {
      const text = 'The database cannot be reached';
      return {
        error: this.unavailable(text, this.#hint(thrown), thrown),
        again: what === 'denied' ? 'never' : 'once',
        begun,
      };
    }
    if (what === 'timeout' || what === 'unavailable') {
      const text = what === 'timeout' ? 'The database did not answer in time' : 'The database is not available';
      return { error: this.unavailable(text, this.#hint(thrown), thrown), again: 'once', begun };
    }
    return { error: this.#failed(thrown), again: 'never', begun };
  }

  /** As of(), for a statement that is not this plugin's own; what it told already stays as it is. */
  ofStatement(thrown: unknown): GantryError {
    if (!isGantryError(thrown) && this.#name(thrown) === 'duplicate') {
      const text = 'What the statement would write is there already: a unique key has it';
      return new GantryError('RECORD_DUPLICATE', text, { hint: this.#told(thrown), cause: thrown });
    }
    const { error } = this.of(thrown);
    if (isGantryError(thrown) || error.code !== 'ODB_FAILED') return error;
    const hint = `Look at the statement, and whether the user may do that there: ${this.#told(thrown)}`;
    return new GantryError('ODB_FAILED', 'The database refused a statement', { hint, cause: thrown });
  }

  /** While starting: whether waiting may mend it. */
  isPassing(thrown: unknown): boolean {
    if (isGantryError(thrown)) return thrown.code === 'ODB_UNAVAILABLE';
    return ['busy', 'unavailable', 'timeout', 'full'].includes(this.#name(thrown) ?? '');
  }

  /** While starting: only the operator can mend it. */
  setup(thrown: unknown): GantryError {
    if (isGantryError(thrown) && thrown.kind === 'setup') return thrown;
    const cause = isGantryError(thrown) ? (thrown.cause ?? thrown) : thrown;
    const told = this.#told(cause);
    const where = this.#place === '' ? '' : ` ${this.#place}`;
    const text = `The database${where} cannot be used${told === '' ? '' : `: ${told}`}`;
    return new GantryError('PLUGIN_START_FAILED', text, { hint: this.#advice(cause), cause });
  }

  tooLate(ms: number): GantryError {
    return this.unavailable(`The database did not answer in ${ms} ms`, SLOW, undefined);
  }

  unavailable(text: string, hint: string, cause: unknown): GantryError {
    // What went wrong below has told its place already.
    const where = cause === undefined && this.#place !== '' ? ` (${this.#place})` : '';
    return new GantryError('ODB_UNAVAILABLE', text, {
      hint: `${hint}${where}`,
      retryAfterMs: 1000,
      ...(cause === undefined ? {} : { cause }),
    });
  }

  #failed(cause: unknown): GantryError {
    const hint = `The database refused what was asked of it: ${this.#hint(cause)}`;
    return new GantryError('ODB_FAILED', 'The database failed', { hint, cause });
  }

  #name(thrown: unknown): DriverProblem | 'denied' | null {
    const [sequelize, driver] = unwrapped(thrown);
    const own = this.#dialect.classify(driver);
    if (own !== null) return own;
    const [named] = NAMED[sequelize.name ?? ''] ?? [];
    if (named !== undefined) return named;
    return thrown instanceof Unreached ? 'denied' : null;
  }

  /** What to look at, what the driver said, and of which database. */
  #hint(thrown: unknown): string {
    const advice = this.#advice(thrown);
    const place = advice.includes(this.#place) ? '' : this.#place;
    const facts = [this.#told(thrown), place].filter((one) => one !== '').join('; ');
    return facts === '' ? advice : `${advice} (${facts})`;
  }
  #advice(thrown: unknown): string {
    const [sequelize, driver] = unwrapped(thrown);
    const own = this.#dialect.advise?.(driver) ?? null;
    if (own !== null) return own;
    if (/certificate/i.test(driver.message ?? '')) return UNTRUSTED;
    const [, advice = ''] = NAMED[sequelize.name ?? ''] ?? [];
    if (advice !== '') return advice;
    return ADVICE[this.#name(thrown) ?? 'refused'] ?? UNAVAILABLE;
  }

  /** The driver's own words, without secrets. */
  #told(thrown: unknown): string {
    const [sequelize, driver] = unwrapped(thrown);
    const texts: unknown[] = [driver.message, sequelize.message, driver.code];
    const text = texts.find((one) => typeof one === 'string' && one !== '') as string | undefined;
    return this.#secrets.reduce((plain, secret) => plain.replaceAll(secret, '***'), text?.split('\n', 1)[0] ?? '');
  }
}

interface Thrown {
  readonly name?: string;
  readonly message?: string;
  readonly cause?: unknown;
  readonly parent?: unknown;
  readonly original?: unknown;
}

/** What Sequelize threw, and what the driver threw below it. */
function unwrapped(thrown: unknown): [Thrown, DriverError] {
  let error = (thrown ?? {}) as Thrown;
  // Ours, and umzug's, have what happened as their cause.
  while (isWrapping(error) && error.cause instanceof Error) error = error.cause;
  return [error, (error.parent ?? error.original ?? error) as DriverError];
}

function isWrapping(error: Thrown): boolean {
  return error instanceof Unreached || error instanceof Uncertain || error.name === 'MigrationError';
}

/** The engine said no to a commit: it found what it checks at the end only, and undid all. */
function isRefusal(thrown: Uncertain): boolean {
  const [{ name = '' }] = unwrapped(thrown);
  return name === 'SequelizeUniqueConstraintError' || name === 'SequelizeForeignKeyConstraintError';
}

function placeOf({ storage, host, port, database, username }: Readonly<Record<string, unknown>>): string {
  if (typeof host !== 'string') return typeof storage === 'string' ? storage : '';
  const whose = [
    ...(typeof database === 'string' ? [`database '${database}'`] : []),
    ...(typeof username === 'string' ? [`user '${username}'`] : []),
  ];
  return `at ${host}:${port}${whose.length === 0 ? '' : ` (${whose.join(', ')})`}`;
}
