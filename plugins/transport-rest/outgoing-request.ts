import type { Readable } from 'node:stream';
import { didYouMean } from '../../core/api.ts';
import { contentTypeOf } from '../../core/parts.ts';
import type { Outgoing } from '../../core/ports/index.ts';
import { unsendable } from './outgoing-errors.ts';
import type { Formats } from './outgoing-formats.ts';
import type { RestOptions } from './outgoing-options.ts';

/** What `to` of an outgoing message may hold. */
export interface RestTarget {
  readonly method?: string;
  /** Below the connection's URL; `{name}` is filled from `params`, percent-encoded. No query in it. */
  readonly path?: string;
  readonly params?: Readonly<Record<string, string | number | bigint | boolean>>;
  /** A list becomes a repeated key; null and undefined are left out. */
  readonly query?: Readonly<Record<string, QueryValue | readonly QueryValue[]>>;
  /** Statuses that resolve beside 2xx, e.g. 404. */
  readonly accept?: readonly number[];
  /** The reply's body as a Readable: not decoded, not limited, and destroyed when the time is up. */
  readonly stream?: boolean;
}
type QueryValue = string | number | bigint | boolean | null | undefined;

const KEYS = ['method', 'path', 'params', 'query', 'accept', 'stream'];

/** Where one message goes. */
export interface Address {
  readonly method: string;
  /** Encoded, with the query. */
  readonly path: string;
  /** For hints: method and path template. */
  readonly label: string;
  readonly accept: readonly number[];
  readonly stream: boolean;
}

export type SentBody = string | Uint8Array | Readable | null;

/** Reads `to` with the connection's defaults. */
export class Addresser {
  readonly #connection: string;
  readonly #options: RestOptions;
  readonly #prefix: string;

  constructor(connection: string, url: URL, options: RestOptions) {
    this.#connection = connection;
    this.#options = options;
    this.#prefix = url.pathname.replace(/\/$/, '');
  }

  /** Throws OUTGOING_MALFORMED, naming the key. */
  read(to: Outgoing['to'] = {}, hasBody = false): Address {
    for (const key of Object.keys(to)) {
      if (KEYS.includes(key)) continue;
      throw this.#refuse(`to.${key}`, `is not known. ${didYouMean(key, KEYS) || `Known: ${KEYS.join(', ')}.`}`);
    }
    const { path: own, accept = [], stream = false } = to;
    const template = own ?? this.#options.path ?? '';
    if (typeof template !== 'string') throw this.#refuse('to.path', 'must be a string.');
    if (typeof stream !== 'boolean') throw this.#refuse('to.stream', 'must be true or false.');
    if (!isStatusList(accept)) throw this.#refuse('to.accept', 'must be a list of statuses, e.g. [404].');
    const method = this.#method(to['method'] ?? this.#options.method ?? (hasBody ? 'POST' : 'GET'));
    const path = this.#path(template, this.#record('to.params', to['params']));
    const query = this.#query(this.#record('to.query', to['query']));
    return { method, path: path + query, label: `${method} ${template.slice(0, 200) || '/'}`, accept, stream };
  }

  #method(method: unknown): string {
    if (typeof method === 'string' && /^[A-Za-z][A-Za-z0-9-]{0,31}$/.test(method) && !/^connect$/i.test(method)) {
      return method.toUpperCase();
    }
    throw this.#refuse('to.method', "must be an HTTP method, e.g. 'GET'.");
  }

  #path(template: string, params: Readonly<Record<string, unknown>>): string {
    if (/[?#\\\p{Cc}]/u.test(template)) {
      throw this.#refuse('to.path', 'must have no ?, #, backslash or control character. Write the query in to.query.');
    }
    const used = new Set<string>();
    // split() with a group: what stands at the odd places are the names.
    const parts = template.split(/\{([^{}]*)\}/).map((part, i) => {
      if (i % 2 === 0) return this.#literal(part);
      used.add(part);
      return this.#param(part, params);
    });
    for (const key of Object.keys(params)) {
      if (used.has(key)) continue;
      throw this.#refuse(`to.params.${key}`, `has no place in the path. ${didYouMean(key, used)}`.trimEnd());
    }
    const joined = parts.join('');
    const path = `${this.#prefix}${joined === '' || joined.startsWith('/') ? '' : '/'}${joined}` || '/';
    if (path.split('/').some((segment) => /^(\.|%2e){1,2}$/i.test(segment))) {
      throw this.#refuse('to.path', "has a segment '.' or '..', which would lead elsewhere.");
    }
    return path;
  }

  #literal(text: string): string {
    if (/[{}]/.test(text)) throw this.#refuse('to.path', 'has a { or } without its other half.');
    return text.replace(/[^A-Za-z0-9\-._~!$&'()*+,;=:@/%]+/g, (piece) => this.#encode('to.path', piece));
  }

  #param(name: string, params: Readonly<Record<string, unknown>>): string {
    const at = `to.params.${name}`;
    const value = Object.hasOwn(params, name) ? params[name] : undefined;
    if (value === undefined || value === null) throw this.#refuse(at, `is missing: the path has {${name}}.`);
    if (!isScalar(value)) throw this.#refuse(at, 'must be a string, a number or a boolean.');
    // `/customers/{id}` with an empty id would be the address of all customers.
    if (value === '') throw this.#refuse(at, 'is empty, and the path would be another one.');
    return this.#encode(at, String(value));
  }

  #query(own: Readonly<Record<string, unknown>>): string {
    const pairs: string[] = [];
    for (const [key, value] of Object.entries({ ...this.#options.query, ...own })) {
      const at = `to.query.${key}`;
      for (const one of Array.isArray(value) ? value : [value]) {
        if (one === undefined || one === null) continue;
        if (!isScalar(one)) throw this.#refuse(at, 'must be a string, a number, a boolean, or a list of them.');
        pairs.push(`${this.#encode(at, key)}=${this.#encode(at, String(one))}`);
      }
    }
    return pairs.length === 0 ? '' : `?${pairs.join('&')}`;
  }

  #record(at: string, value: unknown): Readonly<Record<string, unknown>> {
    if (value === undefined) return {};
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
    throw this.#refuse(at, 'must be an object of names and values.');
  }

  #encode(at: string, text: string): string {
    try {
      return encodeURIComponent(text);
    } catch (cause) {
      throw this.#refuse(at, 'holds half of a surrogate pair, which UTF-8 cannot write.', cause);
    }
  }

  #refuse(key: string, hint: string, cause?: unknown) {
    return unsendable(this.#connection, `'${key}' ${hint}`, cause);
  }
}

/** The body as it is sent, and the content type of it where the message does not say. */
export function content(
  connection: string,
  message: Outgoing,
  declared: string | undefined,
  formats: Formats,
): { readonly body: SentBody; readonly type: string | null } {
  const { body } = message;
  if (body === undefined || body === null) return { body: null, type: null };
  if (typeof body === 'string') return { body, type: 'text/plain; charset=utf-8' };
  if (body instanceof Uint8Array || isStream(body)) return { body, type: 'application/octet-stream' };
  const codec = declared === undefined ? formats.fallback : formats.find(declared);
  if (codec === null) {
    throw unsendable(connection, "Header 'content-type' names a format that no loaded codec writes.");
  }
  try {
    return { body: codec.encode(body), type: contentTypeOf(codec) };
  } catch (cause) {
    throw unsendable(connection, `The body cannot be written as ${codec.contentTypes[0]}.`, cause);
  }
}

export function isStream(value: unknown): value is Readable {
  return typeof value === 'object' && value !== null && typeof (value as { pipe?: unknown }).pipe === 'function';
}

function isScalar(value: unknown): value is string | number | bigint | boolean {
  return ['string', 'number', 'bigint', 'boolean'].includes(typeof value);
}
function isStatusList(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every((s) => Number.isInteger(s) && s >= 200 && s <= 599);
}
