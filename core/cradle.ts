import type { Channels } from './calls/channels.ts';
import type { Connections } from './calls/connections.ts';
import type { Securities } from './calls/securities.ts';
import type { Services } from './calls/services.ts';
import type { Cluster } from './cluster/cluster.ts';
import type { Timetable } from './jobs/timetable.ts';
import type { Logs } from './log/log.ts';
import type { Balancer } from './ports/balancer.ts';
import type { Bus } from './ports/bus.ts';
import type { Checker } from './ports/checker.ts';
import type { Codec } from './ports/codec.ts';
import type { Dialect } from './ports/dialect.ts';
import type { Guard } from './ports/guard.ts';
import type { HttpHost } from './ports/http.ts';
import type { Kv } from './ports/kv.ts';
import type { Odb } from './ports/odb.ts';
import type { Passwords } from './ports/password.ts';
import type { Scheduler } from './ports/scheduler.ts';
import type { Stats } from './ports/stats.ts';
import type { Transport } from './ports/transport.ts';
import type { Records } from './records/record.ts';
import type { ServerInfo } from './server.ts';
import type { Sessions } from './users/sessions.ts';

/** Every token that can be injected. */
export interface Cradle {
  server: ServerInfo;
  logs: Logs;
  services: Services;
  channels: Channels;
  connections: Connections;
  securities: Securities;
  /** Where a kv plugin is loaded and the config has a token for the cluster. */
  cluster: Cluster;
  /** Where an odb plugin is loaded. */
  records: Records;
  sessions: Sessions;
  /** The jobs that this server knows of; empty where no odb plugin is loaded. */
  timetable: Timetable;
  codecs: ReadonlyMap<string, Codec>;
  guards: ReadonlyMap<string, Guard>;
  transports: ReadonlyMap<string, Transport>;
  features: ReadonlyMap<string, object>;
  http: HttpHost;
  stats: Stats;
  dialect: Dialect;
  odb: Odb;
  bus: Bus;
  kv: Kv;
  checker: Checker;
  scheduler: Scheduler;
  balancer: Balancer;
  passwords: Passwords;
}
