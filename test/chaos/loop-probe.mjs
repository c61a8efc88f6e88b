// Loaded into each process of Gantry before its program: notes how late its event loop is, and why.
import { openSync, readSync, writeSync } from 'node:fs';

const EVERY_MS = 10;
const TELL_MS = 250;
const file = process.env['CHAOS_LOOP'];

if (file !== undefined) watch(openSync(file, 'a'), main());

/** Of the main thread, in ms: how long it ran, and how long it waited for a core. Null where there is no /proc. */
function main() {
  try {
    const stat = openSync(`/proc/self/task/${process.pid}/schedstat`, 'r');
    const bytes = Buffer.alloc(64);
    return () => {
      const [ran, waited] = bytes.toString('latin1', 0, readSync(stat, bytes, 0, 64, 0)).split(' ');
      return [Number(ran) / 1e6, Number(waited) / 1e6];
    };
  } catch {
    return () => [0, 0];
  }
}

/** A line for each tick: when it was, how late it came, and how long the thread had run and had waited since the last. */
function watch(out, times) {
  let lines = '';
  let last = performance.now();
  let [ran, waited] = times();
  const tick = () => {
    const now = performance.now();
    const [ranNow, waitedNow] = times();
    const late = Math.max(0, now - last - EVERY_MS);
    const line = [performance.timeOrigin + now, late, ranNow - ran, waitedNow - waited];
    lines += `${line.map((one) => one.toFixed(2)).join(' ')}\n`;
    [last, ran, waited] = [now, ranNow, waitedNow];
    setTimeout(tick, EVERY_MS).unref();
  };
  setTimeout(tick, EVERY_MS).unref();
  setInterval(() => {
    writeSync(out, lines);
    lines = '';
  }, TELL_MS).unref();
}
