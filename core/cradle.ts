import type { Channels } from './channels.ts';
import type { Connections } from './connections.ts';
import type { Logs } from './log.ts';
import type { Codec } from './ports/codec.ts';
import type { Guard } from './ports/guard.ts';
import type { HttpHost } from './ports/http.ts';
import type { Stats } from './ports/stats.ts';
import type { Transport } from './ports/transport.ts';
import type { ServerInfo } from './server.ts';
import type { Services } from './services.ts';

/** Every token that can be injected. */
export interface Cradle {
  server: ServerInfo;
  logs: Logs;
  services: Services;
  channels: Channels;
  connections: Connections;
  codecs: ReadonlyMap<string, Codec>;
  guards: ReadonlyMap<string, Guard>;
  transports: ReadonlyMap<string, Transport>;
  features: ReadonlyMap<string, object>;
  http: HttpHost;
  stats: Stats;
}
