/** What is started, with which config file and which environment. */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { GantryError, type Problem } from '../../core/api.ts';
import type { Program } from './child.ts';
import type { Config } from './config.ts';
import type { Database } from './database.ts';
import type { Passwords } from './passwords.ts';
import { HOST, type Wanted } from './ports.ts';

export interface ServerPlan {
  readonly name: string;
  readonly port: number;
}

export interface Plan {
  readonly redis: Program;
  readonly servers: readonly Program[];
  readonly agent: Program;
}

interface Given {
  readonly config: Config;
  /** Of the launcher. */
  readonly folder: string;
  readonly passwords: Passwords;
  readonly database: Database;
  /** The paths of the programs. */
  readonly haproxy: string;
  readonly redisServer: string;
}

export const AGENT = 'agent';
export const REDIS = 'redis';
/** What is in the launcher's folder besides the servers. */
const OURS: readonly string[] = [AGENT, REDIS, 'logs', 'gantry.sqlite', 'passwords.json', 'launcher.claim'];
const HIGHEST = 65_535;
/** How long HAProxy waits for callers whose connections are open, when nobody is left who would answer them. */
const BALANCER_MS = 1000;

/** Beside this file, where it was built or where it was written: the program, and our config files. */
const own = path.resolve(import.meta.dirname, '../..');
const home = path.basename(own) === 'dist' ? path.dirname(own) : own;
const MAIN = path.join(own, 'core', `main${path.extname(import.meta.filename)}`);

export function serversOf({ servers, count, firstPort }: Config): readonly ServerPlan[] {
  return servers ?? Array.from({ length: count }, (_, i) => ({ name: `server${i + 1}`, port: firstPort + i }));
}

export function portsOf(config: Config): readonly Wanted[] {
  const key = config.servers === undefined ? 'firstPort' : 'servers';
  return [
    { port: config.balancerPort, of: 'the balancer', key: 'balancerPort' },
    { port: config.statsPort, of: "the balancer's figures", key: 'statsPort' },
    { port: config.agentPort, of: 'the agent', key: 'agentPort' },
    { port: config.redisPort, of: 'Redis', key: 'redisPort' },
    ...serversOf(config).map(({ name, port }) => ({ port, of: name, key })),
  ];
}

/** Throws CONFIG_INVALID where two would be one: each has a name, which is that of its folder and its log, and a port. */
export function refuseDoubles(config: Config, plugin: string): void {
  const wanted = portsOf(config);
  const names = serversOf(config).map(({ name }) => name);
  const at = (key: string) => `plugins.${plugin}.${key}`;
  const problems: Problem[] = names.flatMap((name, i) => {
    const isOurs = OURS.includes(name);
    if (!isOurs && names.indexOf(name) === i) return [];
    const message = isOurs
      ? 'is the name of something else in the same folder'
      : `is taken by servers.${names.indexOf(name)}`;
    const hint = 'Each server has a name of its own: it is that of its data folder and of its log.';
    return [{ plugin, path: at(`servers.${i}.name`), message, got: name, hint }];
  });
  for (const [i, { port, of, key }] of wanted.entries()) {
    const other = wanted.findIndex((one) => one.port === port);
    const hint = 'Set it in cluster.local.yaml beside the config.';
    if (other !== i) {
      const message = `port ${port} of ${of} is given twice: it is that of ${wanted[other]?.of}, too`;
      problems.push({ plugin, path: at(key), message, hint: `Give one of them another port. ${hint}` });
    } else if (port > HIGHEST) {
      problems.push({
        plugin,
        path: at(key),
        message: `port ${port} of ${of} is none: the highest is ${HIGHEST}`,
        hint,
      });
    }
  }
  if (problems.length > 0) throw new GantryError('CONFIG_INVALID', 'The cluster cannot be started so', { problems });
}

/** The file that the agent starts HAProxy with. */
export function balancerFile(folder: string): string {
  return path.join(folder, AGENT, 'haproxy', 'haproxy.cfg');
}

export function logFile(folder: string, name: string): string {
  return path.join(folder, 'logs', `${name}.log`);
}

export function planOf(given: Given): Plan {
  const { config, folder, passwords, database, haproxy } = given;
  const shared = {
    GANTRY_HOST: HOST,
    GANTRY_REDIS_URL: `redis://:${passwords.redisPassword}@${HOST}:${config.redisPort}`,
    GANTRY_CLUSTER_TOKEN: passwords.clusterToken,
    GANTRY_SECRET_KEYS: config.secretKeys?.reveal() || passwords.secretKey,
    GANTRY_ADMIN_PASSWORD: adminPasswordOf(config, passwords),
    GANTRY_SUPERVISED: 'true',
    GANTRY_BALANCERS: HOST,
    GANTRY_GRACE_MS: String(config.graceMs),
    ...database.env,
  };
  const role = (configured: string | undefined, of: string) =>
    configured === undefined
      ? path.join(home, 'config', `${of}${database.suffix}.yaml`)
      : path.resolve(home, 'config', configured);
  const serverConfig = role(config.serverConfig, 'server');
  const gantry = (stage: 'server' | 'agent', name: string, port: number, file: string, env = {}): Program => ({
    ...{ name, stage, command: process.execPath, args: [...process.execArgv, MAIN, 'start', '--config', file] },
    env: { ...shared, GANTRY_NAME: name, GANTRY_PORT: String(port), GANTRY_DATA: path.join(folder, name), ...env },
    logFile: logFile(folder, name),
  });
  return {
    redis: redisProgram(given),
    servers: serversOf(config).map(({ name, port }) => gantry('server', name, port, serverConfig)),
    agent: gantry('agent', AGENT, config.agentPort, role(config.agentConfig, 'balancer'), {
      GANTRY_BALANCER_PORT: String(config.balancerPort),
      GANTRY_BALANCER_HOST: HOST,
      GANTRY_STATS_PORT: String(config.statsPort),
      GANTRY_STATS_PASSWORD: passwords.statsPassword,
      GANTRY_HAPROXY: haproxy,
      GANTRY_HAPROXY_STOPS: 'true',
      GANTRY_HAPROXY_STOP_MS: String(BALANCER_MS),
    }),
  };
}

export function adminPasswordOf(config: Config, passwords: Passwords): string {
  return config.adminPassword?.reveal() || passwords.adminPassword;
}

/** Its password is in a file: what stands in a command line, everybody on the machine can read. */
function redisProgram({ config, folder, passwords, redisServer }: Given): Program {
  const own = path.join(folder, REDIS);
  mkdirSync(own, { recursive: true, mode: 0o700 });
  const file = path.join(own, 'redis.conf');
  const lines = [
    '# Written anew at each start.',
    `bind ${HOST}`,
    `port ${config.redisPort}`,
    `requirepass ${passwords.redisPassword}`,
    `dir ${JSON.stringify(own)}`,
    'daemonize no',
    'appendonly yes',
    'save ""',
    'maxmemory-policy noeviction',
  ];
  writeFileSync(file, `${lines.join('\n')}\n`, { mode: 0o600 });
  return { name: REDIS, stage: 'store', command: redisServer, args: [file], env: {}, logFile: logFile(folder, REDIS) };
}
