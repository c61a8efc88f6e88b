import { GantryError } from '../../core/api.ts';
import type { Reference, Write } from '../../core/ports/index.ts';

type Content = Exclude<Write, { action: 'remove' }>;

/** What becomes of one record by a whole batch. */
export interface Fate {
  readonly kind: string;
  readonly name: string;
  /** The version that it had before; null: it was not there. */
  readonly before: number | null;
  /** Null: it is not there any more. */
  readonly after: After | null;
}
interface After {
  readonly version: number;
  readonly revision: number;
  readonly content: Content;
}

export interface Plan {
  /** By `keyOf`, each record that the batch touches once. */
  readonly fates: ReadonlyMap<string, Fate>;
  /** Of each change, in their order. */
  readonly versions: readonly number[];
}

/** Names hold no NUL. */
export function keyOf({ kind, name }: Reference): string {
  return `${kind}\0${name}`;
}

/**
 * Goes through a batch with the versions that the records have now. Throws RECORD_DUPLICATE, RECORD_NOT_FOUND or
 * RECORD_STALE for the first change that does not fit what is there when its turn comes.
 */
export function planOf(writes: readonly Write[], versions: ReadonlyMap<string, number>, first: number): Plan {
  const fates = new Map<string, Fate>();
  const made: number[] = [];
  for (const [i, write] of writes.entries()) {
    const key = keyOf(write);
    const { kind, name } = write;
    const known = versions.get(key) ?? null;
    const fate = fates.get(key) ?? { kind, name, before: known, after: null };
    const there = fates.has(key) ? (fate.after?.version ?? null) : known;
    const version = next(write, there);
    made.push(version);
    const after = write.action === 'remove' ? null : { version, revision: first + i, content: write };
    fates.set(key, { ...fate, after });
  }
  return { fates, versions: made };
}

/** The version after a change; 0 for a removed one. */
function next(write: Write, there: number | null): number {
  const which = `${write.kind} '${write.name}'`;
  if (write.action === 'create') {
    if (there === null) return 1;
    throw new GantryError('RECORD_DUPLICATE', `There is a ${which} already`);
  }
  if (there === null) throw new GantryError('RECORD_NOT_FOUND', `There is no ${which}`);
  if (write.version !== undefined && write.version !== there) {
    const text = `${which} was changed meanwhile: it has version ${there}, not ${write.version}`;
    throw new GantryError('RECORD_STALE', text, { hint: 'Read it again, and make the change to what it is now.' });
  }
  return write.action === 'remove' ? 0 : there + 1;
}
