import { monitorEventLoopDelay } from 'node:perf_hooks';
import {
  Bytes,
  defineService,
  type Histogram,
  type Outlet,
  type ServerInfo,
  type ServiceStats,
  Type,
} from 'gantry/api';

/** Prometheus' text format: https://prometheus.io/docs/instrumenting/exposition_formats/ */
const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

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
  create({ stats, server, connections }) {
    const lag = eventLoopLag();
    return (_input, call) => {
      call.reply.contentType = CONTENT_TYPE;
      const families = [
        ...aboutServer(server),
        ...aboutProcess(),
        ...lag(),
        ...aboutConnections(connections.list()),
        ...(stats === null ? [] : aboutServices(stats.snapshot())),
      ];
      return Buffer.from(families.join(''), 'utf8');
    };
  },
});

type Labels = Readonly<Record<string, string>>;
type Sample = readonly [suffix: string, labels: Labels, value: number];

/** One metric: what it is, and its samples. Without samples it is left out. */
function family(name: string, type: 'counter' | 'gauge' | 'histogram', help: string, samples: Sample[]): string {
  if (samples.length === 0) return '';
  const lines = samples.map(([suffix, labels, value]) => `${name}${suffix}${labelled(labels)} ${number(value)}\n`);
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('')}`;
}

function single(name: string, type: 'counter' | 'gauge', help: string, value: number): string {
  return family(name, type, help, [['', {}, value]]);
}

function labelled(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

const ESCAPES: Labels = { '\\': '\\\\', '"': '\\"', '\n': '\\n' };
function escaped(value: string): string {
  return value.replace(/[\\"\n]/g, (character) => ESCAPES[character] as string);
}

function number(value: number): string {
  if (Number.isFinite(value) || Number.isNaN(value)) return String(value);
  return value > 0 ? '+Inf' : '-Inf';
}

function aboutServer({ name, version }: ServerInfo): string[] {
  const labels = { server: name, version, node: process.versions.node };
  return [family('gantry_info', 'gauge', 'What runs here; always 1.', [['', labels, 1]])];
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
  const samples = all.map(({ name, transport, up }): Sample => ['', { connection: name, transport }, up ? 1 : 0]);
  return [family('gantry_connections_up', 'gauge', 'Outgoing connections: 1 up, 0 down.', samples)];
}

function aboutServices(all: readonly ServiceStats[]): string[] {
  const each = (value: (s: ServiceStats) => number) => all.map((s): Sample => ['', { service: s.service }, value(s)]);
  return [
    family(
      'gantry_service_calls_total',
      'counter',
      'Calls of a service, failed ones too.',
      each((s) => s.calls),
    ),
    family(
      'gantry_service_failures_total',
      'counter',
      'Calls of a service that failed.',
      each((s) => s.failures),
    ),
    family('gantry_service_duration_seconds', 'histogram', 'How long calls of a service took.', all.flatMap(durations)),
  ];
}

function durations({ service, calls, sumMs, latency }: ServiceStats): Sample[] {
  return [
    ...cumulative(latency).map(([le, count]): Sample => ['_bucket', { service, le }, count]),
    ['_bucket', { service, le: '+Inf' }, calls],
    ['_sum', { service }, sumMs / 1000],
    ['_count', { service }, calls],
  ];
}

/** Few bounds in seconds, and how many calls took no longer. Exact, since they are bounds of the histogram itself. */
function cumulative({ boundsMs, counts }: Histogram): [le: string, count: number][] {
  const told: [string, number][] = [];
  let wanted = 0;
  let count = 0;
  for (const [i, bound] of boundsMs.entries()) {
    count += counts[i] as number;
    if (bound < (WANTED_MS[wanted] ?? Number.POSITIVE_INFINITY) || bound === Number.POSITIVE_INFINITY) continue;
    told.push([String(bound / 1000), count]);
    while ((WANTED_MS[wanted] ?? Number.POSITIVE_INFINITY) <= bound) wanted++;
  }
  return told;
}
