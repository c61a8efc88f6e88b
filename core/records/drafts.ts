import type { GantryError, Problem } from '../errors.ts';
import type { Batch, Definition } from '../ports/kind.ts';
import type { Reference, Stored, Write } from '../ports/odb.ts';
import { compileConfig } from '../schema/check.ts';
import { copy } from '../schema/copy.ts';
import { type Places, placesOf } from '../schema/secret.ts';
import type { Keyring } from '../secrets/keyring.ts';
import { hide, merge, open, reuse, same, seal } from '../secrets/sealing.ts';
import { invalid, pointed } from './invalid.ts';
import type { Kinds } from './kinds.ts';
import type { Fixed } from './record.ts';

export interface DraftParts {
  readonly kinds: Kinds;
  readonly fixtures: Fixed;
  readonly keyring: () => Keyring;
}

/** A definition that is fit to be saved. */
export interface Draft {
  readonly kind: string;
  readonly name: string;
  /** Without the name; secrets hashed or sealed. */
  readonly body: Readonly<Record<string, unknown>>;
  /** Whether the record says the same already. */
  readonly unchanged: boolean;
  readonly write: Write;
}

/** A definition with the defaults of its kind's schema, and with those of plugins' schemas as well. */
interface Complete {
  readonly filled: Definition;
  readonly whole: Definition;
}

const ALONE: Batch = { has: () => false };

/** Makes what is kept of what operators write: checked by the schemas of core and plugins, hashed, sealed. */
export class Drafts {
  readonly #parts: DraftParts;
  readonly #schemas = new Map<string, ReturnType<typeof compileConfig>>();

  constructor(parts: DraftParts) {
    this.#parts = parts;
  }

  /** `earlier` is the record that it replaces. Rejects with RECORD_INVALID, listing all problems. */
  async make(kind: string, given: Definition, earlier: Stored | null, batch: Batch | null = null): Promise<Draft> {
    const { name } = given;
    const keyring = this.#parts.keyring();
    const rules = this.#parts.kinds.get(kind);
    const context = `${kind}/${name}`;
    const before = earlier === null ? null : { name, ...earlier.body };
    const merged = merge(this.#secrets(kind, given), given, before ?? undefined);
    if (merged.problems.length > 0) throw invalid(kind, name, merged.problems);
    const { value, problems: unreadable } = open(merged.value, keyring, context);
    if (unreadable.length > 0) throw invalid(kind, name, unreadable);
    const clear = value as Definition;
    let checked = this.#checked(kind, clear, batch ?? ALONE);
    const past = before === null ? null : (open(before, keyring, context).value as Definition);
    const kept = (await rules.keep?.(clear, past)) ?? clear;
    // What is kept in its place is another definition, e.g. one with hashes.
    if (kept !== clear) checked = this.#checked(kind, kept, batch ?? ALONE);
    this.#try(kind, checked.whole, batch !== null);
    const sealed = seal(this.#secrets(kind, kept), kept, keyring, context) as Definition;
    const lasting = reuse(reuse(sealed, merged.value, keyring, context), before, keyring, context) as Definition;
    const { name: _name, ...body } = lasting;
    const unchanged = past !== null && same(this.#filled(kind, past), checked.filled);
    return { kind, name, body, unchanged, write: this.#write(kind, checked, body, earlier) };
  }

  /** The same record with its secrets sealed otherwise: nothing of what it says has changed. */
  resealed(stored: Stored, body: Stored['body']): Write {
    const { kind, name } = stored;
    const clear = open({ name, ...body }, this.#parts.keyring(), `${kind}/${name}`).value as Definition;
    return this.#write(kind, this.#complete(kind, clear, ALONE), body, stored);
  }

  /** A definition whose secrets are in the clear, as people may see it. */
  hidden(kind: string, definition: Definition): Definition {
    return hide(definition, this.#secrets(kind, definition)) as Definition;
  }

  /** Throws RECORD_INVALID, listing all problems. */
  #checked(kind: string, definition: Definition, batch: Batch): Complete {
    const complete = this.#complete(kind, definition, batch);
    if (complete.problems.length > 0) throw invalid(kind, definition.name, complete.problems);
    return complete;
  }

  /** A definition whose secrets are in the clear with its defaults, and what is wrong with it, by JSON pointers. */
  #complete(kind: string, definition: Definition, batch: Batch): Complete & { readonly problems: readonly Problem[] } {
    const whole = copy(definition) as Definition;
    const wrong = this.#schema(kind)(whole, '', (pointer) => pointer);
    const filled = copy(whole) as Definition;
    if (wrong.length > 0) return { filled, whole, problems: wrong };
    const beyond = this.#parts.kinds.get(kind).check?.(whole, batch) ?? [];
    return { filled, whole, problems: [...named(definition.name), ...beyond].map(pointed) };
  }

  /** Others of a batch may make room for it. */
  #try(kind: string, whole: Definition, batched: boolean): void {
    const { kinds, fixtures } = this.#parts;
    if (fixtures.has(kind, whole.name)) return;
    try {
      kinds.get(kind).try?.(whole);
    } catch (thrown) {
      if (!batched || (thrown as Partial<GantryError>).kind !== 'conflict') throw thrown;
    }
  }

  #write(kind: string, { filled, whole }: Complete, body: Draft['body'], earlier: Stored | null): Write {
    const { name } = whole;
    const content = {
      kind,
      name,
      body,
      fields: this.#fields(kind, filled),
      references: this.#references(kind, whole),
      claims: this.#parts.kinds.get(kind).claims?.(whole) ?? [],
      after: hide({ name, ...body }),
    };
    if (earlier === null) return { action: 'create', ...content };
    const before = hide({ name, ...earlier.body });
    return { action: 'update', version: earlier.version, ...content, before };
  }

  #fields(kind: string, filled: Definition): Record<string, string> {
    const entries = this.#parts.kinds.get(kind).fields.map((field) => [field, filled[field]] as const);
    return Object.fromEntries(entries.filter(([, value]) => value !== undefined).map(([f, v]) => [f, String(v)]));
  }

  /** A definition of the config file is no record: nobody else knows it. */
  #references(kind: string, kept: Definition): readonly Reference[] {
    const { kinds, fixtures } = this.#parts;
    const all = kinds.get(kind).references?.(kept) ?? [];
    return all.filter((one) => !fixtures.has(one.kind, one.name));
  }

  /** With what the schema has defaults for. */
  #filled(kind: string, definition: Definition): Definition {
    const filled = copy(definition) as Definition;
    this.#schema(kind)(filled, '');
    return filled;
  }

  #schema(kind: string): ReturnType<typeof compileConfig> {
    let validate = this.#schemas.get(kind);
    const { schema } = this.#parts.kinds.get(kind);
    if (validate === undefined) this.#schemas.set(kind, (validate = compileConfig(schema, kind)));
    return validate;
  }

  /** Which parts of a definition are secret is decided by the plugins that it is for. */
  #secrets(kind: string, definition: Definition): Places {
    const rules = this.#parts.kinds.get(kind);
    return rules.secrets?.(definition) ?? placesOf(rules.schema);
  }
}

/** Channels, connections and security definitions may be named otherwise in a config file. */
function named(name: string): Problem[] {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (!/[\u0000-\u001f\u007f]/.test(name)) return [];
  return [{ path: '.name', message: 'has a control character', got: JSON.stringify(name), hint: 'Take it out.' }];
}
