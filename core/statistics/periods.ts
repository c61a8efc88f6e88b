import { GantryError } from '../errors.ts';
import type { StatsQuery } from '../ports/stats.ts';

/** A granularity of statistics. */
export type Period = StatsQuery['per'];

/** From the finest to the coarsest: a period of one lies in a period of the next. */
export const PERIODS: readonly Period[] = ['minute', 'hour', 'day', 'month'];

const LENGTH_MS = { minute: 60_000, hour: 3_600_000, day: 86_400_000 } as const;

/** When the period began in which a moment is; both in ms since the Unix epoch, by UTC. */
export function periodOf(per: Period, atMs: number): number {
  if (per !== 'month') return Math.floor(atMs / LENGTH_MS[per]) * LENGTH_MS[per];
  const at = new Date(atMs);
  return Date.UTC(at.getUTCFullYear(), at.getUTCMonth(), 1);
}

/** When the next one begins, after the period in which a moment is; in ms since the Unix epoch, by UTC. */
export function periodAfter(per: Period, atMs: number): number {
  if (per !== 'month') return periodOf(per, atMs) + LENGTH_MS[per];
  const at = new Date(atMs);
  return Date.UTC(at.getUTCFullYear(), at.getUTCMonth() + 1, 1);
}

/** Where each period begins that a query is about, but none before `sinceMs`. Throws INVALID for what is no time. */
export function periodsOf({ per, from, until }: StatsQuery, sinceMs: number): readonly number[] {
  const [fromMs, untilMs] = [from.getTime(), until.getTime()];
  if (Number.isNaN(fromMs) || Number.isNaN(untilMs)) {
    throw new GantryError('INVALID', "Statistics need times in 'from' and 'until', and one of them is no time");
  }
  const begins: number[] = [];
  const lastMs = Math.min(untilMs, periodAfter(per, Date.now()) + LENGTH_MS.day);
  for (let at = periodOf(per, Math.max(fromMs, sinceMs)); at < lastMs; at = periodAfter(per, at)) begins.push(at);
  return begins;
}
