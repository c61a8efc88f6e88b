import { isIP } from 'node:net';
import { GantryError } from 'gantry/api';
import { addressOf, type Pool, type PoolServer } from './pool.ts';
import { ask } from './socket.ts';

/** A server as HAProxy has it now, of `show servers state`. */
export interface Row {
  readonly backend: string;
  readonly id: string;
  readonly address: string;
  /** The name that it resolves; '-' where it was given an address. */
  readonly fqdn: string;
  readonly port: number;
  readonly tls: boolean;
  readonly weight: number;
  /** Bits; see the constants. */
  readonly admin: number;
  /** The line as it came. */
  readonly line: string;
}

/** What an administrator made of it, of HAProxy's SRV_ADMF_*. */
const MAINTENANCE = 0x01;
const DRAIN = 0x08;

/** Of management.txt, "show servers state". */
const COLUMNS = {
  be_name: 1,
  srv_name: 3,
  srv_addr: 4,
  srv_admin_state: 6,
  srv_uweight: 7,
  srv_fqdn: 17,
  srv_port: 18,
};
const USE_SSL = 20;

export async function serverRows(socket: string): Promise<Row[]> {
  const lines = (await ask(socket, 'show servers state')).split('\n');
  return lines.filter((line) => /^\d+ \S+ \d+ /.test(line)).map(rowOf);
}

function rowOf(line: string): Row {
  const words = line.split(' ');
  const at = (name: keyof typeof COLUMNS) => words[COLUMNS[name]] ?? '';
  return {
    backend: at('be_name'),
    id: at('srv_name'),
    address: at('srv_addr'),
    fqdn: at('srv_fqdn'),
    port: Number(at('srv_port')),
    tls: words[USE_SSL] === '1',
    weight: Number(at('srv_uweight')),
    admin: Number(at('srv_admin_state')),
    line,
  };
}

export interface Step {
  /** add: a new server. set: one that stays. remove: one that is to go. */
  readonly kind: 'add' | 'set' | 'remove';
  readonly command: string;
  /** For the log; null where another step says it. */
  readonly told: string | null;
}

export interface Plan {
  readonly steps: readonly Step[];
  /** Why a reload is needed; null where the steps do. */
  readonly reload: string | null;
}

/** What is to be done so that HAProxy has these servers and no others. */
export function planOf(pools: readonly Pool[], rows: readonly Row[]): Plan {
  const steps: Step[] = [];
  let reload: string | null = null;
  for (const pool of pools) {
    const there = new Map(rows.filter(({ backend }) => backend === pool.backend).map((row) => [row.id, row]));
    for (const server of pool.servers) {
      const row = there.get(server.id);
      there.delete(server.id);
      if (row === undefined && isIP(server.host) === 0)
        reload = `${server.host} is a name, and it resolves those only then`;
      else if (row === undefined) steps.push(...adding(pool, server));
      else if (isElsewhere(row, server)) reload = `${server.id} has another address`;
      else steps.push(...setting(pool, server, row));
    }
    for (const row of there.values()) steps.push(...removing(pool, row));
  }
  return { steps, reload };
}

function adding({ backend, hasCookie }: Pool, server: PoolServer): Step[] {
  const { id, host, port, number, weight, state, options } = server;
  const place = `${backend}/${id}`;
  const step = (command: string, told: string | null = null): Step => ({ kind: 'add', command, told });
  const steps = [
    step(
      `add server ${place} ${addressOf(host, port)} id ${number} weight ${weight} ${options}`,
      `${place} was added: ${addressOf(host, port)}, weight ${weight}, ${state}`,
    ),
    step(`enable health ${place}`),
  ];
  // It makes cookies anew for all that have an address.
  if (hasCookie) steps.push(step(`enable dynamic-cookie backend ${backend}`));
  // It begins as one that is down: what checks cannot reach gets no call.
  if (state === 'online') {
    steps.push(step(`set server ${place} state ready;set server ${place} health down`));
  } else if (state === 'draining') steps.push(step(`set server ${place} state drain`));
  return steps;
}

function setting({ backend }: Pool, { id, weight, state }: PoolServer, row: Row): Step[] {
  const place = `${backend}/${id}`;
  const step = (command: string, told: string): Step => ({ kind: 'set', command, told });
  const steps: Step[] = [];
  if (row.weight !== weight) {
    steps.push(step(`set server ${place} weight ${weight}`, `${place} has weight ${weight}, and had ${row.weight}`));
  }
  const isOff = (row.admin & MAINTENANCE) !== 0;
  const isDraining = !isOff && (row.admin & DRAIN) !== 0;
  const is = isOff ? 'offline' : isDraining ? 'draining' : 'online';
  if (is !== state) {
    const word = { offline: 'maint', draining: 'drain', online: 'ready' }[state];
    steps.push(step(`set server ${place} state ${word}`, `${place} is ${state}, and was ${is}`));
  }
  return steps;
}

/**
 * What it has in hand goes on; it is gone once that has ended, and HAProxy has given up its idle connections, for which
 * we ask again.
 */
function removing({ backend }: Pool, { id, admin }: Row): Step[] {
  const place = `${backend}/${id}`;
  const step = (command: string, told: string): Step => ({ kind: 'remove', command, told });
  const isOff = (admin & MAINTENANCE) !== 0;
  return [
    ...(isOff ? [] : [step(`set server ${place} state maint`, `${place} gets nothing more`)]),
    step(`del server ${place}`, `${place} was removed`),
  ];
}

export function isElsewhere(row: Row, { host, port, tls }: PoolServer): boolean {
  const address = row.fqdn === '-' ? row.address : row.fqdn;
  return !isSameHost(address, host) || row.port !== port || row.tls !== tls;
}

/** HAProxy writes IPv6 in its shortest form. */
function isSameHost(one: string, other: string): boolean {
  if (one === other) return true;
  if (isIP(one) !== 6 || isIP(other) !== 6) return false;
  const short = (host: string) => new URL(`http://[${host}]`).hostname;
  return short(one) === short(other);
}

const DONE = /^(New server registered\.|Server deleted\.)?$/;

/** Does one step. Gives why it could not be done, or null. Rejects with BALANCER_FAILED where nobody answers. */
export async function take(socket: string, { command }: Step): Promise<string | null> {
  const answer = (await ask(socket, command)).trim();
  return DONE.test(answer) ? null : `'${command.split(' ').slice(0, 3).join(' ')}': ${answer}`;
}

/** Throws BALANCER_FAILED for what is no answer of HAProxy's. */
export async function workerPid(socket: string, timeoutMs?: number): Promise<number> {
  const [, pid] = /^Pid: (\d+)$/m.exec(await ask(socket, 'show info', timeoutMs)) ?? [];
  if (pid === undefined) throw new GantryError('BALANCER_FAILED', `${socket} is no socket of HAProxy`);
  return Number(pid);
}
