import { change, deploy, type Pace } from '../changing.ts';
import { familyOf, programOf, timeOf, timeOfEnded, waitOf } from '../cpu.ts';
import { boundsOf, latencyOf, quantile } from '../figures.ts';
import { HotModule } from '../hot.ts';
import { type Check, noneFailed, strict, type Table } from '../outcome.ts';
import type { Scenario } from '../scenario.ts';
import { stallsOf } from '../stalls.ts';
import { MIX, type Sent } from '../traffic.ts';
import { type Trial, trial } from '../trial.ts';
import type { World } from '../world.ts';
import { agree } from './database.ts';

const CHANGES_PER_SECOND = 10;
const DEPLOYS_PER_SECOND = 1;
/** A module is deployed again when it is: with several, one that takes its time does not slow the others down. */
const MODULES = 4;
/** Of the time that a scenario has, so much for each window. */
const WINDOWS = 3;
const MOST = 2;
const KINDS = [...MIX, 'hot'] as const;

const WAYS = ['quiet', 'changes', 'deploys', 'both'] as const;
type Way = (typeof WAYS)[number];
const TITLES: Readonly<Record<Way, string>> = {
  quiet: 'quiet',
  changes: `${CHANGES_PER_SECOND} changes a second`,
  deploys: `${DEPLOYS_PER_SECOND} deploy a second`,
  both: 'both',
};

interface Window {
  readonly trial: Trial;
  readonly seconds: number;
  /** By who took them, in seconds of a core. */
  readonly taken: Uses;
  readonly waited: Uses;
  readonly stalls: { readonly p99Ms: number; readonly maxMs: number; readonly ownShare: number };
  readonly changeMs: readonly number[];
  readonly deployMs: readonly number[];
}
type Uses = Readonly<Record<string, number>>;

/** A steady pace of changes and deploys: quiet and busy windows in turn, and who took the cores in each. */
export const pace: Scenario = async (world, terms) => {
  const hot = [
    new HotModule(world),
    ...Array.from({ length: MODULES - 1 }, (_, i) => new HotModule(world, `${i + 2}`)),
  ];
  for (const one of hot) await one.begin();
  const seconds = terms.seconds / WINDOWS;
  // The first calls make connections and machine code.
  await trial(world, { ...terms, kinds: KINDS, seconds });
  const windows = new Map<Way, Window[]>(WAYS.map((way) => [way, []]));
  for (let round = 0; round < terms.rounds; round++) {
    const order = round % 2 === 0 ? WAYS : [...WAYS].reverse();
    for (const way of order) {
      const window = await windowOf(world, way, { ...terms, seconds }, hot);
      windows.get(way)?.push(window);
      process.stderr.write(`   ${TITLES[way]}: p99 ${latencyOf(notSlow([window]), 0.99).toFixed(1)} ms\n`);
    }
  }
  const isOne = await agree(world);
  for (const one of hot) await one.remove();
  const all = (way: Way) => windows.get(way) ?? [];
  return {
    title: `${CHANGES_PER_SECOND} changes and ${DEPLOYS_PER_SECOND} deploy a second, ${terms.rounds} rounds of windows of ${seconds.toFixed(0)} s`,
    about: [
      'p99: of calls that are not slow by themselves. Loop: how late the event loops of the servers were; own: the part of',
      'that in which they ran themselves, and did not wait for a core. Taken: seconds of a core in each second. Waited:',
      'seconds in each second that the main thread was ready and had no core.',
    ],
    tables: [latencies(all), usesOf(all, 'taken'), usesOf(all, 'waited')],
    checks: [
      ...WAYS.flatMap((way) => all(way).flatMap((one) => noneFailed(one.trial, ...KINDS).filter(({ met }) => !met))),
      strict('all servers end at the same revision', isOne, 'the same'),
      slower(all('quiet'), all('both')),
    ],
  };
};

async function windowOf(
  world: World,
  way: Way,
  terms: Parameters<typeof trial>[1],
  hot: readonly HotModule[],
): Promise<Window> {
  const changeMs: number[] = [];
  const deployMs: number[] = [];
  const isChanged = way === 'changes' || way === 'both';
  const isDeployed = way === 'deploys' || way === 'both';
  const pids = await pidsOf(world);
  let [seconds, taken, waited]: [number, Uses, Uses] = [0, {}, {}];
  const tried = await trial(world, { ...terms, kinds: KINDS }, async () => {
    const [takenBefore, waitedBefore] = [takenBy(pids), waitedBy(pids)];
    const from = performance.now();
    const changes = Math.round(CHANGES_PER_SECOND * terms.seconds);
    const deploys = Math.max(1, Math.round((DEPLOYS_PER_SECOND * terms.seconds) / MODULES));
    const own: Pace = { changes, deploys, seconds: terms.seconds };
    await Promise.all([
      ...(isChanged ? world.servers.map((_, lane) => change(world, lane, own, changeMs)) : []),
      ...(isDeployed ? hot.map((one, i) => deploy(world, one, own, deployMs, i / MODULES)) : []),
      new Promise((resolve) => setTimeout(resolve, terms.seconds * 1000)),
    ]);
    seconds = (performance.now() - from) / 1000;
    taken = less(takenBy(pids), takenBefore);
    waited = less(waitedBy(pids), waitedBefore);
  });
  return { trial: tried, seconds, taken, waited, stalls: stallsIn(world, tried.sent), changeMs, deployMs };
}

/** The worst of the servers. */
function stallsIn(world: World, sent: readonly Sent[]): Window['stalls'] {
  const { least, most } = boundsOf(sent.map(({ dueAt }) => dueAt));
  const all = world.servers.map(({ loopFile }) => stallsOf(loopFile, least, most)).filter((one) => one !== null);
  const worst = (key: 'p99Ms' | 'maxMs') => Math.max(...all.map((one) => one[key]));
  const ownShare = all.reduce((sum, one) => sum + one.ownShare, 0) / all.length;
  return { p99Ms: worst('p99Ms'), maxMs: worst('maxMs'), ownShare };
}

type Pids = Readonly<Record<string, readonly number[]>>;

async function pidsOf(world: World): Promise<Pids> {
  const { pid } = await world.balancer();
  return {
    servers: world.servers.flatMap(({ keeper }) => keeper.pid ?? []),
    haproxy: familyOf(pid),
    agent: world.agent.pid === null ? [] : [world.agent.pid],
    redis: familyOf(world.redis.pid),
    postgres: familyOf(world.database.pid),
    load: familyOf(world.load.pid),
    'this process': [process.pid],
  };
}

/** Children of the servers apart: who checks types has ended by now, mostly, and who compiles has not. */
function takenBy(pids: Pids): Uses {
  const sum = (all: readonly number[], of: (pid: number) => number) => all.reduce((so, pid) => so + of(pid), 0);
  const servers = pids['servers'] ?? [];
  const children = servers.flatMap((pid) => familyOf(pid).slice(1));
  const esbuild = children.filter((pid) => programOf(pid) === 'esbuild');
  return {
    ...Object.fromEntries(Object.entries(pids).map(([name, all]) => [name, sum(all, timeOf)])),
    esbuild: sum(esbuild, timeOf),
    'type checks': sum(servers, timeOfEnded),
  };
}
function waitedBy(pids: Pids): Uses {
  return Object.fromEntries(
    Object.entries(pids).map(([name, all]) => [name, all.reduce((s, pid) => s + waitOf(pid), 0)]),
  );
}

function less(now: Uses, before: Uses): Uses {
  return Object.fromEntries(Object.entries(now).map(([name, value]) => [name, value - (before[name] ?? 0)]));
}

const notSlow = (windows: readonly Window[]) => windows.flatMap(({ trial: { sent } }) => sent.filter((s) => !s.isSlow));

function latencies(all: (way: Way) => readonly Window[]): Table {
  const head = ['', 'p50 ms', 'p99 ms', 'p99.9 ms', 'p99 x quiet', 'by round', 'loop p99', 'max', 'own', 'changes/s'];
  const rest = ['change p50', 'deploys/s', 'deploy p50', 'p99 ms'];
  const still = all('quiet').map((one) => latencyOf(notSlow([one]), 0.99));
  const stillAll = latencyOf(notSlow(all('quiet')), 0.99);
  const rows = WAYS.map((way) => {
    const windows = all(way);
    const sent = notSlow(windows);
    const rounds = windows.map((one, i) => (latencyOf(notSlow([one]), 0.99) / (still[i] ?? Number.NaN)).toFixed(2));
    const seconds = windows.reduce((sum, one) => sum + one.seconds, 0);
    const sorted = (key: 'changeMs' | 'deployMs') => windows.flatMap((one) => one[key]).sort((a, b) => a - b);
    const [changes, deploys] = [sorted('changeMs'), sorted('deployMs')];
    const told = (ms: readonly number[], share: number) => (ms.length === 0 ? '' : quantile(ms, share).toFixed(0));
    const p99 = latencyOf(sent, 0.99);
    return [
      ...[TITLES[way], latencyOf(sent, 0.5).toFixed(1), p99.toFixed(1), latencyOf(sent, 0.999).toFixed(1)],
      ...[(p99 / stillAll).toFixed(2), rounds.join(' ')],
      median(windows.map(({ stalls }) => stalls.p99Ms)).toFixed(0),
      Math.max(...windows.map(({ stalls }) => stalls.maxMs)).toFixed(0),
      `${(median(windows.map(({ stalls }) => stalls.ownShare)) * 100).toFixed(0)} %`,
      ...[(changes.length / seconds).toFixed(1), told(changes, 0.5)],
      ...[(deploys.length / seconds).toFixed(2), told(deploys, 0.5), told(deploys, 0.99)],
    ];
  });
  return { head: [...head, ...rest], rows };
}

function usesOf(all: (way: Way) => readonly Window[], key: 'taken' | 'waited'): Table {
  const names = Object.keys(all('quiet')[0]?.[key] ?? {});
  const rows = WAYS.map((way) => {
    const seconds = all(way).reduce((sum, one) => sum + one.seconds, 0);
    const of = (name: string) => all(way).reduce((sum, one) => sum + (one[key][name] ?? 0), 0) / seconds;
    return [TITLES[way], ...names.map((name) => of(name).toFixed(3))];
  });
  return { head: [key, ...names], rows };
}

function slower(quiet: readonly Window[], busy: readonly Window[]): Check {
  const [still, during] = [latencyOf(notSlow(quiet), 0.99), latencyOf(notSlow(busy), 0.99)];
  const measured = `${(during / still).toFixed(2)} x (${still.toFixed(1)} and ${during.toFixed(1)} ms)`;
  return { text: `p99 within ${MOST} x of the quiet one`, measured, met: during <= MOST * still, strict: false };
}

function median(values: readonly number[]): number {
  return quantile(
    [...values].sort((a, b) => a - b),
    0.5,
  );
}
