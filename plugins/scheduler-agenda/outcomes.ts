import { type GantryError, isGantryError, type Logger, type RunEnd, type Runs, toGantryError } from '../../core/api.ts';
import type { Clock } from './clock.ts';
import type { HeldLeases } from './leases.ts';
import { keyOf } from './run-data.ts';

interface Deps {
  readonly runs: Runs;
  readonly heldLeases: HeldLeases;
  readonly clock: Clock;
  readonly log: Logger;
}

interface Waiting {
  readonly end: RunEnd;
  readonly owner: string;
  /** It was tried by itself. */
  alone: boolean;
  done(written: boolean): void;
}

/** The most outcomes that are written in one transaction. */
const PORTION = 200;
const AGAIN_MS = 200;

/** Writes outcomes, many at once while one transaction is under way, and again while this server may write them at all. */
export class Outcomes {
  readonly #deps: Deps;
  readonly #waiting: Waiting[] = [];
  #writing = false;
  #problem: GantryError | null = null;

  constructor(deps: Deps) {
    this.#deps = deps;
  }

  /** Why an outcome cannot be written, though the database answers. */
  get problem(): GantryError | null {
    return this.#problem;
  }

  /** False: the run is not this server's any more, or its outcome is there already. */
  write(end: RunEnd, owner: string): Promise<boolean> {
    return new Promise((done) => {
      this.#waiting.push({ end, owner, alone: false, done });
      if (!this.#writing) void this.#write();
    });
  }

  async #write(): Promise<void> {
    this.#writing = true;
    // What ends in the same turn goes with it.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const some = this.#waiting.splice(0, this.#portion());
      if (!(await this.#try(some))) await this.#pause();
    }
    this.#writing = false;
  }

  /** As many as may go together: of one owner, and none that is to go alone. */
  #portion(): number {
    const [{ owner, alone }] = this.#waiting as [Waiting];
    if (alone) return 1;
    const end = this.#waiting.findIndex((one, i) => i >= PORTION || one.owner !== owner || one.alone);
    return end === -1 ? this.#waiting.length : end;
  }

  /** False: to be tried again after a while. */
  async #try(some: readonly Waiting[]): Promise<boolean> {
    const { runs, heldLeases, log } = this.#deps;
    const owner = (some[0] as Waiting).owner;
    const finish = (written: (one: Waiting) => boolean) => {
      for (const one of some) one.done(written(one));
      return true;
    };
    // One that was lost is another life of this server: it must not write what that one did. It may be renewed just now.
    if (heldLeases.owner !== owner) await heldLeases.beat();
    if (heldLeases.owner !== owner) return finish(() => false);
    try {
      const ends = some.map(({ end }) => end);
      const written = new Set((await runs.end(ends, owner, heldLeases.ownFence())).map(keyOf));
      this.#problem = null;
      return finish(({ end }) => written.has(keyOf(end)));
    } catch (thrown) {
      const error = toGantryError(thrown);
      if (isGantryError(thrown) && error.code === 'LEASE_LOST') {
        // Where the clock of the database was set, the lease is this server's again when it is renewed.
        await heldLeases.beat();
        if (heldLeases.owner !== owner) return finish(() => false);
        this.#waiting.unshift(...some);
        return false;
      }
      if (error.retryable) {
        this.#waiting.unshift(...some);
        return false;
      }
      if (some.length === 1) {
        const [one] = some as [Waiting];
        if (one.alone) {
          if (this.#problem === null)
            log.error({ error, run: one.end.token }, 'the outcome of a run cannot be written');
          this.#problem = error;
          // After the others: while it has none, it must not count as another's, and be tried again.
          this.#waiting.push(one);
          return false;
        }
        // What comes after it, or its own words, may be what cannot be kept.
        const reason = `what came of it could not be kept: ${error.message}`;
        this.#waiting.unshift({ ...one, alone: true, end: { ...one.end, reason, followers: [], code: error.code } });
        return true;
      }
      // One of them spoils it for the others.
      for (const one of some) await this.#try([one]);
      return true;
    }
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => void this.#deps.clock.after(AGAIN_MS, resolve));
  }
}
