import { expect } from 'chai';
import type { Kv } from '../../core/ports/kv.ts';
import { type KvWorld, LONG_MS, ODD } from './kv-world.ts';

/** Of the kv kit: lists of keys, hashes, and what is refused. */
export function testKeys(world: KvWorld): void {
  const { fresh, refused } = world;
  let kv: Kv;
  let other: Kv;
  before(() => {
    kv = world.kv;
    other = world.other;
  });

  describe('list', () => {
    const all = async (prefix: string, limit?: number) => {
      const keys: string[] = [];
      let pages = 0;
      for (let after: string | undefined; ; ) {
        const page = await kv.list(prefix, { ...(after && { after }), ...(limit && { limit }) });
        pages++;
        if (limit !== undefined) expect(page.keys.length).to.be.at.most(limit);
        keys.push(...page.keys);
        if (page.next === null) return { keys, pages };
        after = page.next;
      }
    };

    it('gives the keys that begin so, texts and hashes, and no others', async () => {
      const prefix = fresh();
      const mine = [`${prefix}`, `${prefix}:a`, `${prefix}:b`];
      for (const key of mine) await kv.set(key, '1');
      await kv.hashSet(`${prefix}:hash`, { a: '1' });
      await kv.set(`x${prefix}:c`, '1');
      await kv.acquire(`${prefix}:lock`, LONG_MS);
      await kv.set(`${prefix}:gone`, '1');
      await kv.remove(`${prefix}:gone`);
      expect((await all(prefix)).keys.sort()).to.deep.equal([...mine, `${prefix}:hash`].sort());
      expect((await all(`${prefix}:nothing`)).keys).to.deep.equal([]);
    });

    it('takes a prefix as it is, whatever signs are in it', async () => {
      for (const odd of ODD) {
        const prefix = `${fresh()}${odd}`;
        await kv.set(`${prefix}1`, '1');
        await kv.set(`${prefix.replaceAll('*', 'x').replaceAll('?', 'y').replaceAll('[a-z]', 'b')}2`, '1');
        const expected = prefix.match(/[*?]|\[a-z\]/) ? [`${prefix}1`] : [`${prefix}1`, `${prefix}2`];
        expect((await all(prefix)).keys.sort()).to.deep.equal(expected);
      }
    });

    it('gives each key once over all pages, though others come and go', async () => {
      const prefix = fresh();
      const staying = Array.from({ length: 300 }, (_, i) => `${prefix}:${i}`);
      await Promise.all(staying.map((key) => kv.set(key, '1')));
      let listing = true;
      const churn = (async () => {
        for (let i = 0; listing; i++) {
          await Promise.all(Array.from({ length: 50 }, (_, n) => other.set(`${prefix}:churn ${i} ${n}`, '1')));
          await Promise.all(Array.from({ length: 50 }, (_, n) => other.remove(`${prefix}:churn ${i} ${n}`)));
        }
      })();
      const { keys, pages } = await all(prefix, 7).finally(() => {
        listing = false;
      });
      await churn;
      expect(pages).to.be.at.least(300 / 7);
      expect(new Set(keys).size, 'none twice').to.equal(keys.length);
      expect(keys.filter((key) => !key.includes('churn')).sort()).to.deep.equal(staying.sort());
    });

    it('has no page after the last one, where it is just full', async () => {
      const prefix = fresh();
      for (let i = 0; i < 4; i++) await kv.set(`${prefix}${i}`, '1');
      expect((await kv.list(prefix, { limit: 4 })).next).to.equal(null);
      expect((await kv.list(prefix, { limit: 3 })).next).to.be.a('string');
    });

    it('goes on from a page that is there no more', async () => {
      const prefix = fresh();
      for (let i = 0; i < 4; i++) await kv.set(`${prefix}${i}`, '1');
      const first = await kv.list(prefix, { limit: 2 });
      await kv.remove(...first.keys);
      const second = await other.list(prefix, { after: first.next as string });
      expect([...first.keys, ...second.keys].sort()).to.deep.equal([0, 1, 2, 3].map((i) => `${prefix}${i}`));
    });

    it('refuses what is no page of the same list', async () => {
      const prefix = fresh();
      for (let i = 0; i < 4; i++) await kv.set(`${prefix}${i}`, '1');
      const { next } = await kv.list(prefix, { limit: 2 });
      for (const after of ['', 'x', '0', 'null', 'W10', '"', Buffer.from('["a","b"]').toString('base64url')])
        await refused(kv.list(prefix, { after }), 'INPUT_INVALID');
      await refused(kv.list(`${prefix}other`, { after: next as string }), 'INPUT_INVALID');
      for (const limit of [0, -1, 1.5, Number.NaN]) await refused(kv.list(prefix, { limit }), 'INVALID');
    });
  });

  describe('hashes', () => {
    it('has texts by name', async () => {
      const key = fresh();
      expect(await kv.hashGet(key, 'a')).to.equal(null);
      expect(await kv.hashAll(key)).to.deep.equal({});
      await kv.hashSet(key, { a: '1', b: '' });
      await kv.hashSet(key, { b: '2', c: '3' });
      await kv.hashSet(key, {});
      expect(await kv.hashGet(key, 'b')).to.equal('2');
      expect(await kv.hashGet(key, 'd')).to.equal(null);
      expect(await other.hashAll(key)).to.deep.equal({ a: '1', b: '2', c: '3' });
    });

    it('keeps any text, under any name', async () => {
      const key = fresh();
      const fields = Object.fromEntries(ODD.map((odd) => [odd, `${odd}!`]));
      await kv.hashSet(key, fields);
      const all = await kv.hashAll(key);
      expect(Object.entries(all).sort()).to.deep.equal(Object.entries(fields).sort());
      for (const odd of ODD) expect(await kv.hashGet(key, odd)).to.equal(`${odd}!`);
    });

    it('tells how many were removed, and is gone without fields', async () => {
      const key = fresh();
      await kv.hashSet(key, { a: '1', b: '2' });
      expect(await kv.hashRemove(key, 'a', 'x')).to.equal(1);
      expect(await kv.hashRemove(key)).to.equal(0);
      expect(await kv.remainingMs(key)).to.equal(Number.POSITIVE_INFINITY);
      expect(await kv.hashRemove(key, 'b')).to.equal(1);
      expect(await kv.remainingMs(key)).to.equal(null);
      expect(await kv.hashRemove(key, 'b')).to.equal(0);
      // The name is free for a text again.
      expect(await kv.set(key, 'a', { only: 'absent' })).to.equal(true);
    });

    it('counts in a field, each of many once', async () => {
      const key = fresh();
      const sums = await Promise.all(
        Array.from({ length: 50 }, (_, i) => (i % 2 ? kv : other).hashIncrement(key, 'n', 2)),
      );
      expect(sums.sort((a, b) => a - b)).to.deep.equal(Array.from({ length: 50 }, (_, i) => 2 * i + 2));
      expect(await kv.hashIncrement(key, 'n', -200)).to.equal(-100);
      await kv.hashSet(key, { text: 'a' });
      await refused(kv.hashIncrement(key, 'text'), 'CONFLICT');
      expect(await kv.hashAll(key)).to.deep.equal({ n: '-100', text: 'a' });
    });

    it('is no text, nor a text a hash', async () => {
      const [text, hash] = [fresh(), fresh()];
      await kv.set(text, 'a');
      await kv.hashSet(hash, { a: '1' });
      await refused(kv.hashGet(text, 'a'), 'CONFLICT');
      await refused(kv.hashAll(text), 'CONFLICT');
      await refused(kv.hashSet(text, { a: '1' }), 'CONFLICT');
      await refused(kv.hashRemove(text, 'a'), 'CONFLICT');
      await refused(kv.hashIncrement(text, 'a'), 'CONFLICT');
      await refused(kv.increment(hash), 'CONFLICT');
      await refused(kv.get(hash), 'CONFLICT');
      await refused(kv.swap(hash, 'a', 'b'), 'CONFLICT');
      expect(await kv.get(text)).to.equal('a');
      expect(await kv.hashAll(hash)).to.deep.equal({ a: '1' });
    });
  });

  describe('refuses', () => {
    const longest = 'k'.repeat(512);

    it('keys that are none', async () => {
      await kv.set(longest, '1');
      expect(await kv.get(longest)).to.equal('1');
      await kv.remove(longest);
      for (const key of ['', `${longest}k`, 'a\u0000b', 'half a pair \ud83d']) {
        await refused(kv.get(key), 'INVALID');
        await refused(kv.getMany(['a', key]), 'INVALID');
        await refused(kv.set(key, '1'), 'INVALID');
        await refused(kv.swap(key, null, '1'), 'INVALID');
        await refused(kv.remove('a', key), 'INVALID');
        await refused(kv.increment(key), 'INVALID');
        await refused(kv.remainingMs(key), 'INVALID');
        await refused(kv.expire(key, 1000), 'INVALID');
        await refused(kv.hashGet(key, 'a'), 'INVALID');
        await refused(kv.hashAll(key), 'INVALID');
        await refused(kv.hashSet(key, { a: '1' }), 'INVALID');
        await refused(kv.hashRemove(key, 'a'), 'INVALID');
        await refused(kv.hashIncrement(key, 'a'), 'INVALID');
        await refused(kv.acquire(key, 1000), 'INVALID');
        await refused(kv.renew(key, 1, 1000), 'INVALID');
        await refused(kv.release(key, 1), 'INVALID');
      }
    });

    it('values that are too long, or would not come back as they are', async () => {
      const key = fresh();
      for (const value of ['a'.repeat(1_048_577), 'ż'.repeat(600_000), 'half a pair \ud83d']) {
        await refused(kv.set(key, value), 'INVALID');
        await refused(kv.swap(key, null, value), 'INVALID');
        await refused(kv.hashSet(key, { a: value }), 'INVALID');
      }
      expect(await kv.get(key)).to.equal(null);
    });

    it('limits in time that are none', async () => {
      const key = fresh();
      for (const ttlMs of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
        await refused(kv.set(key, '1', { ttlMs }), 'INVALID');
        await refused(kv.swap(key, null, '1', ttlMs), 'INVALID');
        await refused(kv.increment(key, 1, ttlMs), 'INVALID');
        await refused(kv.expire(key, ttlMs), 'INVALID');
        await refused(kv.acquire(key, ttlMs), 'INVALID');
        await refused(kv.renew(key, 1, ttlMs), 'INVALID');
      }
      expect(await kv.get(key)).to.equal(null);
    });
  });
}
