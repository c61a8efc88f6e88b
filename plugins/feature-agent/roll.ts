import type { Kv } from '../../core/api.ts';

/**
 * A rolling restart, as it is kept for the whole cluster: whoever asks for it writes it (services/admin/cluster.ts has its
 * schema), an agent does it, and every agent takes the calls from the server whose turn it is.
 */
export interface Roll {
  readonly id: string;
  readonly state: 'waiting' | 'running' | 'done' | 'failed' | 'cancelled';
  readonly requestedBy: string;
  /** ISO 8601, as all times here. */
  readonly requestedAt: string;
  readonly startedAt: string | null;
  readonly endedAt: string | null;
  /** How long a server is waited for until it has nothing in hand. */
  readonly graceMs: number;
  /** Also where nobody else can serve meanwhile. */
  readonly force: boolean;
  /** Somebody asked for its end: no further server is restarted. */
  readonly cancelled: boolean;
  /** Who does it. */
  readonly agent: string | null;
  /** Of the lock under which it is done: a later agent has a greater one. */
  readonly fence: number;
  readonly problem: string | null;
  readonly servers: readonly Rolled[];
}

export interface Rolled {
  readonly name: string;
  readonly state: 'waiting' | 'draining' | 'restarting' | 'checking' | 'done' | 'failed';
  /** The one that is to end; null before its turn. */
  readonly instance: string | null;
  readonly startedAt: string | null;
  readonly endedAt: string | null;
}

/** What services write is below `app:`. */
const KEY = 'app:gantry.roll';

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
    return read(await this.#kv.get(KEY));
  }

  /** For who does it under that lock. */
  own(id: string, fence: number): OwnRoll {
    const kept = async () => {
      const text = await this.#kv.get(KEY);
      const roll = read(text);
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

function read(text: string | null): Roll | null {
  if (text === null) return null;
  try {
    const roll = JSON.parse(text) as Partial<Roll> | null;
    return typeof roll?.id === 'string' && Array.isArray(roll.servers) ? (roll as Roll) : null;
  } catch {
    return null;
  }
}
