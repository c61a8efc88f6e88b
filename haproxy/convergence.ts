import { type Logger, pause } from 'gantry/api';
import type { Pool } from './pool.ts';
import { isElsewhere, planOf, type Step, serverRows, take } from './runtime.ts';

/** What came of the steps. */
export interface Outcome {
  /** What was done. */
  readonly steps: readonly string[];
  /** Why a reload is needed after all; null where none is. */
  readonly reload: string | null;
  /** Servers are to go that still have calls in hand. */
  readonly isLeft: boolean;
}

/** Makes the servers of a running HAProxy those that are wanted, through its socket. */
export async function converge(socket: string, pools: readonly Pool[]): Promise<Outcome> {
  const plan = planOf(pools, await serverRows(socket));
  if (plan.reload !== null) return { steps: [], reload: plan.reload, isLeft: false };
  const steps: string[] = [];
  let isLeft = false;
  for (const step of plan.steps) {
    const refused = await attempt(socket, step);
    if (refused === null) steps.push(...(step.told === null ? [] : [step.told]));
    else if (step.kind === 'remove') isLeft = true;
    else return { steps, reload: refused, isLeft };
  }
  return { steps, reload: null, isLeft };
}

/** Its connections are given up within milliseconds, where nothing is in hand on them. */
async function attempt(socket: string, step: Step): Promise<string | null> {
  let refused = await take(socket, step);
  for (let tries = 1; refused !== null && step.kind === 'remove' && tries < 5; tries++) {
    await pause(20);
    refused = await take(socket, step);
  }
  return refused;
}

/** Only those that stay: so that the next worker hears of it, too. */
export async function settle(socket: string, pools: readonly Pool[]): Promise<void> {
  const { steps } = planOf(pools, await serverRows(socket));
  for (const step of steps) if (step.kind === 'set') await take(socket, step);
}

/** The servers' state as the next worker is to find it: of those that stay where they are. */
export async function statesOf(socket: string, pools: readonly Pool[]): Promise<string> {
  const wanted = new Map(
    pools.flatMap(({ backend, servers }) => servers.map((s) => [`${backend}/${s.id}`, s] as const)),
  );
  const rows = (await serverRows(socket)).filter((row) => {
    const server = wanted.get(`${row.backend}/${row.id}`);
    // Of one that moved it would bring the old address back.
    return server !== undefined && !isElsewhere(row, server);
  });
  return `1\n${rows.map(({ line }) => `${line}\n`).join('')}`;
}

const SWEEP_MS = 250;
const LONGEST_SWEEP_MS = 10_000;

/** Comes back for servers that could not be removed yet. */
export class Sweeper {
  readonly #sweep: () => Promise<Outcome | null>;
  readonly #log: Logger;
  #timer: NodeJS.Timeout | null = null;
  #waitMs = SWEEP_MS;
  #isEnded = false;

  constructor(sweep: () => Promise<Outcome | null>, log: Logger) {
    this.#sweep = sweep;
    this.#log = log;
  }

  comeBack(): void {
    this.#waitMs = SWEEP_MS;
    this.#wait();
  }

  end(): void {
    this.#isEnded = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #wait(): void {
    if (this.#isEnded) return;
    this.#timer ??= setTimeout(() => void this.#come(), this.#waitMs).unref();
  }

  /** Later and later: a call may take an hour. */
  async #come(): Promise<void> {
    this.#waitMs = Math.min(this.#waitMs * 2, LONGEST_SWEEP_MS);
    try {
      const outcome = await this.#sweep();
      this.#timer = null;
      if (outcome === null) return;
      if (outcome.steps.length > 0) this.#log.info({ steps: outcome.steps }, 'HAProxy was changed');
      if (outcome.isLeft) this.#wait();
    } catch (error) {
      this.#timer = null;
      this.#log.debug({ error }, 'servers that are to go could not be looked at');
      this.#wait();
    }
  }
}
