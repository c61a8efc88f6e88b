import { expect } from 'chai';
import type { Fired } from '../../core/api.ts';
import type { Attempt } from '../../core/ports/index.ts';
import { BY, type SchedulerWorld } from './scheduler-world.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 1440 * MINUTE_MS;

/** How many of these ran at once, at most. */
function atOnce(attempts: readonly Attempt[]): number {
  const ran = attempts.filter(({ startedAt }) => startedAt !== null);
  return Math.max(
    0,
    ...ran.map(
      (one) =>
        ran.filter(
          (other) =>
            (other.startedAt as number) <= (one.startedAt as number) &&
            (other.endedAt as number) > (one.startedAt as number),
        ).length,
    ),
  );
}

export function testJobs(world: SchedulerWorld): void {
  describe('jobs that are run by hand', () => {
    it('run at once, with their payload or another one, as a person asked', async () => {
      const name = await world.job({ payload: { mark: 'own' } });
      const token = await world.scheduler.fire(name, BY);
      const other = await world.scheduler.fire(name, { name: 'me', cid: 'my cid' }, { mark: 'other' });
      expect(token).to.not.equal(other);
      const [attempt] = await world.ended(token);
      expect(attempt).to.include({ job: name, source: 'manual', outcome: 'succeeded', attempt: 1 });
      await world.ended(other);
      expect(world.ran(token).map(({ input }) => input)).to.deep.equal([{ mark: 'own' }]);
      expect(world.ran(other).map(({ input, cid }) => ({ input, cid }))).to.deep.equal([
        { input: { mark: 'other' }, cid: 'my cid' },
      ]);
      expect(world.ran(token)[0]?.firing).to.include({ job: name, source: 'manual' });
    });

    it('run also while they are paused', async () => {
      const name = await world.job({ active: false });
      expect((await world.ended(await world.scheduler.fire(name, BY)))[0]).to.include({ outcome: 'succeeded' });
    });

    it('wait for the run before, unless they may overlap', async () => {
      const name = await world.job({}, 'kit.wait');
      const tokens = [await world.scheduler.fire(name, BY), await world.scheduler.fire(name, BY)];
      await world.until('one runs', () => world.ranFor(name).length === 1);
      const rows = await world.rows(name);
      expect(rows.map(({ state }) => state).sort()).to.deep.equal(['running', 'waiting']);
      world.release();
      await world.until('the other one runs', () => world.ranFor(name).length === 2);
      world.release();
      for (const token of tokens) await world.ended(token);
      expect(atOnce(await world.rows(name))).to.equal(1);

      const free = await world.job({ overlap: 'allow' }, 'kit.wait');
      for (let i = 0; i < 2; i++) await world.scheduler.fire(free, BY);
      await world.until('both run', () => world.ranFor(free).filter(({ ended }) => !ended).length === 2);
      world.release();
    });

    it('of which there is none are refused, and so is what cannot be kept', async () => {
      await world.refusal('NOT_FOUND', world.scheduler.fire('nobody', BY));
      await world.refusal('NOT_FOUND', world.scheduler.backfill('nobody', period(-10, 0), BY));
      const name = await world.job({});
      await world.refusal('INVALID', world.scheduler.fire(name, BY, new Uint8Array(1)));
      expect(await world.rows(name)).to.deep.equal([]);
    });

    it('end when they are told to, and are told so; what waits does not begin', async () => {
      const name = await world.job({}, 'kit.wait');
      const [running, waiting] = [await world.scheduler.fire(name, BY), await world.scheduler.fire(name, BY)];
      await world.until('one runs', () => world.ran(running).length === 1);
      expect(await world.scheduler.cancel(waiting, BY)).to.equal(true);
      expect((await world.ended(waiting))[0]).to.include({ outcome: 'cancelled', startedAt: null });
      expect(await world.scheduler.cancel(running, BY)).to.equal(true);
      expect((await world.ended(running))[0]).to.include({ outcome: 'cancelled' });
      expect(world.ran(running)[0]?.aborted).to.be.a('string');
      // It holds nothing up.
      expect((await world.ended(await afterIt()))[0]).to.include({ outcome: 'cancelled' });
      expect(world.ran(waiting)).to.deep.equal([]);

      async function afterIt(): Promise<string> {
        const token = await world.scheduler.fire(name, BY);
        await world.until('the next one runs', () => world.ran(token).length === 1);
        await world.scheduler.cancel(token, BY);
        return token;
      }
    });
  });

  describe('jobs that fail', () => {
    it('are tried again, and tell who asks for it when they have failed for good', async () => {
      const of = { retries: { attempts: 3, backoffMs: 10 }, onError: 'kit.note', onSuccess: 'kit.last', payload: {} };
      const name = await world.job(of, 'kit.fail');
      const token = await world.scheduler.fire(name, BY);
      const attempts = await world.ended(token, 3);
      expect(attempts.map(({ outcome }) => outcome)).to.deep.equal(['failed', 'failed', 'failed']);
      expect(
        attempts.map(({ dead }) => dead),
        'its history tells',
      ).to.deep.equal([false, false, false]);
      const told = await world.until('it is told', () => world.seen.find(({ input }) => input['token'] === token));
      expect(told.service).to.equal('kit.note');
      expect(told.input).to.deep.include({ job: name, service: 'kit.fail', ok: false, outcome: 'failed', attempt: 3 });
      expect(told.input['error']).to.deep.include({ code: 'UNAVAILABLE' });
      await world.ended(told.firing.token);
      expect(world.seen.filter(({ input }) => input['token'] === token)).to.have.lengthOf(1);
    });

    it('and succeed then, tell that', async () => {
      const of = { retries: { attempts: 3, backoffMs: 10 }, onError: 'kit.last', onSuccess: 'kit.note' };
      const name = await world.job({ ...of, payload: { times: 1 } }, 'kit.fail');
      const token = await world.scheduler.fire(name, BY);
      expect((await world.ended(token, 2)).map(({ outcome }) => outcome)).to.deep.equal(['failed', 'succeeded']);
      const told = await world.until('it is told', () => world.seen.find(({ input }) => input['token'] === token));
      expect(told.service).to.equal('kit.note');
      expect(told.input).to.deep.include({ ok: true, attempt: 2, value: { attempt: 2 } });
    });

    it('or last too long, are told to end', async () => {
      const name = await world.job({ timeoutMs: 100, onError: 'kit.note' }, 'kit.wait');
      const token = await world.scheduler.fire(name, BY);
      expect((await world.ended(token))[0]).to.include({ outcome: 'timeout', code: 'CALL_TIMEOUT' });
      expect(world.ran(token)[0]?.aborted).to.equal('CALL_TIMEOUT');
      const told = await world.until('it is told', () => world.seen.find(({ input }) => input['token'] === token));
      expect(told.input).to.deep.include({ outcome: 'timeout' });
    });
  });

  describe('a period', () => {
    const every = { schedule: { everyMs: MINUTE_MS, start: '2020-01-01T00:00:00Z' } };

    it('is filled in, one after the other, the earliest first; and that once', async () => {
      const name = await world.job({ ...every, missed: { policy: 'skip' } }, 'kit.last');
      const from = new Date(Math.floor(Date.now() / MINUTE_MS) * MINUTE_MS - DAY_MS);
      const until = new Date(from.getTime() + 4 * MINUTE_MS);
      const fill = () => world.scheduler.backfill(name, { from, until, limit: 10 }, BY);
      expect(await fill()).to.deep.equal({ due: 5, added: 5 });
      expect(await fill(), 'they are there').to.deep.equal({ due: 0, added: 0 });
      const rows = await world.until('all have run', async () => {
        const found = (await world.rows(name)).filter(({ source }) => source === 'backfill');
        return found.length === 5 && found.every(({ state }) => state === 'ended') && found;
      });
      expect(rows.map(({ dueAt }) => dueAt)).to.deep.equal([0, 1, 2, 3, 4].map((n) => from.getTime() + n * MINUTE_MS));
      expect(atOnce(rows)).to.equal(1);
      const started = rows.map(({ startedAt }) => startedAt as number);
      expect(started).to.deep.equal([...started].sort((a, b) => a - b));
      expect(world.ranFor(name).map(({ firing }) => firing.dueAt.getTime())).to.deep.equal(
        rows.map(({ dueAt }) => dueAt),
      );
    });

    it('is not filled in beyond its limit, nor in the future, nor where it ends before it begins', async () => {
      const name = await world.job({ ...every, active: false });
      const limited = (limit: number, minutes: number) =>
        world.scheduler.backfill(name, { ...period(-minutes, 0), limit }, BY);
      await world.refusal('INVALID', limited(5, 100));
      await world.refusal('INVALID', limited(0, 1));
      await world.refusal('INVALID', limited(10_001, 1));
      await world.refusal('INVALID', world.scheduler.backfill(name, { ...period(0, -10), limit: 10 }, BY));
      await world.refusal('INVALID', world.scheduler.backfill(name, { ...period(10, 20), limit: 10 }, BY));
      expect(await world.rows(name)).to.deep.equal([]);
      const { due } = await world.scheduler.backfill(name, { ...period(-3, 1000), limit: 10 }, BY);
      expect(due).to.be.within(3, 4);
    });
  });

  describe('the history', () => {
    it('gives pages, the latest due first, and what is asked for of it', async () => {
      const name = await world.job({ overlap: 'allow' });
      const failing = await world.job({ overlap: 'allow', payload: {} }, 'kit.fail');
      const tokens: string[] = [];
      for (let i = 0; i < 7; i++) tokens.push(await world.scheduler.fire(i === 3 ? failing : name, BY));
      for (const token of tokens) await world.ended(token);
      const all: Attempt[] = [];
      let after: string | undefined;
      do {
        const page = await world.scheduler.history({ job: name, limit: 4, ...(after === undefined ? {} : { after }) });
        expect(page.total).to.equal(6);
        all.push(...page.items);
        after = page.next ?? undefined;
      } while (after !== undefined);
      expect(new Set(all.map(({ token }) => token))).to.deep.equal(new Set(tokens.filter((_, i) => i !== 3)));
      const dues = all.map(({ dueAt }) => dueAt);
      expect(dues).to.deep.equal([...dues].sort((a, b) => b - a));
      const failed = await world.scheduler.history({ outcome: 'failed', job: failing, limit: 10 });
      expect(failed.items.map(({ token }) => token)).to.deep.equal([tokens[3]]);
      const [latest] = await world.scheduler.latest([name, 'nobody']);
      expect(latest).to.deep.include({ job: name, open: [] });
      expect(latest?.last?.dueAt).to.equal(dues[0]);
      expect(await world.scheduler.find('nobody')).to.deep.equal([]);
    });
  });

  describe('the hook', () => {
    it('tells of each attempt, when its outcome is written', async () => {
      const name = await world.job({ retries: { attempts: 2, backoffMs: 10 }, payload: { times: 1 } }, 'kit.fail');
      const token = await world.scheduler.fire(name, BY);
      const [failed, succeeded] = (await world.until('both are told', () => {
        const found = world.first.fired.filter((one) => one.token === token);
        return found.length === 2 && found;
      })) as [Fired, Fired];
      expect(failed).to.include({ job: name, service: 'kit.fail', source: 'manual', attempt: 1, outcome: 'failed' });
      expect(failed.error?.message).to.include('attempt 1 failed');
      expect(succeeded).to.include({ attempt: 2, outcome: 'succeeded', error: null });
      expect(succeeded.startedAt).to.be.instanceOf(Date);
      expect(succeeded.dueAt.getTime()).to.equal(failed.dueAt.getTime());
      for (const { ms, latenessMs } of [failed, succeeded]) {
        expect(ms).to.be.at.least(0);
        expect(latenessMs).to.be.within(0, 60_000);
      }
      expect((await world.scheduler.find(token)).every(({ state }) => state === 'ended')).to.equal(true);
    });
  });
}

/** In minutes from now. */
function period(from: number, until: number) {
  const now = Date.now();
  return { from: new Date(now + from * MINUTE_MS), until: new Date(now + until * MINUTE_MS), limit: 100 };
}
