import { expect } from 'chai';
import type { Lease, Leases } from '../../core/ports/leases.ts';
import { type OdbWorld, refusal } from './odb-world.ts';

/** Longer than any test lasts. */
const LONG_MS = 600_000;
const HOUR_MS = 3_600_000;

const by = (holder: string) => ({ holder, server: `server of ${holder}` });

/** What core/ports/leases.ts promises. */
export function testOdbLeases(world: OdbWorld): void {
  describe('leases', () => {
    testTaking(world);
    testLapsing(world);
    testRenewing(world);
    testGivingUp(world);
    testValues(world);
  });
}

/** What is told of one of them; null where it is not there. */
async function told(leases: Leases, name: string): Promise<Lease | null> {
  return (await leases.renew([])).leases.find((one) => one.name === name) ?? null;
}

/** Asks until it is so, and gives that answer. */
async function until<T>(ask: () => Promise<T>, isSo: (answer: T) => boolean): Promise<T> {
  while (true) {
    const answer = await ask();
    if (isSo(answer)) return answer;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function testTaking(world: OdbWorld): void {
  it('are taken where nobody has them, and told to every server as they are', async () => {
    const name = world.kind();
    const { remainingMs, ...lease } = await world.odb.leases.take(name, by('a'), LONG_MS);
    expect(lease).to.deep.equal({ name, ...by('a'), epoch: 1, mark: null });
    expect(remainingMs).to.be.within(1, LONG_MS);
    const { remainingMs: left, ...same } = await world.other.leases.take(name, by('b'), 2 * LONG_MS);
    expect(same).to.deep.equal(lease);
    expect(left).to.be.within(1, remainingMs);
  });

  it('are kept by who has them, in the same epoch, for as long as is told then', async () => {
    const name = world.kind();
    await world.odb.leases.take(name, by('a'), LONG_MS);
    const longer = await world.odb.leases.take(name, { holder: 'a', server: 'renamed' }, 2 * LONG_MS);
    expect(longer).to.include({ epoch: 1, server: 'renamed' });
    expect(longer.remainingMs).to.be.within(LONG_MS + 1, 2 * LONG_MS);
    const shorter = await world.odb.leases.take(name, by('a'), LONG_MS);
    expect(shorter.remainingMs).to.be.within(1, LONG_MS);
  });

  it('have one epoch more with each time that another takes them', async () => {
    const name = world.kind();
    for (let epoch = 1; epoch <= 6; epoch++) {
      const [holder, leases] = epoch % 2 === 0 ? ['a', world.odb.leases] : ['b', world.other.leases];
      expect(await leases.take(name, by(holder), LONG_MS)).to.include({ holder, epoch });
      expect(await leases.release(name, holder, epoch)).to.equal(true);
      // The same one again: nobody else had it in between.
      expect(await leases.take(name, by(holder), LONG_MS)).to.include({ holder, epoch });
      await leases.release(name, holder, epoch);
    }
  });

  it('are taken by one of 20 that ask at once on two servers, and all are told the same', async () => {
    const name = world.kind();
    for (let epoch = 1; epoch <= 4; epoch++) {
      const all = await Promise.all(
        Array.from({ length: 20 }, (_, i) =>
          (i % 2 === 0 ? world.odb : world.other).leases.take(name, by(`${epoch} ${i}`), LONG_MS),
        ),
      );
      const [first] = all as [Lease];
      expect(first.epoch).to.equal(epoch);
      for (const one of all) expect(one).to.include({ holder: first.holder, epoch });
      await world.odb.leases.release(name, first.holder, epoch);
    }
  });
}

function testLapsing(world: OdbWorld): void {
  it('lapse by themselves, and are another’s then', async () => {
    const name = world.kind();
    await world.odb.leases.take(name, by('a'), 300);
    const taken = await until(
      () => world.other.leases.take(name, by('b'), LONG_MS),
      ({ holder }) => holder === 'b',
    );
    expect(taken).to.include({ holder: 'b', epoch: 2 });
    expect(await world.odb.leases.take(name, by('a'), LONG_MS)).to.include({ holder: 'b', epoch: 2 });
  });

  for (const [which, offMs] of [
    ['ahead', HOUR_MS],
    ['behind', -HOUR_MS],
  ] as const) {
    it(`lapse by the clock of the database: that of a server is an hour ${which}, and makes no difference`, async () => {
      const name = world.kind();
      const before = (await world.odb.leases.renew([])).now;
      await withClock(offMs, async () => {
        const lease = await world.odb.leases.take(name, by('a'), LONG_MS);
        expect(lease.remainingMs).to.be.within(1, LONG_MS);
        const held = { name, holder: 'a', epoch: 1, forMs: LONG_MS, mark: null };
        const { now, leases } = await world.odb.leases.renew([held]);
        expect(now).to.be.within(before, before + HOUR_MS / 2);
        expect(leases.find((one) => one.name === name)?.remainingMs).to.be.within(1, LONG_MS);
      });
      expect(await world.other.leases.take(name, by('b'), LONG_MS)).to.include({ holder: 'a', epoch: 1 });
    });
  }

  it('that lapsed are held again by a renewal, if nobody has taken them since', async () => {
    const name = world.kind();
    await world.odb.leases.take(name, by('a'), 1);
    await until(
      () => told(world.odb.leases, name),
      (lease) => (lease?.remainingMs ?? 1) <= 0,
    );
    const held = { name, holder: 'a', epoch: 1, forMs: LONG_MS, mark: null };
    const { leases } = await world.odb.leases.renew([held]);
    expect(leases.find((one) => one.name === name)?.remainingMs).to.be.within(1, LONG_MS);
    expect(await world.other.leases.take(name, by('b'), LONG_MS)).to.include({ holder: 'a', epoch: 1 });
  });
}

/** With a clock of this process that is wrong. */
async function withClock(offMs: number, work: () => Promise<void>): Promise<void> {
  const { now } = Date;
  Date.now = () => now() + offMs;
  try {
    await work();
  } finally {
    Date.now = now;
  }
}

function testRenewing(world: OdbWorld): void {
  it('are renewed many at once, each for its time and with its mark, and all that there are are told by name', async () => {
    const names = [3, 1, 2].map((n) => `${world.kind()} ${n}`);
    for (const name of names) await world.odb.leases.take(name, by('a'), LONG_MS);
    const held = names.map((name, i) => ({
      name,
      holder: 'a',
      epoch: 1,
      forMs: (i + 2) * LONG_MS,
      mark: -(2 ** 40) * i,
    }));
    const { now, leases } = await world.odb.leases.renew(held);
    expect(now).to.satisfy(Number.isSafeInteger);
    expect(leases.map((one) => one.name)).to.deep.equal(leases.map((one) => one.name).toSorted());
    for (const { name, forMs, mark } of held) {
      const lease = leases.find((one) => one.name === name) as Lease;
      expect(lease).to.include({ holder: 'a', epoch: 1, mark: mark + 0, server: 'server of a' });
      expect(lease.remainingMs).to.be.within(forMs - LONG_MS + 1, forMs);
    }
    const again = await world.other.leases.renew(held.map((one) => ({ ...one, mark: null, forMs: LONG_MS })));
    expect(again.now).to.be.at.least(now);
    for (const { name, mark } of held) {
      const lease = again.leases.find((one) => one.name === name) as Lease;
      expect(lease.mark).to.equal(mark + 0);
      expect(lease.remainingMs).to.be.within(1, LONG_MS);
    }
  });

  it('give their mark to who takes them next', async () => {
    const name = world.kind();
    await world.odb.leases.take(name, by('a'), LONG_MS);
    await world.odb.leases.renew([{ name, holder: 'a', epoch: 1, forMs: LONG_MS, mark: 1_700_000_000_000 }]);
    await world.odb.leases.release(name, 'a', 1);
    expect(await world.other.leases.take(name, by('b'), LONG_MS)).to.include({ epoch: 2, mark: 1_700_000_000_000 });
  });

  it('are not renewed where they are another’s, of another epoch or gone: they stay what they are, the others are', async () => {
    const [own, old, taken, gone] = Array.from({ length: 4 }, () => world.kind()) as [string, string, string, string];
    for (const name of [own, old]) await world.odb.leases.take(name, by('a'), LONG_MS);
    await world.other.leases.take(taken, by('b'), LONG_MS);
    await world.odb.leases.release(old, 'a', 1);
    await world.other.leases.take(old, by('b'), LONG_MS);
    await world.other.leases.release(old, 'b', 2);
    await world.odb.leases.take(old, by('a'), LONG_MS);
    const { leases } = await world.odb.leases.renew(
      [own, old, taken, gone].map((name) => ({ name, holder: 'a', epoch: 1, forMs: 5 * LONG_MS, mark: 5 })),
    );
    const of = (name: string) => leases.find((one) => one.name === name);
    expect(of(own)).to.include({ holder: 'a', epoch: 1, mark: 5 });
    expect(of(own)?.remainingMs).to.be.above(LONG_MS);
    expect(of(old)).to.include({ holder: 'a', epoch: 3, mark: null });
    expect(of(taken)).to.include({ holder: 'b', epoch: 1, mark: null });
    for (const name of [old, taken]) expect(of(name)?.remainingMs).to.be.within(1, LONG_MS);
    expect(of(gone)).to.equal(undefined);
  });
}

function testGivingUp(world: OdbWorld): void {
  it('are another’s at once when they are released; only who has them can do that', async () => {
    const name = world.kind();
    await world.odb.leases.take(name, by('a'), LONG_MS);
    for (const [holder, epoch] of [
      ['b', 1],
      ['a', 2],
      ['A', 1],
    ] as const) {
      expect(await world.other.leases.release(name, holder, epoch)).to.equal(false);
    }
    expect((await told(world.other.leases, name))?.remainingMs).to.be.above(0);
    expect(await world.odb.leases.release(name, 'a', 1)).to.equal(true);
    expect((await told(world.other.leases, name))?.remainingMs).to.be.at.most(0);
    // As after an answer that was lost.
    expect(await world.odb.leases.release(name, 'a', 1)).to.equal(true);
    expect(await world.other.leases.take(name, by('b'), LONG_MS)).to.include({ holder: 'b', epoch: 2 });
    expect(await world.odb.leases.release(name, 'a', 1)).to.equal(false);
    expect((await told(world.odb.leases, name))?.remainingMs).to.be.above(0);
    expect(await world.odb.leases.release(`${name} not there`, 'a', 1)).to.equal(false);
  });

  it('are removed once they have lapsed: their holder cannot renew them, and the next one begins anew', async () => {
    const name = world.kind();
    await world.odb.leases.take(name, by('a'), LONG_MS);
    expect(await world.other.leases.remove(name, 'a')).to.equal(false);
    await world.odb.leases.release(name, 'a', 1);
    expect(await world.other.leases.remove(name, 'b')).to.equal(false);
    expect((await told(world.odb.leases, name))?.holder).to.equal('a');
    expect(await world.other.leases.remove(name, 'a')).to.equal(true);
    expect(await world.other.leases.remove(name, 'a')).to.equal(false);
    const held = { name, holder: 'a', epoch: 1, forMs: LONG_MS, mark: 1 };
    expect((await world.odb.leases.renew([held])).leases.find((one) => one.name === name)).to.equal(undefined);
    expect(await world.odb.leases.take(name, by('b'), LONG_MS)).to.include({ holder: 'b', epoch: 1, mark: null });
  });

  it('are either removed or renewed, where both are asked for at once', async () => {
    const names = Array.from({ length: 20 }, () => world.kind());
    for (const name of names) {
      await world.odb.leases.take(name, by('a'), LONG_MS);
      await world.odb.leases.release(name, 'a', 1);
    }
    const held = names.map((name) => ({ name, holder: 'a', epoch: 1, forMs: LONG_MS, mark: null }));
    const [removed] = await Promise.all([
      Promise.all(names.map((name) => world.other.leases.remove(name, 'a'))),
      world.odb.leases.renew(held),
    ]);
    const { leases } = await world.odb.leases.renew([]);
    for (const [i, name] of names.entries()) {
      const lease = leases.find((one) => one.name === name);
      if (removed[i]) expect(lease, name).to.equal(undefined);
      else expect(lease?.remainingMs, name).to.be.above(0);
    }
  });
}

function testValues(world: OdbWorld): void {
  it('have names of 200 characters and holders of 100, which compare exactly', async () => {
    const kind = world.kind();
    for (const [i, name] of ['a', 'A', 'a ', 'ä', 'x'.repeat(190), '😀'.repeat(190)].entries()) {
      const holder = name.slice(0, 100).toWellFormed();
      expect(await world.odb.leases.take(`${kind} ${name}`, by(holder), LONG_MS + i)).to.include({ holder, epoch: 1 });
    }
    const { leases } = await world.other.leases.renew([]);
    expect(leases.filter((one) => one.name.startsWith(`${kind} `))).to.have.lengthOf(6);
  });

  it('are refused what cannot be kept: INVALID, with the place of each problem', async () => {
    const { leases } = world.odb;
    const held = { name: 'n', holder: 'h', epoch: 1, forMs: 1000, mark: null };
    const given: readonly [() => Promise<unknown>, string[]][] = [
      [() => leases.take('', by('a'), LONG_MS), ['/name']],
      [() => leases.take('x'.repeat(201), by('x'.repeat(101)), 0), ['/name', '/by/holder', '/forMs']],
      [
        () => leases.take('a\0b', { holder: '\ud800', server: '' }, 1.5),
        ['/name', '/by/holder', '/by/server', '/forMs'],
      ],
      [() => leases.renew([held, { ...held, forMs: -1, mark: 0.5 }]), ['/held/1/forMs', '/held/1/mark']],
      [() => leases.release('', 'a', -1), ['/name', '/epoch']],
      [() => leases.remove('n', ''), ['/holder']],
    ];
    for (const [doing, paths] of given) {
      const error = await refusal('INVALID', doing());
      expect(error.problems?.map((problem) => problem.path)).to.deep.equal(paths);
      for (const problem of error.problems ?? []) expect(problem).to.include.keys('message', 'expected', 'got');
    }
  });
}
