import { type DestinationStream, type Logger as Pino, pino } from 'pino';
import { isGantryError } from '../errors.ts';
import { Secret } from '../schema/secret.ts';
import { original } from './source-maps.ts';
import { LogStream } from './stream.ts';

export type Level = 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent';
export const LEVELS: readonly Level[] = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'];

/** Structured: fields first, then a message that is the same for every occurrence. */
export interface Logger {
  error(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  info(fields: object, message: string): void;
  debug(fields: object, message: string): void;
  child(fields: object): Logger;
  /** Whether a line of this level would be written. */
  isLevelEnabled(level: string): boolean;
}

/** Header and field names whose values never reach the log, wherever they stand. */
const HIDDEN =
  /(authorization|cookie|password|passwd|passphrase|secret|token|api[-_]?key|private[-_]?key|credentials?)$/i;
/** A password may hold what it should not, '/' and '@', and a port is none. Bounded, so that no text takes long. */
const USERINFO = /\b([a-z][a-z0-9+.-]{0,20}:\/\/)[^/\s:@]{0,300}(:(?!\d{1,5}([/?#\s]|$))[^\s"'<>]{0,300})?@/gi;
/** Of one line: how many values are looked at, and how deep. */
const MOST = 2000;
const DEEPEST = 6;

/** One logger for the process: JSON lines, a level for each plugin that can change while it runs. */
export class Logs {
  readonly root: Logger;
  readonly #root: Pino;
  readonly #children = new Map<string, Pino[]>();
  readonly #levels = new Map<string, Level>();
  #level: Level;
  #stream: LogStream | null = null;

  constructor(options: {
    level?: Level;
    levels?: Readonly<Record<string, Level>>;
    server?: string;
    to?: DestinationStream;
  }) {
    this.#level = options.level ?? 'info';
    for (const [plugin, level] of Object.entries(options.levels ?? {})) this.#levels.set(plugin, level);
    this.#root = pino(
      {
        level: this.#level,
        base: options.server === undefined ? {} : { server: options.server },
        timestamp: pino.stdTimeFunctions.isoTime,
        formatters: {
          level: (label) => ({ level: label }),
          log: (fields) => new Concealer().conceal(fields, 0) as Record<string, unknown>,
        },
        // What stands in the message itself: nobody should put a URL with a password there, but drivers do.
        hooks: {
          logMethod(args, write) {
            const last = args.length - 1;
            if (typeof args[last] === 'string') (args as unknown[])[last] = plain(args[last] as string);
            return write.apply(this, args);
          },
        },
      },
      options.to ?? this.#stderr(),
    );
    this.root = follow(this.#root, {});
  }

  /** Waits until all lines are written, at most that long. */
  end(ms: number): Promise<void> {
    return this.#stream?.end(ms) ?? Promise.resolve();
  }
  /** For an end without any wait. */
  endNow(): void {
    this.#stream?.endNow();
  }

  #stderr(): DestinationStream {
    this.#stream = new LogStream(2, (lines) => {
      this.root.warn({ lines }, 'log lines were lost while the log could not be written');
    });
    return this.#stream;
  }

  /** The logger of one plugin; every line carries its id. */
  for(plugin: string): Logger {
    const child = this.#root.child({}, { level: this.#levels.get(plugin) ?? this.#level });
    this.#children.set(plugin, [...(this.#children.get(plugin) ?? []), child]);
    return follow(child, { plugin });
  }

  /** Of one plugin, or of all that have none of their own. Takes effect at once. */
  setLevel(level: Level, plugin?: string): void {
    if (plugin === undefined) {
      this.#level = level;
      this.#root.level = level;
    } else this.#levels.set(plugin, level);
    for (const [id, children] of this.#children) {
      for (const child of children) child.level = this.#levels.get(id) ?? this.#level;
    }
  }
  level(plugin?: string): Level {
    return (plugin === undefined ? undefined : this.#levels.get(plugin)) ?? this.#level;
  }
}

/** A logger below one of pino's. Its fields are written with each line, so that it takes the level that rules then. */
function follow(pino: Pino, own: object): Logger {
  return {
    error: (fields, message) => pino.error({ ...own, ...named(fields) }, message),
    warn: (fields, message) => pino.warn({ ...own, ...named(fields) }, message),
    info: (fields, message) => pino.info({ ...own, ...named(fields) }, message),
    debug: (fields, message) => pino.debug({ ...own, ...named(fields) }, message),
    child: (fields) => follow(pino, { ...own, ...fields }),
    isLevelEnabled: (level) => pino.isLevelEnabled(level),
  };
}

/** An error that stands where fields should. */
function named(fields: object): object {
  return fields instanceof Error ? { error: fields } : fields;
}

/** A copy fit for the log: secrets and credentials hidden, errors with their causes, bounded. Never throws. */
class Concealer {
  #left = MOST;

  conceal(value: unknown, depth: number): unknown {
    if (typeof value === 'string') return plain(value);
    if (typeof value !== 'object' || value === null) return value;
    try {
      return this.#object(value, depth);
    } catch {
      // A getter or a proxy that throws must not make the logging code throw.
      return '(unreadable)';
    }
  }

  #object(value: object, depth: number): unknown {
    if (value instanceof Secret) return '***';
    if (--this.#left < 0) return '(more)';
    if (value instanceof Error) return this.#describe(value, depth);
    if (value instanceof Date) return value;
    if (ArrayBuffer.isView(value)) return `(${value.byteLength} bytes)`;
    if (depth > DEEPEST) return '(deeper)';
    if (Array.isArray(value)) {
      const some = value.slice(0, 100).map((entry) => this.conceal(entry, depth + 1));
      return value.length > 100 ? [...some, `(${value.length - 100} more)`] : some;
    }
    if (value instanceof Map)
      return this.#entries(
        [...value].map(([key, entry]) => [String(key), entry]),
        depth,
      );
    if (value instanceof Set) return this.conceal([...value], depth);
    return this.#entries(Object.entries(value), depth);
  }

  #entries(entries: readonly [string, unknown][], depth: number): object {
    const some = entries.slice(0, MOST);
    return Object.fromEntries(
      some.map(([key, entry]) => [plain(key), HIDDEN.test(key) ? '***' : this.conceal(entry, depth + 1)]),
    );
  }

  #describe(error: Error, depth: number): object {
    const { name, message, stack, cause } = error;
    const code = (error as { code?: unknown }).code;
    const ours = isGantryError(error) ? error : undefined;
    return {
      type: name,
      message: plain(String(message)),
      ...(code === undefined ? {} : { code }),
      ...(ours?.hint === undefined ? {} : { hint: plain(ours.hint) }),
      ...(ours?.problems === undefined ? {} : { problems: this.conceal(ours.problems, depth + 1) }),
      stack: stack === undefined ? undefined : plain(original(String(stack))),
      ...(cause === undefined || depth > DEEPEST ? {} : { cause: this.conceal(cause, depth + 1) }),
    };
  }
}

function plain(text: string): string {
  return text.includes('://') ? text.replace(USERINFO, '$1***@') : text;
}

/** Writes nothing; for tests. */
export const quiet: Logger = {
  error() {},
  warn() {},
  info() {},
  debug() {},
  child: () => quiet,
  isLevelEnabled: () => false,
};
