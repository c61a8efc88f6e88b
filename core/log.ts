import { type DestinationStream, type Logger as Pino, pino } from 'pino';
import { isGantryError } from './errors.ts';
import { Secret } from './secret.ts';

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
  /^(authorization|proxy-authorization|cookie|set-cookie|x-api-key|api-?key|password|passwd|secret|token|access_?token|refresh_?token|client_?secret)$/i;
const USERINFO = /\b([a-z][a-z0-9+.-]*:\/\/)[^/\s:@]*:[^/\s@]*@/gi;

/** One logger for the process: JSON lines, a level for each plugin that can change while it runs. */
export class Logs {
  readonly root: Logger;
  readonly #root: Pino;
  readonly #children = new Map<string, Pino[]>();
  readonly #levels = new Map<string, Level>();
  #level: Level;

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
          log: (fields) => conceal(fields, 0) as Record<string, unknown>,
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
      options.to ?? pino.destination({ dest: 2, sync: true }),
    );
    this.root = this.#root;
  }

  /** The logger of one plugin; every line carries its id. */
  for(plugin: string): Logger {
    const child = this.#root.child({ plugin }, { level: this.#levels.get(plugin) ?? this.#level });
    this.#children.set(plugin, [...(this.#children.get(plugin) ?? []), child]);
    return child;
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

/** A copy fit for the log: secrets and credentials hidden, errors with their causes, bounded depth. */
function conceal(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return plain(value);
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Secret) return '***';
  if (value instanceof Error) return describe(value, depth);
  if (value instanceof Date) return value;
  if (ArrayBuffer.isView(value)) return `(${value.byteLength} bytes)`;
  if (depth > 6) return '(deeper)';
  if (Array.isArray(value)) {
    const shown = value.slice(0, 100).map((entry) => conceal(entry, depth + 1));
    return value.length > 100 ? [...shown, `(${value.length - 100} more)`] : shown;
  }
  if (value instanceof Map) return conceal(Object.fromEntries(value), depth);
  if (value instanceof Set) return conceal([...value], depth);
  const copy: Record<string, unknown> = {};
  for (const [key, entry] of Object.entries(value)) copy[key] = HIDDEN.test(key) ? '***' : conceal(entry, depth + 1);
  return copy;
}

function describe(error: Error, depth: number): object {
  const { name, message, stack, cause } = error;
  const code = (error as { code?: unknown }).code;
  return {
    type: name,
    message: plain(message),
    ...(code === undefined ? {} : { code }),
    ...(isGantryError(error) && error.hint !== undefined ? { hint: plain(error.hint) } : {}),
    ...(isGantryError(error) && error.problems !== undefined ? { problems: conceal(error.problems, depth + 1) } : {}),
    stack: stack === undefined ? undefined : plain(stack),
    ...(cause === undefined || depth > 6 ? {} : { cause: conceal(cause, depth + 1) }),
  };
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
