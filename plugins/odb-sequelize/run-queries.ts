import type { Attempt, JobRuns, OpenQuery, Pool, RunCounts, RunKey } from '../../core/ports/index.ts';
import { isName, LONGEST } from './content.ts';
import { checkLimit } from './cursor.ts';
import { grouped } from './grouped.ts';
import { checkNumbers, checkPools } from './run-checks.ts';
import { among, attemptOf, BRIEF, keyOf, RUN } from './run-rows.ts';
import type { Session } from './session.ts';
import { all, join, limit, listed, raw, type Sql, sql } from './sql.ts';

/** The most open ones that are given at once. */
export const MOST_AT_ONCE = 100_000;
/** Open ones of one job in latest(). */
const MOST_OPEN = 10;
/** Jobs in one statement; SQLite joins at most 500 queries. */
const JOBS = 32;

const WAITING = raw("r.[state] = 'waiting'");
const OPEN = raw("r.[state] IN ('waiting', 'running')");

/** Those that wait and are ready, the longest ready first. */
export async function ready(
  session: Session,
  pools: readonly Pool[],
  now: number,
  most: number,
): Promise<readonly RunKey[]> {
  const found: { readonly key: RunKey; readonly readyAt: number }[] = [];
  // Each pool by itself, which is one walk along the index.
  for (const pool of new Set(pools)) {
    const query = sql`SELECT r.[token], r.[attempt], r.[ready_at] FROM [gantry_runs] r WHERE ${WAITING} AND r.[pool] = ${pool} AND r.[ready_at] <= ${now} ORDER BY r.[ready_at], r.[token], r.[attempt] ${limit(most)}`;
    for (const row of await session.rows(query)) found.push({ key: keyOf(row), readyAt: Number(row['ready_at']) });
  }
  return found
    .toSorted((a, b) => a.readyAt - b.readyAt)
    .slice(0, most)
    .map(({ key }) => key);
}

export async function readyAt(session: Session, pools: readonly Pool[]): Promise<number | null> {
  checkPools(pools);
  let first: number | null = null;
  for (const pool of new Set(pools)) {
    const query = sql`SELECT MIN(r.[ready_at]) AS [ready] FROM [gantry_runs] r WHERE ${WAITING} AND r.[pool] = ${pool}`;
    const [row] = await session.rows(query);
    const at = row?.['ready'] ?? null;
    if (at !== null && (first === null || Number(at) < first)) first = Number(at);
  }
  return first;
}

export async function open(session: Session, query: OpenQuery): Promise<readonly Attempt[]> {
  checkLimit(query.limit, MOST_AT_ONCE);
  const { state, owner, pools, job, of, brief = false } = query;
  if (pools !== undefined) checkPools(pools);
  const where = [
    state === undefined ? OPEN : sql`r.[state] = ${state}`,
    ...named('r.[owner]', owner, LONGEST.holder),
    ...named('r.[job]', job, LONGEST.job),
    ...(pools === undefined ? [] : pools.length === 0 ? [NOTHING] : listed(raw('r.[pool]'), pools)),
    ...ofWhat(of),
  ];
  const rows = await session.rows(
    sql`SELECT ${brief ? BRIEF : RUN} FROM [gantry_runs] r WHERE ${all(where)} ORDER BY r.[ready_at], r.[token], r.[attempt] ${limit(query.limit)}`,
  );
  return rows.map(attemptOf);
}

const NOTHING = raw('1 = 0');

/** What cannot be there is not asked for. */
export function named(column: string, value: string | undefined, most: number): Sql[] {
  if (value === undefined) return [];
  return [isName(value, most) ? sql`${raw(column)} = ${value}` : NOTHING];
}

export function ofWhat(of: 'jobs' | 'calls' | undefined): Sql[] {
  return of === undefined ? [] : [raw(of === 'jobs' ? 'r.[job] IS NOT NULL' : 'r.[job] IS NULL')];
}

export async function firings(session: Session, after: number): Promise<readonly { job: string; dueAt: number }[]> {
  checkNumbers('The time is not valid', { after });
  const rows = await session.rows(
    sql`SELECT r.[job], r.[due_at] FROM [gantry_runs] r WHERE r.[due_at] > ${after} AND r.[attempt] = 1 AND r.[source] = 'schedule' AND r.[job] IS NOT NULL`,
  );
  return rows.map((row) => ({ job: String(row['job']), dueAt: Number(row['due_at']) }));
}

export async function find(session: Session, token: string): Promise<readonly Attempt[]> {
  if (!isName(token, LONGEST.token)) return [];
  const rows = await session.rows(
    sql`SELECT ${RUN} FROM [gantry_runs] r WHERE r.[token] = ${token} ORDER BY r.[attempt]`,
  );
  return rows.map(attemptOf);
}

/**
 * Each job by itself, and many in one statement: else all that these jobs ever ran would be looked at. Their keys first:
 * so the statement is short.
 */
export async function latest(session: Session, jobs: readonly string[]): Promise<readonly JobRuns[]> {
  const wanted = [...new Set(jobs)].filter((job) => isName(job, LONGEST.job));
  const keys: RunKey[] = [];
  for (let from = 0; from < wanted.length; from += JOBS) {
    const each = wanted
      .slice(from, from + JOBS)
      .flatMap((job) => [
        sql`r.[job] = ${job} AND r.[state] IS NULL ${LATEST_FIRST} ${limit(1)}`,
        sql`r.[job] = ${job} AND ${OPEN} ORDER BY r.[ready_at], r.[token], r.[attempt] ${limit(MOST_OPEN)}`,
      ]);
    keys.push(...(await session.rows(together(KEY, each))).map(keyOf));
  }
  const runs = grouped(await pick(session, keys), ({ job }) => job);
  return wanted.flatMap((job) => {
    const own = runs.get(job);
    if (own === undefined) return [];
    const open = own.filter(({ state }) => state !== 'ended').toSorted(byReadiness);
    return [{ job, last: own.find(({ state }) => state === 'ended') ?? null, open: open.slice(0, MOST_OPEN) }];
  });
}

const KEY = raw('r.[token], r.[attempt]');
export const LATEST_FIRST = raw('ORDER BY r.[due_at] DESC, r.[token] DESC, r.[attempt] DESC');

/** Those that are there still. */
async function pick(session: Session, keys: readonly RunKey[]): Promise<Attempt[]> {
  const found: Attempt[] = [];
  for (const where of among(keys)) {
    const rows = await session.rows(sql`SELECT ${RUN} FROM [gantry_runs] r WHERE ${where}`);
    found.push(...rows.map(attemptOf));
  }
  return found;
}

/** The longest ready first. */
export function byReadiness(a: Attempt, b: Attempt): number {
  return a.readyAt - b.readyAt || (a.token < b.token ? -1 : 1);
}

/** What several queries find, each with its own end. */
export function together(columns: Sql, wheres: readonly Sql[]): Sql {
  const each = wheres.map((where, i) => {
    const query = sql`SELECT ${columns} FROM [gantry_runs] r WHERE ${where}`;
    return sql`SELECT * FROM (${query}) ${raw(`[t${i}]`)}`;
  });
  return join(each, ' UNION ALL ');
}

export async function counts(session: Session): Promise<RunCounts> {
  const found = new Map<string, number>();
  const open = sql`SELECT r.[state], COUNT(*) AS [total] FROM [gantry_runs] r WHERE ${OPEN} GROUP BY r.[state]`;
  for (const row of await session.rows(open)) found.set(String(row['state']), Number(row['total']));
  const [dead] = await session.rows(raw('SELECT COUNT(*) AS [total] FROM [gantry_runs] r WHERE r.[dead] = 1'));
  return {
    running: found.get('running') ?? 0,
    waiting: found.get('waiting') ?? 0,
    dead: Number(dead?.['total']),
  };
}
