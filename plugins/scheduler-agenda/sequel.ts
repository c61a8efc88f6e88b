import { createHash } from 'node:crypto';
import { backoffMs } from '../../core/api.ts';
import type { Job } from '../../core/parts.ts';
import type { Attempt, NewRun, RunOutcome } from '../../core/ports/index.ts';
import { dataOf, type RunData } from './run-data.ts';

/** How many attempts a follow-up call (a callback, onSuccess, onError) has in all. */
const FOLLOW_ATTEMPTS = 10;
/** How many more attempts than configured a job may have if its servers die. Limited, as the job itself may crash them. */
const INTERRUPTIONS = 5;
/** A larger result is not passed on to the follow-up call. */
const MOST_CHARACTERS = 65_536;

/** How an attempt ended. */
export interface Ending {
  readonly outcome: RunOutcome;
  readonly endedAt: number;
  /** What the service returned. */
  readonly value?: unknown;
  readonly code: string | null;
  readonly reason: string | null;
}

/** What follows an attempt: another attempt, or the calls that its outcome asks for, or nothing. */
export interface Sequel {
  readonly followers: readonly NewRun[];
  /** The durable call was given up: it goes to the dead letters. */
  readonly dead: boolean;
  /** There is no other attempt. */
  readonly final: boolean;
}

/** `job`: null for a durable call, and if the job no longer exists. */
export function sequelOf(run: Attempt, ending: Ending, job: Job | null): Sequel {
  const again = nextAttempt(run, ending, job);
  if (again !== null) return { followers: [again], dead: false, final: false };
  const isOfJob = run.job !== null;
  const ok = ending.outcome === 'succeeded';
  const followers: NewRun[] = [];
  if (job !== null && ok && job.onSuccess !== null) followers.push(follow(run, ending, job.onSuccess));
  if (job !== null && !ok && ending.outcome !== 'cancelled' && job.onError !== null)
    followers.push(follow(run, ending, job.onError));
  const { callback = null } = dataOf(run);
  if (!isOfJob && callback !== null) followers.push(follow(run, ending, callback));
  return { followers, dead: !isOfJob && !ok && ending.outcome !== 'cancelled', final: true };
}

function nextAttempt(run: Attempt, { outcome, endedAt }: Ending, job: Job | null): NewRun | null {
  const isOfJob = run.job !== null;
  let waitMs = 0;
  if (outcome === 'interrupted') {
    const most = isOfJob ? run.attempts + INTERRUPTIONS : run.attempts;
    if ((isOfJob && job?.interrupted !== 'again') || run.attempt >= most) return null;
    // The call may be what crashed its server.
    if (!isOfJob) waitMs = Math.round(backoffMs(run.attempt, backoffOf(dataOf(run))));
  } else if (outcome === 'failed' || outcome === 'timeout') {
    if (run.attempt >= run.attempts || (isOfJob && job === null)) return null;
    waitMs = Math.round(backoffMs(run.attempt, job?.retries ?? backoffOf(dataOf(run))));
  } else return null;
  const { token, attempt, source, service, dueAt, attempts, count, data } = run;
  return {
    ...{
      token,
      attempt: attempt + 1,
      source,
      job: run.job,
      service: job?.service ?? service,
      dueAt,
      attempts,
      count,
      data,
    },
    readyAt: endedAt + waitMs,
    pool: job?.runsOn ?? 'any',
    by: null,
    outcome: null,
    reason: null,
  };
}

function backoffOf({ backoffMs: first = 1000, maxBackoffMs = 300_000 }: RunData) {
  return { backoffMs: first, maxBackoffMs };
}

/** The token follows from the attempt, so that several servers add the same follow-up only once. */
function follow(run: Attempt, ending: Ending, service: string): NewRun {
  const { token, job, dueAt, attempt } = run;
  const own = createHash('sha256')
    .update(JSON.stringify(['follow', token, run.attempt, service]))
    .digest('hex');
  const { cid = token, identity = null } = dataOf(run);
  return {
    token: own.slice(0, 32),
    attempt: 1,
    source: 'follow',
    job: null,
    service,
    dueAt: ending.endedAt,
    readyAt: ending.endedAt,
    pool: 'any',
    attempts: FOLLOW_ATTEMPTS,
    count: 1,
    by: null,
    outcome: null,
    reason: null,
    data: {
      cid,
      identity,
      input: {
        ...(job === null
          ? { cid, service: run.service }
          : { job, service: run.service, dueAt: new Date(dueAt).toISOString() }),
        token,
        attempt,
        ok: ending.outcome === 'succeeded',
        outcome: ending.outcome,
        ...resultOf(ending),
      },
    } satisfies RunData,
  };
}

function resultOf({ outcome, value, code, reason }: Ending): object {
  if (outcome !== 'succeeded') return { error: { code: code ?? outcome, message: reason ?? outcome } };
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch {
    return {};
  }
  return text === undefined || text.length > MOST_CHARACTERS ? {} : { value: JSON.parse(text) as unknown };
}
