import type { Channels } from '../calls/channels.ts';
import type { Connections } from '../calls/connections.ts';
import type { Securities } from '../calls/securities.ts';
import type { Services } from '../calls/services.ts';
import type { Timetable } from '../jobs/timetable.ts';
import type { Logs } from '../log/log.ts';
import type { Deployments } from '../modules/deployments.ts';
import type { Guard } from '../ports/guard.ts';
import type { Kind } from '../ports/kind.ts';
import type { Passwords } from '../ports/password.ts';
import type { Transport } from '../ports/transport.ts';
import { balancer } from './balancer.ts';
import { channel } from './channel.ts';
import { connection } from './connection.ts';
import { dictionary } from './dictionary.ts';
import { job } from './job.ts';
import { module } from './module.ts';
import { security } from './security.ts';
import { server } from './server.ts';
import { setting } from './setting.ts';
import { user } from './user.ts';

/** What the kinds of the core work with. */
export interface KindParts {
  readonly channels: Channels;
  readonly connections: Connections;
  readonly securities: Securities;
  readonly services: Services;
  readonly deployments: Deployments;
  readonly timetable: Timetable;
  readonly transports: ReadonlyMap<string, Transport>;
  readonly guards: ReadonlyMap<string, Guard>;
  readonly passwords: Passwords | null;
  readonly logs: Logs;
}

/** The kinds of the core, in the order in which they are put into effect: what is referred to comes first. */
export function ownKinds(parts: KindParts): Readonly<Record<string, Kind>> {
  return {
    setting: setting(parts),
    dictionary,
    security: security(parts),
    connection: connection(parts),
    module: module(parts),
    channel: channel(parts),
    job: job(parts),
    user: user(parts),
    balancer,
    server,
  };
}
