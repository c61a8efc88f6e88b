/** In which order files of tests are run, and which of them together: pure, so that it can be tested. */

/** What a file took when it was last recorded. */
export interface Recorded {
  readonly ms: number;
  /** Of its process and of those that it started and waited for. */
  readonly cpuMs: number;
}
export type Durations = Readonly<Record<string, Recorded>>;

/** Files that one process runs, one after the other. */
export interface Job {
  readonly files: readonly string[];
  /** What it is expected to take. */
  readonly ms: number;
  /** How many cores it is expected to keep busy. */
  readonly load: number;
}

/** A shorter file shares a process with others: loading the core costs about a second. */
const SHORT_MS = 5000;
const BATCH_MS = 20_000;
/** A new file comes early: it may be long. */
const UNKNOWN: Recorded = { ms: 60_000, cpuMs: 60_000 };

/** Jobs, the longest first, since a long one that starts last is what everybody waits for. */
export function plan(files: readonly string[], durations: Durations): Job[] {
  const jobs: Job[] = [];
  let batch: string[] = [];
  let batchMs = 0;
  const put = (together: readonly string[]) => {
    const of = together.map((file) => durations[file] ?? UNKNOWN);
    const ms = of.reduce((sum, one) => sum + one.ms, 0);
    jobs.push({ files: together, ms, load: of.reduce((sum, one) => sum + one.cpuMs, 0) / Math.max(1, ms) });
  };
  for (const file of longestFirst(files, durations)) {
    const { ms } = durations[file] ?? UNKNOWN;
    if (ms >= SHORT_MS) {
      put([file]);
      continue;
    }
    if (batch.length > 0 && batchMs + ms > BATCH_MS) {
      put(batch);
      [batch, batchMs] = [[], 0];
    }
    batch.push(file);
    batchMs += ms;
  }
  if (batch.length > 0) put(batch);
  return jobs.sort((a, b) => b.ms - a.ms);
}

/**
 * The first job for which there is room: one that does not keep more cores busy than there are. A job with a cluster of
 * whole processes runs alone, and those come first: such a cluster has limits of its own, e.g. for health checks and
 * leases, which must not depend on what else is tested. Null: wait for a job to end.
 */
export function nextJob(
  waiting: readonly Job[],
  running: readonly Job[],
  { cores, processes }: { readonly cores: number; readonly processes: number },
): Job | null {
  if (running.length >= processes || running.some(isCluster)) return null;
  const cluster = running.length === 0 ? waiting.find(isCluster) : undefined;
  if (cluster !== undefined) return cluster;
  const busy = running.reduce((sum, { load }) => sum + load, 0);
  const allowed = waiting.filter((job) => !isCluster(job));
  const fitting = allowed.find(({ load }) => busy + load <= cores);
  if (fitting !== undefined) return fitting;
  // Cores that have nothing to do are worse than cores that are shared.
  return running.length < Math.min(cores, processes) ? (allowed[0] ?? null) : null;
}

function isCluster({ files }: Job): boolean {
  return files.some((file) => CLUSTER.test(file));
}
/** Servers with a balancer, and what is done to them under load. */
const CLUSTER = /^test\/(e2e\/(chaos|cluster|jobs|outage)|plugins\/feature-(agent|launcher)\/\w+)\.test\.ts$/;

/** A file that needs no engine, and is done soon: what `npm run test:quick` runs. */
export function isQuick(file: string, source: string, durations: Durations): boolean {
  const needsEngine = /from '(\.|[./]*\/engines)\/(index|haproxy|redis|oracle)\.ts'/.test(source);
  return !needsEngine && !WHOLE.test(file) && (durations[file] ?? UNKNOWN).ms < QUICK_MS;
}
/** Tests of whole processes: each starts servers. */
const WHOLE = /^test\/(e2e|plugins\/feature-(admin|agent|launcher))\//;
const QUICK_MS = 20_000;

function longestFirst(files: readonly string[], durations: Durations): string[] {
  const ms = (file: string) => (durations[file] ?? UNKNOWN).ms;
  return files.toSorted((a, b) => ms(b) - ms(a) || (a < b ? -1 : 1));
}
