import http from 'node:http';
import { HotModule, versionAt } from './hot.ts';
import type { Server, World } from './world.ts';

/** So many requests for the module; the others are asked for once. */
const ASKED = 8;

/** What a server said first when it was awake again. */
export interface FirstAnswers {
  /** The module's version, of several requests. */
  readonly versions: readonly string[];
  /** Status of a channel that was made while it stood still. */
  readonly made: number;
  /** Status of a channel that was shut while it stood still. */
  readonly shut: number;
}

/** Changes that are made while a server stands still, and what it knows of them when it is awake again. */
export class Meanwhile {
  readonly hot: HotModule;
  readonly #world: World;
  #lines: readonly Line[] = [];

  constructor(world: World) {
    this.#world = world;
    this.hot = new HotModule(world);
  }

  async begin(): Promise<void> {
    const { admin } = this.#world;
    await this.hot.begin();
    const { revision } = await admin.call<{ revision: number }>('channel.create', channel('chaos-shut'));
    await admin.call('cluster.wait', { revision });
  }

  async change({ admin }: Server): Promise<void> {
    await this.hot.deploy(admin);
    await admin.call('channel.create', channel('chaos-made'));
    await admin.call('channel.update', { name: 'chaos-shut', version: 1, changes: { active: false } });
  }

  /**
   * Connections to it that are there already when it is awake again: what came on them is the first that it sees, before
   * anybody can have told it of changes.
   */
  async connect({ url }: Server): Promise<void> {
    this.#lines = [new Line(url), new Line(url), new Line(url)];
    for (const line of this.#lines) await line.get('/gantry/ping');
  }

  /** Past the balancer: answered when it is awake. */
  async ask({ url }: Server): Promise<FirstAnswers> {
    const asked = Promise.all(Array.from({ length: ASKED }, () => versionAt(url)));
    const [one, two, three] = this.#lines as [Line, Line, Line];
    const found = await Promise.all([asked, one.get('/chaos-made'), two.get('/chaos-shut'), three.get('/chaos/hot')]);
    const [versions, made, shut, hot] = found;
    for (const line of this.#lines) line.close();
    const { version = `status ${hot.status}` } = JSON.parse(hot.text) as { version?: string };
    return { versions: [version, ...versions], made: made.status, shut: shut.status };
  }

  async end(): Promise<void> {
    const { admin } = this.#world;
    for (const name of ['chaos-made', 'chaos-shut']) await admin.call('channel.remove', { name });
    await this.hot.remove();
  }
}

function channel(name: string) {
  return { name, transport: 'rest', service: 'chaos.read', address: { method: 'GET', path: `/${name}` } };
}

/** One keep-alive connection. */
class Line {
  readonly #url: string;
  readonly #agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

  constructor(url: string) {
    this.#url = url;
  }

  get(path: string): Promise<{ readonly status: number; readonly text: string }> {
    return new Promise((resolve, reject) => {
      const request = http.get(`${this.#url}${path}`, { agent: this.#agent }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        response.once('end', () => resolve({ status: response.statusCode ?? 0, text }));
      });
      request.once('error', reject);
    });
  }
  close(): void {
    this.#agent.destroy();
  }
}
