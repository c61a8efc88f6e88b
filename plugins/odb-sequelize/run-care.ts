import type { ForgetQuery, NewRun, RunKey } from '../../core/ports/index.ts';
import { isName, LONGEST } from './content.ts';
import type { Database } from './database.ts';
import { grouped } from './grouped.ts';
import { checkNumbers, checkTokens } from './run-checks.ts';
import { LATEST_FIRST, together } from './run-queries.ts';
import { type Asking, among, attemptOf, keyOf, lock, rowsOf } from './run-rows.ts';
import type { Row, Session } from './session.ts';
import { limit, listed, raw, type Sql, sql } from './sql.ts';

/** How many are forgotten in one transaction: it must not last. */
const PORTION = 512;
/** Jobs in one statement, as latest() has it. */
const JOBS = 32;

/** A transaction that knows what it did where its answer was lost. */
type Change = <T>(work: (session: Session, asking: Asking) => Promise<T>) => Promise<T>;

/** What core/ports/runs.ts tells of bury(). */
export async function bury(tokens: readonly string[], change: Change): Promise<readonly string[]> {
  checkTokens(tokens);
  if (tokens.length === 0) return [];
  return change(async (session, asking) => {
    const conditions = listed(raw('[token]'), tokens);
    const rows = await lock(
      session,
      conditions.map((some) => sql`${some} AND ([dead] = 1 OR [asking] = ${asking.id})`),
    );
    await unlist(
      session,
      rows.filter((row) => row['dead'] !== null),
      asking,
    );
    const buried = new Set(rows.map((row) => String(row['token'])));
    return [...new Set(tokens)].filter((token) => buried.has(token));
  });
}

async function unlist(session: Session, rows: readonly Row[], { id }: Asking): Promise<void> {
  for (const where of among(rows.map(keyOf))) {
    await session.run(sql`UPDATE [gantry_runs] SET [dead] = NULL, [asking] = ${id} WHERE ${where}`);
  }
}

/** What core/ports/runs.ts tells of replay(). */
export async function replay(
  tokens: readonly string[],
  budget: number,
  now: number,
  change: Change,
): Promise<readonly RunKey[]> {
  checkTokens(tokens, { budget, now });
  if (tokens.length === 0) return [];
  return change(async (session, asking) => {
    const rows = await lock(session, listed(raw('[token]'), tokens));
    const last = [...grouped(rows, (row) => String(row['token'])).values()].map((attempts) => attempts.at(-1) as Row);
    const dead = last.filter((row) => row['dead'] !== null);
    const added = last.filter((row) => row['dead'] === null && row['asking'] === asking.id);
    const next = dead.map((row) => again(row, budget, now));
    if (next.length > 0) {
      const { columns, rows: fresh } = rowsOf(next, asking);
      await session.insert('gantry_runs', columns, fresh);
      await unlist(session, dead, asking);
    }
    return [...next.map(({ run: { token, attempt } }) => ({ token, attempt })), ...added.map(keyOf)];
  });
}

/** One that waited for its predecessor waits for nobody now. */
function again(row: Row, budget: number, now: number): { run: NewRun; data: string | null } {
  const before = attemptOf(row);
  const { pool, attempt } = before;
  const run: NewRun = {
    ...before,
    attempt: attempt + 1,
    attempts: attempt + budget,
    readyAt: now,
    pool: pool === 'queue' ? 'holder' : pool,
    by: null,
    outcome: null,
    reason: null,
  };
  return { run, data: row['data'] === null ? null : String(row['data']) };
}

/** What core/ports/runs.ts tells of forget(). */
export async function forgetRuns(database: Database, query: ForgetQuery): Promise<number> {
  const { before, deadBefore, keep, accounted, jobs, services } = query;
  checkNumbers('Runs cannot be forgotten', { before, deadBefore, keep, accounted });
  const ended = sql`r.[state] IS NULL AND r.[due_at] <= ${accounted}`;
  const alive = sql`${ended} AND r.[dead] IS NULL`;
  let forgotten = await forgetThose(database, sql`r.[ended_at] < ${before} AND ${alive} ORDER BY r.[ended_at]`);
  const dead = sql`r.[dead] = 1 AND r.[ended_at] < ${deadBefore} AND ${ended} ORDER BY r.[due_at]`;
  forgotten += await forgetThose(database, dead);
  const those = [
    ...named(jobs, LONGEST.job).map((job) => sql`r.[job] = ${job}`),
    ...named(services, LONGEST.service).map((service) => sql`r.[service] = ${service} AND r.[job] IS NULL`),
  ];
  for (let from = 0; from < those.length; from += JOBS) {
    for (const beyond of await surplus(database, those.slice(from, from + JOBS), keep)) {
      const order = raw('ORDER BY r.[due_at], r.[token], r.[attempt]');
      forgotten += await forgetThose(database, sql`${beyond} AND ${alive} ${order}`);
    }
  }
  return forgotten;
}

function named(names: readonly string[], most: number): string[] {
  return [...new Set(names)].filter((name) => isName(name, most));
}

/** Of those that have more ended ones than are kept, what all the rest have in common. */
async function surplus(database: Database, those: readonly Sql[], keep: number): Promise<readonly Sql[]> {
  const first = those.map((which) => sql`${which} AND r.[state] IS NULL ${LATEST_FIRST} ${limit(1, keep)}`);
  const columns = raw('r.[token], r.[attempt], r.[job], r.[service], r.[due_at]');
  const rows = await database.read((session) => session.rows(together(columns, first)));
  return rows.map((row) => {
    const { token, attempt } = keyOf(row);
    const [job, due] = [row['job'], Number(row['due_at'])];
    const which =
      job === null ? sql`r.[service] = ${String(row['service'])} AND r.[job] IS NULL` : sql`r.[job] = ${String(job)}`;
    const rest = sql`r.[token] < ${token} OR (r.[token] = ${token} AND r.[attempt] <= ${attempt})`;
    return sql`${which} AND r.[due_at] <= ${due} AND (r.[due_at] < ${due} OR ${rest})`;
  });
}

/** In portions; `where` ends with an order. */
async function forgetThose(database: Database, where: Sql): Promise<number> {
  let forgotten = 0;
  while (true) {
    const query = sql`SELECT r.[token], r.[attempt] FROM [gantry_runs] r WHERE ${where} ${limit(PORTION)}`;
    const keys = (await database.read((session) => session.rows(query))).map(keyOf);
    if (keys.length > 0) {
      forgotten += await database.write(async (session) => {
        let changed = 0;
        // Another server may forget the same ones; what was replayed meanwhile is ended still.
        for (const which of among(keys))
          changed += await session.change(sql`DELETE FROM [gantry_runs] WHERE ${which} AND [state] IS NULL`);
        return changed;
      });
    }
    if (keys.length < PORTION) return forgotten;
  }
}
