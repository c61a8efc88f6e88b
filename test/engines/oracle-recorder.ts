/**
 * In the place of Oracle's driver: takes every statement that Sequelize would send, and answers what a database with a
 * few records might. It proves what is asked, and nothing about what Oracle says to it.
 */
import { EventEmitter } from 'node:events';

export interface Statement {
  readonly sql: string;
  /** One list of values for each time that it is done. */
  readonly binds: readonly (readonly unknown[])[];
}

type Row = Readonly<Record<string, unknown>>;

export class OracleRecorder {
  readonly statements: Statement[] = [];
  /** Connections that are not closed. */
  open = 0;
  readonly #answer: (sql: string) => readonly Row[];
  /** What Sequelize uses of the driver. */
  readonly driver: object;

  constructor(answer: (sql: string) => readonly Row[]) {
    this.#answer = answer;
    const types = ['STRING', 'NUMBER', 'CLOB', 'BLOB', 'BIND_IN', 'BIND_OUT', 'BIND_INOUT', 'OUT_FORMAT_OBJECT'];
    this.driver = {
      ...Object.fromEntries(types.map((name, i) => [name, i])),
      getConnection: () => this.connection(),
    };
  }

  /** What was asked since it was last taken. */
  take(): readonly Statement[] {
    return this.statements.splice(0);
  }

  async connection(): Promise<object> {
    this.open++;
    const done = async () => {};
    return Object.assign(new EventEmitter(), {
      oracleServerVersionString: '19.3.0.0.0',
      callTimeout: 0,
      isHealthy: () => true,
      commit: done,
      rollback: done,
      close: async (then?: unknown) => {
        this.open--;
        if (typeof then === 'function') then(null);
      },
      execute: async (sql: string, binds: readonly unknown[] | Row = []) => {
        this.statements.push({ sql, binds: [Object.values(binds)] });
        return { rows: this.#answer(sql), metaData: [], rowsAffected: 1 };
      },
      executeMany: async (sql: string, binds: readonly (readonly unknown[])[]) => {
        this.statements.push({ sql, binds });
        return { rowsAffected: binds.length };
      },
    });
  }
}
