import { expect } from 'chai';
import type { GantryError, Logger } from '../../../core/api.ts';
import type { Leases } from '../../../core/ports/index.ts';
import { type Clock, DatabaseTime } from '../../../plugins/scheduler-agenda/clock.ts';
import { HeldLeases, ownerOf, runLeaseName, SCHEDULER } from '../../../plugins/scheduler-agenda/leases.ts';
import { Database } from './fixtures/database.ts';
import { Universe } from './fixtures/universe.ts';

const LEASE_MS = 5000;

/** Servers that share leases, in a time that goes on by hand. */
function world() {
  const universe = new Universe(1);
  const database = new Database(universe, { ended: () => {}, broken: () => {} });
  /** Answers that are held back. */
  const held: (() => void)[] = [];
  let holds: string | null = null;
  const ask = async <T>(what: string, work: () => T): Promise<T> => {
    if (holds === what) await new Promise<void>((go) => void held.push(go));
    return work();
  };
  const leases: Leases = {
    take: (name, ...of) => ask(`take ${name}`, () => database.take(name, ...of)),
    renew: (...of) => ask('renew', () => database.renew(...of)),
    release: (...of) => ask('release', () => database.release(...of)),
    remove: (...of) => ask('remove', () => database.remove(...of)),
  };
  const clock: Clock = { steady: () => universe.now, wall: () => 0, after: () => () => {}, turn: async () => {} };
  const nothing = () => {};
  const log = { debug: nothing, info: nothing, warn: nothing, error: nothing } as unknown as Logger;
  const server = (name: string) => {
    const told: string[] = [];
    let back: string | null = null;
    const heldLeases = new HeldLeases({
      ...{ leases, clock, time: new DatabaseTime(clock), log, server: name, instance: name },
      ...{ beatMs: 1000, leaseMs: LEASE_MS, runLeaseMs: 2 * LEASE_MS },
      standsBack: () => back,
      mark: () => 42,
      onHolding: (mark) => told.push(`holds ${mark}`),
      onLetGo: () => told.push('let go'),
      onRunsLost: ({ code }: GantryError) => told.push(`lost ${code}`),
      onBeat: nothing,
    });
    heldLeases.start();
    return { heldLeases, told, standBack: (why: string) => void (back = why) };
  };
  const lease = () => database.leases.get(SCHEDULER);
  return {
    ...{ server, lease, database },
    go: (ms: number) => void (universe.now += ms),
    hold: (what: string) => void (holds = what),
    release: () => {
      holds = null;
      for (const go of held.splice(0)) go();
    },
    isFree: () => {
      const found = lease();
      return found === undefined || database.isLapsed(found);
    },
  };
}

describe('scheduler.agenda holds leases', () => {
  it('one server the scheduler, each one that it is alive', async () => {
    const { server } = world();
    const [one, other] = [server('a'), server('b')];
    for (const { heldLeases } of [one, other]) await heldLeases.beat();
    expect([one.heldLeases.isHolder, other.heldLeases.isHolder]).to.deep.equal([true, false]);
    expect([one.heldLeases.owner, other.heldLeases.owner]).to.deep.equal(['a.1', 'b.1']);
    expect(one.told).to.deep.equal(['holds null']);
    expect(other.heldLeases.holder).to.deep.equal({ server: 'a', epoch: 1 });
    expect(one.heldLeases.fence()).to.include({ lease: SCHEDULER, epoch: 1 });
    expect(() => other.heldLeases.fence())
      .to.throw()
      .with.property('code', 'LEASE_LOST');
    expect(ownerOf({ name: runLeaseName('a.1') })).to.equal('a.1');
    expect(ownerOf({ name: SCHEDULER })).to.equal(null);
  });

  it('for less time than the database gives it: who is next comes after', async () => {
    const { server, go } = world();
    const [one, other] = [server('a'), server('b')];
    await one.heldLeases.beat();
    go(LEASE_MS - 1001);
    expect(one.heldLeases.isHolder).to.equal(true);
    go(1);
    expect(one.heldLeases.isHolder, 'by its own clock').to.equal(false);
    await other.heldLeases.beat();
    expect(other.heldLeases.isHolder, 'not yet').to.equal(false);
    go(1000);
    await other.heldLeases.beat();
    expect(other.heldLeases.isHolder).to.equal(true);
    expect(other.heldLeases.epoch).to.equal(2);
    expect(other.told, 'with what the one before left').to.deep.equal(['holds null']);
  });

  it('leaves to the next one what it has marked', async () => {
    const { server, go } = world();
    const [one, other] = [server('a'), server('b')];
    for (let i = 0; i < 2; i++) await one.heldLeases.beat();
    expect(one.heldLeases.marked).to.equal(42);
    go(LEASE_MS);
    await other.heldLeases.beat();
    expect(other.told).to.deep.equal(['holds 42']);
  });

  it('not any more once it was given away, though a renewal was on its way', async () => {
    const { server, hold, release, isFree } = world();
    const { heldLeases, told } = server('a');
    await heldLeases.beat();
    hold('renew');
    const beating = heldLeases.beat();
    await Promise.resolve();
    const leaving = heldLeases.letGo();
    expect(told.at(-1), 'at once').to.equal('let go');
    release();
    await Promise.all([beating, leaving]);
    expect(isFree()).to.equal(true);
  });

  it('not where it was taken while the server stopped', async () => {
    const { server, hold, release, isFree, database } = world();
    const { heldLeases, told } = server('a');
    hold(`take ${SCHEDULER}`);
    const beating = heldLeases.beat();
    await new Promise<void>((resolve) => void setImmediate(resolve));
    const stopping = heldLeases.stop();
    release();
    await Promise.all([beating, stopping]);
    expect(isFree()).to.equal(true);
    expect(told).to.deep.equal([]);
    expect(
      [...database.leases.keys()].filter((name) => name !== SCHEDULER),
      'nor that it is alive',
    ).to.deep.equal([]);
  });

  it('not where it may not: it is given away at the next beat', async () => {
    const { server, isFree } = world();
    const { heldLeases, told, standBack } = server('a');
    await heldLeases.beat();
    standBack('it drains');
    await heldLeases.beat();
    expect([heldLeases.isHolder, isFree()]).to.deep.equal([false, true]);
    expect(told).to.deep.equal(['holds null', 'let go']);
  });

  it('in another epoch when it takes it again: what it asked for before and is not done yet is refused', async () => {
    const { server, database } = world();
    const { heldLeases } = server('a');
    await heldLeases.beat();
    const before = heldLeases.fence();
    heldLeases.refused();
    expect(heldLeases.isHolder).to.equal(false);
    await heldLeases.beat();
    expect(heldLeases.isHolder).to.equal(true);
    expect(heldLeases.epoch).to.equal(2);
    expect(database.holds(before)).to.equal(false);
    expect(database.holds(heldLeases.fence())).to.equal(true);
  });

  it('and tells its runs when they are not its own any more; it lives again under another name', async () => {
    const { server, go } = world();
    const { heldLeases, told } = server('a');
    await heldLeases.beat();
    go(2 * LEASE_MS);
    expect(heldLeases.owner).to.equal(null);
    expect(() => heldLeases.ownFence())
      .to.throw()
      .with.property('code', 'LEASE_LOST');
    await heldLeases.beat();
    expect(told.slice(0, 3)).to.deep.equal(['holds null', 'let go', 'lost LEASE_LOST']);
    expect(heldLeases.owner).to.equal('a.2');
  });
});
