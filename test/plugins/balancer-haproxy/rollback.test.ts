/** Going back to settings that had a secret. */
import { expect } from 'chai';
import { haproxy } from '../../engines/haproxy.ts';
import { needs, type RedisProcess, redis, startRedis } from '../../engines/index.ts';
import { type Node, type World, world } from '../fixtures/cluster.ts';

describe('balancer.haproxy, rollback of a password', function () {
  this.timeout(60_000);
  needs(redis);
  needs(haproxy);
  let store: RedisProcess;
  let all: World;
  let agent: Node;
  before(async () => {
    store = await startRedis();
    all = await world({ redis: store });
    agent = await all.agent();
  });
  after(async () => {
    await all?.end();
    await store?.close();
  });

  it('stays as it is where there is one; else it says what to do, and that works', async () => {
    const password = 'password-of-the-first';
    const stats = { port: all.statsPort, password };
    const first = await agent.good('gantry.balancer.apply', { settings: { retries: 4, stats } });
    await agent.good('gantry.balancer.apply', { settings: { retries: 5, stats: { ...stats, password: '***' } } });
    await agent.good('gantry.balancer.rollback', { revision: first.revision });
    const without = await agent.good('gantry.balancer.apply', { settings: { retries: 6 } });

    const { status, body } = await agent.ask('gantry.balancer.rollback', { revision: first.revision });
    expect([status, body.code]).to.deep.equal([400, 'BALANCER_REFUSED']);
    expect(body.detail).to.equal(`Revision ${first.revision} has a secret that cannot be had back`);
    const [problem] = body.errors;
    expect(problem.path).to.equal('/stats/password');
    expect(problem.hint).to.include(`revision ${first.revision} `).and.include('gantry balancer apply -f FILE');
    const present = async () => agent.good('gantry.balancer.get', { name: 'main' });
    expect((await present()).version).to.equal(without.version);

    const { items } = await agent.good('gantry.balancer.history');
    const earlier = items.find(({ revision }: { revision: number }) => revision === first.revision).settings;
    expect(earlier.stats.password).to.equal('***');
    const { name: _, ...settings } = earlier;
    await agent.good('gantry.balancer.apply', { settings: { ...settings, stats } });
    expect((await present()).definition).to.deep.include({ retries: 4 });
  });
});
