import { expect } from 'chai';
import type { Kv } from '../../core/ports/kv.ts';
import { type KvWorld, LONG_MS, ODD } from './kv-world.ts';

/** Of the kv kit: locks and their fences. */
export function testLocks(world: KvWorld): void {
  const { fresh, until } = world;
  let kv: Kv;
  let other: Kv;
  before(() => {
    kv = world.kv;
    other = world.other;
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
}
