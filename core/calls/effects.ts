import { createHash } from 'node:crypto';
import type { Call } from '../call.ts';
import { GantryError } from '../errors.ts';
import type { Odb, Once, OwnRun, RunSql } from '../ports/odb.ts';

/** Makes what a service writes to the database happen once, however often its handler is entered for one call. */
export interface Effects {
  /**
   * Runs `work` in one transaction with the keeping of a key, which is made of the call's idempotency key, the service, its
   * input and `label`. Where that key has been here before, nothing is run, and what `work` gave then is given again: so
   * for a repeat of the call, and for the same service invoked again by the same call with the same input. One run of a
   * handler can use each label once: INVALID. A call without an idempotency key has nothing to come back with: its work
   * is one transaction, and that is all. In a run of the scheduler it is bound to that run: LEASE_LOST, and nothing done,
   * where another server may have taken it over.
   * `work` must only run statements: whatever else it does cannot be undone. Rejects as `Odb.once` does.
   */
  once<T>(call: Call, work: (run: RunSql) => Promise<T>, label?: string): Promise<Once<T>>;
}

/** Which labels a run of a handler has used. */
const USED = new WeakMap<Call, Set<string>>();

/** `service`: the same key is another effect in another service. */
export function effectsOn(odb: Odb, service: string): Effects {
  return {
    async once(call, work, label = '') {
      const { idempotencyKey } = call;
      if (idempotencyKey === null) return odb.once(null, work);
      const used = USED.get(call) ?? new Set();
      USED.set(call, used);
      const use = JSON.stringify([service, label]);
      if (used.has(use)) {
        throw new GantryError('INVALID', 'The service failed', {
          kind: 'bug',
          hint: `'${service}' makes two effects in one call: give each a label, the third argument of effects.once().`,
        });
      }
      used.add(use);
      const key = createHash('sha256')
        .update(JSON.stringify([service, label, idempotencyKey]))
        .update(printOf(call.input));
      try {
        return await odb.once(key.digest('hex'), work, ownRun(call));
      } catch (error) {
        // It may be tried again.
        used.delete(use);
        throw error;
      }
    },
  };
}

function ownRun({ firing }: Call): OwnRun | undefined {
  return firing === null ? undefined : { token: firing.token, attempt: firing.attempt, owner: firing.owner };
}

/** What tells one input from another; nothing of a stream, which can be read once only. */
export function printOf(input: unknown): Uint8Array | string {
  if (input instanceof Uint8Array) return input;
  const isStream = typeof (input as { pipe?: unknown } | null)?.pipe === 'function';
  return isStream ? '' : (JSON.stringify(input) ?? '');
}
