import { createServer } from 'node:net';
import type { Problem } from 'gantry/api';
import type { BalancerSettings } from 'gantry/ports';

interface Address {
  readonly path: string;
  readonly host: string;
  readonly port: number;
}

/**
 * Addresses that HAProxy is to have, has not, and cannot get. HAProxy itself would not tell: with a port that another
 * HAProxy of the same user has, it shares; and for any other it makes callers wait while it tries.
 */
export async function takenAddresses(wanted: BalancerSettings, has: BalancerSettings | null): Promise<Problem[]> {
  // What a template of an operator's own binds, we do not know.
  if (wanted.template !== undefined) return [];
  const old = new Set((has === null ? [] : addressesOf(has)).map(({ port }) => port));
  const fresh = addressesOf(wanted).filter(({ port }) => !old.has(port));
  const found = await Promise.all(fresh.map(async (address) => ({ address, why: await whyNot(address) })));
  return found.flatMap(({ address: { path, host, port }, why }) =>
    why === null ? [] : [{ path, message: `${host}:${port} ${why}`, got: `${host}:${port}` }],
  );
}

function addressesOf({ binds, stats, tcp }: BalancerSettings): Address[] {
  return [
    ...binds.map(({ host, port }, i) => ({ path: `/settings/binds/${i}`, host, port })),
    ...(stats === undefined ? [] : [{ path: '/settings/stats', host: stats.host, port: stats.port }]),
    ...tcp.map(({ host, port }, i) => ({ path: `/settings/tcp/${i}`, host, port })),
  ];
}

const REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'is taken by another program',
  EADDRNOTAVAIL: 'is no address of this machine',
  EACCES: 'needs the right to listen on a port below 1024',
};

function whyNot({ host, port }: Address): Promise<string | null> {
  const bare = host === '*' ? '0.0.0.0' : host.replace(/^\[(.*)\]$/, '$1');
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', ({ code = '' }: NodeJS.ErrnoException) => resolve(REASONS[code] ?? null));
    server.listen({ host: bare, port, exclusive: true }, () => server.close(() => resolve(null)));
  });
}
