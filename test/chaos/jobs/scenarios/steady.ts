import { quantile } from '../../figures.ts';
import { type Check, strict } from '../../outcome.ts';
import { CLUSTER, type JobScenario, TERMS } from '../scenario.ts';
import type { StoreName } from '../store.ts';
import { type JobTrial, noneOf, summaryOf, verdictChecks, watch } from '../trial.ts';

/** The goal on an idle machine with as many cores as processes. */
const P99_MS = 250;

/** Nothing is done to them: every job is due each second. */
function steady(store: StoreName, jobs: number): JobScenario {
  return {
    // What is measured is not to go through anything else.
    world: { ...CLUSTER, store, proxied: false },
    full: { ...TERMS, jobs, seconds: 120 },
    short: { ...TERMS, jobs: 20, seconds: store === 'postgres' ? 6 : 4 },
    async run(world, terms) {
      const groups = [{ name: 'each', count: terms.jobs, everyMs: 1000, payload: { forMs: 0 }, again: false }];
      const trial = await watch(world, { groups, seconds: terms.seconds });
      const { lines } = trial;
      const starters = new Set(lines.filter(({ event }) => event === 'start').map(({ server }) => server));
      return {
        title: `${terms.jobs} jobs due every second on three servers, ${store}`,
        about: summaryOf(trial),
        tables: [latenessTable(trial)],
        checks: [
          ...verdictChecks(trial),
          onceEach(trial),
          noneOf(trial, 'missed', 'skipped', 'interrupted', 'failed', 'timeout', 'cancelled', 'none'),
          strict('one server ran them all', starters.size === 1, [...starters].join(', ')),
          p99(trial),
        ],
      };
    },
  };
}

export const jobs = steady('postgres', 200);
export const jobsSqlite = steady('sqlite', 20);
export const jobsMariadb = steady('mariadb', 20);

function onceEach({ verdict, lines, rows }: JobTrial): Check {
  const { promised, fired, starts } = verdict;
  const ends = lines.filter(({ event }) => event === 'end').length;
  const same = [fired, starts, ends, rows.length].every((count) => count === promised);
  const told = `${promised} due times, ${rows.length} rows, ${fired} tokens, ${starts} starts, ${ends} ends`;
  return strict('each firing exactly once', same && promised > 0, told);
}

function p99({ verdict: { latenessMs } }: JobTrial): Check {
  const ms = quantile(latenessMs, 0.99);
  const text = `99 of 100 start at most ${P99_MS} ms after they were due, on an idle machine`;
  return { text, measured: `${ms.toFixed(0)} ms`, met: ms <= P99_MS, strict: false };
}

function latenessTable({ verdict: { latenessMs } }: JobTrial) {
  const shares = [0.5, 0.9, 0.99, 0.999];
  return {
    head: ['', ...shares.map((share) => `p${share * 100}`), 'max'],
    rows: [
      [
        'late, ms',
        ...shares.map((share) => quantile(latenessMs, share).toFixed(0)),
        (latenessMs.at(-1) ?? Number.NaN).toFixed(0),
      ],
    ],
  };
}
