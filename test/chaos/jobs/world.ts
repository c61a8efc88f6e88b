/** Some servers with a scheduler on one database, without a balancer; what is done to them is kept for the judge. */

import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Connected } from '../../engines/connect.ts';
import { DelayProxy } from '../../engines/delay-proxy.ts';
import { freePort } from '../../engines/engine.ts';
import { FakedClock, faketime } from '../../engines/faketime.ts';
import { type RedisEngine, redis } from '../../engines/index.ts';
import { Administrator, PASSWORD } from '../administrator.ts';
import { until } from '../condition.ts';
import { Keeper } from '../keeper.ts';
import type { Absence } from './judge.ts';
import { Ledger, type Line, now } from './lines.ts';
import { createEffects, type LeaseRow, leaseOf } from './rows.ts';
import { Statements } from './statements.ts';
import { openStore, type Store, type StoreName } from './store.ts';

export interface WorldOptions {
  readonly store: StoreName;
  readonly servers: number;
  /** Each server reaches the database by a way of its own, which can be made slow. Not for a file. */
  readonly proxied: boolean;
  /** Whose clocks can be set; a file has the clock of its servers. */
  readonly clocks: 'none' | 'servers' | 'database';
}

export interface JobServer {
  readonly name: string;
  readonly url: string;
  readonly keeper: Keeper;
  readonly admin: Administrator;
  readonly ledger: Ledger;
  readonly proxy: DelayProxy | null;
  /** What it said to the database through the proxy. */
  readonly statements: Statements;
  readonly clock: FakedClock | null;
}

const CONFIG = path.join(import.meta.dirname, 'config/server.yaml');
/** What a busy database takes in one transaction before its time is over. */
const BATCH = 2000;

export class JobsWorld {
  readonly options: WorldOptions;
  readonly folder: string;
  readonly store: Store;
  readonly redis: RedisEngine;
  /** Beside the servers, and past what is made slow. */
  readonly database: Connected;
  readonly servers: JobServer[] = [];
  readonly absences: Absence[] = [];
  /** When this file is there, what was broken is mended. */
  readonly mendedFile: string;
  readonly #token = randomBytes(24).toString('hex');
  readonly #secretKey = randomBytes(32).toString('base64');
  readonly #redisDb: string;

  private constructor(
    options: WorldOptions,
    parts: { folder: string; store: Store; redis: RedisEngine; redisDb: string; database: Connected },
  ) {
    this.options = options;
    this.folder = parts.folder;
    this.store = parts.store;
    this.redis = parts.redis;
    this.database = parts.database;
    this.#redisDb = parts.redisDb;
    this.mendedFile = path.join(this.folder, 'mended');
  }

  /** Rejects where this machine does not have one of the programs. */
  static async open(options: WorldOptions): Promise<JobsWorld> {
    const library = options.clocks === 'none' ? null : faketime();
    if (options.clocks !== 'none' && library === null) throw new Error('libfaketime is needed');
    const shared = await redis();
    if (shared === null) throw new Error('Redis is needed');
    const folder = mkdtempSync(path.join(tmpdir(), 'gantry-jobs-'));
    const store = await openStore(options.store, folder, options.clocks === 'database' ? library : null).catch(
      (error: unknown) => {
        rmSync(folder, { recursive: true, force: true });
        throw error;
      },
    );
    const parts = { folder, store, redis: shared, redisDb: await shared.database(), database: await store.connect() };
    const world = new JobsWorld(options, parts);
    try {
      // A file has no clock but that of the servers.
      const own = options.clocks === 'servers' || (options.clocks === 'database' && store.engine === null);
      for (let i = 0; i < options.servers; i++) await world.#prepare(own ? library : null);
      // The first one makes the tables.
      await world.servers[0]?.keeper.start();
      await Promise.all(world.servers.map(({ keeper }) => keeper.start()));
      await createEffects(world.database);
      await world.holding();
      return world;
    } catch (error) {
      await world.close();
      throw error;
    }
  }

  async #prepare(library: string | null): Promise<void> {
    const name = `s${this.servers.length + 1}`;
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const folder = path.join(this.folder, name);
    mkdirSync(folder, { recursive: true });
    const statements = new Statements();
    const { engine } = this.store;
    const hear = (connection: number, bytes: Buffer) => statements.hear(connection, bytes);
    const proxy =
      this.options.proxied && engine !== null
        ? await DelayProxy.open({ host: engine.host, port: engine.port, hear })
        : null;
    const clock = library === null ? null : new FakedClock(library, path.join(folder, 'clock'));
    const config = path.join(folder, 'server.yaml');
    // JSON is YAML.
    const plugins = { [this.store.plugin]: this.store.block(proxy ?? undefined) };
    writeFileSync(config, JSON.stringify({ extends: CONFIG, plugins }));
    const ledger = new Ledger(path.join(this.folder, `${name}.jsonl`));
    const { host, port: redisPort, user, password } = this.redis;
    const keeper = new Keeper({
      name,
      config,
      folder,
      env: {
        ...clock?.env,
        GANTRY_NAME: name,
        GANTRY_PORT: String(port),
        GANTRY_CLUSTER_TOKEN: this.#token,
        GANTRY_REDIS_URL: `redis://${user}:${password}@${host}:${redisPort}/${this.#redisDb}`,
        GANTRY_SECRET_KEYS: this.#secretKey,
        GANTRY_ADMIN_PASSWORD: PASSWORD,
        JOBS_LEDGER: ledger.file,
        JOBS_MENDED: this.mendedFile,
      },
      isUp: () => answers(url),
    });
    this.servers.push({ name, url, keeper, admin: new Administrator(url), ledger, proxy, statements, clock });
  }

  /** The API of the first server that runs. */
  get admin(): Administrator {
    return (this.servers.find(({ keeper }) => keeper.pid !== null) as JobServer).admin;
  }
  named(name: string): JobServer {
    return this.servers.find((one) => one.name === name) as JobServer;
  }
  othersThan(server: JobServer): readonly JobServer[] {
    return this.servers.filter((one) => one !== server);
  }
  /** Ms since 1970, by the clock that decides when jobs are due. */
  get databaseNow(): number {
    const clock = this.store.clock ?? (this.store.engine === null ? this.servers[0]?.clock : null);
    return now() + 1000 * (clock?.offsetS ?? 0);
  }

  /** All that runs wrote down. */
  lines(): readonly Line[] {
    return this.servers.flatMap(({ ledger }) => ledger.read());
  }

  /** Null where nobody has the lease now. */
  async holder(): Promise<(LeaseRow & { readonly by: JobServer }) | null> {
    const lease = await leaseOf(this.database);
    if (lease === null || lease.until <= this.databaseNow) return null;
    return { ...lease, by: this.named(lease.server) };
  }
  /** Waits until one has it. */
  async holding(except: JobServer | null = null): Promise<JobServer> {
    let by: JobServer | null = null;
    await until('a server has the lease', async () => {
      by = (await this.holder())?.by ?? null;
      return by !== null && by !== except;
    });
    return by as unknown as JobServer;
  }

  /** Jobs that every server knows of when this resolves. */
  async apply(definitions: readonly (object & { readonly name: string })[]): Promise<void> {
    const { admin } = this;
    for (let i = 0; i < definitions.length; i += BATCH) {
      const records = definitions.slice(i, i + BATCH).map((definition) => ({ kind: 'job', definition }));
      const { status, body } = await admin.ask('configuration.apply', { records }, 300_000);
      if (status !== 200)
        throw new Error(`configuration.apply answered ${status}: ${JSON.stringify(body).slice(0, 1000)}`);
    }
    await this.agreed();
  }
  async removeJobs(): Promise<void> {
    const { admin } = this;
    const { status, body } = await admin.ask('configuration.apply', { records: [], prune: ['job'] }, 300_000);
    if (status !== 200)
      throw new Error(`configuration.apply answered ${status}: ${JSON.stringify(body).slice(0, 1000)}`);
    await this.agreed();
  }
  /** Until all servers that run do so with what is kept. */
  async agreed(): Promise<void> {
    const running = this.servers.filter(({ keeper }) => keeper.pid !== null);
    await until('all servers run with the same revision', async () => {
      const said = await Promise.all(running.map(({ admin }) => revisionOf(admin)));
      return new Set(said).size === 1 && said[0] !== -1;
    });
  }

  async kill(server: JobServer): Promise<Absence> {
    const absence = { pid: server.keeper.pid as number, from: now(), until: Number.POSITIVE_INFINITY };
    this.absences.push(absence);
    await server.keeper.end('SIGKILL');
    return absence;
  }
  /** Resolves when it stands still; what is called then lets it go on. */
  async freeze(server: JobServer): Promise<() => Absence> {
    const pid = server.keeper.pid as number;
    const from = now();
    server.keeper.signal('SIGSTOP');
    await until(`${server.name} stands still`, () =>
      /^State:\s+[tT]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8')),
    );
    return () => {
      const absence = { pid, from, until: now() };
      this.absences.push(absence);
      server.keeper.signal('SIGCONT');
      return absence;
    };
  }

  async close(): Promise<void> {
    for (const { keeper, proxy } of this.servers) {
      await keeper.close();
      await proxy?.close();
    }
    await this.database.close();
    await this.store.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

async function answers(url: string): Promise<boolean> {
  const response = await fetch(`${url}/gantry/ping`, { signal: AbortSignal.timeout(2000) });
  await response.arrayBuffer();
  return response.status === 200;
}

async function revisionOf(admin: Administrator): Promise<number> {
  const { records } = await admin.call<{ records: { revision: number; staleSince: string | null } }>('server.info');
  return records.staleSince === null ? records.revision : -1;
}
