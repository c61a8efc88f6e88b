import { readFileSync } from 'node:fs';
import { quantile } from './figures.ts';

/** How late the event loop of a process was in a window, by its probe (loop-probe.mjs), in ms. */
export interface Stalls {
  readonly p99Ms: number;
  readonly maxMs: number;
  /** Of the ticks that came late: the part of the time that the thread ran itself; for the rest it waited for a core. */
  readonly ownShare: number;
}

/** A tick that was so late counts as late. */
const LATE_MS = 5;

/** Of the ticks between two moments, in ms since the epoch; null where there are none. */
export function stallsOf(file: string, from: number, until: number): Stalls | null {
  const ticks = readFileSync(file, 'utf8')
    .split('\n')
    .map((line) => line.split(' ').map(Number) as [number, number, number, number])
    .filter(([at]) => at >= from && at <= until);
  if (ticks.length === 0) return null;
  const lates = ticks.map(([, late]) => late).sort((a, b) => a - b);
  const late = ticks.filter(([, ms]) => ms >= LATE_MS);
  const sum = (values: readonly number[]) => values.reduce((all, one) => all + one, 0);
  const own = sum(late.map(([, , ran]) => ran));
  const waited = sum(late.map(([, , , ms]) => ms));
  return { p99Ms: quantile(lates, 0.99), maxMs: lates.at(-1) as number, ownShare: own / Math.max(0.001, own + waited) };
}
