import { AsyncParallelHook, AsyncSeriesBailHook, AsyncSeriesHook, AsyncSeriesWaterfallHook, SyncHook } from 'tapable';
import type { Call, Reply } from './call.ts';
import type { GantryError } from './errors.ts';
import type { RunKey, RunOutcome, RunSource } from './ports/runs.ts';
import type { Channel } from './ports/transport.ts';
import type { Service } from './service.ts';

/** One message that was sent through a connection. */
export interface Sent {
  readonly connection: string;
  readonly transport: string;
  readonly ms: number;
  readonly error: GantryError | null;
  readonly call: Call | null;
}

/** One attempt of a job's firing or of a durable call that this server ran or decided not to run. */
export interface Fired extends RunKey {
  /** Null for a durable call. */
  readonly job: string | null;
  readonly service: string;
  readonly source: RunSource;
  readonly dueAt: Date;
  /** Null if it was skipped or missed. */
  readonly startedAt: Date | null;
  readonly ms: number;
  /** Time from when it was due (or ready for another attempt) to its start. */
  readonly latenessMs: number;
  readonly outcome: RunOutcome;
  readonly error: GantryError | null;
}

/** Makes all hooks that exist. */
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
    /** If a tap returns a reply, that is the answer, and the service is not run. */
    before: new AsyncSeriesBailHook<[Call], Reply | undefined>(['call']),
    /** Each tap returns the output, changed or not, for the next one. */
    after: new AsyncSeriesWaterfallHook<[unknown, Call]>(['output', 'call']),
    failed: new SyncHook<[GantryError, Call]>(['error', 'call']),
    /** Called with the finished reply and the milliseconds since receipt. */
    done: new SyncHook<[Call, Reply, number]>(['call', 'reply', 'ms']),
    sent: new SyncHook<[Sent]>(['sent']),
    /** Called when the outcome of an attempt is stored. */
    fired: new SyncHook<[Fired]>(['fired']),
  });
}

export type Hooks = ReturnType<typeof createHooks>;

/** Hooks whose taps can fail the call (or the start): what a tap throws becomes its error. */
export const DECIDING: ReadonlySet<string> = new Set(['before', 'after', 'ready', 'draining']);
