import path from 'node:path';
import { AGENT, logFile, REDIS, type ServerPlan } from './plan.ts';
import { HOST } from './ports.ts';

export interface Shown {
  readonly folder: string;
  readonly servers: readonly ServerPlan[];
  readonly balancerPort: number;
  readonly statsPort: number;
  readonly agentPort: number;
  readonly redisPort: number;
  /** Where the records are. */
  readonly database: string;
  /** Of the administrator, or why it cannot be told. */
  readonly admin: { readonly password: string } | { readonly unknown: string };
  readonly statsPassword: string;
  /** The file that has them all. */
  readonly passwordFile: string;
}

/** For the person who started it. */
export function table(shown: Shown): string {
  const { folder, servers, admin } = shown;
  const url = (port: number, rest = '') => `http://${HOST}:${port}${rest}`;
  const balancer = url(shown.balancerPort);
  const known = 'password' in admin;
  const rows = [
    ['callers', balancer, `HAProxy, before ${servers.map(({ name }) => name).join(', ')}`],
    ['admin API', `${balancer}/gantry/admin`, known ? `user admin, password ${admin.password}` : admin.unknown],
    ['agent', url(shown.agentPort, '/gantry/admin'), 'of the balancer; the same user'],
    ['figures', url(shown.statsPort), `user admin, password ${shown.statsPassword}`],
    ...servers.map(({ name, port }) => [name, url(port), `pick-up folder ${path.join(folder, name, 'pickup')}`]),
    [REDIS, `${HOST}:${shown.redisPort}`, `password in ${shown.passwordFile}`],
    ['records', shown.database, ''],
    ['logs', path.join(folder, 'logs'), [...servers.map(({ name }) => name), AGENT, REDIS].map(fileOf).join(' ')],
  ];
  const widths = [0, 1].map((i) => Math.max(...rows.map((row) => (row[i] as string).length)));
  const lines = rows.map((row) => row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  '));
  const user = known ? `admin:${admin.password}` : 'admin';
  const status = `-X POST -H 'content-type: application/json' -d '{}' ${balancer}/gantry/admin/gantry.cluster.status`;
  return [
    '',
    'The cluster is up: HAProxy, the agent, Redis and the servers, each a process of its own.',
    '',
    ...lines.map((line) => `  ${line.trimEnd()}`),
    '',
    'Try it:',
    `  curl ${balancer}/gantry/ping        again and again: each server has its turn`,
    `  curl -u '${user}' ${status}`,
    '',
    'Ctrl-C ends all of it.',
    '',
  ].join('\n');
}

function fileOf(name: string): string {
  return path.basename(logFile('', name));
}
