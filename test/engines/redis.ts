import { randomBytes } from 'node:crypto';
import { chownSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Redis } from 'ioredis';
import { certificate } from './certificate.ts';
import { Daemon, unprivileged, Warden } from './daemon.ts';
import { dataFolder, type Engine, type EngineKind, freePort, programsOf, type Running } from './engine.ts';

const host = '127.0.0.1';

/** A database is a number; admin() takes commands, their words apart by a space, and gives `[{ reply }]`. */
export interface RedisEngine extends Engine {
  /** Where it speaks TLS; null where it has no certificate. */
  readonly tlsPort: number | null;
}

/** One process: a server, a replica, a node of a cluster or a sentinel. */
export interface RedisProcess extends Pick<Engine, 'host' | 'port' | 'pid' | 'start' | 'stop' | 'kill'> {
  freeze(): void;
  thaw(): void;
  /** Runs a command, as whoever may do so without a password or with the given one. */
  run(...words: readonly (string | number)[]): Promise<unknown>;
  /** Ends it and removes its data. */
  close(): Promise<void>;
}

export interface RedisSettings {
  readonly port?: number;
  readonly sentinel?: boolean;
  /** Lines of redis.conf. */
  readonly lines?: (folder: string) => readonly string[];
  /** Of the user `default`, for run(). */
  readonly password?: string;
}

const databases = 1000;

export const redisKind: EngineKind = {
  name: 'Redis',
  debian: 'redis-server',
  programs: ['redis-server'],
  folders: ['/usr/sbin', '/usr/local/bin', '/opt/homebrew/bin'],

  async open(): Promise<Running> {
    const secrets = { admin: randomBytes(12).toString('hex'), user: randomBytes(12).toString('hex') };
    const tlsPort = await freePort();
    let ca: string | null = null;
    const { daemon, warden, ...redis } = await startProcess({
      password: secrets.admin,
      lines: (folder) => {
        const tls = certificate(folder, unprivileged('redis', 'nobody'));
        ca = tls?.pem ?? null;
        return [
          `databases ${databases}`,
          `requirepass ${secrets.admin}`,
          // All that works on data, and nothing that is for the operator but INFO.
          `user gantry on >${secrets.user} ~* &* +@all -@admin -@dangerous +info`,
          ...(tls === null
            ? []
            : [
                `tls-port ${tlsPort}`,
                `tls-cert-file ${tls.certFile}`,
                `tls-key-file ${tls.keyFile}`,
                `tls-ca-cert-file ${tls.certFile}`,
                'tls-auth-clients no',
              ]),
        ];
      },
    });
    const told = String(await redis.run('INFO', 'server'));
    let last = 0;
    const engine: RedisEngine = {
      name: 'Redis',
      version: /redis_version:(\S+)/.exec(told)?.[1] ?? '',
      host,
      port: redis.port,
      tlsPort: ca === null ? null : tlsPort,
      user: 'gantry',
      password: secrets.user,
      ca,
      get pid() {
        return daemon.pid;
      },
      async database() {
        if (++last === databases) throw new Error(`Redis was given ${databases} databases, and all are taken`);
        return String(last);
      },
      async admin(...statements) {
        const replies = await runAll(redis.port, secrets.admin, statements.map(words));
        return replies.slice(-1).map((reply) => ({ reply }));
      },
      start: () => daemon.start(),
      stop: () => daemon.stop(),
      kill: () => daemon.kill(),
      freeze: () => daemon.freeze(),
      thaw: () => daemon.thaw(),
    };
    const access = { ...engine, adminPassword: secrets.admin };
    return { engine, access, daemon, warden };
  },
};

/** One more process beside the shared engine, whose test has made sure that the program is there. */
export async function startRedis(settings: RedisSettings = {}): Promise<RedisProcess> {
  const { daemon, warden, ...redis } = await startProcess(settings);
  return {
    host,
    ...redis,
    get pid() {
      return daemon.pid;
    },
    start: () => daemon.start(),
    stop: () => daemon.stop(),
    kill: () => daemon.kill(),
    freeze: () => daemon.freeze(),
    thaw: () => daemon.thaw(),
    close: () => warden.close(),
  };
}

async function startProcess({ port: wanted, sentinel = false, lines = () => [], password }: RedisSettings) {
  const [command = ''] = programsOf(redisKind);
  const user = unprivileged('redis', 'nobody');
  const folder = dataFolder('redis', user);
  const warden = new Warden(folder, 'SIGTERM');
  const port = wanted ?? (await freePort());
  const file = path.join(folder, 'redis.conf');
  const settings = [`bind ${host}`, `port ${port}`, `dir ${folder}`, 'protected-mode no'];
  // Every answer is in a file by then: survives the end of the process at any moment, and not that of the machine.
  const stored = ['save ""', 'appendonly yes', 'appendfsync no'];
  writeFileSync(file, [...settings, ...(sentinel ? [] : stored), ...lines(folder), ''].join('\n'), { mode: 0o600 });
  // A sentinel, and who is told to follow another, write it anew.
  if (user !== null) chownSync(file, user.uid, user.gid);
  const daemon = new Daemon(
    {
      command,
      args: [file, ...(sentinel ? ['--sentinel'] : [])],
      user,
      ready: sentinel ? /Sentinel ID is/ : /Ready to accept connections/,
      stopSignal: 'SIGTERM',
    },
    warden,
  );
  try {
    await daemon.start();
  } catch (error) {
    await warden.close();
    throw error;
  }
  const run = async (...command: readonly (string | number)[]) => (await runAll(port, password, [command]))[0];
  return { port, run, daemon, warden };
}

/** One after the other on one connection, so that a SELECT counts for those after it. */
async function runAll(
  port: number,
  password: string | undefined,
  commands: readonly (readonly (string | number)[])[],
): Promise<unknown[]> {
  const client = new Redis({
    host,
    port,
    ...(password === undefined ? {} : { password }),
    lazyConnect: true,
    retryStrategy: null as never,
    enableReadyCheck: false,
  });
  // It may be stopped while we are connected; what is under way rejects by itself.
  client.on('error', () => {});
  try {
    await client.connect();
    const replies: unknown[] = [];
    for (const [name = '', ...rest] of commands) replies.push(await client.call(String(name), ...rest));
    return replies;
  } finally {
    client.disconnect();
  }
}

function words(command: string): string[] {
  return command.split(' ').filter(Boolean);
}
