import type { TSchema } from 'typebox';
import type { Call, Reply } from '../call.ts';
import type { Codec } from './codec.ts';

/** Carries messages between the outside and the server: in through channels, out through connections. */
export interface Transport {
  readonly supports: TransportSupports;
  /** Schema of a channel's `address` here: what no two channels can share, e.g. `{ method, path }` or `{ queue }`. */
  readonly address?: TSchema;
  /** Schema of a channel's `settings` here: how it behaves at that address. */
  readonly settings?: TSchema;
  /** Routes what arrives at `channel.address` to `channel.run`. Sync, no I/O; works before and after start(). */
  bind?(channel: Channel): void;
  unbind?(channel: Channel): void;
  /**
   * An address as texts, of which no two channels may have the same: equal exactly where bind() would refuse the second.
   * The ODB holds them apart for the whole cluster. `verbs` are those of the service. Absent: the address itself, as JSON.
   */
  claims?(address: Readonly<Record<string, unknown>>, verbs: Contract['verbs']): readonly string[];
  /** Schema of an outgoing connection's `options` here. */
  readonly options?: TSchema;
  /** What the schema of the options cannot see. Throws CONNECTION_INVALID; no I/O. */
  checkOptions?(name: string, options: Readonly<Record<string, unknown>>): void;
  /** Opens an outgoing connection. Resolves once it can send; rejects with OUTGOING_UNAVAILABLE to be tried again. */
  connect?(name: string, options: Readonly<Record<string, unknown>>, events: ConnectionEvents): Promise<Connection>;
  /** Where callers find its channels, for the start message. */
  endpoints?(): readonly Endpoint[];
}

export interface Endpoint {
  readonly channel: string;
  /** E.g. `POST http://127.0.0.1:11223/demo/hello`. */
  readonly address: string;
  /** A command that calls it, where the service has an example of its input. */
  readonly example?: string;
}

/** A bound address. The transport calls `run`, and that is all that it must know. */
export interface Channel {
  readonly name: string;
  readonly address: Readonly<Record<string, unknown>>;
  readonly settings: Readonly<Record<string, unknown>>;
  /** The format of the channel where a message does not name its own. */
  readonly codec: Codec;
  /** The formats that a message may name, the channel's own first. */
  readonly codecs: readonly Codec[];
  /** What the service takes and gives; changes in place when it is deployed again. */
  readonly contract: Contract;
  readonly timeoutMs: number;
  /** Never rejects. */
  run(call: Call): Promise<Reply>;
}

/** The side of a service that transports may look at. */
export interface Contract {
  readonly name: string;
  /** 'stream' and 'bytes' services take the body as it comes, undecoded. */
  readonly input: 'value' | 'bytes' | 'stream';
  /** 'stream' and 'bytes' services give what is sent as it is, whatever format the caller asks for. */
  readonly gives: 'value' | 'bytes' | 'stream';
  /** HTTP methods or a transport's own verbs, lower case, for a service with a handler for each; else null. */
  readonly verbs: readonly string[] | null;
  /** The first of the input schema's `examples`. */
  readonly example: unknown;
  /** Turns strings into the types that the input schema declares; leaves alone what does not fit. */
  coerce(value: unknown): unknown;
}

/** A live outgoing connection. */
export interface Connection {
  /** Rejects with a GantryError whose `retryable` tells whether trying again may help. */
  send(message: Outgoing, call?: Call): Promise<unknown>;
  /** Asks the other side whether it is there. */
  ping(): Promise<void>;
  close(): Promise<void>;
}

/** What a service holds: stays the same object while the connection behind it comes and goes. */
export interface Outlet {
  readonly name: string;
  readonly transport: string;
  readonly up: boolean;
  /** Rejects with OUTGOING_UNAVAILABLE while the connection is down. `call` lends its id, trace, signal and deadline. */
  send<T = unknown>(message: Outgoing, call?: Call): Promise<T>;
  ping(): Promise<void>;
}

/** The outgoing connections, as services see them. */
export interface Outlets {
  /** Throws CONNECTION_NOT_FOUND, with the nearest name. */
  get(name: string): Outlet;
  find(name: string): Outlet | null;
  list(): readonly Outlet[];
}

/** One message to another system. What `to` and `headers` mean is the transport's; `body` is a value to encode. */
export interface Outgoing {
  readonly to?: Readonly<Record<string, unknown>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  readonly timeoutMs?: number;
}

/** What a connection tells the core about itself. */
export interface ConnectionEvents {
  /** It will not work any more: the core closes it and opens it again, with back-off. */
  lost(reason: unknown): void;
}

/** What the transport kit may expect. A false is a promise not made, never a test failed. */
export interface TransportSupports {
  /** Answers the caller. */
  readonly reply: boolean;
  readonly headers: boolean;
  readonly largeBody: boolean;
  readonly streams?: boolean;
  readonly ordered?: boolean;
  readonly redelivers?: boolean;
}
