import type { Attempt, Lease } from '../../core/api.ts';
import { Leadership, type LeadershipDeps } from './leadership.ts';
import { Plan } from './plan.ts';
import type { Sequel } from './sequel.ts';

const NOTHING = new Plan();

/**
 * What the holder does, from when it becomes the holder until it is not. Each term has its own knowledge: what comes late
 * of one that is over changes nothing in the next.
 */
export class Leader {
  readonly #deps: LeadershipDeps;
  #leadership: Leadership | null = null;

  constructor(deps: LeadershipDeps) {
    this.#deps = deps;
  }

  get plan(): Plan {
    return this.#leadership?.plan ?? NOTHING;
  }
  get isReady(): boolean {
    return this.#leadership?.isReady ?? false;
  }
  /** Everything that is due up to then is accounted for; null while that is not known. It never goes back within a term. */
  get mark(): number | null {
    return this.#leadership?.mark ?? null;
  }

  /** `mark`: what the holder before has left. */
  begin(mark: number | null): void {
    this.end();
    this.#leadership = new Leadership(this.#deps);
    void this.#leadership.begin(mark);
  }
  end(): void {
    this.#leadership?.end();
    this.#leadership = null;
  }

  /** A job came, changed or went. */
  onJob(name: string): void {
    this.#leadership?.onJob(name);
  }
  /** The outcome of a run of this server is written. */
  onEnded(run: Pick<Attempt, 'job' | 'token' | 'service'>, sequel: Sequel): void {
    if (sequel.followers.length > 0) this.#deps.onOffered();
    this.#leadership?.onEnded(run, sequel);
  }
  onBeat(leases: readonly Lease[]): void {
    this.#leadership?.onBeat(leases);
  }
  /** Somebody else may have added runs. */
  look(): void {
    this.#leadership?.look();
  }
}
