import { type Static, Type } from 'typebox';
import { ChannelDefinition } from '../calls/channels.ts';
import { ConnectionDefinition } from '../calls/connections.ts';
import { SecurityDefinition } from '../calls/securities.ts';
import { ClusterConfig } from '../cluster/cluster.ts';
import { LEVELS } from '../log/log.ts';
import { SecretText } from '../schema/secret.ts';

const LevelName = Type.Union(
  LEVELS.map((level) => Type.Literal(level)),
  { default: 'info' },
);

/** A timer set for longer fires at once. */
const LONGEST_MS = 2 ** 31 - 1;

/** What each entry of "plugins" may have beside the plugin's own block. */
export const Entry = Type.Object(
  { use: Type.Optional(Type.String({ minLength: 1 })), optional: Type.Optional(Type.Boolean()) },
  { additionalProperties: false },
);
export type Entry = Static<typeof Entry>;

/** The root of a config file, after its layers are laid over each other. */
export const Config = Type.Object(
  {
    name: Type.String({ default: 'gantry', minLength: 1, maxLength: 100, description: 'The name of this process' }),
    data: Type.String({
      default: 'data',
      description:
        'Folder for what this process keeps; beside the config file, or beside its folder where that is named config',
    }),
    log: Type.Object(
      {
        level: LevelName,
        levels: Type.Record(Type.String(), LevelName, { default: {}, description: 'By plugin id' }),
      },
      { additionalProperties: false, default: {} },
    ),
    startTimeoutMs: Type.Integer({ default: 15_000, minimum: 1, maximum: LONGEST_MS, description: 'For each plugin' }),
    graceMs: Type.Integer({
      default: 30_000,
      minimum: 0,
      maximum: LONGEST_MS,
      description: 'How long stopping waits for calls in hand',
    }),
    plugins: Type.Record(Type.String(), Type.Record(Type.String(), Type.Unknown()), {
      default: {},
      description:
        '<port>.<name>: its own block, with `use` for a module that is not ours; null removes an inherited one',
    }),
    services: Type.Array(Type.String(), { default: [], description: 'Folders or files, beside the config file' }),
    channels: Type.Array(ChannelDefinition, { default: [] }),
    connections: Type.Array(ConnectionDefinition, { default: [] }),
    security: Type.Array(SecurityDefinition, {
      default: [],
      description: 'Who may call; shared by the channels that name them',
    }),
    follows: Type.Optional(
      Type.Array(Type.String(), {
        description: 'Kinds of records that take effect in this process; the others are looked up only. Default: all',
      }),
    ),
    cluster: Type.Optional(ClusterConfig),
    secrets: Type.Object(
      {
        keys: Type.Optional(
          SecretText({
            minLength: 0,
            description: 'What seals secrets in the database: keys between spaces or commas, the current one first',
          }),
        ),
        file: Type.Optional(
          Type.String({
            description: 'The same, a key a line. Default: secret.keys in the data folder, made if missing',
          }),
        ),
      },
      { additionalProperties: false, default: {} },
    ),
  },
  { additionalProperties: false },
);
export type Config = Static<typeof Config>;
