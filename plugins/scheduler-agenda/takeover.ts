import type { Job, Runs } from '../../core/api.ts';
import type { Clock } from './clock.ts';

/** A server hears of a change of a job sooner: only in that time it may have come too late for due times of it. */
export const FRESH_MS = 60_000;
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
