import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Engine } from '../engines/index.ts';
import { folder, freePort, gantry, home, type Running } from './process.ts';

/** Where a server keeps its records: its own SQLite file, or a database of an engine. */
export interface Store {
  readonly plugin: string;
  readonly block: Record<string, unknown>;
}
export const SQLITE: Store = { plugin: 'dialect.sqlite', block: {} };

/** A fresh database of an engine. */
export async function databaseOf(engine: Engine, more: Record<string, unknown> = {}): Promise<Store> {
  const { host, port, user, password } = engine;
  const plugin = engine.name === 'PostgreSQL' ? 'dialect.postgres' : 'dialect.mysql';
  return { plugin, block: { host, port, user, password, database: await engine.database(), ...more } };
}

export const PASSWORD = 'password-of-tests';
const KEY = Buffer.alloc(32, 1).toString('base64');

/** A server of its own folder and port, which can be started again with what it has. */
export async function installation(store: Store = SQLITE, { name = 'one', graceMs = 5000 } = {}) {
  const { dir, remove } = folder();
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  mkdirSync(path.join(dir, 'services'));
  writeFileSync(path.join(dir, 'services/echo.ts'), ECHO);
  const plugins = {
    ...(store.plugin === SQLITE.plugin ? {} : { 'dialect.sqlite': null }),
    [store.plugin]: store.block,
    // Every hash of every test: as cheap as it may be.
    'password.argon2': { memoryKiB: 1024, iterations: 1 },
    // A database that stands still is waited for so long.
    'odb.sequelize': { timeoutMs: 3000 },
    'http.koa': { port },
  };
  // JSON is YAML.
  const config = {
    extends: path.join(home, 'config/base.yaml'),
    name,
    data: path.join(dir, 'data'),
    graceMs,
    plugins,
    services: ['./services'],
    channels: [
      { name: 'ping', transport: 'rest', address: { method: 'GET', path: '/gantry/ping' }, service: 'gantry.ping' },
      {
        name: 'metrics',
        transport: 'rest',
        address: { method: 'GET', path: '/gantry/metrics' },
        service: 'gantry.metrics',
        format: 'text',
      },
      { name: 'fixed', transport: 'rest', address: { method: 'POST', path: '/fixed' }, service: 'echo' },
    ],
  };
  writeFileSync(path.join(dir, 'server.yaml'), JSON.stringify(config));
  const env = { GANTRY_ADMIN_PASSWORD: PASSWORD, GANTRY_SECRET_KEYS: KEY, GANTRY_DATA: path.join(dir, 'data') };
  let running: Running | null = null;

  /** One call of the admin API. */
  async function ask(service: string, input: object = {}): Promise<{ status: number; body: Record<string, unknown> }> {
    const response = await fetch(`${url}/gantry/admin/gantry.${service}`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        authorization: `Basic ${Buffer.from(`admin:${PASSWORD}`).toString('base64')}`,
      },
      body: JSON.stringify(input),
    });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  }

  return {
    url,
    dir,
    data: path.join(dir, 'data'),
    ask,
    /** Nothing is waited for. */
    launch: (more: Record<string, string> = {}) =>
      (running = gantry(['start', '--config', path.join(dir, 'server.yaml')], { ...env, ...more })),
    async start(more: Record<string, string> = {}): Promise<Running> {
      running = gantry(['start', '--config', path.join(dir, 'server.yaml')], { ...env, ...more });
      await running.says(/is ready/);
      return running;
    },
    async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | string> {
      return (await running?.kill(signal)) ?? 0;
    },
    async end(): Promise<void> {
      await running?.kill('SIGKILL');
      remove();
    },
  };
}
export type Installation = Awaited<ReturnType<typeof installation>>;

const ECHO = `import { defineService, Type } from 'gantry/api';
export default defineService({ name: 'echo', input: Type.Unknown(), output: Type.Unknown(), create: () => (input) => input });`;

/** A channel for the echo service. */
export const channel = (name: string, more: object = {}) => ({
  name,
  transport: 'rest',
  address: { method: 'POST', path: `/${name}` },
  service: 'echo',
  ...more,
});

/** Requests without a pause on some connections, until it is stopped: how many were answered, and what was not right. */
export function load(url: string, connections = 8) {
  const failed: string[] = [];
  let answered = 0;
  let going = true;
  const one = async () => {
    while (going) {
      try {
        const response = await fetch(url, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: '{"a":1}',
        });
        const text = await response.text();
        if (response.status !== 200) failed.push(`${response.status} ${text}`);
        else answered++;
      } catch (error) {
        failed.push(String((error as Error).cause ?? error));
      }
    }
  };
  const all = Promise.all(Array.from({ length: connections }, one));
  return {
    get answered() {
      return answered;
    },
    async stop() {
      going = false;
      await all;
      return { answered, failed };
    },
  };
}
