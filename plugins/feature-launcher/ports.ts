import { createServer } from 'node:net';
import { GantryError, type Problem } from '../../core/api.ts';

export const HOST = '127.0.0.1';

export function urlOf(port: number, rest = ''): string {
  return `http://${HOST}:${port}${rest}`;
}

/** A port that one of those needs, and the key of the config that says so. */
export interface Wanted {
  readonly port: number;
  readonly of: string;
  readonly key: string;
}

/** Before anything is started. Rejects with ADDRESS_IN_USE, telling of each that another program has. */
export async function refuseTaken(wanted: readonly Wanted[], plugin: string): Promise<void> {
  const found = await Promise.all(wanted.map(async (one) => ({ ...one, code: await failure(one.port) })));
  const problems = found.filter(({ code }) => code !== null).map((one) => problemOf(one, told(one.code)));
  if (problems.length === 0) return;
  throw new GantryError('ADDRESS_IN_USE', 'Not all ports are free; nothing was started', { problems });

  function problemOf({ port, of, key }: Wanted, message: string): Problem {
    return {
      plugin,
      path: `plugins.${plugin}.${key}`,
      message: `port ${port} of ${of} ${message}`,
      hint: `End what listens there (lsof -i :${port}), or set another ${key} in cluster.local.yaml beside the config.`,
    };
  }
}

function told(code: string | null): string {
  return code === 'EADDRINUSE' ? 'is taken by another program' : `cannot be listened on (${code})`;
}

/** Null where one could listen there now. */
function failure(port: number): Promise<string | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen(port, HOST, () => server.close(() => resolve(null)));
  });
}
