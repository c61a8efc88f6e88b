import type { Readable } from 'node:stream';
import type { TSchema } from 'typebox';
import { Type } from 'typebox';
import type { Call } from './call.ts';
import { type ErrorKind, type ErrorOptions, GantryError } from './errors.ts';

export type Handler<I = unknown, O = unknown> = (input: I, call: Call) => O | Promise<O>;

/** One handler, or one for each of a transport's verbs (for REST the method, lower case). */
export type Handlers<I, O> = Handler<I, O> | Readonly<Record<string, Handler<I, O>>>;

/** A service's own errors: code -> what it means. */
export type ErrorTable = Readonly<Record<string, { readonly kind: ErrorKind; readonly description?: string }>>;
export type Raise<E extends ErrorTable> = {
  readonly [C in keyof E]: (message: string, options?: Omit<ErrorOptions, 'kind'>) => GantryError;
};

/** The names of the deployed services, for services. */
export interface ServiceNames {
  has(name: string): boolean;
  /** In alphabetical order. */
  names(): readonly string[];
  /** The definition of a deployed service; null if there is none. */
  find(name: string): Service | null;
}

/** A service, whatever its types are. */
export interface Service {
  readonly name?: string;
  readonly description?: string;
  readonly input: TSchema;
  readonly output: TSchema;
  readonly errors?: ErrorTable;
  readonly attributes?: Readonly<Record<string, unknown>>;
  readonly timeoutMs?: number;
  selfTest?(run: (input: unknown, options?: { readonly verb?: string }) => Promise<unknown>): void | Promise<void>;
  /** Called once per deploy with what the server has; the handlers that it returns run per call. */
  create(deps: never): Handlers<unknown, unknown>;
}

/** The brand by which the loader recognises a service. */
export const SERVICE = Symbol.for('gantry.service');

export function isService(value: unknown): value is Service {
  return typeof value === 'object' && value !== null && (value as { [SERVICE]?: unknown })[SERVICE] === true;
}

/** As input, the body as a decompressed stream. As output, a stream to send. */
export const Stream = Type.Unsafe<Readable>({ content: 'stream' });
/** As input, the body without decoding. As output, bytes to send as they are. */
export const Bytes = Type.Unsafe<Uint8Array>({ content: 'bytes' });

export function contentOf(schema: TSchema): 'value' | 'bytes' | 'stream' {
  return (schema as { content?: 'bytes' | 'stream' }).content ?? 'value';
}

/** Makes the functions that create a service's declared errors. */
export function raise(table: ErrorTable = {}): Raise<ErrorTable> {
  const make =
    (code: string, kind: ErrorKind) =>
    (message: string, options: object = {}) =>
      new GantryError(code, message, { ...options, kind });
  return Object.fromEntries(Object.entries(table).map(([code, { kind }]) => [code, make(code, kind)]));
}

/** Makes services that depend on what is loaded. Called once per deploy. */
export type MakeServices = (deps: never) => readonly Service[];
export const SERVICES = Symbol.for('gantry.services');

export function isServicesMaker(value: unknown): value is MakeServices {
  return typeof value === 'function' && (value as { [SERVICES]?: unknown })[SERVICES] === true;
}
