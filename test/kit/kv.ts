/** The contract kit of the kv port: every promise of core/ports/kv.ts. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import type { Plugin } from '../../core/cradle.ts';
import { Logs } from '../../core/log/log.ts';
import type { Kv } from '../../core/ports/kv.ts';
import { Process } from '../../core/process.ts';
import { testKeys } from './kv-keys.ts';
import { testLocks } from './kv-locks.ts';
import { testTexts } from './kv-texts.ts';
import type { KvWorld } from './kv-world.ts';

export interface KvKit {
  readonly plugin: Plugin;
  /** Of each server; those of one kit have one store. Called once the tests run. */
  readonly config?: () => Readonly<Record<string, unknown>>;
  /** Whether servers see each other's keys. A store that does not have it is for a single server. */
  readonly shared: boolean;
  /** How long a wait for a limit to pass may take. Default: 10,000. */
  readonly withinMs?: number;
}

export function testKv({ plugin, config = () => ({}), shared, withinMs = 10_000 }: KvKit): void {
  const kernels: Process[] = [];
  let kv: Kv;
  let other: Kv;
  let last = 0;
  const run = randomUUID().slice(0, 8);

  /** One that no other test, and no other run, uses. */
  const fresh = () => `kit ${run} ${++last}`;
  const serve = async (): Promise<Kv> => {
    const kernel = new Process({ logs: new Logs({ level: 'silent' }), graceMs: 1000 });
    kernel.create([{ id: plugin.id, plugin, config: structuredClone(config()) }]);
    kernels.push(kernel);
    await kernel.start();
    return kernel.cradle.kv;
  };
  const until = async (holds: () => Promise<boolean>) => {
    for (const end = Date.now() + withinMs; !(await holds()); await sleep(20)) {
      if (Date.now() > end) throw new Error(`It did not come about in ${withinMs} ms`);
    }
  };
  const refused = async (doing: Promise<unknown>, code: string) => {
    const error = await doing.then(
      (value) => new Error(`It gave ${JSON.stringify(value)}`),
      (thrown: unknown) => thrown,
    );
    expect(error, String(error)).to.have.property('code', code);
  };

  before(async () => {
    kv = await serve();
    other = shared ? await serve() : kv;
  });
  after(() => Promise.all(kernels.splice(0).map((kernel) => kernel.stop())));

  const world: KvWorld = {
    get kv() {
      return kv;
    },
    get other() {
      return other;
    },
    fresh,
    until,
    refused,
  };
  testTexts(world);
  testKeys(world);
  testLocks(world);

  it('has no problem while it answers', async () => {
    expect(kv.problem).to.equal(null);
  });

  it('lets every server read at once what another one wrote', async function () {
    if (!shared) {
      console.log(`      ${plugin.id} is for this process only`);
      return this.skip();
    }
    const third = await serve();
    for (let i = 0; i < 20; i++) {
      const key = fresh();
      const [from, to] = i % 2 ? [kv, third] : [third, other];
      await from.set(key, 'a');
      expect(await to.get(key)).to.equal('a');
      await to.hashSet(`${key} hash`, { a: '1' });
      expect(await from.hashAll(`${key} hash`)).to.deep.equal({ a: '1' });
      await to.remove(key);
      expect(await from.get(key)).to.equal(null);
    }
    expect((await third.list(`kit ${run}`)).keys.length).to.be.greaterThan(10);
  });

  it('can be stopped without having been started', async () => {
    const kernel = new Process({ logs: new Logs({ level: 'silent' }), graceMs: 1000 });
    kernel.create([{ id: plugin.id, plugin, config: structuredClone(config()) }]);
    await kernel.stop();
  });
}
