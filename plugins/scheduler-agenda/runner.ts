import {
  type Attempt,
  Call,
  type Firing,
  GantryError,
  isGantryError,
  type Job,
  jobOf,
  type Logger,
  type Records,
  type Services,
  type Timetable,
  toGantryError,
} from '../../core/api.ts';
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

/** A run that this server has in hand. */
export interface ActiveRun {
  readonly run: Attempt;
  call: Call | null;
  /** Why it is to end; null: it may go on. */
  end: GantryError | null;
  readonly admittedAt: number;
}

/** How long a service that was told to end is waited for. */
const DEAF_MS = 10_000;
const DEAF_AT_STOP_MS = 1000;
/** After a database that does not answer. */
const AGAIN_MS = 250;

/** Invokes the service of a run, and tells how that ended. */
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
    // What comes after it is told by its job, even where it does not begin.
    let job: Job | null = run.job === null ? null : timetable.get(run.job);
    try {
      if (active.end === null && run.job !== null) job ??= await this.#lookUp(active, run.job);
      // A process that stood still may have lost it and not know.
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
    // A handler may change what it is given, and the next run is given it, too.
    const running = services.run(run.service, input ?? structuredClone(job?.payload) ?? {}, call, {
      ...(timeoutMs === null ? {} : { timeoutMs }),
      ...(verb ? { verb } : {}),
    });
    const stopped = new Promise<never>((_, reject) => call.onAbort(() => reject(call.signal.reason)));
    stopped.catch(() => {});
    try {
      return await Promise.race([running, stopped]);
    } catch (thrown) {
      await this.#silence(active, call, running);
      throw thrown;
    }
  }

  /**
   * Until a handler that was told to end has ended, there is no outcome, and so no further attempt, nor the next run of its job. One that
   * does not listen to its signal is waited for so long only.
   */
  async #silence(active: ActiveRun, call: Call, running: Promise<unknown>): Promise<void> {
    const { clock, log } = this.#deps;
    const { run, end } = active;
    if (end?.code === 'LEASE_LOST') return;
    let cancel = () => {};
    const late = new Promise<'late'>((resolve) => {
      cancel = clock.after(end?.code === 'RUN_INTERRUPTED' ? DEAF_AT_STOP_MS : DEAF_MS, () => resolve('late'));
    });
    const ended = running.then(nothing, nothing).then(() => call.late?.then(nothing, nothing));
    const first = await Promise.race([ended, late]);
    cancel();
    if (first !== 'late') return;
    const told = { job: run.job, service: run.service, run: run.token, attempt: run.attempt };
    log.warn(told, 'a service goes on though it was told to end by call.signal; it is not waited for any longer');
  }

  /** A job that this server has not heard of yet may be there nevertheless. */
  async #lookUp(active: ActiveRun, name: string): Promise<Job> {
    const { clock, records } = this.#deps;
    while (true) {
      try {
        return jobOf((await records.get('job', name)).definition);
      } catch (thrown) {
        if (isGantryError(thrown) && thrown.code === 'RECORD_NOT_FOUND')
          throw Object.assign(new GantryError('NOT_FOUND', `There is no job '${name}' any more`), { gone: true });
        // Without it nobody knows whether it is to be tried again.
        if (active.end !== null || !isGantryError(thrown) || !thrown.retryable) throw thrown;
        await new Promise<void>((resolve) => void clock.after(AGAIN_MS, resolve));
      }
    }
  }
}

function nothing(): void {}

/** Who calls, where a job runs a service. */
const SCHEDULER = Object.freeze({ name: 'scheduler', roles: Object.freeze([]) });

function firingOf({ job, token, dueAt, attempt, source, owner }: Attempt): Firing {
  return { job, token, dueAt: new Date(dueAt), attempt, source, owner: owner as string };
}

/** Its payload is of the job as it is now, or of who asked for the run: neither is for another service. */
function renamed({ job, service }: Attempt, { service: now }: Job): GantryError {
  return new GantryError(
    'CONFLICT',
    `The job '${job}' runs '${now}' by now: what was to run '${service}' is given up`,
    {
      hint: 'Run the job again, or fill in the period: gantry job run, gantry job backfill.',
    },
  );
}

export function ended(): GantryError {
  return new GantryError('LEASE_LOST', 'The run is not of this server any more: it was cancelled, or taken for dead');
}

/** For operators: with what the caller would not hear. */
function reasonOf({ message, hint, cause, problems }: GantryError): string {
  const below = cause instanceof Error ? cause.message : undefined;
  const each = problems?.map((one) => `${one.path} ${one.message}`).join('; ');
  return [message, below === message ? undefined : below, each, hint]
    .filter((text) => text)
    .join(' - ')
    .slice(0, 4000);
}
