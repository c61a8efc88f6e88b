import { type IncomingMessage, validateHeaderName, validateHeaderValue } from 'node:http';
import type { Readable } from 'node:stream';
import { type Call, GantryError, keyOf, type Message, type Reply, type Static, Type } from '../../core/api.ts';
import type { Channel, HttpHost, HttpReply } from '../../core/ports/index.ts';
import { type Pairs, parsePairs } from '../_form/pairs.ts';
import { hasBody, readBody, streamBody } from './body.ts';
import { type Cors, CorsSettings, compileCors, vary } from './cors.ts';
import { compress, compressStream, encodingFor, etagOf, isKnown, isWorth } from './encoding.ts';
import { Negotiation } from './negotiation.ts';

const METHOD = Type.String({ pattern: '^[A-Z][A-Z-]*$', description: 'Upper case' });

export const Address = Type.Object(
  {
    method: Type.Optional(
      Type.Union([METHOD, Type.Array(METHOD, { minItems: 1 })], {
        description: "Default: the service's own verbs, else POST. GET answers HEAD too",
      }),
    ),
    path: Type.String({ pattern: '^/', description: '/orders/{id}; a last segment {*rest} takes all that is left' }),
  },
  { additionalProperties: false },
);

const Source = Type.Union([Type.Literal('path'), Type.Literal('query'), Type.Literal('body')]);

export const Settings = Type.Object(
  {
    precedence: Type.Array(Source, {
      default: ['path', 'query', 'body'],
      minItems: 1,
      uniqueItems: true,
      description: 'Where input is taken from; of a name given twice, the first source wins. One left out is not read',
    }),
    maxBodyBytes: Type.Optional(
      Type.Integer({ minimum: 0, description: "After decompression. Default: the transport's" }),
    ),
    status: Type.Optional(
      Type.Integer({ minimum: 200, maximum: 299, description: 'Of a good reply; default 200 or 204' }),
    ),
    headers: Type.Record(Type.String(), Type.String(), { default: {}, description: 'Added to every reply' }),
    compress: Type.Boolean({
      default: true,
      description: 'gzip or br, where the caller accepts it and it is worth it',
    }),
    etag: Type.Boolean({
      default: false,
      description: 'ETag on replies to GET, 304 where the caller has them already',
    }),
    cors: Type.Optional(CorsSettings),
  },
  { additionalProperties: false },
);

/** Everything of one channel that is known before a request comes. */
export class Binding {
  readonly methods: readonly string[];
  readonly channel: Channel;
  readonly settings: Static<typeof Settings>;
  readonly maxBodyBytes: number;
  readonly formats: Negotiation;
  readonly cors: Cors | null;
  readonly http: HttpHost;
  /** Where input is taken from: which sources the settings name, and the path has parameters. */
  readonly takesBody: boolean;
  readonly takesQuery: boolean;
  readonly takesPath: boolean;
  readonly #fixed: readonly (readonly [string, string])[];

  constructor(channel: Channel, http: HttpHost, maxBodyBytes: number) {
    const { verbs } = channel.contract;
    this.channel = channel;
    this.http = http;
    this.settings = channel.settings as Static<typeof Settings>;
    const { precedence } = this.settings;
    this.takesBody = precedence.includes('body');
    this.takesQuery = precedence.includes('query');
    this.takesPath = precedence.includes('path') && (channel.address as Static<typeof Address>).path.includes('{');
    this.maxBodyBytes = this.settings.maxBodyBytes ?? maxBodyBytes;
    this.methods = methodsOf(channel.address, verbs);
    const unhandled = verbs === null ? [] : this.methods.filter((m) => !verbs.includes(m.toLowerCase()));
    if (unhandled.length > 0) {
      throw new GantryError(
        'CHANNEL_INVALID',
        `Channel '${channel.name}' takes ${unhandled.join(', ')}, its service does not`,
        {
          hint: `'${channel.contract.name}' handles ${(verbs ?? []).join(', ').toUpperCase()}.`,
        },
      );
    }
    this.formats = new Negotiation(channel.codecs);
    this.cors = this.settings.cors === undefined ? null : compileCors(this.settings.cors, this.methods, channel.name);
    this.#fixed = fixed(this.settings.headers ?? {}, channel.name);
  }

  /** Hot. A reply as HTTP has it. */
  reply(req: IncomingMessage, call: Call, reply: Reply): HttpReply | Promise<HttpReply> {
    if (reply.error !== null) {
      const refused = this.http.refuse(reply.error, call.cid);
      for (const [name, value] of this.#fixed) refused.headers[name] ??= value;
      const replayed = call.notes?.headers?.['idempotency-replayed'];
      if (replayed !== undefined) refused.headers['idempotency-replayed'] = replayed;
      if (reply.error.code === 'METHOD_UNSUPPORTED') refused.headers['allow'] ??= this.methods.join(', ');
      if (this.cors !== null) this.cors.mark(req, refused.headers);
      return refused;
    }
    const { body } = reply;
    const { settings } = this;
    const notes = call.notes;
    const status = notes?.status ?? settings.status ?? (body === null ? 204 : 200);
    const headers: Record<string, string | string[]> = { 'x-correlation-id': call.cid };
    if (body !== null) headers['content-type'] = reply.contentType;
    for (const [name, value] of this.#fixed) headers[name] = value;
    if (notes?.headers !== undefined) {
      for (const [name, value] of Object.entries(notes.headers)) {
        // The framing is the host's: a second length would let one reply pass for two.
        if (name.toLowerCase() !== 'transfer-encoding') headers[name.toLowerCase()] = value;
      }
    }
    if (this.cors !== null) this.cors.mark(req, headers);
    if (body === null) return { status, headers, body };
    // Only replies to these are kept by caches (RFC 9110, 12.5.5).
    if (isSafe(req) && this.channel.codecs.length > 1) vary(headers, 'accept');
    if (settings.etag && status === 200 && !isStream(body) && isSafe(req)) {
      const etag = (headers['etag'] as string | undefined) ?? etagOf(body);
      headers['etag'] = etag;
      if (isKnown(etag, req.headers['if-none-match'])) {
        // What the reply itself would say (RFC 9110, 15.4.5).
        if (settings.compress && isWorth(body)) vary(headers, 'accept-encoding');
        delete headers['content-type'];
        return { status: 304, headers, body: null };
      }
    }
    return settings.compress ? this.#packed(req, { status, headers, body }) : { status, headers, body };
  }

  #packed(req: IncomingMessage, reply: HttpReply): HttpReply | Promise<HttpReply> {
    const { status, headers } = reply;
    const body = reply.body as string | Uint8Array | Readable;
    const streams = isStream(body);
    if (!streams && !isWorth(body)) return reply;
    if (headers['content-encoding'] !== undefined) return reply;
    vary(headers, 'accept-encoding');
    const encoding = encodingFor(req.headers['accept-encoding'] as string | undefined, String(headers['content-type']));
    if (encoding === null) return reply;
    headers['content-encoding'] = encoding;
    if (!streams) return compress(body, encoding).then((packed) => ({ status, headers, body: packed }));
    delete headers['content-length'];
    return { status, headers, body: compressStream(body, encoding) };
  }
}

const CID = /^[\x21-\x7e]{1,128}$/;
/** Version, trace id, parent id and flags, none of them all zero (W3C Trace Context, 3.2). */
const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:$|(?<!^00.{53})-)/;

/** One request as a call sees it. What few services look at is made when they do. */
export class RestMessage implements Message {
  readonly headers: IncomingMessage['headers'];
  readonly params: Readonly<Record<string, string>>;
  readonly #binding: Binding;
  readonly #req: IncomingMessage;
  #query: Pairs | null = null;
  /** The body of a stream service, once it was asked for. */
  upload: Readable | null = null;

  constructor(binding: Binding, req: IncomingMessage, params: Readonly<Record<string, string>>) {
    this.#binding = binding;
    this.#req = req;
    this.headers = req.headers;
    this.params = params;
  }

  get method(): string {
    return this.#req.method ?? 'GET';
  }
  get path(): string {
    const url = this.#req.url ?? '/';
    // Proxies may send the absolute form (RFC 9112, 3.2.2).
    const origin = url.startsWith('/') ? url : url.replace(/^[^:/?]+:\/\/[^/?]*/, '');
    const query = origin.indexOf('?');
    return (query === -1 ? origin : origin.slice(0, query)) || '/';
  }
  get query(): Pairs {
    if (this.#query === null) {
      const url = this.#req.url ?? '/';
      const at = url.indexOf('?');
      this.#query = at === -1 ? Object.create(null) : parsePairs(url.slice(at + 1));
    }
    return this.#query as Pairs;
  }
  get remote(): string {
    return this.#binding.http.origin(this.#req).address;
  }
  get cid(): string | undefined {
    const given = this.headers['x-correlation-id'];
    return typeof given === 'string' && CID.test(given) ? given : undefined;
  }
  get traceparent(): string | undefined {
    const given = this.headers['traceparent'];
    return typeof given === 'string' && TRACEPARENT.test(given) ? given : undefined;
  }
  get tracestate(): string | undefined {
    const given = this.headers['tracestate'];
    return this.traceparent === undefined || given === undefined ? undefined : String(given);
  }

  /** Hot. Body, query and path as one input. */
  read(call: Call): unknown {
    const binding = this.#binding;
    const { contract } = binding.channel;
    const accept = this.headers.accept;
    if (accept !== undefined && accept !== '*/*' && contract.gives === 'value')
      call.encoder = binding.formats.writer(accept);
    if (contract.input === 'stream') {
      this.upload = streamBody(this.#req, binding.settings.maxBodyBytes ?? Number.POSITIVE_INFINITY);
      return this.upload;
    }
    if (!hasBody(this.#req)) return contract.input === 'bytes' ? new Uint8Array(0) : this.#merged(undefined);
    if (contract.input === 'bytes') return readBody(this.#req, binding.maxBodyBytes, (raw) => raw);
    return binding.takesBody ? this.#decoded() : this.#merged(undefined);
  }

  #decoded(): Promise<unknown> {
    const { formats, channel, maxBodyBytes } = this.#binding;
    const contentType = this.headers['content-type'];
    // Before the body is read: what nobody can decode need not be sent.
    const reader = contentType === undefined ? null : formats.reader(contentType);
    const codec = reader === null ? channel.codec : reader.codec;
    return readBody(this.#req, maxBodyBytes, (raw) => {
      if (raw.length === 0) return this.#merged(undefined);
      const value = codec.decode(raw, reader === null ? '' : reader.parameters);
      return this.#merged(codec.typed ? value : channel.contract.coerce(value));
    });
  }

  #merged(body: unknown): unknown {
    const { takesPath, takesQuery, settings } = this.#binding;
    if (takesPath || (takesQuery && (this.#req.url ?? '').includes('?'))) {
      return this.#combined(body, settings.precedence);
    }
    return body === undefined ? this.#nothing() : body;
  }

  /** An object of which nothing was given is an empty one: `/orders?page=2` and `/orders` differ by one property. */
  #nothing(): unknown {
    const empty = this.#binding.channel.contract.coerce('');
    return typeof empty === 'object' && !Array.isArray(empty) && empty !== null ? empty : undefined;
  }

  #combined(body: unknown, precedence: readonly string[]): unknown {
    const isRecord = typeof body === 'object' && body !== null && !Array.isArray(body);
    // A list or a single value has no names to merge with: it is the input, and the rest is in call.params and call.query.
    if (body !== undefined && !isRecord) return body;
    const { contract } = this.#binding.channel;
    const sources: Record<string, unknown> = {
      path: contract.coerce({ ...this.params }),
      query: contract.coerce({ ...this.query }),
      body: isRecord ? body : {},
    };
    const input: Record<string, unknown> = {};
    for (const source of [...precedence].reverse()) Object.assign(input, sources[source]);
    return input;
  }
}

/** Throws CHANNEL_INVALID for what HTTP does not allow in a header. */
function fixed(headers: Readonly<Record<string, string>>, owner: string): (readonly [string, string])[] {
  return Object.entries(headers).map(([name, value]) => {
    try {
      validateHeaderName(name);
      validateHeaderValue(name, value);
    } catch (cause) {
      throw new GantryError('CHANNEL_INVALID', `Channel '${owner}' has a header that HTTP does not allow`, {
        problems: [
          { path: `settings.headers${keyOf([name])}`, message: (cause as Error).message, got: value.slice(0, 40) },
        ],
        cause,
      });
    }
    return [name.toLowerCase(), value] as const;
  });
}

/** Also one of a package that brings its own stream classes. */
function isStream(body: string | Uint8Array | Readable): body is Readable {
  return typeof body !== 'string' && !(body instanceof Uint8Array);
}

function isSafe({ method }: IncomingMessage): boolean {
  return method === 'GET' || method === 'HEAD';
}

/** Upper case. */
export function methodsOf(address: Channel['address'], verbs: Channel['contract']['verbs']): string[] {
  const { method } = address as Static<typeof Address>;
  return method === undefined ? (verbs?.map((v) => v.toUpperCase()) ?? ['POST']) : [method].flat();
}
