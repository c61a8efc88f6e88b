import { Readable } from 'node:stream';
import type { Agent, Dispatcher, Pool } from 'undici';
import { backoffMs, type Call, GantryError, isGantryError, type Logger, toGantryError } from '../../core/api.ts';
import type { Codec, Connection, Outgoing } from '../../core/ports/index.ts';
import { checkOptions, secureOptions } from './outgoing-check.ts';
import { isCertificate, type Place, unavailable, unreadable, unsendable } from './outgoing-errors.ts';
import { type AnswerHeaders, Exchange, type Fate, type Order, type Raw } from './outgoing-exchange.ts';
import { Formats } from './outgoing-formats.ts';
import { HeaderMaker, harmless } from './outgoing-headers.ts';
import { RestOptions } from './outgoing-options.ts';
import { header, ReplyReader, type RestAnswer, rejected, retryAfter } from './outgoing-reply.ts';
import { type Address, Addresser, content, isStream } from './outgoing-request.ts';
import { Time } from './outgoing-time.ts';

export type { RestAnswer } from './outgoing-reply.ts';
export type { RestTarget } from './outgoing-request.ts';
export { RestOptions };

export interface RestParts {
  readonly codecs: ReadonlyMap<string, Codec>;
  readonly log: Logger;
}

interface ConnectionParts extends RestParts {
  readonly undici: Pick<typeof import('undici'), 'Agent' | 'Pool'>;
}

/** RFC 9110, 9.2.2: twice is as good as once. */
const IDEMPOTENT = new Set(['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS']);
const PING_MS = 5000;

/**
 * A client of one REST system. Nothing is connected yet, since HTTP connects on demand.
 * Rejects with CONNECTION_INVALID where the URL, a header, the format or the TLS material is of no use.
 */
export async function connect(name: string, options: RestOptions, parts: RestParts): Promise<Connection> {
  const url = checkOptions(name, options, parts.codecs);
  if (options.tls?.rejectUnauthorized === false) {
    parts.log.warn({ connection: name, url: url.origin }, 'a connection trusts any certificate');
  }
  // Here, since most processes open no connection, and it takes long to load.
  const undici = await import('undici');
  try {
    return new RestConnection(name, url, options, { ...parts, undici });
  } catch (cause) {
    const { hint } = toGantryError(cause);
    const problems = [{ path: `connection '${name}'.options.ping`, message: 'is not a request that can be sent' }];
    throw new GantryError('CONNECTION_INVALID', `Connection '${name}' is not valid: options.ping cannot be sent`, {
      problems,
      cause,
      ...(hint === undefined ? {} : { hint }),
    });
  }
}

/** One message on its way, through all of its tries and redirects. */
interface Trip {
  readonly place: Place;
  readonly address: Address;
  readonly time: Time;
  /** Tries that are left, the next one included. */
  tries: number;
}

class RestConnection implements Connection {
  readonly #name: string;
  readonly #url: URL;
  readonly #options: RestOptions;
  readonly #log: Logger;
  readonly #formats: Formats;
  readonly #addresses: Addresser;
  readonly #headers: HeaderMaker;
  readonly #replies: ReplyReader;
  readonly #retried: ReadonlySet<number>;
  readonly #ping: Address;
  readonly #undici: ConnectionParts['undici'];
  readonly #pool: Pool;
  /** For redirects that lead away: it has no client certificate. Made on first use. */
  #strangers: Agent | null = null;
  #inHand = 0;
  #closed: Promise<void> | null = null;
  #empty: () => void = () => {};

  constructor(name: string, url: URL, options: RestOptions, { codecs, log, undici }: ConnectionParts) {
    this.#name = name;
    this.#url = url;
    this.#options = options;
    this.#log = log;
    this.#formats = new Formats(codecs, codecs.get(options.format) as Codec);
    this.#addresses = new Addresser(name, url, options);
    this.#headers = new HeaderMaker(name, options, `${this.#formats.fallback.contentTypes[0]}, */*;q=0.1`);
    this.#replies = new ReplyReader(this.#formats, options.maxReplyBytes);
    this.#ping = this.#addresses.read({ method: options.ping.method, path: options.ping.path });
    this.#retried = new Set(options.retry.statuses);
    this.#undici = undici;
    this.#pool = new undici.Pool(url.origin, {
      ...this.#sockets(),
      connect: this.#socketOptions(secureOptions(options.tls)),
    });
  }

  async send(message: Outgoing, call?: Call): Promise<RestAnswer> {
    try {
      return await this.#send(message, call);
    } catch (error) {
      // Nobody will read it any more.
      if (isStream(message.body)) message.body.destroy();
      throw error;
    }
  }

  async #send(message: Outgoing, call: Call | undefined): Promise<RestAnswer> {
    const { body } = message;
    const address = this.#addresses.read(message.to, body !== undefined && body !== null);
    const place = { connection: this.#name, request: address.label };
    const order = this.#order(message, call, address, place);
    const time = this.#enter(place, this.#limitMs(message, call), call);
    let stream: Readable | null = null;
    try {
      const raw = await this.#follow(order, { place, address, time, tries: this.#options.retry.attempts });
      if (!wanted(raw.status, address)) throw await this.#replies.refusal(place, raw);
      if (raw.body instanceof Readable) stream = raw.body;
      return await this.#replies.read(place, raw);
    } catch (error) {
      stream?.destroy();
      throw error;
    } finally {
      // A streamed reply is in hand until it is read.
      if (stream === null || stream.closed) this.#leave(time);
      else stream.once('close', () => this.#leave(time));
    }
  }

  /** Rejects with OUTGOING_UNAVAILABLE, whatever went wrong. */
  async ping(): Promise<void> {
    const { statuses } = this.#options.ping;
    const { method, path, label } = this.#ping;
    const place = { connection: this.#name, request: `${label} (ping)` };
    const order = { ...this.#home(place), method, path, headers: this.#headers.plain(), body: null };
    const time = this.#enter(place, Math.min(PING_MS, this.#options.timeoutMs), undefined);
    try {
      const { status } = await this.#exchange(order, time, () => 'spare').answered;
      if (statuses === undefined ? status >= 500 : !statuses.includes(status)) {
        throw unavailable(place, `was answered ${status}.`);
      }
    } catch (error) {
      const ours = isGantryError(error) && error.code === 'OUTGOING_UNAVAILABLE';
      throw ours ? error : unavailable(place, 'failed.', error);
    } finally {
      this.#leave(time);
    }
  }

  /** Waits for the messages in hand, which end by their deadlines, streamed replies too; takes no new ones. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    if (this.#inHand > 0) await new Promise<void>((resolve) => (this.#empty = resolve));
    await Promise.all([this.#pool.destroy(), this.#strangers?.destroy()]);
  }

  #enter(place: Place, limitMs: number, call: Call | undefined): Time {
    if (this.#closed !== null) throw unavailable(place, 'was not sent: the connection is closed.');
    const time = new Time(place, limitMs, call);
    this.#inHand++;
    return time;
  }
  #leave(time: Time): void {
    time.stop();
    if (--this.#inHand === 0) this.#empty();
  }

  #limitMs(message: Outgoing, call: Call | undefined): number {
    const { timeoutMs = Number.POSITIVE_INFINITY } = message;
    if (!(timeoutMs > 0)) throw unsendable(this.#name, "'timeoutMs' must be more than 0.");
    return Math.min(timeoutMs, this.#options.timeoutMs, call?.remainingMs ?? Number.POSITIVE_INFINITY);
  }

  #order(message: Outgoing, call: Call | undefined, address: Address, place: Place): Order {
    const headers = this.#headers.make(message, call, isStream(message.body));
    const { body, type } = content(this.#name, message, givenType(message), this.#formats);
    if (type !== null) headers['content-type'] ??= type;
    return { ...this.#home(place), method: address.method, path: address.path, headers, body };
  }

  #home(place: Place): Pick<Order, 'place' | 'dispatcher' | 'origin'> {
    return { place, dispatcher: this.#pool, origin: this.#url.origin };
  }

  async #follow(first: Order, trip: Trip): Promise<Raw> {
    const { followRedirects } = this.#options;
    let order = first;
    for (let hops = 0; ; hops++) {
      const raw = await this.#deliver(order, trip);
      if (!this.#follows(raw.status, raw.headers, trip.address)) return raw;
      const answer = { status: raw.status, headers: raw.headers, body: null };
      if (hops === followRedirects) {
        throw rejected(trip.place, `was redirected more than ${followRedirects} times (followRedirects).`, answer);
      }
      order = this.#redirected(order, raw, trip.place, answer);
    }
  }

  #follows(status: number, headers: AnswerHeaders, { accept }: Address): boolean {
    const { followRedirects } = this.#options;
    return (
      followRedirects > 0 && REDIRECTS.has(status) && headers['location'] !== undefined && !accept.includes(status)
    );
  }

  /** Sends until there is an answer that is worth having, or no use in trying again. */
  async #deliver(order: Order, trip: Trip): Promise<Raw> {
    const { time } = trip;
    const { retry } = this.#options;
    const repeatable = IDEMPOTENT.has(order.method) || order.headers['idempotency-key'] !== undefined;
    const fate = (status: number, headers: AnswerHeaders): Fate => {
      if (!wanted(status, trip.address) || this.#follows(status, headers, trip.address)) return 'spare';
      return trip.address.stream ? 'stream' : 'read';
    };
    for (let attempt = 1; ; attempt++) {
      const exchange = this.#exchange(order, time, fate);
      let raw: Raw | null = null;
      let error: unknown = null;
      let safe: boolean;
      try {
        raw = await exchange.answered;
        if (!this.#retried.has(raw.status) || wanted(raw.status, trip.address)) return raw;
        // A server that says when to come back has not done the work.
        safe = [429, 503].includes(raw.status) && retryAfter(raw.headers) !== undefined;
      } catch (thrown) {
        error = thrown;
        if (time.ended !== null || !mayPass(thrown)) throw thrown;
        safe = !exchange.sent;
      }
      const waitMs = Math.max(backoffMs(attempt, retry), (raw === null ? undefined : retryAfter(raw.headers)) ?? 0);
      const again = --trip.tries > 0 && (safe || repeatable) && !isStream(order.body) && waitMs < time.leftMs;
      if (!again) {
        if (raw !== null) return raw;
        throw error;
      }
      this.#log.debug(
        { connection: this.#name, attempt, waitMs, status: raw?.status, error },
        'a message is sent again',
      );
      await time.pause(waitMs);
    }
  }

  #exchange(order: Order, time: Time, fate: (status: number, headers: AnswerHeaders) => Fate): Exchange {
    const { maxReplyBytes: maxBytes, headersTimeoutMs } = this.#options;
    return new Exchange(order, { time, headersTimeoutMs, maxBytes, fate });
  }

  /** RFC 9110, 15.4. Throws where the redirect cannot or should not be followed. */
  #redirected(order: Order, { status, headers }: Raw, place: Place, answer: RestAnswer): Order {
    const location = header(headers, 'location');
    const here = `${order.origin}${order.path}`;
    if (!URL.canParse(location, here)) throw unreadable(place, 'was redirected to something that is not a URL.');
    const to = new URL(location, here);
    if (to.protocol !== 'https:' && to.protocol !== new URL(order.origin).protocol) {
      throw rejected(place, `was redirected from https to ${to.protocol}, and that is not followed.`, answer);
    }
    const away = to.origin !== this.#url.origin || order.dispatcher !== this.#pool;
    const asGet = (status === 303 && order.method !== 'HEAD') || (status < 303 && order.method === 'POST');
    if (!asGet && isStream(order.body)) {
      throw rejected(place, 'was redirected, and a streamed body cannot be sent a second time.', answer);
    }
    const kept = away ? harmless(order.headers) : order.headers;
    return {
      place,
      dispatcher: away ? this.#away() : this.#pool,
      origin: to.origin,
      method: asGet ? 'GET' : order.method,
      path: to.pathname + to.search,
      headers: asGet ? withoutContent(kept) : kept,
      body: asGet ? null : order.body,
    };
  }

  #away(): Dispatcher {
    const { ca, rejectUnauthorized } = this.#options.tls ?? {};
    const tls = {
      ...(ca === undefined ? {} : { ca }),
      ...(rejectUnauthorized === false ? { rejectUnauthorized } : {}),
    };
    this.#strangers ??= new this.#undici.Agent({ ...this.#sockets(), connect: this.#socketOptions(tls) });
    return this.#strangers;
  }

  /** One message each at a time: with pipelining, the failure of one would be the failure of those behind it. */
  #sockets(): Pool.Options {
    const { connections, keepAliveMs } = this.#options.pool;
    return { connections, pipelining: 1, keepAliveTimeout: keepAliveMs };
  }
  #socketOptions(tls: object): NonNullable<Pool.Options['connect']> {
    return { timeout: this.#options.connectTimeoutMs, ...tls };
  }
}

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

function wanted(status: number, { accept }: Address): boolean {
  return status < 400 || accept.includes(status);
}
/** Whether the failure of a try may be gone at the next one. */
function mayPass(thrown: unknown): boolean {
  return isGantryError(thrown) && thrown.retryable && !isCertificate(thrown);
}
function givenType({ headers = {} }: Outgoing): string | undefined {
  return Object.entries(headers).find(([name]) => name.toLowerCase() === 'content-type')?.[1];
}
function withoutContent(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith('content-')));
}
