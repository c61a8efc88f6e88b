import { type Logger, type Records, type Runs, toGantryError } from '../../core/api.ts';
import type { Clock, DatabaseTime } from './clock.ts';

interface Deps {
  readonly runs: Runs;
  readonly records: Pick<Records, 'find' | 'remove'>;
  readonly clock: Clock;
  readonly time: DatabaseTime;
  readonly log: Logger;
  readonly keepMs: number;
  readonly keepDeadMs: number;
  /** Of each job, and of each service of durable calls. */
  readonly keepRuns: number;
}

const FORGET_MS = 60_000;

/** Takes away what is over: jobs that are done, and runs that nobody needs to know of any more. */
export class Housekeeping {
  readonly #deps: Deps;
  /** Jobs whose last due time is over, and that go when their last run has ended. */
  readonly #done = new Set<string>();
  /** Jobs and services of which there may be something to forget. */
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
  /** It goes on. */
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

  /** Removes the records of jobs that are done and have nothing open. */
  async finish(isOpen: (job: string) => boolean): Promise<void> {
    const { records, log } = this.#deps;
    for (const name of [...this.#done]) {
      // While another one was removed, it may have been changed.
      if (!this.#done.has(name) || isOpen(name)) continue;
      try {
        // One that was changed meanwhile is not done.
        await records.remove('job', name, records.find('job', name)?.version, { name: 'scheduler' });
      } catch (thrown) {
        const error = toGantryError(thrown);
        if (error.retryable) continue;
        if (error.code !== 'RECORD_NOT_FOUND' && error.code !== 'RECORD_STALE')
          log.warn({ job: name, error }, 'a job that is done could not be removed');
      }
      this.#done.delete(name);
    }
  }

  /** Once a minute. `accounted`: what is due later stays, since it is what tells that it was started. */
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
      log.debug({ error }, 'old runs are kept for now');
      for (const name of jobs) this.#jobs.add(name);
      for (const name of services) this.#services.add(name);
    }
  }
}
