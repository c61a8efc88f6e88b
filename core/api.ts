/** The one door: what plugins and services may import from the core, as `gantry/api`. */
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
export { ChannelDefinition } from './calls/channels.ts';
export { ConnectionDefinition } from './calls/connections.ts';
export { contentTypeOf } from './calls/dispatch.ts';
export type { Effects } from './calls/effects.ts';
export type { Services } from './calls/services.ts';
export { BalancerSettingsSchema } from './cluster/balancing.ts';
export type { Cluster, Member, Reached } from './cluster/cluster.ts';
export { Agent, ROLLING, Roll, readRoll } from './cluster/rolling.ts';
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
export { type Job, JobDefinition, jobOf, nextTimes, timesOf } from './jobs/jobs.ts';
export { type Schedule, type Times, upcoming } from './jobs/schedule.ts';
export type { OneTime, Schedules } from './jobs/schedules.ts';
export { Timetable } from './jobs/timetable.ts';
export type { Lifecycle } from './kernel/plugin.ts';
export type { Level, Logger } from './log/log.ts';
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
export type { Effect, Kind, Role } from './ports/kind.ts';
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
export { type Coerce, compileCoerce } from './schema/coerce.ts';
export { Secret, SecretText } from './schema/secret.ts';
export type { ServerInfo } from './server.ts';
export { Bytes, type Handler, type Service, Stream } from './service.ts';
export { BOUNDS_MS, BUCKETS } from './statistics/histogram.ts';
export { Meters, OTHER } from './statistics/meters.ts';
export { PERIODS, type Period, periodAfter, periodOf, periodsOf } from './statistics/periods.ts';
export { SlowCalls, type SlowCallsOptions } from './statistics/slow-calls.ts';
export { addStats, Tally, type TallyParts } from './statistics/tally.ts';
export { type Cache, type Held, type KeyValues, type LockOptions, locked } from './stores/key-values.ts';
export * as kvLimits from './stores/kv-limits.ts';
export { type Clock, machineClock } from './time/clock.ts';
export { backoffMs, pause } from './time/retry.ts';
export { Turns } from './time/turns.ts';
export { ROLES } from './users/roles.ts';
export type { Session, Sessions } from './users/sessions.ts';
