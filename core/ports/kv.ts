import type { GantryError } from '../errors.ts';

/**
 * Keeps texts by key for all servers of the cluster: what is shared, changes often, and may be lost with the store that
 * keeps it. Keys, fields of hashes and names of locks have 1 to 512 characters without NUL, values at most 1 MiB (UTF-8),
 * none has half a surrogate pair, and times are whole numbers of ms, at least 1 (core/stores/kv-limits.ts): INVALID.
 * Every method rejects with KV_UNAVAILABLE (retryable) while the store cannot be reached, at once where that is known,
 * and after the plugin's own short limit where it does not answer; whether a write was done is not known then.
 * Times are measured by the store's clock. What one server wrote, every server reads from then on.
 */
export interface Kv {
  /** Null while the store answers; otherwise why the last attempt failed. The plugin reconnects by itself. */
  readonly problem: GantryError | null;
  /** CONFLICT where the key is a hash. */
  get(key: string): Promise<string | null>;
  /** In the order of the keys; null for a hash. Not one moment: others may write in between. */
  getMany(keys: readonly string[]): Promise<readonly (string | null)[]>;
  /** False where it was not done, since `only` did not hold. Without `ttlMs` it stays, also where there was a limit before. */
  set(key: string, value: string, options?: KvSet): Promise<boolean>;
  /**
   * Compare and set: puts `next` in the place of exactly `expected`, null meaning absent on either side. False where
   * something else was there. Atomic.
   */
  swap(key: string, expected: string | null, next: string | null, ttlMs?: number): Promise<boolean>;
  /** How many of them were there. */
  remove(...keys: readonly string[]): Promise<number>;
  /**
   * Adds a whole number to what is there (0 where nothing is) and gives the sum. Atomic. `ttlMs` counts from the first
   * one. Rejects with CONFLICT where the value is no whole number or would leave the safe integers.
   */
  increment(key: string, by?: number, ttlMs?: number): Promise<number>;
  /** Until it is gone, in ms; Infinity where it stays, null where nothing is there. */
  remainingMs(key: string): Promise<number | null>;
  /** Sets the time to live of a key, or removes it with null. False if there is no such key. */
  expire(key: string, ttlMs: number | null): Promise<boolean>;
  /**
   * Keys that begin so, in no order, at most 10,000 on a page. A key that is there all the while is listed once over all pages. For people and
   * clean-ups: it goes through all keys of the store.
   */
  list(prefix: string, options?: { readonly after?: string; readonly limit?: number }): Promise<KvPage>;

  /** Fields of a hash: a key with texts by name. A hash without fields is gone. CONFLICT where the key is a text. */
  hashGet(key: string, field: string): Promise<string | null>;
  hashAll(key: string): Promise<Readonly<Record<string, string>>>;
  hashSet(key: string, fields: Readonly<Record<string, string>>): Promise<void>;
  hashRemove(key: string, ...fields: readonly string[]): Promise<number>;
  hashIncrement(key: string, field: string, by?: number): Promise<number>;

  /**
   * Takes a lock for `ttlMs`; null if it is held. The fence is greater than all that were given for that name before: a
   * system that keeps the greatest fence that it has seen can refuse a holder that came back from a long sleep.
   */
  acquire(name: string, ttlMs: number): Promise<number | null>;
  /** False where the lock ran out and may be another's by now. */
  renew(name: string, fence: number, ttlMs: number): Promise<boolean>;
  /** False where it was not held by that fence any more. */
  release(name: string, fence: number): Promise<boolean>;
}

export interface KvSet {
  readonly ttlMs?: number;
  readonly only?: 'absent' | 'present';
}

export interface KvPage {
  readonly keys: readonly string[];
  /** For the next page; null on the last one. */
  readonly next: string | null;
}
