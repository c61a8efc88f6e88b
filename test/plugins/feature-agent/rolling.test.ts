import { Readable, Writable } from 'node:stream';
import { expect } from 'chai';
import { runClient } from '../../../core/cli/index.ts';
import type { Running } from '../../e2e/process.ts';
import { haproxy } from '../../engines/haproxy.ts';
import { needs, type RedisProcess, redis, startRedis } from '../../engines/index.ts';
import { load, PASSWORD, until } from '../fixtures/cluster.ts';
import { type Processes, processes, type Supervised } from './processes.ts';

interface Roll {
  readonly state: string;
  readonly endedAt: string | null;
  readonly problem: string | null;
  readonly fence: number;
  readonly servers: readonly { readonly name: string; readonly state: string }[];
}

describe('feature.agent: a rolling restart', function () {
  this.timeout(300_000);
  needs(redis);
  before(async function () {
    if ((await haproxy()) === null) this.skip();
  });
  const NAMES = ['server1', 'server2', 'server3'];
  let store: RedisProcess;
  let all: Processes;
  let agent: Running;
  let servers: readonly Supervised[];
  before(async () => {
    store = await startRedis();
    all = await processes(store);
    // One after the other: the first makes the tables and the first administrator.
    agent = await all.agent();
    const made: Supervised[] = [];
    for (const name of NAMES) made.push(await all.server(name));
    servers = made;
    await all.serving(NAMES);
  });
  after(async () => {
    await all?.end();
    await store?.close();
  });

  const rolling = async () => (await all.ask('gantry.cluster.rolling')).body.roll as Roll;
  const ended = () =>
    until(
      'the rolling restart has ended',
      async () => {
        const roll = await rolling();
        return roll.endedAt === null ? null : roll;
      },
      200_000,
    );
  const starts = () => servers.map(({ pids }) => pids.length);
  const states = (roll: Roll) => roll.servers.map(({ name, state }) => `${name} ${state}`);
  const request = async (input: object = {}) => {
    const { status, body } = await all.ask('gantry.cluster.roll', { graceMs: 5000, ...input });
    expect(status, JSON.stringify(body)).to.equal(200);
    return body as Roll;
  };

  it('restarts each server once, in the order of names, and no call fails', async () => {
    const traffic = load(`${all.url}/who?ms=20`, 6);
    await until('all answer', () => traffic.servers.size === 3);
    const asked = await request();
    expect([asked.state, states(asked)]).to.deep.equal(['waiting', NAMES.map((name) => `${name} waiting`)]);
    const again = await all.ask('gantry.cluster.roll');
    expect([again.status, again.body.code]).to.deep.equal([409, 'CONFLICT']);
    const roll = await ended();
    expect([roll.state, roll.problem]).to.deep.equal(['done', null]);
    expect(states(roll)).to.deep.equal(NAMES.map((name) => `${name} done`));
    traffic.servers.clear();
    await until('all answer', () => traffic.servers.size === 3);
    const { failed } = await traffic.stop();
    expect(failed).to.deep.equal([]);
    expect(starts()).to.deep.equal([2, 2, 2]);
  });

  /** A command of the client, which asks the agent. */
  async function gantry(words: string, stdin = '') {
    const said = { out: '', err: '' };
    const to = (stream: 'out' | 'err') =>
      new Writable({
        write(part, _encoding, taken) {
          said[stream] += String(part);
          taken();
        },
      });
    const env = { GANTRY_URL: all.agentUrl, GANTRY_PASSWORD: PASSWORD };
    const terminal = { stdin: Readable.from([Buffer.from(stdin)]), stdout: to('out'), stderr: to('err'), env };
    return { exit: await runClient(words.split(' '), terminal, '0.0.0'), ...said };
  }

  it('only some of them, by the command line, which shows how far it is', async () => {
    const before = starts();
    const rolled = await gantry('cluster roll --only server3 --grace 5');
    expect(rolled.exit, rolled.err).to.equal(0);
    expect(rolled.out)
      .to.match(/^server3 +done +\d/m)
      .and.include('it is done');
    expect(rolled.err).to.include('server3: restarting\n').and.include('server3: done\n');
    expect(starts().map((count, i) => count - (before[i] ?? 0))).to.deep.equal([0, 0, 1]);
    expect((await gantry('cluster rolling -q')).exit).to.equal(0);
    expect(await gantry('cluster roll --only server9')).to.include({ exit: 1, out: '' });
    expect(await gantry('cluster cancel')).to.include({ exit: 1, out: '' });
  });

  it('of the command line: the cluster, its servers and its balancer', async () => {
    await all.serving(NAMES);
    const cluster = await gantry('cluster status');
    expect(cluster.exit, cluster.out).to.equal(0);
    expect(cluster.out).to.match(/^server2 +127\.0\.0\.1:\d+ +ready +online +100 +\d+ /m);
    expect(await gantry('cluster wait --for 20')).to.include({ exit: 0 });
    expect(await gantry('server weight server2 70')).to.include({
      ...{ exit: 0, out: "The server 'server2' is online, with weight 70.\n" },
    });
    expect(await gantry('server weight server2')).to.include({ exit: 2 });
    expect(await gantry('server weight server2 heavy')).to.include({ exit: 2 });
    await gantry('server weight server2 100');
    const balancer = await gantry('balancer status');
    expect(balancer.exit, balancer.out).to.equal(0);
    expect(balancer.out)
      .to.match(/^server1 +127\.0\.0\.1:\d+ +online +yes +100 /m)
      .and.include('the settings of its config');

    expect(await gantry('balancer check --set retries=4')).to.include({ exit: 0 });
    const refused = await gantry('balancer check --template -', 'global\n    nonsense 1\n');
    expect(refused).to.include({ exit: 1, out: '' });
    expect(refused.err).to.include('The program does not take this').and.include('template');
    expect(await gantry('balancer apply')).to.include({ exit: 2 });
    expect(await gantry('balancer apply --set retries=4 --set timeouts.connectMs=900')).to.include({ exit: 0 });
    expect(await gantry('balancer apply --set retries=5')).to.include({ exit: 0 });
    const shown = await gantry('balancer get main');
    expect(shown.out).to.include('retries: 5').and.include('connectMs: 900');
    expect(await gantry('balancer apply -f -', 'name: main\nretries: 6\n')).to.include({ exit: 0 });
    expect((await gantry('balancer get main')).out)
      .to.include('retries: 6')
      .and.not.include('connectMs');
    await until('it is in use', async () => (await gantry('balancer source')).out.includes('retries 6\n'));
    const [, second = ''] = (await gantry('balancer history -q')).out.split('\n');
    expect(await gantry(`balancer rollback ${second}`)).to.include({ exit: 0 });
    expect((await gantry('balancer get main')).out).to.include('retries: 5');
    expect((await gantry('balancer show info')).out).to.match(/^Name: HAProxy$/m);
    expect(await gantry('balancer reload')).to.include({ exit: 0, out: 'It runs.\n' });
    await gantry('balancer delete main');
  });

  it('is ended by who asks for it: the server whose turn it is comes through', async () => {
    const before = starts();
    await request();
    await until('the first is on its way', async () => (await rolling()).servers[0]?.state === 'restarting');
    expect((await all.ask('gantry.cluster.cancelRoll')).body.cancelled).to.equal(true);
    const roll = await ended();
    expect([roll.state, states(roll)]).to.deep.equal([
      'cancelled',
      ['server1 done', 'server2 waiting', 'server3 waiting'],
    ]);
    expect(starts().map((count, i) => count - (before[i] ?? 0))).to.deep.equal([1, 0, 0]);
    expect((await all.ask('gantry.cluster.cancelRoll')).status).to.equal(409);
    await all.serving(NAMES);
  });

  it('goes on where it was when its agent was killed, and restarts none twice', async () => {
    const before = starts();
    const traffic = load(`${all.url}/who?ms=20`, 4);
    await until('all answer', () => traffic.servers.size === 3);
    await request();
    await until('the second is on its way', async () => {
      const [, second] = (await rolling()).servers;
      return second?.state === 'restarting';
    });
    const { fence } = await rolling();
    await agent.kill('SIGKILL');
    agent = await all.agent();
    const roll = await ended();
    expect([roll.state, roll.problem]).to.deep.equal(['done', null]);
    expect(roll.fence).to.be.greaterThan(fence);
    const { failed } = await traffic.stop();
    expect(failed).to.deep.equal([]);
    expect(starts().map((count, i) => count - (before[i] ?? 0))).to.deep.equal([1, 1, 1]);
    await all.serving(NAMES);
  });

  it('goes on when the store is back that was away in the middle of it', async () => {
    const before = starts();
    const traffic = load(`${all.url}/who?ms=20`, 4);
    await until('all answer', () => traffic.servers.size === 3);
    await request();
    await until('the first is on its way', async () => (await rolling()).servers[0]?.state === 'restarting');
    await store.stop();
    await until('the agent leaves it', () => /is left as it is; an agent goes on with it/.test(agent.err()));
    await store.start();
    const roll = await ended();
    expect([roll.state, roll.problem]).to.deep.equal(['done', null]);
    expect((await traffic.stop()).failed).to.deep.equal([]);
    expect(starts().map((count, i) => count - (before[i] ?? 0))).to.deep.equal([1, 1, 1]);
    await all.serving(NAMES);
  });

  it('stops at the first that does not come back, and tells why; the others serve on', async () => {
    await agent.kill('SIGTERM');
    agent = await all.agent({ restartMs: 8000 });
    await all.serving(NAMES);
    const before = starts();
    const [, second] = servers as [Supervised, Supervised];
    second.abandon();
    const traffic = load(`${all.url}/who?ms=20`, 4);
    await request({ only: ['server2', 'server3'] });
    const roll = await ended();
    expect(roll.state).to.equal('failed');
    expect(roll.problem).to.match(/^server2 did not (come back|end) within 8 s/);
    expect(states(roll)).to.deep.equal(['server2 failed', 'server3 waiting']);
    await all.serving(['server1', 'server3']);
    traffic.servers.clear();
    await until('the others answer', () => traffic.servers.size === 2);
    expect((await traffic.stop()).failed).to.deep.equal([]);
    expect(starts().map((count, i) => count - (before[i] ?? 0))).to.deep.equal([0, 0, 0]);
    await second.start();
    await all.serving(NAMES);
  });
});
