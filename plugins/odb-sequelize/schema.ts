import { DataTypes, type ModelAttributeColumnOptions, Op, type Sequelize } from 'sequelize';
import type { Dialect } from '../../core/ports/index.ts';
import type { Row, Session } from './session.ts';
import { raw, type Sql, sql, type Value } from './sql.ts';

/** One step from one version of the tables to the next. It may be done again after it was left half done. */
export interface Migration {
  /** Sorts after those before it. Never changes once it was released. */
  readonly name: string;
  up(schema: Schema): Promise<void>;
}

/** The types of columns. */
export interface Columns {
  /** Compares exactly, sorts by code points; so many characters. */
  text(length: number): string;
  /** Of any length; is neither compared nor sorted. */
  readonly long: ReturnType<typeof DataTypes.TEXT>;
  /** Up to 2^53. Times are whole milliseconds since 1970: engines differ in what they keep of a date, and in its zone. */
  readonly integer: typeof DataTypes.BIGINT;
}

type Column = Pick<ModelAttributeColumnOptions, 'type' | 'primaryKey' | 'allowNull'>;

/** What migrations are made of. Everything is made only where it is missing: a process may have died half way. */
export class Schema {
  readonly #sequelize: Sequelize;
  readonly #dialect: Dialect;
  /** That which holds the lock. */
  readonly #session: Session;
  /** How Sequelize is told of it: not at all where making a table would end the transaction, and with it the lock. */
  readonly #within: Partial<Session['options']>;

  constructor(sequelize: Sequelize, dialect: Dialect, session: Session) {
    this.#sequelize = sequelize;
    this.#dialect = dialect;
    this.#session = session;
    this.#within = dialect.supports.transactionalDdl ? session.options : {};
  }

  /** Columns are NOT NULL unless they say otherwise. */
  async table(name: string, columns: (types: Columns) => Readonly<Record<string, Column>>): Promise<void> {
    const types: Columns = {
      text: (length) => this.#dialect.exactText(length),
      long: this.#long(),
      integer: DataTypes.BIGINT,
    };
    const made = Object.entries(columns(types)).map(([key, column]) => [key, { allowNull: false, ...column }]);
    const options = { ...this.#dialect.tables, ...this.#within };
    await this.#sequelize.getQueryInterface().createTable(name, Object.fromEntries(made), options);
  }

  /**
   * Names have at most 30 characters: older versions of Oracle take no more. With `given`, only rows that have this
   * column are in it, where the engine can leave the others out.
   */
  async index(table: string, name: string, fields: readonly string[], given?: string): Promise<void> {
    const queries = this.#sequelize.getQueryInterface();
    const options = { ...this.#within };
    const there = (await queries.showIndex(table, options)) as readonly { readonly name: string }[];
    if (there.some((index) => index.name.toLowerCase() === name)) return;
    const where = given === undefined ? {} : { where: { [given]: { [Op.ne]: null } } };
    await queries.addIndex(table, { name, fields: [...fields], ...where, ...options });
  }

  /** MySQL's plain TEXT ends at 64 kB; the others have one size, and Sequelize warns of a second. */
  #long(): Columns['long'] {
    return this.#sequelize.getDialect() === 'mysql' ? DataTypes.TEXT('long') : DataTypes.TEXT();
  }

  rows(statement: Sql): Promise<readonly Row[]> {
    return this.#with((session) => session.rows(statement));
  }

  /** A row, unless one has its first column already. */
  async add(table: string, columns: readonly string[], row: readonly Value[]): Promise<void> {
    const [key, value] = [columns[0] as string, row[0] as Value];
    await this.#with(async (session) => {
      const there = await session.rows(
        sql`SELECT ${raw(`[${key}]`)} FROM ${raw(`[${table}]`)} WHERE ${raw(`[${key}]`)} = ${value}`,
      );
      if (there.length === 0) await session.insert(table, columns, [row]);
    });
  }

  async #with<T>(work: (session: Session) => Promise<T>): Promise<T> {
    if (this.#dialect.supports.transactionalDdl) return work(this.#session);
    const beside = await this.#session.beside();
    try {
      return await work(beside);
    } finally {
      await beside.end();
    }
  }
}
