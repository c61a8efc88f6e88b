import { isIP } from 'node:net';
import type { Problem } from 'gantry/api';
import type { BalancedServer, BalancerSettings } from 'gantry/ports';
import { serverId, serverNumbers } from './server-names.ts';
import type { Words } from './words.ts';

/** The servers of one backend, as HAProxy is to have them. */
export interface Pool {
  readonly backend: string;
  /** Its servers have sticky cookies, made by HAProxy of their addresses. */
  readonly hasCookie: boolean;
  readonly servers: readonly PoolServer[];
}

export interface PoolServer {
  readonly id: string;
  readonly number: number;
  /** Without brackets. */
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
  readonly weight: number;
  readonly state: BalancedServer['state'];
  /** Of the line in the file and of the command `add server` alike. */
  readonly options: string;
}

/** What is the same for all servers of a pool. */
export interface PoolRules {
  readonly settings: BalancerSettings;
  readonly serverCa?: string | undefined;
  /** Where the calls go; else to each server's own port. */
  readonly port?: number;
}

const HOST = /^[A-Za-z0-9_.-]{1,255}$/;

export function poolServers(servers: readonly BalancedServer[], rules: PoolRules, words: Words): PoolServer[] {
  const numbers = serverNumbers(servers.map(({ name }) => name));
  words.problems.push(...sameNames(servers));
  return servers.map((server, i) => {
    const at = `/servers/${i}`;
    words.whole(server.weight, `${at}/weight`);
    words.whole(server.port, `${at}/port`);
    const host = server.host.replace(/^\[(.*)\]$/, '$1');
    if (isIP(host) === 0) words.plain(host, HOST, `${at}/host`);
    return {
      id: serverId(server.name),
      number: numbers.get(server.name) as number,
      host,
      port: rules.port ?? server.port,
      tls: rules.port === undefined && server.tls === true,
      weight: server.weight,
      state: server.state,
      options: optionsOf(server, rules),
    };
  });
}

/** As it stands in the file. There is no word for draining: without weight it gets nothing new, which is the same. */
export function serverLine({ id, number, host, port, weight, state, options }: PoolServer): string {
  const words = ['server', id, addressOf(host, port), `id ${number}`, `weight ${state === 'draining' ? 0 : weight}`];
  words.push(options);
  // A name that is not known yet must not keep HAProxy from starting.
  if (isIP(host) === 0) words.push('init-addr last,libc,none');
  if (state === 'offline') words.push('disabled');
  return words.join(' ');
}

export function addressOf(host: string, port: number): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Dynamic servers inherit nothing from `default-server`, so that each has all of it. */
function optionsOf(server: BalancedServer, { settings, serverCa, port }: PoolRules): string {
  const { everyMs, fall, rise, slowStartMs } = settings.check;
  const tls = serverCa === undefined ? 'verify none' : `verify required ca-file ${serverCa}`;
  const words = [
    // While a server comes or goes it is asked more often.
    `check inter ${everyMs}ms fastinter ${Math.ceil(everyMs / 2)}ms fall ${fall} rise ${rise}`,
    // Who refuses one connection gets no further one until checks find it well: sooner than the next check.
    'observe layer4 error-limit 1 on-error mark-down',
  ];
  if (slowStartMs > 0) words.push(`slowstart ${slowStartMs}ms`);
  if (settings.maxPerServer !== undefined) words.push(`maxconn ${settings.maxPerServer}`);
  if (port !== undefined) words.push(`port ${server.port}`);
  // A dynamic server's checks know nothing of its `ssl`.
  if (server.tls === true) words.push(port === undefined ? `ssl check-ssl ${tls}` : `check-ssl ${tls}`);
  return words.join(' ');
}

function sameNames(servers: readonly BalancedServer[]): Problem[] {
  const seen = new Map<string, number>();
  return servers.flatMap(({ name }, i) => {
    const first = seen.get(name);
    if (first === undefined) seen.set(name, i);
    return first === undefined
      ? []
      : [{ path: `/servers/${i}/name`, message: `is the name of server ${first}, too`, got: name.slice(0, 100) }];
  });
}
