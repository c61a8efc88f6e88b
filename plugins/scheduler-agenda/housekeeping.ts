import { type Logger, type Records, toGantryError } from '../../core/api.ts';
import type { Runs } from '../../core/ports/index.ts';
import type { Clock, DatabaseTime } from './clock.ts';

interface Deps {
  readonly runs: Runs;
  readonly records: Pick<Records, 'find' | 'remove'>;
  readonly clock: Clock;
  readonly time: DatabaseTime;
  readonly log: Logger;
  readonly keepMs: number;
  readonly keepDeadMs: number;
  /** How many ended runs are kept of each job, and of each service of durable calls. */
  readonly keepRuns: number;
}

const FORGET_MS = 60_000;

/** Removes jobs that are done and have removeWhenDone, and runs that are older than the retention. */
export class Housekeeping {
  readonly #deps: Deps;
  /** Jobs without further due times; they are removed when their last run has ended. */
  readonly #done = new Set<string>();
  /** Jobs and services that may have too many ended runs. */
  readonly #jobs = new Set<string>();
  readonly #services = new Set<string>();
  #forgetAt = 0;

  constructor(deps: Deps) {
    this.#deps = deps;
  }

  done(job: string): void {
    this.#done.add(job);
  }
  isDone(job: string): boolean {
    return this.#done.has(job);
  }
  /** The job has changed, so it may have due times again. */
  keep(job: string): void {
    this.#done.delete(job);
  }
  ended(job: string | null, service: string): void {
    if (job === null) this.#services.add(service);
    else this.#jobs.add(job);
  }
  clear(): void {
    this.#done.clear();
  }

  /** Removes the records of jobs that are done and have no open runs. */
  async finish(isOpen: (job: string) => boolean): Promise<void> {
    const { records, log } = this.#deps;
    for (const name of [...this.#done]) {
      // The job may have changed while another one was removed.
      if (!this.#done.has(name) || isOpen(name)) continue;
      try {
        // The version check keeps a job that was changed meanwhile.
        await records.remove('job', name, records.find('job', name)?.version, { name: 'scheduler' });
      } catch (thrown) {
        const error = toGantryError(thrown);
        if (error.retryable) continue;
        if (error.code !== 'RECORD_NOT_FOUND' && error.code !== 'RECORD_STALE')
          log.warn({ job: name, error }, 'a finished job could not be removed');
      }
      this.#done.delete(name);
    }
  }

  /** Removes old runs, at most once a minute. Rows due after `accounted` (ms) stay: they prove that their firing was started. */
  async forget(accounted: number): Promise<void> {
    const { runs, clock, time, log, keepMs, keepDeadMs, keepRuns } = this.#deps;
    if (clock.steady() < this.#forgetAt) return;
    this.#forgetAt = clock.steady() + FORGET_MS;
    const [jobs, services] = [[...this.#jobs], [...this.#services]];
    this.#jobs.clear();
    this.#services.clear();
    const now = time.now();
    const old = { before: now - keepMs, deadBefore: now - keepDeadMs, keep: keepRuns };
    try {
      await runs.forget({ ...old, jobs, services, accounted });
    } catch (error) {
      log.debug({ error }, 'old runs could not be removed; this is retried later');
      for (const name of jobs) this.#jobs.add(name);
      for (const name of services) this.#services.add(name);
    }
  }
}
