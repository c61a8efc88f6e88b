import type { ServerInfo } from '../../core/api.ts';
import { ROLLING } from '../../core/parts.ts';
import type { Kv } from '../../core/ports/index.ts';

/** What an agent tells of itself; services/admin/cluster.ts reads it. */
export interface Told {
  readonly refused: { readonly message: string } | null;
  readonly failing: { readonly message: string } | null;
}

/** What services read is below `app:`. */
const INDEX = `app:${ROLLING.agents}`;
const EVERY_MS = 1000;
const LEASE_MS = 5000;

/** Says every second that this agent is there, so that nobody asks for what no agent would do. */
export class Presence {
  readonly #kv: Kv;
  readonly #server: ServerInfo;
  #toldAt = Number.NEGATIVE_INFINITY;

  constructor(kv: Kv, server: ServerInfo) {
    this.#kv = kv;
    this.#server = server;
  }

  async tell({ refused, failing }: Told): Promise<void> {
    if (performance.now() - this.#toldAt < EVERY_MS) return;
    this.#toldAt = performance.now();
    const { name, version, startedAt } = this.#server;
    const problem = refused?.message ?? failing?.message ?? null;
    const about = { name, version, startedAt: startedAt.toISOString(), problem };
    try {
      await this.#kv.set(keyOf(name), JSON.stringify(about), { ttlMs: LEASE_MS });
      await this.#kv.hashSet(INDEX, { [name]: about.startedAt });
    } catch {
      // The store is away, which is told elsewhere.
    }
  }

  async leave(): Promise<void> {
    const { name } = this.#server;
    await this.#kv.remove(keyOf(name)).catch(() => 0);
    await this.#kv.hashRemove(INDEX, name).catch(() => 0);
  }
}

function keyOf(name: string): string {
  return `app:${ROLLING.agent(name)}`;
}
