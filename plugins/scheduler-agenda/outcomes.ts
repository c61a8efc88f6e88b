import { type GantryError, isGantryError, type Logger, toGantryError } from '../../core/api.ts';
import type { RunEnd, Runs } from '../../core/ports/index.ts';
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
  /** It must be written in a transaction of its own. */
  alone: boolean;
  done(written: boolean): void;
}

/** The most outcomes in one transaction. */
const PORTION = 200;
const AGAIN_MS = 200;

/** Writes outcomes: those that arrive during a transaction go together into the next one. Retries as long as this server owns the runs. */
export class Outcomes {
  readonly #deps: Deps;
  readonly #waiting: Waiting[] = [];
  #writing = false;
  #problem: GantryError | null = null;

  constructor(deps: Deps) {
    this.#deps = deps;
  }

  /** Why an outcome cannot be written although the database answers; null if there is no such outcome. */
  get problem(): GantryError | null {
    return this.#problem;
  }

  /** Resolves to false if the run no longer belongs to this server, or already has an outcome. */
  write(end: RunEnd, owner: string): Promise<boolean> {
    return new Promise((done) => {
      this.#waiting.push({ end, owner, alone: false, done });
      if (!this.#writing) void this.#write();
    });
  }

  async #write(): Promise<void> {
    this.#writing = true;
    // Outcomes of the same turn of the event loop go together.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const some = this.#waiting.splice(0, this.#portion());
      if (!(await this.#try(some))) await this.#pause();
    }
    this.#writing = false;
  }

  /** How many may go together: they have one owner, and none must go alone. */
  #portion(): number {
    const [{ owner, alone }] = this.#waiting as [Waiting];
    if (alone) return 1;
    const end = this.#waiting.findIndex((one, i) => i >= PORTION || one.owner !== owner || one.alone);
    return end === -1 ? this.#waiting.length : end;
  }

  /** False: retry after a pause. */
  async #try(some: readonly Waiting[]): Promise<boolean> {
    const { runs, heldLeases, log } = this.#deps;
    const owner = (some[0] as Waiting).owner;
    const finish = (written: (one: Waiting) => boolean) => {
      for (const one of some) one.done(written(one));
      return true;
    };
    // After a lost lease this server has a new owner id, which must not write the outcomes of the old one. A beat tells.
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
        // If only the database's clock was set, renewing makes the lease valid again.
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
          // Keep trying, behind the others: without an outcome the run would be taken for interrupted and run again.
          this.#waiting.push(one);
          return false;
        }
        // Its follow-ups or its reason may be what the database refuses, so write it without them.
        const reason = `its outcome could not be stored completely: ${error.message}`;
        this.#waiting.unshift({ ...one, alone: true, end: { ...one.end, reason, followers: [], code: error.code } });
        return true;
      }
      // One of them makes the others fail.
      for (const one of some) await this.#try([one]);
      return true;
    }
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => void this.#deps.clock.after(AGAIN_MS, resolve));
  }
}
