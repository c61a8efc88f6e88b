import { setTimeout as wait } from 'node:timers/promises';
import { until } from '../condition.ts';
import { books, type Check, kindsTable, noneFailed, notesOf, strict } from '../outcome.ts';
import type { Scenario } from '../scenario.ts';
import { MIX } from '../traffic.ts';
import { type Trial, trial } from '../trial.ts';
import type { World } from '../world.ts';

const DAY_MS = 86_400_000;
/** Longer than the time between two writings. */
const FLUSHED_MS = 2500;
const SERVICES: readonly string[] = ['chaos.read', 'chaos.plain', 'chaos.keyed'];
type Counts = Readonly<Record<string, number>>;

/** Redis is stopped for a while: locks, keys, hints and the store of the statistics are away. */
export const redis: Scenario = async (world, terms) => {
  const before = await settled(world);
  const done = await trial(world, terms, async ({ mark, answers }) => {
    await answers(world.names[0] as string);
    mark('Redis is stopped');
    await world.redis.stop();
    await wait(terms.awayMs);
    await world.redis.start();
    mark('Redis is there again');
    const isWell = async () => (await Promise.all(world.servers.map(isHealthy))).every(Boolean);
    await until('every server is well', isWell);
    mark('every server is well');
    await answers(world.names[0] as string);
  });
  const expected = expectedOf(done);
  const after = minus(await settled(world), before);
  return {
    title: `Redis stopped for ${terms.awayMs / 1000} s`,
    about: notesOf(done),
    tables: [kindsTable(done)],
    checks: [...noneFailed(done, ...MIX), ...books(done), ...SERVICES.map((name) => adding(name, after, expected))],
  };
};

function adding(name: string, after: Counts, expected: Counts): Check {
  const [is, should] = [after[name] ?? 0, expected[name] ?? 0];
  return strict(`statistics of ${name}: as many calls as were made`, is === should, `${is} of ${should}`);
}

/** What the books say that each service was called. A GET is not written down; none of them failed or was repeated. */
function expectedOf({ sent, entries }: Trial): Counts {
  const entered = (...kinds: readonly string[]) =>
    sent.filter(({ kind }) => kinds.includes(kind)).reduce((sum, { id }) => sum + (entries.get(id)?.length ?? 0), 0);
  return {
    'chaos.read': sent.filter(({ kind }) => kind === 'get').length,
    'chaos.plain': entered('post'),
    'chaos.keyed': entered('keyed', 'large'),
  };
}

/** Of all servers together, up to now. */
async function counted({ admin }: World): Promise<Counts> {
  const [from, until] = [-DAY_MS, DAY_MS].map((ms) => new Date(Date.now() + ms).toISOString());
  const { items } = await admin.call<{ items: readonly { service: string; calls: number }[] }>('statistics.list', {
    per: 'day',
    from,
    until,
    search: 'chaos.',
  });
  const counts: Record<string, number> = {};
  for (const { service, calls } of items.filter((one) => SERVICES.includes(one.service)))
    counts[service] = (counts[service] ?? 0) + calls;
  return counts;
}

/** When nothing more is written: each server does that once a second. */
async function settled(world: World): Promise<Counts> {
  let last: Counts = {};
  const isSettled = async () => {
    const now = await counted(world);
    const same = JSON.stringify(now) === JSON.stringify(last);
    last = now;
    return same;
  };
  await until('the statistics are written', isSettled, 30_000, FLUSHED_MS);
  return last;
}

function minus(counts: Counts, before: Counts): Counts {
  return Object.fromEntries(Object.entries(counts).map(([name, count]) => [name, count - (before[name] ?? 0)]));
}

async function isHealthy({ admin }: World['servers'][number]): Promise<boolean> {
  return (await admin.call<{ healthy: boolean }>('server.health')).healthy;
}
