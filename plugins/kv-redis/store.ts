import { Cluster, type Redis } from 'ioredis';
import { GantryError, type Lifecycle } from '../../core/api.ts';
import { kvLimits } from '../../core/parts.ts';
import type { Kv, KvPage, KvSet } from '../../core/ports/index.ts';
import type { Client } from '../_redis/connection.ts';
import type { Link } from '../_redis/link.ts';
import { type Script, scripts } from './scripts.ts';

const { checkKey, checkLimit, checkPrefix, checkTtl, checkValue, checkWhole, cursorOf, lastOf } = kvLimits;

type Argument = string | number;
type Scripted = Record<string, (key: string, ...args: Argument[]) => Promise<unknown>>;

const LIMIT = 1000;
/** How many keys Redis looks at between two other commands. */
const SCANNED = 1000;

/** To be done on each connection: makes the scripts its commands. They are sent once, and then called by their hash. */
export async function prepare(client: Client): Promise<void> {
  for (const [name, lua] of Object.entries(scripts)) client.defineCommand(`gantry_${name}`, { numberOfKeys: 1, lua });
}

/** The port over Redis. Texts and hashes are below `<prefix>k:`, locks below `<prefix>l:`. */
export class RedisStore implements Kv, Lifecycle {
  readonly #link: Link;
  readonly #keys: string;
  readonly #locks: string;

  constructor(link: Link, prefix: string) {
    this.#link = link;
    this.#keys = `${prefix}k:`;
    this.#locks = `${prefix}l:`;
  }

  get problem(): GantryError | null {
    return this.#link.problem;
  }
  start(): Promise<void> {
    return this.#link.start();
  }
  stop(): Promise<void> {
    return this.#link.stop();
  }

  get(key: string): Promise<string | null> {
    return this.#ask([key], (redis, [at = '']) => redis.get(at));
  }

  async getMany(keys: readonly string[]): Promise<readonly (string | null)[]> {
    if (keys.length === 0) return [];
    return this.#ask(keys, async (redis, all) => {
      if (!(redis instanceof Cluster)) return redis.mget(...all);
      // They are on several nodes. What MGET would not tell of a hash, it does not tell of one key either.
      return (await Promise.all(all.map((one) => redis.mget(one)))).map(([value]) => value ?? null);
    });
  }

  async set(key: string, value: string, { ttlMs, only }: KvSet = {}): Promise<boolean> {
    checkValue(value);
    if (ttlMs !== undefined) checkTtl(ttlMs);
    const words = [...(ttlMs === undefined ? [] : ['PX', ttlMs]), ...(only === undefined ? [] : [CONDITIONS[only]])];
    return (await this.#ask([key], (redis, [at = '']) => redis.call('SET', at, value, ...words))) === 'OK';
  }

  async swap(key: string, expected: string | null, next: string | null, ttlMs?: number): Promise<boolean> {
    if (expected !== null) checkValue(expected, 'expected');
    if (next !== null) checkValue(next, 'next');
    if (ttlMs !== undefined) checkTtl(ttlMs);
    const flagged = (text: string | null): Argument[] => (text === null ? [0, ''] : [1, text]);
    return (await this.#script('swap', key, ...flagged(expected), ...flagged(next), ttlMs ?? 0)) === 1;
  }

  async remove(...keys: readonly string[]): Promise<number> {
    if (keys.length === 0) return 0;
    return this.#ask(keys, async (redis, all) => {
      if (!(redis instanceof Cluster)) return redis.unlink(...all);
      const counts = await Promise.all(all.map((one) => redis.unlink(one)));
      return counts.reduce((sum, count) => sum + count, 0);
    });
  }

  async increment(key: string, by = 1, ttlMs?: number): Promise<number> {
    checkWhole(by, 'by');
    if (ttlMs !== undefined) checkTtl(ttlMs);
    return summed(await this.#script('increment', key, by, ttlMs ?? 0));
  }

  async remainingMs(key: string): Promise<number | null> {
    const ms = await this.#ask([key], (redis, [at = '']) => redis.pttl(at));
    return ms === -2 ? null : ms === -1 ? Number.POSITIVE_INFINITY : ms;
  }

  async expire(key: string, ttlMs: number | null): Promise<boolean> {
    if (ttlMs !== null) checkTtl(ttlMs);
    return (await this.#script('expire', key, ttlMs ?? 0)) === 1;
  }

  /**
   * Redis lists in no order, and one key more than once: so every page goes through all keys, and has those that come
   * next in the order of their texts.
   */
  async list(prefix: string, { after, limit = LIMIT }: { after?: string; limit?: number } = {}): Promise<KvPage> {
    checkPrefix(prefix);
    checkLimit(limit);
    const last = after === undefined ? '' : lastOf(after, prefix);
    const found = new Set<string>();
    const first = () => [...found].sort().slice(0, limit + 1);
    const take = (name: string) => {
      const key = name.slice(this.#keys.length);
      if (key > last && key.startsWith(prefix)) found.add(key);
      if (found.size < 3 * limit + SCANNED) return;
      const kept = first();
      found.clear();
      for (const one of kept) found.add(one);
    };
    for (const node of await this.#nodes()) await this.#scan(node, `${escaped(this.#keys + prefix)}*`, take);
    const keys = first();
    if (keys.length <= limit) return { keys, next: null };
    keys.pop();
    return { keys, next: cursorOf(prefix, keys.at(-1) as string) };
  }

  async hashGet(key: string, field: string): Promise<string | null> {
    checkKey(field, 'field');
    return this.#ask([key], (redis, [at = '']) => redis.hget(at, field));
  }

  hashAll(key: string): Promise<Readonly<Record<string, string>>> {
    return this.#ask([key], (redis, [at = '']) => redis.hgetall(at));
  }

  async hashSet(key: string, fields: Readonly<Record<string, string>>): Promise<void> {
    const words = Object.entries(fields).flat();
    for (const [i, word] of words.entries()) i % 2 === 0 ? checkKey(word, 'field') : checkValue(word);
    checkKey(key);
    if (words.length > 0) await this.#ask([key], (redis, [at = '']) => redis.hset(at, ...words));
  }

  async hashRemove(key: string, ...fields: readonly string[]): Promise<number> {
    for (const field of fields) checkKey(field, 'field');
    checkKey(key);
    return fields.length === 0 ? 0 : this.#ask([key], (redis, [at = '']) => redis.hdel(at, ...fields));
  }

  async hashIncrement(key: string, field: string, by = 1): Promise<number> {
    checkKey(field, 'field');
    checkWhole(by, 'by');
    return summed(await this.#script('hashIncrement', key, field, by));
  }

  async acquire(name: string, ttlMs: number): Promise<number | null> {
    checkTtl(ttlMs);
    const fence = await this.#lock('acquire', name, ttlMs);
    return fence === null ? null : Number(fence);
  }

  async renew(name: string, fence: number, ttlMs: number): Promise<boolean> {
    checkWhole(fence, 'fence');
    checkTtl(ttlMs);
    return (await this.#lock('renew', name, fence, ttlMs)) === 1;
  }

  async release(name: string, fence: number): Promise<boolean> {
    checkWhole(fence, 'fence');
    return (await this.#lock('renew', name, fence, 0)) === 1;
  }

  async #ask<T>(keys: readonly string[], work: (redis: Client, names: string[]) => Promise<T>): Promise<T> {
    for (const key of keys) checkKey(key);
    return this.#run((redis) =>
      work(
        redis,
        keys.map((key) => this.#keys + key),
      ),
    );
  }

  #script(script: Script, key: string, ...args: Argument[]): Promise<unknown> {
    return this.#ask([key], (redis, [at = '']) => call(redis, script, at, args));
  }

  async #lock(script: Script, name: string, ...args: Argument[]): Promise<unknown> {
    checkKey(name, 'name');
    return this.#run((redis) => call(redis, script, this.#locks + name, args));
  }

  async #run<T>(work: (redis: Client) => Promise<T>): Promise<T> {
    try {
      return await this.#link.run(work);
    } catch (thrown) {
      if (!(thrown instanceof Error && thrown.message.startsWith('WRONGTYPE'))) throw thrown;
      throw new GantryError('CONFLICT', 'The key has another kind of content: a text is no hash, and a hash no text', {
        cause: thrown,
      });
    }
  }

  #nodes(): Promise<Redis[]> {
    return this.#run(async (redis) => (redis instanceof Cluster ? mastersOf(redis) : [redis]));
  }

  async #scan(node: Redis, match: string, take: (name: string) => void): Promise<void> {
    let cursor = '0';
    do {
      const [next, names] = await this.#run(() => node.scan(cursor, 'MATCH', match, 'COUNT', SCANNED));
      for (const name of names) take(name);
      cursor = next;
    } while (cursor !== '0');
  }
}

/** All that have slots. A list without the keys of one that is away would look whole. */
async function mastersOf(cluster: Cluster): Promise<Redis[]> {
  const ranges = await cluster.cluster('SLOTS');
  const known = cluster.nodes('master');
  const masters = ranges.map(([, , master]) => {
    const [host, port] = master ?? [];
    // A node that does not know its own name gives none.
    const found = known.find(({ options }) => options.port === port && (!host || options.host === host));
    if (found === undefined) throw new Error(`the connection to the node ${host}:${port} was closed`);
    return found;
  });
  return [...new Set(masters)];
}

const CONDITIONS = { absent: 'NX', present: 'XX' } as const;

function call(redis: Client, script: Script, at: string, args: readonly Argument[]): Promise<unknown> {
  const run = (redis as unknown as Scripted)[`gantry_${script}`];
  if (run === undefined) throw new Error(`The script '${script}' was not prepared`);
  return run.call(redis, at, ...args);
}

function summed(text: unknown): number {
  if (text !== null) return Number(text);
  throw new GantryError('CONFLICT', 'What is there is no whole number, or the sum would not be a safe one');
}

/** For MATCH: the signs of a pattern stand for themselves. */
function escaped(text: string): string {
  return text.replace(/[\\*?[\]]/g, '\\$&');
}
