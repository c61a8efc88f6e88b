import type { Job, Timetable } from '../../core/parts.ts';
import type { RunEnd, Runs } from '../../core/ports/index.ts';
import type { Clock } from './clock.ts';

/** Every server hears of a changed job within this time. Due times from before the change may be affected only that long. */
export const FRESH_MS = 60_000;
const MOST_WAITING = 10_000;
/** How long planning may block the event loop. */
const SLICE_MS = 5;

/** For each job with rows after the mark (less FRESH_MS): the latest due time that has one. */
export async function handledSince(
  runs: Pick<Runs, 'firings'>,
  mark: number | null,
): Promise<ReadonlyMap<string, number>> {
  const handled = new Map<string, number>();
  for (const { job, dueAt } of await runs.firings(Math.max(0, (mark ?? 0) - FRESH_MS))) {
    handled.set(job, Math.max(dueAt, handled.get(job) ?? 0));
  }
  return handled;
}

/** From which moment a new holder looks at a job's due times. `mark`: null if there was no holder before. */
export function fromOf({ since }: Job, mark: number | null, now: number): number {
  // The server that saved the job had a wrong clock, so `since` says nothing.
  if (since === 0 || since > now) return mark ?? now;
  // The previous holder may not have heard of the job yet.
  return mark === null || since > mark - FRESH_MS ? since : mark;
}

/**
 * Firings that were waiting when the last server stopped, and that are too late to be made up for. After a time without a
 * holder they are missed, as are the due times of that time.
 */
export async function expiredSince(
  { runs, timetable }: { readonly runs: Pick<Runs, 'open'>; readonly timetable: Timetable },
  mark: number | null,
  now: number,
): Promise<readonly RunEnd[]> {
  const vacantMs = mark === null ? 0 : now - mark;
  if (vacantMs < FRESH_MS) return [];
  const waiting = await runs.open({ of: 'jobs', state: 'waiting', brief: true, limit: MOST_WAITING });
  return waiting.flatMap(({ token, attempt, source, dueAt, job: name }): RunEnd[] => {
    const job = name === null ? null : timetable.get(name);
    if (source !== 'schedule' || attempt > 1 || job === null) return [];
    const { policy, lateMs, withinMs } = job.missed;
    const isLost = policy === 'skip' ? vacantMs > lateMs : now - dueAt > withinMs;
    if (!isLost) return [];
    const reason = 'it was waiting when the last server stopped, and is too late now';
    return [{ token, attempt, outcome: 'missed', endedAt: now, reason, code: null, dead: false, followers: [] }];
  });
}

/** The same for a job that was added or changed later. `before`: its entry in the plan so far, or null. */
export function fromOfChanged(
  { since }: Job,
  before: { readonly job: Job; readonly from: number } | null,
  now: number,
): number {
  // The schedule is the same, so no due time may be passed over, however late it is.
  if (before !== null && before.job.since === since) return before.from;
  return Math.max(before?.from ?? 0, now - FRESH_MS, Math.min(since, now));
}

/** Calls `work` with each name, and yields to the event loop every few ms. */
export async function inSlices(
  names: Iterable<string>,
  clock: Clock,
  work: (name: string) => void,
  isOver: () => boolean,
): Promise<void> {
  let since = clock.steady();
  for (const name of [...names]) {
    work(name);
    if (clock.steady() - since < SLICE_MS) continue;
    await clock.turn();
    if (isOver()) return;
    since = clock.steady();
  }
}
