import { GantryError } from '../../core/api.ts';
import type { RunSql, SqlResult } from '../../core/ports/index.ts';
import type { Database } from './database.ts';
import { statementOf } from './foreign.ts';
import type { Session } from './session.ts';

/**
 * What runs another's statements within a transaction of ours. They go one after the other, and the first that fails is
 * the last one: some engines have ended the transaction then, and would do the next one at once and for good.
 */
export class Statements {
  readonly #database: Database;
  readonly #session: Session;
  /** Fires when their time is over. */
  readonly #signal: AbortSignal;
  #last: Promise<unknown> = Promise.resolve();
  #failed: GantryError | null = null;
  #ended = false;

  constructor(database: Database, session: Session, signal: AbortSignal) {
    this.#database = database;
    this.#session = session;
    this.#signal = signal;
  }

  readonly run: RunSql = (sql, values = []) => {
    if (this.#ended) return Promise.reject(late());
    const result = this.#last.then(() => this.#do(sql, values));
    this.#last = result.catch(() => {});
    return result;
  };

  /** Takes no more, waits for what is under way, and throws what failed, whoever has caught it. */
  async end(): Promise<void> {
    this.#ended = true;
    await this.#last;
    if (this.#failed !== null) throw this.#failed;
  }

  async #do(sql: string, values: readonly unknown[]): Promise<SqlResult> {
    if (this.#failed !== null) throw this.#failed;
    const { engine } = this.#session;
    try {
      this.#signal.throwIfAborted();
      const { transactionalDdl } = this.#database.supports;
      return await this.#session.execute(statementOf(sql, values, { engine, transactionalDdl }));
    } catch (thrown) {
      this.#failed = this.#database.told(thrown);
      throw this.#failed;
    }
  }
}

function late(): GantryError {
  return new GantryError('INVALID', 'The effect has ended: it takes no more statements', {
    hint: 'Await every run() before the work of once() ends, and keep none for later.',
  });
}
