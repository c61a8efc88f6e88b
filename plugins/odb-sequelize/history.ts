import { GantryError } from '../../core/api.ts';
import type { Change, HistoryQuery, Page } from '../../core/ports/index.ts';
import { isStorable } from './content.ts';
import { checkLimit, cursorOf, isCount, positionIn } from './cursor.ts';
import { CHANGE } from './reader.ts';
import { changeOf } from './rows.ts';
import type { Session } from './session.ts';
import { all, contains, join, limit, raw, type Sql, sql } from './sql.ts';

export async function history(session: Session, query: HistoryQuery): Promise<Page<Change>> {
  checkLimit(query.limit);
  const ascending = query.ascending === true;
  const id = ascending ? '+revision' : '-revision';
  const where = conditions(query);
  const here = [...where];
  if (query.after !== undefined) {
    const [revision] = positionIn(query.after, id, [isCount]) as [number];
    here.push(sql`h.[revision] ${raw(ascending ? '>' : '<')} ${revision}`);
  }
  const order = raw(ascending ? 'h.[revision] ASC' : 'h.[revision] DESC');
  const rows = await session.rows(
    sql`SELECT ${CHANGE} FROM [gantry_changes] h WHERE ${all(here)} ORDER BY ${order} ${limit(query.limit + 1)}`,
  );
  const [count] = await session.rows(sql`SELECT COUNT(*) AS [total] FROM [gantry_changes] h WHERE ${all(where)}`);
  const items = rows.slice(0, query.limit).map(changeOf);
  const last = rows.length > query.limit ? items.at(-1) : undefined;
  return { items, next: last === undefined ? null : cursorOf(id, last.revision), total: Number(count?.['total']) };
}

function conditions(query: HistoryQuery): Sql[] {
  const { kind, name, action, changedBy, cid, from, until, search = '' } = query;
  const equal = (column: string, value: string | undefined): Sql[] =>
    value === undefined ? [] : [value !== '' && isStorable(value) ? sql`${raw(column)} = ${value}` : raw('1 = 0')];
  return [
    ...equal('h.[kind]', kind),
    ...equal('h.[name]', name),
    ...equal('h.[action]', action),
    ...equal('h.[changed_by]', changedBy),
    ...equal('h.[cid]', cid),
    ...(from === undefined ? [] : [sql`h.[changed_at] >= ${timeOf(from, 'from')}`]),
    ...(until === undefined ? [] : [sql`h.[changed_at] < ${timeOf(until, 'until')}`]),
    ...(search === '' ? [] : [anywhere(search)]),
  ];
}

/** In ms. Throws INPUT_INVALID for what is no date. */
export function timeOf(date: Date, key: string): number {
  const time = date.getTime();
  if (!Number.isNaN(time)) return time;
  throw new GantryError('INPUT_INVALID', 'The time is not valid', {
    problems: [{ path: `/${key}`, message: 'is no date', expected: 'a valid date', got: String(date) }],
  });
}

/** As it is, or as it is written within a text of JSON. */
function anywhere(search: string): Sql {
  const written = JSON.stringify(search).slice(1, -1);
  const texts = [...new Set([search, written])].filter(isStorable);
  const columns = ['h.[was]', 'h.[became]'].map(raw);
  const found = texts.flatMap((text) => columns.map((column) => contains(column, text)));
  const named = isStorable(search) ? [contains(raw('h.[name]'), search)] : [];
  return sql`(${join([...named, ...found], ' OR ')})`;
}
