import { SecretText, type Static, Type } from '../../core/api.ts';

const LONGEST_MS = 2 ** 31 - 1;

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
    port: Type.Integer({ default: 1521, minimum: 1, maximum: 65535 }),
    service: Type.String({ minLength: 1, description: 'The service name; its character set is AL32UTF8' }),
    user: Type.String({ minLength: 1, description: 'Owns the tables, and may create them' }),
    password: SecretText(),
    pool: Pool,
    connectTimeoutMs: Type.Integer({
      default: 5000,
      minimum: 1000,
      maximum: LONGEST_MS,
      description: 'Until a new connection is ready; counted in whole seconds',
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
