import { randomUUID } from 'node:crypto';
import type { Call } from '../call.ts';
import { isGantryError } from '../errors.ts';
import type { Definition, Records, Saved } from '../records/record.ts';
import type { Schedule } from './schedule.ts';

/** Jobs made by services: records like any other, in the change log under the service's name. */
export interface Schedules {
  /**
   * Runs a service once, at a time or after a delay; the job is removed when it is done. Resolves to its name. With a given
   * name a repeated request does no harm: it rejects with RECORD_DUPLICATE while the job exists. Rejects with RECORD_INVALID,
   * for example if the time is past, and with the errors of the database.
   */
  once(call: Call, job: OneTime): Promise<string>;
  /** Creates a job, or replaces the one of its name. */
  put(call: Call, definition: Definition & { readonly service: string; readonly schedule: Schedule }): Promise<Saved>;
  /** False if there is no job of that name. */
  remove(call: Call, name: string): Promise<boolean>;
}

export interface OneTime {
  /** Default: a unique name. */
  readonly name?: string;
  readonly service: string;
  readonly payload?: unknown;
  readonly at?: Date;
  /** The delay, instead of `at`; at least 1000, which is the default. */
  readonly afterMs?: number;
  readonly timeoutMs?: number;
  readonly retries?: { readonly attempts?: number; readonly backoffMs?: number; readonly maxBackoffMs?: number };
  /** Default: 'again'. */
  readonly interrupted?: 'leave' | 'again';
}

const TRIES = 5;
const SOON_MS = 1000;

/** `service`: the name of the service that makes the jobs. */
export function schedulesOn(records: Records, service: string): Schedules {
  const by = ({ cid }: Call) => ({ name: service, cid });
  const version = async (name: string): Promise<number | null> => {
    try {
      return (await records.get('job', name)).version;
    } catch (thrown) {
      if (isGantryError(thrown) && thrown.code === 'RECORD_NOT_FOUND') return null;
      throw thrown;
    }
  };
  return {
    async once(call, { name = `once ${randomUUID()}`, at, afterMs = 0, ...rest }) {
      // A job that is due at once would be in the past when it is stored.
      const due = at ?? new Date(Date.now() + Math.max(SOON_MS, afterMs));
      const missed = { policy: 'once' };
      const definition = { name, ...rest, schedule: { at: due.toISOString() }, missed, removeWhenDone: true };
      await records.create('job', { interrupted: 'again', ...definition }, by(call));
      return name;
    },
    async put(call, definition) {
      for (let left = TRIES; ; left--) {
        try {
          const kept = await version(definition.name);
          if (kept === null) return await records.create('job', definition, by(call));
          const { definition: before } = await records.get('job', definition.name);
          const gone = Object.keys(before).filter((key) => !(key in definition) && key !== 'since');
          const changes = { ...definition, ...Object.fromEntries(gone.map((key) => [key, null])) };
          return await records.update('job', definition.name, kept, changes, by(call));
        } catch (thrown) {
          // Someone else changed the same job at the same time.
          const passes = isGantryError(thrown) && ['RECORD_STALE', 'RECORD_DUPLICATE'].includes(thrown.code);
          if (!passes || left === 1) throw thrown;
        }
      }
    },
    async remove(call, name) {
      const kept = await version(name);
      if (kept === null) return false;
      await records.remove('job', name, undefined, by(call));
      return true;
    },
  };
}
