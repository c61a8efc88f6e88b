import { GantryError } from '../errors.ts';
import { pointerOf, stepsOf } from '../path.ts';
import type { Definition, Effect } from '../ports/kind.ts';
import { type Job, jobOf } from './jobs.ts';

/** The jobs that this server knows, as their records define them. */
export class Timetable implements Effect {
  readonly #jobs = new Map<string, Job>();
  readonly #listeners = new Set<(name: string) => void>();

  /** Throws RECORD_INVALID for a schedule that this version cannot read, or whose time zone this machine does not know. */
  put(definition: Definition): void {
    const job = jobOf(definition);
    const problems = job.schedule.problems.map((one) => ({
      ...one,
      path: `/schedule${pointerOf(stepsOf(one.path))}`,
    }));
    if (problems.length > 0) {
      const all = problems.map(({ path, message }) => `${path} ${message}`).join('; ');
      throw new GantryError('RECORD_INVALID', `The job '${definition.name}' cannot be planned: ${all}`, { problems });
    }
    this.#jobs.set(job.name, job);
    this.#notify(definition.name);
  }
  drop(name: string): void {
    if (this.#jobs.delete(name)) this.#notify(name);
  }

  get(name: string): Job | null {
    return this.#jobs.get(name) ?? null;
  }
  names(): Iterable<string> {
    return this.#jobs.keys();
  }
  get size(): number {
    return this.#jobs.size;
  }

  /** Calls `listen` with the name of each job that is added, changed or removed. Returns a function that unsubscribes. */
  subscribe(listen: (name: string) => void): () => void {
    this.#listeners.add(listen);
    return () => void this.#listeners.delete(listen);
  }

  #notify(name: string): void {
    for (const listen of this.#listeners) listen(name);
  }
}
