import type { Attempt, Lease } from '../../core/ports/index.ts';
import { Leadership, type LeadershipDeps } from './leadership.ts';
import { Plan } from './plan.ts';
import type { Sequel } from './sequel.ts';

const NOTHING = new Plan();

/**
 * What a server does while it is the holder. Each time it becomes the holder it starts with a new Leadership, so that late
 * answers to a previous one cannot affect it.
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
  /** The moment up to which all due times are accounted for; null while it is not known. It never goes back during a leadership. */
  get mark(): number | null {
    return this.#leadership?.mark ?? null;
  }

  /** `mark`: as the previous holder left it; null if there was none. */
  begin(mark: number | null): void {
    this.end();
    this.#leadership = new Leadership(this.#deps);
    void this.#leadership.begin(mark);
  }
  end(): void {
    this.#leadership?.end();
    this.#leadership = null;
  }

  /** A job was added, changed or removed. */
  onJob(name: string): void {
    this.#leadership?.onJob(name);
  }
  /** This server has written the outcome of a run. */
  onEnded(run: Pick<Attempt, 'job' | 'token' | 'service'>, sequel: Sequel): void {
    if (sequel.followers.length > 0) this.#deps.onOffered();
    this.#leadership?.onEnded(run, sequel);
  }
  onBeat(leases: readonly Lease[]): void {
    this.#leadership?.onBeat(leases);
  }
  /** Others may have added runs: reads the open runs again. */
  look(): void {
    this.#leadership?.look();
  }
}
