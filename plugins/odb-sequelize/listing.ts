import type { Logger } from '../../core/api.ts';
import type { Page, RecordQuery, Stored } from '../../core/ports/index.ts';
import { isStorable } from './content.ts';
import { checkLimit, cursorOf, isCount, isText, positionIn } from './cursor.ts';
import { RECORD } from './reader.ts';
import { folded, storedOf } from './rows.ts';
import type { Row, Session } from './session.ts';
import { all, contains, limit, raw, type Sql, sql } from './sql.ts';

/** How a list is sorted, and how it goes on after a row. Those of one value are in the order of their names. */
interface Order {
  /** Names it in cursors. */
  readonly id: string;
  readonly join: Sql;
  readonly by: Sql;
  position(row: Row): readonly (string | number | null)[];
  readonly fits: readonly ((value: unknown) => boolean)[];
  after(position: readonly unknown[]): Sql;
}

/** Pages are told by where they end, not by how many came before: so a record that comes or goes shifts none. */
export async function list(session: Session, kind: string, query: RecordQuery, log: Logger): Promise<Page<Stored>> {
  checkLimit(query.limit);
  const order = orderOf(query.sort ?? 'name', query.descending === true);
  const after = query.after === undefined ? null : order.after(positionIn(query.after, order.id, order.fits));
  const where = conditions(kind, query);
  const from = sql`FROM [gantry_records] r ${order.join} WHERE ${all(after === null ? where : [...where, after])}`;
  const rows = await session.rows(
    sql`SELECT ${RECORD}${order.join === NONE ? NONE : SORTED} ${from} ORDER BY ${order.by} ${limit(query.limit + 1)}`,
  );
  const [count] = await session.rows(sql`SELECT COUNT(*) AS [total] FROM [gantry_records] r WHERE ${all(where)}`);
  const page = rows.slice(0, query.limit);
  const last = rows.length > query.limit ? page.at(-1) : undefined;
  return {
    items: page.map((row) => storedOf(row, log)),
    next: last === undefined ? null : cursorOf(order.id, ...order.position(last)),
    total: Number(count?.['total']),
  };
}

const NONE = raw('');
const SORTED = raw(', s.[value] AS [sorted]');

function conditions(kind: string, { search = '', filter = {} }: RecordQuery): Sql[] {
  const where = [sql`r.[kind] = ${kind}`];
  if (search !== '') where.push(isStorable(search) ? contains(raw('r.[folded]'), folded(search)) : raw('1 = 0'));
  for (const [field, value] of Object.entries(filter)) where.push(hasField(field, value));
  return where;
}

function hasField(field: string, value: string): Sql {
  const of = raw('SELECT 1 FROM [gantry_fields] f WHERE f.[kind] = r.[kind] AND f.[name] = r.[name]');
  // A field that cannot be is absent.
  if (field === '' || !isStorable(field)) return raw(value === '' ? '1 = 1' : '1 = 0');
  if (value === '') return sql`NOT EXISTS (${of} AND f.[field] = ${field})`;
  return isStorable(value) ? sql`EXISTS (${of} AND f.[field] = ${field} AND f.[value] = ${value})` : raw('1 = 0');
}

function orderOf(sort: string, descending: boolean): Order {
  const direction = raw(descending ? ' DESC' : ' ASC');
  const beyond = raw(descending ? '<' : '>');
  const id = `${descending ? '-' : '+'}${sort}`;
  if (sort === 'name') {
    return {
      id,
      join: NONE,
      by: sql`r.[name]${direction}`,
      position: (row) => [String(row['name'])],
      fits: [isText],
      after: ([name]) => sql`r.[name] ${beyond} ${name as string}`,
    };
  }
  if (sort === 'changedAt') {
    return {
      id,
      join: NONE,
      by: sql`r.[changed_at]${direction}, r.[name] ASC`,
      position: (row) => [Number(row['changed_at']), String(row['name'])],
      fits: [isCount, isText],
      after: ([at, name]) =>
        sql`(r.[changed_at] ${beyond} ${at as number} OR (r.[changed_at] = ${at as number} AND r.[name] > ${name as string}))`,
    };
  }
  return fieldOrder(id, sort, descending, direction, beyond);
}

/** An absent field comes before all texts, in every engine: each has its own place for NULL. */
function fieldOrder(id: string, field: string, descending: boolean, direction: Sql, beyond: Sql): Order {
  const value = raw('s.[value]');
  const joined = isStorable(field) && field !== '' ? sql`s.[field] = ${field}` : raw('1 = 0');
  return {
    id,
    join: sql`LEFT JOIN [gantry_fields] s ON s.[kind] = r.[kind] AND s.[name] = r.[name] AND ${joined}`,
    by: sql`CASE WHEN ${value} IS NULL THEN 0 ELSE 1 END${direction}, ${value}${direction}, r.[name] ASC`,
    position: (row) => [row['sorted'] as string | null, String(row['name'])],
    fits: [(at) => at === null || isText(at), isText],
    after: ([at, name]) => {
      const rest = descending ? sql`${value} IS NULL` : sql`${value} IS NOT NULL`;
      const same = at === null ? sql`${value} IS NULL` : sql`${value} = ${at as string}`;
      const next = sql`(${same} AND r.[name] > ${name as string})`;
      // Absent ones are all of one value, and those with a value are the rest after them, or before them.
      if (at === null) return descending ? next : sql`(${rest} OR ${next})`;
      const further = sql`${value} ${beyond} ${at as string}`;
      return descending ? sql`(${further} OR ${rest} OR ${next})` : sql`(${further} OR ${next})`;
    },
  };
}
