import { createHash, randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import type { Readable } from 'node:stream';
import { type ErrorKind, GantryError, isGantryError } from './errors.ts';
import type { Logger } from './log/log.ts';

/** Writes a value in one format; the half of a codec that a call holds. */
export interface Encoder {
  /** The media types of the format; the first is written. `application/*+json` is allowed. */
  readonly contentTypes: readonly string[];
  /** Appended to the content type of a reply, e.g. 'charset=utf-8'. */
  readonly parameters?: string;
  /** Throws OUTPUT_INVALID for a value that the format cannot hold. */
  encode(value: unknown): string | Uint8Array;
}

/** Why a service runs: its schedule, a person, a period that was filled in, another's outcome, or a durable call. */
export type RunSource = 'schedule' | 'manual' | 'backfill' | 'follow' | 'call';

/** What a transport knows of one message. Everything is optional; `body` alone is enough to make a call. */
export interface Message {
  /** The content, to be decoded with the channel's codec. */
  readonly body?: Uint8Array | string | null;
  /** Instead of `body`: gives the decoded input. Called once, and only after the guard let the caller in. */
  read?(call: Call): unknown;
  /** Lower-case names. */
  readonly headers?: Readonly<Record<string, string | readonly string[] | undefined>>;
  /** What the address itself carried, e.g. path parameters. */
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string | readonly string[]>>;
  /** What the caller wants done, where the transport has a word for it: an HTTP method, upper case. */
  readonly method?: string;
  readonly path?: string;
  /** The caller's network address. */
  readonly remote?: string;
  /** The correlation id that came with it; one is made where it is missing. */
  readonly cid?: string | undefined;
  /** W3C Trace Context, handed on to outgoing calls as it came. */
  readonly traceparent?: string | undefined;
  readonly tracestate?: string | undefined;
}

/** What the scheduler runs: a job that is due, or a durable call. */
export interface Firing {
  /** Null for a durable call. */
  readonly job: string | null;
  /**
   * The same for all attempts, and for nothing else: good as an idempotency key for what is done elsewhere. At most 100
   * ASCII characters.
   */
  readonly token: string;
  readonly dueAt: Date;
  /** From 1. */
  readonly attempt: number;
  readonly source: RunSource;
  /** Whose run it is: what an effect in the database is bound to. */
  readonly owner: string;
}

/** Who calls, as a guard found out. */
export interface Identity {
  readonly name: string;
  readonly roles: readonly string[];
}

/** How a call ended. `body` is encoded, or a stream to be passed on. */
export interface Reply {
  /** 'ok' or the kind of the failure; each transport has its own words for it. */
  readonly outcome: 'ok' | ErrorKind;
  readonly body: Uint8Array | string | Readable | null;
  readonly contentType: string;
  readonly error: GantryError | null;
}

/** What a service may say about its reply beside its output. Transports use what they have a place for. */
export interface ReplyNotes {
  /** An HTTP status, e.g. 201. */
  status?: number;
  headers?: Record<string, string>;
  /** For a reply of bytes or a stream. */
  contentType?: string;
}

export interface InvokeOptions {
  /** Never longer than what the calling call has left. */
  readonly timeoutMs?: number;
  /** For a service with a handler for each verb: which one. Default: the calling call's. */
  readonly verb?: string;
}

/** How a call is treated that must not be forgotten. */
export interface DurableOptions {
  /** In all, the first one included. Default: 10. */
  readonly attempts?: number;
  /** Before the second attempt; doubles with each. Default: 1000. */
  readonly backoffMs?: number;
  /** Default: 5 minutes. */
  readonly maxBackoffMs?: number;
  /** Not started earlier. Default: 0. */
  readonly afterMs?: number;
  /**
   * Of the same service and key only the first call is kept, for as long as that is in the history. At most 200
   * characters. Default: each call is one of its own.
   */
  readonly key?: string;
}

export interface AsyncOptions extends InvokeOptions {
  readonly callback?: Target | undefined;
  /**
   * Kept in the database before this resolves, and run at least once by some server, again after failures and crashes;
   * what fails for good is in the list of dead ones. Needs the scheduler. The input is JSON.
   */
  readonly durable?: boolean | DurableOptions | undefined;
}

export interface RetryOptions extends InvokeOptions {
  /** Tries in all, the first one included. Default 3. */
  readonly attempts?: number;
  /** Before the second try; doubles with each. Default 100. */
  readonly backoffMs?: number;
  readonly maxBackoffMs?: number;
  /** Which failures are worth another try. Default: those of kind busy, unavailable and timeout. */
  readonly when?: (error: GantryError) => boolean;
}

/** One of several invocations that were made together. */
export type Outcome<T = unknown> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: GantryError };

/** Names of services and their types, filled by declaration merging; an unlisted name takes and gives unknown. */
// biome-ignore lint/suspicious/noEmptyInterface: filled by declaration merging
export interface ServiceRegistry {}

/** A service by its name or by its definition, which also types input and output. */
export type Target = string | { readonly name?: string; readonly '~io'?: { input: unknown; output: unknown } };
export type InputOf<T> = T extends { readonly '~io'?: infer IO }
  ? NonNullable<IO> extends { input: infer I }
    ? I
    : unknown
  : T extends keyof ServiceRegistry
    ? InputOf<ServiceRegistry[T]>
    : unknown;
export type OutputOf<T> = T extends { readonly '~io'?: infer IO }
  ? NonNullable<IO> extends { output: infer O }
    ? O
    : unknown
  : T extends keyof ServiceRegistry
    ? OutputOf<ServiceRegistry[T]>
    : unknown;

export interface Work {
  readonly service: Target;
  readonly input?: unknown;
}

/** What runs services for a call; the core's side of `call.invoke` and its patterns. */
export interface Invoker {
  readonly log: Logger;
  invoke(target: Target, input: unknown, from: Call, options: InvokeOptions): Promise<unknown>;
  /** Gives the token of a durable one; undefined of another. */
  invokeAsync(target: Target, input: unknown, from: Call, options: AsyncOptions): Promise<string> | undefined;
  parallel(work: readonly Work[], from: Call, options: InvokeOptions): Promise<Outcome[]>;
  fanOut(
    work: readonly Work[],
    from: Call,
    options: InvokeOptions & { onEach?: Target | undefined; onFinal?: Target | undefined },
  ): void;
  retry(target: Target, input: unknown, from: Call, options: RetryOptions): Promise<unknown>;
}

const NOTHING = Object.freeze({});
const LONGEST_KEY = 255;
/** RFC 9110, 9.2.1: these change nothing. */
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE']);

/** One message on its way. The only object that the core allocates for it. */
export class Call {
  readonly cid: string;
  /** The channel that it came through. */
  readonly channel: string;
  /** What the transport knows. */
  readonly message: Message;
  /** Decoded and checked. */
  input: unknown = undefined;
  identity: Identity | null = null;
  /** The shared security definition that let the caller in; null where the channel has its own, or none. */
  security: string | null = null;
  /** The format of the reply, where the caller chose one. */
  encoder: Encoder | null = null;
  /** What the scheduler runs it for; null for a call that came otherwise. */
  firing: Firing | null = null;
  /** On the clock of `performance.now()`. */
  deadlineAt = Number.POSITIVE_INFINITY;
  /** What still runs of it though its time is over. */
  late: Promise<unknown> | null = null;
  /** Set by the dispatch; a call that never ran has none. */
  invoker: Invoker | null = null;
  /** The call on whose behalf this one was made, or null. */
  readonly parent: Call | null;
  #notes: ReplyNotes | null = null;
  #abort: AbortController | null = null;
  #reason: unknown = undefined;
  #log: Logger | null = null;
  #children: Set<Call> | null = null;
  #listeners: Set<() => void> | null = null;
  #verb: string | undefined = undefined;
  #idempotencyKey: string | null | undefined = undefined;

  constructor(channel: string, message: Message, parent: Call | null = null) {
    this.channel = channel;
    this.message = message;
    this.parent = parent;
    this.cid = parent === null ? (message.cid ?? randomUUID()) : parent.cid;
  }

  get headers(): Readonly<Record<string, string | readonly string[] | undefined>> {
    return this.message.headers ?? NOTHING;
  }
  get params(): Readonly<Record<string, string>> {
    return this.message.params ?? NOTHING;
  }
  get query(): Readonly<Record<string, string | readonly string[]>> {
    return this.message.query ?? NOTHING;
  }
  get method(): string | undefined {
    return this.message.method;
  }
  /** Which handler of a service by verbs is meant: the message's method, or what the invoking service asked for. */
  get verb(): string | undefined {
    return this.#verb ?? this.message.method;
  }
  get path(): string | undefined {
    return this.message.path;
  }
  get remote(): string | undefined {
    return this.message.remote;
  }

  /** Whether it asks for nothing to be changed. */
  get isSafe(): boolean {
    return SAFE.has(this.message.method ?? '');
  }

  /**
   * Stands for the call and all its repeats: made of its `Idempotency-Key`, its channel and its caller, so that nobody
   * meets another's key; all callers of a channel without a guard are one. 64 hex digits. Null where there is no key, the
   * channel takes no notice of it, or the call is safe. Of what the scheduler runs it stands for all attempts. Throws INPUT_INVALID.
   */
  get idempotencyKey(): string | null {
    if (this.#idempotencyKey !== undefined) return this.#idempotencyKey;
    if (this.firing !== null) {
      const key = createHash('sha256').update(`run ${this.firing.token}`).digest('hex');
      this.#idempotencyKey = key;
      return key;
    }
    const given = this.message.headers?.['idempotency-key'];
    if (given === undefined || this.isSafe) return null;
    if (this.parent !== null) return this.parent.idempotencyKey;
    const whose = JSON.stringify([this.channel, this.security, this.identity?.name ?? null, keyOf(given)]);
    const key = createHash('sha256').update(whose).digest('hex');
    // Who looks before the guard has spoken does not know the caller.
    if (this.identity !== null) this.#idempotencyKey = key;
    return key;
  }
  /** The channel takes no notice of the key that came with it. */
  ignoreKey(): void {
    this.#idempotencyKey = null;
  }

  /** Carries the call's id and channel. */
  get log(): Logger {
    if (this.#log !== null) return this.#log;
    if (this.invoker === null) throw new GantryError('SERVICE_FAILED', 'A call has a logger only while it runs');
    return (this.#log = this.invoker.log.child({ cid: this.cid, channel: this.channel }));
  }

  /** Status, headers and content type of the reply, for a transport that has them. */
  get reply(): ReplyNotes {
    return (this.#notes ??= {});
  }
  /** The same, null where the service said nothing. */
  get notes(): ReplyNotes | null {
    return this.#notes;
  }

  /** Fires when the call timed out, its caller went away, or the call above it ended so. Made on first use. */
  get signal(): AbortSignal {
    if (this.#abort === null) {
      this.#abort = new AbortController();
      // As many as a service has sends and invocations under way: no leak, so no warning.
      setMaxListeners(0, this.#abort.signal);
      if (this.#reason !== undefined) this.#abort.abort(this.#reason);
    }
    return this.#abort.signal;
  }
  get aborted(): boolean {
    return this.#reason !== undefined;
  }
  /** What is left until the deadline, in ms; Infinity without one. */
  get remainingMs(): number {
    return Math.max(0, this.deadlineAt - performance.now());
  }

  abort(reason: unknown): void {
    if (this.#reason !== undefined) return;
    this.#reason = isGantryError(reason)
      ? reason
      : new GantryError('CALL_ABORTED', 'The call was aborted', reason === undefined ? {} : { cause: reason });
    this.#abort?.abort(this.#reason);
    if (this.#children !== null) for (const child of this.#children) child.abort(this.#reason);
    if (this.#listeners !== null) for (const listener of this.#listeners) listener();
  }

  /** Like listening to the signal, for a fraction of its cost. Not called for a call that was aborted before. */
  onAbort(listener: () => void): () => void {
    const listeners = (this.#listeners ??= new Set());
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }

  /** A call made on behalf of this one: the same id, caller and message, and not after this one's deadline. */
  child(verb: string | undefined = this.#verb): Call {
    const child = new Call(this.channel, this.message, this);
    child.#verb = verb;
    child.identity = this.identity;
    child.security = this.security;
    child.firing = this.firing;
    child.deadlineAt = this.deadlineAt;
    child.invoker = this.invoker;
    (this.#children ??= new Set()).add(child);
    if (this.#reason !== undefined) child.abort(this.#reason);
    return child;
  }
  /** The child ended. */
  release(child: Call): void {
    this.#children?.delete(child);
  }

  /** Runs another service and waits for its output. Rejects with its error, or CALL_TIMEOUT. */
  invoke<const T extends Target>(target: T, input: InputOf<T>, options: InvokeOptions = {}): Promise<OutputOf<T>> {
    return this.#running().invoke(target, input, this, options) as Promise<OutputOf<T>>;
  }
  /**
   * Runs another service and does not wait; a failure is logged. `callback` gets `{ cid, service, ok, value | error }`.
   * With `durable` it resolves, with the call's token, once the call is kept; what rejects may not be kept.
   */
  invokeAsync<const T extends Target, const O extends AsyncOptions = AsyncOptions>(
    target: T,
    input: InputOf<T>,
    options?: O,
  ): O extends { readonly durable: true | DurableOptions } ? Promise<string> : void {
    return this.#running().invokeAsync(target, input, this, options ?? {}) as never;
  }
  /** Runs several at once and waits for all; outcomes are in the order of the work. */
  parallel(work: readonly Work[], options: InvokeOptions = {}): Promise<Outcome[]> {
    return this.#running().parallel(work, this, options);
  }
  /** Runs several at once and does not wait: `onEach` is invoked with each outcome, `onFinal` with all of them. */
  fanOut(work: readonly Work[], options: InvokeOptions & { onEach?: Target; onFinal?: Target }): void {
    this.#running().fanOut(work, this, options);
  }
  /** Like invoke, and again with back-off after a failure that may pass. */
  retry<const T extends Target>(target: T, input: InputOf<T>, options: RetryOptions = {}): Promise<OutputOf<T>> {
    return this.#running().retry(target, input, this, options) as Promise<OutputOf<T>>;
  }

  #running(): Invoker {
    if (this.invoker !== null) return this.invoker;
    throw new GantryError('SERVICE_FAILED', 'A call can invoke services only while it runs');
  }
}

/** draft-ietf-httpapi-idempotency-key-header has it as a string in quotes (RFC 8941); most send it without. */
function keyOf(given: string | readonly string[]): string {
  const text = typeof given === 'string' ? given.trim() : '';
  const key = /^"(.*)"$/.exec(text)?.[1] ?? text;
  if (key.length > 0 && key.length <= LONGEST_KEY && /^[\x20-\x7e]+$/.test(key)) return key;
  throw new GantryError('INPUT_INVALID', `Idempotency-Key must be one text of 1 to ${LONGEST_KEY} ASCII characters`);
}
