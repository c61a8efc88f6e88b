import { GantryError } from '../../core/api.ts';
import { kvLimits } from '../../core/parts.ts';
import type { Kv, KvPage, KvSet } from '../../core/ports/index.ts';
import type { Entries } from './entries.ts';

const { checkKey, checkLimit, checkPrefix, checkTtl, checkValue, checkWhole, cursorOf, lastOf } = kvLimits;

const FOREVER = Number.POSITIVE_INFINITY;
const LIMIT = 1000;
/** Before the names, so that a lock and a key of one name are two entries. */
const KEY = 'k';
const LOCK = 'l';

/** The port in this process' own memory. Nothing waits between a look and the change after it, so each is one step. */
export class MemoryStore implements Kv {
  readonly problem = null;
  readonly #entries: Entries;
  #lastFence = 0;

  constructor(entries: Entries) {
    this.#entries = entries;
  }

  async get(key: string): Promise<string | null> {
    return this.#text(key);
  }

  async getMany(keys: readonly string[]): Promise<readonly (string | null)[]> {
    for (const key of keys) checkKey(key);
    return keys.map((key) => {
      const there = this.#entries.find(KEY + key);
      return typeof there === 'string' ? there : null;
    });
  }

  async set(key: string, value: string, { ttlMs, only }: KvSet = {}): Promise<boolean> {
    checkKey(key);
    checkValue(value);
    const untilMs = this.#untilOf(ttlMs);
    if (only !== undefined && (this.#entries.find(KEY + key) === null) !== (only === 'absent')) return false;
    this.#entries.put(KEY + key, value, untilMs);
    return true;
  }

  async swap(key: string, expected: string | null, next: string | null, ttlMs?: number): Promise<boolean> {
    if (expected !== null) checkValue(expected, 'expected');
    if (next !== null) checkValue(next, 'next');
    const untilMs = this.#untilOf(ttlMs);
    if (this.#text(key) !== expected) return false;
    if (next === null) this.#entries.remove(KEY + key);
    else this.#entries.put(KEY + key, next, untilMs);
    return true;
  }

  async remove(...keys: readonly string[]): Promise<number> {
    for (const key of keys) checkKey(key);
    return keys.filter((key) => this.#entries.remove(KEY + key)).length;
  }

  async increment(key: string, by = 1, ttlMs?: number): Promise<number> {
    checkWhole(by, 'by');
    const untilMs = this.#untilOf(ttlMs);
    const sum = summed(this.#text(key), by);
    this.#entries.put(KEY + key, String(sum), this.#entries.untilMs(KEY + key) ?? untilMs);
    return sum;
  }

  async remainingMs(key: string): Promise<number | null> {
    checkKey(key);
    const untilMs = this.#entries.untilMs(KEY + key);
    return untilMs === null ? null : Math.ceil(untilMs - this.#entries.now);
  }

  async expire(key: string, ttlMs: number | null): Promise<boolean> {
    checkKey(key);
    return this.#entries.limit(KEY + key, ttlMs === null ? FOREVER : this.#untilOf(ttlMs));
  }

  async list(prefix: string, { after, limit = LIMIT }: { after?: string; limit?: number } = {}): Promise<KvPage> {
    checkPrefix(prefix);
    checkLimit(limit);
    const last = after === undefined ? '' : lastOf(after, prefix);
    const found: string[] = [];
    for (const name of this.#entries.names()) {
      const key = name.slice(KEY.length);
      if (name.startsWith(KEY) && key > last && key.startsWith(prefix)) found.push(key);
    }
    const keys = found.sort().slice(0, limit);
    return { keys, next: found.length > limit ? cursorOf(prefix, keys.at(-1) as string) : null };
  }

  async hashGet(key: string, field: string): Promise<string | null> {
    checkKey(field, 'field');
    return this.#hash(key)?.get(field) ?? null;
  }

  async hashAll(key: string): Promise<Readonly<Record<string, string>>> {
    return Object.fromEntries(this.#hash(key) ?? []);
  }

  async hashSet(key: string, fields: Readonly<Record<string, string>>): Promise<void> {
    const added = Object.entries(fields);
    for (const [field, text] of added) {
      checkKey(field, 'field');
      checkValue(text);
    }
    this.#hash(key);
    if (added.length > 0) this.#entries.putFields(KEY + key, added);
  }

  async hashRemove(key: string, ...fields: readonly string[]): Promise<number> {
    for (const field of fields) checkKey(field, 'field');
    this.#hash(key);
    return this.#entries.removeFields(KEY + key, fields);
  }

  async hashIncrement(key: string, field: string, by = 1): Promise<number> {
    checkKey(field, 'field');
    checkWhole(by, 'by');
    const sum = summed(this.#hash(key)?.get(field) ?? null, by);
    this.#entries.putFields(KEY + key, [[field, String(sum)]]);
    return sum;
  }

  async acquire(name: string, ttlMs: number): Promise<number | null> {
    checkKey(name, 'name');
    const untilMs = this.#untilOf(ttlMs);
    if (this.#entries.find(LOCK + name) !== null) return null;
    // From the time in microseconds, so that they grow over the end of the process, too.
    const fence = Math.max(this.#lastFence + 1, Date.now() * 1000);
    this.#entries.put(LOCK + name, String(fence), untilMs);
    this.#lastFence = fence;
    return fence;
  }

  async renew(name: string, fence: number, ttlMs: number): Promise<boolean> {
    checkKey(name, 'name');
    checkWhole(fence, 'fence');
    const untilMs = this.#untilOf(ttlMs);
    return this.#entries.find(LOCK + name) === String(fence) && this.#entries.limit(LOCK + name, untilMs);
  }

  async release(name: string, fence: number): Promise<boolean> {
    checkKey(name, 'name');
    checkWhole(fence, 'fence');
    return this.#entries.find(LOCK + name) === String(fence) && this.#entries.remove(LOCK + name);
  }

  #untilOf(ttlMs: number | undefined): number {
    if (ttlMs === undefined) return FOREVER;
    checkTtl(ttlMs);
    return this.#entries.now + ttlMs;
  }

  #text(key: string): string | null {
    checkKey(key);
    const there = this.#entries.find(KEY + key);
    if (there === null || typeof there === 'string') return there;
    throw otherContent();
  }

  #hash(key: string): Map<string, string> | null {
    checkKey(key);
    const there = this.#entries.find(KEY + key);
    if (typeof there === 'string') throw otherContent();
    return there;
  }
}

/** Throws CONFLICT where there is no whole number, or the sum would not be a safe one. */
function summed(there: string | null, by: number): number {
  const number = there === null ? 0 : /^(0|-?[1-9]\d{0,15})$/.test(there) ? Number(there) : Number.NaN;
  const sum = number + by;
  if (Number.isSafeInteger(sum)) return sum;
  throw new GantryError('CONFLICT', 'What is there is no whole number, or the sum would not be a safe one');
}

function otherContent(): GantryError {
  return new GantryError('CONFLICT', 'The key has another kind of content: a text is no hash, and a hash no text');
}
