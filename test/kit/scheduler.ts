/** The contract kit of the scheduler port: every promise of core/ports/scheduler.ts, with a real database. */
import { Readable } from 'node:stream';
import { expect } from 'chai';
import { testSchedulerCluster } from './scheduler-cluster.ts';
import { testJobs } from './scheduler-jobs.ts';
import { testSchedules } from './scheduler-schedules.ts';
import { BY, type SchedulerUnderTest, SchedulerWorld } from './scheduler-world.ts';

export type { SchedulerUnderTest } from './scheduler-world.ts';

export function testScheduler(under: SchedulerUnderTest): void {
  describe(`the scheduler contract: ${under.name}`, function () {
    this.timeout(60_000);
    const world = new SchedulerWorld(under);
    before(() => world.open());
    after(() => world.close());
    afterEach(() => world.release());
    testDurableCalls(world);
    testJobs(world);
    testSchedules(world);
    testStatus(world);
    testSchedulerCluster(world);
  });
}

function testDurableCalls(world: SchedulerWorld): void {
  describe('durable calls', () => {
    it('are run, once, with all that came with them', async () => {
      const identity = { name: 'somebody', roles: ['a'] };
      const token = await world.scheduler.accept(
        world.durable({ input: { mark: 'x', list: [1, null, 'ż'] }, cid: 'the cid', channel: 'the channel', identity }),
      );
      const [attempt, ...others] = await world.ended(token);
      expect(others).to.deep.equal([]);
      expect(attempt).to.include({ token, attempt: 1, source: 'call', job: null, service: 'kit.note' });
      expect(attempt).to.include({ outcome: 'succeeded', reason: null, code: null, dead: false, attempts: 3 });
      expect(attempt?.server).to.equal(world.first.name);
      expect((attempt?.endedAt as number) - (attempt?.startedAt as number)).to.be.at.least(0);
      const [seen, ...more] = world.ran(token);
      expect(more).to.deep.equal([]);
      expect(seen?.input).to.deep.equal({ mark: 'x', list: [1, null, 'ż'] });
      expect(seen).to.deep.include({ cid: 'the cid', channel: 'the channel', identity });
      expect(seen?.firing).to.include({ job: null, token, attempt: 1, source: 'call' });
    });

    it('are tried again after a failure, with the same token, as often as they say', async () => {
      const token = await world.scheduler.accept(world.durable({ service: 'kit.fail', input: { times: 2 } }));
      const attempts = await world.ended(token, 3);
      expect(attempts.map(({ outcome, attempt }) => [attempt, outcome])).to.deep.equal([
        [1, 'failed'],
        [2, 'failed'],
        [3, 'succeeded'],
      ]);
      expect(attempts[0]).to.include({ code: 'UNAVAILABLE' });
      expect(attempts[0]?.reason).to.include('attempt 1 failed');
      expect(new Set(world.ran(token).map(({ idempotencyKey }) => idempotencyKey)).size).to.equal(1);
      // Each later than the one before, and never two at once.
      for (const [i, next] of attempts.slice(1).entries()) {
        const before = attempts[i];
        expect(next.readyAt).to.be.at.least((before?.endedAt as number) + 10);
        expect(next.startedAt).to.be.at.least(next.readyAt);
      }
    });

    it('that fail for good are in the list of dead ones, until they are buried or run again', async () => {
      const fail = () => world.scheduler.accept(world.durable({ service: 'kit.fail', attempts: 2, input: {} }));
      const [one, other] = [await fail(), await fail()];
      for (const token of [one, other]) {
        const attempts = await world.ended(token, 2);
        expect(attempts.map(({ dead }) => dead)).to.deep.equal([false, true]);
      }
      const dead = async () =>
        (await world.scheduler.history({ dead: true, limit: 100 })).items.map(({ token }) => token);
      expect(await dead()).to.include.members([one, other]);
      expect(await world.scheduler.bury([one, 'nobody'])).to.deep.equal([one]);
      expect(await world.scheduler.bury([one])).to.deep.equal([]);
      expect(await dead())
        .to.include(other)
        .and.not.include(one);
      expect(await world.scheduler.find(one), 'it stays in the history').to.have.lengthOf(2);
      expect(await world.scheduler.replay([one], 1), 'it is dead no longer').to.deep.equal([]);
      expect(await world.scheduler.replay([other, 'nobody'], 2)).to.deep.equal([other]);
      expect((await world.ended(other, 4)).map(({ dead: is }) => is)).to.deep.equal([false, false, false, true]);
      expect(world.ran(other).map(({ firing }) => firing.attempt)).to.deep.equal([1, 2, 3, 4]);
      await world.scheduler.bury([other]);
    });

    it('of one key are one call', async () => {
      const key = world.name('key');
      const call = world.durable({ key, input: { mark: key } });
      const tokens = await Promise.all([1, 2, 3].map(() => world.scheduler.accept(call)));
      expect(new Set(tokens).size).to.equal(1);
      await world.ended(tokens[0] as string);
      expect(await world.scheduler.accept({ ...call, input: { other: true } })).to.equal(tokens[0]);
      const another = await world.scheduler.accept({ ...call, service: 'kit.last' });
      expect(another, 'a key is the service’s').to.not.equal(tokens[0]);
      await world.ended(another);
      expect(world.marked(key).filter(({ service }) => service === 'kit.note')).to.have.lengthOf(1);
    });

    it('tell their callback what came of them, in the end, and that durably', async () => {
      const [good, bad] = [world.name('mark'), world.name('mark')];
      const of = { callback: 'kit.note', cid: 'the cid' };
      const token = await world.scheduler.accept(world.durable({ ...of, input: { mark: good } }));
      const input = { mark: bad };
      const failed = await world.scheduler.accept(world.durable({ ...of, service: 'kit.fail', attempts: 2, input }));
      const told = async (of_: string) =>
        world.until('the callback was run', () => world.seen.find((one) => one.input['token'] === of_) ?? false);
      const seen = await told(token);
      expect(seen.input).to.deep.equal({
        ...{ cid: 'the cid', service: 'kit.note', token, attempt: 1, ok: true, outcome: 'succeeded' },
        value: { noted: good },
      });
      expect(seen).to.include({ cid: 'the cid' });
      expect(seen.firing).to.include({ source: 'follow', job: null });
      const { input: about } = await told(failed);
      expect(about).to.deep.include({ ok: false, outcome: 'failed', attempt: 2 });
      expect(about['error']).to.include({ code: 'UNAVAILABLE' });
      expect(world.seen.filter((one) => one.input['token'] === failed)).to.have.lengthOf(1);
    });

    it('may wait for their time', async () => {
      const askedAt = Date.now();
      const token = await world.scheduler.accept(world.durable({ afterMs: 600 }));
      const [waiting] = await world.scheduler.find(token);
      expect(waiting).to.include({ state: 'waiting', startedAt: null });
      const [attempt] = await world.ended(token);
      expect(attempt?.startedAt).to.be.at.least(waiting?.readyAt as number);
      expect(world.ran(token)[0]?.at).to.be.at.least(askedAt + 590);
    });

    it('that last too long are told to end, and are tried again', async () => {
      const token = await world.scheduler.accept(world.durable({ service: 'kit.wait', timeoutMs: 100, attempts: 2 }));
      const attempts = await world.ended(token, 2);
      expect(attempts.map(({ outcome, code }) => [outcome, code])).to.deep.equal([
        ['timeout', 'CALL_TIMEOUT'],
        ['timeout', 'CALL_TIMEOUT'],
      ]);
      expect(world.ran(token).map(({ aborted }) => aborted)).to.deep.equal(['CALL_TIMEOUT', 'CALL_TIMEOUT']);
    });

    it('can be cancelled while they wait, while they run, and between two attempts', async () => {
      const waiting = await world.scheduler.accept(world.durable({ afterMs: 3_600_000 }));
      expect(await world.scheduler.cancel(waiting, BY)).to.equal(true);
      expect(await world.scheduler.find(waiting)).to.have.lengthOf(1);
      expect((await world.ended(waiting))[0]).to.include({ outcome: 'cancelled', startedAt: null, dead: false });

      const running = await world.scheduler.accept(world.durable({ service: 'kit.wait' }));
      await world.until('it runs', () => world.ran(running).length === 1);
      expect(await world.scheduler.cancel(running, BY)).to.equal(true);
      expect((await world.ended(running)).map(({ outcome }) => outcome)).to.deep.equal(['cancelled']);
      expect(world.ran(running)[0]?.aborted).to.not.equal(null);

      const again = await world.scheduler.accept(
        world.durable({ service: 'kit.fail', backoffMs: 3_600_000, maxBackoffMs: 3_600_000 }),
      );
      await world.until('it has failed', async () => (await world.scheduler.find(again)).length === 2);
      expect(await world.scheduler.cancel(again, BY)).to.equal(true);
      expect((await world.ended(again, 2)).map(({ outcome }) => outcome)).to.deep.equal(['failed', 'cancelled']);

      for (const over of [waiting, running, 'nobody']) expect(await world.scheduler.cancel(over, BY)).to.equal(false);
    });

    it('that cannot be kept are refused, and leave nothing', async () => {
      const before = (await world.scheduler.history({ of: 'calls', limit: 1 })).total;
      const round: Record<string, unknown> = {};
      round['self'] = round;
      const inputs = [round, new Uint8Array(3), Readable.from(['x']), () => {}, 'ż'.repeat(1024 * 1024)];
      for (const input of inputs) await world.refusal('INVALID', world.scheduler.accept(world.durable({ input })));
      for (const bad of [{ attempts: 0 }, { attempts: 1.5 }, { backoffMs: -1 }, { afterMs: Number.NaN }, { key: '' }]) {
        const error = await world.refusal('INVALID', world.scheduler.accept(world.durable(bad)));
        expect(error.problems?.[0]?.path).to.equal(`/${Object.keys(bad)[0]}`);
      }
      expect((await world.scheduler.history({ of: 'calls', limit: 1 })).total).to.equal(before);
    });

    it('of a service that there is not are tried, and then dead', async () => {
      const token = await world.scheduler.accept(world.durable({ service: 'nobody.home', attempts: 2 }));
      const attempts = await world.ended(token, 2);
      expect(attempts.at(-1)).to.include({ dead: true, outcome: 'failed' });
      expect(attempts.at(-1)?.reason).to.include('nobody.home');
      await world.scheduler.bury([token]);
    });
  });
}

function testStatus(world: SchedulerWorld): void {
  describe('its status', () => {
    it('tells who holds the scheduler, and that nothing is wrong', async () => {
      const status = await world.until('it is planned', () => {
        const found = world.scheduler.status();
        return found.planned !== null && found;
      });
      expect(status).to.include({ isHolder: true, standsBack: null, paused: false });
      expect(status.holder).to.include({ server: world.first.name });
      expect(status.holder?.epoch).to.be.at.least(1);
      expect(status.heldAt).to.be.instanceOf(Date);
      expect(status.overdue).to.deep.equal([]);
      expect(Math.abs(status.aheadMs as number)).to.be.below(60_000);
      expect(world.scheduler.problem).to.equal(null);
    });

    it('tells what is planned, and what is in hand', async () => {
      const planned = world.scheduler.status().planned as number;
      const name = await world.job({}, 'kit.wait');
      await world.until('it is planned', () => world.scheduler.status().planned === planned + 1);
      const token = await world.scheduler.fire(name, BY);
      await world.until('it runs', () => world.ran(token).length === 1);
      expect(world.scheduler.status().inHand).to.deep.include({ token, attempt: 1, job: name, service: 'kit.wait' });
      world.release();
      await world.ended(token);
      await world.until('it is done', () => world.scheduler.status().inHand.every((one) => one.token !== token));
      await world.remove(name);
      await world.until('it is gone', () => world.scheduler.status().planned === planned);
    });

    it('counts', async () => {
      const before = world.scheduler.status().counters;
      await world.ended(await world.scheduler.accept(world.durable()));
      await world.ended(await world.scheduler.accept(world.durable({ service: 'kit.fail', attempts: 1 })));
      const after = await world.until('both are counted', () => {
        const { counters } = world.scheduler.status();
        return counters.failed > before.failed && counters.succeeded > before.succeeded && counters;
      });
      const total = (of: typeof after.lateness) => of.reduce((sum, { count }) => sum + count, 0);
      expect(after.started - before.started).to.be.at.least(2);
      expect(total(after.lateness) - total(before.lateness)).to.equal(after.started - before.started);
      expect(total(after.duration)).to.be.above(total(before.duration));
      expect(after.takenOver).to.be.at.least(1);
      expect(after.lateness.at(-1)?.upToMs).to.equal(Number.POSITIVE_INFINITY);
    });
  });
}
