import type { Outcome } from '../outcome.ts';
import type { JobsWorld, WorldOptions } from './world.ts';

/** How long and how much; what a scenario has no use for, it does not look at. */
export interface JobTerms {
  readonly jobs: number;
  /** At least; it goes on as long as the faults take. */
  readonly seconds: number;
  /** How often the fault is made. */
  readonly times: number;
  /** How long what is away stays so, or how slow what is slow is: each in turn. */
  readonly awayMs: readonly number[];
  /** Calls a second. */
  readonly rate: number;
}

/** One row of what is promised of jobs: a fault, on an installation that is whole and is left whole. */
export interface JobScenario {
  readonly world: WorldOptions;
  readonly full: JobTerms;
  /** For `npm test`: the same, less and briefer. */
  readonly short: JobTerms;
  run(world: JobsWorld, terms: JobTerms): Promise<Outcome>;
}

export const TERMS: JobTerms = { jobs: 20, seconds: 0, times: 1, awayMs: [], rate: 10 };
/** Three servers on PostgreSQL, each with a way of its own to it. */
export const CLUSTER: WorldOptions = { store: 'postgres', servers: 3, proxied: true, clocks: 'none' };
