import type { Author, Write, Written } from '../../core/ports/index.ts';
import { checkClaims, claimsOf } from './claims.ts';
import { checkWrites, toJson } from './content.ts';
import type { Database } from './database.ts';
import { grouped } from './grouped.ts';
import { checkReferences } from './links.ts';
import { type Fate, keyOf, type Plan, planOf } from './plan.ts';
import { folded } from './rows.ts';
import type { Session } from './session.ts';
import { listed, raw, type Sql, sql, type Value } from './sql.ts';

/** Makes changes, all or nothing, or only rehearses them. Rejects with what core/ports/odb.ts tells. */
export async function write(
  database: Database,
  writes: readonly Write[],
  by: Author,
  rehearsed = false,
): Promise<readonly Written[]> {
  checkWrites(writes, by);
  if (writes.length === 0) return [];
  const texts = writes.map(textsOf);
  return database.write(async (session) => {
    const last = await advance(session, writes.length);
    const first = last - writes.length + 1;
    const plan = planOf(writes, await versionsOf(session, writes), first);
    const fates = [...plan.fates.values()];
    await checkReferences(session, plan);
    await forget(session, fates);
    await checkClaims(session, fates);
    // A clock that goes backwards changes no order: revisions tell it.
    const now = Date.now();
    await keep(session, fates, texts, first, now, by);
    await note(session, writes, texts, plan, first, now, by);
    return writes.map(({ kind, name }, i) => ({
      kind,
      name,
      version: plan.versions[i] as number,
      revision: first + i,
      changedAt: new Date(now),
    }));
  }, rehearsed);
}

/** The JSON of one change, made before anything is locked. */
interface Texts {
  readonly body: string | null;
  readonly was: string | null;
  readonly became: string | null;
}

function textsOf(change: Write, i: number): Texts {
  const optional = (value: unknown, key: string) =>
    value === undefined || value === null ? null : toJson(value, `/writes/${i}/${key}`);
  return {
    body: change.action === 'remove' ? null : toJson(change.body, `/writes/${i}/body`),
    was: optional(change.before, 'before'),
    became: change.action === 'remove' ? null : optional(change.after, 'after'),
  };
}

/**
 * Takes the next revisions. The row stays locked until the end, and every change takes it first: so changes are made one
 * after the other, whichever server makes them, and what was checked stays true.
 */
async function advance(session: Session, count: number): Promise<number> {
  await session.run(sql`UPDATE [gantry_counter] SET [revision] = [revision] + ${count} WHERE [id] = 1`);
  const [row] = await session.rows(sql`SELECT [revision] FROM [gantry_counter] WHERE [id] = 1`);
  if (row === undefined) throw new Error('the row of gantry_counter is missing');
  return Number(row['revision']);
}

async function versionsOf(session: Session, writes: readonly Write[]): Promise<Map<string, number>> {
  const versions = new Map<string, number>();
  for (const where of each(writes)) {
    const rows = await session.rows(sql`SELECT [kind], [name], [version] FROM [gantry_records] WHERE ${where}`);
    for (const { kind, name, version } of rows as readonly { kind: string; name: string; version: unknown }[]) {
      versions.set(keyOf({ kind, name }), Number(version));
    }
  }
  return versions;
}

/** What there was of the records: what stays is written anew, which is less to ask than what differs. */
async function forget(session: Session, fates: readonly Fate[]): Promise<void> {
  for (const where of each(fates.filter((fate) => fate.before !== null))) {
    for (const table of ['gantry_records', 'gantry_fields', 'gantry_references', 'gantry_claims']) {
      await session.run(sql`DELETE FROM ${raw(`[${table}]`)} WHERE ${where}`);
    }
  }
}

const RECORD = ['kind', 'name', 'folded', 'version', 'body', 'changed_at', 'changed_by', 'revision'];

async function keep(
  session: Session,
  fates: readonly Fate[],
  texts: readonly Texts[],
  first: number,
  now: number,
  by: Author,
): Promise<void> {
  const rows = { records: [] as Value[][], fields: [] as Value[][], references: [] as Value[][] };
  const claims: Value[][] = [];
  for (const { kind, name, after } of fates) {
    if (after === null) continue;
    const { version, revision, content } = after;
    const body = (texts[revision - first] as Texts).body;
    rows.records.push([kind, name, folded(name), version, body, now, by.name, revision]);
    for (const [field, value] of Object.entries(content.fields ?? {})) {
      if (value !== '') rows.fields.push([kind, name, field, value]);
    }
    const targets = new Map((content.references ?? []).map((target) => [keyOf(target), target]));
    for (const target of targets.values()) rows.references.push([kind, name, target.kind, target.name]);
    for (const { digest, text } of claimsOf(content)) claims.push([digest, text, kind, name]);
  }
  await session.insert('gantry_records', RECORD, rows.records);
  await session.insert('gantry_fields', ['kind', 'name', 'field', 'value'], rows.fields);
  await session.insert('gantry_references', ['kind', 'name', 'to_kind', 'to_name'], rows.references);
  await session.insert('gantry_claims', ['digest', 'claim', 'kind', 'name'], claims);
}

const CHANGE = ['revision', 'action', 'kind', 'name', 'version', 'changed_at', 'changed_by', 'cid', 'was', 'became'];

/** The lines of the change log. */
async function note(
  session: Session,
  writes: readonly Write[],
  texts: readonly Texts[],
  plan: Plan,
  first: number,
  now: number,
  by: Author,
): Promise<void> {
  const lines = writes.map(({ action, kind, name }, i) => {
    const { was, became } = texts[i] as Texts;
    return [first + i, action, kind, name, plan.versions[i] as number, now, by.name, by.cid ?? null, was, became];
  });
  await session.insert('gantry_changes', CHANGE, lines);
}

/** Conditions that together find all of the records. */
export function each(records: readonly { readonly kind: string; readonly name: string }[]): Sql[] {
  const kinds = grouped(records, (record) => record.kind);
  return [...kinds].flatMap(([kind, some]) => {
    const names = [...new Set(some.map((record) => record.name))];
    return listed(raw('[name]'), names).map((among) => sql`[kind] = ${kind} AND ${among}`);
  });
}
