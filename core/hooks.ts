import { AsyncParallelHook, AsyncSeriesBailHook, AsyncSeriesHook, AsyncSeriesWaterfallHook, SyncHook } from 'tapable';
import type { Call, Reply } from './call.ts';
import { GantryError, isGantryError } from './errors.ts';
import type { Logger } from './log/log.ts';
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
const DECIDING: ReadonlySet<string> = new Set(['before', 'after', 'ready', 'draining']);

interface Tap {
  name: string;
  type: string;
  fn: (...args: unknown[]) => unknown;
}

/**
 * After create(): every tap must be named after its plugin, and there will be no more taps. A tap that throws is
 * named; where it only observes, it is logged and changes nothing.
 */
export function sealHooks(
  hooks: Hooks,
  ids: ReadonlySet<string>,
  log: Logger,
  gone: ReadonlySet<string> = new Set(),
): void {
  for (const [name, hook] of Object.entries(hooks)) {
    for (const tap of hook.taps as unknown as Tap[]) {
      if (!ids.has(tap.name)) {
        throw new GantryError('HOOK_MISUSED', `Hook '${name}' has a tap named '${tap.name}'`, {
          hint: `A tap is named after its plugin: hooks.${name}.tap(id, ...) with the id that create() was given.`,
        });
      }
      const fn = DECIDING.has(name) ? named(tap, name) : observing(tap, name, log);
      tap.fn = unlessGone(tap, fn, gone);
    }
    const refuse = () => {
      throw new GantryError('HOOK_MISUSED', `Hook '${name}' is sealed`, { hint: 'Tap hooks in create(), not later.' });
    };
    Object.assign(hook, { tap: refuse, tapAsync: refuse, tapPromise: refuse });
  }
}

function named({ name, fn, type }: Tap, hook: string): Tap['fn'] {
  const blame = (thrown: unknown): GantryError =>
    isGantryError(thrown)
      ? thrown
      : new GantryError('TAP_FAILED', `${name} failed in hook '${hook}'`, { cause: thrown });
  if (type === 'async') {
    return (...args) => {
      const done = args.pop() as (error: unknown, ...results: unknown[]) => void;
      try {
        fn(...args, (error: unknown, ...results: unknown[]) => done(error ? blame(error) : error, ...results));
      } catch (thrown) {
        done(blame(thrown));
      }
    };
  }
  return (...args) => {
    try {
      const result = fn(...args);
      if (!isPromise(result)) return result;
      return Promise.resolve(result).catch((thrown: unknown) => {
        throw blame(thrown);
      });
    } catch (thrown) {
      throw blame(thrown);
    }
  };
}

function observing({ name, fn }: Tap, hook: string, log: Logger): Tap['fn'] {
  const tell = (error: unknown) => log.error({ plugin: name, hook, error }, 'a tap threw; the call goes on without it');
  return (...args) => {
    try {
      const result = fn(...args);
      // Nobody waits for it: a rejection that nobody hears would end the process.
      if (isPromise(result)) result.then(undefined, tell);
    } catch (error) {
      tell(error);
    }
  };
}

/** A plugin that was given up decides nothing and sees nothing. */
function unlessGone({ name, type }: Tap, fn: Tap['fn'], gone: ReadonlySet<string>): Tap['fn'] {
  return (...args) => {
    if (!gone.has(name)) return fn(...args);
    if (type === 'async') (args.at(-1) as () => void)();
    return type === 'promise' ? Promise.resolve() : undefined;
  };
}

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
}
