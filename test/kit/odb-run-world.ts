import type { Odb } from '../../core/ports/odb.ts';
import type { NewRun, RunEnd, RunKey, Runner } from '../../core/ports/runs.ts';
import type { OdbWorld } from './odb-world.ts';

/** Two servers on one database, and their runs. */
export class RunWorld {
  readonly #world: OdbWorld;

  constructor(world: OdbWorld) {
    this.#world = world;
  }

  get odb(): Odb {
    return this.#world.odb;
  }
  /** Of the other server. */
  get other(): Odb {
    return this.#world.other;
  }

  /** As OdbDatabase.run(). */
  run(sql: string): Promise<void> {
    return this.#world.run(sql);
  }

  /** One that no other test uses. */
  name(): string {
    return this.#world.kind();
  }

  runner(owner: string, epoch = 0): Runner {
    return { owner, server: `server of ${owner}`, epoch, now: Date.now() };
  }

  /** Ends what a test left open: all tests take from the same pools. */
  async clear(): Promise<void> {
    for (const run of await this.odb.runs.open({ limit: 100_000 })) {
      await this.odb.runs.end([{ ...endOf(run), outcome: 'cancelled' }], run.owner, null);
    }
  }
}

/** Waiting ones of one job, each due a second after the one before. */
export function freshRuns(job: string, count: number, dueAt = 1_000_000): NewRun[] {
  return Array.from({ length: count }, (_, i) => ({
    token: `${job} ${String(i).padStart(5, '0')}`,
    attempt: 1,
    source: 'schedule',
    job,
    service: 'kit.service',
    dueAt: dueAt + i * 1000,
    readyAt: dueAt + i * 1000,
    pool: 'holder',
    attempts: 1,
    count: 1,
    data: null,
    by: null,
    outcome: null,
    reason: null,
  }));
}

export function endOf({ token, attempt }: RunKey, endedAt = Date.now()): RunEnd {
  return { token, attempt, outcome: 'succeeded', endedAt, reason: null, code: null, dead: false, followers: [] };
}

export const fromKey = ({ token, attempt }: RunKey): RunKey => ({ token, attempt });
export const keysOf = (runs: readonly RunKey[]): RunKey[] => runs.map(fromKey);

/** As texts, sorted, to be compared. */
export const keys = (of: readonly RunKey[]): string[] =>
  of.map(({ token, attempt }) => `${token} ${attempt}`).toSorted();

/** Of each the number in its token. */
export const numbers = (runs: readonly { readonly token: string }[]): number[] =>
  runs.map(({ token }) => Number(token.split(' ').at(-1)));
