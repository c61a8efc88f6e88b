import { GantryError } from '../../core/api.ts';
import { type Clock, machineClock } from '../../core/parts.ts';

export type Content = string | Map<string, string>;
interface Entry {
  content: Content;
  /** By the clock of this process; Infinity where it stays. */
  untilMs: number;
  bytes: number;
}

/** What an entry costs beside its texts, about. */
const ENTRY_BYTES = 150;
/** How many are looked at in one sweep, so that none takes long. */
const SWEPT = 10_000;
/** How often room is looked for among all of them, while there is none. */
const SEARCH_MS = 250;

/** Contents by name, each with its time, within a number of bytes. What is there goes by its time alone, never for room. */
export class Entries {
  readonly #maxBytes: number;
  readonly #clock: Clock;
  readonly #all = new Map<string, Entry>();
  #bytes = 0;
  #sweeping: Iterator<[string, Entry]> | null = null;
  #unswept = 0;
  #nextSearchMs = 0;

  constructor(maxBytes: number, clock: Clock = machineClock) {
    this.#maxBytes = maxBytes;
    this.#clock = clock;
  }

  /** Ms by which the times of entries are meant. */
  get now(): number {
    return this.#clock.steady();
  }

  get bytes(): number {
    return this.#bytes;
  }

  find(name: string): Content | null {
    return this.#living(name)?.content ?? null;
  }

  /** Throws KV_UNAVAILABLE, and changes nothing, where there is no room. */
  put(name: string, content: Content, untilMs: number): void {
    const bytes = bytesOf(name, content);
    this.#makeRoom(bytes - (this.#living(name)?.bytes ?? 0));
    // Looked up again: its time may have come meanwhile.
    this.#drop(name);
    this.#all.set(name, { content, untilMs, bytes });
    this.#bytes += bytes;
  }

  /** Adds to a hash that is there, or makes one that stays. Throws as put() does. */
  putFields(name: string, fields: readonly (readonly [string, string])[]): void {
    const entry = this.#living(name);
    if (entry === null || typeof entry.content === 'string') {
      this.put(name, new Map(fields), Number.POSITIVE_INFINITY);
      return;
    }
    const { content } = entry;
    const grown = fields.reduce(
      (sum, [field, text]) => sum + bytesOfField(field, text) - bytesOfField(field, content.get(field)),
      0,
    );
    this.#makeRoom(grown);
    for (const [field, text] of fields) content.set(field, text);
    this.#resize(name, entry, grown);
  }
  /** How many were there. A hash without fields is gone. */
  removeFields(name: string, fields: readonly string[]): number {
    const entry = this.#living(name);
    if (entry === null || typeof entry.content === 'string') return 0;
    let removed = 0;
    for (const field of fields) {
      const bytes = bytesOfField(field, entry.content.get(field));
      if (!entry.content.delete(field)) continue;
      removed++;
      this.#resize(name, entry, -bytes);
    }
    if (entry.content.size === 0) this.#drop(name);
    return removed;
  }

  remove(name: string): boolean {
    const there = this.#living(name) !== null;
    this.#drop(name);
    return there;
  }

  /** Null where nothing is there. */
  untilMs(name: string): number | null {
    return this.#living(name)?.untilMs ?? null;
  }
  /** False where nothing is there. */
  limit(name: string, untilMs: number): boolean {
    const entry = this.#living(name);
    if (entry !== null) entry.untilMs = untilMs;
    return entry !== null;
  }

  *names(): Iterable<string> {
    const now = this.now;
    for (const [name, { untilMs }] of this.#all) if (untilMs > now) yield name;
  }

  /** Removes what is over, some of it each time; all of it comes round, though what is put anew goes to the end. */
  sweep(most = SWEPT): void {
    const now = this.now;
    if (this.#sweeping === null) {
      this.#sweeping = this.#all.entries();
      this.#unswept = this.#all.size;
    }
    for (let i = 0; i < most; i++) {
      const { done, value } = this.#sweeping.next();
      if (done === true || --this.#unswept < 0) {
        this.#sweeping = null;
        return;
      }
      const [name, { untilMs }] = value;
      if (untilMs <= now) this.#drop(name);
    }
  }

  #makeRoom(bytes: number): void {
    const fits = () => bytes <= 0 || this.#bytes + bytes <= this.#maxBytes;
    if (fits()) return;
    // Looking at all of them takes long: not for each of many that find no room.
    if (this.now >= this.#nextSearchMs) {
      this.#sweeping = null;
      this.sweep(Number.POSITIVE_INFINITY);
      this.#nextSearchMs = this.now + SEARCH_MS;
    }
    if (fits()) return;
    throw new GantryError('KV_UNAVAILABLE', 'The key-value store is full', {
      hint: `${this.#bytes} of ${this.#maxBytes} bytes are taken: raise maxBytes of kv.memory, or keep less, or for a shorter time.`,
    });
  }

  #living(name: string): Entry | null {
    const entry = this.#all.get(name);
    if (entry === undefined) return null;
    if (entry.untilMs > this.now) return entry;
    this.#drop(name);
    return null;
  }

  #drop(name: string): void {
    this.#bytes -= this.#all.get(name)?.bytes ?? 0;
    this.#all.delete(name);
  }

  #resize(name: string, entry: Entry, bytes: number): void {
    // Where its time came meanwhile, it counts no more.
    if (this.#all.get(name) !== entry) return;
    entry.bytes += bytes;
    this.#bytes += bytes;
  }
}

function bytesOf(name: string, content: Content): number {
  const bytes = ENTRY_BYTES + Buffer.byteLength(name);
  if (typeof content === 'string') return bytes + Buffer.byteLength(content);
  return [...content].reduce((sum, [field, text]) => sum + bytesOfField(field, text), bytes);
}

function bytesOfField(field: string, text: string | undefined): number {
  return text === undefined ? 0 : ENTRY_BYTES + Buffer.byteLength(field) + Buffer.byteLength(text);
}
