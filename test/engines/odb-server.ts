/** A process of its own that starts an odb whenever it is told to, keeps one record there, and stops it. */
import { openServer } from './odb-plugins.ts';

export interface Order {
  readonly dialect: string;
  readonly config: Readonly<Record<string, unknown>>;
  /** Of the record. */
  readonly name: string;
}
export interface Report {
  /** Of the record. */
  readonly revision?: number;
  /** Migrations that this server made. */
  readonly migrated?: readonly string[];
  readonly failure?: string;
}

process.on('message', async (order: Order) => {
  process.send?.(await obey(order));
});

async function obey({ dialect, config, name }: Order): Promise<Report> {
  try {
    const server = await openServer(dialect, config);
    try {
      if (server.odb.problem !== null) throw server.odb.problem;
      const [written] = await server.odb.write([{ action: 'create', kind: 'race', name, body: {} }], { name });
      return { revision: written?.revision ?? 0, migrated: server.migrated() };
    } finally {
      await server.stop();
    }
  } catch (error) {
    const { message, hint = '', cause } = error as Error & { hint?: string };
    return { failure: `${message} ${hint} ${String(cause)}` };
  }
}
