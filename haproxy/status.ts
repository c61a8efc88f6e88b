import { GantryError } from 'gantry/api';
import type { BalancedServer, BalancedStatus } from 'gantry/ports';
import { addressOf, type Pool } from './pool.ts';
import { serverId } from './server-names.ts';

/** One server's line of `show stat`. */
export type Figures = ReadonlyMap<string, string>;

const CELL = /(?:"((?:[^"]|"")*)"|([^,]*))(?:,|$)/gy;

/** Of the answer to `show stat`: CSV, the names in its first line. Throws BALANCER_FAILED where it is none. */
export function figuresOf(answer: string): Figures[] {
  const [names = '', ...lines] = answer.split('\n');
  if (!names.startsWith('# pxname,')) {
    throw new GantryError('BALANCER_FAILED', `HAProxy's figures cannot be read: ${answer.slice(0, 200)}`);
  }
  const columns = cells(names.slice(2));
  return lines
    .filter((line) => line !== '')
    .map((line) => {
      const values = cells(line);
      return new Map(columns.map((name, i) => [name, values[i] ?? '']));
    });
}

function cells(line: string): string[] {
  return Array.from(line.matchAll(CELL), ([, quoted, plain = '']) => quoted?.replaceAll('""', '"') ?? plain);
}

/** The servers as an administrator wants to see them. Without figures HAProxy does not run. */
export function statusOf(
  servers: readonly BalancedServer[],
  pools: readonly Pool[],
  figures: readonly Figures[] | null,
): BalancedStatus[] {
  const backends = new Set(pools.map(({ backend }) => backend));
  const ours = (figures ?? []).filter((line) => backends.has(line.get('pxname') ?? ''));
  return servers.map((server) => {
    const lines = ours.filter((line) => line.get('svname') === serverId(server.name));
    // The first backend is the one that callers of HTTP reach.
    const [first] = lines;
    const sum = (...names: readonly string[]) =>
      lines.reduce((total, line) => total + names.reduce((part, name) => part + Number(line.get(name) ?? 0), 0), 0);
    return {
      name: server.name,
      address: addressOf(server.host.replace(/^\[(.*)\]$/, '$1'), server.port),
      state: server.state,
      up: server.state === 'online' && /^UP/.test(first?.get('status') ?? ''),
      weight: Number(first?.get('uweight') || server.weight),
      sessions: sum('scur'),
      queued: sum('qcur'),
      calls: sum('stot'),
      errors: sum('econ', 'eresp'),
      retries: sum('wretr'),
      check: first === undefined ? 'not asked' : checkOf(first),
    };
  });
}

/** HAProxy's word for what a check found (its documentation of `check_status`), the status code, the time. */
function checkOf(line: Figures): string {
  const [word = '', code = '', ms = ''] = ['check_status', 'check_code', 'check_duration'].map((name) =>
    line.get(name),
  );
  if (word === '') return 'not asked';
  return `${word}${code === '' || code === '0' ? '' : ` ${code}`}${ms === '' ? '' : ` in ${ms} ms`}`;
}
