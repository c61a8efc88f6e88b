import type { TObject } from 'typebox';
import type { Problem } from '../errors.ts';
import type { Places } from '../schema/secret.ts';
import type { Reference, Stored, Write } from './odb.ts';

/** What a record says, its name included: JSON. */
export type Definition = Readonly<Record<string, unknown>> & { readonly name: string };

/** What a person may do, from the least to the most. */
export type Role = 'viewer' | 'operator' | 'developer' | 'administrator';

/** What a kind of record does to this server. */
export interface Effect {
  /**
   * Changes of this kind are waited for at most so long together, and go on by themselves after that. Without it each is
   * waited for. In ms.
   */
  readonly patienceMs?: number;
  /** Puts a definition into effect, in place of the one of its name. Throws, and what was there stays. */
  put(definition: Definition): void | Promise<void>;
  drop(name: string): void | Promise<void>;
}

/** Other records of the same change, which count as if they were there. */
export interface Batch {
  has(kind: string, name: string): boolean;
}

/** The records, as a kind sees them that protects some. */
export interface Siblings {
  /** All that are kept of this kind. */
  load(): Promise<readonly Stored[]>;
  /** Writes a record as it is. With a check of its version, so that nobody changes it meanwhile. */
  again(stored: Stored): Write;
}

/**
 * A kind of record: what it is, who may change it, and what it does to a server. The name of a `kind.<name>` plugin is the
 * name of its kind; admin services, commands, export, apply, history and references come with it.
 */
export interface Kind {
  /** One phrase that begins with an article, e.g. 'A person to call'. */
  readonly description: string;
  /** Of a whole definition, its name included. */
  readonly schema: TObject;
  /** Top-level texts and booleans by which lists are filtered and sorted. */
  readonly fields: readonly string[];
  /** Fields that belong to one installation, and are not carried from one to another. */
  readonly own?: readonly string[];
  /** False: records of this kind are not exported. */
  readonly portable?: boolean;
  /** The least role that may read, and the least that may change. */
  readonly roles: { readonly read: Role; readonly write: Role };
  /** Where a definition has secrets. Default: where the schema says so. */
  secrets?(definition: Definition): Places;
  /**
   * What is wrong beyond the schema. The definition has the schema's defaults, and its secrets are in the clear; defaults
   * that a plugin's schema has are filled in here.
   */
  check?(definition: Definition, batch: Batch): readonly Problem[];
  /**
   * What is kept of a definition, e.g. a hash in place of a password; `past` is the one that it replaces. Rejects with
   * RECORD_INVALID.
   */
  keep?(definition: Definition, past: Definition | null): Definition | Promise<Definition>;
  /**
   * Tries what only putting it into effect would show, and undoes it. The definition was checked and has all defaults, as in
   * references() and claims(). Throws RECORD_INVALID or a conflict.
   */
  try?(whole: Definition): void;
  /** What `changes` make of what is kept, where that is more than putting fields in place of others. */
  amend?(body: Readonly<Record<string, unknown>>, changes: Readonly<Record<string, unknown>>): Record<string, unknown>;
  /** Records that must be there as long as this one is. */
  references?(definition: Definition): readonly Reference[];
  /** Texts that no two records may share. */
  claims?(definition: Definition): readonly string[];
  /**
   * Makes a change that has writes of this kind, others perhaps among them. It may add writes, refuse, and try again.
   * Rejects as `make` does, or with RECORD_IN_USE.
   */
  protect?<T>(writes: readonly Write[], make: (writes: readonly Write[]) => Promise<T>, siblings: Siblings): Promise<T>;
  /** Absent: records of this kind are only looked up. */
  readonly effect?: Effect;
}
