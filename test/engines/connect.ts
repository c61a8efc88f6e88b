import { type Options, QueryTypes, Sequelize } from 'sequelize';
import type { Plugin } from '../../core/cradle.ts';
import { Logs } from '../../core/log/log.ts';
import type { Dialect, DriverError, DriverProblem } from '../../core/ports/dialect.ts';
import { Process } from '../../core/process.ts';

type Row = Record<string, unknown>;

/** A dialect plugin and Sequelize on it, as the ODB would use them. */
export interface Connected {
  readonly dialect: Dialect;
  readonly sequelize: Sequelize;
  rows(sql: string, bind?: readonly unknown[]): Promise<Row[]>;
  close(): Promise<void>;
}

export async function connect(plugin: Plugin, config: Readonly<Record<string, unknown>>): Promise<Connected> {
  const kernel = new Process({ logs: new Logs({ level: 'silent' }), name: 'server1' });
  kernel.create([{ id: plugin.id, plugin, config: structuredClone(config) }]);
  await kernel.start();
  const { dialect } = kernel.cradle;
  const sequelize = new Sequelize({ ...(dialect.options() as Options), logging: false });
  return {
    dialect,
    sequelize,
    rows: (sql, bind) => sequelize.query<Row>(sql, { type: QueryTypes.SELECT, ...(bind && { bind: [...bind] }) }),
    async close() {
      await sequelize.close();
      await kernel.stop();
    },
  };
}

export interface Failed {
  readonly problem: DriverProblem | null;
  /** The driver's error. */
  readonly error: DriverError & { readonly message: string };
  readonly ms: number;
}

/** What the dialect calls the failure of what is done. */
export async function failed({ dialect }: Connected, doing: Promise<unknown>): Promise<Failed> {
  const began = performance.now();
  try {
    await doing;
  } catch (thrown) {
    const error = ((thrown as { parent?: unknown }).parent ?? thrown) as Failed['error'];
    return { problem: dialect.classify(error), error, ms: performance.now() - began };
  }
  throw new Error('It did not fail');
}
