import {
  Call,
  type Firing,
  GantryError,
  isGantryError,
  type Logger,
  type Records,
  type Services,
  toGantryError,
} from '../../core/api.ts';
import { type Job, jobOf, type Timetable } from '../../core/parts.ts';
import type { Attempt } from '../../core/ports/index.ts';
import type { Clock, DatabaseTime } from './clock.ts';
import type { Counters } from './counters.ts';
import type { HeldLeases } from './leases.ts';
import { dataOf } from './run-data.ts';
import type { Ending } from './sequel.ts';

interface Deps {
  readonly records: Pick<Records, 'get'>;
  readonly timetable: Timetable;
  readonly services: Pick<Services, 'run'>;
  readonly heldLeases: HeldLeases;
  readonly time: DatabaseTime;
  readonly clock: Clock;
  readonly counters: Counters;
  readonly log: Logger;
}

/** A run in flight on this server. */
export interface ActiveRun {
  readonly run: Attempt;
  call: Call | null;
  /** Why it must end; null if it may continue. */
  end: GantryError | null;
  readonly admittedAt: number;
}

/** How long to wait for a service whose call was aborted. */
const ABORT_MS = 10_000;
const ABORT_AT_STOP_MS = 1000;
/** How long to wait before asking an unavailable database again. */
const AGAIN_MS = 250;

/** Invokes the service of an attempt, and returns how that ended. */
export class AttemptRunner {
  readonly #deps: Deps;

  constructor(deps: Deps) {
    this.#deps = deps;
  }

  /** Never rejects. */
  async run(
    active: ActiveRun,
    latenessMs: number,
  ): Promise<{ readonly job: Job | null; readonly ending: Ending; readonly error: GantryError | null }> {
    const { counters, heldLeases, time, timetable } = this.#deps;
    const { run } = active;
    // The job decides what follows, even if the attempt does not start.
    let job: Job | null = run.job === null ? null : timetable.get(run.job);
    try {
      if (active.end === null && run.job !== null) job ??= await this.#lookUp(active, run.job);
      // After a freeze this process may have lost the run without knowing it.
      if (heldLeases.owner !== run.owner) active.end ??= ended();
      if (active.end !== null) throw active.end;
      if (job !== null && job.service !== run.service) throw renamed(run, job);
      counters.started(latenessMs);
      const value = await this.#invoke(active, job);
      return {
        job,
        ending: { outcome: 'succeeded', endedAt: time.now(), value, code: null, reason: null },
        error: null,
      };
    } catch (thrown) {
      const error = toGantryError(thrown);
      const { end } = active;
      const cancelled = end?.code === 'CALL_ABORTED' || (thrown as { gone?: true }).gone === true;
      const outcome =
        end?.code === 'RUN_INTERRUPTED' ? 'interrupted' : error.code === 'CALL_TIMEOUT' ? 'timeout' : 'failed';
      return {
        job,
        ending: {
          outcome: cancelled ? 'cancelled' : outcome,
          endedAt: time.now(),
          code: error.code,
          reason: reasonOf(error),
        },
        error,
      };
    }
  }

  async #invoke(active: ActiveRun, job: Job | null): Promise<unknown> {
    const { services } = this.#deps;
    const { run } = active;
    const { input, verb, cid, channel, identity, traceparent, timeoutMs: own } = dataOf(run);
    const call = new Call(channel ?? (run.job === null ? 'durable' : `job ${run.job}`), {
      cid: cid ?? run.token,
      ...(traceparent ? { traceparent } : {}),
    });
    call.identity = identity ?? (run.job === null ? null : SCHEDULER);
    call.firing = firingOf(run);
    active.call = call;
    const timeoutMs = job?.timeoutMs ?? own ?? null;
    // A handler may modify its input, and the next run gets the same payload.
    const running = services.run(run.service, input ?? structuredClone(job?.payload) ?? {}, call, {
      ...(timeoutMs === null ? {} : { timeoutMs }),
      ...(verb ? { verb } : {}),
    });
    const stopped = new Promise<never>((_, reject) => call.onAbort(() => reject(call.signal.reason)));
    stopped.catch(() => {});
    try {
      return await Promise.race([running, stopped]);
    } catch (thrown) {
      await this.#awaitEnd(active, call, running);
      throw thrown;
    }
  }

  /**
   * Waits for an aborted handler to end. Until then there is no outcome, and so no retry and no next run of the job. A
   * handler that ignores its signal is not waited for any longer than the limit.
   */
  async #awaitEnd(active: ActiveRun, call: Call, running: Promise<unknown>): Promise<void> {
    const { clock, log } = this.#deps;
    const { run, end } = active;
    if (end?.code === 'LEASE_LOST') return;
    let cancel = () => {};
    const late = new Promise<'late'>((resolve) => {
      cancel = clock.after(end?.code === 'RUN_INTERRUPTED' ? ABORT_AT_STOP_MS : ABORT_MS, () => resolve('late'));
    });
    const ended = running.then(nothing, nothing).then(() => call.late?.then(nothing, nothing));
    const first = await Promise.race([ended, late]);
    cancel();
    if (first !== 'late') return;
    const fields = { job: run.job, service: run.service, run: run.token, attempt: run.attempt };
    log.warn(fields, 'a service ignores that call.signal is aborted; its run counts as ended');
  }

  /** Reads a job that this server has not heard of yet. */
  async #lookUp(active: ActiveRun, name: string): Promise<Job> {
    const { clock, records } = this.#deps;
    while (true) {
      try {
        return jobOf((await records.get('job', name)).definition);
      } catch (thrown) {
        if (isGantryError(thrown) && thrown.code === 'RECORD_NOT_FOUND')
          throw Object.assign(new GantryError('NOT_FOUND', `The job '${name}' no longer exists`), { gone: true });
        // Without the job it is unknown whether to retry, so wait for the database.
        if (active.end !== null || !isGantryError(thrown) || !thrown.retryable) throw thrown;
        await new Promise<void>((resolve) => void clock.after(AGAIN_MS, resolve));
      }
    }
  }
}

function nothing(): void {}

/** The identity of calls that jobs make. */
const SCHEDULER = Object.freeze({ name: 'scheduler', roles: Object.freeze([]) });

function firingOf({ job, token, dueAt, attempt, source, owner }: Attempt): Firing {
  return { job, token, dueAt: new Date(dueAt), attempt, source, owner: owner as string };
}

/** The payload was made for the service that the job ran then, so it cannot be passed to another one. */
function renamed({ job, service }: Attempt, { service: now }: Job): GantryError {
  return new GantryError('CONFLICT', `The job '${job}' now runs '${now}': this run of '${service}' is given up`, {
    hint: 'Run the job again: gantry job run, or gantry job backfill for a period.',
  });
}

export function ended(): GantryError {
  return new GantryError(
    'LEASE_LOST',
    'The run no longer belongs to this server: it was cancelled, or this server was considered dead',
  );
}

/** The message for operators, with the details that callers do not get. */
function reasonOf({ message, hint, cause, problems }: GantryError): string {
  const below = cause instanceof Error ? cause.message : undefined;
  const each = problems?.map((one) => `${one.path} ${one.message}`).join('; ');
  return [message, below === message ? undefined : below, each, hint]
    .filter((text) => text)
    .join(' - ')
    .slice(0, 4000);
}
