import { connect, type Socket } from 'node:net';
import { quantile } from './figures.ts';

/** One window of load. */
export interface Load {
  readonly port: number;
  readonly method: string;
  /** Asked for in turn. */
  readonly paths: readonly string[];
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly connections: number;
  /** The window ends after so many seconds or so many requests, whatever comes first. */
  readonly seconds: number;
  readonly requests: number;
  /** A connection that fails counts as a refusal, and another one is made. Else the window ends with it. */
  readonly goOn?: boolean;
}

export interface Loaded {
  readonly requests: number;
  /** Answers with another status than 200, and requests without one. */
  readonly refused: number;
  /** The first of those, for the message. */
  readonly refusal: string;
  readonly seconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  /** The first answer's body. */
  readonly body: string;
}

const HEAD_END = Buffer.from('\r\n\r\n');
/** More connections that fail are no disturbance: the server is gone. */
const MOST_LOST = 1000;

/**
 * Keeps `connections` sockets busy with one request each: the next is sent when the answer is here. Requests are built
 * once, answers are read by their content-length and not looked into. The signal ends the window before its time. Rejects
 * when a socket fails.
 */
export async function drive(load: Load, ended: AbortSignal): Promise<Loaded> {
  const requests = load.paths.map((path) => request(load, path));
  const latencies: number[] = [];
  let refused = 0;
  let refusal = '';
  let body = '';
  let sent = 0;
  const startedAt = performance.now();
  const until = startedAt + load.seconds * 1000;
  const over = () => ended.aborted || sent >= load.requests || performance.now() >= until;
  const next = () => (over() ? null : requests[sent++ % requests.length]);
  const answered = (ms: number, status: number, text: () => string) => {
    if (latencies.length === 0) body = text();
    latencies.push(ms);
    if (status !== 200 && refused++ === 0) refusal = text();
  };
  let lost = 0;
  const keepBusy = async (): Promise<void> => {
    while (!over()) {
      try {
        await wire(load.port, next, answered);
      } catch (error) {
        if (load.goOn !== true || ++lost > MOST_LOST) throw error;
        if (refused++ === 0) refusal = (error as Error).message;
      }
    }
  };
  await Promise.all(Array.from({ length: load.connections }, keepBusy));
  const seconds = (performance.now() - startedAt) / 1000;
  latencies.sort((a, b) => a - b);
  return {
    requests: latencies.length,
    refused,
    refusal,
    seconds,
    p50Ms: quantile(latencies, 0.5),
    p99Ms: quantile(latencies, 0.99),
    maxMs: latencies.at(-1) ?? 0,
    body,
  };
}

function request({ method, headers, body, port }: Load, path: string): Buffer {
  const lines = Object.entries({
    host: `127.0.0.1:${port}`,
    ...headers,
    ...(body === '' ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
  }).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.from(`${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n${body}`);
}

type Next = () => Buffer | null | undefined;
type Answered = (ms: number, status: number, text: () => string) => void;

/** One connection, until there is nothing more to send. */
function wire(port: number, next: Next, answered: Answered): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect({ port, host: '127.0.0.1', noDelay: true });
    let answer: Buffer | null = null;
    let status = 0;
    let sentAt = 0;
    /** What is still to come of the answer's body; -1 while its head is. */
    let missing = -1;
    let ended = false;
    const send = () => {
      const bytes = next();
      if (bytes === null || bytes === undefined) {
        ended = true;
        socket.end();
        return resolve();
      }
      answer = null;
      missing = -1;
      sentAt = performance.now();
      socket.write(bytes);
    };
    const fail = (error: Error) => {
      if (!ended) reject(error);
      ended = true;
      socket.destroy();
    };
    socket.on('data', (chunk: Buffer) => {
      const got = answer === null ? chunk : Buffer.concat([answer, chunk]);
      answer = got;
      if (missing >= 0) missing -= chunk.length;
      else {
        const end = got.indexOf(HEAD_END);
        if (end === -1) return;
        const text = got.toString('latin1', 0, end + 2);
        status = Number(text.slice(9, 12));
        const length = /\r\ncontent-length: (\d+)\r\n/i.exec(text);
        if (length === null) return fail(new Error(`An answer has no content-length:\n${text}`));
        missing = end + 4 + Number(length[1]) - got.length;
      }
      if (missing > 0) return;
      answered(performance.now() - sentAt, status, () => got.subarray(got.indexOf(HEAD_END) + 4).toString());
      send();
    });
    socket.once('connect', send);
    socket.once('error', fail);
    socket.once('close', () => fail(new Error(`The server on port ${port} closed a connection`)));
  });
}
