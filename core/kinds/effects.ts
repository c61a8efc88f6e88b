import { type ChannelDefinition, type Channels, RECORDS } from '../calls/channels.ts';
import type { ConnectionDefinition, Connections } from '../calls/connections.ts';
import type { Securities, SecurityDefinition } from '../calls/securities.ts';
import type { Timetable } from '../jobs/timetable.ts';
import type { Logs } from '../log/log.ts';
import type { Deployments } from '../modules/deployments.ts';
import type { Effect } from '../records/live-records.ts';
import { KINDS } from './index.ts';
import { settingsEffect } from './setting.ts';

interface Parts {
  readonly channels: Channels;
  readonly connections: Connections;
  readonly securities: Securities;
  readonly deployments: Deployments;
  readonly timetable: Timetable;
  readonly logs: Logs;
}

/** What each kind of record does to this server, in the order of the kinds. Null: it is only looked up. */
export function effectsOf(
  { channels, connections, securities, deployments, timetable, logs }: Parts,
  follows: readonly string[] | null = null,
): ReadonlyMap<string, Effect | null> {
  const effects: Readonly<Record<string, Effect>> = {
    setting: settingsEffect(logs),
    security: {
      put: (definition) => securities.define(definition as unknown as SecurityDefinition),
      drop: (name) => securities.retire(name),
    },
    connection: {
      async put(definition) {
        const connection = definition as unknown as ConnectionDefinition;
        if (connection.active === false) await connections.close(connection.name);
        else await connections.replace(connection);
      },
      drop: (name) => connections.close(name),
    },
    module: {
      put: (definition) => deployments.put(definition),
      drop: (name) => deployments.drop(name),
    },
    channel: {
      put(definition) {
        const channel = definition as unknown as ChannelDefinition;
        if (channel.active !== false) channels.rebind(channel, RECORDS);
        else if (channels.has(channel.name, RECORDS)) channels.unbind(channel.name);
      },
      drop(name) {
        if (channels.has(name, RECORDS)) channels.unbind(name);
      },
    },
    job: timetable,
  };
  const isFollowed = (kind: string) => follows === null || follows.includes(kind);
  return new Map(Object.keys(KINDS).map((kind) => [kind, (isFollowed(kind) && effects[kind]) || null]));
}
