/** The contract kit of the kv port: every promise of core/ports/kv.ts. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { Kernel } from '../../core/kernel.ts';
import { Logs } from '../../core/log.ts';
import type { Plugin } from '../../core/plugin.ts';
import type { Kv } from '../../core/ports/kv.ts';

export interface KvKit {
  readonly plugin: Plugin;
  /** Of each server; those of one kit have one store. Called once the tests run. */
  readonly config?: () => Readonly<Record<string, unknown>>;
  /** Whether servers see each other's keys. A store that does not have it is for a single server. */
  readonly shared: boolean;
  /** How long a wait for a limit to pass may take. Default: 10,000. */
  readonly withinMs?: number;
}

/** Longer than any test takes. */
const LONG_MS = 600_000;
const ODD = [
  'zażółć gęślą jaźń',
  '日本語 \u{1f511}',
  '* ? [a-z] [^a] \\ \\* {tag} {} }{',
  ' a\tb\r\nc ',
  '__proto__',
  'constructor',
  '{}',
  '}',
];

export function testKv({ plugin, config = () => ({}), shared, withinMs = 10_000 }: KvKit): void {
  const kernels: Kernel[] = [];
  let kv: Kv;
  let other: Kv;
  let last = 0;
  const run = randomUUID().slice(0, 8);

  /** One that no other test, and no other run, uses. */
  const fresh = () => `kit ${run} ${++last}`;
  const serve = async (): Promise<Kv> => {
    const kernel = new Kernel({ logs: new Logs({ level: 'silent' }), graceMs: 1000 });
    kernel.create([{ id: plugin.id, plugin, config: structuredClone(config()) }]);
    kernels.push(kernel);
    await kernel.start();
    return kernel.cradle.kv;
  };
  const until = async (holds: () => Promise<boolean>) => {
    for (const end = Date.now() + withinMs; !(await holds()); await sleep(20)) {
      if (Date.now() > end) throw new Error(`It did not come about in ${withinMs} ms`);
    }
  };
  const refused = async (doing: Promise<unknown>, code: string) => {
    const error = await doing.then(
      (value) => new Error(`It gave ${JSON.stringify(value)}`),
      (thrown: unknown) => thrown,
    );
    expect(error, String(error)).to.have.property('code', code);
  };

  before(async () => {
    kv = await serve();
    other = shared ? await serve() : kv;
  });
  after(() => Promise.all(kernels.splice(0).map((kernel) => kernel.stop())));

  it('has no problem while it answers', async () => {
    expect(kv.problem).to.equal(null);
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
        expect(await kv.set(odd, run)).to.equal(true);
        expect(await kv.get(odd)).to.equal(run);
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

  describe('locks', () => {
    it('are held by one at a time', async () => {
      const name = fresh();
      for (let round = 0; round < 10; round++) {
        const fences = await Promise.all(
          Array.from({ length: 20 }, (_, i) => (i % 2 ? kv : other).acquire(name, LONG_MS)),
        );
        const [fence, ...more] = fences.filter((one) => one !== null);
        expect(fence, `round ${round}`).to.be.a('number');
        expect(more, `round ${round}`).to.deep.equal([]);
        expect(await other.release(name, fence as number)).to.equal(true);
      }
    });

    it('have fences that grow: after a release, and after their time', async () => {
      const name = fresh();
      let greatest = 0;
      for (let i = 0; i < 200; i++) {
        const fence = (await (i % 2 ? kv : other).acquire(name, LONG_MS)) as number;
        expect(Number.isSafeInteger(fence)).to.equal(true);
        expect(fence).to.be.greaterThan(greatest);
        greatest = fence;
        expect(await kv.release(name, fence)).to.equal(true);
      }
      for (let i = 0; i < 3; i++) {
        expect(
          await kv.acquire(name, 20).then((fence) => (fence as number) > greatest && (greatest = fence as number)),
        ).to.equal(greatest);
        let next: number | null = null;
        await until(async () => (next = await other.acquire(name, LONG_MS)) !== null);
        expect(next).to.be.greaterThan(greatest);
        greatest = next as unknown as number;
        await kv.release(name, greatest);
      }
    });

    it('are renewed and released by their holder alone', async () => {
      const name = fresh();
      const fence = (await kv.acquire(name, LONG_MS)) as number;
      expect(await kv.renew(name, fence + 1, LONG_MS)).to.equal(false);
      expect(await kv.renew(name, fence - 1, LONG_MS)).to.equal(false);
      expect(await kv.release(name, fence + 1)).to.equal(false);
      expect(await other.renew(name, fence, LONG_MS)).to.equal(true);
      expect(await other.acquire(name, LONG_MS)).to.equal(null);
      expect(await other.release(name, fence)).to.equal(true);
      expect(await kv.release(name, fence)).to.equal(false);
      expect(await kv.renew(name, fence, LONG_MS)).to.equal(false);
      const free = fresh();
      expect(await kv.renew(free, fence, LONG_MS)).to.equal(false);
      expect(await kv.release(free, fence)).to.equal(false);
    });

    it('are held until the time of the last renewal', async () => {
      const name = fresh();
      const fence = (await kv.acquire(name, LONG_MS)) as number;
      expect(await kv.renew(name, fence, 30)).to.equal(true);
      await until(async () => (await other.acquire(name, LONG_MS)) !== null);
      expect(await kv.renew(name, fence, LONG_MS), 'renewed by who lost it').to.equal(false);
      expect(await kv.release(name, fence), 'released by who lost it').to.equal(false);
      expect(await kv.acquire(name, LONG_MS), 'held by the second').to.equal(null);
    });

    it('are lost when their time is over, though nobody else took them', async () => {
      const name = fresh();
      const fence = (await kv.acquire(name, 30)) as number;
      await until(async () => !(await kv.renew(name, fence, 1)));
      expect(await kv.release(name, fence)).to.equal(false);
    });

    it('keep apart what they protect', async () => {
      const name = fresh();
      const work = async (at: Kv) => {
        for (let i = 0; i < 5; i++) {
          let fence: number | null = null;
          await until(async () => (fence = await at.acquire(name, LONG_MS)) !== null);
          const there = Number(await at.get(`${name} sum`));
          await at.set(`${name} sum`, String(there + 1));
          await at.release(name, fence as unknown as number);
        }
      };
      await Promise.all([kv, other, kv, other].map(work));
      expect(await kv.get(`${name} sum`)).to.equal('20');
    });

    it('are no keys, and each name is a lock of its own', async () => {
      const name = fresh();
      const all = [name, ...ODD.map((odd) => `${name}${odd}`)];
      const fences = await Promise.all(all.map((one) => kv.acquire(one, LONG_MS)));
      expect(fences).to.not.include(null);
      await kv.set(name, 'a');
      expect(await kv.remove(name)).to.equal(1);
      expect(await kv.acquire(name, LONG_MS)).to.equal(null);
      for (const [i, one] of all.entries()) expect(await kv.release(one, fences[i] as number)).to.equal(true);
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

  it('lets every server read at once what another one wrote', async function () {
    if (!shared) {
      console.log(`      ${plugin.id} is for this process only`);
      return this.skip();
    }
    const third = await serve();
    for (let i = 0; i < 20; i++) {
      const key = fresh();
      const [from, to] = i % 2 ? [kv, third] : [third, other];
      await from.set(key, 'a');
      expect(await to.get(key)).to.equal('a');
      await to.hashSet(`${key} hash`, { a: '1' });
      expect(await from.hashAll(`${key} hash`)).to.deep.equal({ a: '1' });
      await to.remove(key);
      expect(await from.get(key)).to.equal(null);
    }
    expect((await third.list(`kit ${run}`)).keys.length).to.be.greaterThan(10);
  });

  it('can be stopped without having been started', async () => {
    const kernel = new Kernel({ logs: new Logs({ level: 'silent' }), graceMs: 1000 });
    kernel.create([{ id: plugin.id, plugin, config: structuredClone(config()) }]);
    await kernel.stop();
  });
}
