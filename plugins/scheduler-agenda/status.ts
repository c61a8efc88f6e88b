import { GantryError } from '../../core/api.ts';
import type { SchedulerStatus } from '../../core/ports/index.ts';
import type { DatabaseTime } from './clock.ts';
import type { Counters } from './counters.ts';
import type { Leader } from './leader.ts';
import type { HeldLeases } from './leases.ts';
import type { Worker } from './worker.ts';

/** What the database answered when runs were last counted. */
export interface Counts {
  readonly waiting: number;
  readonly dead: number;
  /** Since when the longest waiting run has been ready, in ms since 1970; null: none waits. */
  readonly waitingSince: number | null;
}

interface Deps {
  readonly heldLeases: HeldLeases;
  readonly leader: Leader;
  readonly worker: Worker;
  readonly time: DatabaseTime;
  readonly counters: Counters;
  readonly counts: Counts | null;
  readonly standsBack: string | null;
  readonly paused: boolean;
}

/** How long nobody may hold the lease before it is a problem; a take-over is faster. */
const VACANT_MS = 15_000;
/** A job counts as overdue only after this. */
const LATE_MS = 5000;
const MOST_OVERDUE = 20;
/** A smaller step back is ordinary clock synchronisation. */
const SET_BACK_MS = 10_000;
/** How long a run that is ready may wait before it is a problem. */
const WAITING_MS = 60_000;

/** The status of the scheduler and its first problem, as this server knows them. Does no I/O. */
export function statusOf(deps: Deps): { readonly status: SchedulerStatus; readonly problem: GantryError | null } {
  const { heldLeases, leader, worker, time, counters, counts, standsBack, paused } = deps;
  const now = time.now();
  const heldAt = heldLeases.heldAt;
  const isVacant = heldLeases.vacantMs > VACANT_MS;
  const overdue = heldLeases.isHolder && leader.isReady && !paused ? overdueOf(leader, now) : [];
  const status: SchedulerStatus = {
    holder: isVacant ? null : heldLeases.holder,
    isHolder: heldLeases.isHolder,
    standsBack,
    heldAt: heldAt === null ? null : new Date(heldAt),
    paused,
    planned: heldLeases.isHolder && leader.isReady ? leader.plan.size : null,
    overdue: overdue.slice(0, MOST_OVERDUE),
    inHand: worker.inFlight.map(({ run: { token, attempt, job, service } }) => ({ token, attempt, job, service })),
    waiting: counts?.waiting ?? null,
    dead: counts?.dead ?? null,
    aheadMs: time.aheadMs,
    counters: counters.snapshot(),
  };
  const found =
    worker.problem ??
    problemOf(heldLeases, status, overdue.length) ??
    waitingProblem(now - (counts?.waitingSince ?? now)) ??
    aheadProblem((heldLeases.isHolder ? (leader.mark ?? now) : now) - now);
  return { status, problem: found };
}

function waitingProblem(ms: number): GantryError | null {
  if (ms <= WAITING_MS) return null;
  return new GantryError(
    'SCHEDULER_UNAVAILABLE',
    `A run has been waiting for ${Math.round(ms / 1000)} s to be started`,
    {
      hint: 'Runs that do not end may have used up the concurrency: gantry run list --state running. Give their jobs a timeoutMs, or raise "concurrency" of scheduler.agenda.',
    },
  );
}

function aheadProblem(ms: number): GantryError | null {
  if (ms <= SET_BACK_MS) return null;
  return new GantryError(
    'SCHEDULER_UNAVAILABLE',
    `Jobs are due again in ${Math.round(ms / 1000)} s: the clock of the database was set back, and all due times before then are accounted for already`,
    { hint: 'If the clock is right now, just wait; start by `gantry job run` what must run meanwhile.' },
  );
}

function overdueOf(leader: Leader, now: number) {
  const found = [];
  for (const { job, due, ready } of leader.plan.entries()) {
    if (due === null || now - ready <= Math.max(LATE_MS, job.missed.lateMs)) continue;
    found.push({ job: job.name, dueAt: new Date(due), lateMs: now - due });
  }
  return found.sort((a, b) => b.lateMs - a.lateMs);
}

function problemOf(
  heldLeases: HeldLeases,
  { overdue, holder, standsBack }: SchedulerStatus,
  count: number,
): GantryError | null {
  const { problem } = heldLeases;
  const code = 'SCHEDULER_UNAVAILABLE';
  if (problem !== null) {
    const hint = problem.hint === undefined ? {} : { hint: problem.hint };
    return new GantryError(code, `The scheduler cannot use its database: ${problem.message}`, {
      cause: problem,
      ...hint,
    });
  }
  // A server that has just started is about to take the lease, unless something keeps it from that.
  if (holder === null && (heldLeases.vacantMs > VACANT_MS || standsBack !== null)) {
    return new GantryError(code, 'No server runs the scheduler', {
      hint: 'A server that is ready, online and has scheduler.agenda takes over within seconds: `gantry scheduler status` shows the reasons of each server.',
    });
  }
  const [first] = overdue;
  if (first === undefined) return null;
  return new GantryError(code, `${count} job(s) are overdue, '${first.job}' since ${first.dueAt.toISOString()}`, {
    hint: 'The log of the server that runs the scheduler says why; "concurrency" of scheduler.agenda limits how many run at once.',
  });
}
