interface Entry {
  readonly key: string;
  until: number;
  /** The one used before this one, and the one used after it; the ring's own entry stands between the ends. */
  older: Entry;
  newer: Entry;
}

/**
 * Which passwords were found right a short time ago. Only right ones are kept, so that guesses drive nobody out. The
 * oldest use goes first, by time and by number alike. The order is a ring: a Map alone would have to be written at each
 * look, which costs as much as the digest.
 */
export class Verified {
  readonly #size: number;
  readonly #ms: number;
  readonly #entries = new Map<string, Entry>();
  /** Its `newer` is the oldest, its `older` the newest. */
  readonly #ring: Entry;

  /** At most `size` of them, each for `ms` after its last use. */
  constructor(size: number, ms: number) {
    this.#size = size;
    this.#ms = ms;
    const ring = { key: '', until: 0 } as Entry;
    this.#ring = Object.assign(ring, { older: ring, newer: ring });
  }

  /** Hot. */
  has(key: string): boolean {
    const entry = this.#entries.get(key);
    if (entry === undefined) return false;
    const now = performance.now();
    if (entry.until <= now) {
      this.#drop(entry);
      return false;
    }
    entry.until = now + this.#ms;
    if (this.#ring.older !== entry) this.#append(detached(entry));
    return true;
  }

  add(key: string): void {
    const now = performance.now();
    const known = this.#entries.get(key);
    if (known !== undefined) this.#drop(known);
    const entry: Entry = { key, until: now + this.#ms, older: this.#ring, newer: this.#ring };
    this.#entries.set(key, entry);
    this.#append(entry);
    for (let oldest = this.#ring.newer; oldest !== this.#ring; oldest = this.#ring.newer) {
      if (oldest.until > now && this.#entries.size <= this.#size) return;
      this.#drop(oldest);
    }
  }

  #append(entry: Entry): void {
    const newest = this.#ring.older;
    entry.older = newest;
    entry.newer = this.#ring;
    newest.newer = entry;
    this.#ring.older = entry;
  }

  #drop(entry: Entry): void {
    this.#entries.delete(detached(entry).key);
  }
}

function detached(entry: Entry): Entry {
  entry.older.newer = entry.newer;
  entry.newer.older = entry.older;
  return entry;
}
