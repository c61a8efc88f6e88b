import { setTimeout as wait } from 'node:timers/promises';
import { until } from '../../condition.ts';
import { strict } from '../../outcome.ts';
import { CLUSTER, type JobScenario, TERMS } from '../scenario.ts';
import type { StoreName } from '../store.ts';
import { type Group, noneOf, summaryOf, unprovoked, verdictChecks, watch } from '../trial.ts';
import type { JobServer, JobsWorld } from '../world.ts';

const HOUR_S = 3600;
const MINUTE_MS = 60_000;
const PAYLOAD = { forMs: 100 };

/** The clocks of servers jump by an hour while they run: first the holder's, then another one's. */
export const jobsClock: JobScenario = {
  world: { ...CLUSTER, proxied: false, clocks: 'servers' },
  full: { ...TERMS, jobs: 20, seconds: 2, times: 3 },
  // The scheduler looks each second.
  short: { ...TERMS, jobs: 5, seconds: 1.2, times: 1 },
  async run(world, terms) {
    const told: string[] = [];
    const groups = [{ name: 'each', count: terms.jobs, everyMs: 1000, payload: PAYLOAD, again: true }];
    const trial = await watch(world, { groups, seconds: 0 }, async (acting) => {
      for (let i = 0; i < terms.times; i++) {
        const holder = await world.holding();
        for (const server of [holder, world.othersThan(holder)[0] as JobServer]) {
          for (const offsetS of [HOUR_S, -HOUR_S, 0]) {
            await acting.goesOn(terms.seconds);
            server.clock?.set(offsetS);
            await acting.goesOn(terms.seconds);
            const now = await aheadOf(server);
            told.push(
              `${server.name}${server === holder ? ', the holder,' : ''} ${offsetS} s: it finds itself ${now} ms ahead`,
            );
          }
        }
      }
    });
    const holders = new Set(trial.rows.map(({ epoch }) => epoch));
    return {
      title: `the clocks of servers set by an hour, forward and back, ${terms.times} times`,
      about: [...summaryOf(trial), ...told],
      tables: [],
      checks: [
        ...verdictChecks(trial),
        noneOf(trial, 'missed', 'skipped', 'interrupted', 'failed', 'timeout', 'none'),
        strict('the lease stays where it is', holders.size === 1, `${holders.size} holder(s)`),
        strict(
          'the clocks were set',
          told.length === 6 * terms.times && told.some((line) => /-?3[56]\d{5} ms/.test(line)),
          told.length,
        ),
      ],
    };
  },
};

/** By what it says itself. */
async function aheadOf({ admin }: JobServer): Promise<number | null> {
  return (await admin.call<{ aheadMs: number | null }>('scheduler.status')).aheadMs;
}

const EACH = { everyMs: 1000, payload: PAYLOAD, again: false };
const DATABASE_GROUPS: readonly Group[] = [
  { ...EACH, name: 'minute', count: 1, everyMs: MINUTE_MS, missed: { policy: 'all', limit: 10_000 } },
  { ...EACH, name: 'five', count: 1, missed: { policy: 'all', limit: 5 } },
  { ...EACH, name: 'once', count: 1, missed: { policy: 'once' } },
  { ...EACH, name: 'skip', count: 1, missed: { policy: 'skip' } },
];

/** The clock of the database jumps an hour forward, back, and forward; the holder is killed while it is behind. */
function databaseClock(store: StoreName): JobScenario {
  return {
    world: { ...CLUSTER, store, proxied: false, clocks: 'database' },
    full: { ...TERMS, times: 1, seconds: 15 },
    short: { ...TERMS, times: 1, seconds: 5 },
    async run(world, terms) {
      const told: string[] = [];
      let behind = Number.NaN;
      let taken = false;
      const trial = await watch(world, { groups: DATABASE_GROUPS, seconds: 0 }, async (acting) => {
        const starts = () => acting.lines().filter(({ event }) => event === 'start').length;
        const phase = async (what: string) => {
          const before = starts();
          await wait(terms.seconds * 1000);
          told.push(`${what}: ${starts() - before} runs started in ${terms.seconds} s`);
          return starts() - before;
        };
        await acting.goesOn(4);
        setClock(world, HOUR_S);
        await acting.goesOn(4);
        await phase('an hour forward');
        setClock(world, 0);
        await wait(3000);
        behind = await phase('back again');
        const holder = await world.holding();
        await world.kill(holder);
        await until('another one takes the lease', async () => (await world.holder())?.by !== holder);
        taken = (await world.holder())?.by !== holder;
        await holder.keeper.start();
        setClock(world, HOUR_S + 60);
        told.push('forward, beyond where it was');
        await acting.goesOn(4);
        await acting.goesOn(4);
      });
      const { rows } = trial;
      const of = (name: string, ...outcomes: string[]) => {
        const own = rows.filter(({ job, outcome }) => job?.includes(`${name}-`) && outcomes.includes(outcome ?? ''));
        return own.reduce((sum, { count }) => sum + count, 0);
      };
      const minutes = trial.watched.find(({ job }) => job.includes('minute-'))?.times.length ?? 0;
      return {
        title: `the clock of the database set an hour forward, back, and forward again, ${store}`,
        about: [
          ...summaryOf(trial, false),
          ...told,
          ...['minute', 'five', 'once', 'skip'].map(
            (name) => `${name}: ${of(name, 'succeeded')} run, ${of(name, 'missed')} missed`,
          ),
          `interrupted though their process lived: ${unprovoked(trial).length}`,
        ],
        tables: [],
        checks: [
          // Its time is not that of the ledgers.
          ...verdictChecks(trial, ['belated']),
          strict(
            'a job that makes up for all runs once for each of its due times',
            of('minute', 'succeeded') === minutes && minutes >= 60,
            `${of('minute', 'succeeded')} of ${minutes}`,
          ),
          ...(['five', 'once', 'skip'] as const).map((name) =>
            strict(
              `${name}: most of the hour is missed, and recorded`,
              of(name, 'missed') >= HOUR_S - 60,
              of(name, 'missed'),
            ),
          ),
          strict('nothing runs while the clock is behind what is accounted for', behind === 0, behind),
          strict('another server can take the lease then', taken, taken ? 'it did' : 'it did not'),
        ],
      };
    },
  };
}

export const jobsDatabaseClock = databaseClock('postgres');
export const jobsSqliteClock = databaseClock('sqlite');

/** All the clocks that the database has: its own, or that of each server. */
function setClock({ store, servers }: JobsWorld, offsetS: number): void {
  store.clock?.set(offsetS);
  for (const { clock } of servers) clock?.set(offsetS);
}
