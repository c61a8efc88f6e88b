import { randomUUID } from 'node:crypto';
import { isGantryError } from '../../core/api.ts';
import type { Attempt, Fence, Pool, RunEnd, RunKey, Runner, Runs, TakeQuery } from '../../core/ports/index.ts';
import { checkLimit } from './cursor.ts';
import type { Database } from './database.ts';
import { holdLease } from './fences.ts';
import { grouped } from './grouped.ts';
import { bury, forgetRuns, replay } from './run-care.ts';
import { checkMove, checkPools, checkStart, prepare, prepareEnds } from './run-checks.ts';
import { history } from './run-history.ts';
import { byReadiness, counts, find, firings, latest, MOST_AT_ONCE, open, ready, readyAt } from './run-queries.ts';
import {
  type Asking,
  among,
  attemptOf,
  byKey,
  distinct,
  kept,
  keyOf,
  lock,
  type Prepared,
  rowsOf,
  textOf,
} from './run-rows.ts';
import type { Row, Session } from './session.ts';
import { join, raw, type Sql, sql, type Value } from './sql.ts';

/** How often others may add the same at the same moment, each time another one of them. */
const TRIES = 10;
/** How often all that is ready may be another's before it is. */
const ROUNDS = 8;
/** Ends in one statement: each has three values in it. */
const ENDS = 64;

/** What core/ports/runs.ts tells. */
export function runsOn(database: Database): Runs {
  const now = raw(database.now);
  const held = async (session: Session, fence: Fence | null) => {
    if (fence !== null) await holdLease(session, fence, now);
  };

  return {
    add: async (runs, fence) => {
      const prepared = distinct(prepare(runs, fence), ({ run }) => run);
      if (prepared.length === 0 && fence === null) return [];
      return change(database, async (session, asking) => {
        await held(session, fence);
        return add(session, prepared, asking);
      });
    },
    take: async (query) => take(database, query),
    start: async (keys, by, fence) => {
      checkStart(keys, by, fence);
      if (keys.length === 0 && fence === null) return [];
      return start(database, keys, by, (session) => held(session, fence));
    },
    end: async (ends, owner, fence) => {
      const prepared = prepareEnds(ends, owner, fence).map((followers, i) => ({ end: ends[i] as RunEnd, followers }));
      const each = distinct(prepared, ({ end }) => end);
      if (each.length === 0 && fence === null) return [];
      return change(database, async (session, asking) => {
        await held(session, fence);
        return endThose(session, each, owner, asking);
      });
    },
    move: async (keys, pool) => {
      checkMove(keys, pool);
      return keys.length === 0 ? 0 : database.rewrite((session) => move(session, keys, pool));
    },
    open: async (query) => database.read((session) => open(session, query)),
    readyAt: async (pools) => database.read((session) => readyAt(session, pools)),
    firings: async (after) => database.read((session) => firings(session, after)),
    find: async (token) => database.read((session) => find(session, token)),
    history: async (query) => database.read((session) => history(session, query)),
    latest: async (jobs) => database.read((session) => latest(session, jobs)),
    counts: async () => database.read(counts),
    bury: async (tokens) => bury(tokens, (work) => change(database, work)),
    replay: async (tokens, at, budget) => replay(tokens, budget, at, (work) => change(database, work)),
    forget: async (query) => forgetRuns(database, query),
  };
}

/**
 * One transaction, which knows what it did where its answer was lost; from the beginning where another one
 * added the same meanwhile.
 */
async function change<T>(database: Database, work: (session: Session, asking: Asking) => Promise<T>): Promise<T> {
  const asking = { id: randomUUID(), now: Date.now() };
  const step = async (session: Session) => {
    try {
      return await work(session, asking);
    } catch (thrown) {
      const told = database.told(thrown);
      throw told.code === 'RECORD_DUPLICATE' ? told : thrown;
    }
  };
  for (let attempt = 1; ; attempt++) {
    try {
      return await database.rewrite(step);
    } catch (thrown) {
      if (attempt === TRIES || !isGantryError(thrown) || thrown.code !== 'RECORD_DUPLICATE') throw thrown;
    }
  }
}

/** Those that are not there; tells which ones this asking added, this time or before. */
export async function add(session: Session, runs: readonly Prepared[], asking: Asking): Promise<RunKey[]> {
  const by = new Map<string, unknown>();
  for (const where of among(runs.map(({ run }) => run))) {
    const query = sql`SELECT [token], [attempt], [asking] FROM [gantry_runs] WHERE ${where}`;
    for (const row of await session.rows(query)) by.set(textOf(keyOf(row)), row['asking']);
  }
  // In the order in which everyone locks them: who adds one that another is adding waits for him.
  const fresh = runs.filter(({ run }) => !by.has(textOf(run))).toSorted((a, b) => byKey(a.run, b.run));
  if (fresh.length > 0) {
    const { columns, rows } = rowsOf(fresh, asking);
    await session.insert('gantry_runs', columns, rows);
  }
  const own = runs.filter(({ run }) => (by.get(textOf(run)) ?? asking.id) === asking.id);
  return own.map(({ run: { token, attempt } }) => ({ token, attempt }));
}

/** Where others took all that was found, what is next is looked for. */
async function take(database: Database, query: TakeQuery): Promise<readonly Attempt[]> {
  checkLimit(query.limit, MOST_AT_ONCE);
  checkPools(query.pools);
  checkStart([], query, null);
  const taken: Attempt[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const missing = query.limit - taken.length;
    const keys = await database.read((session) => ready(session, query.pools, query.now, missing));
    if (keys.length > 0) taken.push(...(await start(database, keys, query)));
    if (keys.length < missing || taken.length === query.limit) break;
  }
  return taken.toSorted(byReadiness);
}

/** Compared and set: who comes second finds them running. */
async function start(
  database: Database,
  keys: readonly RunKey[],
  { owner, server, epoch, now }: Runner,
  held = async (_: Session) => {},
): Promise<readonly Attempt[]> {
  return change(database, async (session, asking) => {
    await held(session);
    const rows = await lock(session, among(keys));
    const waiting = rows.filter((row) => row['state'] === 'waiting');
    const set = sql`[state] = ${'running'}, [owner] = ${owner}, [server] = ${server}, [epoch] = ${epoch}, [started_at] = ${now}, [asking] = ${asking.id}`;
    await update(session, set, waiting);
    const by = { state: 'running', owner, server, epoch, startedAt: now } as const;
    const before = rows.filter((row) => row['state'] === 'running' && row['asking'] === asking.id);
    return [...waiting, ...before].map((row) => ({ ...attemptOf(row), ...by }));
  });
}

/** Sets the same in these rows. */
async function update(session: Session, set: Sql, rows: readonly Row[]): Promise<void> {
  for (const where of among(rows.map(keyOf))) await session.run(sql`UPDATE [gantry_runs] SET ${set} WHERE ${where}`);
}

interface End {
  readonly end: RunEnd;
  readonly followers: readonly Prepared[];
}

/** Few, since MySQL's driver takes its time with each. */
const ENDED_BY = raw('r.[token], r.[attempt], r.[state], r.[owner], r.[outcome], r.[ended_at]');
const STATE = raw('r.[token], r.[attempt], r.[state]');

/** One that was ended just so before counts as written: the answer to that was lost, and what comes after it is there. */
async function endThose(
  session: Session,
  ends: readonly End[],
  owner: string | null,
  asking: Asking,
): Promise<readonly RunKey[]> {
  const keys = ends.map(({ end }) => end);
  const rows = await lock(session, among(keys), ENDED_BY);
  const there = new Map(rows.map((row) => [textOf(keyOf(row)), row]));
  const state = owner === null ? 'waiting' : 'running';
  const own = ends.filter(({ end }) => there.get(textOf(end))?.['owner'] === owner);
  const open = own.filter(({ end }) => there.get(textOf(end))?.['state'] === state);
  const before = own.filter(({ end }) => isSame(there.get(textOf(end)) as Row, end));
  await write(
    session,
    open.map(({ end }) => end),
  );
  const followers = open.flatMap((one) => one.followers);
  if (followers.length > 0)
    await add(
      session,
      distinct(followers, ({ run }) => run),
      asking,
    );
  const written = new Set([...open, ...before]);
  return ends.filter((one) => written.has(one)).map(({ end: { token, attempt } }) => ({ token, attempt }));
}

function isSame(row: Row, { outcome, endedAt }: RunEnd): boolean {
  return row['state'] === null && row['outcome'] === outcome && Number(row['ended_at']) === endedAt;
}

/** Many with one statement: most of them end alike, but for their time. */
async function write(session: Session, ends: readonly RunEnd[]): Promise<void> {
  const alike = grouped(ends, ({ attempt, outcome, code, reason, dead }) =>
    JSON.stringify([attempt, outcome, code, reason, dead]),
  );
  for (const some of alike.values()) {
    for (let from = 0; from < some.length; from += ENDS) await writeAlike(session, some.slice(from, from + ENDS));
  }
}

async function writeAlike(session: Session, ends: readonly RunEnd[]): Promise<void> {
  const { outcome, code, reason, dead } = ends[0] as RunEnd;
  // A power of two, as listed() has it.
  const size = 2 ** Math.ceil(Math.log2(ends.length));
  const times = Array.from({ length: size }, (_, i) => ends[Math.min(i, ends.length - 1)] as RunEnd);
  const each = times.map(({ token, endedAt }) => sql`WHEN [token] = ${token} THEN ${endedAt}`);
  const values: readonly (readonly [string, Value])[] = [
    ['outcome', outcome],
    ['code', kept(code, 200)],
    ['reason', kept(reason)],
    ['dead', dead ? 1 : null],
  ];
  const set = values.map(([name, value]) => sql`${raw(`[${name}]`)} = ${value}`);
  // With the column itself at its end PostgreSQL knows the type of the times.
  const ended = sql`[state] = NULL, [ended_at] = CASE ${join(each, ' ')} ELSE [ended_at] END, ${join(set, ', ')}`;
  for (const where of among(ends)) await session.run(sql`UPDATE [gantry_runs] SET ${ended} WHERE ${where}`);
}

async function move(session: Session, keys: readonly RunKey[], pool: Pool): Promise<number> {
  const rows = await lock(session, among(keys), STATE);
  const waiting = rows.filter((row) => row['state'] === 'waiting');
  await update(session, sql`[pool] = ${pool}`, waiting);
  return waiting.length;
}
