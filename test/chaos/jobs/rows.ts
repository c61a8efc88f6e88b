/** The tables of the database as they are, read without any of the code that writes them. */
import type { Connected } from '../../engines/connect.ts';

/** One attempt, as the odb has it. */
export interface Row {
  readonly token: string;
  readonly attempt: number;
  readonly source: string;
  /** Null: a durable call. */
  readonly job: string | null;
  readonly dueAt: number;
  readonly server: string | null;
  readonly owner: string | null;
  readonly epoch: number;
  readonly startedAt: number | null;
  readonly endedAt: number | null;
  /** Null: it waits, or runs. */
  readonly outcome: string | null;
  readonly reason: string | null;
  readonly code: string | null;
  /** How many due times it stands for. */
  readonly count: number;
  readonly dead: boolean;
}

export interface LeaseRow {
  readonly holder: string;
  readonly server: string;
  readonly epoch: number;
  /** By the clock of the database, in ms since 1970. */
  readonly until: number;
}

type Raw = Readonly<Record<string, unknown>>;

const COLUMNS =
  'token, attempt, source, job, due_at, server, owner, epoch, started_at, ended_at, outcome, reason, code, repeats, dead';

/** Of these jobs, or of durable calls: in no order. */
export async function rowsOf({ rows }: Connected, of: { readonly prefix: string } | 'calls'): Promise<readonly Row[]> {
  const where = of === 'calls' ? 'job IS NULL' : `job LIKE '${named(of.prefix)}%'`;
  return (await rows(`SELECT ${COLUMNS} FROM gantry_runs WHERE ${where}`)).map(rowOf);
}

/** How many there are, and how many of them have an outcome. */
export async function countRows({ rows }: Connected, prefix: string): Promise<{ all: number; ended: number }> {
  const [found] = await rows(
    `SELECT COUNT(*) AS n, COUNT(outcome) AS ended FROM gantry_runs WHERE job LIKE '${named(prefix)}%'`,
  );
  return { all: Number(found?.['n']), ended: Number(found?.['ended']) };
}

/** Of the scheduler; null before anybody had it. */
export async function leaseOf({ rows }: Connected): Promise<LeaseRow | null> {
  const [found] = await rows("SELECT holder, server, epoch, until_ms FROM gantry_leases WHERE name = 'scheduler'");
  if (found === undefined) return null;
  const { holder, server, epoch, until_ms: until } = found;
  return { holder: String(holder), server: String(server), epoch: Number(epoch), until: Number(until) };
}

/** How many effects each token has. */
export async function effectsOf({ rows }: Connected): Promise<ReadonlyMap<string, number>> {
  const found = await rows('SELECT token, COUNT(*) AS n FROM chaos_job_effects GROUP BY token');
  return new Map(found.map(({ token, n }) => [String(token), Number(n)]));
}

/** Not unique: a second effect is to be seen, not refused. */
export async function createEffects({ sequelize }: Connected): Promise<void> {
  await sequelize.query('CREATE TABLE chaos_job_effects (token VARCHAR(100), attempt INTEGER, server VARCHAR(100))');
}

/** Goes into SQL as it is. */
function named(prefix: string): string {
  if (!/^[a-z0-9-]+$/.test(prefix)) throw new Error(`'${prefix}' names no jobs`);
  return prefix;
}

function rowOf(raw: Raw): Row {
  const text = (value: unknown) => (value === null ? null : String(value));
  const number = (value: unknown) => (value === null ? null : Number(value));
  return {
    token: String(raw['token']),
    attempt: Number(raw['attempt']),
    source: String(raw['source']),
    job: text(raw['job']),
    dueAt: Number(raw['due_at']),
    server: text(raw['server']),
    owner: text(raw['owner']),
    epoch: Number(raw['epoch']),
    startedAt: number(raw['started_at']),
    endedAt: number(raw['ended_at']),
    outcome: text(raw['outcome']),
    reason: text(raw['reason']),
    code: text(raw['code']),
    count: Number(raw['repeats']),
    dead: Number(raw['dead'] ?? 0) === 1,
  };
}
