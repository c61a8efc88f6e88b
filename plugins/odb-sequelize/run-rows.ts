import type { Attempt, NewRun, Pool, RunKey, RunOutcome, RunSource } from '../../core/ports/index.ts';
import { grouped } from './grouped.ts';
import type { Row, Session } from './session.ts';
import { join, LOCKED, listed, raw, type Sql, sql, type Value } from './sql.ts';

/** The columns of a run. */
export const RUN = raw(
  [
    ...[
      'token',
      'attempt',
      'source',
      'job',
      'service',
      'due_at',
      'ready_at',
      'pool',
      'state',
      'owner',
      'server',
      'epoch',
    ],
    ...['started_at', 'ended_at', 'outcome', 'code', 'reason', 'attempts', 'repeats', 'data', 'dead', 'asking'],
  ]
    .map((name) => `r.[${name}]`)
    .join(', '),
);

/** The same without what may be much. */
export const BRIEF = raw((RUN.parts[0] as string).replace('r.[data]', 'NULL AS [data]'));

export function attemptOf(row: Row): Attempt {
  const [state, data] = [text(row['state']), text(row['data'])];
  return {
    ...keyOf(row),
    source: String(row['source']) as RunSource,
    job: text(row['job']),
    service: String(row['service']),
    dueAt: Number(row['due_at']),
    readyAt: Number(row['ready_at']),
    pool: String(row['pool']) as Pool,
    attempts: Number(row['attempts']),
    count: Number(row['repeats']),
    data: data === null ? null : JSON.parse(data),
    state: state === null ? 'ended' : (state as Attempt['state']),
    owner: text(row['owner']),
    server: text(row['server']),
    epoch: Number(row['epoch']),
    startedAt: number(row['started_at']),
    endedAt: number(row['ended_at']),
    outcome: text(row['outcome']) as RunOutcome | null,
    reason: text(row['reason']),
    code: text(row['code']),
    dead: row['dead'] !== null,
  };
}

export function keyOf(row: Row): RunKey {
  return { token: String(row['token']), attempt: Number(row['attempt']) };
}

/** Tells one from another. Tokens hold no NUL. */
export function textOf({ token, attempt }: RunKey): string {
  return `${token}\0${attempt}`;
}

/** The first of each key, in their order. */
export function distinct<T>(runs: readonly T[], key: (run: T) => RunKey): T[] {
  const known = new Set<string>();
  return runs.filter((run) => {
    const text = textOf(key(run));
    return known.has(text) ? false : known.add(text);
  });
}

const text = (value: unknown): string | null => (value === null ? null : String(value));
const number = (value: unknown): number | null => (value === null ? null : Number(value));

/** Most of what one condition names. */
const MOST = 512;

/** Conditions that together find these runs: with few different texts, as listed() has it. */
export function among(keys: readonly RunKey[]): Sql[] {
  const sorted = distinct(keys, (key) => key).toSorted(byKey);
  const found: Sql[] = [];
  for (let start = 0; start < sorted.length; start += MOST) {
    const attempts = [...grouped(sorted.slice(start, start + MOST), ({ attempt }) => attempt)];
    const each = attempts.flatMap(([attempt, some]) =>
      listed(
        raw('[token]'),
        some.map(({ token }) => token),
      ).map((tokens) => sql`[attempt] = ${attempt} AND ${tokens}`),
    );
    found.push(sql`(${join(each, ' OR ')})`);
  }
  return found;
}

/** The order in which they are locked. */
export function byKey(a: RunKey, b: RunKey): number {
  return a.token === b.token ? a.attempt - b.attempt : a.token < b.token ? -1 : 1;
}

/**
 * The runs that the conditions find, as they are until the end of the transaction. Everyone locks them in the order of
 * their keys, so that nobody waits for who waits for him.
 */
export async function lock(session: Session, conditions: readonly Sql[], columns = RUN): Promise<readonly Row[]> {
  const found: Row[] = [];
  for (const where of conditions) {
    const query = sql`SELECT ${columns} FROM [gantry_runs] r WHERE ${where} ORDER BY r.[token], r.[attempt] ${LOCKED}`;
    found.push(...(await session.rows(query)));
  }
  return found;
}

/** A run that is to be added, with its data as JSON. */
export interface Prepared {
  readonly run: NewRun;
  readonly data: string | null;
}

/** What a row may have that is new. */
type Column = (prepared: Prepared, asking: Asking) => Value;

/** One asking for something, which is known again where its answer was lost. */
export interface Asking {
  readonly id: string;
  /** When something ended that was never started. */
  readonly now: number;
}

const NEW: Readonly<Record<string, Column>> = {
  token: ({ run }) => run.token,
  attempt: ({ run }) => run.attempt,
  source: ({ run }) => run.source,
  job: ({ run }) => run.job,
  service: ({ run }) => run.service,
  due_at: ({ run }) => run.dueAt,
  ready_at: ({ run }) => run.readyAt,
  pool: ({ run }) => run.pool,
  state: ({ run }) => (run.outcome !== null ? null : run.by === null ? 'waiting' : 'running'),
  owner: ({ run }) => run.by?.owner ?? null,
  server: ({ run }) => run.by?.server ?? null,
  epoch: ({ run }) => run.by?.epoch ?? 0,
  started_at: ({ run }) => run.by?.now ?? null,
  ended_at: ({ run }, { now }) => (run.outcome === null ? null : (run.by?.now ?? now)),
  outcome: ({ run }) => run.outcome,
  reason: ({ run }) => kept(run.reason),
  attempts: ({ run }) => run.attempts,
  repeats: ({ run }) => run.count,
  data: ({ data }) => data,
  asking: (_, { id }) => id,
};
const COLUMNS = Object.entries(NEW);

/** As rows; columns that none of them has are left out. */
export function rowsOf(
  runs: readonly Prepared[],
  asking: Asking,
): { readonly columns: readonly string[]; readonly rows: readonly (readonly Value[])[] } {
  const rows = runs.map((run) => COLUMNS.map(([, value]) => value(run, asking)));
  const used = COLUMNS.map((_, i) => rows.some((row) => row[i] !== null));
  return {
    columns: COLUMNS.filter((_, i) => used[i]).map(([name]) => name),
    rows: rows.map((row) => row.filter((_, i) => used[i])),
  };
}

/** The words of an error, which may be any: as every engine keeps them. Nothing is null: Oracle has no empty text. */
export function kept(words: string | null, most = 4000): string | null {
  if (words === null || words === '') return null;
  // A pair that is cut in half is made whole.
  return words.slice(0, most).replaceAll('\0', '\ufffd').toWellFormed();
}
