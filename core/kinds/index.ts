import { type TObject, Type } from 'typebox';
import { ChannelDefinition, namesOf } from '../calls/channels.ts';
import { ConnectionDefinition } from '../calls/connections.ts';
import { SecurityDefinition } from '../calls/securities.ts';
import { BalancerSettingsSchema } from '../cluster/balancing.ts';
import { JobDefinition } from '../jobs/jobs.ts';
import type { Reference } from '../ports/odb.ts';
import type { Definition } from '../records/record.ts';
import { SecretText } from '../schema/secret.ts';

/** What there is to know about one kind of record. */
export interface Kind {
  readonly description: string;
  /** Of a whole definition, its name included. */
  readonly schema: TObject;
  /** Top-level texts and booleans that lists can be filtered and sorted by. */
  readonly fields: readonly string[];
  /** Fields that belong to one installation, and not to what is carried from one to another. */
  readonly own?: readonly string[];
  /** Records that must be there as long as this one is. */
  references?(definition: Definition): readonly Reference[];
}

const Name = (of: string) =>
  Type.String({
    minLength: 1,
    maxLength: 200,
    // Engines differ in what they do with control characters, and people cannot see them.
    pattern: '^[^\\u0000-\\u001f\\u007f]+$',
    description: `Unique among ${of}`,
  });

/** A name is the part of a file's name before its ending, so that a file dropped into a folder has one. */
const Module = Type.Object(
  {
    name: Type.String({
      minLength: 1,
      maxLength: 100,
      pattern: '^[A-Za-z0-9][A-Za-z0-9._-]*$',
      description: 'Unique among modules',
    }),
    language: Type.Optional(
      Type.Union([Type.Literal('typescript'), Type.Literal('javascript')], { default: 'typescript' }),
    ),
    source: Type.String({
      minLength: 1,
      maxLength: 200_000,
      description: 'One file, as it is deployed on every server',
    }),
    services: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 200 }), {
        description: 'What it holds; found out when it is saved',
      }),
    ),
    allowTypeErrors: Type.Optional(Type.Boolean({ default: false, description: 'True: wrong types do not refuse it' })),
    active: Type.Optional(Type.Boolean({ default: true, description: 'False: it is kept and not deployed' })),
  },
  { additionalProperties: false },
);

const Server = Type.Object(
  {
    name: Name('servers'),
    urls: Type.Array(Type.String()),
    version: Type.String({ minLength: 1 }),
    startedAt: Type.String({ format: 'date-time' }),
    state: Type.Optional(
      Type.Union([Type.Literal('online'), Type.Literal('draining'), Type.Literal('offline')], {
        default: 'online',
        description: 'What the balancer makes of it. draining: nothing new; offline: nothing at all',
      }),
    ),
    weight: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 256,
        default: 100,
        description: 'Its share of the calls; 100 is a usual one',
      }),
    ),
  },
  { additionalProperties: false },
);

const Balancing = {
  ...BalancerSettingsSchema,
  properties: { name: Name('balancers'), ...BalancerSettingsSchema.properties },
  required: ['name'],
} as TObject;

/** From the least that a person may do to the most. */
export const ROLES = ['viewer', 'operator', 'developer', 'administrator'] as const;
export type Role = (typeof ROLES)[number];

const User = Type.Object(
  {
    name: Type.String({
      minLength: 1,
      maxLength: 200,
      // RFC 7617, 2: a user-id has neither a colon nor control characters.
      pattern: '^[^:\\u0000-\\u001f\\u007f]+$',
      description: 'Unique among users',
    }),
    role: Type.Union(ROLES.map((role) => Type.Literal(role))),
    password: Type.Optional(SecretText({ minLength: 8, description: 'Kept as a hash' })),
    passwordHash: Type.Optional(SecretText({ description: 'What is kept of the password' })),
    active: Type.Optional(Type.Boolean({ default: true, description: 'False: is not let in' })),
    /** Raising it ends the user's sessions. */
    epoch: Type.Optional(Type.Integer({ minimum: 0, default: 0, description: 'Changing it ends all sessions' })),
  },
  { additionalProperties: false },
);

const Setting = Type.Object(
  {
    name: Name('settings'),
    value: Type.Unknown({ description: 'Any JSON' }),
    description: Type.Optional(Type.String({ maxLength: 1000 })),
  },
  { additionalProperties: false },
);

const Dictionary = Type.Object(
  {
    name: Name('dictionaries'),
    entries: Type.Optional(Type.Record(Type.String(), Type.String(), { default: {}, description: 'Key to value' })),
    rows: Type.Optional(
      Type.Array(Type.Record(Type.String(), Type.String()), {
        description: 'Texts that mean the same, each row by system: for `dictionaries.translate`',
      }),
    ),
  },
  { additionalProperties: false },
);

/** Every kind of record, in the order in which they are put into effect: what is referred to comes first. */
export const KINDS: Readonly<Record<string, Kind>> = {
  setting: { description: 'A value that services read, or that this process obeys', schema: Setting, fields: [] },
  dictionary: { description: 'A table of texts by key', schema: Dictionary, fields: [] },
  security: {
    description: 'Who may call, shared by the channels that name it',
    schema: SecurityDefinition,
    fields: ['guard'],
  },
  connection: {
    description: 'The way to another system',
    schema: ConnectionDefinition,
    fields: ['transport', 'active'],
  },
  module: {
    description: 'Source of services that every server runs',
    schema: Module,
    fields: ['language', 'active'],
    own: ['services'],
  },
  channel: {
    description: 'A service at an address',
    schema: ChannelDefinition,
    fields: ['transport', 'service', 'format', 'active'],
    references: ({ security }) =>
      namesOf(security as ChannelDefinition['security']).map((name) => ({ kind: 'security', name })),
  },
  job: {
    description: 'A service that runs at times',
    schema: JobDefinition,
    fields: ['service', 'active'],
    own: ['since'],
  },
  user: {
    description: 'A person or program that administers',
    schema: User,
    fields: ['role', 'active'],
    own: ['epoch'],
  },
  balancer: { description: 'How calls are spread over the servers', schema: Balancing, fields: ['algorithm'] },
  server: { description: 'A server of this installation', schema: Server, fields: ['version', 'state'] },
};

export function isKind(kind: string): boolean {
  return Object.hasOwn(KINDS, kind);
}
