import { QueryTypes, Sequelize, Transaction } from 'sequelize';
import type { SqlResult } from '../../core/ports/index.ts';
import { CHANGING, type Foreign } from './foreign.ts';
import { raw, Sql, type Value } from './sql.ts';
import { untilAborted } from './turns.ts';

export type Row = Readonly<Record<string, unknown>>;

/** What Sequelize's declarations leave out: whose connection it is, and who gives them out. */
interface Connections {
  /** Those of SQLite, by `uuid`. */
  readonly connections?: Record<string, unknown>;
  getConnection(options: object): Promise<Connection>;
  releaseConnection(connection: Connection): void;
  destroyConnection(connection: Connection): Promise<void>;
}
interface Connection {
  uuid?: string | undefined;
  /** Where a driver binds many rows itself. */
  executeMany?: unknown;
}
type Handle = Transaction & { connection: Connection; readonly id: string; begin(): Promise<void> };

/** The database was not even asked: what is behind it is the cause. */
export class Unreached extends Error {
  constructor(cause: unknown) {
    super('no connection', { cause });
  }
}

/** The answer to a commit was lost: it may have been done. */
export class Uncertain extends Error {
  constructor(cause: unknown) {
    super('no answer to a commit', { cause });
  }
}

/**
 * One connection in the hands of one operation, which ends with it: when the signal fires, the connection is cut and not
 * given back, so that one that hangs can neither hold the caller nor be given to the next.
 */
export class Session {
  readonly #sequelize: Sequelize;
  readonly #connection: Connection;
  /** Sequelize takes the connection from it; only a write is a real one. */
  readonly #handle: Handle;
  readonly #signal: AbortSignal;
  readonly #cut = () => this.#sever();
  #ended = false;

  private constructor(sequelize: Sequelize, connection: Connection, handle: Handle, signal: AbortSignal) {
    this.#sequelize = sequelize;
    this.#connection = connection;
    this.#handle = handle;
    this.#signal = signal;
    signal.addEventListener('abort', this.#cut, { once: true });
  }

  /** For statements of which each is its own. Rejects with Unreached. */
  static async reading(sequelize: Sequelize, signal: AbortSignal): Promise<Session> {
    const connection = await acquire(sequelize, { type: 'SELECT' }, signal);
    return new Session(sequelize, connection, { connection } as Handle, signal);
  }

  /**
   * For statements that are done together, or not at all, after the first one, where there is one. Rejects with Unreached
   * where it could not begin.
   */
  static async writing(sequelize: Sequelize, signal: AbortSignal, first: string | null): Promise<Session> {
    const level = Transaction.ISOLATION_LEVELS.READ_COMMITTED;
    const handle = new Transaction(sequelize, { isolationLevel: level }) as Handle;
    const connection = await acquire(sequelize, { uuid: handle.id }, signal);
    // Sequelize knows by it that the connection is in a transaction.
    connection.uuid = handle.id;
    handle.connection = connection;
    // After a deadlock in MySQL, Sequelize itself would end it and give the connection back, while it is in use here.
    handle.rollback = async () => {};
    const session = new Session(sequelize, connection, handle, signal);
    try {
      await handle.begin();
      if (first !== null) await session.run(raw(first));
      return session;
    } catch (cause) {
      session.#sever();
      signal.throwIfAborted();
      throw new Unreached(cause);
    }
  }

  /** The kind of the engine, as Sequelize calls it. */
  get engine(): string {
    return this.#sequelize.getDialect();
  }

  /** For what Sequelize is to do on this connection. */
  get options(): { readonly transaction: Transaction } {
    return { transaction: this.#handle };
  }

  /** Another connection, which ends with the same operation, for what cannot be done on this one. */
  beside(): Promise<Session> {
    return Session.reading(this.#sequelize, this.#signal);
  }

  /** The rows that a query finds. */
  rows(statement: Sql): Promise<readonly Row[]> {
    return this.ask(
      statement.text((inner) => written(this.#sequelize, inner)),
      statement.values,
    );
  }

  /** The same for a text that is the engine's own already. */
  async ask(text: string, values: readonly Value[] = []): Promise<readonly Row[]> {
    // No table names: for SQLite, Sequelize would ask for the columns of each with each query.
    const options = { ...this.options, type: QueryTypes.SELECT, tableNames: [], ...bound(values) };
    return this.#sequelize.query(text, options as never) as unknown as Promise<Row[]>;
  }

  /** A statement that gives no rows. */
  async run(statement: Sql): Promise<void> {
    const text = statement.text((inner) => written(this.#sequelize, inner));
    const options = { ...this.options, type: QueryTypes.RAW, tableNames: [], ...bound(statement.values) };
    await this.#sequelize.query(text, options as never);
  }

  /** A statement that gives no rows; how many it changed. */
  async change(statement: Sql): Promise<number> {
    const text = statement.text((inner) => written(this.#sequelize, inner));
    const { changed } = await this.execute({ verb: 'DELETE', text, values: statement.values });
    return changed;
  }

  /** A statement of any kind. */
  async execute({ verb, text, values }: Foreign): Promise<SqlResult> {
    const options = { ...this.options, type: QueryTypes.RAW, tableNames: [], bind: values };
    // Behind a comment Sequelize does not see the first word, from which it would guess what the answer is like.
    const [rows, answer] = (await this.#sequelize.query(`/* effect */ ${text}`, options as never)) as [
      unknown,
      unknown,
    ];
    const found = Array.isArray(rows) ? (rows as readonly Row[]).map((row) => ({ ...row })) : [];
    return { rows: found, changed: CHANGING.has(verb) ? await this.#changed(answer, found.length) : 0 };
  }

  /** How many rows the statement before changed: each driver tells it elsewhere, and SQLite's only for some statements. */
  async #changed(answer: unknown, returned: number): Promise<number> {
    if (this.engine === 'sqlite') return Number((await this.ask('SELECT changes() AS n'))[0]?.['n']);
    const { rowCount, affectedRows, rowsAffected } = (answer ?? {}) as Record<string, number | undefined>;
    return rowCount ?? affectedRows ?? rowsAffected ?? returned;
  }

  /** As many rows as there are, in as few statements as is good. */
  async insert(table: string, columns: readonly string[], rows: readonly (readonly Value[])[]): Promise<void> {
    const into = `INSERT INTO [${table}] (${columns.map((c) => `[${c}]`).join(', ')}) VALUES `;
    if (rows.length > 1 && typeof this.#connection.executeMany === 'function') return this.#insertMany(into, rows);
    for (const some of portions(rows)) {
      const tuples = some.map((row) => `(${row.map(() => '?').join(', ')})`).join(', ');
      await this.run(placed(`${into}${tuples}`, some.flat()));
    }
  }

  /** Where one INSERT takes one row only, as in Oracle, the driver takes many. */
  async #insertMany(into: string, rows: readonly (readonly Value[])[]): Promise<void> {
    const width = (rows[0] as readonly Value[]).length;
    const one = placed(`${into}(${Array(width).fill('?').join(', ')})`, rows[0] as readonly Value[]);
    // Places as the driver itself writes them: Sequelize would look for each of its own among the rows.
    const text = one.text((inner) => written(this.#sequelize, inner)).replace(/\$(\d+)/g, ':$1');
    const many = { executeMany: true, inbindAttributes: {}, bind: rows };
    await this.#sequelize.query(text, { ...this.options, type: QueryTypes.RAW, ...many } as never);
  }

  /** Gives the connection back. Of a write, nothing is left that was not committed. */
  async end(): Promise<void> {
    if (this.#ended) return;
    if (this.#handle instanceof Transaction) {
      try {
        await this.#sequelize.getQueryInterface().rollbackTransaction(this.#handle, {});
      } catch {
        return this.#sever();
      }
    }
    this.#release();
  }

  /** Rejects with Uncertain where nobody can know, and with the signal's reason where it was not even tried. */
  async commit(): Promise<void> {
    this.#signal.throwIfAborted();
    try {
      await this.#sequelize.getQueryInterface().commitTransaction(this.#handle, {});
    } catch (cause) {
      this.#sever();
      throw new Uncertain(cause);
    }
    this.#release();
  }

  #release(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#signal.removeEventListener('abort', this.#cut);
    giveBack(this.#sequelize, this.#connection);
  }

  /** Ends the connection without asking the server, which may not answer. */
  #sever(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#signal.removeEventListener('abort', this.#cut);
    const manager = managerOf(this.#sequelize);
    hangUp(this.#connection);
    manager.destroyConnection(this.#connection).catch(() => {});
    // SQLite's connections are in no pool: they end by being given back. The pool knows this one no more.
    giveBack(this.#sequelize, this.#connection);
  }
}

function managerOf(sequelize: Sequelize): Connections {
  return sequelize.connectionManager as unknown as Connections;
}

async function acquire(
  sequelize: Sequelize,
  options: { readonly type?: string; uuid?: string },
  signal: AbortSignal,
): Promise<Connection> {
  signal.throwIfAborted();
  const coming = managerOf(sequelize).getConnection(options);
  try {
    return await untilAborted(coming, signal);
  } catch (cause) {
    if (!signal.aborted) {
      // Sequelize would keep one of SQLite that could not be opened.
      delete managerOf(sequelize).connections?.[options.uuid ?? 'default'];
      throw new Unreached(cause);
    }
    // It may still come, and nobody waits for it any more.
    coming.then(
      (late) => giveBack(sequelize, options.uuid === undefined ? late : Object.assign(late, { uuid: options.uuid })),
      () => {},
    );
    throw signal.reason;
  }
}

function giveBack(sequelize: Sequelize, connection: Connection): void {
  managerOf(sequelize).releaseConnection(connection);
  connection.uuid = undefined;
}

/** Each driver has its own word for it: a socket that is destroyed, or a statement that is interrupted. */
function hangUp(connection: object): void {
  const { stream, connection: inner, interrupt, break: stop } = connection as Record<string, unknown>;
  const sockets = [stream, (inner as { stream?: unknown } | undefined)?.stream] as ({ destroy?(): void } | undefined)[];
  try {
    for (const socket of sockets) socket?.destroy?.();
    if (typeof interrupt === 'function') interrupt.call(connection);
    if (typeof stop === 'function') void Promise.resolve(stop.call(connection)).catch(() => {});
  } catch {
    // It had ended by itself.
  }
}

/** An identifier, or the end of a query. */
function written(sequelize: Sequelize, inner: string): string {
  const { queryGenerator } = sequelize.getQueryInterface() as unknown as {
    queryGenerator: { quoteIdentifier(name: string): string; addLimitAndOffset(options: object): string };
  };
  if (inner === 'for update') return sequelize.getDialect() === 'sqlite' ? '' : 'FOR UPDATE';
  const [, rows, offset] = /^limit (\d+)(?: offset (\d+))?$/.exec(inner) ?? [];
  if (rows === undefined) return queryGenerator.quoteIdentifier(inner);
  const page = { limit: Number(rows), ...(offset === undefined ? {} : { offset: Number(offset) }) };
  // Told of no order, Sequelize would add one of its own for Oracle.
  return queryGenerator.addLimitAndOffset({ ...page, order: [Sequelize.literal('1')] }).trim();
}

function bound(values: readonly Value[]): object {
  return values.length === 0 ? {} : { bind: values };
}

/** A text with a `?` for each value. */
function placed(text: string, values: readonly Value[]): Sql {
  return new Sql(text.split('?'), values);
}

/** Bound values in one statement: SQLite looks each up among all, and takes 32766; PostgreSQL and MySQL 65535. */
const MOST_VALUES = 256;
/** Of text in one statement; MySQL's server may take no packet over 16 MB. */
const MOST_TEXT = 1_000_000;

/** Portions of a power of two of rows: each size is a statement of its own, of which MySQL keeps only some prepared. */
function* portions(rows: readonly (readonly Value[])[]): Generator<readonly (readonly Value[])[]> {
  const width = rows[0]?.length ?? 1;
  const most = 2 ** Math.floor(Math.log2(MOST_VALUES / width));
  for (let start = 0; start < rows.length; ) {
    let fits = 0;
    for (let text = 0; fits < most && start + fits < rows.length; fits++) {
      for (const value of rows[start + fits] as readonly Value[]) text += typeof value === 'string' ? value.length : 8;
      if (text > MOST_TEXT && fits > 0) break;
    }
    const size = 2 ** Math.floor(Math.log2(fits));
    yield rows.slice(start, start + size);
    start += size;
  }
}
