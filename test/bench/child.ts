import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { get, request } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { availableParallelism } from 'node:os';

const running = new Set<Child>();
const TAIL = 4000;

/** A process that the bench started, and ends. */
export class Child {
  readonly name: string;
  readonly process: ChildProcess;
  readonly pid: number;
  readonly #exited: Promise<void>;
  #said = '';

  constructor(name: string, command: readonly string[], { cpu, env = {} }: { cpu?: number; env?: NodeJS.ProcessEnv }) {
    this.name = name;
    const [file = '', ...args] = [...pin(cpu), ...command];
    this.process = spawn(file, args, {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      env: { ...process.env, NODE_ENV: 'production', ...env },
      serialization: 'json',
    });
    running.add(this);
    this.pid = this.process.pid ?? -1;
    const keep = (text: Buffer) => {
      this.#said = (this.#said + text.toString()).slice(-TAIL);
    };
    this.process.stdout?.on('data', keep);
    this.process.stderr?.on('data', keep);
    this.#exited = new Promise((resolve) => {
      this.process.once('error', (error) => {
        this.#said += error.message;
        running.delete(this);
        resolve();
      });
      this.process.once('exit', () => {
        running.delete(this);
        resolve();
      });
    });
  }

  get alive(): boolean {
    return running.has(this);
  }
  /** The end of what it wrote, for a message. */
  get said(): string {
    return this.#said.trim();
  }

  /** Sends a message and waits for the one that comes back. */
  ask<T>(message: object): Promise<T> {
    return new Promise((resolve, reject) => {
      const ended = () => reject(new Error(`${this.name} ended:\n${this.said}`));
      this.process.once('message', (answer) => {
        this.process.off('exit', ended);
        resolve(answer as T);
      });
      this.process.once('exit', ended);
      this.process.send(message);
    });
  }

  async stop(): Promise<void> {
    if (!this.alive) return;
    this.process.kill('SIGTERM');
    const timer = setTimeout(() => this.process.kill('SIGKILL'), 3000);
    await this.#exited;
    clearTimeout(timer);
  }
  kill(): void {
    if (this.alive) this.process.kill('SIGKILL');
  }
}

/** At the end, whatever it is. */
export function killAll(): void {
  for (const child of running) child.kill();
}

export const SERVER_CPU = 0;
export const CLIENT_CPU = 1;

/** Whether a server and the client each get a processor of their own. */
export const pinned = availableParallelism() > 1 && hasTaskset();

function pin(cpu: number | undefined): string[] {
  return cpu === undefined || !pinned ? [] : ['taskset', '-c', String(cpu)];
}
function hasTaskset(): boolean {
  try {
    execFileSync('taskset', ['-V'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

export interface Usage {
  /** User and system time of all threads. */
  readonly cpuMs: number;
  readonly rssMb: number;
}

const TICK_MS = process.platform === 'linux' ? 1000 / Number(execFileSync('getconf', ['CLK_TCK']).toString()) : 0;

/** What a process has used, as the system counts it: from /proc, elsewhere from ps. */
export function usage(pid: number): Usage {
  if (process.platform === 'linux') {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ')
      .map(Number);
    const rss = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
    return { cpuMs: ((fields[11] ?? 0) + (fields[12] ?? 0)) * TICK_MS, rssMb: Number(rss?.[1]) / 1024 };
  }
  const [time = '', rss = ''] = execFileSync('ps', ['-o', 'time=,rss=', '-p', String(pid)])
    .toString()
    .trim()
    .split(/ +/);
  const cpuMs = time.split(':').reduce((seconds, part) => seconds * 60 + Number(part), 0) * 1000;
  return { cpuMs, rssMb: Number(rss) / 1024 };
}

/** A TCP port that nobody listens on. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

export interface Knock {
  readonly port: number;
  readonly path: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly everyMs?: number;
  readonly timeoutMs?: number;
}

/** Asks again and again until the child answers 200. Rejects when it ends or takes too long. */
export async function untilAnswers(child: Child, knock: Knock): Promise<void> {
  const until = performance.now() + (knock.timeoutMs ?? 60_000);
  let last = 'nothing';
  while (performance.now() < until) {
    if (!child.alive) throw new Error(`${child.name} ended before it answered:\n${child.said}`);
    last = await once(knock);
    if (last.startsWith('200')) return;
    await new Promise((resolve) => setTimeout(resolve, knock.everyMs ?? 20));
  }
  throw new Error(`${child.name} did not answer ${knock.path} with 200 in time; last: ${last}\n${child.said}`);
}

function once({ port, path, method = 'GET', headers = {}, body }: Knock): Promise<string> {
  return new Promise((resolve) => {
    const options = { host: '127.0.0.1', port, path, method, headers, agent: false, timeout: 5000 } as const;
    const req = (body === undefined ? get : request)(options, (res) => {
      let text = '';
      res.setEncoding('utf8');
      res.on('data', (part: string) => {
        text += part;
      });
      res.on('error', () => resolve('cut off'));
      res.on('end', () => resolve(`${res.statusCode} ${text}`));
    });
    req.on('timeout', () => req.destroy());
    req.on('error', (error) => resolve(error.message));
    if (body !== undefined) req.end(body);
  });
}
