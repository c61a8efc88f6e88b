import { GantryError, toGantryError } from '../errors.ts';
import type { Siblings } from '../ports/kind.ts';
import type { Stored, Write } from '../ports/odb.ts';

/** How often a change is tried whose witness was changed meanwhile. */
const TRIES = 3;

/** Sees to it that somebody is left who can let others in. */
export class Administrators {
  /** The last change that takes an administrator away. */
  #demoting: Promise<unknown> = Promise.resolve();

  /**
   * Makes changes unless nobody could let anybody in after them: RECORD_IN_USE. What takes an administrator away is made
   * together with a witness, one who stays: written as it is, so that no other server takes that one away meanwhile.
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

/** Another administrator, who stays; null where no administrator is taken away. */
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
