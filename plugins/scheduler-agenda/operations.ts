import { createHash, randomUUID } from 'node:crypto';
import { GantryError, isGantryError, type Records } from '../../core/api.ts';
import { type Job, jobOf, type Timetable, timesOf } from '../../core/parts.ts';
import type { Asker, Backfill, DurableCall, Leases, NewRun, Runner, Runs } from '../../core/ports/index.ts';
import type { Clock, DatabaseTime } from './clock.ts';
import { type HeldLeases, SCHEDULER } from './leases.ts';
import { backfillToken } from './plan.ts';
import { attemptOf, checkKept, type RunData } from './run-data.ts';
import type { Worker } from './worker.ts';

interface Deps {
  readonly runs: Runs;
  readonly leases: Leases;
  readonly records: Pick<Records, 'get'>;
  readonly timetable: Timetable;
  readonly heldLeases: HeldLeases;
  readonly worker: Worker;
  readonly time: DatabaseTime;
  readonly clock: Clock;
  /** How many ended runs are kept of each job. */
  readonly keepRuns: number;
  readonly keepMs: number;
  /** A run was added that another server may have to start. */
  onAdded(): void;
}

const MOST_ATTEMPTS = 1000;
const CANCEL_TRIES = 5;
const MOST_MS = 366 * 86_400_000;
const MOST_BACKFILLED = 10_000;
/** A due time with one of these outcomes did not run. */
const DID_NOT_RUN: ReadonlySet<string> = new Set(['missed', 'skipped', 'cancelled']);

/** Stores a durable call, starts it on this server if it has room, and resolves to its token. */
export async function accept(deps: Deps, call: DurableCall): Promise<string> {
  checkCall(call);
  const { runs, worker, onAdded } = deps;
  const now = await nowOf(deps);
  const { service, input, verb, cid, channel, identity, traceparent, callback, timeoutMs, key, afterMs } = call;
  const data: RunData = {
    ...{ input, verb, cid, channel, identity, traceparent, callback, timeoutMs },
    ...{ backoffMs: call.backoffMs, maxBackoffMs: call.maxBackoffMs },
  };
  const token = key === null ? randomUUID().replaceAll('-', '') : digest('call', service, key);
  const by = afterMs === 0 && worker.free > 0 ? worker.asRunner() : null;
  const readyAt = now + afterMs;
  const row: NewRun = {
    ...{ token, attempt: 1, source: 'call', job: null, service, dueAt: readyAt, readyAt, pool: 'any' },
    ...{ attempts: call.attempts, count: 1, data, by, outcome: null, reason: null },
  };
  const added = await add(deps, row, by);
  if (added === null) {
    // The run lease has just expired: another server, or this one later, starts the call.
    await runs.add([{ ...row, by: null }], null);
    onAdded();
  } else if (added.by !== null) worker.admit([attemptOf({ ...added, by: added.by })]);
  else onAdded();
  return token;
}

/** The row if this call added it; the row without an owner if it was there before; null if the owner's lease has expired. */
async function add({ runs, heldLeases, worker }: Deps, row: NewRun, by: Runner | null): Promise<NewRun | null> {
  try {
    const added = await runs.add([row], by === null ? null : heldLeases.ownFence());
    return added.length === 0 ? { ...row, by: null } : row;
  } catch (thrown) {
    if (by !== null && isGantryError(thrown) && thrown.code === 'LEASE_LOST') return null;
    // The row may have been added as running on this server.
    worker.doubt();
    void worker.poll();
    throw thrown;
  }
}

/** Runs a job now, and resolves to the token of the run. */
export async function fire(deps: Deps, name: string, { name: by, cid }: Asker, payload: unknown): Promise<string> {
  checkKept(payload, 'The payload');
  const job = await find(deps, name);
  const now = await nowOf(deps);
  const token = randomUUID().replaceAll('-', '');
  const data: RunData = { by, cid, ...(payload === undefined ? {} : { input: payload }) };
  await deps.runs.add([{ ...rowOf(job, now, token), source: 'manual', data }], null);
  deps.onAdded();
  return token;
}

/** Runs a job for the due times of a period that did not run. */
export async function backfill(
  deps: Deps,
  name: string,
  { from, until, limit }: Backfill,
  { name: by }: Asker,
): Promise<{ readonly due: number; readonly added: number }> {
  const job = await find(deps, name);
  const [first, last] = [from.getTime(), Math.min(until.getTime(), await nowOf(deps))];
  if (!(limit >= 1 && limit <= MOST_BACKFILLED)) throw invalid('/limit', `1 to ${MOST_BACKFILLED}`, String(limit));
  if (!(first <= last)) {
    const period = `${from.toISOString()} to ${until.toISOString()}`;
    throw invalid('/from', 'a period that begins in the past, and before it ends', period);
  }
  const { times, count, more } = timesOf(job).between(first - 1, last, limit);
  if (count > limit || more)
    throw invalid('/until', `a period with at most ${limit} due times`, `${count}${more ? ' or more' : ''}`);
  await checkKnown(deps, job, first);
  const ran = await ranIn(deps, name, first, last);
  const decided = await decidedUntil(deps);
  const due = times.filter((time) => time <= decided && !ran.has(time));
  const data: RunData = { by };
  const rows = due.map(
    (time): NewRun => ({ ...rowOf(job, time, backfillToken(name, time)), source: 'backfill', pool: 'queue', data }),
  );
  const added = await deps.runs.add(rows, null);
  if (added.length > 0) deps.onAdded();
  return { due: due.length, added: added.length };
}

/** Ends a waiting run, or aborts a running one: at once on this server, soon on another. False if no run of the token is open. */
export async function cancel(deps: Deps, token: string, { name }: Asker): Promise<boolean> {
  const { runs, worker, onAdded } = deps;
  const reason = `cancelled by ${name}`;
  // The run may start, or end and be retried, at this moment, so try several times.
  for (let left = CANCEL_TRIES; left > 0; left--) {
    const open = (await runs.find(token)).find(({ state }) => state !== 'ended');
    if (open === undefined) return false;
    if (worker.cancel(token)) return true;
    const end = { token, attempt: open.attempt, outcome: 'cancelled', endedAt: await nowOf(deps), reason } as const;
    const ended = await runs.end([{ ...end, code: null, dead: false, followers: [] }], open.owner, null);
    if (ended.length === 0) continue;
    onAdded();
    return true;
  }
  return false;
}

/** Now by the database's clock, in ms since 1970; asks for it once. The clock of this machine may be wrong by hours. */
export async function nowOf({ time, clock, leases }: Pick<Deps, 'time' | 'clock' | 'leases'>): Promise<number> {
  if (!time.isKnown) {
    const askedAt = clock.steady();
    const { now } = await leases.renew([]);
    time.sync(now, askedAt, clock.steady());
  }
  return time.now();
}

/** The moment up to which the holder has decided; later due times are not to be backfilled. */
async function decidedUntil({ leases, time }: Deps): Promise<number> {
  const found = (await leases.renew([])).leases.find(({ name }) => name === SCHEDULER);
  return found?.mark ?? time.now();
}

/** Throws INVALID for a period that begins before the oldest kept run, as earlier runs may have been removed. */
async function checkKnown({ runs, keepRuns, keepMs, time }: Deps, { name, since }: Job, from: number): Promise<void> {
  let known = time.now() - keepMs;
  // The job did not exist before, so it did not run.
  if (since >= known) known = Number.NEGATIVE_INFINITY;
  const latest = await runs.history({ job: name, limit: Math.min(1000, keepRuns) });
  if (latest.total >= keepRuns) {
    let oldest = latest.items.at(-1)?.dueAt ?? 0;
    for (let after = latest.next; after !== null; ) {
      const page = await runs.history({ job: name, limit: 1000, after });
      oldest = page.items.at(-1)?.dueAt ?? oldest;
      after = page.next;
    }
    known = Math.max(known, oldest);
  }
  if (from < known) throw invalid('/from', `not before ${iso(known)}, from when on the runs are kept`, iso(from));
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}

/** Due times that ran, or are about to. */
async function ranIn({ runs }: Deps, job: string, from: number, until: number): Promise<Set<number>> {
  const ran = new Set<number>();
  let after: string | undefined;
  do {
    const query = { job, from, until: until + 1, limit: 1000 };
    const page = await runs.history(after === undefined ? query : { ...query, after });
    for (const { dueAt, source, outcome } of page.items) {
      const isDue = source === 'schedule' || source === 'backfill';
      if (isDue && !DID_NOT_RUN.has(outcome ?? '')) ran.add(dueAt);
    }
    after = page.next ?? undefined;
  } while (after !== undefined);
  return ran;
}

/** The row of an extra run of a job. It waits for other runs of the job unless they may overlap. */
function rowOf(job: Job, dueAt: number, token: string): NewRun {
  return {
    ...{ token, attempt: 1, source: 'manual', job: job.name, service: job.service, dueAt, readyAt: dueAt },
    ...{ attempts: job.retries.attempts, count: 1, data: null, by: null, outcome: null, reason: null },
    pool: job.overlap === 'allow' ? job.runsOn : 'queue',
  };
}

async function find({ timetable, records }: Deps, name: string): Promise<Job> {
  const known = timetable.get(name);
  if (known !== null) return known;
  try {
    return jobOf((await records.get('job', name)).definition);
  } catch (thrown) {
    if (!isGantryError(thrown) || thrown.code !== 'RECORD_NOT_FOUND') throw thrown;
    throw new GantryError('NOT_FOUND', thrown.message, {
      cause: thrown,
      ...(thrown.hint ? { hint: thrown.hint } : {}),
    });
  }
}

function checkCall(call: DurableCall): void {
  checkKept(call.input, `The input of '${call.service}'`);
  const { attempts, backoffMs, maxBackoffMs, afterMs, timeoutMs, key } = call;
  if (!(Number.isInteger(attempts) && attempts >= 1 && attempts <= MOST_ATTEMPTS))
    throw invalid('/attempts', `1 to ${MOST_ATTEMPTS}`, String(attempts));
  for (const [name, ms] of Object.entries({ backoffMs, maxBackoffMs, afterMs, timeoutMs: timeoutMs ?? 0 })) {
    if (!(ms >= 0 && ms <= MOST_MS)) throw invalid(`/${name}`, `0 to ${MOST_MS} ms`, String(ms));
  }
  if (key !== null && (key.length === 0 || key.length > 200))
    throw invalid('/key', 'a text of 1 to 200 characters', `${key.length} characters`);
}

function invalid(path: string, expected: string, got: string): GantryError {
  const name = path.slice(1);
  return new GantryError('INVALID', `${name} must be ${expected}`, {
    problems: [{ path, message: `must be ${expected}`, expected, got }],
  });
}

function digest(...parts: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 32);
}
