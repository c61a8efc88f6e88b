/** HAProxy with servers behind it, for tests. */
import { once } from 'node:events';
import {
  Agent,
  createServer,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type RequestListener,
  request,
  type Server,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import type { Plugin } from '../../../core/cradle.ts';
import { Logs } from '../../../core/log/log.ts';
import type {
  BalancedServer,
  Balancer,
  BalancerChange,
  BalancerSettings,
  BalancerState,
} from '../../../core/ports/index.ts';
import { Process } from '../../../core/process.ts';
import plugin from '../../../haproxy/index.ts';
import { freePort } from '../../engines/engine.ts';
import { Guarded } from '../../engines/index.ts';
import { balancerSettings } from '../../kit/balancer.ts';

export interface Member {
  readonly server: Server;
  readonly as: BalancedServer;
}

/** One HAProxy, run by one kernel, which may end and come again. */
export class Balanced {
  readonly port: number;
  readonly data: string;
  readonly lines: Record<string, unknown>[] = [];
  kernel!: Process;
  balancer!: Balancer;
  readonly #config: Readonly<Record<string, unknown>>;
  readonly #guarded: Guarded;
  readonly #members: Server[] = [];
  #state: BalancerState;

  private constructor(port: number, guarded: Guarded, config: Readonly<Record<string, unknown>>, folder: string) {
    this.port = port;
    this.data = path.join(guarded.folder, folder);
    this.#guarded = guarded;
    this.#config = config;
    this.#state = { settings: balancerSettings(port), servers: [] };
  }

  static async open(config: Readonly<Record<string, unknown>> = {}, folder = ''): Promise<Balanced> {
    const made = new Balanced(await freePort(), new Guarded(), { stopMs: 200, ...config }, folder);
    await made.begin();
    return made;
  }

  get settings(): BalancerSettings {
    return this.#state.settings;
  }
  get state(): BalancerState {
    return this.#state;
  }
  get folder(): string {
    return path.join(this.data, 'haproxy');
  }
  get log(): string {
    return JSON.stringify(this.lines);
  }

  /** Another process of ours, as HAProxy sees it. */
  async begin(): Promise<void> {
    const logs = new Logs({ level: 'debug', to: { write: (line) => void this.lines.push(JSON.parse(line)) } });
    this.kernel = new Process({ logs, data: this.data });
    const one = plugin as unknown as Plugin;
    await this.kernel.create([{ id: one.id, plugin: one, config: { ...this.#config } }]).start();
    this.balancer = this.kernel.cradle.balancer;
    await this.watch();
  }
  async end(): Promise<void> {
    await this.kernel.stop();
  }

  /** Applies what is given over what was applied last. */
  async apply(settings: Partial<BalancerSettings>, servers = this.#state.servers): Promise<BalancerChange> {
    const state = { settings: { ...this.#state.settings, ...settings }, servers };
    const change = await this.balancer.apply(state);
    this.#state = state;
    await this.watch();
    return change;
  }
  /** Applies these servers, and waits until those that are online get calls. */
  async serve(...servers: readonly BalancedServer[]): Promise<BalancerChange> {
    const change = await this.apply({}, servers);
    await this.settled();
    return change;
  }
  async settled(): Promise<void> {
    await until('all that are online are up', async () => {
      const status = await this.balancer.status().catch(() => null);
      return status?.servers.every(({ state, up }) => state !== 'online' || up) === true;
    });
  }
  /** If the tests are killed, this is what is left of them. */
  async watch(): Promise<number | null> {
    const { pid } = await this.balancer.status();
    this.#guarded.watch(pid);
    return pid;
  }

  /** A server of HTTP of this process, which answers checks. */
  async member(name: string, answer: RequestListener, more: Partial<BalancedServer> = {}): Promise<Member> {
    const server = createServer((req, res) => (req.url === '/gantry/ping' ? res.end() : answer(req, res)));
    server.keepAliveTimeout = 60_000;
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    this.#members.push(server);
    const { port } = server.address() as AddressInfo;
    return { server, as: { name, host: '127.0.0.1', port, weight: 100, state: 'online', ...more } };
  }

  call(more: Call = {}): Promise<Answer> {
    return call(this.port, more);
  }

  async close(): Promise<void> {
    await this.balancer.halt().catch(() => {});
    await this.kernel.stop();
    for (const server of this.#members) {
      server.closeAllConnections();
      server.close();
    }
    await this.#guarded.close();
  }
}

export interface Call {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: OutgoingHttpHeaders;
  readonly body?: string;
  readonly agent?: Agent;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

const alone = new Agent({ keepAlive: false });

/** Rejects where the connection fails or ends before the answer did. */
export function call(
  port: number,
  { method = 'GET', path: at = '/', headers = {}, body, agent = alone }: Call = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const req = request({ host: '127.0.0.1', port, method, path: at, headers, agent }, (res) => {
      let text = '';
      res.setEncoding('utf8').on('data', (part) => (text += part));
      res.on('end', () => resolve({ status: res.statusCode as number, headers: res.headers, body: text }));
      res.on('error', reject);
    });
    req.on('error', reject);
    req.end(body);
  });
}

/** A caller that keeps one connection and calls one time after the other until it is told to end. */
export class Caller {
  readonly answers: Answer[] = [];
  readonly failures: unknown[] = [];
  readonly #over: Promise<void>;
  #isOver = false;

  /** It rests between calls at most that long, so that its connection is idle now and then. */
  constructor(port: number, next: (count: number) => Call, restMs = 0) {
    this.#over = this.#run(port, next, restMs);
  }

  async end(): Promise<this> {
    this.#isOver = true;
    await this.#over;
    return this;
  }

  async #run(port: number, next: (count: number) => Call, restMs: number): Promise<void> {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    for (let count = 0; !this.#isOver; count++) {
      await call(port, { ...next(count), agent }).then(
        (answer) => this.answers.push(answer),
        (error: unknown) => this.failures.push(error),
      );
      if (restMs > 0) await new Promise((resolve) => setTimeout(resolve, Math.random() * restMs));
    }
    agent.destroy();
  }
}

/** What callers got that is no 200, in words. */
export function troubles(callers: readonly Caller[]): string[] {
  return callers.flatMap(({ answers, failures }) => [
    ...answers.filter(({ status }) => status !== 200).map(({ status, body }) => `${status} ${body}`),
    ...failures.map(String),
  ]);
}

export async function until(what: string, isSo: () => boolean | Promise<boolean>, withinMs = 15_000): Promise<void> {
  const late = Date.now() + withinMs;
  while (!(await isSo())) {
    if (Date.now() > late) throw new Error(`not so in ${withinMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
