import { expect } from 'chai';
import type { Attempt } from '../../core/ports/index.ts';
import { dueTimes } from './scheduler-schedules.ts';
import { BY, type SchedulerWorld, type Server } from './scheduler-world.ts';

const sum = (rows: readonly Attempt[]) => rows.reduce((total, { count }) => total + count, 0);

export function testSchedulerCluster(world: SchedulerWorld): void {
  const holders = () => world.servers.filter(({ scheduler }) => scheduler.status().isHolder);
  const held = (by: Server) => world.until(`${by.name} holds`, () => by.scheduler.status().planned !== null);

  describe('several servers', () => {
    let second: Server;
    before(async () => {
      await held(world.first);
      second = await world.start();
    });

    it('have one holder, and all know which', async () => {
      await world.until('the second one knows', () => second.scheduler.status().holder !== null);
      expect(holders().map(({ name }) => name)).to.deep.equal([world.first.name]);
      expect(second.scheduler.status()).to.include({ isHolder: false, planned: null });
      expect(second.scheduler.status().holder).to.deep.equal(world.scheduler.status().holder);
      expect(second.scheduler.problem).to.equal(null);
    });

    it('run what may run on any, each once', async () => {
      const of = { overlap: 'allow', runsOn: 'any', missed: { policy: 'all' }, payload: { ms: 100 } };
      const name = await world.job({ ...of, schedule: { everyMs: 20, repeats: 60 } }, 'kit.last');
      await world.until('all have run', async () => {
        const rows = await world.rows(name);
        return sum(rows) === 60 && rows.every(({ state }) => state === 'ended');
      });
      const runs = world.ranFor(name);
      expect(new Set(runs.map(({ firing }) => firing.token)).size).to.equal(runs.length);
      expect(runs).to.have.lengthOf((await world.rows(name)).filter(({ startedAt }) => startedAt !== null).length);
    });

    it('hear of what another one was asked for', async () => {
      const name = await world.job({}, 'kit.wait');
      await world.until('it knows the job', () => second.records.names('job').includes(name));
      const token = await second.scheduler.fire(name, BY);
      await world.until('it runs, at the holder', () => world.ran(token)[0]?.server === world.first.name);
      expect(await second.scheduler.cancel(token, BY)).to.equal(true);
      expect((await world.ended(token))[0]).to.include({ outcome: 'cancelled' });
      await world.until('it is told', () => world.ran(token)[0]?.aborted ?? false);
      const note = await world.job({});
      expect((await world.ended(await second.scheduler.fire(note, BY)))[0]).to.include({ outcome: 'succeeded' });
    });

    it('lose nothing, and do nothing twice, when the holder is stopped', async () => {
      const of = { missed: { policy: 'all' }, overlap: 'allow' };
      const name = await world.job({ schedule: { everyMs: 50, repeats: 60 }, ...of });
      const later = await world.scheduler.accept(world.durable({ afterMs: 1500 }));
      await world.until('it runs', async () => (await world.rows(name)).length > 5);
      const [first] = world.servers as [Server];
      const epoch = first.scheduler.status().holder?.epoch as number;
      await first.stop();
      await held(second);
      expect(second.scheduler.status().holder).to.include({ server: second.name });
      expect(second.scheduler.status().holder?.epoch).to.be.above(epoch);
      const rows = await world.until('all are accounted for', async () => {
        const found = await world.rows(name);
        return sum(found) === 60 && found.every(({ state }) => state === 'ended') && found;
      });
      expect(rows.map(({ dueAt }) => dueAt)).to.deep.equal(await dueTimes(world, name, Date.now()));
      const tokens = world.ranFor(name).map(({ firing }) => firing.token);
      expect(new Set(tokens).size, 'none twice').to.equal(tokens.length);
      expect(new Set(rows.map(({ server }) => server)).size, 'by both').to.equal(2);
      expect((await world.ended(later))[0], 'of a server that is gone').to.include({ server: second.name });
    });

    it('interrupt what a server ran that stops, and run it again where the job says so', async () => {
      const third = await world.start();
      const again = await world.job({ interrupted: 'again', payload: { mark: 'again' } }, 'kit.wait');
      const leave = await world.job({ interrupted: 'leave', onError: 'kit.note' }, 'kit.wait');
      const [one, other] = [await world.scheduler.fire(again, BY), await world.scheduler.fire(leave, BY)];
      const call = await world.scheduler.accept(world.durable({ service: 'kit.wait' }));
      await world.until('all run', () => [one, other, call].every((token) => world.ran(token).length === 1));
      await second.stop();
      await held(third);
      const attempts = await world.until('it runs again', async () => {
        const found = await world.scheduler.find(one);
        return found.length === 2 && found[1]?.state === 'running' && found;
      });
      expect(attempts.map(({ outcome, attempt }) => [attempt, outcome])).to.deep.equal([
        [1, 'interrupted'],
        [2, null],
      ]);
      expect(attempts[1]?.startedAt).to.be.at.least(attempts[0]?.endedAt as number);
      await world.until('the call runs again', () => world.ran(call).length === 2);
      expect(world.ran(one).map(({ server }) => server)).to.deep.equal([second.name, third.name]);
      for (const token of [one, other]) expect(world.ran(token)[0]?.aborted, token).to.be.a('string');
      expect((await world.ended(other)).map(({ outcome }) => outcome)).to.deep.equal(['interrupted']);
      const told = await world.until('it is told', () => world.seen.find(({ input }) => input['token'] === other));
      expect(told.input).to.deep.include({ ok: false, outcome: 'interrupted' });
      world.release();
      await world.ended(one, 2);
      expect((await world.ended(call, 2)).map(({ outcome }) => outcome)).to.deep.equal(['interrupted', 'succeeded']);
    });
  });

  describe('when no server was there', () => {
    const EVERY_MS = 300;
    const schedule = { everyMs: EVERY_MS };
    const of = (policy: string, more: object = {}, at: object = schedule) =>
      world.job({ schedule: at, overlap: 'allow', missed: { policy, lateMs: 1000, ...more } });

    it('what was missed is made up for as the jobs say', async () => {
      const repeated = [await of('skip'), await of('once'), await of('all'), await of('all', { limit: 2 })] as const;
      await world.until('they run', async () => {
        const rows = await Promise.all(repeated.map((name) => world.rows(name)));
        return rows.every(({ length }) => length > 0);
      });
      const at = { at: new Date(Date.now() + 1500).toISOString() };
      const [never, late] = [await of('skip', {}, at), await of('once', {}, at)];
      await world.first.stop();
      const from = Math.max(Date.now(), Date.parse(at.at));
      await world.until('some time is over', () => Date.now() > from + 1500);
      const server = await world.start();
      await held(server);
      const until = Date.now();
      // Each due time of that while is in a row, its own or one that stands for several.
      const rows = await world.until('it is accounted for', async () => {
        const found = await Promise.all(repeated.map((name) => world.rows(name)));
        const isDone = (some: readonly Attempt[]) =>
          (some.at(-1)?.dueAt ?? 0) > until && some.every(({ state }) => state === 'ended');
        return found.every(isDone) && found;
      });
      for (const [i, name] of repeated.entries()) {
        const last = rows[i]?.at(-1)?.dueAt as number;
        expect(sum(rows[i] as Attempt[]), name).to.equal((await dueTimes(world, name, last)).length);
      }
      for (const name of repeated) await world.remove(name);
      const during = rows.map((some) => some.filter(({ dueAt }) => dueAt > from && dueAt <= until));
      // Begun when the next one was due already.
      const madeUp = during.map(
        (some) => some.filter(({ startedAt, dueAt }) => startedAt !== null && startedAt >= dueAt + EVERY_MS).length,
      );
      expect(madeUp[0], 'skip').to.equal(0);
      expect(madeUp[1], 'once: the one that is on time makes up for them').to.equal(0);
      expect(madeUp[2], 'all').to.be.at.least(3);
      expect(during[2]?.every(({ count, outcome }) => count === 1 && outcome === 'succeeded')).to.equal(true);
      expect(madeUp[3], 'the latest two').to.be.within(2, 4);
      const missed = during.flat().filter(({ outcome }) => outcome === 'missed');
      expect(missed).to.not.deep.equal([]);
      for (const { startedAt, reason } of missed) {
        expect(startedAt).to.equal(null);
        expect(reason).to.be.a('string').with.length.greaterThan(5);
      }
      expect((await world.rows(never)).map(({ outcome }) => outcome)).to.deep.equal(['missed']);
      const [run] = await world.until('the late one has run', async () => {
        const found = await world.rows(late);
        return found[0]?.state === 'ended' && found;
      });
      expect(run).to.include({ outcome: 'succeeded', dueAt: Date.parse(at.at) });
    });
  });
}
