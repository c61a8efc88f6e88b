import { GantryError, Type } from 'gantry/api';
import { addStats, type Period, periodAfter, periodOf } from 'gantry/parts';
import type { PeriodStats, ServiceStats, Stats, StatsQuery } from 'gantry/ports';

const Time = Type.String({ format: 'date-time' });

export const Per = Type.Union(
  [Type.Literal('minute'), Type.Literal('hour'), Type.Literal('day'), Type.Literal('month')],
  { default: 'hour', description: 'Periods begin where UTC has them begin' },
);
export const Service = Type.String({ minLength: 1, maxLength: 200, description: 'The name of one' });
/** What is asked for; what is left out is settled by spanOf(). */
export const Span = {
  per: Type.Optional(Per),
  from: Type.Optional(Type.String({ format: 'date-time', description: 'The period that it is in is the first one' })),
  until: Type.Optional(Type.String({ format: 'date-time', description: 'Not included. Default: now' })),
};
/** The columns of numbers, in the order in which people read them. */
export const Numbers = {
  calls: Type.Integer(),
  failures: Type.Integer({ description: 'Of these calls' }),
  minMs: Type.Number(),
  meanMs: Type.Number({ description: 'Of all calls, and never a mean of means' }),
  maxMs: Type.Number(),
  p50Ms: Type.Number({ description: 'Half of the calls took no longer; off by 1/32 at most' }),
  p95Ms: Type.Number(),
  p99Ms: Type.Number(),
};
export const Row = Type.Object({ service: Type.String(), from: Time, ...Numbers });
/** From when until when, as it was understood. */
export const Within = Type.Object({ from: Time, until: Time });

interface Asked {
  readonly per?: Period;
  readonly from?: string;
  readonly until?: string;
}

export interface Bounds {
  readonly per: Period;
  readonly from: Date;
  readonly until: Date;
}

/** The periods that are meant: without a beginning, so many up to the present one. Throws INVALID. */
export function spanOf({ per = 'hour', from, until }: Asked, periods: number): Bounds {
  const end = until === undefined ? new Date() : new Date(until);
  const last = periodOf(per, end.getTime() - 1);
  const begin = from === undefined ? back(per, last, periods - 1) : periodOf(per, new Date(from).getTime());
  if (begin >= end.getTime()) {
    const problems = [{ path: '/until', message: `must be later than 'from', ${new Date(begin).toISOString()}` }];
    throw new GantryError('INVALID', "Statistics are of a time that has a length: 'until' is not after 'from'", {
      problems,
    });
  }
  return { per, from: new Date(begin), until: end };
}

/** When a period began that is so many before that one. */
export function back(per: Period, begin: number, periods: number): number {
  let at = begin;
  for (let i = 0; i < periods; i++) at = periodOf(per, at - 1);
  return at;
}

/** Where each period of a span begins; at most 10,000. Throws INVALID. */
export function beginsOf({ per, from, until }: Bounds): readonly number[] {
  const begins: number[] = [];
  for (let at = from.getTime(); at < until.getTime(); at = periodAfter(per, at)) {
    if (begins.push(at) <= 10_000) continue;
    throw new GantryError('INVALID', 'That is more than 10,000 periods: ask for longer ones, or for a shorter time');
  }
  return begins;
}

/** Throws UNAVAILABLE where no plugin keeps them. */
export function using<M extends 'history' | 'slowCalls'>(stats: Stats | null, method: M): NonNullable<Stats[M]> {
  const found = stats?.[method];
  if (stats !== null && found !== undefined) return found.bind(stats) as NonNullable<Stats[M]>;
  throw new GantryError('UNAVAILABLE', 'This server keeps no statistics by period', {
    hint: 'Add stats.redis (of all servers together) or stats.memory (of each alone) to "plugins" in the config.',
  });
}

/** Each service as one: the periods of a span added up. */
export async function totals(stats: Stats | null, query: StatsQuery): Promise<Map<string, ServiceStats>> {
  const byService = new Map<string, PeriodStats[]>();
  for (const one of await using(stats, 'history')(query)) {
    const list = byService.get(one.service);
    if (list === undefined) byService.set(one.service, [one]);
    else list.push(one);
  }
  return new Map([...byService].map(([service, all]) => [service, addStats(service, all)]));
}

export function numbersOf({ calls, failures, minMs, meanMs, maxMs, latency }: ServiceStats) {
  const [p50Ms, p95Ms, p99Ms] = [0.5, 0.95, 0.99].map((share) => toMicros(latency.quantile(share))) as [
    number,
    number,
    number,
  ];
  const times = { minMs: toMicros(minMs), meanMs: toMicros(meanMs), maxMs: toMicros(maxMs) };
  return { calls, failures, ...times, p50Ms, p95Ms, p99Ms };
}

export function rowOf(stats: PeriodStats) {
  return { service: stats.service, from: stats.from.toISOString(), ...numbersOf(stats) };
}

/** More places would tell nothing. */
export function toMicros(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

const COLUMNS = ['from', 'service', ...(Object.keys(Numbers) as (keyof typeof Numbers)[])] as const;

/** RFC 4180, with a line of titles. */
export function csvOf(rows: readonly ReturnType<typeof rowOf>[]): string {
  const lines = rows.map((row) => COLUMNS.map((column) => cell(row[column])).join(','));
  return `${[COLUMNS.join(','), ...lines].join('\r\n')}\r\n`;
}

function cell(value: string | number): string {
  if (typeof value === 'number') return String(value);
  // A spreadsheet takes what begins so for a formula.
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
