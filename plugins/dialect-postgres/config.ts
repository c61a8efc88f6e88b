import { SecretText, type Static, Type } from '../../core/api.ts';

const LONGEST_MS = 2 ** 31 - 1;

const Tls = Type.Object(
  {
    ca: Type.Optional(Type.String({ description: 'PEM: the certificates to trust, instead of those of the system' })),
    cert: Type.Optional(Type.String({ description: 'PEM: the certificate that this server shows, with its chain' })),
    key: Type.Optional(SecretText({ description: 'PEM: the private key of that certificate' })),
    servername: Type.Optional(
      Type.String({ description: 'The name that the certificate must carry, where it is not that of the host' }),
    ),
    rejectUnauthorized: Type.Boolean({
      default: true,
      description: 'False takes any certificate: the other side may then be anybody',
    }),
  },
  { additionalProperties: false, description: 'Without it, what is sent can be read on the way' },
);

const Pool = Type.Object(
  {
    max: Type.Integer({ default: 10, minimum: 2, maximum: 1000, description: 'Connections of this process' }),
    acquireMs: Type.Integer({
      default: 5000,
      minimum: 1,
      maximum: LONGEST_MS,
      description: 'How long to wait for a free one',
    }),
    idleMs: Type.Integer({
      default: 60_000,
      minimum: 1,
      maximum: LONGEST_MS,
      description: 'When one without work is closed',
    }),
  },
  { additionalProperties: false, default: {} },
);

export const Config = Type.Object(
  {
    host: Type.String({ default: '127.0.0.1', minLength: 1 }),
    port: Type.Integer({ default: 5432, minimum: 1, maximum: 65535 }),
    database: Type.String({ minLength: 1, description: 'It exists; its encoding is UTF8' }),
    user: Type.String({ minLength: 1, description: 'May create tables there' }),
    password: SecretText(),
    schema: Type.Optional(
      Type.String({
        pattern: '^[a-z_][a-z0-9_]{0,62}$',
        description: "Where the tables are; it exists. Without it, where the user's search_path leads",
      }),
    ),
    tls: Type.Optional(Tls),
    pool: Pool,
    connectTimeoutMs: Type.Integer({
      default: 5000,
      minimum: 1,
      maximum: LONGEST_MS,
      description: 'Until a new connection is ready',
    }),
    statementTimeoutMs: Type.Integer({
      default: 30_000,
      minimum: 100,
      maximum: 3_600_000,
      description: 'After it the server ends a statement, one step of a migration too',
    }),
  },
  { additionalProperties: false },
);
export type Config = Static<typeof Config>;
