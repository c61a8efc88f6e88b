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

/** Null: the server of that name answers there. */
export async function pingTrouble(port: number, name: string): Promise<string | null> {
  const { status, body } = await ask(port, '/gantry/ping');
  if (status !== 200) return status === 0 ? body : `/gantry/ping answers ${status}`;
  const { server } = parsed(body) as { server?: unknown };
  return server === name ? null : `at its port there is the server '${server}'`;
}

/** Null: who comes in by the balancer is answered, if only that there is no server for it. */
export async function callTrouble(port: number, serving: boolean): Promise<string | null> {
  const { status, body } = await ask(port, '/gantry/ping');
  if (status === 0) return body;
  return status === 200 || !serving ? null : `/gantry/ping answers ${status}`;
}

export interface Answer {
  readonly status: number;
  readonly body: string;
}

/** A GET, or a POST of what is given. Of a call that could not be made, the status is 0 and the body tells why. */
export function ask(port: number, path: string, given?: { auth: string; input: object }): Promise<Answer> {
  return new Promise((resolve) => {
    const sent = given === undefined ? '' : JSON.stringify(given.input);
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(sent) };
    const post = given === undefined ? {} : { method: 'POST', auth: given.auth, headers };
    const asking = request({ host: HOST, port, path, agent: false, ...post }, (reply) => {
      let body = '';
      reply.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      reply.once('error', ({ message }) => resolve({ status: 0, body: message }));
      reply.once('end', () => resolve({ status: reply.statusCode ?? 0, body }));
    });
    asking.setTimeout(ANSWER_MS, () => asking.destroy(new Error('it does not answer')));
    asking.once('error', ({ message }) => resolve({ status: 0, body: message }));
    asking.end(sent);
  });
}

/** Of what is no JSON object: an empty one. */
export function parsed(text: string): object {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    return {};
  }
}
