import { GantryError, toGantryError } from '../errors.ts';
import type { Siblings } from '../ports/kind.ts';
import type { Stored, Write } from '../ports/odb.ts';

/** How often a change is tried whose witness was changed meanwhile. */
const TRIES = 3;

/** Keeps at least one active administrator. */
export class Administrators {
  /** The last change that removes or demotes an administrator. */
  #demoting: Promise<unknown> = Promise.resolve();

  /**
   * Makes changes, or rejects with RECORD_IN_USE if no active administrator would be left. A change that removes one also
   * writes another administrator, unchanged and with a check of its version: so no other server can remove that one
   * meanwhile.
   */
  async keep<T>(
    writes: readonly Write[],
    make: (writes: readonly Write[]) => Promise<T>,
    records: Siblings,
  ): Promise<T> {
    const users = writes.filter(({ kind }) => kind === 'user');
    const lost = new Set(users.filter((write) => !isAdministrator(write)).map(({ name }) => name));
    if (lost.size === 0 || lost.size < users.length) return make(writes);
    // One at a time: those of one server need not try again.
    const turn = this.#demoting.then(() => this.#make(lost, writes, make, records));
    this.#demoting = turn.catch(() => undefined);
    return turn;
  }

  async #make<T>(
    lost: ReadonlySet<string>,
    writes: readonly Write[],
    make: (all: readonly Write[]) => Promise<T>,
    records: Siblings,
  ): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      const witness = await witnessOf(lost, records);
      try {
        return await make(witness === null ? writes : [...writes, witness]);
      } catch (thrown) {
        if (witness === null || attempt === TRIES || toGantryError(thrown).code !== 'RECORD_STALE') throw thrown;
      }
    }
  }
}

/** An administrator that stays; null if none is removed. */
async function witnessOf(lost: ReadonlySet<string>, records: Siblings): Promise<Write | null> {
  const users = await records.load();
  const administrators = users.filter(({ body }) => body['role'] === 'administrator' && body['active'] !== false);
  if (!administrators.some(({ name }) => lost.has(name))) return null;
  const stays = administrators.find(({ name }) => !lost.has(name));
  if (stays === undefined) throw refusal(administrators);
  return records.again(stays);
}

function isAdministrator(write: Write): boolean {
  if (write.action === 'remove') return false;
  return write.fields?.['role'] === 'administrator' && write.fields['active'] !== 'false';
}

function refusal(administrators: readonly Stored[]): GantryError {
  const names = administrators.map(({ name }) => `'${name}'`).join(', ');
  const are = administrators.length === 1 ? 'is the last administrator' : 'are the last administrators';
  return new GantryError('RECORD_IN_USE', `${names} ${are}`, { hint: 'Make another user an administrator first.' });
}
