import { ROLLING, type Roll, readRoll } from '../../core/parts.ts';
import type { Kv } from '../../core/ports/index.ts';

export type Rolled = Roll['servers'][number];

/** What services write is below `app:`. */
const KEY = `app:${ROLLING.roll}`;

/** Another agent does it by now, or it is gone with the store. */
export class RollLost extends Error {}

/** The one that is kept: the current, or the last one. */
export class Rolls {
  readonly #kv: Kv;

  constructor(kv: Kv) {
    this.#kv = kv;
  }

  /** Null where there is none. Rejects with KV_UNAVAILABLE. */
  async find(): Promise<Roll | null> {
    return readRoll(await this.#kv.get(KEY));
  }

  /** For who does it under that lock. */
  own(id: string, fence: number): OwnRoll {
    const kept = async () => {
      const text = await this.#kv.get(KEY);
      const roll = readRoll(text);
      if (roll === null || roll.id !== id) throw new RollLost('it is gone from the store');
      if (roll.fence > fence) throw new RollLost(`${roll.agent} does it by now`);
      if (roll.endedAt !== null) throw new RollLost(`it is ${roll.state}`);
      return { text, roll };
    };
    return {
      get: async () => (await kept()).roll,
      change: async (make) => {
        while (true) {
          const { text, roll } = await kept();
          const next = { ...make(roll), fence };
          if (await this.#kv.swap(KEY, text, JSON.stringify(next))) return next;
        }
      },
    };
  }
}

/** One that is under way, for who does it. Both reject with RollLost where it is not theirs any more, or KV_UNAVAILABLE. */
export interface OwnRoll {
  get(): Promise<Roll>;
  /** What others write meanwhile, e.g. that it is to end, is not lost. */
  change(make: (roll: Roll) => Roll): Promise<Roll>;
}

/** The servers that get nothing new, since it is their turn. */
export function heldBy(roll: Roll | null): ReadonlySet<string> {
  if (roll === null || roll.endedAt !== null) return new Set();
  const held = roll.servers.filter(({ state }) => state === 'draining' || state === 'restarting');
  return new Set(held.map(({ name }) => name));
}
