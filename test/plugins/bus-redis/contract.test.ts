import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import path from 'node:path';
import { expect } from 'chai';
import type { Plugin } from '../../../core/cradle.ts';
import type { Bus, BusEvent } from '../../../core/ports/bus.ts';
import plugin from '../../../plugins/bus-redis/index.ts';
import { freePort } from '../../engines/engine.ts';
import { needs, redis } from '../../engines/index.ts';
import { eventually, worlds } from '../../engines/redis-outage.ts';
import { testBus } from '../../kit/bus.ts';

const _plugins = path.resolve(import.meta.dirname, '../../../plugins');
const LOOK: BusEvent = { topic: 'changed', revision: 0, from: 'server 1' };
const changed = (revision: number): BusEvent => ({ topic: 'changed', revision, from: 'test' });

describe('bus.redis', function () {
  this.timeout(60_000);
  const engine = needs(redis);
  const access = () => {
    const { host, port, user: username, password } = engine();
    return { host, port, username, password };
  };

  describe('contract', () => {
    // The kit takes what is there before the engine is: each key is read when a server is made.
    const keys = ['host', 'port', 'username', 'password'] as const;
    const config = Object.defineProperties(
      {},
      Object.fromEntries(keys.map((key) => [key, { get: () => access()[key], enumerable: true }])),
    );
    testBus({ plugin: plugin as unknown as Plugin, config, reachesOthers: true });
  });

  const { created, serve, processes } = worlds(plugin as unknown as Plugin, access);
  const hearing = (bus: Bus): BusEvent[] => {
    const heard: BusEvent[] = [];
    bus.subscribe((event) => void heard.push(event));
    return heard;
  };
  const hears = (heard: readonly BusEvent[], revision: number) =>
    eventually(() => heard.some((event) => event.revision === revision));

  it('refuses a way to Redis that is none', () => {
    expect(() => created({ url: 'redis://a', host: 'b' }))
      .to.throw()
      .with.property('code', 'CONFIG_INVALID');
  });

  it('tells each server once, and those with another prefix nothing', async () => {
    const [one, other] = [await serve({ ...access(), prefix: 'a:' }), await serve({ ...access(), prefix: 'a:' })];
    const stranger = await serve({ ...access(), prefix: 'b:' });
    const heard = [one, other, stranger].map(({ bus }) => hearing(bus));
    for (let i = 1; i <= 100; i++) one.bus.publish(changed(i));
    stranger.bus.publish(changed(1000));
    await Promise.all([hears(heard[0] ?? [], 100), hears(heard[1] ?? [], 100), hears(heard[2] ?? [], 1000)]);
    const all = Array.from({ length: 100 }, (_, i) => i + 1);
    expect(heard.map((events) => events.map(({ revision }) => revision))).to.deep.equal([all, all, [1000]]);
  });

  it('passes over what it does not understand, with a line for debugging', async () => {
    const { bus, lines, debugged } = await serve({ ...access(), prefix: 'odd:' });
    const heard = hearing(bus);
    const good = { topic: 'changed', revision: 7, from: 'another', sender: 'x' };
    const odd = [
      'nonsense',
      'null',
      '7',
      '{}',
      JSON.stringify({ ...good, topic: 'unheard-of' }),
      JSON.stringify({ ...good, revision: '7' }),
      JSON.stringify({ ...good, revision: -1 }),
      JSON.stringify({ ...good, revision: 2 ** 53 }),
      JSON.stringify({ ...good, from: null }),
      JSON.stringify({ ...good, from: 'x'.repeat(20_000) }).replaceAll(' ', ''),
    ];
    for (const text of odd) await engine().admin(`PUBLISH odd:bus ${text}`);
    await engine().admin(`PUBLISH odd:bus ${JSON.stringify({ ...good, more: 'of-a-later-version' })}`);
    await hears(heard, 7);
    expect(heard).to.deep.equal([{ topic: 'changed', revision: 7, from: 'another' }]);
    expect(debugged().filter(({ msg }) => msg === 'a message on the bus was not understood')).to.have.lengthOf(
      odd.length,
    );
    expect(lines()).to.deep.equal([]);
  });

  it('while Redis is away tells its own server; then all of them look', async () => {
    const own = await processes();
    const [one, other] = [await serve({ port: own.port }), await serve({ port: own.port })];
    const [mine, theirs] = [hearing(one.bus), hearing(other.bus)];
    for (let round = 1; round <= 2; round++) {
      await own.stop();
      await eventually(() => one.lines().length === 2 * round - 1 && other.lines().length === 2 * round - 1);
      for (let i = 1; i <= 5000; i++) one.bus.publish(changed(10_000 * round + i));
      await hears(mine, 10_000 * round + 5000);
      await own.start();
      await eventually(() =>
        [mine, theirs].every((all) => all.filter(({ revision }) => revision === 0).length === round),
      );
      expect(theirs.filter(({ revision }) => revision === 0)).to.deep.equal(Array(round).fill(LOOK));
      expect(theirs.filter(({ revision }) => revision > 0).length, 'at most the newest was kept').to.be.at.most(round);
      await eventually(() => one.lines().length === 2 * round && other.lines().length === 2 * round);
      for (const { lines } of [one, other])
        expect(lines().map(({ level, msg }) => `${level} ${msg}`)).to.deep.equal(
          Array(round)
            .fill(['warn The bus is not available; it is tried again and again', 'info The bus is back'])
            .flat(),
        );
    }
  });

  it('tells the others the newest, once a server that was cut off is back', async () => {
    const own = await processes();
    const way = await cuttable(own.port);
    const [one, other] = [await serve({ port: way.port }), await serve({ port: own.port })];
    const heard = hearing(other.bus);
    await way.cut();
    await eventually(() => one.lines().length === 1);
    for (let i = 1; i <= 5000; i++) one.bus.publish(changed(i));
    await hears(hearing(one.bus), 5000);
    await way.mend();
    await hears(heard, 5000);
    expect(heard).to.deep.equal([changed(5000)]);
    await way.cut();
  });

  it('starts without Redis, and is there when it comes', async () => {
    const own = await processes();
    await own.stop();
    const [one, other] = [await serve({ port: own.port }), await serve({ port: own.port })];
    const heard = hearing(other.bus);
    one.bus.publish(changed(5));
    await own.start();
    await hears(heard, 0);
    // The other one may not have listened yet when it was published.
    await eventually(() => {
      one.bus.publish(changed(6));
      return heard.some(({ revision }) => revision === 6);
    });
  });

  it('notices that Redis hangs, and that it goes on', async () => {
    const own = await processes();
    const [one, other] = [
      await serve({ port: own.port, commandTimeoutMs: 100 }),
      await serve({ port: own.port, commandTimeoutMs: 100 }),
    ];
    const heard = hearing(other.bus);
    own.freeze();
    for (let i = 1; i <= 5000; i++) one.bus.publish(changed(i));
    await eventually(() => other.lines().length === 1 && one.lines().length === 1);
    own.thaw();
    await hears(heard, 0);
    await eventually(() => {
      one.bus.publish(changed(6000));
      return heard.some(({ revision }) => revision === 6000);
    });
    await eventually(() => other.lines().length === 2);
    expect(other.lines().map(({ level }) => level)).to.deep.equal(['warn', 'info']);
  });

  it('says once that it may not publish', async () => {
    await engine().admin('ACL SETUSER listener on >listener ~* &* +@connection +info +ping +subscribe');
    const { bus, lines } = await serve({ ...access(), username: 'listener', password: 'listener' });
    for (let i = 1; i <= 20; i++) bus.publish(changed(i));
    await eventually(() => lines().length > 0);
    for (let i = 1; i <= 20; i++) bus.publish(changed(i));
    await hears(hearing(bus), 20);
    expect(lines().map(({ level, msg }) => `${level} ${msg}`)).to.deep.equal([
      'warn Redis takes no messages for the bus',
    ]);
    expect(lines()[0]?.error?.hint).to.match(/NOPERM.*ACL/);
  });

  it('says what is wrong where it may not listen', async () => {
    await engine().admin('ACL SETUSER deaf on >deaf ~* resetchannels +@all');
    const { lines } = await serve({ ...access(), username: 'deaf', password: 'deaf' });
    expect(lines().map(({ level }) => level)).to.deep.equal(['warn']);
    expect(lines()[0]?.error?.hint).to.match(/NOPERM.*ACL/);
  });

  it('reaches every node of a cluster, from any of them', async () => {
    const made = await Promise.all(
      [0, 1].map(async () => {
        const busPort = await freePort();
        const lines = () => ['cluster-enabled yes', 'cluster-config-file nodes.conf', `cluster-port ${busPort}`];
        return { node: await processes({ lines }), busPort };
      }),
    );
    const [first, second] = made;
    if (first === undefined || second === undefined) throw new Error('There are two nodes');
    await first.node.run('CLUSTER', 'MEET', second.node.host, second.node.port, second.busPort);
    await eventually(
      async () => (String(await first.node.run('CLUSTER', 'NODES')).match(/ connected/g) ?? []).length === 2,
    );
    const dead = { host: '127.0.0.1', port: await freePort() };
    const at = (port: number) => ({ cluster: [dead, { host: '127.0.0.1', port }] });
    const [one, other] = [await serve(at(first.node.port)), await serve(at(second.node.port))];
    const heard = hearing(other.bus);
    await eventually(() => {
      one.bus.publish(changed(5));
      return heard.some(({ revision }) => revision === 5);
    });
  });
});

/** A way to a port that can be cut: connections are closed, and no more are taken. */
async function cuttable(to: number) {
  const open = new Set<Socket>();
  const make = () =>
    createServer((near) => {
      const far = connect(to, '127.0.0.1');
      for (const [socket, other] of [[near, far] as const, [far, near] as const]) {
        open.add(socket);
        socket.on('error', () => {});
        socket.on('close', () => {
          open.delete(socket);
          other.destroy();
        });
      }
      near.pipe(far).pipe(near);
    });
  const port = await freePort();
  let server: Server;
  const mend = async () => {
    server = make();
    await once(server.listen(port, '127.0.0.1'), 'listening');
  };
  const cut = async () => {
    const closed = once(server, 'close');
    server.close();
    for (const socket of open) socket.destroy();
    await closed;
  };
  await mend();
  return { port, cut, mend };
}
