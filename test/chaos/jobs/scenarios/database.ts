import { setTimeout as wait } from 'node:timers/promises';
import { until } from '../../condition.ts';
import { type Check, strict, timely } from '../../outcome.ts';
import { CLUSTER, type JobScenario, TERMS } from '../scenario.ts';
import { type Group, type JobTrial, summaryOf, verdictChecks, watch } from '../trial.ts';
import type { JobServer, JobsWorld } from '../world.ts';

const PAYLOAD = { forMs: 300 };
const GROUPS: readonly Group[] = (['all', 'once', 'skip'] as const).flatMap((policy) => {
  const missed = policy === 'all' ? { policy, limit: 10_000 } : { policy };
  return [true, false].map((again) => {
    return { name: `${policy}-${again ? 'again' : 'leave'}`, count: 1, everyMs: 1000, payload: PAYLOAD, again, missed };
  });
});
/** Of test/chaos/jobs/config/server.yaml, and what one that leaves a cluster waits for before. */
const GRACE_MS = 10_000;
const ENDING_MS = 8000;
/** A request of which nothing needs the database. */
const ANSWER_MS = 1000;
const BACK_MS = 10_000;

/** The database is stopped for a while, and one of the servers is stopped meanwhile. */
export const jobsDatabase: JobScenario = {
  world: CLUSTER,
  full: { ...TERMS, awayMs: [20_000] },
  short: { ...TERMS, awayMs: [7000] },
  async run(world, terms) {
    const { engine } = world.store;
    if (engine === null) throw new Error('A file cannot be stopped');
    let answeredMs = 0;
    let backMs = 0;
    let left = { ms: Number.NaN, exit: '' };
    let gone = { from: 0, until: 0 };
    const trial = await watch(world, { groups: GROUPS, seconds: terms.seconds }, async (acting) => {
      await acting.goesOn(4);
      const holder = await world.holding();
      await acting.inHand(holder.keeper.pid);
      gone = { from: world.databaseNow, until: 0 };
      await engine.stop();
      const over = wait(terms.awayMs[0]);
      // It has noticed, and has no lease any more.
      await wait(Math.min(6000, (terms.awayMs[0] as number) / 2));
      const leaver = world.othersThan(holder)[0] as JobServer;
      const [ms] = await Promise.all([
        longestAnswer(world.othersThan(leaver)),
        ended(leaver).then((said) => (left = said)),
      ]);
      answeredMs = ms;
      await over;
      const startedAt = performance.now();
      await engine.start();
      gone = { ...gone, until: world.databaseNow };
      await acting.startedElsewhere(null, gone.until);
      backMs = performance.now() - startedAt;
      await leaver.keeper.start();
      await acting.goesOn(4);
    });
    return {
      title: `the database stopped for ${(terms.awayMs[0] as number) / 1000} s`,
      about: [
        ...summaryOf(trial),
        `the slowest answer meanwhile: ${answeredMs.toFixed(0)} ms; the first start ${backMs.toFixed(0)} ms after the database was started`,
        ...policiesOf(trial, gone),
      ],
      tables: [],
      checks: [
        ...verdictChecks(trial),
        ...ofPolicies(trial, gone),
        strict('a server that was stopped meanwhile ended in order', left.exit === '0', left.exit),
        timely('it ended within its grace', left.ms, GRACE_MS + ENDING_MS),
        timely('every server answers meanwhile', answeredMs, ANSWER_MS),
        timely('runs are started again', backMs, BACK_MS),
        strict('every server recovers by itself', await wellAgain(world), 'all well'),
      ],
    };
  },
};

async function longestAnswer(servers: readonly JobServer[]): Promise<number> {
  let longest = 0;
  for (let i = 0; i < 5; i++) {
    for (const { url } of servers) {
      const from = performance.now();
      const response = await fetch(`${url}/gantry/metrics`, { signal: AbortSignal.timeout(20_000) });
      await response.arrayBuffer();
      longest = Math.max(longest, performance.now() - from);
    }
  }
  return longest;
}

async function ended({ keeper }: JobServer): Promise<{ ms: number; exit: string }> {
  const from = performance.now();
  await keeper.end('SIGTERM');
  return { ms: performance.now() - from, exit: String(keeper.ends.at(-1)) };
}

interface Gone {
  readonly from: number;
  readonly until: number;
}

/** Rows of due times while the database was away, the last second before the next start left out. */
function awayRows({ rows }: JobTrial, { from, until: to }: Gone, policy: string) {
  return rows.filter(({ job, attempt, dueAt }) => {
    return attempt === 1 && job?.includes(`${policy}-`) && dueAt > from + 1000 && dueAt <= to;
  });
}

function policiesOf(trial: JobTrial, gone: Gone): string[] {
  return ['all', 'once', 'skip'].map((policy) => {
    const rows = awayRows(trial, gone, policy);
    const told = rows.map(({ outcome, count }) => `${outcome}${count === 1 ? '' : ` (for ${count})`}`);
    const counts = new Map<string, number>();
    for (const one of told) counts.set(one, (counts.get(one) ?? 0) + 1);
    return `of two jobs with '${policy}', meanwhile: ${[...counts].map(([what, n]) => `${n} x ${what}`).join(', ')}`;
  });
}

function ofPolicies(trial: JobTrial, gone: Gone): Check[] {
  const [all, once, skip] = ['all', 'once', 'skip'].map((policy) => awayRows(trial, gone, policy));
  const count = (rows: typeof all, ...outcomes: string[]) => {
    return (
      rows?.filter(({ outcome }) => outcomes.includes(outcome ?? '')).reduce((sum, row) => sum + row.count, 0) ?? 0
    );
  };
  // Of each of the two jobs; the first of them may have been begun before.
  const due = 2 * Math.floor((gone.until - gone.from) / 1000 - 2);
  return [
    strict(
      "'all': every due time is made up for",
      count(all, 'missed', 'skipped') === 0 && (all?.length ?? 0) >= due,
      `${all?.length} of at least ${due}`,
    ),
    strict("'skip': none is", count(skip, 'missed') >= due, `${count(skip, 'missed')} missed of at least ${due}`),
    strict(
      "'once': one run, at most, stands for all",
      count(once, 'missed') >= due - 2 && count(once, 'succeeded') <= 2,
      `${count(once, 'missed')} missed, ${count(once, 'succeeded')} run`,
    ),
  ];
}

async function wellAgain(world: JobsWorld): Promise<boolean> {
  await world.agreed();
  await until('somebody has the lease', async () => (await world.holder()) !== null);
  return true;
}
