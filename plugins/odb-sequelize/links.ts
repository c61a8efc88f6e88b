import { GantryError } from '../../core/api.ts';
import type { Reference } from '../../core/ports/index.ts';
import { grouped } from './grouped.ts';
import { keyOf, type Plan } from './plan.ts';
import type { Session } from './session.ts';
import { listed, raw, sql } from './sql.ts';

/** How many of those that refer to a record a message names. */
const NAMED = 5;

/**
 * What the whole batch leaves must hold together. Throws RECORD_IN_USE where something refers to what was removed, and
 * RECORD_DANGLING where a reference leads to what never was there.
 */
export async function checkReferences(session: Session, plan: Plan): Promise<void> {
  const targets = new Map<string, { readonly to: Reference; readonly from: Reference[] }>();
  for (const { kind, name, after } of plan.fates.values()) {
    for (const to of after?.content.references ?? []) {
      const key = keyOf(to);
      const target = targets.get(key) ?? { to, from: [] };
      if (plan.fates.get(key)?.after == null) targets.set(key, target);
      target.from.push({ kind, name });
    }
  }
  await checkRemoved(session, plan, targets);
  const outside = [...targets].filter(([key]) => !plan.fates.has(key)).map(([, target]) => target);
  for (const [kind, some] of grouped(outside, ({ to }) => to.kind)) {
    const names = [...new Set(some.map(({ to }) => to.name))];
    const there = new Set<string>();
    for (const among of listed(raw('[name]'), names)) {
      const rows = await session.rows(sql`SELECT [name] FROM [gantry_records] WHERE [kind] = ${kind} AND ${among}`);
      for (const row of rows) there.add(String(row['name']));
    }
    const missing = some.find(({ to }) => !there.has(to.name));
    if (missing !== undefined) throw dangling(missing.from, missing.to);
  }
}

async function checkRemoved(
  session: Session,
  { fates }: Plan,
  targets: ReadonlyMap<string, { readonly to: Reference; readonly from: readonly Reference[] }>,
): Promise<void> {
  const removed = [...fates.values()].filter((fate) => fate.after === null);
  for (const target of removed) {
    const { from = [] } = targets.get(keyOf(target)) ?? {};
    if (from.length > 0) throw inUse(target, from);
  }
  for (const [kind, some] of grouped(removed, (fate) => fate.kind)) {
    for (const among of listed(
      raw('[to_name]'),
      some.map((fate) => fate.name),
    )) {
      const query = sql`SELECT [kind], [name], [to_name] FROM [gantry_references] WHERE [to_kind] = ${kind} AND ${among}`;
      // What the batch itself changes refers to what it says now, and that was looked at.
      const others = (await session.rows(query)).filter((row) => !fates.has(keyOf(row as never)));
      const name = others[0]?.['to_name'];
      if (name === undefined) continue;
      const from = others.filter((row) => row['to_name'] === name) as unknown as Reference[];
      throw inUse({ kind, name: String(name) }, from);
    }
  }
}

/** The records that refer to one, by kind and name. */
export async function referrersOf(session: Session, { kind, name }: Reference): Promise<Reference[]> {
  const rows = await session.rows(
    sql`SELECT [kind], [name] FROM [gantry_references] WHERE [to_kind] = ${kind} AND [to_name] = ${name} ORDER BY [kind], [name]`,
  );
  return rows.map((row) => ({ kind: String(row['kind']), name: String(row['name']) }));
}

function inUse(target: Reference, from: readonly Reference[]): GantryError {
  const some = from.slice(0, NAMED).map(({ kind, name }) => `${kind} '${name}'`);
  const more = from.length > NAMED ? ` and ${from.length - NAMED} more` : '';
  return new GantryError(
    'RECORD_IN_USE',
    `${target.kind} '${target.name}' cannot be removed: ${some.join(', ')}${more} refer(s) to it`,
    { hint: 'Change or remove those first, or in the same step.' },
  );
}

function dangling(from: readonly Reference[], to: Reference): GantryError {
  const [one] = from as readonly [Reference];
  const text = `${one.kind} '${one.name}' refers to ${to.kind} '${to.name}', which is not there`;
  return new GantryError('RECORD_DANGLING', text, { hint: `Make ${to.kind} '${to.name}' first, or in the same step.` });
}
