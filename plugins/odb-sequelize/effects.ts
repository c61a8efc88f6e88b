import { GantryError } from '../../core/api.ts';
import type { Once, OwnRun, RunSql } from '../../core/ports/index.ts';
import { LONGEST, problemOf } from './content.ts';
import type { Database } from './database.ts';
import { holdRun } from './fences.ts';
import { timeOf } from './history.ts';
import { checkOwn } from './run-checks.ts';
import type { Session } from './session.ts';
import { limit, listed, raw, sql } from './sql.ts';
import { Statements } from './statements.ts';
import { untilAborted } from './turns.ts';

/** The most that is kept of one, as JSON. */
const MOST_BYTES = 64 * 1024;
/** How many are forgotten in one transaction: it must not last. */
const PORTION = 512;

/** What core/ports/odb.ts tells of once(). */
export async function once<T>(
  database: Database,
  key: string | null,
  work: (run: RunSql) => Promise<T>,
  within: OwnRun | null = null,
): Promise<Once<T>> {
  if (within !== null) checkOwn(within);
  if (key === null) return (await first(database, null, work, within)) as Once<T>;
  checkKey(key);
  while (true) {
    const done = await first(database, key, work, within);
    if (done !== null) return done as Once<T>;
    const kept = await database.read((session) => find(session, key));
    if (kept !== null) return { first: false, value: kept.value as T };
    // It was forgotten between the two.
  }
}

/** What core/ports/odb.ts tells of forget(). */
export async function forget(database: Database, before: Date): Promise<number> {
  const time = timeOf(before, 'before');
  let forgotten = 0;
  while (true) {
    const { found, changed } = await database.write((session) => forgetSome(session, time));
    forgotten += changed;
    if (found < PORTION) return forgotten;
  }
}

/** Null: the key is kept already, and nothing was run. */
async function first(
  database: Database,
  key: string | null,
  work: (run: RunSql) => Promise<unknown>,
  within: OwnRun | null,
): Promise<Once<unknown> | null> {
  const named = key ?? '(without a key)';
  let taken = false;
  let begun = false;
  let thrown: { readonly error: unknown } | null = null;
  const transaction = async (session: Session, signal: AbortSignal): Promise<Once<unknown>> => {
    if (within !== null) await holdRun(session, within);
    taken = key !== null && !(await claim(database, session, key));
    if (taken) throw new GantryError('RECORD_DUPLICATE', `The effect '${named}' is there already`);
    begun = true;
    const statements = new Statements(database, session, signal);
    let value: unknown;
    try {
      // Work that never ends must not hold the connection, and the turn of who writes.
      value = await untilAborted(work(statements.run), signal);
    } catch (error) {
      signal.throwIfAborted();
      thrown = { error };
    }
    await statements.end();
    if (thrown !== null) throw new GantryError('CONFLICT', `The effect '${named}' failed`);
    const text = textOf(named, value);
    if (key !== null) await keep(session, key, text);
    // As it will be read again.
    return { first: true, value: JSON.parse(text) };
  };
  try {
    return await database.effect(key, transaction, () => begun);
  } catch (error) {
    if (taken) return null;
    throw thrown === null ? error : (thrown as { readonly error: unknown }).error;
  }
}

/**
 * False: it is kept already. Who asks for the same key at the same time waits in here until the other one has ended: the
 * key is in a unique index.
 */
async function claim(database: Database, session: Session, key: string): Promise<boolean> {
  try {
    await session.insert('gantry_effects', ['key', 'made_at'], [[key, Date.now()]]);
    return true;
  } catch (thrown) {
    if (database.told(thrown).code === 'RECORD_DUPLICATE') return false;
    throw thrown;
  }
}

async function keep(session: Session, key: string, text: string): Promise<void> {
  if (text !== 'null') await session.run(sql`UPDATE [gantry_effects] SET [result] = ${text} WHERE [key] = ${key}`);
}

async function find(session: Session, key: string): Promise<{ readonly value: unknown } | null> {
  const [row] = await session.rows(sql`SELECT [result] FROM [gantry_effects] WHERE [key] = ${key}`);
  if (row === undefined) return null;
  return { value: row['result'] === null ? null : JSON.parse(String(row['result'])) };
}

async function forgetSome(session: Session, before: number): Promise<{ found: number; changed: number }> {
  const rows = await session.rows(
    sql`SELECT [key] FROM [gantry_effects] WHERE [made_at] < ${before} ORDER BY [made_at], [key] ${limit(PORTION)}`,
  );
  const keys = rows.map((row) => String(row['key']));
  let changed = 0;
  for (const among of listed(raw('[key]'), keys)) {
    // Another server may forget the same ones.
    changed += await session.change(sql`DELETE FROM [gantry_effects] WHERE ${among}`);
  }
  return { found: keys.length, changed };
}

function checkKey(key: string): void {
  const wrong = problemOf(key, LONGEST.key);
  if (wrong === null) return;
  const hint = 'The key comes from who asks for the effect: an order number, or what the caller sent as its key.';
  throw new GantryError('INVALID', 'The key of the effect is not valid', {
    problems: [{ path: '/key', ...wrong }],
    hint,
  });
}

function textOf(key: string, value: unknown): string {
  const refuse = (message: string, got: string, cause?: unknown): never => {
    const expected = `JSON of at most ${MOST_BYTES} bytes`;
    throw new GantryError('INVALID', `What the effect '${key}' gave cannot be kept; it was undone`, {
      problems: [{ path: '/value', message, expected, got }],
      hint: 'Give what a repeat has to know, such as a number under which the rest can be read.',
      cause,
    });
  };
  let text: string;
  try {
    text = JSON.stringify(value) ?? 'null';
  } catch (cause) {
    return refuse('is no JSON', cause instanceof Error ? (cause.message.split('\n', 1)[0] as string) : '', cause);
  }
  const bytes = Buffer.byteLength(text);
  return bytes > MOST_BYTES ? refuse('is too large', `${bytes} bytes`) : text;
}
