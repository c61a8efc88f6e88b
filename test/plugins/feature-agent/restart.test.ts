import { readFileSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { expect } from 'chai';
import type { Plugin } from '../../../core/cradle.ts';
import postgresDialect from '../../../plugins/dialect-postgres/index.ts';
import { haproxy } from '../../engines/haproxy.ts';
import { needs, ownPostgres, type RedisProcess, redis, startRedis } from '../../engines/index.ts';
import { eventually, FORGET_MS, load, type Node, shown, until, world } from '../fixtures/cluster.ts';

describe('feature.agent: started again', function () {
  this.timeout(90_000);
  needs(redis);
  before(async function () {
    if ((await haproxy()) === null) this.skip();
  });
  let store: RedisProcess;
  before(async () => {
    store = await startRedis();
  });
  after(() => store?.close());

  it('with nobody there: what it knew goes on', async () => {
    await store.run('FLUSHALL');
    const all = await world({ redis: store });
    try {
      const first = await all.agent({ stopWithUs: false });
      await all.simulated('server1');
      const two = await all.simulated('server2');
      await two.announce({ state: 'draining' });
      await eventually(first, 'server1, server2 draining down');
      await until('it answers', async () => String(await all.answers(2)) === 'server1');
      const traffic = load(`${all.url}/who`);
      await first.stop();
      await store.run('FLUSHALL');
      const second = await all.agent({ stopWithUs: false });
      expect(await shown(second)).to.equal('server1, server2 draining down');
      await wait(FORGET_MS * 2);
      expect(await shown(second)).to.equal('server1, server2 draining down');
      const { failed, servers } = await traffic.stop();
      expect([failed, [...servers.keys()]]).to.deep.equal([[], ['server1']]);
      await second.kernel.cradle.balancer.halt();
    } finally {
      await all.end();
    }
  });

  it('with an empty folder beside a balancer that serves: it takes nothing away that it does not know', async () => {
    await store.run('FLUSHALL');
    const all = await world({ redis: store });
    try {
      const first = await all.agent({ stopWithUs: false });
      await all.simulated('server1');
      await eventually(first, 'server1');
      await first.stop();
      const file = path.join(all.folder, 'agent1/agent-state.json');
      expect(statSync(file).mode & 0o777).to.equal(0o600);
      expect(JSON.parse(readFileSync(file, 'utf8')).servers[0].name).to.equal('server1');
      rmSync(file);
      await store.run('FLUSHALL');
      const second = await all.agent({ stopWithUs: true });
      await wait(FORGET_MS / 2);
      expect(await shown(second)).to.equal('server1');
      expect(await all.answers(2)).to.deep.equal(['server1']);
    } finally {
      await all.end();
    }
  });

  describe('with Redis and the database away', () => {
    const engine = needs(ownPostgres);
    it('goes on with the last known state, and follows when they are back', async () => {
      await store.run('FLUSHALL');
      const { host, port, user, password } = engine();
      const database = await engine().database();
      const dialect = {
        id: 'dialect.postgres',
        plugin: postgresDialect as unknown as Plugin,
        config: { host, port, user, password, database },
      };
      const all = await world({ redis: store, dialect });
      try {
        const first = await all.agent({ stopWithUs: false });
        await all.server('server1');
        await all.server('server2');
        await eventually(first, 'server1, server2');
        await first.good('gantry.balancer.apply', { settings: { retries: 6 } });
        await first.good('gantry.server.weight', { name: 'server2', weight: 10 });
        await eventually(first, 'server1, server2 10');
        await first.stop();
        await store.stop();
        await engine().stop();
        let second: Node;
        try {
          second = await all.agent({ stopWithUs: true });
          await until('it is told', async () => {
            const { store: away, database: gone } = await second.good('gantry.balancer.status');
            return away !== null && gone !== null;
          });
          const { applied } = await second.good('gantry.balancer.status');
          expect(applied, 'what it knew of last time').to.include({ how: 'none' });
          expect(await shown(second)).to.equal('server1, server2 10');
          expect((await second.good('gantry.balancer.source')).text).to.include('retries 6\n');
          expect(await all.answers(4)).not.to.include(null);
          const refused = await second.ask('gantry.balancer.apply', { settings: { retries: 5 } });
          expect([refused.status, refused.body.code]).to.deep.equal([503, 'ODB_UNAVAILABLE']);
        } finally {
          await engine().start();
          await store.start();
        }
        const change = async () => (await second.ask('gantry.server.weight', { name: 'server2', weight: 20 })).status;
        await until('changes are taken', async () => (await change()) === 200);
        await eventually(second, 'server1, server2 20');
      } finally {
        await all.end();
      }
    });
  });
});
