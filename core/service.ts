import type { Readable } from 'node:stream';
import type { Static, TSchema } from 'typebox';
import { Type } from 'typebox';
import type { Call } from './call.ts';
import type { Effects } from './calls/effects.ts';
import type { Cluster } from './cluster/cluster.ts';
import { type ErrorKind, type ErrorOptions, GantryError } from './errors.ts';
import type { Schedules } from './jobs/schedules.ts';
import type { Logger } from './log/log.ts';
import type { Balancer } from './ports/balancer.ts';
import type { Guard } from './ports/guard.ts';
import type { Scheduler } from './ports/scheduler.ts';
import type { Stats } from './ports/stats.ts';
import type { Outlets, Transport } from './ports/transport.ts';
import type { Dictionaries } from './records/dictionaries.ts';
import type { Records } from './records/record.ts';
import type { ServerInfo } from './server.ts';
import type { KeyValues } from './stores/key-values.ts';
import type { Sessions } from './users/sessions.ts';

export type Handler<I = unknown, O = unknown> = (input: I, call: Call) => O | Promise<O>;

/** One handler, or one for each of a transport's verbs (for REST the method, lower case). */
export type Handlers<I, O> = Handler<I, O> | Readonly<Record<string, Handler<I, O>>>;

/** A service's own errors: code -> what it means. */
export type ErrorTable = Readonly<Record<string, { readonly kind: ErrorKind; readonly description?: string }>>;
export type Raise<E extends ErrorTable> = {
  readonly [C in keyof E]: (message: string, options?: Omit<ErrorOptions, 'kind'>) => GantryError;
};

/** The deployed services, as services see them. */
export interface ServiceNames {
  has(name: string): boolean;
  /** In alphabetical order. */
  names(): readonly string[];
  /** What a deployed one says of itself; null where there is none. */
  find(name: string): Service | null;
}

/** The plugins whose parts of a definition have schemas of their own, by name. */
export interface LoadedPlugins {
  readonly transports: ReadonlyMap<string, Pick<Transport, 'address' | 'settings' | 'options'>>;
  readonly guards: ReadonlyMap<string, Pick<Guard, 'definition'>>;
}

/** What `create` is given. */
export interface ServiceDeps<E extends ErrorTable = ErrorTable> {
  readonly log: Logger;
  /** The load balancer that this process looks after; null where it looks after none. */
  readonly balancer: Balancer | null;
  /** The servers that work together; null where this process is none of a cluster. */
  readonly cluster: Cluster | null;
  /** Texts that mean the same in different systems; null where no ODB plugin is loaded. */
  readonly dictionaries: Dictionaries | null;
  /** Makes an effect in the database happen once; null where no ODB plugin is loaded. */
  readonly effects: Effects | null;
  /** What all servers share and may lose; null where no kv plugin is loaded. */
  readonly kv: KeyValues | null;
  /** Outgoing connections: `connections.get('crm').send(...)`. */
  readonly connections: Outlets;
  /** Makes this service's declared errors: `throw errors.OUT_OF_STOCK('...')`. */
  readonly errors: Raise<E>;
  /** What is loaded, with the schemas of what it takes. */
  readonly plugins: LoadedPlugins;
  /** What changes while running; null where no ODB plugin is loaded. */
  readonly records: Records | null;
  /** Makes, changes and removes jobs; null where no ODB plugin is loaded. */
  readonly schedule: Schedules | null;
  /** What runs jobs and durable calls; null where no scheduler plugin is loaded. */
  readonly scheduler: Scheduler | null;
  readonly server: ServerInfo;
  readonly services: ServiceNames;
  /** Sessions of users; null where no ODB plugin is loaded. */
  readonly sessions: Sessions | null;
  /** Null where no stats plugin is loaded. */
  readonly stats: Stats | null;
}

/** What `defineService` takes. */
export interface ServiceDefinition<I extends TSchema, O extends TSchema, E extends ErrorTable> {
  /** `<area>.<thing>.<verb>`; taken from the file's path where it is not given. */
  readonly name?: string;
  readonly description?: string;
  /** `Stream` or `Bytes` for a body as it comes. */
  readonly input: I;
  /** What the schema does not name is not sent. */
  readonly output: O;
  readonly errors?: E;
  /** Free; for tools and features, e.g. `{ owner: 'billing' }`. */
  readonly attributes?: Readonly<Record<string, unknown>>;
  /** Longest run of one call. Default: the channel's. */
  readonly timeoutMs?: number;
  /**
   * Run once before a module with it is taken, on one server, with the connections of that server: what it throws refuses
   * the module. `run` calls the service and gives its output.
   */
  selfTest?(run: (input: Static<I>, options?: { readonly verb?: string }) => Promise<Static<O>>): void | Promise<void>;
  /** Called once per deploy; the handler that it returns runs per call. */
  create(deps: ServiceDeps<E>): Handlers<Static<I>, Static<O>>;
}

/** A service, whatever its types are. */
export interface Service {
  readonly name?: string;
  readonly description?: string;
  readonly input: TSchema;
  readonly output: TSchema;
  readonly errors?: ErrorTable;
  readonly attributes?: Readonly<Record<string, unknown>>;
  readonly timeoutMs?: number;
  selfTest?(run: (input: unknown, options?: { readonly verb?: string }) => Promise<unknown>): void | Promise<void>;
  create(deps: ServiceDeps): Handlers<unknown, unknown>;
}

const BRAND = Symbol.for('gantry.service');

/** Gives a service its types; returns it, branded, so that a folder of files knows a service when it sees one. */
export function defineService<I extends TSchema, O extends TSchema, const E extends ErrorTable = Record<never, never>>(
  definition: ServiceDefinition<I, O, E>,
): Service & { readonly '~io'?: { input: Static<I>; output: Static<O> } } {
  return Object.assign({}, definition, { [BRAND]: true }) as unknown as Service;
}

export function isService(value: unknown): value is Service {
  return typeof value === 'object' && value !== null && (value as { [BRAND]?: unknown })[BRAND] === true;
}

/** As input: the body as a stream, decompressed. As output: a stream to send. */
export const Stream = Type.Unsafe<Readable>({ content: 'stream' });
/** As input: the body undecoded. As output: bytes to send as they are. */
export const Bytes = Type.Unsafe<Uint8Array>({ content: 'bytes' });

export function contentOf(schema: TSchema): 'value' | 'bytes' | 'stream' {
  return (schema as { content?: 'bytes' | 'stream' }).content ?? 'value';
}

/** The makers of a service's declared errors. */
export function raise(table: ErrorTable = {}): Raise<ErrorTable> {
  const make =
    (code: string, kind: ErrorKind) =>
    (message: string, options: object = {}) =>
      new GantryError(code, message, { ...options, kind });
  return Object.fromEntries(Object.entries(table).map(([code, { kind }]) => [code, make(code, kind)]));
}
