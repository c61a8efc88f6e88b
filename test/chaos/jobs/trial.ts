/** Jobs that run for a while, with faults meanwhile, and what became of each of their due times. */
import { setTimeout as wait } from 'node:timers/promises';
import { until } from '../condition.ts';
import { CpuShares, familyOf } from '../cpu.ts';
import { quantile } from '../figures.ts';
import { type Check, strict } from '../outcome.ts';
import { type Absence, ENDS, FAULTS, type Fault, judge, keyOf, type Verdict, type Watched } from './judge.ts';
import { type Line, now } from './lines.ts';
import { type Row, rowsOf } from './rows.ts';
import type { JobServer, JobsWorld } from './world.ts';

const SECOND_MS = 1000;
const SETTLE_MS = 90_000;
const EXAMPLES = 3;

/** Some jobs that are alike. */
export interface Group {
  readonly name: string;
  readonly count: number;
  /** A divisor or a multiple of a second. */
  readonly everyMs: number;
  /** What load.job is given. */
  readonly payload: Readonly<Record<string, unknown>>;
  /** Whether an interrupted run gets another attempt. */
  readonly again: boolean;
  /** Default: all that are missed are made up for. */
  readonly missed?: Readonly<Record<string, unknown>>;
}

export interface JobTrial {
  readonly prefix: string;
  readonly verdict: Verdict;
  readonly lines: readonly Line[];
  readonly rows: readonly Row[];
  readonly watched: readonly Watched[];
  /** The first and the last due time, by the clock of the database. */
  readonly from: number;
  readonly until: number;
  readonly seconds: number;
  /** When processes did not run meanwhile. */
  readonly absences: readonly Absence[];
  /** Cores that each process took. */
  readonly cpu: Readonly<Record<string, number>>;
}

/** What somebody does who makes faults. */
export interface Acting {
  /** Of the jobs' names. */
  readonly prefix: string;
  /** Of these jobs, what was written down so far. */
  lines(): readonly Line[];
  /** Waits until a run of this process was started a moment ago and has not ended. */
  inHand(pid: number | null): Promise<void>;
  /** Waits for the first start by another process than this one, after that moment. */
  startedElsewhere(pid: number | null, after: number): Promise<Line>;
  /** Waits until so many due times more have gone by, and something was run for them. */
  goesOn(seconds?: number): Promise<void>;
}

let trials = 0;

/** Resolves when every due time has become something, or does not become it in a minute and a half. */
export async function watch(
  world: JobsWorld,
  { groups, seconds }: { readonly groups: readonly Group[]; readonly seconds: number },
  faults: (acting: Acting) => Promise<void> = async () => {},
): Promise<JobTrial> {
  const prefix = `t${++trials}-`;
  const before = new Set(world.absences);
  const lines = () => world.lines().filter(({ job }) => job?.startsWith(prefix));
  await world.apply(groups.flatMap((group) => definitionsOf(group, prefix)));
  // The next whole second but one: the holder knows of them by then.
  const from = (Math.ceil(world.databaseNow / SECOND_MS) + 1) * SECOND_MS;
  await wait(Math.max(0, from - world.databaseNow));
  const cpu = new CpuShares(groupsOf(world));
  const startedAt = performance.now();
  await faults(acting(lines, prefix));
  await wait(Math.max(0, seconds * SECOND_MS - (performance.now() - startedAt)));
  const shares = cpu.shares();
  const last = Math.floor(world.databaseNow / SECOND_MS) * SECOND_MS - SECOND_MS;
  const watched = groups.flatMap((group) => watchedOf(group, prefix, from, last));
  const within = (one: { readonly dueAt: number }) => one.dueAt >= from && one.dueAt <= last;
  const evidence = async () => ({
    watched,
    rows: (await rowsOf(world.database, { prefix })).filter(within),
    lines: lines().filter(within),
    absences: world.absences,
  });
  await until(
    'every due time has become something',
    async () => {
      const { faults: found } = judge(await evidence());
      return found.lost.length + found.open.length + found.forsaken.length === 0;
    },
    SETTLE_MS,
    SECOND_MS,
    // What has not is told by the judge.
  ).catch(() => {});
  await world.removeJobs();
  const found = await evidence();
  return {
    prefix,
    verdict: judge(found),
    ...{ lines: found.lines, rows: found.rows, watched, from, until: last, cpu: shares },
    absences: world.absences.filter((one) => !before.has(one)),
    seconds: (last - from) / SECOND_MS + 1,
  };
}

function acting(lines: () => readonly Line[], prefix: string): Acting {
  return {
    prefix,
    lines,
    async inHand(pid) {
      await until('a run is in hand', () => {
        const own = lines().filter((line) => line.pid === pid && now() - line.at < 10 * SECOND_MS);
        return underWay(own).some(({ at }) => now() - at < SECOND_MS / 4);
      });
    },
    async startedElsewhere(pid, after) {
      let first: Line | undefined;
      await until('another process starts runs', () => {
        const begun = lines().filter((line) => line.event === 'start' && line.pid !== pid && line.at > after);
        first = begun.sort((a, b) => a.at - b.at)[0];
        return first !== undefined;
      });
      return first as Line;
    },
    async goesOn(seconds = 2) {
      const count = () => lines().filter(({ event }) => event === 'start').length;
      const before = count();
      await wait(seconds * SECOND_MS);
      await until('runs are started', () => count() > before);
    },
  };
}

/** Waits until this server is committing firings: they are in the database, and it does not know that yet. */
export function committing({ statements }: JobServer): Promise<void> {
  return statements.saidAfter(/INSERT INTO "gantry_runs"/, /^COMMIT/);
}

/** Those that were started and have not ended. */
export function underWay(lines: readonly Line[]): readonly Line[] {
  const over = new Set(lines.filter(({ event }) => ENDS.has(event)).map(keyOf));
  return lines.filter((line) => line.event === 'start' && !over.has(keyOf(line)));
}

function definitionsOf(group: Group, prefix: string) {
  const { name, count, everyMs, payload, again, missed = { policy: 'all', limit: 10_000 } } = group;
  // Whole seconds by cron, as people write them; the rest counts from a whole second, too.
  const schedule = everyMs === SECOND_MS ? { cron: '* * * * * *' } : { everyMs, start: '2020-01-01T00:00:00Z' };
  return Array.from({ length: count }, (_, i) => ({
    name: `${prefix}${name}-${i}`,
    service: 'load.job',
    schedule,
    payload,
    missed,
    overlap: 'allow',
    interrupted: again ? 'again' : 'leave',
  }));
}

function watchedOf({ name, count, everyMs, again }: Group, prefix: string, from: number, last: number): Watched[] {
  const first = Math.ceil(from / everyMs) * everyMs;
  const times = Array.from(
    { length: Math.max(0, Math.floor((last - first) / everyMs) + 1) },
    (_, i) => first + i * everyMs,
  );
  return Array.from({ length: count }, (_, i) => ({ job: `${prefix}${name}-${i}`, times, again }));
}

function groupsOf({ servers, store, redis }: JobsWorld): Readonly<Record<string, () => readonly number[]>> {
  const { engine } = store;
  return Object.fromEntries([
    ...servers.map(({ name, keeper }) => [name, () => familyOf(keeper.pid)] as const),
    ...(engine === null ? [] : [['database', () => familyOf(engine.pid)] as const]),
    ['redis', () => familyOf(redis.pid)],
    ['trial', () => [process.pid]],
  ]);
}

/** One check for each thing that must never be. */
export function verdictChecks({ verdict }: Pick<JobTrial, 'verdict'>, except: readonly Fault[] = []): Check[] {
  const names = (Object.keys(FAULTS) as Fault[]).filter((name) => !except.includes(name));
  return names.map((name) => {
    const cases = verdict.faults[name];
    const examples = cases.length === 0 ? '' : `: ${cases.slice(0, EXAMPLES).join('; ')}`;
    const of = name === 'lost' ? ` of ${verdict.promised}` : '';
    return strict(
      FAULTS[name],
      cases.length === 0 && verdict.promised > 0,
      `${cases.length}${of} otherwise${examples}`,
    );
  });
}

/** Of these outcomes there is none. */
export function noneOf({ verdict }: Pick<JobTrial, 'verdict'>, ...outcomes: readonly string[]): Check {
  const found = outcomes.map((name) => `${verdict.outcomes[name] ?? 0} ${name}`);
  return strict(
    `none is ${outcomes.join(' or ')}`,
    found.every((text) => text.startsWith('0 ')),
    found.join(', '),
  );
}

/** Runs that were interrupted though their process was there all the time, and why. */
export function unprovoked({ rows, lines, absences }: JobTrial): readonly string[] {
  const pids = new Map(lines.map(({ owner, pid }) => [owner, pid]));
  const away = new Set(absences.map(({ pid }) => pid));
  return rows
    .filter(({ outcome, owner }) => outcome === 'interrupted' && !away.has(pids.get(owner ?? '') ?? -1))
    .map(({ token, attempt, server, reason }) => `${token}#${attempt} on ${server}: ${reason}`);
}

/** `late`: whether the clock of the database is that of this machine. */
export function summaryOf({ verdict, seconds, cpu }: JobTrial, late = true): readonly string[] {
  const { promised, fired, starts, outcomes, furtherAttempts, latenessMs } = verdict;
  const told = Object.entries(outcomes).map(([name, count]) => `${count} ${name}`);
  const share = (of: number) => `${quantile(latenessMs, of).toFixed(0)} ms`;
  const cores = Object.entries(cpu).map(([name, used]) => `${name} ${used.toFixed(2)}`);
  return [
    `${promised} due times in ${seconds} s: ${fired} firings started, ${starts} attempts, ${furtherAttempts} of them further ones; ${told.join(', ')}`,
    ...(late ? [`lateness: p50 ${share(0.5)}, p99 ${share(0.99)}, max ${share(1)}`] : []),
    `cores: ${cores.join(', ')}`,
  ];
}

/** `p50 5300 ms, max 6012 ms (10 times)` */
export function spreadOf(ms: readonly number[]): string {
  const sorted = [...ms].sort((a, b) => a - b);
  if (sorted.length === 0) return 'never';
  return `p50 ${quantile(sorted, 0.5).toFixed(0)} ms, max ${sorted.at(-1)?.toFixed(0)} ms (${sorted.length} times)`;
}
