import type { Call } from '../../core/api.ts';
import type { Outgoing } from '../../core/ports/index.ts';
import { unsendable } from './outgoing-errors.ts';
import type { RestOptions } from './outgoing-options.ts';

export type SentHeaders = Record<string, string>;

/** Belong to one socket, not to a message (RFC 9110, 7.6.1), or are worked out from the body. */
const OWN = new Set([
  'connection',
  'content-length',
  'expect',
  'host',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** All that a request takes along to another origin: nothing that might be a credential. */
const HARMLESS = new Set([
  'accept',
  'accept-encoding',
  'accept-language',
  'content-language',
  'content-type',
  'idempotency-key',
  'traceparent',
  'tracestate',
  'user-agent',
  'x-correlation-id',
]);

/** RFC 9110, 5.6.2. */
export function isHeaderName(name: string): boolean {
  return /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(name);
}
/** RFC 9110, 5.5: no CR, LF or NUL, so that a value cannot become a second header. */
export function isHeaderValue(value: string): boolean {
  return !/[^\t -~\x80-\xff]/.test(value);
}

/** Puts together the headers of each message of one connection, lower case. */
export class HeaderMaker {
  readonly #connection: string;
  readonly #defaults: SentHeaders;
  readonly #security: RestOptions['security'];

  constructor(connection: string, options: RestOptions, accept: string) {
    this.#connection = connection;
    this.#security = options.security;
    this.#defaults = { accept, 'user-agent': 'gantry' };
    if (options.compress) this.#defaults['accept-encoding'] = 'gzip, br';
    for (const [name, value] of Object.entries(options.headers)) this.#defaults[name.toLowerCase()] = value;
  }

  /** Of the call only its id and trace go along: whoever called us has no business with the other side. */
  make(message: Outgoing, call: Call | undefined, streamed: boolean): SentHeaders {
    const made = { ...this.#defaults };
    if (call !== undefined) carry(made, call);
    for (const [name, value] of Object.entries(message.headers ?? {})) {
      if (value === undefined) continue;
      const key = name.toLowerCase();
      this.#check(name, key, value, streamed);
      made[key] = value;
    }
    return this.#secure(made);
  }

  /** For a request that is made for the connection itself. */
  plain(): SentHeaders {
    return this.#secure({ ...this.#defaults });
  }

  #check(name: string, key: string, value: unknown, streamed: boolean): void {
    const refuse = (hint: string) => unsendable(this.#connection, `Header '${shown(name)}' ${hint}`);
    if (!isHeaderName(name)) throw refuse('is not a header name (RFC 9110, 5.1).');
    if (OWN.has(key) && !(key === 'content-length' && streamed)) throw refuse('is not for a message to set.');
    if (typeof value !== 'string') throw refuse(`must be a string, and is ${value === null ? 'null' : typeof value}.`);
    if (!isHeaderValue(value)) throw refuse('has a line break or another character that no header can have.');
    if (key === 'content-length' && !/^\d{1,15}$/.test(value)) throw refuse('must be a number of bytes.');
  }

  #secure(made: SentHeaders): SentHeaders {
    const security = this.#security;
    if (security?.kind === 'basic') {
      const pair = Buffer.from(`${security.username}:${security.password.reveal()}`).toString('base64');
      made['authorization'] = `Basic ${pair}`;
    } else if (security?.kind === 'bearer') {
      made['authorization'] = `Bearer ${security.token.reveal()}`;
    } else if (security?.kind === 'apikey') {
      made[security.header.toLowerCase()] = security.key.reveal();
    }
    return made;
  }
}

/** What may be shown to an origin that is not the connection's own. */
export function harmless(headers: SentHeaders): SentHeaders {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => HARMLESS.has(name)));
}

function carry(made: SentHeaders, { cid, message }: Call): void {
  // The id may come from a transport where any text is allowed.
  made['x-correlation-id'] = cid.replace(/[^\t -~\x80-\xff]/g, '?');
  const { traceparent, tracestate } = message;
  if (traceparent === undefined || !isHeaderValue(traceparent)) return;
  made['traceparent'] = traceparent;
  if (tracestate !== undefined && isHeaderValue(tracestate)) made['tracestate'] = tracestate;
}

function shown(name: string): string {
  return JSON.stringify(name.slice(0, 60)).slice(1, -1);
}
