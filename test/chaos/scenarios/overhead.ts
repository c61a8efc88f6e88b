import { randomBytes } from 'node:crypto';
import { until } from '../condition.ts';
import { CpuShares } from '../cpu.ts';
import { isOk, latencyOf } from '../figures.ts';
import { coresOf, type Outcome, strict, type Table } from '../outcome.ts';
import type { Scenario } from '../scenario.ts';
import type { KindName, LoadOrder } from '../traffic.ts';
import { groupsOf } from '../trial.ts';
import type { World } from '../world.ts';

const CONNECTIONS = 32;
const GENTLE = 100;
/** A window is a part of the time that a scenario has. */
const WINDOWS = 6;

interface Window {
  readonly what: string;
  readonly perSecond: number;
  readonly failed: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly cores: string;
}

/** What the way through the balancer costs, and what more servers bring on this machine. Figures; nothing is promised. */
export const overhead: Scenario = async (world, { seconds }) => {
  const each = Math.max(2, seconds / WINDOWS);
  const direct = world.servers[0]?.url as string;
  const full = (url: string, kinds: readonly KindName[]) => ({ url, closed: CONNECTIONS, seconds: each, kinds });
  const gentle = (url: string) => ({ url, perSecond: GENTLE, seconds: each, kinds: ['get'] as const });
  const windows: Window[] = [];
  const measure = async (what: string, order: Partial<LoadOrder> & Pick<LoadOrder, 'url' | 'seconds' | 'kinds'>) =>
    void windows.push(await drive(world, what, order));
  // The first calls make connections and machine code.
  await drive(world, 'warm', full(world.url, ['get']));
  await measure(`GET, ${GENTLE}/s: one server itself`, gentle(direct));
  await measure(`GET, ${GENTLE}/s: through the balancer`, gentle(world.url));
  await measure('GET, as many as it can: one server itself', full(direct, ['get']));
  for (let count = 1; count <= world.servers.length; count++) {
    await only(world, count);
    await measure(`GET: balancer, ${count} server(s)`, full(world.url, ['get']));
    await measure(`POST: balancer, ${count} server(s)`, full(world.url, ['post']));
    await measure(`POST with a key and an effect: balancer, ${count} server(s)`, full(world.url, ['keyed']));
  }
  const failed = windows.reduce((sum, one) => sum + one.failed, 0);
  return {
    title: `what the balancer costs, and what servers bring, on this machine (${CONNECTIONS} callers at once)`,
    about: ['cores: what each process took, of all that this machine has'],
    tables: [tableOf(windows)],
    checks: [strict('0 failed', failed === 0, failed)],
  } satisfies Outcome;
};

async function drive(
  world: World,
  what: string,
  order: Partial<LoadOrder> & Pick<LoadOrder, 'url' | 'seconds' | 'kinds'>,
): Promise<Window> {
  const { pid } = await world.balancer();
  const cpu = new CpuShares(groupsOf(world, pid));
  const run = `o${randomBytes(4).toString('hex')}`;
  let cores = '';
  const told = { perSecond: 0, run, timeoutMs: 30_000, slow: false, ...order };
  const { sent } = await world.load.drive(told, () => {
    cores = coresOf({ cpu: cpu.shares() });
  });
  const good = sent.filter(isOk);
  return {
    what,
    perSecond: good.length / order.seconds,
    failed: sent.length - good.length,
    p50Ms: latencyOf(sent, 0.5),
    p99Ms: latencyOf(sent, 0.99),
    cores,
  };
}

/** So many servers get calls; the others are offline. */
async function only(world: World, count: number): Promise<void> {
  for (const [i, { name }] of world.servers.entries()) {
    await world.admin.call(i < count ? 'server.online' : 'server.offline', { name });
  }
  await until('the balancer knows', async () => {
    const { servers } = await world.balancer();
    return world.names.every((name, i) => servers.find((one) => one.name === name)?.up === i < count);
  });
}

function tableOf(windows: readonly Window[]): Table {
  const head = ['', 'requests/s', 'p50 ms', 'p99 ms', 'cores'];
  const rows = windows.map(({ what, perSecond, p50Ms, p99Ms, cores }) => {
    return [what, perSecond.toFixed(0), p50Ms.toFixed(2), p99Ms.toFixed(2), cores];
  });
  return { head, rows };
}
