import type { Definition, LiveRecord } from './record.ts';

/** Tables of texts that operators keep as records; looked up in memory. */
export interface Dictionaries {
  /** The value of a key; null where the dictionary or the key is not there. */
  find(dictionary: string, key: string): string | null;
  /** What a text of one system is called in another; null where that is not known. Of several rows the first counts. */
  translate(dictionary: string, from: string, text: string, to: string): string | null;
  names(): readonly string[];
}

type Row = Readonly<Record<string, string>>;

/** By system, then by its text. Made on first use of each version. */
type Index = Map<string, Map<string, Row>>;

export class LiveDictionaries implements Dictionaries {
  readonly #find: (name: string) => LiveRecord | null;
  readonly #names: () => readonly string[];
  readonly #indexes = new WeakMap<Definition, Index>();

  constructor(find: (name: string) => LiveRecord | null, names: () => readonly string[]) {
    this.#find = find;
    this.#names = names;
  }

  find(dictionary: string, key: string): string | null {
    const entries = (this.#find(dictionary)?.definition['entries'] ?? {}) as Row;
    return Object.hasOwn(entries, key) ? (entries[key] ?? null) : null;
  }

  translate(dictionary: string, from: string, text: string, to: string): string | null {
    const definition = this.#find(dictionary)?.definition;
    if (definition === undefined) return null;
    const row = this.#index(definition, from).get(text);
    return row !== undefined && Object.hasOwn(row, to) ? (row[to] ?? null) : null;
  }

  names(): readonly string[] {
    return this.#names();
  }

  #index(definition: Definition, system: string): Map<string, Row> {
    let index = this.#indexes.get(definition);
    if (index === undefined) this.#indexes.set(definition, (index = new Map()));
    let texts = index.get(system);
    if (texts !== undefined) return texts;
    index.set(system, (texts = new Map()));
    for (const row of (definition['rows'] ?? []) as readonly Row[]) {
      const own = Object.hasOwn(row, system) ? row[system] : undefined;
      if (own !== undefined && !texts.has(own)) texts.set(own, row);
    }
    return texts;
  }
}
