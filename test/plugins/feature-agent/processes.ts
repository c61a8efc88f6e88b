/** A cluster of real processes by our own config files: servers that a supervisor starts again, and an agent. */
import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { follow, freePort, home, type Running } from '../../e2e/process.ts';
import { Guarded } from '../../engines/haproxy.ts';
import { PASSWORD, TOKEN, until } from '../fixtures/cluster.ts';

/** As main.ts exits when it is told to restart. */
const RESTART = 75;
const TIMES = { beatMs: 200, leaseMs: 3000, lingerMs: 800 };

const WHO = `import { setTimeout as wait } from 'node:timers/promises';
import { defineService, Type } from 'gantry/api';
export default defineService({
  name: 'who',
  input: Type.Object({ ms: Type.Optional(Type.String()) }),
  output: Type.Object({ server: Type.String(), pid: Type.Integer() }),
  create: ({ server }) => async ({ ms = '0' }) => {
    await wait(Number(ms));
    return { server: server.name, pid: process.pid };
  },
});`;

export interface Supervised {
  readonly name: string;
  /** Of each process, in order. */
  readonly pids: readonly number[];
  /** Nobody starts it again from now on. */
  abandon(): void;
  /** Starts it once more. */
  start(): Promise<void>;
}

export type Processes = Awaited<ReturnType<typeof processes>>;

export async function processes(redis: { readonly host: string; readonly port: number }) {
  const guarded = new Guarded();
  const { folder } = guarded;
  const [port, agentPort, statsPort] = [await freePort(), await freePort(), await freePort()];
  const running = new Set<Running>();
  let isOver = false;
  const shared = {
    GANTRY_REDIS_URL: `redis://${redis.host}:${redis.port}`,
    GANTRY_CLUSTER_TOKEN: TOKEN,
    GANTRY_SECRET_KEYS: Buffer.alloc(32, 1).toString('base64'),
    GANTRY_ADMIN_PASSWORD: PASSWORD,
    GANTRY_SQLITE_FILE: path.join(folder, 'records.sqlite'),
  };
  mkdirSync(path.join(folder, 'services'));
  writeFileSync(path.join(folder, 'services/who.ts'), WHO);
  // JSON is YAML.
  const argon2 = { 'password.argon2': { memoryKiB: 1024, iterations: 1 } };
  const config = (name: string, content: object) =>
    writeFileSync(path.join(folder, `${name}.yaml`), JSON.stringify(content));
  config('server', {
    extends: path.join(home, 'config/server.yaml'),
    cluster: { ...TIMES, supervised: true },
    graceMs: 10_000,
    plugins: argon2,
    services: ['./services'],
    channels: [{ name: 'who', transport: 'rest', address: { method: ['GET', 'POST'], path: '/who' }, service: 'who' }],
  });
  const agentConfig = (restartMs: number) =>
    config('agent', {
      extends: path.join(home, 'config/balancer.yaml'),
      cluster: TIMES,
      plugins: {
        ...argon2,
        'feature.agent': {
          ...{ followMs: 100, restartMs },
          settings: { check: { everyMs: 200, fall: 3, rise: 1, slowStartMs: 0 } },
        },
      },
    });

  function launch(name: string, file: string, env: Record<string, string>): Running {
    const clean = Object.entries(process.env).filter(([key]) => !key.startsWith('GANTRY_'));
    const data = path.join(folder, name);
    const child = spawn(
      process.execPath,
      [path.join(home, 'dist/core/main.js'), 'start', '--config', path.join(folder, `${file}.yaml`)],
      {
        cwd: home,
        env: { ...Object.fromEntries(clean), ...shared, GANTRY_NAME: name, GANTRY_DATA: data, ...env },
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    const process_ = follow(child);
    running.add(process_);
    void process_.ended.then(() => running.delete(process_));
    return process_;
  }

  async function server(name: string): Promise<Supervised> {
    const own = String(await freePort());
    const pids: number[] = [];
    let isAbandoned = false;
    const once = () => {
      const launched = launch(name, 'server', { GANTRY_PORT: own });
      pids.push(launched.pid);
      void launched.ended.then((code) => {
        if (code === RESTART && !isAbandoned && !isOver) once();
      });
      return launched;
    };
    const start = async () => {
      isAbandoned = false;
      await once().says(/"msg":"ready"/);
    };
    await start();
    return {
      name,
      pids,
      start,
      abandon: () => {
        isAbandoned = true;
      },
    };
  }

  async function agent({ restartMs = 60_000 } = {}) {
    agentConfig(restartMs);
    const launched = launch('agent1', 'agent', {
      GANTRY_PORT: String(agentPort),
      GANTRY_BALANCER_PORT: String(port),
      GANTRY_STATS_PORT: String(statsPort),
    });
    await launched.says(/"msg":"ready"/);
    const { pid } = await until('HAProxy runs', async () => {
      const { body } = await ask('gantry.balancer.status');
      return (body as { running: boolean }).running ? (body as { pid: number }) : null;
    });
    guarded.watch(pid);
    return launched;
  }

  /** One call of the admin API of the agent. */
  // biome-ignore lint/suspicious/noExplicitAny: a test says what it expects of it
  async function ask(service: string, input: object = {}): Promise<{ readonly status: number; readonly body: any }> {
    const reply = await fetch(`http://127.0.0.1:${agentPort}/gantry/admin/${service}`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        authorization: `Basic ${Buffer.from(`admin:${PASSWORD}`).toString('base64')}`,
      },
      body: JSON.stringify(input),
    });
    return { status: reply.status, body: await reply.json() };
  }

  return {
    folder,
    url: `http://127.0.0.1:${port}`,
    agentUrl: `http://127.0.0.1:${agentPort}`,
    server,
    agent,
    ask,
    /** Until all of these are given calls, and no other. */
    serving: (names: readonly string[]) =>
      until(
        `${names.join()} serve`,
        async () => {
          const { body } = await ask('gantry.balancer.status');
          const up = (body.servers as { name: string; up: boolean }[]).filter((one) => one.up).map((one) => one.name);
          return String(up.sort()) === String(names);
        },
        60_000,
      ),
    async end() {
      isOver = true;
      await Promise.all([...running].map((one) => one.kill('SIGKILL')));
      await guarded.close();
    },
  };
}
