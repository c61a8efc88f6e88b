/**
 * Real servers for the tests. Each is started when a test first asks for it, shared by all files of the run, and gone
 * with the run, however that ends. Whoever stops, freezes or reconfigures an engine asks for one that only its own
 * process uses.
 */
import { type Engine, type EngineKind, programsOf, type Running } from './engine.ts';
import { mariadbKind } from './mariadb.ts';
import { postgresKind } from './postgres.ts';
import { type RedisEngine, redisKind } from './redis.ts';
import { sharedEngine } from './shared.ts';

export type { Engine } from './engine.ts';
export { Guarded, type HAProxyProgram, haproxy } from './haproxy.ts';
export { type RedisEngine, type RedisProcess, startRedis } from './redis.ts';

export const postgres = () => shared(postgresKind);
export const mariadb = () => shared(mariadbKind);
export const ownPostgres = () => open(postgresKind);
export const ownMariadb = () => open(mariadbKind);
/** Never shared with other processes: a message to its channels reaches all of its databases, and it starts at once. */
export const redis = () => open(redisKind) as Promise<RedisEngine | null>;

const opened = new Map<EngineKind, Promise<Running | null>>();
const found = new Map<EngineKind, Promise<Engine | null>>();

/** The one that all processes of the run have in common; where there is no such run, the one of this process. */
function shared(kind: EngineKind): Promise<Engine | null> {
  let engine = found.get(kind);
  if (engine === undefined) found.set(kind, (engine = sharedEngine(kind).then((one) => one ?? open(kind))));
  return engine;
}

/** Null where this machine does not have it, which has then been said; on CI that is an error. */
async function open(kind: EngineKind): Promise<Engine | null> {
  let running = opened.get(kind);
  if (running === undefined) opened.set(kind, (running = start(kind)));
  return (await running)?.engine ?? null;
}

async function start(kind: EngineKind): Promise<Running | null> {
  const programs = programsOf(kind);
  if (typeof programs !== 'string') return kind.open(programs);
  const told = `${kind.name} is not installed (${programs}). Its package in Debian: ${kind.debian}`;
  if (process.env['CI'] === 'true') throw new Error(told);
  process.stderr.write(`\nSKIPPED: the tests on ${kind.name} do not run here. ${told}\n\n`);
  return null;
}

/**
 * In a describe block: the engine for its tests, which are pending where the machine does not have it. To be called
 * within a test or a hook.
 */
export function needs<E extends object = Engine>(engine: () => Promise<E | null>): () => E {
  let found: E | null = null;
  before(async function () {
    // Making its data takes seconds, and installing it a minute.
    this.timeout(300_000);
    found = await engine();
    if (found === null) this.skip();
  });
  return () => {
    if (found === null) throw new Error('An engine is there once the tests run');
    return found;
  };
}

/** Stops every engine and removes its data. */
export async function close(): Promise<void> {
  const running = await Promise.allSettled(opened.values());
  opened.clear();
  found.clear();
  for (const one of running) {
    if (one.status === 'fulfilled') await one.value?.warden.close();
  }
}

// At the end of the run, so that nothing of it is left when it returns; whatever cuts it short is the warden's.
if (typeof after === 'function') after('engines', close);
