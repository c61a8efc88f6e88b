/**
 * `gantry/parts`: what the plugins and services of this package share. Unstable: a name may change or go with any version.
 */
export { ChannelDefinition } from './calls/channels.ts';
export { ConnectionDefinition } from './calls/connections.ts';
export { contentTypeOf } from './calls/dispatch.ts';
export { BalancerSettingsSchema } from './cluster/balancing.ts';
export { Agent, ROLLING, Roll, readRoll } from './cluster/rolling.ts';
export { type Job, JobDefinition, jobOf, nextTimes, timesOf } from './jobs/jobs.ts';
export { type Times, upcoming } from './jobs/schedule.ts';
export { Timetable } from './jobs/timetable.ts';
export { type Coerce, compileCoerce } from './schema/coerce.ts';
export { BOUNDS_MS, BUCKETS } from './statistics/histogram.ts';
export { Meters, OTHER } from './statistics/meters.ts';
export { PERIODS, type Period, periodAfter, periodOf, periodsOf } from './statistics/periods.ts';
export { SlowCalls, type SlowCallsOptions } from './statistics/slow-calls.ts';
export { addStats, Tally, type TallyParts } from './statistics/tally.ts';
export { locked } from './stores/key-values.ts';
export * as kvLimits from './stores/kv-limits.ts';
export { type Clock, machineClock } from './time/clock.ts';
export { Turns } from './time/turns.ts';
