import { until } from './condition.ts';
import type { World } from './world.ts';

const MODULE = 'chaos.hot';

interface Saved {
  readonly version: number;
  readonly revision: number;
}

/** A service that is deployed while everything runs; it answers with its version. */
export class HotModule {
  readonly #world: World;
  /** Of the record; null before it is there. */
  #record: number | null = null;
  /** The last that was acknowledged. */
  version = 0;

  constructor(world: World) {
    this.#world = world;
  }

  /** The first version, at its address, on every server. */
  async begin(): Promise<void> {
    const { admin } = this.#world;
    await this.deploy();
    const channel = { name: 'chaos-hot', transport: 'rest', service: MODULE };
    await admin.call('channel.create', { ...channel, address: { method: 'GET', path: '/chaos/hot' } });
    for (const { name, url } of this.#world.servers) {
      await until(`${name} has the module`, async () => (await versionAt(url)) === '1');
    }
  }

  /** One version more, by one of the servers. Gives the revision of the change. */
  async deploy(admin = this.#world.admin): Promise<number> {
    const next = this.version + 1;
    const source = sourceOf(next);
    const saved =
      this.#record === null
        ? await admin.call<Saved>('module.create', { name: MODULE, language: 'typescript', source })
        : await admin.call<Saved>('module.update', { name: MODULE, version: this.#record, changes: { source } });
    this.#record = saved.version;
    this.version = next;
    return saved.revision;
  }

  async remove(): Promise<void> {
    const { admin } = this.#world;
    await admin.call('channel.remove', { name: 'chaos-hot' });
    await admin.call('module.remove', { name: MODULE });
  }
}

/** Asked for without the balancer. */
export async function versionAt(url: string): Promise<string> {
  const response = await fetch(`${url}/chaos/hot`, { signal: AbortSignal.timeout(60_000) });
  const { version = `status ${response.status}` } = (await response.json()) as { version?: string };
  return version;
}

function sourceOf(version: number): string {
  return `import { defineService, Type } from 'gantry/api';
export default defineService({
  name: '${MODULE}',
  input: Type.Object({ slowMs: Type.Optional(Type.Integer()) }),
  output: Type.Object({ server: Type.String(), version: Type.String() }),
  create: ({ server }) => () => ({ server: server.name, version: '${version}' }),
});
`;
}
