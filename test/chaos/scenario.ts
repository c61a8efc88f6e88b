import type { Outcome } from './outcome.ts';
import type { TrialOptions } from './trial.ts';
import type { World } from './world.ts';

/** How long and how much. The short form has the same faults, fewer and briefer. */
export interface Terms extends TrialOptions {
  /** How often servers are killed. */
  readonly kills: number;
  /** How long what is stopped stays so. */
  readonly awayMs: number;
  /** How many servers have their turn, where one after the other has. */
  readonly turns: number;
  readonly rolls: number;
  readonly reloads: number;
  readonly changes: number;
  readonly deploys: number;
  /** Of four windows each. */
  readonly rounds: number;
}

/** One row of what is promised: a fault, made on an installation that is whole, and left whole. */
export type Scenario = (world: World, terms: Terms) => Promise<Outcome>;
