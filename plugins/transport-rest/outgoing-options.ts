import { SecretText, type Static, Type } from '../../core/api.ts';

const METHOD = '^[A-Za-z][A-Za-z0-9-]{0,31}$';
const DAY_MS = 86_400_000;

const Statuses = (description: string, options: { default?: number[] } = {}) =>
  Type.Array(Type.Integer({ minimum: 100, maximum: 599 }), { description, ...options });
const Count = (description: string, start: number, minimum: number, maximum: number) =>
  Type.Integer({ minimum, maximum, default: start, description });

const Security = Type.Union(
  [
    Type.Object(
      { kind: Type.Literal('none', { description: 'No credentials are sent' }) },
      { additionalProperties: false },
    ),
    Type.Object(
      {
        kind: Type.Literal('basic', { description: 'User name and password (RFC 7617)' }),
        username: Type.String({ pattern: '^[^:]+$', description: 'The user name; a colon is not allowed in it' }),
        password: SecretText({ description: 'The password' }),
      },
      { additionalProperties: false },
    ),
    Type.Object(
      {
        kind: Type.Literal('apikey', { description: 'A key in a header' }),
        header: Type.String({ minLength: 1, description: "The header that carries the key, e.g. 'x-api-key'" }),
        key: SecretText({ description: 'The key' }),
      },
      { additionalProperties: false },
    ),
    Type.Object(
      {
        kind: Type.Literal('bearer', { description: 'A bearer token (RFC 6750)' }),
        token: SecretText({ description: 'The token' }),
      },
      { additionalProperties: false },
    ),
  ],
  { description: 'How this server shows who it is. A message cannot replace the header that it sets' },
);

const Pool = Type.Object(
  {
    connections: Count('Most sockets at once; further messages wait for one', 32, 1, 10_000),
    keepAliveMs: Count('How long an idle socket is kept, where the other side names no time', 4000, 1, DAY_MS),
  },
  {
    additionalProperties: false,
    default: {},
    description: 'The sockets of this connection; one message each at a time',
  },
);

const Retry = Type.Object(
  {
    attempts: Count('Tries in all, the first one included; 1 never tries again', 3, 1, 100),
    backoffMs: Count('Wait before the second try; doubles with each', 100, 1, DAY_MS),
    maxBackoffMs: Count('Longest wait between two tries, but for a Retry-After', 10_000, 1, DAY_MS),
    statuses: Statuses('Answers that are worth another try', { default: [429, 502, 503, 504] }),
  },
  {
    additionalProperties: false,
    default: {},
    description:
      'A message that cannot have arrived is always tried again; one that may have arrived only where its method is ' +
      'idempotent (RFC 9110, 9.2.2) or it has an idempotency-key header; one with a streamed body never',
  },
);

const Tls = Type.Object(
  {
    ca: Type.Optional(Type.String({ description: 'PEM: the certificates to trust, instead of those of the system' })),
    cert: Type.Optional(Type.String({ description: 'PEM: the certificate that this server shows, with its chain' })),
    key: Type.Optional(SecretText({ description: 'PEM: the private key of that certificate' })),
    servername: Type.Optional(
      Type.String({ description: 'The name that the certificate must carry, where it is not the one in the URL' }),
    ),
    rejectUnauthorized: Type.Boolean({
      default: true,
      description: 'False takes any certificate: the other side may then be anybody',
    }),
  },
  { additionalProperties: false, description: 'For https' },
);

const Ping = Type.Object(
  {
    method: Type.String({ pattern: METHOD, default: 'HEAD', description: 'The method of the question' }),
    path: Type.String({ default: '/', description: "Its path, below the URL's" }),
    statuses: Type.Optional(Statuses('The answers that mean well; without it, all below 500')),
  },
  { additionalProperties: false, default: {}, description: 'How to ask whether the other side is there' },
);

/** The `options` of an outgoing REST connection. */
export const RestOptions = Type.Object(
  {
    url: Type.String({
      pattern: '^[hH][tT][tT][pP][sS]?://',
      description: "Where to: http or https, may carry a path that all messages go below, e.g. 'https://crm/api'",
    }),
    path: Type.Optional(
      Type.String({ description: "Path of messages that name none, below the URL's; may have {parameters}" }),
    ),
    method: Type.Optional(
      Type.String({ pattern: METHOD, description: 'Method of messages that name none; else POST with a body, or GET' }),
    ),
    headers: Type.Record(Type.String(), Type.String(), {
      default: {},
      description: 'Sent with every message; a message may replace them. Credentials belong in "security"',
    }),
    query: Type.Record(Type.String(), Type.String(), {
      default: {},
      description: 'Query parameters of every message; a message may replace them',
    }),
    format: Type.String({
      default: 'json',
      description: 'The codec of bodies, and of replies whose content type no codec knows',
    }),
    security: Type.Optional(Security),
    pool: Pool,
    connectTimeoutMs: Count(
      'Longest wait for a socket, TLS included; its clock ticks about once a second',
      5000,
      1,
      DAY_MS,
    ),
    headersTimeoutMs: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: DAY_MS,
        description: 'Longest wait of one try for the beginning of its answer; without it, what is left of timeoutMs',
      }),
    ),
    timeoutMs: Count('Longest time for a message and its answer, all tries and redirects included', 30_000, 1, DAY_MS),
    retry: Retry,
    maxReplyBytes: Count('Longest reply, counted after decompression; not for streams', 10_485_760, 1, 1_073_741_824),
    compress: Type.Boolean({ default: true, description: 'Ask for compressed replies (gzip, br)' }),
    tls: Type.Optional(Tls),
    ping: Ping,
    followRedirects: Count(
      'How many redirects a message may follow. To another origin it goes without credentials and without the ' +
        "connection's own headers",
      0,
      0,
      20,
    ),
  },
  { additionalProperties: false },
);
export type RestOptions = Static<typeof RestOptions>;
