import { GantryError } from '../../core/api.ts';
import type { Fence, OwnRun } from '../../core/ports/index.ts';
import type { Session } from './session.ts';
import { LOCKED, type Sql, sql } from './sql.ts';

/**
 * The lease stays as it is until the end of the transaction: who would take it waits. Throws LEASE_LOST where it is not
 * held as told.
 */
export async function holdLease(session: Session, { lease, holder, epoch }: Fence, now: Sql): Promise<void> {
  const held = await session.rows(
    sql`SELECT [name] FROM [gantry_leases] WHERE [name] = ${lease} AND [holder] = ${holder} AND [epoch] = ${epoch} AND [until_ms] > ${now} ${LOCKED}`,
  );
  if (held.length > 0) return;
  throw new GantryError('LEASE_LOST', `The lease '${lease}' is not held by '${holder}' in epoch ${epoch}`, {
    hint: 'It lapsed, or another server has it: this server was frozen, or had no way to the database. Nothing was done.',
  });
}

/** The run cannot be ended until the end of the transaction. Throws LEASE_LOST where it is not running by that owner. */
export async function holdRun(session: Session, { token, attempt, owner }: OwnRun): Promise<void> {
  const held = await session.rows(
    sql`SELECT [token] FROM [gantry_runs] WHERE [token] = ${token} AND [attempt] = ${attempt} AND [owner] = ${owner} AND [state] = ${'running'} ${LOCKED}`,
  );
  if (held.length > 0) return;
  throw new GantryError('LEASE_LOST', `The run '${token}', attempt ${attempt}, is not running by '${owner}'`, {
    hint: 'It was ended, e.g. as interrupted, since its server seemed to be gone. Nothing was done.',
  });
}
