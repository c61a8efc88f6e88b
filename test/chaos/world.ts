/** A whole installation: Redis, PostgreSQL, some servers, the agent and its HAProxy, and the process that makes the load. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { certificate } from '../engines/certificate.ts';
import { Warden } from '../engines/daemon.ts';
import { type Engine, freePort } from '../engines/engine.ts';
import { ownPostgres, type RedisEngine, redis } from '../engines/index.ts';
import { Administrator, PASSWORD } from './administrator.ts';
import { BalancerLog } from './balancer-log.ts';
import { until } from './condition.ts';
import { Effects } from './effects.ts';
import { Keeper } from './keeper.ts';
import type { Entries } from './ledger.ts';
import { Load } from './load.ts';

/** One server. */
export interface Server {
  readonly name: string;
  readonly port: number;
  readonly url: string;
  readonly keeper: Keeper;
  readonly admin: Administrator;
  /** A line for each entry of a handler. */
  readonly entriesFile: string;
  /** A line for each tick of its event loop: see stalls.ts. */
  readonly loopFile: string;
}

export interface BalancedServer {
  readonly name: string;
  readonly state: string;
  readonly up: boolean;
  readonly weight: number;
  readonly sessions: number;
  readonly calls: number;
  readonly check: string;
}
export interface BalancerStatus {
  readonly running: boolean;
  readonly pid: number | null;
  readonly reloads: number;
  readonly crashes: number;
  readonly servers: readonly BalancedServer[];
}

interface Parts {
  readonly folder: string;
  readonly redis: RedisEngine;
  readonly database: Engine;
  readonly databaseName: string;
  readonly redisDb: string;
  readonly balancerPort: number;
  readonly securePort: number;
  /** A PEM file for HAProxy; null where there is none. */
  readonly pemFile: string | null;
  readonly agentPort: number;
  readonly load: Load;
  readonly log: BalancerLog;
}

const CONFIG = path.join(import.meta.dirname, 'config');
const PROBE = pathToFileURL(path.join(import.meta.dirname, 'loop-probe.mjs')).href;
const UP_MS = 60_000;

export class World {
  readonly redis: RedisEngine;
  readonly database: Engine;
  readonly load: Load;
  readonly log: BalancerLog;
  readonly effects: Effects;
  /** Where callers come in. */
  readonly url: string;
  /** The same over TLS and HTTP/2; null where this machine cannot make certificates. */
  readonly secureUrl: string | null;
  readonly folder: string;
  readonly servers: Server[] = [];
  readonly agent: Keeper;
  readonly agentAdmin: Administrator;
  readonly #parts: Parts;
  readonly #token = randomBytes(24).toString('hex');
  readonly #secretKey = randomBytes(32).toString('base64');
  /** HAProxy outlives the agent; not us. */
  readonly #warden: Warden;
  #haproxy: number | null = null;

  private constructor(parts: Parts) {
    const { folder, balancerPort, agentPort } = parts;
    this.#parts = parts;
    this.redis = parts.redis;
    this.database = parts.database;
    this.load = parts.load;
    this.log = parts.log;
    this.folder = folder;
    this.url = `http://127.0.0.1:${balancerPort}`;
    this.secureUrl = parts.pemFile === null ? null : `https://127.0.0.1:${parts.securePort}`;
    this.effects = new Effects(parts.database, parts.databaseName);
    this.#warden = new Warden(folder, 'SIGTERM');
    const agentUrl = `http://127.0.0.1:${agentPort}`;
    this.agentAdmin = new Administrator(agentUrl);
    this.agent = new Keeper({
      name: 'agent',
      config: path.join(CONFIG, 'agent.yaml'),
      env: {
        ...this.#env(),
        GANTRY_NAME: 'agent',
        GANTRY_PORT: String(agentPort),
        GANTRY_BALANCER_PORT: String(balancerPort),
      },
      folder: path.join(folder, 'agent'),
      isUp: () => answers(agentUrl),
    });
  }

  /** Rejects where this machine does not have one of the programs. */
  static async open({ servers = 3 } = {}): Promise<World> {
    const [store, database] = [await redis(), await ownPostgres()];
    if (store === null || database === null) throw new Error('Redis and PostgreSQL are needed');
    const folder = mkdtempSync(path.join(tmpdir(), 'gantry-chaos-'));
    const world = new World({
      folder,
      pemFile: pemIn(folder),
      securePort: await freePort(),
      redis: store,
      database,
      databaseName: await database.database(),
      redisDb: await store.database(),
      balancerPort: await freePort(),
      agentPort: await freePort(),
      load: await Load.start(),
      log: await BalancerLog.open(),
    });
    try {
      await world.effects.create();
      await world.#start(servers);
      return world;
    } catch (error) {
      await world.close();
      throw error;
    }
  }

  async #start(servers: number): Promise<void> {
    for (let i = 0; i < servers; i++) await (await this.prepare()).keeper.start();
    // A line for each call, so that every failure can be explained.
    await this.admin.call('balancer.create', {
      name: 'main',
      binds: this.#binds(),
      log: { to: this.log.address, level: 'info' },
    });
    await this.agent.start();
    await this.ready();
  }

  #binds(): object[] {
    const { balancerPort, securePort, pemFile } = this.#parts;
    const plain = { host: '127.0.0.1', port: balancerPort };
    return pemFile === null ? [plain] : [plain, { host: '127.0.0.1', port: securePort, certificates: [pemFile] }];
  }

  /** The API of a server. */
  get admin(): Administrator {
    return (this.servers[0] as Server).admin;
  }
  get names(): readonly string[] {
    return this.servers.map(({ name }) => name);
  }
  named(name: string): Server {
    const server = this.servers.find((one) => one.name === name);
    if (server === undefined) throw new Error(`There is no server '${name}'`);
    return server;
  }

  /** One more server, which is not started. */
  async prepare(): Promise<Server> {
    const name = `s${this.servers.length + 1}`;
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const folder = path.join(this.folder, name);
    const entriesFile = path.join(folder, 'entries.txt');
    const loopFile = path.join(folder, 'loop.txt');
    const own = { GANTRY_NAME: name, GANTRY_PORT: String(port), CHAOS_ENTRIES: entriesFile, CHAOS_LOOP: loopFile };
    const keeper = new Keeper({
      name,
      config: path.join(CONFIG, 'server.yaml'),
      env: { ...this.#env(), ...own, NODE_OPTIONS: `--import ${PROBE}` },
      folder,
      isUp: () => answers(url),
    });
    const server: Server = { name, port, url, keeper, admin: new Administrator(url), entriesFile, loopFile };
    this.servers.push(server);
    return server;
  }

  /** As if there had never been this server. */
  async forget(server: Server): Promise<void> {
    await server.keeper.close();
    this.servers.splice(this.servers.indexOf(server), 1);
  }

  /** Until every server that runs gets calls, with its whole share. */
  async ready(): Promise<void> {
    await until('the balancer gives calls to every server', () => this.isReady(), UP_MS);
  }
  async isReady(): Promise<boolean> {
    const { servers } = await this.balancer();
    const running = this.servers.filter(({ keeper }) => keeper.pid !== null);
    return running.every(({ name }) => servers.some((one) => one.name === name && one.up));
  }

  async balancer(): Promise<BalancerStatus> {
    const status = await this.agentAdmin.call<BalancerStatus>('balancer.status');
    if (status.pid !== this.#haproxy) this.#warden.watch(status.pid);
    this.#haproxy = status.pid;
    return status;
  }

  /** By the id of each call whose handler was entered: on which servers, once for each entry. */
  entries(): Entries {
    const entered = new Map<string, string[]>();
    for (const { name, entriesFile } of this.servers) {
      for (const id of idsOf(entriesFile)) {
        const known = entered.get(id);
        if (known === undefined) entered.set(id, [name]);
        else known.push(name);
      }
    }
    return entered;
  }

  async close(): Promise<void> {
    await this.load.stop();
    this.log.close();
    await this.balancer().catch(() => {});
    for (const { keeper } of this.servers) await keeper.close();
    await this.agent.close();
    await this.#warden.close();
  }

  #env(): Record<string, string> {
    const { redis: store, database, databaseName, redisDb } = this.#parts;
    const { host, port, user, password } = store;
    return {
      GANTRY_CLUSTER_TOKEN: this.#token,
      GANTRY_SUPERVISED: 'true',
      GANTRY_REDIS_URL: `redis://${user}:${password}@${host}:${port}/${redisDb}`,
      GANTRY_DATABASE_HOST: database.host,
      GANTRY_DATABASE_PORT: String(database.port),
      GANTRY_DATABASE_USER: database.user,
      GANTRY_DATABASE_PASSWORD: database.password,
      GANTRY_DATABASE_NAME: databaseName,
      GANTRY_SECRET_KEYS: this.#secretKey,
      GANTRY_ADMIN_PASSWORD: PASSWORD,
    };
  }
}

/** Certificate and key in one file, as HAProxy has them. */
function pemIn(folder: string): string | null {
  const made = certificate(folder, null);
  if (made === null) return null;
  const file = path.join(folder, 'balancer.pem');
  writeFileSync(file, `${made.pem}${readFileSync(made.keyFile, 'utf8')}`, { mode: 0o600 });
  return file;
}

async function answers(url: string): Promise<boolean> {
  const response = await fetch(`${url}/gantry/ping`, { signal: AbortSignal.timeout(2000) });
  await response.arrayBuffer();
  return response.status === 200;
}

function idsOf(file: string): readonly string[] {
  let text = '';
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    // It was called for nothing yet.
  }
  return text.split('\n').filter((line) => line !== '');
}
