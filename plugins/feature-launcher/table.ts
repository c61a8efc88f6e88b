import path from 'node:path';
import type { Row } from './callers.ts';
import { AGENT, logFile, REDIS, type ServerPlan } from './plan.ts';
import { HOST, urlOf } from './ports.ts';

export interface Shown {
  readonly folder: string;
  readonly servers: readonly ServerPlan[];
  readonly balancerPort: number;
  readonly statsPort: number;
  readonly agentPort: number;
  readonly redisPort: number;
  /** Where the records are. */
  readonly database: string;
  /** Null: callers come in at the balancer's port. */
  readonly callers: Row | null;
  /** Commands for where they do not. */
  readonly mending: readonly string[];
  /** Null: they are at their port, with the password below. */
  readonly figures: Row | null;
  /** Of the administrator, or why it cannot be told. */
  readonly admin: { readonly password: string } | { readonly unknown: string };
  readonly statsPassword: string;
  /** The file that has them all. */
  readonly passwordFile: string;
}

/** For the person who started it. */
export function table(shown: Shown): string {
  const { folder, servers, admin } = shown;
  const isUsual = shown.callers === null;
  const balancer = urlOf(shown.balancerPort);
  // Where callers do not come in there, the first server is asked itself.
  const door = isUsual ? balancer : urlOf(servers[0]?.port ?? shown.agentPort);
  const names = servers.map(({ name }) => name);
  const usual = {
    callers: { where: balancer, note: `HAProxy, before ${names.join(', ')}` },
    figures: { where: urlOf(shown.statsPort), note: `user admin, password ${shown.statsPassword}` },
  };
  const { callers, figures } = { callers: shown.callers ?? usual.callers, figures: shown.figures ?? usual.figures };
  const known = 'password' in admin;
  const rows = [
    ['callers', callers.where, callers.note],
    ['admin API', `${door}/gantry/admin`, known ? `user admin, password ${admin.password}` : admin.unknown],
    ['agent', urlOf(shown.agentPort, '/gantry/admin'), 'of the balancer; the same user'],
    ['figures', figures.where, figures.note],
    ...servers.map(({ name, port }) => [name, urlOf(port), `pick-up folder ${path.join(folder, name, 'pickup')}`]),
    [REDIS, `${HOST}:${shown.redisPort}`, `password in ${shown.passwordFile}`],
    ['records', shown.database, ''],
    ['logs', path.join(folder, 'logs'), [...names, AGENT, REDIS].map(fileOf).join(' ')],
  ];
  const widths = [0, 1].map((i) => Math.max(...rows.map((row) => (row[i] as string).length)));
  const lines = rows.map((row) => row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  '));
  const user = known ? `admin:${admin.password}` : 'admin';
  const status = `-X POST -H 'content-type: application/json' -d '{}' ${door}/gantry/admin/gantry.cluster.status`;
  return [
    '',
    isUsual
      ? 'The cluster is up: HAProxy, the agent, Redis and the servers, each a process of its own.'
      : 'The servers, the agent and Redis are up, but callers do not come in where this config says.',
    '',
    ...lines.map((line) => `  ${line.trimEnd()}`),
    '',
    ...(isUsual ? [] : ['To see why, and to change it:', ...shown.mending.map((line) => `  ${line}`), '']),
    'Try it:',
    `  curl ${door}/gantry/ping${isUsual ? '        again and again: each server has its turn' : ''}`,
    `  curl -u '${user}' ${status}`,
    '',
    'Ctrl-C ends all of it.',
    '',
  ].join('\n');
}

function fileOf(name: string): string {
  return path.basename(logFile('', name));
}
