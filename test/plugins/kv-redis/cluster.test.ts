import { expect } from 'chai';
import type { Plugin } from '../../../core/cradle.ts';
import plugin from '../../../plugins/kv-redis/index.ts';
import { freePort } from '../../engines/engine.ts';
import { needs, type RedisProcess, redis, startRedis } from '../../engines/index.ts';
import { counting, eventually, unavailable, worlds } from '../../engines/redis-outage.ts';
import { testKv } from '../../kit/kv.ts';

/** Each has a third of the 16,384 slots. */
const SLOTS = [
  [0, 5460],
  [5461, 10_922],
  [10_923, 16_383],
] as const;
const PASSWORD = 'of-the-cluster';

describe('kv.redis on a cluster', function () {
  this.timeout(60_000);
  needs(redis);
  let nodes: RedisProcess[] = [];
  const at = (i: number) => nodes[i] as RedisProcess;
  const config = () => ({ cluster: nodes.map(({ host, port }) => ({ host, port })), password: PASSWORD });

  before(async () => {
    nodes = await Promise.all(
      SLOTS.map(async () => {
        // Its own port for the other nodes, since the one that it would take itself may be beyond 65,535.
        const busPort = await freePort();
        return startRedis({
          password: PASSWORD,
          lines: () => [
            'cluster-enabled yes',
            'cluster-config-file nodes.conf',
            'cluster-node-timeout 1000',
            'cluster-require-full-coverage no',
            `cluster-port ${busPort}`,
            `requirepass ${PASSWORD}`,
            `masterauth ${PASSWORD}`,
          ],
        }).then((node) => Object.assign(node, { busPort }));
      }),
    );
    await Promise.all(nodes.map((node, i) => node.run('CLUSTER', 'ADDSLOTSRANGE', ...(SLOTS[i] ?? []))));
    for (const node of nodes.slice(1)) {
      const { host, port, busPort } = node as RedisProcess & { busPort: number };
      await at(0).run('CLUSTER', 'MEET', host, port, busPort);
    }
    await eventually(async () => {
      const told = await Promise.all(nodes.map((node) => node.run('CLUSTER', 'INFO')));
      return told.every((info) => /cluster_state:ok[\s\S]*cluster_known_nodes:3/.test(String(info)));
    });
  });
  after(() => Promise.all(nodes.map((node) => node.close())));

  describe('contract', () => testKv({ plugin: plugin as unknown as Plugin, config, shared: true }));

  const { serve } = worlds(plugin as unknown as Plugin, config);
  /** Keys that the i-th node has. */
  const keysOf = async (i: number, count: number) => {
    const [from, to] = SLOTS[i] as readonly [number, number];
    const found: string[] = [];
    for (let n = 0; found.length < count; n++) {
      const slot = Number(await at(0).run('CLUSTER', 'KEYSLOT', `gantry:k:key ${n}`));
      if (slot >= from && slot <= to) found.push(`key ${n}`);
    }
    return found;
  };

  it('uses all of its masters, found by one of them', async () => {
    const { host, port } = at(1);
    const { kv } = await serve({ ...config(), cluster: [{ host, port }], prefix: 'spread:' });
    await Promise.all(Array.from({ length: 100 }, (_, i) => kv.set(`key ${i}`, '1')));
    for (const node of nodes)
      expect(await node.run('KEYS', 'spread:*'))
        .to.have.property('length')
        .that.is.above(10);
    expect((await kv.list('')).keys).to.have.lengthOf(100);
  });

  it('finds it though the first address is dead', async () => {
    const { host, port } = at(2);
    const { kv } = await serve({
      ...config(),
      cluster: [
        { host, port: await freePort() },
        { host, port },
      ],
    });
    await eventually(() => kv.problem === null);
    expect(await kv.set('a', '1')).to.equal(true);
  });

  it('says what is wrong where it is given as a single server, and the other way round', async () => {
    const { host, port } = at(0);
    const single = await serve({ host, port, password: PASSWORD });
    const [elsewhere = ''] = await keysOf(1, 1);
    expect((await unavailable(single.kv.get(elsewhere))).hint).to.match(/MOVED.*give its address as cluster/);
    const own = await startRedis();
    try {
      const { kv } = await serve({ cluster: [{ host, port: own.port }] });
      expect(kv.problem?.hint).to.match(/cluster support disabled.*give its address as host and port/);
    } finally {
      await own.close();
    }
  });

  it('says what is wrong with the password', async () => {
    const { kv } = await serve({ ...config(), password: 'wrong-secret' });
    expect(kv.problem?.hint).to.match(/WRONGPASS.*mend username and password/);
  });

  it('without one of its masters has the keys of the others, and says which one is away', async () => {
    const { kv, lines } = await serve();
    const [[lost = ''], [kept = '']] = [await keysOf(2, 1), await keysOf(0, 1)];
    await kv.set(kept, 'kept');
    await kv.set(lost, 'lost');
    await at(2).stop();
    try {
      await eventually(() => kv.problem !== null);
      expect(kv.problem?.hint).to.include(String(at(2).port));
      for (let i = 0; i < 20; i++) await unavailable(kv.get(lost));
      await eventually(async () => (await kv.get(kept).catch(() => null)) === 'kept');
      await unavailable(kv.list(''));
      await unavailable(kv.getMany([kept, lost]));
    } finally {
      await at(2).start();
    }
    await eventually(() => kv.problem === null);
    await eventually(async () => (await kv.get(lost).catch(() => null)) === 'lost');
    expect(lines().map(({ level }) => level)).to.deep.equal(['warn', 'info']);
  });

  it('with a master that hangs has the keys of the others, and each command ends', async () => {
    const { kv, lines } = await serve({ ...config(), commandTimeoutMs: 200 });
    const [[lost = ''], [kept = '']] = [await keysOf(2, 1), await keysOf(0, 1)];
    await kv.set(kept, 'kept');
    await kv.set(lost, 'lost');
    at(2).freeze();
    try {
      await eventually(() => kv.problem !== null);
      expect(kv.problem?.hint).to.include(String(at(2).port));
      for (let i = 0; i < 10; i++) {
        await unavailable(kv.get(lost));
        expect(await kv.get(kept)).to.equal('kept');
      }
      await Promise.all(Array.from({ length: 10 }, () => unavailable(kv.get(lost))));
      expect(await kv.get(kept)).to.equal('kept');
    } finally {
      at(2).thaw();
    }
    await eventually(() => kv.problem === null);
    await eventually(async () => (await kv.get(lost).catch(() => null)) === 'lost');
    expect(lines().map(({ level }) => level)).to.deep.equal(['warn', 'info']);
  });

  it('without any of its masters fails at once, and mends itself', async () => {
    const { kv, lines } = await serve();
    await kv.set('a', '1');
    await Promise.all(nodes.map((node) => node.stop()));
    await eventually(() => lines().length === 1);
    const began = performance.now();
    for (let i = 0; i < 100; i++) await unavailable(kv.get('a'));
    // With the limit of each, they would take 50 s.
    expect(performance.now() - began, 'ms for 100 of them').to.be.below(5000);
    await Promise.all(nodes.map((node) => node.start()));
    await eventually(() => kv.problem === null);
    await eventually(async () => (await kv.get('a').catch(() => null)) === '1');
  });

  it('does nothing twice and loses nothing that it answered, though a master is killed again and again', async () => {
    const { kv } = await serve({ ...config(), prefix: 'killed:' });
    const slot = Number(await at(0).run('CLUSTER', 'KEYSLOT', 'killed:k:counts'));
    const node = at(SLOTS.findIndex(([, to]) => slot <= to));
    await counting(kv, async (enough) => {
      for (let i = 0; i < 3; i++) {
        await enough();
        await node.kill();
        await node.start();
      }
      await enough();
    });
  });

  it('counts on while a slot moves to another master', async () => {
    const { kv } = await serve({ ...config(), prefix: 'moved:' });
    const slot = Number(await at(0).run('CLUSTER', 'KEYSLOT', 'moved:k:count'));
    const home = SLOTS.findIndex(([, to]) => slot <= to);
    const [from, to] = [at(home), at((home + 1) % 3)];
    const [fromId, toId] = [await from.run('CLUSTER', 'MYID'), await to.run('CLUSTER', 'MYID')] as string[];
    let counts = true;
    let count = 0;
    const counter = (async () => {
      while (counts) {
        await kv.increment('count');
        count++;
      }
    })();
    const move = async (a: RedisProcess, b: RedisProcess, aId = '', bId = '') => {
      await b.run('CLUSTER', 'SETSLOT', slot, 'IMPORTING', aId);
      await a.run('CLUSTER', 'SETSLOT', slot, 'MIGRATING', bId);
      const keys = (await a.run('CLUSTER', 'GETKEYSINSLOT', slot, 1000)) as string[];
      const sent = keys.length === 0 ? [] : ['MIGRATE', b.host, b.port, '', 0, 5000, 'AUTH', PASSWORD, 'KEYS', ...keys];
      if (sent.length > 0) await a.run(...sent);
      await b.run('CLUSTER', 'SETSLOT', slot, 'NODE', bId);
      await a.run('CLUSTER', 'SETSLOT', slot, 'NODE', bId);
      // They tell each other; before that the next move may ask one that has not heard of this one.
      for (const node of [at(0), at(1), at(2)]) await eventually(async () => (await ownerOf(node)) === bId);
    };
    const ownerOf = async (node: RedisProcess) => {
      const ranges = (await node.run('CLUSTER', 'SLOTS')) as [number, number, [string, number, string]][];
      return ranges.find(([first, last]) => first <= slot && slot <= last)?.[2][2];
    };
    try {
      for (let i = 0; i < 3; i++) {
        const before = count;
        await eventually(() => count > before + 50);
        await move(from, to, fromId, toId);
        await move(to, from, toId, fromId);
      }
    } finally {
      counts = false;
    }
    await counter;
    expect(await kv.get('count')).to.equal(String(count));
  });
});
