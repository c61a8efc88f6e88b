/** Hot. */
import { Readable } from 'node:stream';
import { ReadableStream, type ReadableStream as WebStream } from 'node:stream/web';
import type { Call, Encoder, Identity, Invoker, Reply } from '../call.ts';
import { type GantryError, toGantryError } from '../errors.ts';
import type { Hooks } from '../hooks.ts';
import type { Logger } from '../log/log.ts';
import type { Codec } from '../ports/codec.ts';
import { checkInput, isThenable, type Slot, within } from './slot.ts';

/** What a channel needs at run time, resolved when it was bound. Null: the channel has no such step. */
export interface Line {
  readonly slot: Slot;
  readonly codec: Codec;
  /** How the channel's codec writes what the service gives. */
  readonly writing: Writing;
  readonly guard: ((call: Call) => Identity | Promise<Identity>) | null;
  readonly timeoutMs: number;
  /** What a call with an `Idempotency-Key` goes through. */
  readonly idempotent: Idempotent | null;
  readonly traffic: Traffic;
  readonly invoker: Invoker;
  readonly log: Logger;
  readonly received: Hooks['received'] | null;
  readonly before: Hooks['before'] | null;
  readonly after: Hooks['after'] | null;
  readonly failed: Hooks['failed'] | null;
  readonly done: Hooks['done'] | null;
}

/** What a codec made of the output schema of one deploy of a service: once, when the first output is written. */
export interface Writing {
  of: Slot['output'];
  /** Null where the codec has nothing faster than encode(). */
  write: ReturnType<NonNullable<Codec['compile']>>;
}

/** How a channel treats repeats of a call. */
export interface Idempotent {
  /** Calls without a key go through it, too: to be refused. */
  readonly required: boolean;
  /** Gives what `work` gives, or gave to the same call before. */
  run(call: Call, work: () => Reply | Promise<Reply>): Reply | Promise<Reply>;
}

/** The calls in flight, so that stopping can wait for them. */
export interface Traffic {
  inHand: number;
  /** Null: open. Otherwise the error with which new calls are refused. */
  closed: GantryError | null;
  /** Called when the last call in flight has ended. */
  empty: (() => void) | null;
  /** When this process was last seen awake, on the clock of `performance.now()`; Infinity: nobody looks. */
  seenAt: number;
  /** Called by the first call after a long sleep. */
  woke: () => void;
  /** New calls wait for it: the server takes over what changed while it slept. */
  behind: Promise<void> | null;
}

/** A process that did not run for so long may have missed changes, and leases may be another's. */
export const ASLEEP_MS = 1000;

const NO_CONTENT = '';

/** The only way from a channel to a service. Never rejects. */
export async function dispatch(line: Line, call: Call): Promise<Reply> {
  const { slot, traffic } = line;
  const startedAt = performance.now();
  const limit = slot.timeoutMs !== null && slot.timeoutMs < line.timeoutMs ? slot.timeoutMs : line.timeoutMs;
  call.deadlineAt = startedAt + limit;
  call.invoker = line.invoker;
  traffic.inHand++;
  let reply: Reply | undefined;
  try {
    if (startedAt - traffic.seenAt > ASLEEP_MS) traffic.woke();
    if (traffic.behind !== null) await traffic.behind;
    if (traffic.closed !== null) throw traffic.closed;
    if (line.received !== null) line.received.call(call);
    if (line.guard !== null) {
      const identity = line.guard(call);
      call.identity = isThenable(identity) ? await identity : identity;
    }
    if (line.before !== null) reply = await line.before.promise(call);
    if (reply === undefined) {
      const read = input(line, call);
      call.input = isThenable(read) ? await read : read;
      checkInput(slot, call.input);
      const { idempotent } = line;
      const keyed = hasKey(call);
      if (keyed && idempotent === null) call.ignoreKey();
      const done =
        idempotent !== null && (keyed || idempotent.required)
          ? idempotent.run(call, () => perform(line, call))
          : perform(line, call);
      reply = isThenable(done) ? await done : done;
    }
  } catch (thrown) {
    reply = refuse(line, call, toGantryError(thrown));
  } finally {
    if (--traffic.inHand === 0 && traffic.empty !== null) setImmediate(traffic.empty);
  }
  const ms = performance.now() - startedAt;
  if (slot.meter !== null) slot.meter.record(ms, reply.error !== null);
  if (line.done !== null) line.done.call(call, reply, ms);
  return reply;
}

function hasKey({ message }: Call): boolean {
  return message.headers !== undefined && message.headers['idempotency-key'] !== undefined;
}

/** Runs the service. One that is deployed again meanwhile does not change what this call is held to. */
function perform(line: Line, call: Call): Reply | Promise<Reply> {
  const { slot } = line;
  const { output: clean } = slot;
  const output = slot.handle(call.input, call);
  if (isThenable(output) || line.after !== null) return settled(line, call, clean, output);
  return answer(line, call, clean, output);
}

async function settled(line: Line, call: Call, clean: Slot['output'], running: unknown): Promise<Reply> {
  let output = isThenable(running) ? await within(running, call, line.slot.name) : running;
  if (line.after !== null) output = await line.after.promise(output, call);
  return answer(line, call, clean, output);
}

/** The content as a value: as the transport reads it, or by the channel's codec. */
function input({ codec, slot }: Line, call: Call): unknown {
  const { message } = call;
  if (message.read !== undefined) return message.read(call);
  if (slot.input !== 'value') return raw(message.body ?? '', slot.input);
  if (message.body === undefined || message.body === null) return undefined;
  const value = codec.decode(message.body);
  return codec.typed ? value : slot.coerce(value);
}

function raw(body: Uint8Array | string, as: 'bytes' | 'stream'): Uint8Array | Readable {
  const bytes = typeof body === 'string' ? Buffer.from(body) : body;
  return as === 'bytes' ? bytes : Readable.from([bytes], { objectMode: false });
}

function answer(line: Line, call: Call, clean: Slot['output'], output: unknown): Reply {
  const codec = call.encoder ?? line.codec;
  const given = clean === null ? output : clean(output);
  if (given === undefined) return { outcome: 'ok', body: null, contentType: NO_CONTENT, error: null };
  if (clean === null && isRaw(given)) {
    const contentType = call.notes?.contentType ?? 'application/octet-stream';
    const body = given instanceof ReadableStream ? Readable.fromWeb(given as WebStream) : given;
    return { outcome: 'ok', body, contentType, error: null };
  }
  return {
    outcome: 'ok',
    // The same value: it is what the schema names, and no more.
    body: clean !== null && given === output && codec === line.codec ? write(line, clean, given) : codec.encode(given),
    contentType: call.notes?.contentType ?? contentTypeOf(codec),
    error: null,
  };
}

function write({ codec, writing }: Line, clean: NonNullable<Slot['output']>, value: unknown): string | Uint8Array {
  if (writing.of !== clean) {
    writing.of = clean;
    writing.write = codec.compile?.(clean.schema) ?? null;
  }
  return writing.write === null ? codec.encode(value) : writing.write(value);
}

/** An error becomes a reply; what is our own fault is logged with its cause. */
function refuse(line: Line, call: Call, error: GantryError): Reply {
  if (line.failed !== null) line.failed.call(error, call);
  const level = error.kind === 'bug' || error.kind === 'setup' ? 'error' : 'debug';
  if (line.log.isLevelEnabled(level)) {
    line.log[level]({ cid: call.cid, channel: call.channel, service: line.slot.name, error }, 'a call failed');
  }
  return { outcome: error.kind, body: null, contentType: NO_CONTENT, error };
}

function isRaw(value: unknown): value is Uint8Array | Readable | ReadableStream {
  if (typeof value !== 'object' || value === null) return false;
  if (value instanceof Uint8Array || typeof (value as { pipe?: unknown }).pipe === 'function') return true;
  return value instanceof ReadableStream;
}

/** The content type that a codec writes. */
export function contentTypeOf(codec: Encoder): string {
  const [first = 'application/octet-stream'] = codec.contentTypes;
  return codec.parameters === undefined ? first : `${first}; ${codec.parameters}`;
}
