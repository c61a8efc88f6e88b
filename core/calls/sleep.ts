import type { Logger } from '../log/log.ts';
import { ASLEEP_MS, type Traffic } from './dispatch.ts';

/**
 * Notices when this process did not run for a while, since it was stopped or the machine was. Then `catchUp` runs once,
 * and calls wait for it, at most for `ms`, also those that came in the meantime: the first of them notices, for what came
 * is looked at before timers are. Returns the undo.
 */
export function watchSleep(traffic: Traffic, catchUp: () => Promise<unknown>, ms: number, log: Logger): () => void {
  let seenByClock = Date.now();
  const look = () => {
    const now = performance.now();
    const byClock = Date.now();
    // The first does not go on while the machine is suspended; the second may be set.
    const asleepMs = Math.max(now - traffic.seenAt, byClock - seenByClock);
    traffic.seenAt = now;
    seenByClock = byClock;
    if (asleepMs <= ASLEEP_MS || traffic.behind !== null) return;
    log.warn(
      { asleepMs: Math.round(asleepMs) },
      'this process did not run for a while; it catches up before it serves',
    );
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(() => {
        log.warn({ ms }, 'catching up takes long; it serves on with what it has, and catches up behind that');
        resolve();
      }, ms).unref();
    });
    const caughtUp = catchUp().catch((error: unknown) => log.warn({ error }, 'catching up failed; it serves on'));
    traffic.behind = Promise.race([caughtUp, late]).then(() => {
      clearTimeout(timer);
      traffic.behind = null;
    });
  };
  traffic.seenAt = performance.now();
  traffic.woke = look;
  const timer = setInterval(look, ASLEEP_MS / 10);
  timer.unref();
  return () => {
    clearInterval(timer);
    traffic.seenAt = Number.POSITIVE_INFINITY;
  };
}
