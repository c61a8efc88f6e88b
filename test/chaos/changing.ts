import { setTimeout as wait } from 'node:timers/promises';
import type { HotModule } from './hot.ts';
import type { World } from './world.ts';

/** Of each administrator: made first, changed in turn, and removed at the end. */
const CHANNELS = 20;

/** How much is changed, and in what time. */
export interface Pace {
  /** By all administrators together. */
  readonly changes: number;
  readonly deploys: number;
  readonly seconds: number;
}

/** A version of the module that was acknowledged. */
export interface Deployed {
  readonly version: number;
  /** When it was acknowledged: ms since the epoch. */
  readonly at: number;
}

/**
 * The share of one administrator, who makes channels, changes them in turn, and removes them: spread over the time.
 * Adds to `tookMs` how long each change took.
 */
export async function change(world: World, lane: number, pace: Pace, tookMs: number[]): Promise<void> {
  const { admin } = world.servers[lane] as World['servers'][number];
  const lanes = world.servers.length;
  const own = Math.floor(pace.changes / lanes) + (lane < pace.changes % lanes ? 1 : 0);
  const most = Math.min(CHANNELS, Math.floor(own / 3));
  const versions: number[] = [];
  const due = pacer((pace.seconds * 1000) / own);
  for (let i = 0; i < own; i++) {
    await due();
    const from = performance.now();
    const at = i % most;
    const name = `chaos-many-${lane}-${at}`;
    const address = { method: 'GET', path: `/chaos/many/${lane}/${at}/${i}` };
    if (i < most) {
      await admin.call('channel.create', { name, transport: 'rest', service: 'chaos.read', address });
      versions[at] = 1;
    } else if (i >= own - most) {
      await admin.call('channel.remove', { name: `chaos-many-${lane}-${i - (own - most)}` });
    } else {
      const asked = { name, version: versions[at], changes: { address } };
      versions[at] = (await admin.call<{ version: number }>('channel.update', asked)).version;
    }
    tookMs.push(performance.now() - from);
  }
}

/**
 * Versions of a module, one after the other, each by the next server: spread over the time. The first comes after the
 * share `phase` of a turn, so that several modules do not come at once. Adds to `tookMs` how long each took.
 */
export async function deploy(
  world: World,
  hot: HotModule,
  pace: Pace,
  tookMs: number[],
  phase = 0,
): Promise<Deployed[]> {
  const deployed: Deployed[] = [];
  const everyMs = (pace.seconds * 1000) / pace.deploys;
  const due = pacer(everyMs, phase * everyMs);
  for (let i = 0; i < pace.deploys; i++) {
    await due();
    const from = performance.now();
    await hot.deploy(world.servers[i % world.servers.length]?.admin);
    tookMs.push(performance.now() - from);
    deployed.push({ version: hot.version, at: performance.timeOrigin + performance.now() });
  }
  return deployed;
}

/** Resolves once each so many ms; who is late does not wait. */
function pacer(everyMs: number, firstMs = 0): () => Promise<void> {
  let due = performance.now() + firstMs;
  return async () => {
    const early = due - performance.now();
    due += everyMs;
    if (early > 0) await wait(early);
  };
}
