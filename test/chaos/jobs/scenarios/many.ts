import { readFileSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import { until } from '../../condition.ts';
import { quantile } from '../../figures.ts';
import { strict, timely } from '../../outcome.ts';
import { judge } from '../judge.ts';
import { rowsOf } from '../rows.ts';
import { CLUSTER, type JobScenario, type JobTerms, TERMS } from '../scenario.ts';
import { spreadOf, verdictChecks } from '../trial.ts';
import type { JobServer, JobsWorld } from '../world.ts';

const PREFIX = 'many-';
const HOUR_S = 3600;
const CALLS = 20;
/** Nobody waits for a page that long, on an idle machine. */
const PAGE_MS = 250;
const PLANNED_MS = 5000;
const UNTIL_READ_MS = 5000;

/** So many that each is due once an hour, and some each second. */
export const jobsMany: JobScenario = {
  // Of its own: nobody takes so many away again in one transaction.
  world: { ...CLUSTER, servers: 2, proxied: false },
  full: { ...TERMS, jobs: 100_000, seconds: 30 },
  short: { ...TERMS, jobs: 5000, seconds: 4 },
  async run(world, terms) {
    const one = await world.holding();
    const other = world.othersThan(one)[0] as JobServer;
    const before = await restarted(other);
    const from = performance.now();
    await world.apply(definitions(terms));
    const appliedMs = performance.now() - from;
    const after = await restarted(other);
    await world.agreed();
    const holderMb = memoryMb(one);
    const taken = await takeOver(world, one, terms.jobs);
    const calls = await timed(other, terms);
    const fired = await firings(world, terms);
    const late = fired.verdict.latenessMs;
    return {
      title: `${terms.jobs} jobs, each due once an hour`,
      about: [
        `applied in ${(appliedMs / 1000).toFixed(1)} s, ${(terms.jobs / (appliedMs / 1000)).toFixed(0)} a second`,
        `a server starts in ${before.ms.toFixed(0)} ms without them and in ${after.ms.toFixed(0)} ms with them`,
        `its memory: ${before.mb.toFixed(0)} MB without, ${after.mb.toFixed(0)} MB with them; of the holder, after all were applied there: ${holderMb.toFixed(0)} MB; of the next one, when all were planned: ${taken.mb.toFixed(0)} MB`,
        `from SIGTERM of the holder: ${taken.leaseMs.toFixed(0)} ms until the other had the lease, ${taken.plannedMs.toFixed(0)} ms more until all were planned`,
        `${fired.verdict.promised} due times in ${terms.seconds} s, lateness p50 ${quantile(late, 0.5).toFixed(0)} ms, p99 ${quantile(late, 0.99).toFixed(0)} ms`,
      ],
      tables: [{ head: ['call', 'ms'], rows: [...calls].map(([name, ms]) => [name, spreadOf(ms)]) }],
      checks: [
        ...verdictChecks(fired),
        strict('all of them are planned', taken.planned === terms.jobs, taken.planned),
        timely('the next holder plans them', taken.plannedMs, PLANNED_MS),
        ...[...calls].map(([name, ms]) =>
          timely(
            name,
            quantile(
              [...ms].sort((a, b) => a - b),
              0.5,
            ),
            PAGE_MS,
          ),
        ),
      ],
    };
  },
};

function definitions({ jobs }: JobTerms) {
  return Array.from({ length: jobs }, (_, i) => ({
    name: nameOf(i),
    service: 'load.job',
    schedule: { cron: `${i % 60} ${Math.floor((i % HOUR_S) / 60)} * * * *` },
    payload: { forMs: 0 },
    missed: { policy: 'all' },
  }));
}
function nameOf(nth: number): string {
  return `${PREFIX}${String(nth).padStart(6, '0')}`;
}

/** What it takes to start, and its memory when nothing of that is left to do. */
async function restarted({ keeper, name, admin }: JobServer): Promise<{ ms: number; mb: number }> {
  await keeper.end('SIGTERM');
  const from = performance.now();
  await keeper.start();
  await until(
    `${name} has read all records`,
    async () => (await admin.ask('server.info')).status === 200,
    UNTIL_READ_MS,
  );
  const ms = performance.now() - from;
  // Its collector has nothing to do by then.
  await wait(3000);
  return { ms, mb: memoryMb({ keeper }) };
}
function memoryMb({ keeper }: Pick<JobServer, 'keeper'>): number {
  const [, kb] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${keeper.pid}/status`, 'utf8')) ?? [];
  return Number(kb) / 1024;
}

async function takeOver(world: JobsWorld, one: JobServer, jobs: number) {
  const from = performance.now();
  const ended = one.keeper.end('SIGTERM');
  const next = await world.holding(one);
  const leaseMs = performance.now() - from;
  let planned: number | null = null;
  await until('all are planned', async () => {
    const status = await next.admin.call<{ isHolder: boolean; planned: number | null }>('scheduler.status');
    planned = status.planned;
    return status.isHolder && planned === jobs;
  }).catch(() => {});
  const plannedMs = performance.now() - from - leaseMs;
  const mb = memoryMb(next);
  await ended;
  await one.keeper.start();
  return { leaseMs, plannedMs, planned: planned ?? 0, mb };
}

/** What people do with them, in ms of each call. */
async function timed({ admin }: JobServer, { jobs }: JobTerms): Promise<ReadonlyMap<string, readonly number[]>> {
  const took = new Map<string, number[]>();
  const time = async (name: string, call: (i: number) => Promise<unknown>) => {
    const own: number[] = [];
    for (let i = 0; i < CALLS; i++) {
      const from = performance.now();
      await call(i);
      own.push(performance.now() - from);
    }
    took.set(name, own);
  };
  const some = (i: number) => nameOf(Math.floor((jobs / CALLS) * i));
  await time('a page of gantry.job.list', () => admin.call('job.list', { limit: 50 }));
  await time('a page of gantry.job.list, by the last change', () => {
    return admin.call('job.list', { limit: 50, sort: 'changedAt', descending: true });
  });
  await time('a page of gantry.job.overview', () => admin.call('job.overview', { limit: 50 }));
  await time('gantry.job.overview, searched', (i) =>
    admin.call('job.overview', { limit: 50, search: some(i).slice(0, -1) }),
  );
  await time('gantry.job.next', (i) => admin.call('job.next', { name: some(i) }));
  await time('gantry.job.update', async (i) => {
    await admin.call('job.update', { name: some(i), version: 1, changes: { description: 'changed' } });
  });
  return took;
}

/** Of all of them, those that are due in the next seconds: each is run once. */
async function firings(world: JobsWorld, { jobs, seconds }: JobTerms) {
  const from = (Math.ceil(world.databaseNow / 1000) + 1) * 1000;
  const last = from + seconds * 1000 - 1000;
  await wait(last + 1500 - world.databaseNow);
  const watched = Array.from({ length: jobs }, (_, i) => {
    const first = from + (((i % HOUR_S) * 1000 - (from % (HOUR_S * 1000)) + HOUR_S * 1000) % (HOUR_S * 1000));
    return { job: nameOf(i), times: first <= last ? [first] : [], again: false };
  }).filter(({ times }) => times.length > 0);
  const within = (one: { readonly dueAt: number }) => one.dueAt >= from && one.dueAt <= last;
  const evidence = async () => ({
    watched,
    rows: (await rowsOf(world.database, { prefix: PREFIX })).filter(within),
    lines: world.lines().filter(within),
    absences: world.absences,
  });
  await until('all have an outcome', async () => {
    const { faults } = judge(await evidence());
    return faults.lost.length + faults.open.length === 0;
  }).catch(() => {});
  return { verdict: judge(await evidence()) };
}
