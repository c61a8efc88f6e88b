import { createHash, randomUUID } from 'node:crypto';
import type { Call } from './call.ts';
import type { Odb, Once, RunSql } from './ports/odb.ts';

/** Makes what a service writes to the database happen once, however often its handler is entered for one call. */
export interface Effects {
  /**
   * Runs `work` in one transaction with the keeping of the call's idempotency key. Where that key has been here before,
   * nothing is run, and what `work` gave then is given again. A call without a key has none to come back with: its work is
   * one transaction, and that is all. `label` tells several effects of one service apart.
   * `work` must only run statements: whatever else it does cannot be undone. Rejects as `Odb.once` does.
   */
  once<T>(call: Call, work: (run: RunSql) => Promise<T>, label?: string): Promise<Once<T>>;
}

/** `service`: the same key is another effect in another service. */
export function effectsOn(odb: () => Odb, service: string): Effects {
  return {
    once(call, work, label = '') {
      const { idempotencyKey } = call;
      const key =
        idempotencyKey === null
          ? randomUUID()
          : createHash('sha256')
              .update(JSON.stringify([service, label, idempotencyKey]))
              .digest('hex');
      return odb().once(key, work);
    },
  };
}
