import { type TObject, Type } from 'typebox';
import { SecretText } from '../schema/secret.ts';

const Host = Type.String({ minLength: 1, maxLength: 255, pattern: '^[A-Za-z0-9_.:*\\-\\[\\]]+$' });
const Port = Type.Integer({ minimum: 1, maximum: 65_535 });
const Ms = (description: string, value: number, minimum = 1) =>
  Type.Integer({ minimum, maximum: 86_400_000, default: value, description });
const FILE = '^[^\\s"\'\\\\]+$';

const Settings = Type.Object(
  {
    binds: Type.Array(
      Type.Object(
        {
          host: { ...Host, default: '127.0.0.1' },
          port: Port,
          certificates: Type.Optional(
            Type.Array(Type.String({ minLength: 1, pattern: FILE }), {
              minItems: 1,
              description:
                'PEM files or folders, each with certificate and key; chosen by SNI. With them it is TLS and HTTP/2',
            }),
          ),
          clientCa: Type.Optional(
            Type.String({ minLength: 1, pattern: FILE, description: 'PEM file; a client needs a certificate of it' }),
          ),
        },
        { additionalProperties: false },
      ),
      { default: [{ host: '127.0.0.1', port: 11_223 }], minItems: 1, description: 'Where callers come in' },
    ),
    algorithm: Type.Union(
      [Type.Literal('roundrobin'), Type.Literal('leastconn'), Type.Literal('source'), Type.Literal('uri')],
      { default: 'roundrobin', description: 'Which server gets the next call' },
    ),
    cookie: Type.Optional(
      Type.String({
        pattern: '^[A-Za-z0-9_-]{1,64}$',
        description: 'Name of a cookie that keeps a caller on one server',
      }),
    ),
    timeouts: Type.Object(
      {
        connectMs: Ms('Until a server takes a connection', 2000),
        serverMs: Ms(
          'Until a server answers. Never less than the longest timeout of a channel, whatever this says',
          60_000,
        ),
        clientMs: Ms('Until a caller goes on sending or reading', 60_000),
        requestMs: Ms('Until a caller has sent the headers of a request', 10_000),
        keepAliveMs: Ms('How long an idle connection of a caller is kept', 60_000),
        queueMs: Ms('How long a call waits for a server that has room', 10_000),
        tunnelMs: Ms('How long an upgraded connection, e.g. a WebSocket, may be idle', 3_600_000),
      },
      { additionalProperties: false, default: {} },
    ),
    maxConnections: Type.Integer({
      minimum: 10,
      maximum: 1_000_000,
      default: 10_000,
      description: 'Of callers, at once',
    }),
    maxPerServer: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 1_000_000,
        description: 'Calls in hand on one server; more wait in a queue',
      }),
    ),
    check: Type.Object(
      {
        path: Type.String({ default: '/gantry/ping', pattern: '^/[^\\s"\'\\\\]*$' }),
        everyMs: Ms('How often each server is asked whether it is well', 500, 50),
        fall: Type.Integer({ minimum: 1, maximum: 100, default: 2, description: 'Bad answers until it gets no calls' }),
        rise: Type.Integer({
          minimum: 1,
          maximum: 100,
          default: 2,
          description: 'Good answers until it gets calls again',
        }),
        slowStartMs: Ms('How long its share grows after it came back', 2000, 0),
      },
      { additionalProperties: false, default: {} },
    ),
    retries: Type.Integer({ minimum: 0, maximum: 100, default: 3, description: 'Of a call that may be repeated' }),
    repeatableBytes: Type.Integer({
      minimum: 16_384,
      maximum: 16_777_216,
      default: 65_536,
      description:
        'Largest request, headers and body, that can be repeated on another server; memory for each connection',
    }),
    log: Type.Object(
      {
        to: Type.String({
          default: 'stdout',
          pattern: '^[^\\s"\'\\\\]+$',
          description: "'stdout', or a syslog server as host:port",
        }),
        level: Type.Union(
          [
            Type.Literal('emerg'),
            Type.Literal('err'),
            Type.Literal('warning'),
            Type.Literal('notice'),
            Type.Literal('info'),
          ],
          { default: 'notice', description: "Least that is told; 'info' has a line for each call" },
        ),
      },
      { additionalProperties: false, default: {} },
    ),
    stats: Type.Optional(
      Type.Object(
        {
          host: { ...Host, default: '127.0.0.1' },
          port: Port,
          user: Type.String({ minLength: 1, pattern: '^[^\\s:"\'\\\\]+$', default: 'admin' }),
          password: SecretText({ minLength: 8 }),
        },
        { additionalProperties: false, description: 'A page with figures at /, for Prometheus at /metrics' },
      ),
    ),
    tcp: Type.Array(
      Type.Object(
        {
          name: Type.String({ pattern: '^[A-Za-z0-9_-]{1,64}$' }),
          host: { ...Host, default: '127.0.0.1' },
          port: Port,
          serverPort: { ...Port, description: 'Where each server listens for it' },
        },
        { additionalProperties: false },
      ),
      { default: [], description: 'Addresses of channels that are not HTTP' },
    ),
    template: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 1_000_000,
        description: 'The whole configuration of the program, in place of the one that is made from these settings',
      }),
    ),
  },
  { additionalProperties: false },
);

/** The schema of `BalancerSettings` in core/ports/balancer.ts, as an administrator writes them: what has a default may be left out. */
export const BalancerSettingsSchema = lenient(Settings) as TObject;

function lenient(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(lenient);
  if (typeof schema !== 'object' || schema === null) return schema;
  const made = Object.fromEntries(Object.entries(schema).map(([key, part]) => [key, lenient(part)]));
  const { required, properties } = made as { required?: string[]; properties?: Record<string, { default?: unknown }> };
  if (required === undefined || properties === undefined) return made;
  return { ...made, required: required.filter((key) => properties[key]?.default === undefined) };
}
