import { GantryError } from '../errors.ts';
import type { Kv } from '../ports/kv.ts';
import { type Clock, every, machineClock } from '../time/clock.ts';

/** The kv port as services have it: their own keys, and what is made of its operations. */
export interface KeyValues extends Kv {
  /**
   * Runs `work` while nobody else in the cluster has the lock. It is renewed meanwhile; `held.signal` fires when that
   * failed. Rejects with BUSY if another has it for longer than `waitMs`. Code that writes elsewhere hands `held.fence` on:
   * a holder that slept for longer than its lock has a smaller fence than the holder after it.
   */
  lock<T>(name: string, options: LockOptions, work: (held: Held) => T | Promise<T>): Promise<T>;
  /** Values that can be made again. */
  cache(name: string, options: CacheOptions): Cache;
}

export interface LockOptions {
  /** After a crash of the holder it is free again after this. Default: 10 s. */
  readonly ttlMs?: number;
  /** Default: 0, one try. */
  readonly waitMs?: number;
}

export interface Held {
  readonly fence: number;
  readonly signal: AbortSignal;
}

export interface CacheOptions {
  readonly ttlMs: number;
}

export interface Cache {
  /**
   * The value that is kept, or else what `make` gives, which is then kept as JSON. Callers that ask this server at the same
   * time share one `make`. The value is also made while the store is unavailable, or if what is kept cannot be read. Names
   * in `tags` let many values be forgotten at once.
   */
  get<T>(key: string, make: () => T | Promise<T>, tags?: readonly string[]): Promise<T>;
  remove(key: string): Promise<void>;
  /** Forgets every value with that tag, on all servers. */
  removeTagged(tag: string): Promise<void>;
}

const LOCK_MS = 10_000;
const LOOK_MS = 50;

/** Keys of services begin so: those of the server itself are out of their reach. */
const OWN = 'app:';

export function keyValues(kv: Kv, clock: Clock = machineClock): KeyValues {
  const own = (key: string) => `${OWN}${key}`;
  return {
    get problem() {
      return kv.problem;
    },
    get: (key) => kv.get(own(key)),
    getMany: (keys) => kv.getMany(keys.map(own)),
    set: (key, value, options) => kv.set(own(key), value, options),
    swap: (key, expected, next, ttlMs) => kv.swap(own(key), expected, next, ttlMs),
    remove: (...keys) => kv.remove(...keys.map(own)),
    increment: (key, by, ttlMs) => kv.increment(own(key), by, ttlMs),
    remainingMs: (key) => kv.remainingMs(own(key)),
    expire: (key, ttlMs) => kv.expire(own(key), ttlMs),
    async list(prefix, options) {
      const { keys, next } = await kv.list(own(prefix), options);
      return { keys: keys.map((key) => key.slice(OWN.length)), next };
    },
    hashGet: (key, field) => kv.hashGet(own(key), field),
    hashAll: (key) => kv.hashAll(own(key)),
    hashSet: (key, fields) => kv.hashSet(own(key), fields),
    hashRemove: (key, ...fields) => kv.hashRemove(own(key), ...fields),
    hashIncrement: (key, field, by) => kv.hashIncrement(own(key), field, by),
    acquire: (name, ttlMs) => kv.acquire(own(name), ttlMs),
    renew: (name, fence, ttlMs) => kv.renew(own(name), fence, ttlMs),
    release: (name, fence) => kv.release(own(name), fence),
    lock: (name, options, work) => locked(kv, own(name), options, work, clock),
    cache: (name, options) => cacheOn(kv, own(`cache:${name}:`), options),
  };
}

/** Holds a lock of the store while something is done. */
export async function locked<T>(
  kv: Kv,
  name: string,
  { ttlMs = LOCK_MS, waitMs = 0 }: LockOptions,
  work: (held: Held) => T | Promise<T>,
  clock: Clock = machineClock,
): Promise<T> {
  const fence = await acquired(kv, name, { ttlMs, waitMs }, clock);
  const lost = new AbortController();
  let until = clock.steady() + ttlMs;
  const stopRenewing = every(clock, ttlMs / 3, async () => {
    const askedAt = clock.steady();
    const renewed = await kv.renew(name, fence, ttlMs).catch(() => null);
    if (renewed === true) until = askedAt + ttlMs;
    // A store that does not answer may do so before the lock has run out.
    if (renewed === false || clock.steady() >= until) {
      stopRenewing();
      lost.abort(new GantryError('BUSY', `The lock '${name}' was lost: it may be another's by now`));
    }
  });
  try {
    return await work({ fence, signal: lost.signal });
  } finally {
    stopRenewing();
    // If the store is unavailable, the lock expires by itself.
    await kv.release(name, fence).catch(() => false);
  }
}

async function acquired(kv: Kv, name: string, { ttlMs, waitMs }: Required<LockOptions>, clock: Clock): Promise<number> {
  const until = clock.steady() + waitMs;
  while (true) {
    const fence = await kv.acquire(name, ttlMs);
    if (fence !== null) return fence;
    if (clock.steady() >= until) {
      throw new GantryError('BUSY', `The lock '${name}' is held by another`, { retryAfterMs: ttlMs });
    }
    await clock.sleep(Math.min(LOOK_MS, Math.max(1, until - clock.steady())));
  }
}

/** A value with the generation that each of its tags had when it was made. */
interface Kept {
  readonly value: unknown;
  readonly tags: Readonly<Record<string, string | null>>;
}

function cacheOn(kv: Kv, prefix: string, { ttlMs }: CacheOptions): Cache {
  const making = new Map<string, Promise<unknown>>();
  const valueKey = (key: string) => `${prefix}v:${key}`;
  const tagKey = (tag: string) => `${prefix}t:${tag}`;
  // Longer than any value that has it: one that was forgotten must not come back with the tag's first generation.
  const tagMs = ttlMs * 2 + 60_000;

  /** No tag of a service begins so. */
  const own = (key: string) => `\u0001${key}`;
  const forget = async (tag: string): Promise<void> => {
    await kv.increment(tagKey(tag), 1, tagMs);
    await kv.expire(tagKey(tag), tagMs);
  };

  const generations = async (tags: readonly string[]): Promise<Kept['tags']> => {
    if (tags.length === 0) return {};
    const found = await kv.getMany(tags.map(tagKey));
    return Object.fromEntries(tags.map((tag, i) => [tag, found[i] ?? null]));
  };
  const find = async (key: string): Promise<Kept | null> => {
    const text = await kv.get(valueKey(key));
    if (text === null) return null;
    const kept = JSON.parse(text) as Kept;
    const now = await generations(Object.keys(kept.tags));
    return Object.entries(kept.tags).every(([tag, was]) => now[tag] === was) ? kept : null;
  };
  const made = async (key: string, make: () => unknown, given: readonly string[]): Promise<unknown> => {
    // A removed key is forgotten like a tag: a `make` that is under way does not bring it back.
    const tags = [...given, own(key)];
    const kept = await find(key).catch(() => null);
    if (kept !== null) return kept.value;
    // Before it is made: what is forgotten meanwhile is not kept as if it were new.
    const before = await generations(tags).catch(() => null);
    const value = await make();
    const text = before === null ? undefined : JSON.stringify({ value, tags: before } satisfies Kept);
    // If the value is too large or the store is unavailable, the next get() makes it again.
    if (text !== undefined) await kv.set(valueKey(key), text, { ttlMs }).catch(() => false);
    return value;
  };

  return {
    get<T>(key: string, make: () => T | Promise<T>, tags: readonly string[] = []): Promise<T> {
      const under = making.get(key);
      if (under !== undefined) return under as Promise<T>;
      const mine = made(key, make, tags).finally(() => {
        if (making.get(key) === mine) making.delete(key);
      });
      making.set(key, mine);
      return mine as Promise<T>;
    },
    async remove(key) {
      await forget(own(key));
      making.delete(key);
      await kv.remove(valueKey(key));
    },
    async removeTagged(tag) {
      await forget(tag);
      // Which values have the tag is no longer known; the next caller makes its value anew.
      making.clear();
    },
  };
}
