import { monitorEventLoopDelay } from 'node:perf_hooks';
import {
  Bytes,
  type Cluster,
  defineService,
  type KeyValues,
  type RecordsStatus,
  type ServerInfo,
  Type,
} from 'gantry/api';
import type { Histogram, Outlet, ServiceStats } from 'gantry/ports';
import { CONTENT_TYPE, family, label, single } from './_exposition.ts';
import { aboutScheduler } from './_scheduler.ts';

/** A histogram of ours has hundreds of buckets; Prometheus keeps a series of each. These are worth it. */
const WANTED_MS = [0.125, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16_384, 65_536];

/** How often the event loop is looked at. */
const LAG_RESOLUTION_MS = 10;

export default defineService({
  name: 'gantry.metrics',
  description: "This server's metrics, for Prometheus.",
  input: Type.Unknown(),
  // Bytes: a string would be encoded with the channel's codec.
  output: Bytes,
  create({ stats, server, connections, records, kv, cluster, scheduler }) {
    const lag = eventLoopLag();
    return (_input, call) => {
      call.reply.contentType = CONTENT_TYPE;
      const families = [
        ...aboutServer(server),
        ...aboutProcess(),
        ...lag(),
        ...aboutConnections(connections.list()),
        ...(records === null ? [] : aboutRecords(records.status())),
        ...aboutOthers(server, kv, cluster),
        ...(scheduler === null ? [] : aboutScheduler(scheduler)),
        ...(stats === null ? [] : aboutServices(stats.snapshot())),
      ];
      return Buffer.from(families.join(''), 'utf8');
    };
  },
});

/** An alert belongs on the first two: the server serves on with what it has, which may be old. */
function aboutRecords({ problem, refused, revision, counts }: RecordsStatus): string[] {
  return [
    single(
      'gantry_database_up',
      'gauge',
      'Whether the database answered when it was last asked',
      problem === null ? 1 : 0,
    ),
    single(
      'gantry_records_refused',
      'gauge',
      'Records that could not be put into effect on this server',
      refused.length,
    ),
    single('gantry_records_revision', 'gauge', 'The change that this server runs with', revision),
    family(
      'gantry_records',
      'gauge',
      'Records, by kind',
      Object.entries(counts).map(([kind, count]) => `gantry_records{${label('kind', kind)}} ${count}\n`),
    ),
  ];
}

/** Without them the server serves on, and some things are not known or not done. */
function aboutOthers(server: ServerInfo, kv: KeyValues | null, cluster: Cluster | null): string[] {
  const up = (problem: unknown) => (problem === null ? 1 : 0);
  return [
    single('gantry_fit', 'gauge', 'Whether a balancer should give this server calls', up(server.unfit)),
    ...(kv === null
      ? []
      : [
          single(
            'gantry_kv_up',
            'gauge',
            'Whether the key-value store answered when it was last asked',
            up(kv.problem),
          ),
        ]),
    ...(cluster === null
      ? []
      : [single('gantry_cluster_up', 'gauge', 'Whether the cluster hears of this server', up(cluster.problem))]),
  ];
}

function aboutServer({ name, version }: ServerInfo): string[] {
  const labels = [label('server', name), label('version', version), label('node', process.versions.node)].join(',');
  return [family('gantry_info', 'gauge', 'What runs here; always 1.', [`gantry_info{${labels}} 1\n`])];
}

function aboutProcess(): string[] {
  const { user, system } = process.cpuUsage();
  return [
    single('process_cpu_seconds_total', 'counter', 'CPU time, user and system.', (user + system) / 1e6),
    single('process_resident_memory_bytes', 'gauge', 'Resident memory.', process.memoryUsage.rss()),
    single(
      'process_start_time_seconds',
      'gauge',
      'When the process started, since the Unix epoch.',
      performance.timeOrigin / 1000,
    ),
  ];
}

/** Starts to watch the event loop; what it returns tells how late it was since it was asked last. */
function eventLoopLag(): () => string[] {
  const delay = monitorEventLoopDelay({ resolution: LAG_RESOLUTION_MS });
  delay.enable();
  // What is measured is the time between two looks, which is at least the resolution.
  const seconds = (nanoseconds: number) => Math.max(0, nanoseconds / 1e6 - LAG_RESOLUTION_MS) / 1000 || 0;
  return () => {
    const { mean, max } = delay;
    delay.reset();
    return [
      single('nodejs_eventloop_lag_seconds', 'gauge', 'Mean lag since the last scrape.', seconds(mean)),
      single('nodejs_eventloop_lag_max_seconds', 'gauge', 'Greatest lag since the last scrape.', seconds(max)),
    ];
  };
}

function aboutConnections(all: readonly Outlet[]): string[] {
  const name = 'gantry_connections_up';
  const samples = all.map(
    (one) => `${name}{${label('connection', one.name)},${label('transport', one.transport)}} ${one.up ? 1 : 0}\n`,
  );
  return [family(name, 'gauge', 'Outgoing connections: 1 up, 0 down.', samples)];
}

function aboutServices(all: readonly ServiceStats[]): string[] {
  const labels = all.map((one) => label('service', one.service));
  const each = (name: string, help: string, value: (one: ServiceStats) => number) =>
    family(
      name,
      'counter',
      help,
      all.map((one, i) => `${name}{${labels[i]}} ${value(one)}\n`),
    );
  const duration = 'gantry_service_duration_seconds';
  return [
    each('gantry_service_calls_total', 'Calls of a service, failed ones too.', (one) => one.calls),
    each('gantry_service_failures_total', 'Calls of a service that failed.', (one) => one.failures),
    family(
      duration,
      'histogram',
      'How long calls of a service took.',
      all.map((one, i) => durations(duration, labels[i] as string, one)),
    ),
  ];
}

function durations(name: string, service: string, { calls, sumMs, latency }: ServiceStats): string {
  const buckets = cumulative(latency).map(([le, count]) => `${name}_bucket{${service},le="${le}"} ${count}\n`);
  return `${buckets.join('')}${name}_bucket{${service},le="+Inf"} ${calls}
${name}_sum{${service}} ${sumMs / 1000}
${name}_count{${service}} ${calls}
`;
}

/** Few bounds in seconds, and how many calls took no longer. Exact, since they are bounds of the histogram itself. */
export function cumulative({ boundsMs, counts }: Histogram): [seconds: number, count: number][] {
  const told: [number, number][] = [];
  let wanted = 0;
  let count = 0;
  for (let i = 0; i < boundsMs.length - 1 && wanted < WANTED_MS.length; i++) {
    const bound = boundsMs[i] as number;
    count += counts[i] as number;
    if (bound < (WANTED_MS[wanted] as number)) continue;
    told.push([bound / 1000, count]);
    while ((WANTED_MS[wanted] ?? Number.POSITIVE_INFINITY) <= bound) wanted++;
  }
  return told;
}
