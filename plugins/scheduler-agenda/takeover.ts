import type { Job, RunEnd, Runs, Timetable } from '../../core/api.ts';
import type { Clock } from './clock.ts';

/** A server hears of a change of a job sooner: only in that time it may have come too late for due times of it. */
export const FRESH_MS = 60_000;
const MOST_WAITING = 10_000;
/** How long jobs are planned before others get their turn. */
const SLICE_MS = 5;

/** By job, up to when its due times are accounted for by rows, as far as they are later than the mark, or may be. */
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

/** From when on the due times of a job count for who takes over at a mark; null: nobody has planned before. */
export function fromOf({ since }: Job, mark: number | null, now: number): number {
  // The clock of who saved it was wrong: it tells nothing.
  if (since === 0 || since > now) return mark ?? now;
  // The holder before may not have heard of it yet.
  return mark === null || since > mark - FRESH_MS ? since : mark;
}

/**
 * What waited when the last server stopped, and is not to be made up for: after a time in which nobody had the scheduler,
 * it is missed as what came in that time is.
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
    const reason = 'it waited when the last server stopped, and is too late now';
    return [{ token, attempt, outcome: 'missed', endedAt: now, reason, code: null, dead: false, followers: [] }];
  });
}

/** The same for one that came or changed since; `before`: as it was planned, null: it was not. */
export function fromOfChanged(
  { since }: Job,
  before: { readonly job: Job; readonly from: number } | null,
  now: number,
): number {
  // When nothing of its times has changed, none is passed over, however late it is.
  if (before !== null && before.job.since === since) return before.from;
  return Math.max(before?.from ?? 0, now - FRESH_MS, Math.min(since, now));
}

/** Works through the names; others get their turn in between. */
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
