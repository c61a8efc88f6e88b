import type { Attempt, Page, RunQuery } from '../../core/ports/index.ts';
import { isName, LONGEST } from './content.ts';
import { checkLimit, cursorOf, isCount, isText, positionIn } from './cursor.ts';
import { checkNumbers } from './run-checks.ts';
import { LATEST_FIRST, named, ofWhat } from './run-queries.ts';
import { attemptOf, RUN } from './run-rows.ts';
import type { Session } from './session.ts';
import { all, limit, raw, type Sql, sql } from './sql.ts';

/** Names it in cursors. */
const ID = 'runs-due';

/** Latest due first. */
export async function history(session: Session, query: RunQuery): Promise<Page<Attempt>> {
  checkLimit(query.limit);
  const where = conditions(query);
  // All are: without it SQLite would sort them all, and not go along the index.
  const due = raw('r.[due_at] >= 0');
  const here = [...where, query.after === undefined ? due : beyond(query.after)];
  const rows = await session.rows(
    sql`SELECT ${RUN} FROM [gantry_runs] r WHERE ${all(here)} ${LATEST_FIRST} ${limit(query.limit + 1)}`,
  );
  // Without a condition SQLite counts by the smallest index, with most of them by the rows.
  const counted = where.length === 0 ? raw('') : sql` WHERE ${all(where)}`;
  const [count] = await session.rows(sql`SELECT COUNT(*) AS [total] FROM [gantry_runs] r${counted}`);
  const items = rows.slice(0, query.limit).map(attemptOf);
  const last = rows.length > query.limit ? items.at(-1) : undefined;
  const next = last === undefined ? null : cursorOf(ID, last.dueAt, last.token, last.attempt);
  return { items, next, total: Number(count?.['total']) };
}

/** The time by itself, so that an index leads there. */
function beyond(cursor: string): Sql {
  const token = (value: unknown) => isText(value) && isName(value as string, LONGEST.token);
  const [due, last, attempt] = positionIn(cursor, ID, [isCount, token, isCount]) as [number, string, number];
  const rest = sql`r.[token] < ${last} OR (r.[token] = ${last} AND r.[attempt] < ${attempt})`;
  return sql`r.[due_at] <= ${due} AND (r.[due_at] < ${due} OR ${rest})`;
}

function conditions({ job, service, of, outcome, state, dead, from, until }: RunQuery): Sql[] {
  checkNumbers('The time is not valid', {
    ...(from === undefined ? {} : { from }),
    ...(until === undefined ? {} : { until }),
  });
  return [
    ...named('r.[job]', job, LONGEST.job),
    ...named('r.[service]', service, LONGEST.service),
    ...ofWhat(of),
    ...named('r.[outcome]', outcome, LONGEST.value),
    ...(state === undefined ? [] : [state === 'ended' ? raw('r.[state] IS NULL') : sql`r.[state] = ${state}`]),
    ...(dead === undefined ? [] : [raw(dead ? 'r.[dead] = 1' : 'r.[dead] IS NULL')]),
    ...(from === undefined ? [] : [sql`r.[due_at] >= ${from}`]),
    ...(until === undefined ? [] : [sql`r.[due_at] < ${until}`]),
  ];
}
