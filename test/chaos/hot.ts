import { until } from './condition.ts';
import type { World } from './world.ts';

interface Saved {
  readonly version: number;
  readonly revision: number;
}

/** A service that is deployed while everything runs; it answers with its version. */
export class HotModule {
  readonly #world: World;
  readonly #name: string;
  readonly #path: string;
  /** Of the record; null before it is there. */
  #record: number | null = null;
  /** The last that was acknowledged. */
  version = 0;

  /** `n` tells several of them apart; the load calls the one without. */
  constructor(world: World, n = '') {
    this.#world = world;
    this.#name = `chaos.hot${n}`;
    this.#path = `/chaos/hot${n}`;
  }

  /** The first version, at its address, on every server. */
  async begin(): Promise<void> {
    const { admin } = this.#world;
    await this.deploy();
    const channel = { name: this.#name, transport: 'rest', service: this.#name };
    await admin.call('channel.create', { ...channel, address: { method: 'GET', path: this.#path } });
    for (const { name, url } of this.#world.servers) {
      await until(`${name} has the module`, async () => (await versionAt(url, this.#path)) === '1');
    }
  }

  /** One version more, by one of the servers. Gives the revision of the change. */
  async deploy(admin = this.#world.admin): Promise<number> {
    const next = this.version + 1;
    const name = this.#name;
    const source = sourceOf(name, next);
    const saved =
      this.#record === null
        ? await admin.call<Saved>('module.create', { name, language: 'typescript', source })
        : await admin.call<Saved>('module.update', { name, version: this.#record, changes: { source } });
    this.#record = saved.version;
    this.version = next;
    return saved.revision;
  }

  async remove(): Promise<void> {
    const { admin } = this.#world;
    await admin.call('channel.remove', { name: this.#name });
    await admin.call('module.remove', { name: this.#name });
  }
}

/** Asked for without the balancer. */
export async function versionAt(url: string, path = '/chaos/hot'): Promise<string> {
  const response = await fetch(`${url}${path}`, { signal: AbortSignal.timeout(60_000) });
  const { version = `status ${response.status}` } = (await response.json()) as { version?: string };
  return version;
}

function sourceOf(name: string, version: number): string {
  return `import { defineService, Type } from 'gantry/api';
export default defineService({
  name: '${name}',
  input: Type.Object({ slowMs: Type.Optional(Type.Integer()) }),
  output: Type.Object({ server: Type.String(), version: Type.String() }),
  create: ({ server }) => () => ({ server: server.name, version: '${version}' }),
});
`;
}
