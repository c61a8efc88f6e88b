import { randomBytes } from 'node:crypto';
import type { Logged } from './balancer-log.ts';
import { until } from './condition.ts';
import { CpuShares, familyOf } from './cpu.ts';
import type { Mark } from './figures.ts';
import { balance, type Entries, type Ledger } from './ledger.ts';
import { type KindName, MIX, type Progress, type Sent } from './traffic.ts';
import type { World } from './world.ts';

/** Longer than any of the stops that are made, and than the balancer waits for a server. */
const TIMEOUT_MS = 90_000;
/** So many answers of each server before something is done to one. */
const WARM = 20;

export interface TrialOptions {
  readonly perSecond: number;
  /** At least; it goes on as long as the faults take. */
  readonly seconds: number;
  readonly kinds?: readonly KindName[];
  /** Past the balancer: where to. */
  readonly url?: string;
}

/** What somebody does who makes faults. */
export interface Acting {
  /** Says what is done now, for the timeline. */
  mark(what: string): Mark;
  /** As of a moment ago. */
  progress(): Progress;
  /** Waits until a server has given so many more answers. */
  answers(server: string, more?: number): Promise<void>;
}

/** A window of load with faults in it, and all that is known of it. */
export interface Trial {
  readonly run: string;
  readonly sent: readonly Sent[];
  readonly marks: readonly Mark[];
  readonly ledger: Ledger;
  readonly entries: Entries;
  readonly logged: readonly Logged[];
  /** Cores that each process took. */
  readonly cpu: Readonly<Record<string, number>>;
}

/** Puts load on the installation, makes the faults under it, and balances the books when all is answered. */
export async function trial(
  world: World,
  { perSecond, seconds, kinds = MIX, url = world.url }: TrialOptions,
  faults: (acting: Acting) => Promise<void> = async () => {},
): Promise<Trial> {
  const run = `r${randomBytes(4).toString('hex')}`;
  const { pid: haproxy } = await world.balancer();
  const cpu = new CpuShares(groupsOf(world, haproxy));
  const order = { url, perSecond, seconds: 3600, run, timeoutMs: TIMEOUT_MS, kinds };
  const startedAt = performance.now();
  const driven = world.load.drive(order);
  const marks: Mark[] = [];
  const acting: Acting = {
    mark(what) {
      const mark = { at: performance.timeOrigin + performance.now(), what };
      marks.push(mark);
      return mark;
    },
    progress: () => world.load.progress,
    async answers(server, more = WARM) {
      const answered = () => world.load.progress.by[server] ?? 0;
      const before = answered();
      await until(`${server} answers`, () => answered() >= before + more);
    },
  };
  let shares: Readonly<Record<string, number>>;
  try {
    await faults(acting);
    await until('the time is over', () => performance.now() - startedAt >= seconds * 1000, seconds * 1000 + 1000);
    shares = cpu.shares();
  } finally {
    world.load.end();
  }
  const { sent } = await driven;
  const entries = world.entries();
  const effects = await world.effects.of(run);
  const ledger = balance(sent, entries, effects);
  return { run, sent, marks, ledger, entries, logged: world.log.of(run), cpu: shares };
}

export function groupsOf({ servers, agent, redis, database, load }: World, haproxy: number | null) {
  const own = servers.map(({ name, keeper }) => [name, () => familyOf(keeper.pid)] as const);
  return Object.fromEntries([
    ...own,
    ['haproxy', () => familyOf(haproxy)],
    ['agent', () => familyOf(agent.pid).slice(0, 1)],
    ['redis', () => familyOf(redis.pid)],
    ['postgres', () => familyOf(database.pid)],
    ['load', () => familyOf(load.pid)],
  ]) as Readonly<Record<string, () => readonly number[]>>;
}
