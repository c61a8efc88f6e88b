import { AsyncParallelHook, AsyncSeriesBailHook, AsyncSeriesHook, AsyncSeriesWaterfallHook, SyncHook } from 'tapable';
import type { Call, Reply } from './call.ts';
import type { GantryError } from './errors.ts';
import type { RunKey, RunOutcome, RunSource } from './ports/runs.ts';
import type { Channel } from './ports/transport.ts';
import type { Service } from './service.ts';

/** One message that left through a connection. */
export interface Sent {
  readonly connection: string;
  readonly transport: string;
  readonly ms: number;
  readonly error: GantryError | null;
  readonly call: Call | null;
}

/** One attempt of a job's firing or of a durable call that this server ran, or decided not to run. */
export interface Fired extends RunKey {
  /** Null for a durable call. */
  readonly job: string | null;
  readonly service: string;
  readonly source: RunSource;
  readonly dueAt: Date;
  /** Null where it was skipped or missed. */
  readonly startedAt: Date | null;
  readonly ms: number;
  /** From when it was due, or ready to be tried again, to its start. */
  readonly latenessMs: number;
  readonly outcome: RunOutcome;
  readonly error: GantryError | null;
}

/** The whole catalogue. A hook that is not in this table does not exist. */
export function createHooks() {
  return Object.freeze({
    // the life of a server
    serviceDeployed: new SyncHook<[Service]>(['service']),
    serviceRetired: new SyncHook<[string]>(['name']),
    channelBound: new SyncHook<[Channel]>(['channel']),
    channelUnbound: new SyncHook<[Channel]>(['channel']),
    connectionUp: new SyncHook<[string]>(['connection']),
    connectionLost: new SyncHook<[string, unknown]>(['connection', 'reason']),
    ready: new AsyncSeriesHook<[]>([]),
    draining: new AsyncParallelHook<[]>([]),
    // the life of a call
    received: new SyncHook<[Call]>(['call']),
    /** A reply given here is the answer; the service is not run. */
    before: new AsyncSeriesBailHook<[Call], Reply | undefined>(['call']),
    /** Gives the output on, changed or not. */
    after: new AsyncSeriesWaterfallHook<[unknown, Call]>(['output', 'call']),
    failed: new SyncHook<[GantryError, Call]>(['error', 'call']),
    /** The reply is made. ms counts from receipt. */
    done: new SyncHook<[Call, Reply, number]>(['call', 'reply', 'ms']),
    sent: new SyncHook<[Sent]>(['sent']),
    /** Its outcome is written. */
    fired: new SyncHook<[Fired]>(['fired']),
  });
}

export type Hooks = ReturnType<typeof createHooks>;

/** Those whose taps decide something: what they throw is the call's (or the boot's) error. */
export const DECIDING: ReadonlySet<string> = new Set(['before', 'after', 'ready', 'draining']);
