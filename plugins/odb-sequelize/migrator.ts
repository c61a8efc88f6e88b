import type { Sequelize } from 'sequelize';
import type { MigrationParams } from 'umzug';
import { GantryError, type Logger } from '../../core/api.ts';
import type { Dialect } from '../../core/ports/index.ts';
import { MIGRATIONS } from './migrations/index.ts';
import { type Columns, type Migration, Schema } from './schema.ts';
import type { Session } from './session.ts';
import { sql } from './sql.ts';

const DONE = 'gantry_migrations';

/**
 * Makes the tables what this version needs, once, however many servers start. `session` holds the lock in a transaction
 * that outlives the migration. Rejects with PLUGIN_START_FAILED where a newer version was here.
 */
export async function migrate(
  sequelize: Sequelize,
  session: Session,
  dialect: Dialect,
  log: Logger,
  migrations: readonly Migration[] = MIGRATIONS,
): Promise<void> {
  const run = (text: string) => session.ask(text);
  await dialect.lock(run);
  try {
    const schema = new Schema(sequelize, dialect, session);
    const done = (columns: Columns) => ({
      name: { type: columns.text(100), primaryKey: true },
      applied_at: { type: columns.integer },
    });
    await schema.table(DONE, done);
    const executed = async () => {
      const rows = await schema.rows(sql`SELECT [name] FROM [gantry_migrations] ORDER BY [name]`);
      return rows.map((row) => String(row['name']));
    };
    const before = await executed();
    refuseNewer(before, migrations);
    if (migrations.every(({ name }) => before.includes(name))) return;
    // Here, since hardly any start has something to migrate, and it takes long to load.
    const { Umzug } = await import('umzug');
    const umzug = new Umzug<Schema>({
      context: schema,
      logger: undefined,
      migrations: migrations.map(({ name, up }) => ({
        name,
        up: async ({ context }: MigrationParams<Schema>) => {
          await up(context);
          log.info({ migration: name }, 'migrated the database');
        },
      })),
      storage: {
        executed,
        logMigration: ({ name }) => schema.add(DONE, ['name', 'applied_at'], [name, Date.now()]),
        unlogMigration: async () => {},
      },
    });
    await umzug.up();
  } finally {
    // Where the transaction ended badly, so did the connection, and with it the lock.
    await dialect.unlock?.(run).catch(() => {});
  }
}

/** A database that knows more than this version would be damaged by it. */
function refuseNewer(executed: readonly string[], migrations: readonly Migration[]): void {
  const known = migrations.map((m) => m.name);
  const unknown = executed.filter((name) => !known.includes(name));
  if (unknown.length === 0) return;
  const text = `The database was migrated by a newer version: it has ${unknown.join(', ')}, this version knows up to ${known.at(-1)}`;
  throw new GantryError('PLUGIN_START_FAILED', text, {
    hint: 'Start the newer version, or restore the database from a backup of this one.',
  });
}
