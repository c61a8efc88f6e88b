import type { Job, NewRun, Runner } from '../../core/api.ts';
import type { Book } from './book.ts';
import { type Decision, decide } from './decide.ts';
import { type DueTimes, type Entry, readyAt, tokenOf } from './plan.ts';

interface Situation {
  readonly now: number;
  readonly book: Book;
  /** How many runs this server has room for. */
  readonly free: number;
  /** Null: it runs nothing now. */
  readonly by: Runner | null;
}

/** What is to be written of jobs that are due. */
export interface Drawing {
  readonly drawn: readonly { readonly job: Job; readonly decision: Decision; readonly row: NewRun }[];
  /** Up to when each job is accounted for by it. */
  readonly settled: readonly { readonly entry: Entry; readonly until: number }[];
  /** Not looked at: for the next transaction. */
  readonly left: readonly DueTimes[];
}

/** The most rows of one transaction: one job may have missed thousands. */
const MOST = 1000;

/** Decides on due times, as many as go into one transaction. */
export function draw(due: readonly DueTimes[], situation: Situation): Drawing {
  const drawn: { job: Job; decision: Decision; row: NewRun }[] = [];
  const settled: { entry: Entry; until: number }[] = [];
  const left: DueTimes[] = [];
  let { free } = situation;
  for (const one of due) {
    if (drawn.length >= MOST) {
      left.push(one);
      continue;
    }
    const { entry, until } = one;
    const { job } = entry;
    const decisions = decisionsOn(one, situation);
    const some = decisions.slice(0, MOST);
    for (const decision of some) {
      const isHere = decision.action === 'run' && job.runsOn === 'holder' && free > 0 && situation.by !== null;
      if (isHere) free--;
      drawn.push({ job, decision, row: rowOf(entry, decision, isHere ? situation.by : null) });
    }
    const last = some.at(-1);
    settled.push({ entry, until: some.length === decisions.length || last === undefined ? until : last.dueAt });
  }
  return { drawn, settled, left };
}

function decisionsOn({ entry: { job }, times, count, readyAt }: DueTimes, { now, book }: Situation) {
  const [underWay, queued] = [book.underWay(job.name), book.queued(job.name)];
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
