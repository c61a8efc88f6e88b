import { SecretText, type Static, Type } from '../../core/api.ts';

const Port = (value: number, description: string) =>
  Type.Integer({ default: value, minimum: 1, maximum: 65_535, description });

export const Config = Type.Object(
  {
    folder: Type.String({
      default: 'cluster',
      minLength: 1,
      description: 'Where all that is started keeps its data and its logs: a path, relative to the data folder',
    }),
    count: Type.Integer({ default: 2, minimum: 1, maximum: 100, description: 'How many servers' }),
    firstPort: Port(17_010, 'Of the first server; the others have those after it'),
    servers: Type.Optional(
      Type.Array(
        Type.Object(
          {
            name: Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$' }),
            port: Type.Integer({ minimum: 1, maximum: 65_535 }),
          },
          { additionalProperties: false },
        ),
        { minItems: 1, maxItems: 100, description: 'Instead of count and firstPort' },
      ),
    ),
    balancerPort: Port(11_223, 'Where callers come in'),
    statsPort: Port(20_152, "HAProxy's page with figures"),
    agentPort: Port(20_151, 'Of the agent'),
    redisPort: Port(16_379, 'Of a Redis of our own'),
    serverConfig: Type.Optional(
      Type.String({ minLength: 1, description: "Instead of this package's server.yaml, or the one of the database" }),
    ),
    agentConfig: Type.Optional(
      Type.String({ minLength: 1, description: "Instead of this package's balancer.yaml, or the one of the database" }),
    ),
    databaseUrl: Type.Optional(
      SecretText({
        minLength: 0,
        description: 'postgres://user:password@host:5432/database, or mysql://. Empty: SQLite, in a file of the folder',
      }),
    ),
    adminPassword: Type.Optional(
      SecretText({
        minLength: 0,
        description: "Of the first administrator, 'admin'. Empty: a random one, which is kept in the folder",
      }),
    ),
    secretKeys: Type.Optional(
      SecretText({
        minLength: 0,
        description: 'What seals secrets in the database. Empty: a random key, which is kept in the folder',
      }),
    ),
    install: Type.Boolean({ default: false, description: 'Installs programs that are missing: as root, on Debian' }),
    searchIn: Type.Array(Type.String({ minLength: 1 }), {
      default: ['/usr/local/sbin', '/usr/sbin'],
      description: 'Where programs are looked for after the PATH',
    }),
    readyMs: Type.Integer({
      default: 90_000,
      minimum: 1000,
      maximum: 3_600_000,
      description: 'Until all must be healthy',
    }),
    graceMs: Type.Integer({
      default: 5000,
      minimum: 0,
      maximum: 7000,
      description: 'How long servers wait for their calls in hand when all is stopped',
    }),
  },
  { additionalProperties: false },
);
export type Config = Readonly<Static<typeof Config>>;
