import { hostname } from 'node:os';
import { expect } from 'chai';
import { GantryError, type Member, Secret } from '../../../core/api.ts';
import { Announcements } from '../../../core/cluster/announcements.ts';
import type { ClusterConfig } from '../../../core/cluster/cluster.ts';
import { Membership } from '../../../core/cluster/membership.ts';
import type { Kv } from '../../../core/ports/index.ts';
import { Entries } from '../../../plugins/kv-memory/entries.ts';
import { MemoryStore } from '../../../plugins/kv-memory/store.ts';
import { journal } from '../../fixtures/direct.ts';
import { ManualClock } from '../../fixtures/manual-clock.ts';

const TOKEN = 'the token of the cluster';
type Described = { -readonly [key in 'longestMs' | 'revision' | 'staleSince' | 'refused']: Member[key] };
type Operation = (pass: () => Promise<unknown>) => Promise<unknown>;
const pass: Operation = (go) => go();
const away: Operation = () => Promise.reject(new GantryError('KV_UNAVAILABLE', 'The store is cut off'));

describe('membership: who has a name, and who is behind', function () {
  this.timeout(30_000);
  let clock: ManualClock;
  let store: { readonly kv: Kv };
  let all: Membership[] = [];

  /** A member without a server: what it says of itself, and its way to the store. */
  function lone(name: string, more: Partial<ClusterConfig & { urls: string[]; token: Secret }> = {}) {
    const { logs, lines } = journal();
    const { urls = [], ...config } = more;
    const about: Described = { longestMs: 1, revision: 10, staleSince: null, refused: [] };
    const link = { swap: pass, get: pass, asked: 0, swaps: 0, looks: 0 };
    const kv = new Proxy(store.kv, {
      get(of, key: keyof Kv) {
        const method = of[key] as (...args: unknown[]) => Promise<unknown>;
        if (typeof method !== 'function') return method;
        return async (...args: unknown[]) => {
          link.asked++;
          if (key === 'swap') link.swaps++;
          const how = key === 'swap' ? link.swap : link.get;
          return how(() => method.apply(of, args));
        };
      },
    });
    const orders = { restart: 0 };
    const membership = new Membership({
      config: {
        ...{ token: new Secret(TOKEN), announce: true, ...(urls.length === 0 ? { address: `${name}:1` } : {}) },
        ...{ beatMs: 100, leaseMs: 600, lingerMs: 0, supervised: true, ...config },
      },
      kv,
      server: { name, version: '1', startedAt: new Date() },
      log: logs.for('core'),
      describe: () => {
        link.looks++;
        return { ...about };
      },
      urls: () => urls,
      onRestart: () => void orders.restart++,
      clock,
    });
    all.push(membership);
    const enter = async () => {
      await membership.claim();
      await membership.join();
    };
    const told = (part: string) => lines.filter(({ msg }) => msg.includes(part));
    return { membership, about, link, lines, told, orders, enter };
  }
  type Lone = ReturnType<typeof lone>;

  const said = new Announcements(new Secret(TOKEN));
  const keyOf = (name: string) => said.keyOf(said.entryOf(name));
  const keptOf = async (name: string) => said.read((await store.kv.get(keyOf(name))) ?? '', said.entryOf(name));
  /** As a server elsewhere says it. */
  async function say(name: string, more: Partial<Member> = {}, ttlMs = 600_000): Promise<void> {
    const member = {
      ...{ name, instance: 'another', machine: 'elsewhere', host: 'h9', port: 9, tls: false, version: '1' },
      ...{ state: 'ready', startedAt: new Date().toISOString(), supervised: true, longestMs: 1, revision: 10 },
      ...{ staleSince: null, refused: [], refusedMore: 0, ...more },
    };
    await store.kv.set(keyOf(name), said.sign(JSON.stringify(member)), { ttlMs });
    await store.kv.hashSet(said.index, { [said.entryOf(name)]: member.instance });
  }
  const names = async ({ membership }: Lone) => (await membership.members()).map(({ name }) => name);
  const codeOf = (doing: Promise<unknown>) =>
    clock.during(doing).then(
      () => 'ok',
      (error: GantryError) => error.code,
    );
  const until: ManualClock['until'] = (what, holds) => clock.until(what, holds);
  async function beats({ link }: Lone, count = 3): Promise<void> {
    const from = link.swaps;
    await until('it beats', () => link.swaps >= from + count);
  }

  beforeEach(() => {
    clock = new ManualClock();
    store = { kv: new MemoryStore(new Entries(10_000_000, clock)) };
  });
  afterEach(async () => {
    for (const membership of all) await membership.stop();
    all = [];
  });

  describe('a name', () => {
    it('is of one of two that start at the same time', async () => {
      const both = [lone('same', { address: 'h1:1', leaseMs: 1500 }), lone('same', { address: 'h2:2', leaseMs: 1500 })];
      const outcomes = await clock.during(Promise.allSettled(both.map((one) => one.enter())));
      expect(outcomes.map(({ status }) => status).sort()).to.deep.equal(['fulfilled', 'rejected']);
      const winner = outcomes[0]?.status === 'fulfilled' ? 'h1:1' : 'h2:2';
      const lost = outcomes.find((one) => one.status === 'rejected') as PromiseRejectedResult;
      expect(lost.reason).to.include({
        code: 'CLUSTER_REFUSED',
        message: `Another server of this cluster is named 'same', at ${winner}`,
      });
      expect(await keptOf('same')).to.include({ host: winner.slice(0, 2) });
    });

    it('is held from the claim on, by one that is not there before it joins', async () => {
      const one = lone('one', { leaseMs: 1500 });
      const other = lone('other');
      await clock.during(other.enter());
      await store.kv.hashSet(said.index, { [said.entryOf('one')]: 'left by the one before' });
      await clock.during(one.membership.claim());
      expect(await names(other)).to.deep.equal(['other']);
      expect(one.membership.self).to.equal(null);
      // Also for longer than a lease.
      await beats(one, 20);
      expect(await codeOf(lone('one', { address: 'h2:1' }).enter())).to.equal('CLUSTER_REFUSED');
      await clock.during(one.membership.join());
      expect(await names(other)).to.deep.equal(['one', 'other']);
    });

    it('goes at once to who starts again in the place of one that died, and to nobody else', async () => {
      const place = { instance: 'died', host: 'h1', port: 1 };
      await say('one', { ...place, machine: hostname() });
      const again = lone('one', { address: 'h1:1', leaseMs: 600_000 });
      await clock.during(again.enter());
      expect(again.membership.self).to.include({ name: 'one', machine: hostname() });
      expect(await names(again)).to.deep.equal(['one']);
      // The same address on another machine, as containers have it.
      await say('two', place);
      expect(await codeOf(lone('two', { address: 'h1:1' }).enter())).to.equal('CLUSTER_REFUSED');
      await say('two', place, 300);
      await clock.during(lone('two', { address: 'h1:1' }).enter());
      expect(await names(again)).to.deep.equal(['one', 'two']);
    });

    it('is taken from what was not said with the token', async () => {
      await store.kv.set(keyOf('one'), `${'0'.repeat(64)} {"name":"one","instance":"x","host":"h","port":1}`);
      const one = lone('one', { leaseMs: 600_000 });
      await clock.during(one.enter());
      expect(await keptOf('one')).to.include({ instance: one.membership.instance });
    });

    it('is kept where an answer of the store was lost, and where it lost all', async () => {
      const one = lone('one');
      await clock.during(one.enter());
      one.link.swap = async (go) => {
        one.link.swap = pass;
        await go();
        return away(go);
      };
      one.about.revision = 11;
      await until('it is lost', () => one.membership.problem !== null);
      await until('it goes on', () => one.membership.problem === null);
      expect(one.membership.self).to.include({ name: 'one' });
      await store.kv.remove(keyOf('one'), said.index);
      await until('it is there', async () => (await names(one)).length === 1);
      expect(one.told('has the name of this one')).to.deep.equal([]);
    });

    it('that another has got is told once, left to that one, and taken again when it is gone', async () => {
      const one = lone('one');
      await clock.during(one.enter());
      // As if started in its place: who came later is not its predecessor.
      await say('one', { host: 'one', port: 1, machine: hostname() });
      await until('it is told', () => one.told('has the name of this one').length === 1);
      expect(one.told('has the name of this one')[0]).to.include({ level: 'error', address: 'one:1' });
      expect(one.membership.self).to.equal(null);
      await beats(one, 5);
      expect(one.told('has the name of this one')).to.have.lengthOf(1);
      expect(await keptOf('one')).to.include({ instance: 'another' });
      await store.kv.remove(keyOf('one'));
      await until('it is its own', () => one.membership.self !== null);
      expect((await one.membership.members())[0]).to.include({ instance: one.membership.instance });
      // Ending leaves it to who has it then.
      await say('one', { host: 'h2', port: 2 });
      await one.membership.stop();
      expect(await keptOf('one')).to.include({ instance: 'another' });
      expect(Object.keys(await store.kv.hashAll(said.index))).to.deep.equal([said.entryOf('one')]);
    });

    it('of two that started while the store was away is of one when it is back', async () => {
      const both = [lone('same', { address: 'h1:1' }), lone('same', { address: 'h2:1' })];
      for (const { link } of both) link.swap = link.get = away;
      for (const one of both) await clock.during(one.enter());
      expect(both.map(({ membership }) => membership.problem?.code)).to.deep.equal([
        'KV_UNAVAILABLE',
        'KV_UNAVAILABLE',
      ]);
      for (const { link } of both) link.swap = link.get = pass;
      const tellers = () => both.filter((one) => one.told('has the name of this one').length === 1);
      await until('one of them is told', () => tellers().length === 1);
      for (const one of both) await beats(one, 5);
      expect(tellers()).to.have.lengthOf(1);
      expect(both.filter(({ membership }) => membership.self !== null)).to.have.lengthOf(1);
    });

    it('is waited for no longer where the store goes away meanwhile', async () => {
      await say('one');
      const one = lone('one', { leaseMs: 600_000 });
      const entering = one.enter();
      await until('it looked', () => one.link.asked >= 4);
      one.link.swap = one.link.get = away;
      await clock.during(entering);
      expect(one.lines.filter(({ level }) => level === 'warn')).to.have.lengthOf(1);
      one.link.swap = one.link.get = pass;
      await until('it is told', () => one.told('has the name of this one').length === 1);
      expect(one.membership.self).to.equal(null);
    });

    it('is no concern of another cluster on the same store', async () => {
      const [a, b] = [lone('one'), lone('one', { token: new Secret('another token'), address: 'h2:2' })];
      await clock.during(Promise.all([a.enter(), b.enter()]));
      for (let i = 0; i < 3; i++) {
        expect((await a.membership.members()).map(({ host }) => host)).to.deep.equal(['one']);
        expect((await b.membership.members()).map(({ host }) => host)).to.deep.equal(['h2']);
      }
      for (const { told } of [a, b]) expect(told('without the token')).to.have.lengthOf(1);
      await a.membership.restart('one');
      await until('it is told', () => a.orders.restart === 1);
      await beats(b);
      expect(b.orders.restart).to.equal(0);
      // What is left of another cluster is nobody's concern.
      await b.membership.stop();
      const old = '000000000000:old';
      await store.kv.hashSet(said.index, { [old]: 'x' });
      await names(a);
      expect(a.told('without the token')).to.have.lengthOf(1);
      expect(Object.keys(await store.kv.hashAll(said.index))).to.deep.equal([said.entryOf('one')]);
    });
  });

  describe('one that cannot ask the database', () => {
    it('is not behind where nobody can, whatever a store remembers', async () => {
      await store.kv.set('revision', '5000');
      const servers = ['a', 'b', 'c'].map((name) => lone(name));
      for (const [i, server] of servers.entries()) {
        Object.assign(server.about, { staleSince: 'now', revision: 10 + i });
        await clock.during(server.enter());
      }
      for (const server of servers) await beats(server);
      expect(servers.map(({ membership }) => membership.isBehind)).to.deep.equal([false, false, false]);
    });

    it('is behind as long as one is there, ready and up to date, that has more', async () => {
      const [a, b] = [lone('a'), lone('b')];
      await clock.during(a.enter());
      await clock.during(b.enter());
      const { membership } = b;
      b.about.staleSince = 'now';
      await beats(b);
      expect(membership.isBehind, 'nobody has more').to.equal(false);
      const again = async (what: string) => {
        await until(what, () => membership.isBehind);
      };
      a.about.revision = 11;
      await again('it has more');
      a.about.staleSince = 'now';
      await until('the other cannot ask either', () => !membership.isBehind);
      a.about.staleSince = null;
      await again('the other can');
      b.about.revision = 11;
      expect(membership.isBehind, 'it caught up').to.equal(false);
      b.about.revision = 10;
      await again('it has less');
      b.about.staleSince = null;
      expect(membership.isBehind, 'it can ask').to.equal(false);
      b.about.staleSince = 'now';
      await clock.during(a.membership.leave());
      await until('the other leaves', () => !membership.isBehind);
      await a.membership.stop();
      const c = lone('c');
      c.about.revision = 12;
      await clock.during(c.enter());
      await again('another has more');
      b.link.swap = b.link.get = away;
      await until('nobody can tell any more', () => !membership.isBehind);
      b.link.swap = b.link.get = pass;
      await again('somebody can');
      await c.membership.stop();
      await until('that one ended', () => !membership.isBehind);
    });

    it('is not behind for what was not said with the token', async () => {
      const [b, stranger] = [lone('b'), lone('stranger', { token: new Secret('another token') })];
      stranger.about.revision = 99;
      b.about.staleSince = 'now';
      await clock.during(stranger.enter());
      await clock.during(b.enter());
      await beats(b);
      expect(b.membership.isBehind).to.equal(false);
    });
  });

  describe('what it says', () => {
    it('is that it leaves, also where it was saying something else', async () => {
      const one = lone('one', { beatMs: 60_000, leaseMs: 600_000 });
      await clock.during(one.enter());
      let held = 0;
      let release = () => {};
      const gate = new Promise<void>((go) => {
        release = go;
      });
      one.link.swap = async (go) => {
        held++;
        await gate;
        return go();
      };
      one.about.revision = 11;
      await until('a beat is under way', () => held === 1);
      const leaving = one.membership.leave();
      release();
      await clock.during(leaving);
      expect(await keptOf('one')).to.include({ state: 'draining', revision: 11 });
    });

    it('costs the store nothing while nothing changes and it is not time', async () => {
      const one = lone('one', { beatMs: 60_000, leaseMs: 600_000 });
      await clock.during(one.enter());
      const { asked, looks } = one.link;
      await until('some looks', () => one.link.looks > looks + 5);
      expect(one.link.asked).to.equal(asked);
      one.about.revision = 11;
      await until('it is said', async () => (await keptOf('one'))?.revision === 11);
    });

    it('names 50 of what it refused, modules first, and counts the rest', async () => {
      const one = lone('one');
      const many = Array.from({ length: 60 }, (_, i) => ({ kind: 'connection', name: `c${i}`, problem: 'x' }));
      one.about.refused = [...many, { kind: 'module', name: 'm', problem: 'y'.repeat(1_000_000) }];
      await clock.during(one.enter());
      const [member] = await one.membership.members();
      expect(member?.refused.map(({ name }) => name)).to.deep.equal([
        'm',
        ...many.slice(0, 49).map(({ name }) => name),
      ]);
      expect(member?.refused[0]?.problem).to.equal('y'.repeat(1000));
      expect(member?.refusedMore).to.equal(11);
    });

    it('has an address that can be reached', async () => {
      for (const address of ['h:0', 'h:65536', 'h:700000']) {
        let thrown: unknown;
        try {
          lone('one', { address });
        } catch (error) {
          thrown = error;
        }
        expect(thrown, address).to.include({ code: 'CONFIG_INVALID' });
        expect((thrown as GantryError).problems?.[0]).to.include({ path: 'cluster.address', got: `"${address}"` });
      }
      const highest = lone('six', { address: '[::1]:65535' });
      await clock.during(highest.enter());
      expect(highest.membership.self).to.include({ host: '::1', port: 65_535 });
      const listens = lone('listens', { urls: ['https://127.0.0.1:8443', 'http://127.0.0.1:8080'] });
      await clock.during(listens.enter());
      expect(listens.membership.self).to.include({ host: '127.0.0.1', port: 8443, tls: true });
      const nowhere = lone('nowhere', { urls: ['http://127.0.0.1:0'] });
      const refused = await clock.during(nowhere.enter()).catch((error: GantryError) => error);
      expect(refused).to.include({ code: 'CLUSTER_REFUSED' });
      expect((refused as GantryError).hint)
        .to.include('cluster.address')
        .and.to.include('cluster.announce');
      const quiet = lone('quiet', { urls: ['http://127.0.0.1:0'], announce: false });
      await clock.during(quiet.enter());
      expect([quiet.membership.self, quiet.link.asked, nowhere.link.asked]).to.deep.equal([null, 0, 0]);
    });
  });
});
