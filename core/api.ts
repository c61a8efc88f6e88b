/** `gantry/api`: what a service or a plugin is written with. The interfaces of ports are in `gantry/ports`. */
export { type Static, type TObject, type TSchema, Type } from 'typebox';
export {
  type AsyncOptions,
  Call,
  type DurableOptions,
  type Firing,
  type Identity,
  type InvokeOptions,
  type Message,
  type Outcome,
  type Reply,
  type ReplyNotes,
  type RetryOptions,
  type ServiceRegistry,
  type Target,
  type Work,
} from './call.ts';
export type { Effects } from './calls/effects.ts';
export type { Services } from './calls/services.ts';
export type { Cluster, Member, Reached } from './cluster/cluster.ts';
export {
  type Cradle,
  definePlugin,
  defineService,
  defineServices,
  type LoadedPlugins,
  type Own,
  type Plugin,
  type ServiceDeps,
} from './cradle.ts';
export {
  didYouMean,
  type ErrorCode,
  type ErrorKind,
  type ErrorOptions,
  type Fault,
  GantryError,
  isGantryError,
  type Problem,
  toFault,
  toGantryError,
} from './errors.ts';
export type { Fired, Hooks, Sent } from './hooks.ts';
export type { Schedule } from './jobs/schedule.ts';
export type { OneTime, Schedules } from './jobs/schedules.ts';
export type { Lifecycle } from './kernel/plugin.ts';
export type { Level, Logger } from './log/log.ts';
export { keyOf, type Path, pointerOf, stepsOf } from './path.ts';
export type { Channel, Connection, Outgoing, Outlet } from './ports/transport.ts';
export type { Dictionaries } from './records/dictionaries.ts';
export type { Kinds } from './records/kinds.ts';
export type {
  Applied,
  ApplyOptions,
  Definition,
  LiveRecord,
  Portable,
  Records,
  RecordsStatus,
  RecordView,
  Saved,
} from './records/record.ts';
export { Secret, SecretText } from './schema/secret.ts';
export type { ServerInfo } from './server.ts';
export { Bytes, type Handler, type Service, Stream } from './service.ts';
export type { Cache, Held, KeyValues, LockOptions } from './stores/key-values.ts';
export { backoffMs, pause } from './time/retry.ts';
export { ROLES } from './users/roles.ts';
export type { Session, Sessions } from './users/sessions.ts';
