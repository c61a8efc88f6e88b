import type { Job } from '../../core/api.ts';

/** What becomes of a due time. */
export interface Decision {
  readonly dueAt: number;
  readonly action: 'run' | 'queue' | 'skipped' | 'missed';
  readonly reason: string | null;
  /** How many due times it stands for. */
  readonly count: number;
}

export interface Situation {
  readonly now: number;
  /** When the last one was to be started, its jitter included. */
  readonly readyAt: number;
  /** Of a run of this job: its further attempts that wait count, too. */
  readonly underWay: boolean;
  /** Due times that wait for it to end. */
  readonly queued: number;
}

/**
 * Decides on due times of one job that nobody has decided on: `times` are the latest ones, in order, of `count`. All but
 * the last are missed, since the next one has come; the last one is late at most, or missed, too, after `lateMs`.
 */
export function decide(
  job: Pick<Job, 'missed' | 'overlap'>,
  times: readonly number[],
  count: number,
  situation: Situation,
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

/** The one run that makes up for all is the latest: where that is on time, or the job wants none, the others are just missed. */
function once(
  { missed: { policy, withinMs }, overlap }: Pick<Job, 'missed' | 'overlap'>,
  missed: readonly number[],
  count: number,
  { now, underWay, queued }: Situation,
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
  return [...others, { dueAt: last, action: 'missed', reason: 'a run that waits makes up for it', count: 1 }];
}

function all(
  { missed: { withinMs, limit }, overlap }: Pick<Job, 'missed' | 'overlap'>,
  missed: readonly number[],
  count: number,
  { now, underWay, queued }: Situation,
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
  { underWay, queued }: Situation,
): Decision {
  const of = { dueAt, count: 1 };
  if (overlap === 'allow' || (!underWay && queued === 0)) return { ...of, action: 'run', reason: null };
  // While a job makes up for what it missed, nothing more of it gets lost.
  if (policy === 'all' && queued > 0) return { ...of, action: 'queue', reason: null };
  if (overlap === 'queue-one' && queued === 0) return { ...of, action: 'queue', reason: null };
  const reason = queued > 0 ? 'a run of it waits already' : 'the run before was under way';
  return { ...of, action: 'skipped', reason };
}
