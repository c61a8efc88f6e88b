import { setTimeout as wait } from 'node:timers/promises';

const LOOK_MS = 25;

/** Waits until it holds and gives how long that took, in ms. Rejects with what was waited for, and why it did not hold. */
export async function until(what: string, holds: () => unknown, withinMs = 60_000, lookMs = LOOK_MS): Promise<number> {
  const from = performance.now();
  let why: unknown = '';
  while (performance.now() - from < withinMs) {
    try {
      if (await holds()) return performance.now() - from;
    } catch (error) {
      why = error;
    }
    await wait(lookMs);
  }
  const reason = why === '' ? '' : `: ${why instanceof Error ? why.message : String(why)}`;
  throw new Error(`Not within ${withinMs} ms: ${what}${reason}`);
}
