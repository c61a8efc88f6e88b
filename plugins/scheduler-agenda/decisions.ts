import type { Job } from '../../core/parts.ts';
import type { NewRun, Runner } from '../../core/ports/index.ts';
import type { OpenRuns } from './open-runs.ts';
import { type DueTimes, type Entry, readyAt, tokenOf } from './plan.ts';

/** What is done about a due time. */
export interface Decision {
  readonly dueAt: number;
  readonly action: 'run' | 'queue' | 'skipped' | 'missed';
  readonly reason: string | null;
  /** How many due times this decision covers. */
  readonly count: number;
}

export interface JobSituation {
  readonly now: number;
  /** When the last due time should have started, jitter included; ms since 1970. */
  readonly readyAt: number;
  /** Whether a run of this job is open. A retry that waits counts. */
  readonly underWay: boolean;
  /** How many firings wait for that run to end. */
  readonly queued: number;
}

/**
 * Decides on the open due times of one job: `times` are the latest of `count`, in order. All but the last are missed,
 * since the next one has come. The last one is on time or late, and missed too if it is late by more than `lateMs`.
 */
export function decide(
  job: Pick<Job, 'missed' | 'overlap'>,
  times: readonly number[],
  count: number,
  situation: JobSituation,
): readonly Decision[] {
  const { policy, lateMs } = job.missed;
  const last = times.at(-1);
  if (last === undefined) return [];
  const isLate = situation.now - situation.readyAt > lateMs;
  const missed = isLate ? times : times.slice(0, -1);
  const lost = isLate ? count : count - 1;
  const made = policy === 'all' ? all(job, missed, lost, situation) : once(job, missed, lost, situation, isLate);
  if (isLate) return made;
  const queued = situation.queued + made.filter(({ action }) => action === 'queue').length;
  const running = made.some(({ action }) => action === 'run');
  const underWay = situation.underWay || running;
  return [...made, onTime(job, last, { ...situation, underWay, queued })];
}

/** One run, for the latest due time, makes up for all. If the latest is on time, or the job wants no such run, the others are just missed. */
function once(
  { missed: { policy, withinMs }, overlap }: Pick<Job, 'missed' | 'overlap'>,
  missed: readonly number[],
  count: number,
  { now, underWay, queued }: JobSituation,
  isLate: boolean,
): Decision[] {
  const last = missed.at(-1);
  if (last === undefined) return [];
  if (policy === 'skip' || !isLate || now - last > withinMs) {
    const why = policy === 'skip' ? 'the job does not make up for it' : `after more than ${withinMs} ms`;
    const reason = isLate ? `not started in time; ${why}` : 'not started before the next one was due';
    return [{ dueAt: last, action: 'missed', reason, count }];
  }
  const [before] = missed.slice(-2, -1);
  const others: Decision[] =
    before === undefined
      ? []
      : [{ dueAt: before, action: 'missed', reason: 'one run, of the latest, makes up for all', count: count - 1 }];
  if (!underWay || overlap === 'allow') return [...others, { dueAt: last, action: 'run', reason: null, count: 1 }];
  if (queued === 0) return [...others, { dueAt: last, action: 'queue', reason: null, count: 1 }];
  return [...others, { dueAt: last, action: 'missed', reason: 'a run that waits already makes up for it', count: 1 }];
}

function all(
  { missed: { withinMs, limit }, overlap }: Pick<Job, 'missed' | 'overlap'>,
  missed: readonly number[],
  count: number,
  { now, underWay, queued }: JobSituation,
): Decision[] {
  const wanted = missed.slice(-limit).filter((due) => now - due <= withinMs);
  const made: Decision[] = [];
  const given = count - wanted.length;
  if (given > 0) {
    const last = missed[missed.length - wanted.length - 1] ?? (missed[0] as number) - 1;
    const reason = `more than the latest ${limit}, or longer ago than ${withinMs} ms`;
    made.push({ dueAt: last, action: 'missed', reason, count: given });
  }
  let free = !underWay && queued === 0;
  for (const dueAt of wanted) {
    const action = overlap === 'allow' || free ? 'run' : 'queue';
    made.push({ dueAt, action, reason: null, count: 1 });
    free = false;
  }
  return made;
}

function onTime(
  { missed: { policy }, overlap }: Pick<Job, 'missed' | 'overlap'>,
  dueAt: number,
  { underWay, queued }: JobSituation,
): Decision {
  const of = { dueAt, count: 1 };
  if (overlap === 'allow' || (!underWay && queued === 0)) return { ...of, action: 'run', reason: null };
  // While a job catches up with everything it missed, nothing more is skipped.
  if (policy === 'all' && queued > 0) return { ...of, action: 'queue', reason: null };
  if (overlap === 'queue-one' && queued === 0) return { ...of, action: 'queue', reason: null };
  const reason = queued > 0 ? 'another run of it waits already' : 'the run before had not ended';
  return { ...of, action: 'skipped', reason };
}

interface ServerSituation {
  readonly now: number;
  readonly openRuns: OpenRuns;
  /** How many more runs this server may start. */
  readonly free: number;
  /** This server as the owner of runs; null: it can run nothing now. */
  readonly by: Runner | null;
}

/** What one transaction writes about jobs that are due. */
export interface Decisions {
  readonly decided: readonly { readonly job: Job; readonly decision: Decision; readonly row: NewRun }[];
  /** Up to which due time each job is then accounted for. */
  readonly settled: readonly { readonly entry: Entry; readonly until: number }[];
  /** Jobs that were not decided on; they go into the next transaction. */
  readonly left: readonly DueTimes[];
}

/** The most rows of one transaction; a single job may have missed thousands of due times. */
const MOST_ROWS = 1000;

/** Decides on the due times of many jobs, as many as one transaction can write. */
export function decideAll(due: readonly DueTimes[], situation: ServerSituation): Decisions {
  const decided: { job: Job; decision: Decision; row: NewRun }[] = [];
  const settled: { entry: Entry; until: number }[] = [];
  const left: DueTimes[] = [];
  let { free } = situation;
  for (const one of due) {
    if (decided.length >= MOST_ROWS) {
      left.push(one);
      continue;
    }
    const { entry, until } = one;
    const { job } = entry;
    const decisions = decisionsOn(one, situation);
    const some = decisions.slice(0, MOST_ROWS);
    for (const decision of some) {
      const isHere = decision.action === 'run' && job.runsOn === 'holder' && free > 0 && situation.by !== null;
      if (isHere) free--;
      decided.push({ job, decision, row: rowOf(entry, decision, isHere ? situation.by : null) });
    }
    const last = some.at(-1);
    settled.push({ entry, until: some.length === decisions.length || last === undefined ? until : last.dueAt });
  }
  return { decided, settled, left };
}

function decisionsOn({ entry: { job }, times, count, readyAt }: DueTimes, { now, openRuns }: ServerSituation) {
  const [underWay, queued] = [openRuns.underWay(job.name), openRuns.queued(job.name)];
  return decide(job, times, count, { now, readyAt, underWay, queued });
}

function rowOf(entry: Entry, { dueAt, action, reason, count }: Decision, by: Runner | null): NewRun {
  const { job } = entry;
  return {
    token: tokenOf(job.name, dueAt),
    attempt: 1,
    source: 'schedule',
    job: job.name,
    service: job.service,
    dueAt,
    readyAt: readyAt(entry, dueAt),
    pool: action === 'queue' ? 'queue' : job.runsOn,
    attempts: job.retries.attempts,
    count,
    data: null,
    by,
    outcome: action === 'skipped' || action === 'missed' ? action : null,
    reason,
  };
}
