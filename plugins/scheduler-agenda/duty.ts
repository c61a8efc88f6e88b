import type { Attempt, Lease } from '../../core/api.ts';
import type { Sequel } from './next.ts';
import { Plan } from './plan.ts';
import { Term, type TermParts } from './term.ts';

const NOTHING = new Plan();

/**
 * What the holder does, from when it becomes the holder until it is not. Each term has its own knowledge: what comes late
 * of one that is over changes nothing in the next.
 */
export class Duty {
  readonly #parts: TermParts;
  #term: Term | null = null;

  constructor(parts: TermParts) {
    this.#parts = parts;
  }

  get plan(): Plan {
    return this.#term?.plan ?? NOTHING;
  }
  get isReady(): boolean {
    return this.#term?.isReady ?? false;
  }
  /** Everything that is due up to then is accounted for; null while that is not known. It never goes back within a term. */
  get mark(): number | null {
    return this.#term?.mark ?? null;
  }

  /** `mark`: what the holder before has left. */
  begin(mark: number | null): void {
    this.end();
    this.#term = new Term(this.#parts);
    void this.#term.begin(mark);
  }
  end(): void {
    this.#term?.end();
    this.#term = null;
  }

  /** A job came, changed or went. */
  onJob(name: string): void {
    this.#term?.onJob(name);
  }
  /** The outcome of a run of this server is written. */
  onEnded(run: Pick<Attempt, 'job' | 'token' | 'service'>, sequel: Sequel): void {
    if (sequel.followers.length > 0) this.#parts.onOffered();
    this.#term?.onEnded(run, sequel);
  }
  onBeat(leases: readonly Lease[]): void {
    this.#term?.onBeat(leases);
  }
  /** Somebody else may have added runs. */
  look(): void {
    this.#term?.look();
  }
}
