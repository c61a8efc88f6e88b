import type { Holder, Lease, Leases, LeasesNow, Renewal } from '../../core/ports/index.ts';
import { Checks } from './checks.ts';
import { LONGEST } from './content.ts';
import type { Database } from './database.ts';
import type { Row, Session } from './session.ts';
import { join, raw, type Sql, sql } from './sql.ts';

/** What core/ports/leases.ts tells. No clock but that of the database is asked. */
export function leasesOn(database: Database): Leases {
  const now = raw(database.now);
  /**
   * One that lasts more than twice as long as it was given for is from before the clock was put back. Once, since servers
   * of one database may differ a little.
   */
  const lapsed = sql`([until_ms] <= ${now} OR [until_ms] > ${now} + 2 * [for_ms])`;

  return {
    take: async (name, by, forMs) => {
      const checks = new Checks();
      checks.text('/name', name, LONGEST.name);
      checkHolder(checks, '/by', by);
      checks.whole('/forMs', forMs, 1);
      checks.end('The lease cannot be taken');
      // Who waits for it asks often, and changes nothing.
      const there = await database.read((session) => find(session, name, now));
      if (there !== null && there.holder !== by.holder && there.remainingMs > 0) return there;
      return database.steps((session) => take(database, session, { now, lapsed }, { name, by, forMs }));
    },
    renew: async (held) => {
      checkRenewals(held);
      if (held.length === 0) return database.read((session) => told(session, now));
      return database.steps(async (session) => {
        await session.run(renewal(held, now));
        return told(session, now);
      });
    },
    release: async (name, holder, epoch) => {
      checkHeld(name, holder, epoch);
      // Not "now": a clock that is put back would have it last on.
      const own = sql`[name] = ${name} AND [holder] = ${holder} AND [epoch] = ${epoch}`;
      return database.steps(async (session) => {
        if ((await session.change(sql`UPDATE [gantry_leases] SET [until_ms] = 0 WHERE ${own}`)) > 0) return true;
        // It was released before: MySQL counts what it changed, not what it found.
        return (await session.rows(sql`SELECT [name] FROM [gantry_leases] WHERE ${own}`)).length > 0;
      });
    },
    remove: async (name, holder) => {
      checkHeld(name, holder, 0);
      const removed = sql`DELETE FROM [gantry_leases] WHERE [name] = ${name} AND [holder] = ${holder} AND ${lapsed}`;
      return database.steps(async (session) => (await session.change(removed)) > 0);
    },
  };
}

interface Taking {
  readonly name: string;
  readonly by: Holder;
  readonly forMs: number;
}

/** Compared and set in one statement: who comes second finds it set. */
async function take(
  database: Database,
  session: Session,
  { now, lapsed }: { readonly now: Sql; readonly lapsed: Sql },
  taking: Taking,
): Promise<Lease> {
  const { name, by, forMs } = taking;
  const { holder, server } = by;
  // MySQL sets one after the other, and sees what it has set: the epoch comes before the holder.
  const set = sql`[epoch] = CASE WHEN [holder] = ${holder} THEN [epoch] ELSE [epoch] + 1 END, [holder] = ${holder}, [server] = ${server}, [until_ms] = ${now} + ${forMs}, [for_ms] = ${forMs}`;
  while (true) {
    await session.run(
      sql`UPDATE [gantry_leases] SET ${set} WHERE [name] = ${name} AND ([holder] = ${holder} OR ${lapsed})`,
    );
    const lease = await find(session, name, now);
    if (lease !== null) return lease;
    await add(database, session, now, taking);
  }
}

async function find(session: Session, name: string, now: Sql): Promise<Lease | null> {
  const query = sql`SELECT ${LEASE}, ${now} AS [now] FROM [gantry_leases] l WHERE [name] = ${name}`;
  const [row] = await session.rows(query);
  return row === undefined ? null : leaseOf(row, Number(row['now']));
}

/** Where somebody else was first, nothing is done. */
async function add(database: Database, session: Session, now: Sql, { name, by, forMs }: Taking): Promise<void> {
  const columns = raw('[name], [holder], [server], [epoch], [until_ms], [for_ms]');
  const values = sql`${name}, ${by.holder}, ${by.server}, 1, ${now} + ${forMs}, ${forMs}`;
  try {
    await session.run(sql`INSERT INTO [gantry_leases] (${columns}) VALUES (${values})`);
  } catch (thrown) {
    if (database.told(thrown).code !== 'RECORD_DUPLICATE') throw thrown;
  }
}

function renewal(held: readonly Renewal[], now: Sql): Sql {
  // Each ends with the column itself: so PostgreSQL knows of what type the values are.
  const each = (value: (one: Renewal) => Sql, column: string, of = held): Sql =>
    of.length === 0
      ? raw(column)
      : sql`CASE ${join(
          of.map((one) => sql`WHEN [name] = ${one.name} THEN ${value(one)}`),
          ' ',
        )} ELSE ${raw(column)} END`;
  const set = join(
    [
      sql`[until_ms] = ${each(({ forMs }) => sql`${now} + ${forMs}`, '[until_ms]')}`,
      sql`[for_ms] = ${each(({ forMs }) => sql`${forMs}`, '[for_ms]')}`,
      sql`[mark] = ${each(
        ({ mark }) => sql`${mark}`,
        '[mark]',
        held.filter(({ mark }) => mark !== null),
      )}`,
    ],
    ', ',
  );
  const where = held.map(
    ({ name, holder, epoch }) => sql`([name] = ${name} AND [holder] = ${holder} AND [epoch] = ${epoch})`,
  );
  return sql`UPDATE [gantry_leases] SET ${set} WHERE ${join(where, ' OR ')}`;
}

const LEASE = raw('l.[name], l.[holder], l.[server], l.[epoch], l.[until_ms], l.[for_ms], l.[mark]');

/** The time is told also where there is no lease. */
async function told(session: Session, now: Sql): Promise<LeasesNow> {
  const rows = await session.rows(
    sql`SELECT ${LEASE}, ${now} AS [now] FROM [gantry_counter] c LEFT JOIN [gantry_leases] l ON (1 = 1) WHERE c.[id] = 1 ORDER BY l.[name]`,
  );
  const time = Number(rows[0]?.['now']);
  return { now: time, leases: rows.filter((row) => row['name'] !== null).map((row) => leaseOf(row, time)) };
}

function leaseOf(row: Row, now: number): Lease {
  const remainingMs = Number(row['until_ms']) - now;
  return {
    name: String(row['name']),
    holder: String(row['holder']),
    server: String(row['server']),
    epoch: Number(row['epoch']),
    remainingMs: remainingMs > 2 * Number(row['for_ms']) ? 0 : remainingMs,
    mark: row['mark'] === null ? null : Number(row['mark']),
  };
}

function checkHolder(checks: Checks, at: string, { holder, server }: Holder): void {
  checks.text(`${at}/holder`, holder, LONGEST.holder);
  checks.text(`${at}/server`, server, LONGEST.server);
}

function checkHeld(name: string, holder: string, epoch: number): void {
  const checks = new Checks();
  checks.text('/name', name, LONGEST.name);
  checks.text('/holder', holder, LONGEST.holder);
  checks.whole('/epoch', epoch);
  checks.end('There is no such lease');
}

function checkRenewals(held: readonly Renewal[]): void {
  const checks = new Checks();
  for (const [i, { name, holder, epoch, forMs, mark }] of held.entries()) {
    checks.text(`/held/${i}/name`, name, LONGEST.name);
    checks.text(`/held/${i}/holder`, holder, LONGEST.holder);
    checks.whole(`/held/${i}/epoch`, epoch);
    checks.whole(`/held/${i}/forMs`, forMs, 1);
    if (mark !== null) checks.whole(`/held/${i}/mark`, mark, Number.MIN_SAFE_INTEGER);
  }
  checks.end('The leases cannot be renewed');
}
