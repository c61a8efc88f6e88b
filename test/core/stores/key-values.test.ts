import { expect } from 'chai';
import type { GantryError } from '../../../core/api.ts';
import { type Held, type KeyValues, keyValues, locked } from '../../../core/stores/key-values.ts';
import { Entries } from '../../../plugins/kv-memory/entries.ts';
import { MemoryStore } from '../../../plugins/kv-memory/store.ts';
import { ManualClock } from '../../fixtures/manual-clock.ts';
import { sharedKv } from '../../fixtures/shared-kv.ts';

describe('key values', () => {
  let store: ReturnType<typeof sharedKv>;
  let one: KeyValues;
  let other: KeyValues;
  const codeOf = async (doing: Promise<unknown>): Promise<string> =>
    doing.then(
      () => 'ok',
      (thrown: GantryError) => thrown.code,
    );
  /** A store by a clock of its own. */
  const onClock = () => {
    const clock = new ManualClock();
    return { clock, kv: new MemoryStore(new Entries(1_000_000, clock)) };
  };
  const wait = (ms: number) => new Promise<void>((go) => setTimeout(go, ms));

  beforeEach(async () => {
    store = sharedKv();
    await store.start();
    one = keyValues(store.kv);
    other = keyValues(store.kv);
  });
  afterEach(() => store.stop());

  it("are the services' own: keys of the server are out of their reach", async () => {
    await store.kv.set('member:one', 'the server');
    await store.kv.hashSet('members', { one: 'x' });
    expect(await one.get('member:one')).to.equal(null);
    expect(await one.remove('member:one')).to.equal(0);
    expect(await one.hashAll('members')).to.deep.equal({});
    await one.set('member:one', 'mine');
    expect(await store.kv.get('member:one')).to.equal('the server');
    expect((await one.list('mem')).keys).to.deep.equal(['member:one']);
    expect((await one.list('')).keys).to.deep.equal(['member:one']);
  });

  it('pass every operation on', async () => {
    expect(await one.set('a', '1', { only: 'absent' })).to.equal(true);
    expect(await other.set('a', '2', { only: 'absent' })).to.equal(false);
    expect(await one.swap('a', '1', '3')).to.equal(true);
    expect(await one.increment('a', 4)).to.equal(7);
    expect(await one.getMany(['a', 'b'])).to.deep.equal(['7', null]);
    expect(await one.remainingMs('a')).to.equal(Number.POSITIVE_INFINITY);
    expect(await one.expire('a', 50_000)).to.equal(true);
    expect(await one.remainingMs('a')).to.be.within(1, 50_000);
    await one.hashSet('h', { x: '1' });
    expect(await other.hashGet('h', 'x')).to.equal('1');
    expect(await one.hashIncrement('h', 'x')).to.equal(2);
    expect(await one.hashRemove('h', 'x', 'y')).to.equal(1);
    const fence = await one.acquire('l', 5000);
    expect(fence).to.be.a('number');
    expect(await other.acquire('l', 5000)).to.equal(null);
    expect(await one.renew('l', fence ?? 0, 5000)).to.equal(true);
    expect(await one.release('l', fence ?? 0)).to.equal(true);
    expect(one.problem).to.equal(null);
  });

  describe('locks', () => {
    it('let one in at a time, with growing fences', async () => {
      let inside = 0;
      let most = 0;
      const fences: number[] = [];
      const work = (of: KeyValues) =>
        of.lock('l', { waitMs: 5000, ttlMs: 2000 }, async ({ fence }) => {
          most = Math.max(most, ++inside);
          fences.push(fence);
          await wait(3);
          inside--;
        });
      await Promise.all(Array.from({ length: 20 }, (_, i) => work(i % 2 === 0 ? one : other)));
      expect(most).to.equal(1);
      expect(fences).to.have.lengthOf(20);
      expect([...fences].sort((a, b) => a - b)).to.deep.equal(fences);
    });
    it('are BUSY to who does not want to wait, and free when the work failed', async () => {
      const failing = one.lock('l', {}, async () => {
        expect(await codeOf(other.lock('l', {}, () => 1))).to.equal('BUSY');
        throw new Error('the work');
      });
      expect(await failing.catch((error: Error) => error.message)).to.equal('the work');
      expect(await other.lock('l', {}, () => 'free')).to.equal('free');
    });
    it('are renewed while the work takes longer', async () => {
      const { kv, clock } = onClock();
      const long = locked(
        kv,
        'l',
        { ttlMs: 9000 },
        async ({ signal }) => {
          await clock.sleep(40_000);
          return signal.aborted;
        },
        clock,
      );
      await clock.pass(25_000);
      expect(await codeOf(locked(kv, 'l', {}, () => 1, clock))).to.equal('BUSY');
      await clock.pass(15_000);
      expect(await long).to.equal(false);
      expect(await locked(kv, 'l', {}, () => 'free', clock)).to.equal('free');
    });
    it('tell who lost one', async () => {
      const { kv, clock } = onClock();
      const work = async ({ signal, fence }: Held) => {
        await kv.release('l', fence);
        await new Promise((heard) => signal.addEventListener('abort', heard));
        return (signal.reason as GantryError).code;
      };
      expect(await clock.during(locked(kv, 'l', { ttlMs: 9000 }, work, clock))).to.equal('BUSY');
    });
    it('are lost with a store that stays away for longer than they last', async () => {
      const { kv, clock } = onClock();
      const began = clock.steady();
      const work = async ({ signal }: Held) => {
        Object.assign(kv, { renew: () => Promise.reject(new Error('away')) });
        await new Promise((heard) => signal.addEventListener('abort', heard));
        return clock.steady() - began;
      };
      // Not before: a store that answers again in time has kept it.
      expect(await clock.during(locked(kv, 'l', { ttlMs: 9000 }, work, clock))).to.be.within(9000, 12_000);
    });
    it('are waited for as long as that is wanted, and no longer', async () => {
      const { kv, clock } = onClock();
      await kv.acquire('l', 9000);
      const began = clock.steady();
      expect(await clock.during(codeOf(locked(kv, 'l', { waitMs: 5000 }, () => 1, clock)))).to.equal('BUSY');
      expect(clock.steady() - began).to.be.within(5000, 5100);
      expect(await clock.during(locked(kv, 'l', { waitMs: 5000 }, () => 'ours', clock))).to.equal('ours');
      expect(clock.steady() - began).to.be.within(9000, 9100);
    });
  });

  describe('caches', () => {
    it('make a value once for all who ask, and give what is kept on every server', async () => {
      let made = 0;
      const make = async () => {
        await wait(20);
        return { made: ++made };
      };
      const [here, there] = [one.cache('c', { ttlMs: 5000 }), other.cache('c', { ttlMs: 5000 })];
      const all = await Promise.all(Array.from({ length: 50 }, () => here.get('k', make)));
      expect(new Set(all.map((value) => value.made))).to.deep.equal(new Set([1]));
      expect(await there.get('k', make)).to.deep.equal({ made: 1 });
      expect(await one.cache('other', { ttlMs: 5000 }).get('k', make)).to.deep.equal({ made: 2 });
    });
    it('make it again when it was removed, its tag was, or its time is over', async () => {
      let made = 0;
      const [here, there] = [one.cache('c', { ttlMs: 100_000 }), other.cache('c', { ttlMs: 100_000 })];
      const value = (key: string, ...tags: string[]) => here.get(key, () => ++made, tags);
      expect([await value('a', 'x'), await value('b', 'x', 'y'), await value('c')]).to.deep.equal([1, 2, 3]);
      await there.removeTagged('y');
      expect([await value('a', 'x'), await value('b', 'x', 'y'), await value('c')]).to.deep.equal([1, 4, 3]);
      await there.removeTagged('x');
      expect([await value('a', 'x'), await value('b', 'x', 'y'), await value('c')]).to.deep.equal([5, 6, 3]);
      await there.remove('c');
      expect(await value('c')).to.equal(7);
      const short = one.cache('short', { ttlMs: 60 });
      expect(await short.get('k', () => ++made)).to.equal(8);
      await wait(120);
      expect(await short.get('k', () => ++made)).to.equal(9);
    });
    it('keep nothing that was forgotten while it was made', async () => {
      const cache = one.cache('c', { ttlMs: 100_000 });
      const stale = await cache.get('k', async () => {
        await other.cache('c', { ttlMs: 100_000 }).removeTagged('t');
        return 'old';
      }, ['t']);
      expect(stale).to.equal('old');
      expect(await cache.get('k', () => 'new', ['t'])).to.equal('new');
    });
    it('make it where the store is away or keeps rubbish, and where it failed for one it is tried for the next', async () => {
      const cache = one.cache('c', { ttlMs: 100_000 });
      await store.kv.set('app:cache:c:v:k', '{rubbish');
      expect(await cache.get('k', () => 1)).to.equal(1);
      const failed = cache.get('f', () => Promise.reject(new Error('not now')));
      expect(await failed.catch((error: Error) => error.message)).to.equal('not now');
      expect(await cache.get('f', () => 2)).to.equal(2);
      Object.assign(store.kv, {
        get: () => Promise.reject(new Error('away')),
        set: () => Promise.reject(new Error('away')),
      });
      expect(await cache.get('k', () => 3)).to.equal(3);
    });
    it('keep nothing that was removed while it was made', async () => {
      const cache = one.cache('prices', { ttlMs: 60_000 });
      let price = 1;
      let go = () => {};
      const making = cache.get('tea', async () => {
        const read = price;
        await new Promise<void>((resolve) => {
          go = resolve;
        });
        return read;
      });
      await new Promise((done) => setTimeout(done, 20));
      price = 2;
      await cache.remove('tea');
      go();
      await making;
      expect(await cache.get('tea', () => price)).to.equal(2);
    });

    it('give who asks after a tag was forgotten what is made after that', async () => {
      const cache = one.cache('prices', { ttlMs: 60_000 });
      let price = 1;
      let go = () => {};
      const making = cache.get('tea', async () => {
        const read = price;
        await new Promise<void>((resolve) => {
          go = resolve;
        });
        return read;
      }, ['drinks']);
      await new Promise((done) => setTimeout(done, 20));
      price = 2;
      await cache.removeTagged('drinks');
      const after = cache.get('tea', () => price, ['drinks']);
      go();
      await making;
      expect(await after).to.equal(2);
    });
  });
});
