/** The one door: what plugins and services may import from the core, as `gantry/api`. */
export { type Static, type TObject, type TSchema, Type } from 'typebox';
export { BalancerSettingsSchema } from './balancing.ts';
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
export { ChannelDefinition } from './channels.ts';
export type { Cluster, Member, Reached } from './cluster.ts';
export { type Coerce, compileCoerce } from './coerce.ts';
export { ConnectionDefinition } from './connections.ts';
export type { Cradle } from './cradle.ts';
export type { Dictionaries } from './dictionaries.ts';
export { contentTypeOf } from './dispatch.ts';
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
export { BOUNDS_MS, BUCKETS } from './histogram.ts';
export type { Fired, Hooks, Sent } from './hooks.ts';
export { type Job, JobDefinition, jobOf, nextTimes, timesOf } from './jobs.ts';
export { type Cache, type Held, type KeyValues, type LockOptions, locked } from './key-values.ts';
export { isKind, KINDS, type Kind, ROLES, type Role } from './kinds.ts';
export * as kvLimits from './kv-limits.ts';
export type { Level, Logger } from './log.ts';
export { Meters, OTHER } from './meters.ts';
export type { Effects } from './once.ts';
export { type Pairs, parsePairs } from './pairs.ts';
export { PERIODS, type Period, periodAfter, periodOf, periodsOf } from './periods.ts';
export { definePlugin, type Lifecycle, type Own, type Plugin } from './plugin.ts';
export type {
  BalancedServer,
  BalancedStatus,
  Balancer,
  BalancerChange,
  BalancerQuestion,
  BalancerSettings,
  BalancerState,
  BalancerStatus,
} from './ports/balancer.ts';
export type { Bus, BusEvent } from './ports/bus.ts';
export type { CheckedSource, Checker } from './ports/checker.ts';
export type { Codec } from './ports/codec.ts';
export type { Dialect, DialectSupports, DriverError, DriverProblem, Run } from './ports/dialect.ts';
export type { Guard } from './ports/guard.ts';
export type { HttpClient, HttpHost, HttpOrigin, HttpReply, HttpRoute } from './ports/http.ts';
export type { Kv, KvPage, KvSet } from './ports/kv.ts';
export type { Holder, Lease, Leases, LeasesNow, Renewal } from './ports/leases.ts';
export type {
  Author,
  Change,
  HistoryQuery,
  Loading,
  Odb,
  Once,
  OwnRun,
  Page,
  RecordQuery,
  Reference,
  RunSql,
  SqlResult,
  Stored,
  Write,
  Written,
} from './ports/odb.ts';
export type { Passwords } from './ports/password.ts';
export type {
  Attempt,
  Fence,
  ForgetQuery,
  JobRuns,
  NewRun,
  OpenQuery,
  Pool,
  RunCounts,
  RunEnd,
  RunKey,
  Runner,
  RunOutcome,
  RunQuery,
  RunSource,
  Runs,
  TakeQuery,
} from './ports/runs.ts';
export type {
  Asker,
  Backfill,
  Bucket,
  DurableCall,
  Scheduler,
  SchedulerCounters,
  SchedulerStatus,
} from './ports/scheduler.ts';
export type {
  Histogram,
  Meter,
  PeriodStats,
  ServiceStats,
  SlowCall,
  Stats,
  StatsQuery,
} from './ports/stats.ts';
export type {
  Channel,
  Connection,
  ConnectionEvents,
  Contract,
  Endpoint,
  Outgoing,
  Outlet,
  Outlets,
  Transport,
  TransportSupports,
} from './ports/transport.ts';
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
} from './record.ts';
export { backoffMs, pause } from './retry.ts';
export { Agent, ROLLING, Roll, readRoll } from './rolling.ts';
export { type Schedule, type Times, upcoming } from './schedule.ts';
export type { OneTime, Schedules } from './schedules.ts';
export { Secret, SecretText } from './secret.ts';
export type { ServerInfo } from './server.ts';
export { Bytes, defineService, type Handler, type LoadedPlugins, type Service, Stream } from './service.ts';
export type { Services } from './services.ts';
export type { Session, Sessions } from './sessions.ts';
export { SlowCalls, type SlowCallsOptions } from './slow-calls.ts';
export { addStats, Tally, type TallyParts } from './tally.ts';
export { Timetable } from './timetable.ts';
export { Turns } from './turns.ts';
