import { createHash, randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import type { Readable } from 'node:stream';
import { type ErrorKind, GantryError, isGantryError } from './errors.ts';
import type { Logger } from './log/log.ts';

/** The half of a codec that writes values. A call holds the encoder of its reply. */
export interface Encoder {
  /** The media types of the format; the first is written. `application/*+json` is allowed. */
  readonly contentTypes: readonly string[];
  /** Appended to the content type of a reply, e.g. 'charset=utf-8'. */
  readonly parameters?: string;
  /** Throws OUTPUT_INVALID for a value that the format cannot hold. */
  encode(value: unknown): string | Uint8Array;
}

/** Why a run exists: the schedule, a person, a backfill, the outcome of another job, or a durable call. */
export type RunSource = 'schedule' | 'manual' | 'backfill' | 'follow' | 'call';

/** What a transport knows about one message. Everything is optional; `body` alone is enough to make a call. */
export interface Message {
  /** The content, to be decoded with the channel's codec. */
  readonly body?: Uint8Array | string | null;
  /** Returns the decoded input, in place of `body`. Called once, and only after the guard let the caller in. */
  read?(call: Call): unknown;
  /** Lower-case names. */
  readonly headers?: Readonly<Record<string, string | readonly string[] | undefined>>;
  /** Parameters from the address, e.g. from the path. */
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string | readonly string[]>>;
  /** The HTTP method in upper case, or what another transport has in its place. */
  readonly method?: string;
  readonly path?: string;
  /** The caller's network address. */
  readonly remote?: string;
  /** The correlation id of the message. If it is missing, the call makes one. */
  readonly cid?: string | undefined;
  /** W3C Trace Context, passed on to outgoing calls unchanged. */
  readonly traceparent?: string | undefined;
  readonly tracestate?: string | undefined;
}

/** What the scheduler runs: a job that is due, or a durable call. */
export interface Firing {
  /** Null for a durable call. */
  readonly job: string | null;
  /**
   * Unique to this run and the same for all its attempts, so it can serve as an idempotency key in other systems. At
   * most 100 ASCII characters.
   */
  readonly token: string;
  readonly dueAt: Date;
  /** From 1. */
  readonly attempt: number;
  readonly source: RunSource;
  /** The owner of the run. Effects in the database are bound to it. */
  readonly owner: string;
}

/** The caller, as established by a guard. */
export interface Identity {
  readonly name: string;
  readonly roles: readonly string[];
}

/** How a call ended. `body` is encoded, or a stream to pass on. */
export interface Reply {
  /** 'ok', or the kind of the failure. Each transport translates it, e.g. to an HTTP status. */
  readonly outcome: 'ok' | ErrorKind;
  readonly body: Uint8Array | string | Readable | null;
  readonly contentType: string;
  readonly error: GantryError | null;
}

/** What a service may set on its reply beside the output. A transport ignores what it has no place for. */
export interface ReplyNotes {
  /** An HTTP status, e.g. 201. */
  status?: number;
  headers?: Record<string, string>;
  /** The content type of a reply that is bytes or a stream. */
  contentType?: string;
}

export interface InvokeOptions {
  /** Limited by the time that the invoking call has left. */
  readonly timeoutMs?: number;
  /** Which handler to run, for a service with a handler for each verb. Default: the verb of the invoking call. */
  readonly verb?: string;
}

/** Options of a durable call. */
export interface DurableOptions {
  /** Attempts in all, including the first. Default: 10. */
  readonly attempts?: number;
  /** Wait before the second attempt; it doubles with each further one. Default: 1000. */
  readonly backoffMs?: number;
  /** Default: 5 minutes. */
  readonly maxBackoffMs?: number;
  /** The call is not started before this time has passed. Default: 0. */
  readonly afterMs?: number;
  /**
   * Deduplicates: of all calls of one service with the same key only the first is kept, as long as it is in the
   * history. At most 200 characters. Default: no deduplication.
   */
  readonly key?: string;
}

export interface AsyncOptions extends InvokeOptions {
  readonly callback?: Target | undefined;
  /**
   * Stores the call in the database before the promise resolves. Some server runs it at least once, and again after
   * failures and crashes. A call whose attempts are used up is listed as dead. Needs the scheduler; the input must be
   * JSON.
   */
  readonly durable?: boolean | DurableOptions | undefined;
}

export interface RetryOptions extends InvokeOptions {
  /** Attempts in all, including the first. Default: 3. */
  readonly attempts?: number;
  /** Wait before the second attempt; it doubles with each further one. Default: 100. */
  readonly backoffMs?: number;
  readonly maxBackoffMs?: number;
  /** Whether to try again after a failure. Default: after those of kind busy, unavailable and timeout. */
  readonly when?: (error: GantryError) => boolean;
}

/** One of several invocations that were made together. */
export type Outcome<T = unknown> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: GantryError };

/** Types of services by name, filled by declaration merging. Input and output of an unlisted name are `unknown`. */
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
  /** Returns the token of a durable call; undefined for any other. */
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
/** Safe methods (RFC 9110, 9.2.1). */
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE']);

/** One message being handled. It is the only object that the core allocates for it. */
export class Call {
  readonly cid: string;
  /** The channel that it came through. */
  readonly channel: string;
  /** What the transport knows. */
  readonly message: Message;
  /** Decoded and validated. */
  input: unknown = undefined;
  identity: Identity | null = null;
  /** The shared security definition that let the caller in; null if the channel has its own or none. */
  security: string | null = null;
  /** The format that the caller chose for the reply; null if it chose none. */
  encoder: Encoder | null = null;
  /** The job firing or durable call that the scheduler runs; null for any other call. */
  firing: Firing | null = null;
  /** On the clock of `performance.now()`. */
  deadlineAt = Number.POSITIVE_INFINITY;
  /** The work that still runs after the call timed out. */
  late: Promise<unknown> | null = null;
  /** Set by the dispatch; null until the call runs. */
  invoker: Invoker | null = null;
  /** The call that invoked this one, or null. */
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
  /**
   * Selects the handler of a service with verbs: the verb that the invoking service chose, else the message's method.
   */
  get verb(): string | undefined {
    return this.#verb ?? this.message.method;
  }
  get path(): string | undefined {
    return this.message.path;
  }
  get remote(): string | undefined {
    return this.message.remote;
  }

  /** Whether its method is safe (RFC 9110, 9.2.1): the caller asks for no change. */
  get isSafe(): boolean {
    return SAFE.has(this.message.method ?? '');
  }

  /**
   * Identifies the call and all its repeats, as 64 hex digits. It is a hash of the `Idempotency-Key`, the channel and
   * the caller, so that the keys of two callers never collide; all callers of a channel without a guard count as one.
   * For a run of the scheduler it identifies all attempts. Null if there is no key, the channel ignores it, or the call
   * is safe. Throws INPUT_INVALID for a malformed key.
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
    // Not cached before the guard has run: the caller is not known yet.
    if (this.identity !== null) this.#idempotencyKey = key;
    return key;
  }
  /** Called by a channel that ignores idempotency keys: from then on `idempotencyKey` is null. */
  ignoreKey(): void {
    this.#idempotencyKey = null;
  }

  /** A logger whose lines carry the call's id and channel. */
  get log(): Logger {
    if (this.#log !== null) return this.#log;
    if (this.invoker === null) throw new GantryError('SERVICE_FAILED', 'A call has a logger only while it runs');
    return (this.#log = this.invoker.log.child({ cid: this.cid, channel: this.channel }));
  }

  /** Status, headers and content type of the reply, to be set by the service. Transports without them ignore them. */
  get reply(): ReplyNotes {
    return (this.#notes ??= {});
  }
  /** What the service set on `reply`; null if it did not use it. */
  get notes(): ReplyNotes | null {
    return this.#notes;
  }

  /** Aborts when the call times out, its caller disconnects, or its parent is aborted. Made on first use. */
  get signal(): AbortSignal {
    if (this.#abort === null) {
      this.#abort = new AbortController();
      // Each send and invocation in flight adds a listener; many of them are no leak, so Node must not warn.
      setMaxListeners(0, this.#abort.signal);
      if (this.#reason !== undefined) this.#abort.abort(this.#reason);
    }
    return this.#abort.signal;
  }
  get aborted(): boolean {
    return this.#reason !== undefined;
  }
  /** Time until the deadline; Infinity without one. */
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

  /**
   * Cheaper than a listener on the signal. The listener is not called if the call was aborted already. Returns a
   * function that removes it.
   */
  onAbort(listener: () => void): () => void {
    const listeners = (this.#listeners ??= new Set());
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }

  /** A call on behalf of this one, with the same id, caller, message and deadline. */
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
  /** To be called when the child has ended. */
  release(child: Call): void {
    this.#children?.delete(child);
  }

  /** Runs another service and waits for its output. Rejects with its error, or CALL_TIMEOUT. */
  invoke<const T extends Target>(target: T, input: InputOf<T>, options: InvokeOptions = {}): Promise<OutputOf<T>> {
    return this.#running().invoke(target, input, this, options) as Promise<OutputOf<T>>;
  }
  /**
   * Runs another service and does not wait; a failure is logged. `callback` gets `{ cid, service, ok, value | error }`.
   * With `durable` it returns a promise of the call's token, which resolves once the call is stored. If it rejects, the
   * call may not be stored.
   */
  invokeAsync<const T extends Target, const O extends AsyncOptions = AsyncOptions>(
    target: T,
    input: InputOf<T>,
    options?: O,
  ): O extends { readonly durable: true | DurableOptions } ? Promise<string> : void {
    return this.#running().invokeAsync(target, input, this, options ?? {}) as never;
  }
  /** Runs several services at once and waits for all. The outcomes are in the order of the work. */
  parallel(work: readonly Work[], options: InvokeOptions = {}): Promise<Outcome[]> {
    return this.#running().parallel(work, this, options);
  }
  /** Runs several services at once and does not wait. `onEach` is invoked with each outcome, `onFinal` with all. */
  fanOut(work: readonly Work[], options: InvokeOptions & { onEach?: Target; onFinal?: Target }): void {
    this.#running().fanOut(work, this, options);
  }
  /** Like invoke(), and tries again with exponential back-off after a failure that may be temporary. */
  retry<const T extends Target>(target: T, input: InputOf<T>, options: RetryOptions = {}): Promise<OutputOf<T>> {
    return this.#running().retry(target, input, this, options) as Promise<OutputOf<T>>;
  }

  #running(): Invoker {
    if (this.invoker !== null) return this.invoker;
    throw new GantryError('SERVICE_FAILED', 'A call can invoke services only while it runs');
  }
}

/** draft-ietf-httpapi-idempotency-key-header defines a quoted string (RFC 8941); most callers omit the quotes. */
function keyOf(given: string | readonly string[]): string {
  const text = typeof given === 'string' ? given.trim() : '';
  const key = /^"(.*)"$/.exec(text)?.[1] ?? text;
  if (key.length > 0 && key.length <= LONGEST_KEY && /^[\x20-\x7e]+$/.test(key)) return key;
  throw new GantryError('INPUT_INVALID', `Idempotency-Key must be one text of 1 to ${LONGEST_KEY} ASCII characters`);
}
