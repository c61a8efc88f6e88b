import { expect } from 'chai';
import type { Kv } from '../../core/ports/kv.ts';
import { type KvWorld, LONG_MS, ODD } from './kv-world.ts';

/** Of the kv kit: texts, what changes them as one step, and limits in time. */
export function testTexts(world: KvWorld): void {
  const { fresh, until, refused } = world;
  let kv: Kv;
  let other: Kv;
  before(() => {
    kv = world.kv;
    other = world.other;
  });

  describe('texts', () => {
    it('gives what was put last, and null where nothing is', async () => {
      const key = fresh();
      expect(await kv.get(key)).to.equal(null);
      expect(await kv.set(key, 'one')).to.equal(true);
      expect(await kv.set(key, 'two')).to.equal(true);
      expect(await kv.get(key)).to.equal('two');
    });

    it('keeps any text, under any key', async () => {
      for (const odd of [...ODD, '', 'a\u0000b', '\ufeff', '-0', '1e3']) {
        const key = fresh();
        await kv.set(key, odd);
        expect(await kv.get(key)).to.equal(odd);
      }
      const key = fresh();
      for (const odd of ODD) await kv.set(`${key}${odd}`, odd);
      for (const odd of ODD) expect(await kv.get(`${key}${odd}`)).to.equal(odd);
      for (const odd of ODD) {
        expect(await kv.set(odd, `kit ${odd}`)).to.equal(true);
        expect(await kv.get(odd)).to.equal(`kit ${odd}`);
        expect(await kv.remove(odd)).to.equal(1);
      }
    });

    it('gives many in the order of their keys', async () => {
      const [one, two, none] = [fresh(), fresh(), fresh()];
      await kv.set(one, '1');
      await kv.set(two, '2');
      expect(await kv.getMany([two, none, one, two])).to.deep.equal(['2', null, '1', '2']);
      expect(await kv.getMany([])).to.deep.equal([]);
      const all = Array.from({ length: 200 }, fresh);
      await Promise.all(all.map((key, i) => kv.set(key, String(i))));
      expect(await kv.getMany(all)).to.deep.equal(all.map((_, i) => String(i)));
    });

    it('removes, and tells how many were there', async () => {
      const [one, two, three] = [fresh(), fresh(), fresh()];
      await kv.set(one, '1');
      await kv.hashSet(two, { a: '1' });
      expect(await kv.remove(one, two, three)).to.equal(2);
      expect(await kv.getMany([one, two])).to.deep.equal([null, null]);
      expect(await kv.remove(one)).to.equal(0);
      expect(await kv.remove()).to.equal(0);
    });

    it('puts only where nothing is, or only where something is', async () => {
      const key = fresh();
      expect(await kv.set(key, 'a', { only: 'present' })).to.equal(false);
      expect(await kv.get(key)).to.equal(null);
      expect(await kv.set(key, 'b', { only: 'absent' })).to.equal(true);
      expect(await kv.set(key, 'c', { only: 'absent' })).to.equal(false);
      expect(await kv.get(key)).to.equal('b');
      expect(await kv.set(key, 'd', { only: 'present', ttlMs: LONG_MS })).to.equal(true);
      expect(await kv.get(key)).to.equal('d');
    });

    it('lets one of many win that put where nothing is', async () => {
      const key = fresh();
      const won = await Promise.all(
        Array.from({ length: 50 }, (_, i) => (i % 2 ? kv : other).set(key, String(i), { only: 'absent' })),
      );
      expect(won.filter(Boolean)).to.have.lengthOf(1);
      expect(await kv.get(key)).to.equal(String(won.indexOf(true)));
    });

    it('keeps a text of 1 MB', async () => {
      const key = fresh();
      const text = 'ż'.repeat(500_000);
      await kv.set(key, text);
      expect((await other.get(key)) === text, 'the same text').to.equal(true);
      expect(await kv.swap(key, text, `${text.slice(1)}a`)).to.equal(true);
      expect((await kv.get(key)) === `${text.slice(1)}a`, 'the other text').to.equal(true);
      await kv.remove(key);
    });
  });

  describe('swap', () => {
    it('puts the next in the place of exactly what was expected', async () => {
      const key = fresh();
      expect(await kv.swap(key, 'a', 'b')).to.equal(false);
      expect(await kv.swap(key, null, 'a')).to.equal(true);
      expect(await kv.swap(key, null, 'b')).to.equal(false);
      expect(await kv.swap(key, 'A', 'b')).to.equal(false);
      expect(await kv.swap(key, 'a ', 'b')).to.equal(false);
      expect(await kv.get(key)).to.equal('a');
      expect(await kv.swap(key, 'a', '')).to.equal(true);
      expect(await kv.swap(key, null, 'b')).to.equal(false);
      expect(await kv.swap(key, '', 'b')).to.equal(true);
      expect(await kv.swap(key, 'b', null)).to.equal(true);
      expect(await kv.get(key)).to.equal(null);
      expect(await kv.swap(key, null, null)).to.equal(true);
      expect(await kv.get(key)).to.equal(null);
    });

    it('gives a limit, and takes away the one that was there', async () => {
      const key = fresh();
      expect(await kv.swap(key, null, 'a', LONG_MS)).to.equal(true);
      expect(await kv.remainingMs(key)).to.be.within(1, LONG_MS);
      expect(await kv.swap(key, 'a', 'b')).to.equal(true);
      expect(await kv.remainingMs(key)).to.equal(Number.POSITIVE_INFINITY);
    });

    it('lets exactly one of many win, every time', async () => {
      for (let round = 0; round < 20; round++) {
        const key = fresh();
        if (round % 2) await kv.set(key, 'before');
        const expected = round % 2 ? 'before' : null;
        const won = await Promise.all(
          Array.from({ length: 30 }, (_, i) => (i % 2 ? kv : other).swap(key, expected, `by ${i}`)),
        );
        expect(won.filter(Boolean), `round ${round}`).to.have.lengthOf(1);
        expect(await kv.get(key)).to.equal(`by ${won.indexOf(true)}`);
      }
    });

    it('loses nothing where many read, change and put', async () => {
      const key = fresh();
      const add = async (at: Kv) => {
        for (;;) {
          const there = await at.get(key);
          if (await at.swap(key, there, String(Number(there ?? 0) + 1))) return;
        }
      };
      const work = async (at: Kv) => {
        for (let i = 0; i < 20; i++) await add(at);
      };
      await Promise.all([kv, other, kv, other, kv].map(work));
      expect(await kv.get(key)).to.equal('100');
    });
  });

  describe('increment', () => {
    it('adds to what is there, and to 0 where nothing is', async () => {
      const key = fresh();
      expect(await kv.increment(key)).to.equal(1);
      expect(await kv.increment(key, 41)).to.equal(42);
      expect(await kv.increment(key, -50)).to.equal(-8);
      expect(await kv.increment(key, 0)).to.equal(-8);
      expect(await kv.get(key)).to.equal('-8');
      expect(await kv.increment(key, 8)).to.equal(0);
      expect(await kv.get(key)).to.equal('0');
      await kv.set(key, '7');
      expect(await kv.increment(key)).to.equal(8);
    });

    it('counts each of many, once', async () => {
      const key = fresh();
      const sums = await Promise.all(Array.from({ length: 50 }, (_, i) => (i % 2 ? kv : other).increment(key)));
      expect(sums.sort((a, b) => a - b)).to.deep.equal(Array.from({ length: 50 }, (_, i) => i + 1));
      expect(await kv.get(key)).to.equal('50');
    });

    it('is exact as far as whole numbers are, and refuses what is beyond', async () => {
      const key = fresh();
      const { MAX_SAFE_INTEGER: most, MIN_SAFE_INTEGER: least } = Number;
      expect(await kv.increment(key, most - 1)).to.equal(most - 1);
      expect(await kv.increment(key)).to.equal(most);
      await refused(kv.increment(key), 'CONFLICT');
      expect(await kv.get(key)).to.equal(String(most));
      expect(await kv.increment(key, -most)).to.equal(0);
      expect(await kv.increment(key, least)).to.equal(least);
      await refused(kv.increment(key, -1), 'CONFLICT');
      expect(await kv.get(key)).to.equal(String(least));
    });

    it('refuses where no whole number is, and leaves it', async () => {
      for (const text of [
        '',
        'abc',
        '1.5',
        ' 1',
        '1 ',
        '1e3',
        '0x1',
        '9007199254740993',
        '-',
        '--1',
        'Infinity',
        'nan',
      ]) {
        const key = fresh();
        await kv.set(key, text);
        await refused(kv.increment(key), 'CONFLICT');
        expect(await kv.get(key)).to.equal(text);
      }
      for (const by of [0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53])
        await refused(kv.increment(fresh(), by), 'INVALID');
    });

    it('counts its limit from the first one', async () => {
      const key = fresh();
      await kv.increment(key, 1, LONG_MS);
      expect(await kv.remainingMs(key)).to.be.within(1, LONG_MS);
      await kv.increment(key, 1, 2 * LONG_MS);
      expect(await kv.remainingMs(key)).to.be.within(1, LONG_MS);
      await kv.increment(key);
      expect(await kv.remainingMs(key)).to.be.within(1, LONG_MS);
      await kv.expire(key, 30);
      await until(async () => (await kv.get(key)) === null);
      expect(await kv.increment(key)).to.equal(1);
      expect(await kv.remainingMs(key)).to.equal(Number.POSITIVE_INFINITY);
    });
  });

  describe('limits in time', () => {
    it('lets a key go when its time is over, and not before', async () => {
      const [short, long] = [fresh(), fresh()];
      await kv.set(long, 'a', { ttlMs: LONG_MS });
      await kv.set(short, 'a', { ttlMs: 50 });
      await until(async () => (await kv.get(short)) === null);
      expect(await kv.remainingMs(short)).to.equal(null);
      expect(await kv.set(short, 'b', { only: 'present' })).to.equal(false);
      expect(await kv.swap(short, null, 'c')).to.equal(true);
      expect(await kv.get(long)).to.equal('a');
    });

    it('tells how long is left', async () => {
      const key = fresh();
      expect(await kv.remainingMs(key)).to.equal(null);
      await kv.set(key, 'a');
      expect(await kv.remainingMs(key)).to.equal(Number.POSITIVE_INFINITY);
      await kv.set(key, 'a', { ttlMs: LONG_MS });
      const first = (await kv.remainingMs(key)) as number;
      expect(first).to.be.within(LONG_MS - 60_000, LONG_MS);
      await until(async () => ((await other.remainingMs(key)) as number) < first);
    });

    it('forgets the limit where a text is put without one', async () => {
      const key = fresh();
      await kv.set(key, 'a', { ttlMs: LONG_MS });
      await kv.set(key, 'b');
      expect(await kv.remainingMs(key)).to.equal(Number.POSITIVE_INFINITY);
    });

    it('gives a limit, another one, and takes it away', async () => {
      const key = fresh();
      expect(await kv.expire(key, LONG_MS)).to.equal(false);
      expect(await kv.expire(key, null)).to.equal(false);
      await kv.set(key, 'a');
      expect(await kv.expire(key, null)).to.equal(true);
      expect(await kv.expire(key, LONG_MS)).to.equal(true);
      expect(await kv.remainingMs(key)).to.be.within(1, LONG_MS);
      expect(await kv.expire(key, null)).to.equal(true);
      expect(await kv.remainingMs(key)).to.equal(Number.POSITIVE_INFINITY);
      expect(await kv.expire(key, 30)).to.equal(true);
      await until(async () => (await kv.remainingMs(key)) === null);
      expect(await kv.get(key)).to.equal(null);
    });

    it('holds for hashes, too', async () => {
      const key = fresh();
      await kv.hashSet(key, { a: '1' });
      expect(await kv.remainingMs(key)).to.equal(Number.POSITIVE_INFINITY);
      await kv.expire(key, LONG_MS);
      await kv.hashSet(key, { b: '2' });
      expect(await kv.remainingMs(key)).to.be.within(1, LONG_MS);
      await kv.expire(key, 30);
      await until(async () => (await kv.hashGet(key, 'a')) === null);
      expect(await kv.hashAll(key)).to.deep.equal({});
    });
  });
}
