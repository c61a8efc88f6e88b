import type { Logger } from '../../core/api.ts';
import type { Change, Loading, Stored } from '../../core/ports/index.ts';
import { isName } from './content.ts';
import { changeOf, storedOf } from './rows.ts';
import type { Session } from './session.ts';
import { join, limit, listed, raw, sql } from './sql.ts';

/** The columns of a record. */
export const RECORD = raw('r.[kind], r.[name], r.[version], r.[body], r.[changed_at], r.[changed_by], r.[revision]');
/** The columns of a line of the change log. */
export const CHANGE = raw(
  'h.[revision], h.[action], h.[kind], h.[name], h.[version], h.[changed_at], h.[changed_by], h.[cid], h.[was], h.[became]',
);

export async function revisionOf(session: Session): Promise<number> {
  const [row] = await session.rows(sql`SELECT [revision] FROM [gantry_counter] WHERE [id] = 1`);
  return Number(row?.['revision'] ?? 0);
}

/**
 * In one statement, which sees one moment in every engine, whatever its transactions see. Each row carries the revision
 * of that moment; the counter is joined from the left, so that it comes also where there is no record.
 */
export async function load(session: Session, kinds: readonly string[], log: Logger): Promise<Loading> {
  const wanted = [...new Set(kinds)];
  const among = wanted.length === 0 ? raw('1 = 0') : join(listed(raw('r.[kind]'), wanted), ' OR ');
  const rows = await session.rows(
    sql`SELECT c.[revision] AS [moment], ${RECORD} FROM [gantry_counter] c LEFT JOIN [gantry_records] r ON (${among}) WHERE c.[id] = 1 ORDER BY r.[kind], r.[name]`,
  );
  const records = rows.filter((row) => row['kind'] !== null).map((row) => storedOf(row, log));
  const place = new Map(wanted.map((kind, i) => [kind, i]));
  const at = ({ kind }: Stored) => place.get(kind) as number;
  // Of one kind they are in the order of their names already, and sorting keeps it.
  return { revision: Number(rows[0]?.['moment'] ?? 0), records: records.sort((a, b) => at(a) - at(b)) };
}

/** In the order of the names; those that cannot be are not asked for. */
export async function pick(session: Session, kind: string, names: readonly string[], log: Logger): Promise<Stored[]> {
  const wanted = [...new Set(names)].filter((name) => isName(name));
  const found = new Map<string, Stored>();
  for (const among of listed(raw('r.[name]'), wanted)) {
    const rows = await session.rows(
      sql`SELECT ${RECORD} FROM [gantry_records] r WHERE r.[kind] = ${kind} AND ${among}`,
    );
    for (const row of rows) found.set(String(row['name']), storedOf(row, log));
  }
  return wanted.map((name) => found.get(name)).filter((record) => record !== undefined);
}

export async function changes(session: Session, after: number, most: number): Promise<Change[]> {
  const rows = await session.rows(
    sql`SELECT ${CHANGE} FROM [gantry_changes] h WHERE h.[revision] > ${after} ORDER BY h.[revision] ${limit(most)}`,
  );
  return rows.map(changeOf);
}
