import { parseArgs } from 'node:util';
import type { JobTerms } from './jobs/scenario.ts';
import type { Terms } from './scenario.ts';

export interface Options {
  /** Which scenarios; empty: all. */
  readonly names: readonly string[];
  readonly terms: Terms;
  /** What is said of scenarios of jobs; each has its own for the rest. */
  readonly jobTerms: Partial<JobTerms>;
  /** Where to write everything that was found, as JSON. */
  readonly json: string | null;
  /** Where to leave a copy of the logs. */
  readonly keep: string | null;
}

/** Throws an Error with the reason for arguments that it does not know. */
export function readOptions(args: readonly string[], known: readonly string[]): Options {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      seconds: { type: 'string' },
      rate: { type: 'string' },
      jobs: { type: 'string' },
      times: { type: 'string' },
      changes: { type: 'string', default: '1000' },
      deploys: { type: 'string', default: '100' },
      rounds: { type: 'string', default: '3' },
      json: { type: 'string' },
      keep: { type: 'string' },
    },
  });
  const unknown = positionals.find((name) => !known.includes(name));
  if (unknown !== undefined) throw new Error(`There is no scenario '${unknown}'.\n\n${usage(known)}`);
  const counts = { changes: natural(values.changes, 'changes'), deploys: natural(values.deploys, 'deploys') };
  const rounds = natural(values.rounds, 'rounds');
  const terms = { kills: 5, turns: 3, awayMs: 20_000, rolls: 2, reloads: 10, rounds, ...counts };
  const { seconds = '30', rate = '500' } = values;
  return {
    names: positionals.length === 0 ? known : positionals,
    terms: { ...terms, perSecond: positive(rate, 'rate'), seconds: positive(seconds, 'seconds') },
    jobTerms: {
      ...(values.seconds === undefined ? {} : { seconds: positive(values.seconds, 'seconds') }),
      ...(values.rate === undefined ? {} : { rate: positive(values.rate, 'rate') }),
      ...(values.jobs === undefined ? {} : { jobs: natural(values.jobs, 'jobs') }),
      ...(values.times === undefined ? {} : { times: natural(values.times, 'times') }),
    },
    json: values.json ?? null,
    keep: values.keep ?? null,
  };
}

export function usage(known: readonly string[]): string {
  return `npm run chaos -- [${known.join('|')} ...] [options]

Without a name all of them run, one after the other.
  --seconds N   load for at least so long in each (30; those of jobs have their own)
  --rate N      requests a second (500; durable calls: 20)
  --jobs N      how many jobs, of those of jobs (each has its own)
  --times N     how often the fault is made, of those of jobs (10)
  --changes N   of the scenario changes (1000)
  --deploys N   of the same (100)
  --rounds N    of the scenario pace, four windows each (3)
  --json FILE   writes everything that was found, too
  --keep DIR    leaves a copy of the logs there
`;
}

function natural(text: string, name: string): number {
  if (/^\d{1,6}$/.test(text)) return Number(text);
  throw new Error(`--${name} must be a whole number, not '${text}'`);
}

function positive(text: string, name: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new Error(`--${name} must be a number above 0, not '${text}'`);
}
