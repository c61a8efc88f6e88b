import { setTimeout as wait } from 'node:timers/promises';
import { until } from '../../condition.ts';
import { strict, timely } from '../../outcome.ts';
import { now } from '../lines.ts';
import { CLUSTER, type JobScenario, type JobTerms, TERMS } from '../scenario.ts';
import { type Group, noneOf, spreadOf, summaryOf, underWay, unprovoked, verdictChecks, watch } from '../trial.ts';
import type { JobServer, JobsWorld } from '../world.ts';

const RUN_MS = 300;
/** After a crash: the lease has to end first. */
const CRASH_MS = 10_000;
const CLEAN_MS = 2000;

/** Half of them want another attempt; and one that is due so often that it shows when nobody runs anything. */
function groupsOf({ jobs }: JobTerms): readonly Group[] {
  const payload = { forMs: RUN_MS, effect: 'early' };
  return [
    { name: 'again', count: Math.ceil(jobs / 2), everyMs: 1000, payload, again: true },
    { name: 'leave', count: Math.floor(jobs / 2), everyMs: 1000, payload, again: false },
    { name: 'pulse', count: 1, everyMs: 100, payload: { forMs: 0 }, again: false },
  ];
}

/** kill -9 of the holder in the middle of runs, again and again; it is started again each time. */
export const jobsKill: JobScenario = {
  world: CLUSTER,
  full: { ...TERMS, jobs: 20, times: 10 },
  short: { ...TERMS, jobs: 10, times: 1 },
  async run(world, terms) {
    const tookMs: number[] = [];
    let inHand = 0;
    const trial = await watch(world, { groups: groupsOf(terms), seconds: terms.seconds }, async (acting) => {
      for (let i = 0; i < terms.times; i++) {
        await acting.goesOn();
        const holder = await world.holding();
        const pid = holder.keeper.pid;
        await acting.inHand(pid);
        const { from } = await world.kill(holder);
        inHand += underWay(acting.lines().filter((line) => line.pid === pid)).length;
        tookMs.push((await acting.startedElsewhere(pid, from)).at - from);
        await holder.keeper.start();
      }
      await acting.goesOn();
    });
    const strays = unprovoked(trial);
    return {
      title: `kill -9 of the holder in the middle of runs, ${terms.times} times`,
      about: [
        ...summaryOf(trial),
        `in hand on those that were killed: ${inHand}; from death to the first start by the next holder: ${spreadOf(tookMs)}`,
      ],
      tables: [],
      checks: [
        ...verdictChecks(trial),
        noneOf(trial, 'missed', 'skipped', 'failed', 'timeout', 'none'),
        strict('runs were in hand on who was killed', inHand >= terms.times, inHand),
        strict('every server can tell who holds the lease', await agreeOnHolder(world), 'all the same'),
        strict('only their runs were interrupted', strays.length === 0, strays.slice(0, 3).join('; ') || 0),
        timely('the next holder starts runs', Math.max(...tookMs), CRASH_MS),
      ],
    };
  },
};

interface Handed {
  readonly how: string;
  /** From the last start by the one before to the first by the next one. */
  readonly gapMs: number;
  readonly exit: string;
}

/** Clean ends of the holder, and an administrator who drains it: each time another one goes on. */
export const jobsStop: JobScenario = {
  world: CLUSTER,
  full: { ...TERMS, jobs: 20, times: 10 },
  short: { ...TERMS, jobs: 10, times: 1 },
  async run(world, terms) {
    const handed: Handed[] = [];
    let drainedLeads = 0;
    const trial = await watch(world, { groups: groupsOf(terms), seconds: terms.seconds }, async (acting) => {
      const turn = async (how: string, leave: (holder: JobServer) => Promise<string>) => {
        await acting.goesOn();
        const holder = await world.holding();
        const pid = holder.keeper.pid;
        const at = now();
        const exit = await leave(holder);
        const first = await acting.startedElsewhere(pid, at);
        const before = acting
          .lines()
          .filter((line) => line.event === 'start' && line.pid === pid && line.at < first.at);
        handed.push({ how, gapMs: first.at - (before.at(-1)?.at ?? at), exit });
        return holder;
      };
      for (let i = 0; i < terms.times; i++) {
        const ended = await turn('SIGTERM', async (holder) => {
          await holder.keeper.end('SIGTERM');
          return String(holder.keeper.ends.at(-1));
        });
        await ended.keeper.start();
        const drained = await turn('drain', async (holder) => {
          await adminBeside(world, holder).call('server.drain', { name: holder.name });
          return '0';
        });
        // As long as a lease lasts: it must not come back to who drains.
        await wait(terms.times > 1 ? 6000 : 1500);
        if ((await world.holder())?.by === drained) drainedLeads++;
        await adminBeside(world, drained).call('server.online', { name: drained.name });
      }
      await acting.goesOn();
    });
    const of = (how: string) => handed.filter((one) => one.how === how).map(({ gapMs }) => gapMs);
    const exits = handed.map(({ exit }) => exit);
    return {
      title: `SIGTERM to the holder, and drain by an administrator, ${terms.times} times each`,
      about: [
        ...summaryOf(trial),
        `nothing was started: at SIGTERM for ${spreadOf(of('SIGTERM'))}; at a drain for ${spreadOf(of('drain'))}`,
      ],
      tables: [],
      checks: [
        ...verdictChecks(trial),
        noneOf(trial, 'missed', 'skipped', 'failed', 'timeout', 'interrupted', 'none'),
        strict(
          'each ended in order',
          exits.every((code) => code === '0'),
          exits.join(', '),
        ),
        strict('who drains does not hold the lease', drainedLeads === 0, `${drainedLeads} of ${terms.times}`),
        timely('the next holder starts runs', Math.max(...handed.map(({ gapMs }) => gapMs)), CLEAN_MS),
      ],
    };
  },
};

/** By what each of them says of itself, soon. */
async function agreeOnHolder(world: JobsWorld): Promise<boolean> {
  await until('all name the same holder', async () => {
    const lease = await world.holder();
    const said = await Promise.all(world.servers.map(({ admin }) => admin.call<Told>('scheduler.status')));
    return said.every(({ server, holder, isHolder }) => {
      return (
        holder?.server === lease?.server && holder?.epoch === lease?.epoch && isHolder === (server === lease?.server)
      );
    });
  });
  return true;
}
interface Told {
  readonly server: string;
  readonly holder: { readonly server: string; readonly epoch: number } | null;
  readonly isHolder: boolean;
}

function adminBeside(world: JobsWorld, server: JobServer) {
  return (world.othersThan(server)[0] as JobServer).admin;
}
