import pg from 'pg';
import type { Engine } from '../engines/index.ts';

const CREATE = `CREATE TABLE chaos_effects (
  -- Not unique: a second effect is to be seen, not refused.
  id TEXT NOT NULL, server TEXT NOT NULL, made_at TIMESTAMPTZ NOT NULL DEFAULT now())`;

/** The table that the services write to, in the database of the records. */
export class Effects {
  readonly #engine: Engine;
  readonly #database: string;

  constructor(engine: Engine, database: string) {
    this.#engine = engine;
    this.#database = database;
  }

  create(): Promise<unknown> {
    return this.#query(CREATE);
  }

  /** How many effects each request of a run had; a run is named by letters and digits. */
  async of(run: string): Promise<ReadonlyMap<string, number>> {
    if (!/^[a-z0-9]+$/.test(run)) throw new Error(`'${run}' names no run`);
    const rows = await this.#query(
      `SELECT id, count(*)::int AS count FROM chaos_effects WHERE id LIKE '${run}-%' GROUP BY id`,
    );
    return new Map(rows.map(({ id, count }) => [String(id), Number(count)]));
  }

  async #query(sql: string): Promise<readonly Readonly<Record<string, unknown>>[]> {
    const { host, port, user, password } = this.#engine;
    const client = new pg.Client({ host, port, user, password, database: this.#database });
    client.on('error', () => {});
    await client.connect();
    try {
      return (await client.query(sql)).rows;
    } finally {
      await client.end();
    }
  }
}
