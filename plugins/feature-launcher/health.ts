/** Whether what was started is well, as its callers would find out. Each gives null, or why it is not. */
import { request } from 'node:http';
import { connect } from 'node:net';
import { HOST } from './ports.ts';

const ANSWER_MS = 2000;

/** Says PING as any client, in Redis' inline form. */
export function redisTrouble(port: number, password: string): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = connect({ host: HOST, port });
    let said = '';
    const end = (trouble: string | null) => {
      socket.destroy();
      resolve(trouble);
    };
    socket.setTimeout(ANSWER_MS, () => end('it does not answer'));
    socket.once('error', ({ message }) => end(message));
    socket.once('close', () => end('it hung up'));
    socket.once('connect', () => socket.write(`AUTH ${password}\r\nPING\r\n`));
    socket.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      if (said.includes('+PONG\r\n')) end(null);
      else if (said.split('\r\n').length > 2) end(`it says ${said.trim().replaceAll('\r\n', ', ')}`);
    });
  });
}

/** Null: a server answers there, which is the one of that name where one is given. */
export async function pingTrouble(port: number, name: string | null): Promise<string | null> {
  const { status, body } = await ask(port, 'GET', '/gantry/ping');
  if (status !== 200) return status === 0 ? body : `/gantry/ping answers ${status}`;
  const { server } = parsed(body) as { server?: unknown };
  return name === null || server === name ? null : `at its port there is the server '${server}'`;
}

/** What the agent says of the balancer. */
export interface AgentSays {
  readonly trouble: string | null;
  /** It does not know the administrator by that password. */
  readonly refused: boolean;
  /** Whether any server gets calls; an administrator may have taken all of them out. */
  readonly serving: boolean;
}

export async function askAgent(port: number, password: string, servers: readonly string[]): Promise<AgentSays> {
  const service = (name: string) => ask(port, 'POST', `/gantry/admin/${name}`, `admin:${password}`);
  const { status, body } = await service('gantry.balancer.status');
  const refused = status === 401 || status === 403;
  if (refused) return { trouble: null, refused, serving: true };
  const failed = status === 0 ? body : status === 200 ? null : `it answers ${status}`;
  if (failed !== null) return { trouble: failed, refused, serving: false };
  const balanced = listOf<{ name: string; up: boolean; state: string; check: string }>(body);
  const down = servers.filter((name) => !balanced.some((one) => one.name === name && one.up));
  // Who was taken out by an administrator, before the last end of all, stays out.
  const members = down.length === 0 ? [] : listOf<{ name: string; wanted: string }>((await service(MEMBERS)).body);
  const missing = down
    .filter((name) => !members.some((one) => one.name === name && ['draining', 'offline'].includes(one.wanted)))
    .map((name) => {
      const one = balanced.find((server) => server.name === name);
      return one === undefined ? `${name} is not known` : `${name} is not up (${one.state}, ${one.check})`;
    });
  const trouble = missing.length === 0 ? null : `of the balancer it says: ${missing.join(', ')}`;
  return { trouble, refused, serving: balanced.some(({ up }) => up) };
}

const MEMBERS = 'gantry.cluster.status';

function listOf<T>(body: string): readonly T[] {
  const { servers } = parsed(body) as { servers?: unknown };
  return Array.isArray(servers) ? (servers as T[]) : [];
}

/** Of a call that could not be made, the status is 0 and the body tells why. */
function ask(port: number, method: string, path: string, auth?: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve) => {
    const headers = method === 'POST' ? { 'content-type': 'application/json', 'content-length': '2' } : {};
    const options = { host: HOST, port, method, path, headers, agent: false, ...(auth === undefined ? {} : { auth }) };
    const asking = request(options, (reply) => {
      let body = '';
      reply.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      reply.once('error', ({ message }) => resolve({ status: 0, body: message }));
      reply.once('end', () => resolve({ status: reply.statusCode ?? 0, body }));
    });
    asking.setTimeout(ANSWER_MS, () => asking.destroy(new Error('it does not answer')));
    asking.once('error', ({ message }) => resolve({ status: 0, body: message }));
    asking.end(method === 'POST' ? '{}' : undefined);
  });
}

function parsed(text: string): object {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    return {};
  }
}
