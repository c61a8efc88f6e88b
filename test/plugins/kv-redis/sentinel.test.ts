import { expect } from 'chai';
import type { Plugin } from '../../../core/cradle.ts';
import plugin from '../../../plugins/kv-redis/index.ts';
import { freePort } from '../../engines/engine.ts';
import { needs, type RedisProcess, redis } from '../../engines/index.ts';
import { counting, eventually, unavailable, worlds } from '../../engines/redis-outage.ts';

const PASSWORD = 'of-the-servers';
const SENTINEL_PASSWORD = 'of-the-sentinels';

describe('kv.redis behind sentinels', function () {
  this.timeout(120_000);
  needs(redis);
  const { serve, processes } = worlds(plugin as unknown as Plugin);
  let master: RedisProcess;
  let replica: RedisProcess;
  let sentinel: RedisProcess;
  const config = (more: object = {}) => ({
    sentinels: [{ host: sentinel.host, port: sentinel.port }],
    master: 'gantry-master',
    password: PASSWORD,
    sentinelPassword: SENTINEL_PASSWORD,
    ...more,
  });
  const infoOf = async (one: RedisProcess) => String(await one.run('INFO', 'replication'));

  beforeEach(async () => {
    const access = [`requirepass ${PASSWORD}`, `masterauth ${PASSWORD}`, 'repl-diskless-sync-delay 0'];
    master = await processes({ password: PASSWORD, lines: () => access });
    const { host, port } = master;
    replica = await processes({ password: PASSWORD, lines: () => [...access, `replicaof ${host} ${port}`] });
    await eventually(async () => /master_link_status:up/.test(await infoOf(replica)));
    sentinel = await processes({
      sentinel: true,
      password: SENTINEL_PASSWORD,
      lines: () => [
        `requirepass ${SENTINEL_PASSWORD}`,
        `sentinel monitor gantry-master ${host} ${port} 1`,
        `sentinel auth-pass gantry-master ${PASSWORD}`,
        'sentinel down-after-milliseconds gantry-master 1000',
        'sentinel failover-timeout gantry-master 5000',
      ],
    });
    // Without having seen the replica it would have none to choose. It asks the master for them every 10 s.
    await eventually(
      async () => ((await sentinel.run('SENTINEL', 'REPLICAS', 'gantry-master')) as unknown[]).length === 1,
    );
  });

  it('uses the master, found by any of them', async () => {
    const { host } = sentinel;
    const { kv } = await serve(
      config({
        sentinels: [
          { host, port: await freePort() },
          { host, port: sentinel.port },
        ],
      }),
    );
    expect(kv.problem).to.equal(null);
    await kv.set('a', '1');
    expect(await master.run('GET', 'gantry:k:a')).to.equal('1');
  });

  it('says what is wrong with the passwords, the name and the sentinels', async () => {
    const hint = async (more: object) => (await serve(config(more))).kv.problem?.hint;
    expect(await hint({ sentinelPassword: 'wrong' })).to.match(/mend sentinelUsername and sentinelPassword/);
    expect(await hint({ password: 'wrong' })).to.match(/WRONGPASS.*mend username and password/);
    expect(await hint({ master: 'another' })).to.match(/mend sentinels and master/);
    expect(await hint({ sentinels: [{ host: '127.0.0.1', port: await freePort() }] })).to.match(/Start the sentinels/);
  });

  it('follows to the new master where the old one is killed', async () => {
    const { kv, lines } = await serve(config());
    let began = 0;
    await counting(
      kv,
      async (enough) => {
        await enough();
        began = performance.now();
        await master.kill();
        await enough();
        console.log(
          `      fail-over: writing again ${Math.round(performance.now() - began)} ms after the kill (of which 1000 ms until the sentinel believes it)`,
        );
      },
      { mayLose: true },
    );
    expect(kv.problem).to.equal(null);
    await kv.set('a', 'new');
    expect(await replica.run('GET', 'gantry:k:a')).to.equal('new');
    // Nobody writes to the old one when it comes back, though it still takes itself for the master.
    await master.start();
    for (let i = 0; i < 50; i++) await kv.increment('after');
    expect(await replica.run('GET', 'gantry:k:after')).to.equal('50');
    const levels = lines().map(({ level }) => level);
    expect(levels).to.deep.equal(levels.map((_, i) => (i % 2 ? 'info' : 'warn')));
  });

  it('follows to the new master where the old one hangs, and does not go back when it wakes up', async () => {
    const { kv } = await serve(config({ commandTimeoutMs: 200 }));
    await kv.set('a', 'old');
    const fence = (await kv.acquire('lock', 1)) as number;
    const began = performance.now();
    master.freeze();
    await eventually(async () => await kv.set('a', 'new').catch(() => false));
    console.log(`      fail-over: writing again ${Math.round(performance.now() - began)} ms after the freeze`);
    expect(await kv.acquire('lock', 60_000)).to.be.greaterThan(fence);
    master.thaw();
    for (let i = 0; i < 50; i++) await kv.increment('after');
    expect(await replica.run('GET', 'gantry:k:after')).to.equal('50');
  });

  it('looks for the master anew where the one that it has became a replica', async () => {
    const { kv } = await serve(config());
    await kv.set('a', '1');
    // As after a fail-over, but that nobody closes the connection.
    const { host, port } = replica;
    await replica.run('REPLICAOF', 'NO', 'ONE');
    await master.run('REPLICAOF', host, port);
    await sentinel.run('SENTINEL', 'REMOVE', 'gantry-master');
    await sentinel.run('SENTINEL', 'MONITOR', 'gantry-master', host, port, 1);
    expect((await unavailable(kv.set('a', '2'))).hint).to.include('READONLY');
    await eventually(
      async () => (await kv.set('a', '2').catch(() => false)) && (await replica.run('GET', 'gantry:k:a')) === '2',
    );
    expect(kv.problem).to.equal(null);
  });

  it('on a replica, given as a single server, says what is wrong', async () => {
    const { kv } = await serve({ port: replica.port, password: PASSWORD });
    expect(await kv.get('a')).to.equal(null);
    expect((await unavailable(kv.set('a', '1'))).hint).to.match(/READONLY.*replica/);
  });
});
