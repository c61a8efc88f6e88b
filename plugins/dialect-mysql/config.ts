import { SecretText, type Static, Type } from '../../core/api.ts';

const LONGEST_MS = 2 ** 31 - 1;

const Tls = Type.Object(
  {
    ca: Type.Optional(Type.String({ description: 'PEM: the certificates to trust, instead of those of the system' })),
    cert: Type.Optional(Type.String({ description: 'PEM: the certificate that this server shows, with its chain' })),
    key: Type.Optional(SecretText({ description: 'PEM: the private key of that certificate' })),
    rejectUnauthorized: Type.Boolean({
      default: true,
      description: 'False takes any certificate: the other side may then be anybody',
    }),
  },
  {
    additionalProperties: false,
    description: 'Without it, what is sent can be read on the way. The certificate must carry `host`, which is a name',
  },
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
    port: Type.Integer({ default: 3306, minimum: 1, maximum: 65535 }),
    database: Type.String({ minLength: 1, description: 'It exists; its character set does not matter' }),
    user: Type.String({ minLength: 1, description: 'May create tables there' }),
    password: SecretText(),
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
      description: 'After it a statement is ended, one step of a migration too',
    }),
  },
  { additionalProperties: false },
);
export type Config = Static<typeof Config>;
