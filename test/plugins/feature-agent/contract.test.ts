import { readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { expect } from 'chai';
import { haproxy } from '../../engines/haproxy.ts';
import { needs, type RedisProcess, redis, startRedis } from '../../engines/index.ts';
import {
  CHANGED,
  eventually,
  FORGET_MS,
  load,
  logged,
  type Node,
  STATS_PASSWORD,
  shown,
  until,
  type World,
  world,
} from '../fixtures/cluster.ts';

/** The usual template, with a line that no HAProxy knows. */
const BROKEN = readFileSync(path.resolve(import.meta.dirname, '../../../haproxy/haproxy.cfg.template'), 'utf8').replace(
  /^global$/m,
  'global\n    nonsense 1',
);

function needsHAProxy(): void {
  before(async function () {
    if ((await haproxy()) === null) this.skip();
  });
}

describe('feature.agent', function () {
  this.timeout(90_000);
  needs(redis);
  needsHAProxy();
  let store: RedisProcess;
  before(async () => {
    store = await startRedis();
  });
  after(() => store?.close());

  describe('follows who is there', () => {
    let all: World;
    let agent: Node;
    beforeEach(async () => {
      await store.run('FLUSHALL');
      all = await world({ redis: store });
      agent = await all.agent();
    });
    afterEach(() => all.end());

    it('who announces itself is given calls, and who leaves no new ones', async () => {
      const one = await all.simulated('server1');
      await all.simulated('server 2: "quoted"');
      await eventually(agent, 'server 2: "quoted", server1');
      expect(await all.answers(8)).to.deep.equal(['server 2: "quoted"', 'server1']);
      await one.announce({ state: 'draining' });
      await eventually(agent, 'server 2: "quoted", server1 draining down');
      expect(await all.answers(8)).to.deep.equal(['server 2: "quoted"']);
      await one.announce({ state: 'ready' });
      await eventually(agent, 'server 2: "quoted", server1');
      const why = logged(agent, CHANGED).flatMap((line) => line['why'] as string[]);
      expect(why).to.include('server1 was online and is draining').and.include('server1 was draining and is online');
    });

    it('who dies gets nothing at once, and is forgotten when its lease has been over for a while', async () => {
      await all.simulated('server1');
      const two = await all.simulated('server2');
      await eventually(agent, 'server1, server2');
      const traffic = load(`${all.url}/who`);
      await until('both answer', () => traffic.servers.size === 2);
      await two.announce({}, 300);
      two.die();
      await eventually(agent, 'server1, server2 down');
      await eventually(agent, 'server1');
      expect((await traffic.stop()).failed).to.deep.equal([]);
    });

    it('who has another token is given no calls', async () => {
      await all.simulated('server1');
      await all.simulated('stranger', 'another token');
      await eventually(agent, 'server1');
      await until('it is told', () => agent.lines.some((line) => line.includes('without the token of this cluster')));
      expect(await shown(agent)).to.equal('server1');
      expect(await all.answers(6)).to.deep.equal(['server1']);
    });

    it('a store that lost everything empties nothing; who comes back stays, and who does not is forgotten', async () => {
      const one = await all.simulated('server1');
      await all.simulated('server2');
      await eventually(agent, 'server1, server2');
      const before = logged(agent, CHANGED).length;
      await store.run('FLUSHALL');
      await wait(FORGET_MS * 2);
      expect(await shown(agent)).to.equal('server1, server2');
      expect(logged(agent, CHANGED)).to.have.length(before);
      expect(await all.answers(8)).to.deep.equal(['server1', 'server2']);
      await one.announce();
      await eventually(agent, 'server1');
    });

    it('fifty servers are applied in one change, and each is given calls', async () => {
      const names = Array.from({ length: 50 }, (_, i) => `server${String(i).padStart(2, '0')}`);
      await all.simulated('server00', undefined, { longestMs: 5000 });
      await eventually(agent, 'server00');
      const before = logged(agent, CHANGED).length;
      await Promise.all(names.slice(1).map((name) => all.simulated(name)));
      await eventually(agent, names.join(', '), 40_000);
      expect(await all.answers(150)).to.deep.equal(names);
      // Those that announce themselves within one look are one change.
      expect(logged(agent, CHANGED).length - before).to.be.at.most(6);
      expect(
        logged(agent, CHANGED)
          .slice(before)
          .map(({ how }) => how),
      ).to.deep.equal(
        logged(agent, CHANGED)
          .slice(before)
          .map(() => 'runtime'),
      );
    });

    it('the timeout of the balancer is never shorter than the longest of a channel', async () => {
      const one = await all.simulated('server1');
      await eventually(agent, 'server1');
      const source = async () => ((await agent.good('gantry.balancer.source')) as { text: string }).text;
      expect(await source()).to.include('timeout server 60000ms');
      await one.announce({ longestMs: 90_000 });
      await until('it is 91 s', async () => (await source()).includes('timeout server 91000ms'));
    });
  });

  describe('follows the records', () => {
    let all: World;
    let agent: Node;
    let server1: Node;
    before(async () => {
      await store.run('FLUSHALL');
      all = await world({ redis: store });
      agent = await all.agent();
      server1 = await all.server('server1');
      await all.server('server2');
      await eventually(agent, 'server1, server2');
    });
    after(() => all.end());

    it('drain, offline, online and weight of an operator, without a failed call', async () => {
      const traffic = load(`${all.url}/who?ms=20`);
      await until('both answer', () => traffic.servers.size === 2);
      expect(await server1.good('gantry.server.drain', { name: 'server2' })).to.include({
        state: 'draining',
        weight: 100,
      });
      await eventually(agent, 'server1, server2 draining down');
      expect(await all.answers(6)).to.deep.equal(['server1']);
      await agent.good('gantry.server.offline', { name: 'server2' });
      await eventually(agent, 'server1, server2 offline down');
      await agent.good('gantry.server.weight', { name: 'server2', weight: 50 });
      await agent.good('gantry.server.online', { name: 'server2' });
      await eventually(agent, 'server1, server2 50');
      traffic.servers.clear();
      await until('both answer', () => traffic.servers.size === 2);
      expect((await traffic.stop()).failed).to.deep.equal([]);
      await agent.good('gantry.server.weight', { name: 'server2', weight: 100 });
      await eventually(agent, 'server1, server2');
    });

    it('settings that the program does not take are told, and the last good ones stay; servers are followed on', async () => {
      await server1.good('gantry.balancer.create', { name: 'main', template: BROKEN });
      const refused = await until('it is refused', async () => {
        const { refused: told } = await agent.good('gantry.balancer.status');
        return told as { message: string; problems: { message: string }[] } | null;
      });
      expect(JSON.stringify(refused)).to.include('nonsense');
      await server1.good('gantry.server.drain', { name: 'server2' });
      await eventually(agent, 'server1, server2 draining down');
      expect(await all.answers(4)).to.deep.equal(['server1']);
      const { agents } = await server1.good('gantry.cluster.status');
      await until('the servers know', async () => {
        return ((await server1.good('gantry.cluster.status')) as { agents: { problem: string | null }[] }).agents[0]
          ?.problem;
      });
      expect(agents[0].name).to.equal('agent1');
      const told = 'the program does not take these settings; it goes on with the last good ones';
      expect(logged(agent, told)).to.have.length(1);
      await server1.good('gantry.balancer.update', {
        name: 'main',
        version: 1,
        changes: { template: null, retries: 5 },
      });
      await until('it is mended', async () => {
        const status = await agent.good('gantry.balancer.status');
        return status.refused === null && status.settings === 2;
      });
      await server1.good('gantry.server.online', { name: 'server2' });
      await eventually(agent, 'server1, server2');
      await server1.good('gantry.balancer.remove', { name: 'main' });
    });

    it('settings are checked by the program before they are kept, and go back to what they were', async () => {
      const source = async () => ((await agent.good('gantry.balancer.source')) as { text: string }).text;
      const retried = (times: number) =>
        until(`retries ${times}`, async () => (await source()).includes(`retries ${times}\n`));
      expect(await agent.good('gantry.balancer.check', { settings: { retries: 4 } })).to.deep.equal({ problems: [] });
      const { problems } = await agent.good('gantry.balancer.check', { template: BROKEN });
      expect(JSON.stringify(problems)).to.include('nonsense');
      const refused = await agent.ask('gantry.balancer.apply', { template: BROKEN });
      expect([refused.status, refused.body.code]).to.deep.equal([400, 'BALANCER_REFUSED']);
      const wrong = await agent.ask('gantry.balancer.apply', { settings: { retries: 'many' } });
      expect([wrong.status, wrong.body.errors[0].path]).to.deep.equal([400, '/settings/retries']);
      expect((await agent.ask('gantry.balancer.apply', {})).status).to.equal(400);

      const first = await agent.good('gantry.balancer.apply', { settings: { retries: 7, algorithm: 'leastconn' } });
      await retried(7);
      expect(await source()).to.include('balance leastconn');
      const second = await agent.good('gantry.balancer.apply', { settings: { retries: 9 }, version: first.version });
      await retried(9);
      expect(await source()).to.include('balance roundrobin');
      const stale = await agent.ask('gantry.balancer.apply', { settings: { retries: 1 }, version: first.version });
      expect([stale.status, stale.body.code]).to.deep.equal([409, 'RECORD_STALE']);

      const { items } = await agent.good('gantry.balancer.history', { limit: 2 });
      expect(items.map((one: { revision: number }) => one.revision)).to.deep.equal([second.revision, first.revision]);
      await agent.good('gantry.balancer.rollback', { revision: first.revision });
      await retried(7);
      expect((await agent.ask('gantry.balancer.rollback', { revision: 1 })).status).to.equal(404);
      expect((await agent.good('gantry.balancer.get', { name: 'main' })).definition).to.deep.equal({
        ...{ name: 'main', retries: 7, algorithm: 'leastconn' },
      });
    });

    it('no reply and no line of the log has the password of the page; it stays where it is given back hidden', async () => {
      const page = `http://127.0.0.1:${all.statsPort}/`;
      const open = async (password: string) => {
        const authorization = `Basic ${Buffer.from(`admin:${password}`).toString('base64')}`;
        return (await fetch(page, { headers: { authorization } })).status;
      };
      expect(await open(STATS_PASSWORD)).to.equal(200);
      const other = 'another-hidden-password';
      await agent.good('gantry.balancer.apply', { settings: { stats: { port: all.statsPort, password: other } } });
      await until('it is the new one', async () => (await open(other)) === 200);
      const { definition } = await agent.good('gantry.balancer.get', { name: 'main' });
      expect(definition.stats.password).to.equal('***');
      const { name: _, ...settings } = definition;
      expect(await agent.good('gantry.balancer.check', { settings })).to.deep.equal({ problems: [] });
      await agent.good('gantry.balancer.apply', { settings: { ...settings, retries: 2 } });
      await until('retries 2', async () => (await agent.good('gantry.balancer.source')).text.includes('retries 2\n'));
      expect(await open(other)).to.equal(200);
      const replies = [
        await agent.good('gantry.balancer.source'),
        await agent.good('gantry.balancer.history'),
        await agent.good('gantry.balancer.status'),
        await agent.good('gantry.balancer.show', { what: 'info' }),
      ];
      for (const secret of [other, STATS_PASSWORD]) {
        expect(JSON.stringify(replies)).not.to.include(secret);
        expect(agent.lines.join('\n')).not.to.include(secret);
      }
    });

    it('commands: show, stop, start and reload', async () => {
      const { text } = await agent.good('gantry.balancer.show', { what: 'info' });
      expect(text).to.match(/^Name: HAProxy$/m);
      expect((await agent.ask('gantry.balancer.show', { what: 'everything' })).status).to.equal(400);
      expect(await agent.good('gantry.balancer.stop')).to.deep.equal({ running: false, halted: true });
      await agent.good('gantry.server.weight', { name: 'server2', weight: 90 });
      await wait(500);
      expect(await all.answers(1)).to.deep.equal([null]);
      expect(await agent.good('gantry.balancer.start')).to.deep.equal({ running: true, halted: false });
      await eventually(agent, 'server1, server2 90');
      const traffic = load(`${all.url}/who`);
      expect((await agent.good('gantry.balancer.reload')).running).to.equal(true);
      await until('both answer', () => traffic.servers.size === 2);
      expect((await traffic.stop()).failed).to.deep.equal([]);
    });

    it('Redis away for longer than every lease: nothing changes, and no call fails', async () => {
      await eventually(agent, 'server1, server2 90');
      const before = logged(agent, CHANGED).length;
      const traffic = load(`${all.url}/who`);
      await store.stop();
      try {
        await until('the agent tells', async () => (await agent.good('gantry.balancer.status')).store !== null);
        await wait(6000);
        expect(await shown(agent)).to.equal('server1, server2 90');
        const { servers, problem } = await agent.good('gantry.cluster.status');
        expect([servers, typeof problem]).to.deep.equal([[], 'string']);
      } finally {
        await store.start();
      }
      await until('the agent hears again', async () => {
        const { status, body } = await agent.ask('gantry.cluster.status');
        return status === 200 && body.servers.length === 2;
      });
      await wait(FORGET_MS * 2);
      expect(await shown(agent)).to.equal('server1, server2 90');
      expect(logged(agent, CHANGED)).to.have.length(before);
      expect((await traffic.stop()).failed).to.deep.equal([]);
    });

    it('a server that ends in order is drained first: no call fails', async () => {
      const traffic = load(`${all.url}/who?ms=30`);
      await until('both answer', () => traffic.servers.size === 2);
      await server1.stop();
      await eventually(agent, 'server2 90');
      const { failed } = await traffic.stop();
      expect(failed).to.deep.equal([]);
    });
  });
});
