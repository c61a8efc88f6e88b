import type { Static, TSchema } from 'typebox';
import type { Channels } from './calls/channels.ts';
import type { Connections } from './calls/connections.ts';
import type { Effects } from './calls/effects.ts';
import type { Securities } from './calls/securities.ts';
import type { Services } from './calls/services.ts';
import type { Cluster } from './cluster/cluster.ts';
import type { Hooks } from './hooks.ts';
import type { Schedules } from './jobs/schedules.ts';
import type { Timetable } from './jobs/timetable.ts';
import type { API, Lifecycle } from './kernel/plugin.ts';
import type { Logger, Logs } from './log/log.ts';
import type { Balancer } from './ports/balancer.ts';
import type { Bus } from './ports/bus.ts';
import type { Checker } from './ports/checker.ts';
import type { Codec } from './ports/codec.ts';
import type { Dialect } from './ports/dialect.ts';
import type { Guard } from './ports/guard.ts';
import type { HttpHost } from './ports/http.ts';
import type { Kind } from './ports/kind.ts';
import type { Kv } from './ports/kv.ts';
import type { Odb } from './ports/odb.ts';
import type { Passwords } from './ports/password.ts';
import type { Scheduler } from './ports/scheduler.ts';
import type { Stats } from './ports/stats.ts';
import type { Port, Ports } from './ports/table.ts';
import type { Outlets, Transport } from './ports/transport.ts';
import type { Dictionaries } from './records/dictionaries.ts';
import type { Kinds } from './records/kinds.ts';
import type { Records } from './records/record.ts';
import type { ServerInfo } from './server.ts';
import {
  type ErrorTable,
  type Handlers,
  type Raise,
  SERVICE,
  SERVICES,
  type Service,
  type ServiceNames,
} from './service.ts';
import type { KeyValues } from './stores/key-values.ts';
import type { Sessions } from './users/sessions.ts';

/** Every token that a plugin can ask for. */
export interface Cradle {
  server: ServerInfo;
  logs: Logs;
  services: Services;
  channels: Channels;
  connections: Connections;
  securities: Securities;
  /** Present if a kv plugin is loaded and the config has a cluster token. */
  cluster: Cluster;
  /** Present if an odb plugin is loaded. */
  records: Records;
  sessions: Sessions;
  /** The jobs that this server knows of; empty if no odb plugin is loaded. */
  timetable: Timetable;
  /** The kinds of records that plugins bring, by name. */
  kinds: ReadonlyMap<string, Kind>;
  codecs: ReadonlyMap<string, Codec>;
  guards: ReadonlyMap<string, Guard>;
  transports: ReadonlyMap<string, Transport>;
  features: ReadonlyMap<string, object>;
  http: HttpHost;
  stats: Stats;
  dialect: Dialect;
  odb: Odb;
  bus: Bus;
  kv: Kv;
  checker: Checker;
  scheduler: Scheduler;
  balancer: Balancer;
  passwords: Passwords;
}

/** What a plugin module exports by default. */
export interface Plugin<
  P extends Port = Port,
  C extends TSchema = TSchema,
  N extends keyof Cradle = keyof Cradle,
  W extends keyof Cradle = keyof Cradle,
> {
  /** `<port>.<name>`, e.g. `transport.rest`. It also names the folder, the config key and the log field. */
  readonly id: `${P}.${string}`;
  readonly api: typeof API;
  /** Schema of the plugin's config block. Unknown keys are errors. */
  readonly config: C;
  /** Tokens that create() is given. They also decide the order of the start. */
  readonly needs?: readonly N[];
  /** Like `needs`, but null if no plugin provides it. */
  readonly wants?: readonly W[];
  /** Makes the instance and taps hooks. Synchronous and without I/O: connecting belongs in start(). */
  create(given: Pick<Cradle, N> & { [T in W]: Cradle[T] | null } & Own<C>): Ports[P] & Lifecycle;
}

/** What each plugin is given without asking. */
export interface Own<C extends TSchema = TSchema> {
  /** The config key: the plugin's id, or another one for a second instance. */
  readonly id: string;
  readonly config: Readonly<Static<C>>;
  readonly log: Logger;
  readonly hooks: Hooks;
  /** Imports a module that the operator named in the config: a path beside the config file, or a package. */
  load(specifier: string): Promise<unknown>;
}

/** Gives a plugin its types; returns it unchanged. */
export function definePlugin<
  P extends Port,
  C extends TSchema,
  const N extends keyof Cradle = never,
  const W extends keyof Cradle = never,
>(plugin: Plugin<P, C, N, W>): Plugin<P, C, N, W> {
  return plugin;
}

/** The plugins that have schemas for parts of a definition, by name. */
export interface LoadedPlugins {
  readonly transports: ReadonlyMap<string, Pick<Transport, 'address' | 'settings' | 'options'>>;
  readonly guards: ReadonlyMap<string, Pick<Guard, 'definition'>>;
}

/** What `create` of a service is given. */
export interface ServiceDeps<E extends ErrorTable = ErrorTable> {
  readonly log: Logger;
  /** The load balancer that this process manages; null if no balancer plugin is loaded. */
  readonly balancer: Balancer | null;
  /** The servers of the cluster; null if this process is not a member of one. */
  readonly cluster: Cluster | null;
  /** Tables that translate texts from one system to another; null if no odb plugin is loaded. */
  readonly dictionaries: Dictionaries | null;
  /** Makes an effect in the database happen once; null if no odb plugin is loaded. */
  readonly effects: Effects | null;
  /** Key-values that all servers share and that may be lost; null if no kv plugin is loaded. */
  readonly kv: KeyValues | null;
  /** Outgoing connections: `connections.get('crm').send(...)`. */
  readonly connections: Outlets;
  /** Makes this service's declared errors: `throw errors.OUT_OF_STOCK('...')`. */
  readonly errors: Raise<E>;
  /** Every kind of record. */
  readonly kinds: Kinds;
  /** The loaded transports and guards, with their schemas. */
  readonly plugins: LoadedPlugins;
  /** The definitions that can be changed at run time; null if no odb plugin is loaded. */
  readonly records: Records | null;
  /** Makes, changes and removes jobs; null if no odb plugin is loaded. */
  readonly schedule: Schedules | null;
  /** Runs jobs and durable calls; null if no scheduler plugin is loaded. */
  readonly scheduler: Scheduler | null;
  readonly server: ServerInfo;
  readonly services: ServiceNames;
  /** Sessions of users; null if no odb plugin is loaded. */
  readonly sessions: Sessions | null;
  /** Null if no stats plugin is loaded. */
  readonly stats: Stats | null;
}

/**
 * The type that a schema describes. The schema is inferred from `input` and `output` alone: inferring it from a
 * handler's types as well would cost the compiler 1.2 million instantiations, most of the time of a type check.
 */
type Described<S extends TSchema> = NoInfer<Static<S>>;

/** What `defineService` takes. */
export interface ServiceDefinition<I extends TSchema, O extends TSchema, E extends ErrorTable> {
  /** `<area>.<thing>.<verb>`. Default: derived from the file's path. */
  readonly name?: string;
  readonly description?: string;
  /** The schema of the input; `Stream` or `Bytes` for the raw body. */
  readonly input: I;
  /** The schema of the output. Properties that it does not name are not sent. */
  readonly output: O;
  readonly errors?: E;
  /** Free-form data for tools and features, e.g. `{ owner: 'billing' }`. */
  readonly attributes?: Readonly<Record<string, unknown>>;
  /** Timeout of one call. Default: the channel's. */
  readonly timeoutMs?: number;
  /**
   * Runs once on one server, with that server's connections, before a module with this service is accepted. If it
   * throws, the module is refused. `run` calls the service and returns its output.
   */
  selfTest?(
    run: (input: Described<I>, options?: { readonly verb?: string }) => Promise<Described<O>>,
  ): void | Promise<void>;
  /** Called once per deploy; the handler that it returns runs per call. */
  create(deps: ServiceDeps<E>): Handlers<Described<I>, Described<O>>;
}

/** Gives a service its types. Returns a branded copy, by which the loader recognises the service of a file. */
export function defineService<I extends TSchema, O extends TSchema, const E extends ErrorTable = Record<never, never>>(
  definition: ServiceDefinition<I, O, E>,
): Service & { readonly '~io'?: { input: Static<I>; output: Static<O> } } {
  return Object.assign({}, definition, { [SERVICE]: true }) as unknown as Service;
}

/** Defines services that depend on what is loaded, e.g. one for each kind of record. Each of them must have a name. */
export function defineServices(
  make: (deps: ServiceDeps) => readonly Service[],
): (deps: ServiceDeps) => readonly Service[] {
  return Object.assign((deps: ServiceDeps) => make(deps), { [SERVICES]: true });
}
