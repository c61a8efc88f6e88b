/** The services of the admin API that are about all servers, on servers that share a real Redis. */
import { expect } from 'chai';
import { haproxy } from '../../engines/haproxy.ts';
import { needs, type RedisProcess, redis, startRedis } from '../../engines/index.ts';
import { type Node, until, type World, world } from '../../plugins/fixtures/cluster.ts';
import { adminServer } from './server.ts';

describe('services/admin: cluster', function () {
  this.timeout(60_000);
  needs(redis);
  before(async function () {
    if ((await haproxy()) === null) this.skip();
  });
  let store: RedisProcess;
  let all: World;
  let one: Node;
  let two: Node;
  let restarted: string[];
  before(async () => {
    store = await startRedis();
    all = await world({ redis: store });
    restarted = [];
    one = await all.server('server1', () => void restarted.push('server1'));
    two = await all.server('server2', () => void restarted.push('server2'));
    await until('both are there', async () => (await names()).length === 2);
  });
  after(async () => {
    await all?.end();
    await store?.close();
  });

  const status = () => one.good('gantry.cluster.status');
  const names = async () => ((await status()) as { servers: { name: string }[] }).servers.map(({ name }) => name);
  const code = async (service: string, input: object = {}) => {
    const { status: told, body } = await one.ask(service, input);
    return `${told} ${body.code ?? body.state}`;
  };
  /** As an agent says that it is there. */
  const agentIsThere = async () => {
    const about = { name: 'agent9', version: '1', startedAt: new Date().toISOString(), problem: null };
    await all.client.set('gantry:k:app:gantry.agent:agent9', JSON.stringify(about), 'PX', 600_000);
    await all.client.hset('gantry:k:app:gantry.agents', { agent9: about.startedAt });
  };

  it('tells who is there, who is on record only, and how far each is', async () => {
    await one.good('gantry.server.create', {
      ...{ name: 'server3', urls: [], version: '1', startedAt: new Date().toISOString() },
    });
    const behind = await all.simulated('server4', undefined, { revision: 1 });
    const { body } = await until('all have the change', async () => {
      const asked = await one.ask('gantry.cluster.status');
      return asked.body.late.length === 1 ? asked : null;
    });
    expect(body).to.include({ self: 'server1' });
    expect(body.late).to.deep.equal([{ name: 'server4', revision: 1 }]);
    expect(body.absent).to.deep.equal(['server3']);
    expect(body.servers.map((server: { name: string }) => server.name)).to.deep.equal([
      'server1',
      'server2',
      'server4',
    ]);
    expect(body.servers[0]).to.deep.include({
      ...{ state: 'ready', wanted: 'online', weight: 100, behind: false, staleSince: null, refused: [], tls: false },
      ...{ version: '1.2.3', supervised: true, revision: body.revision, address: new URL(one.url).host },
    });
    expect(body.servers[2]).to.include({ wanted: null, weight: null, behind: true, revision: 1 });
    expect((await two.good('gantry.cluster.status')).self).to.equal('server2');
    behind.die();
    await all.client.del(behind.key);
    await one.good('gantry.server.remove', { name: 'server3' });
  });

  it('waits until every server runs with a change, and tells who does not', async () => {
    const { revision } = await one.good('gantry.setting.create', { name: 'a', value: 1 });
    const reached = { revision, reached: ['server1', 'server2'], late: [] };
    expect(await two.good('gantry.cluster.wait', { revision })).to.deep.equal(reached);
    expect(await one.good('gantry.cluster.wait')).to.deep.equal(reached);
    const never = await one.good('gantry.cluster.wait', { revision: revision + 5, timeoutMs: 100 });
    expect(never.reached).to.deep.equal([]);
    expect(never.late.map((late: { name: string }) => late.name)).to.deep.equal(['server1', 'server2']);
  });

  it('says what the balancer is to make of a server, whoever else changes its record', async () => {
    const changed = await one.good('gantry.server.drain', { name: 'server2' });
    expect(changed).to.include({ name: 'server2', state: 'draining', weight: 100 });
    const both = await Promise.all([
      one.good('gantry.server.weight', { name: 'server2', weight: 0 }),
      two.good('gantry.server.offline', { name: 'server2' }),
      one.good('gantry.server.weight', { name: 'server1', weight: 256 }),
    ]);
    expect(both.map(({ version }) => version >= 2)).to.deep.equal([true, true, true]);
    const { definition } = await two.good('gantry.server.get', { name: 'server2' });
    expect(definition).to.include({ state: 'offline', weight: 0 });
    expect(await code('gantry.server.weight', { name: 'server2', weight: 257 })).to.equal('400 INPUT_INVALID');
    const { body } = await one.ask('gantry.server.drain', { name: 'server22' });
    expect(body).to.include({ code: 'RECORD_NOT_FOUND' });
    expect(body.detail).to.include("Did you mean 'server2'?");
    await one.good('gantry.server.online', { name: 'server2' });
  });

  it('tells a server to restart, and no other', async () => {
    await two.good('gantry.server.restart', { name: 'server1' });
    await until('it is told', () => restarted.length > 0);
    expect(restarted).to.deep.equal(['server1']);
    const unknown = await one.ask('gantry.server.restart', { name: 'sever1' });
    expect([unknown.status, unknown.body.detail]).to.deep.equal([
      ...[404, "No server of the cluster is named 'sever1'. Did you mean 'server1'?"],
    ]);
    const alone = await all.simulated('server5', undefined, { supervised: false });
    expect(await code('gantry.server.restart', { name: 'server5' })).to.equal('409 CONFLICT');
    alone.die();
    await all.client.del(alone.key);
  });

  describe('a rolling restart', () => {
    it('is refused where no agent would do it, and where it cannot go well', async () => {
      expect(await code('gantry.cluster.roll')).to.equal('503 UNAVAILABLE');
      expect((await one.good('gantry.cluster.rolling')).roll).to.equal(null);
      await agentIsThere();
      expect(await code('gantry.cluster.roll', { only: ['server9'] })).to.equal('404 NOT_FOUND');
      expect(await code('gantry.cluster.roll', { graceMs: -1 })).to.equal('400 INPUT_INVALID');
      const alone = await all.simulated('server6', undefined, { supervised: false });
      const { status: told, body } = await one.ask('gantry.cluster.roll');
      expect([told, body.detail]).to.deep.equal([409, 'Nobody would start server6 again']);
      alone.die();
      await all.client.del(alone.key);
      expect((await one.good('gantry.cluster.rolling')).roll).to.equal(null);
    });

    it('is one at a time, told on every server, and can be taken back', async () => {
      await agentIsThere();
      const both = await Promise.all([one, two].map((server) => server.ask('gantry.cluster.roll', { graceMs: 1000 })));
      expect(both.map((asked) => asked.status).sort()).to.deep.equal([200, 409]);
      const { roll } = await two.good('gantry.cluster.rolling');
      expect(roll).to.include({ state: 'waiting', requestedBy: 'admin', graceMs: 1000, force: false, problem: null });
      expect(roll.servers.map((server: { name: string }) => server.name)).to.deep.equal(['server1', 'server2']);
      const cancelled = await two.good('gantry.cluster.cancelRoll');
      expect(cancelled).to.include({ id: roll.id, state: 'cancelled' });
      expect(cancelled.endedAt).to.be.a('string');
      expect(await code('gantry.cluster.cancelRoll')).to.equal('409 CONFLICT');
      expect(await code('gantry.cluster.roll', { only: ['server2'] })).to.equal('200 waiting');
      await one.good('gantry.cluster.cancelRoll');
    });

    it('of the only server is wanted twice', async () => {
      await agentIsThere();
      await two.stop();
      await until('one is there', async () => (await names()).length === 1);
      expect(await code('gantry.cluster.roll')).to.equal('409 CONFLICT');
      expect(await code('gantry.cluster.roll', { force: true })).to.equal('200 waiting');
      await one.good('gantry.cluster.cancelRoll');
    });
  });

  it('while Redis is away nobody can be asked, which is told', async () => {
    await store.stop();
    try {
      const own = await one.good('gantry.cluster.status');
      expect(own.problem).to.be.a('string');
      expect(own.servers.map((server: { name: string }) => server.name)).to.deep.equal([own.self]);
      expect(own.absent).to.deep.equal([]);
      const { healthy, checks } = await one.good('gantry.server.health');
      const sick = checks.filter((check: { healthy: boolean }) => !check.healthy);
      expect(healthy).to.equal(false);
      expect(sick.map((check: { name: string }) => check.name)).to.include('key-value store');
      for (const service of ['wait', 'roll', 'rolling', 'cancelRoll']) {
        expect(await code(`gantry.cluster.${service}`), service).to.equal('503 KV_UNAVAILABLE');
      }
    } finally {
      await store.start();
    }
    await until('it is back', async () => (await one.good('gantry.cluster.status')).problem === null);
  });

  it('a server that is in no cluster says so', async () => {
    const server = await adminServer();
    try {
      for (const service of ['status', 'wait', 'roll', 'rolling', 'cancelRoll']) {
        const { status: told, body } = await server.ask(`gantry.cluster.${service}`);
        expect([told, body.code], service).to.deep.equal([409, 'CONFLICT']);
      }
    } finally {
      await server.stop();
    }
  });
});
