import { expect } from 'chai';
import { jobOf, timesOf } from '../../core/parts.ts';
import type { Attempt } from '../../core/ports/index.ts';
import { BY, type SchedulerWorld } from './scheduler-world.ts';

const ran = ({ startedAt }: Attempt) => startedAt !== null;
const iso = (ms: number) => new Date(ms).toISOString();

/** The due times of a job, as its record says, after it was made and up to a time. */
export async function dueTimes(world: SchedulerWorld, name: string, until: number): Promise<readonly number[]> {
  const job = jobOf((await world.records.get('job', name)).definition);
  return timesOf(job).between(job.since, until, 1000).times;
}

/** Waits until so many rows of a job have ended; gives all. */
function count(world: SchedulerWorld, name: string, least: number): Promise<readonly Attempt[]> {
  return world.until(`${least} runs of ${name}`, async () => {
    const rows = await world.rows(name);
    return rows.filter(({ state }) => state === 'ended').length >= least && rows;
  });
}

export function testSchedules(world: SchedulerWorld): void {
  describe('jobs by their schedule', () => {
    it('run once at their time, not before', async () => {
      const at = Date.now() + 700;
      const name = await world.job({ schedule: { at: iso(at) }, payload: { mark: 1 } });
      const [row] = await count(world, name, 1);
      expect(row).to.include({ dueAt: at, source: 'schedule', outcome: 'succeeded', attempt: 1, count: 1 });
      expect(row?.startedAt).to.be.at.least(at);
      expect(row?.epoch).to.be.at.least(1);
      const [seen, ...others] = world.ranFor(name);
      expect(others).to.deep.equal([]);
      expect(seen?.firing.dueAt.getTime()).to.equal(at);
      expect(seen?.input).to.deep.equal({ mark: 1 });
    });

    it('run at each of their times, in phase with when they were made', async () => {
      const terms = { missed: { policy: 'all' }, overlap: 'allow' };
      const name = await world.job({ schedule: { everyMs: 200, repeats: 6 }, ...terms });
      const rows = await count(world, name, 6);
      expect(rows.map(({ dueAt }) => dueAt)).to.deep.equal(await dueTimes(world, name, Date.now()));
      expect(rows.map(({ outcome }) => outcome)).to.deep.equal(Array(6).fill('succeeded'));
      for (const { startedAt, dueAt } of rows) expect(startedAt).to.be.at.least(dueAt);
      expect(new Set(world.ranFor(name).map(({ firing }) => firing.token)).size).to.equal(6);
      expect(world.ranFor(name)).to.have.lengthOf(6);
    });

    it('run by the second, as cron says', async () => {
      const name = await world.job({ schedule: { cron: '* * * * * *' }, missed: { policy: 'all' }, overlap: 'allow' });
      const rows = await count(world, name, 3);
      await world.remove(name);
      const dues = rows.map(({ dueAt }) => dueAt);
      expect(dues.map((due) => due % 1000)).to.deep.equal(dues.map(() => 0));
      expect(dues.map((due) => due - (dues[0] as number))).to.deep.equal(dues.map((_, i) => i * 1000));
    });

    it('run later by their jitter, and each time by another', async () => {
      const of = { missed: { policy: 'all' }, overlap: 'allow', jitterMs: 250 };
      const name = await world.job({ schedule: { everyMs: 300, repeats: 6 }, ...of });
      const rows = await count(world, name, 6);
      const late = rows.map(({ readyAt, dueAt }) => readyAt - dueAt);
      expect(new Set(late).size).to.be.above(2);
      for (const [i, row] of rows.entries()) {
        expect(late[i]).to.be.within(0, 250);
        expect(row.startedAt).to.be.at.least(row.readyAt);
      }
    });

    it('are not run while they are paused, nor for that time; then they go on', async () => {
      const name = await world.job({ schedule: { everyMs: 150 }, missed: { policy: 'all' }, overlap: 'allow' });
      await count(world, name, 2);
      await world.change(name, { active: false });
      const paused = Date.now();
      await world.until('nothing is planned', async () => Date.now() > paused + 600);
      const before = (await world.rows(name)).length;
      await world.change(name, { active: true });
      const { definition } = await world.records.get('job', name);
      await count(world, name, before + 2);
      await world.change(name, { active: false });
      const since = Date.parse(definition['since'] as string);
      const rows = await world.rows(name);
      const between = rows.filter(({ dueAt }) => dueAt > paused + 400 && dueAt <= since);
      expect(between).to.deep.equal([]);
      expect(rows.filter(({ dueAt }) => dueAt > since).length).to.be.at.least(2);
      expect(rows.filter(({ outcome }) => outcome === 'missed')).to.deep.equal([]);
    });

    it('follow their definition, and end when it is gone', async () => {
      const name = await world.job({ schedule: { everyMs: 150 }, overlap: 'allow', payload: { mark: 'before' } });
      await count(world, name, 1);
      await world.change(name, { payload: { mark: 'after' }, schedule: { everyMs: 100 } });
      await world.until('it runs as it is now', () =>
        world.ranFor(name).some(({ input }) => input['mark'] === 'after'),
      );
      await world.remove(name);
      const planned = world.scheduler.status().planned;
      await world.until('it has left the plan', () => world.scheduler.status().planned !== planned || null !== planned);
      await world.until('what ran has ended', async () =>
        (await world.rows(name)).every(({ state }) => state === 'ended'),
      );
      const [last] = (await world.rows(name)).slice(-1);
      const until = Date.now() + 500;
      await world.until('some time is over', () => Date.now() > until);
      expect((await world.rows(name)).filter(({ dueAt }) => dueAt > (last?.dueAt as number) + 450)).to.deep.equal([]);
    });

    it('are removed when they are done, where they say so', async () => {
      const name = await world.job({ schedule: { everyMs: 100, repeats: 2 }, overlap: 'allow', removeWhenDone: true });
      const held = await world.job({ schedule: { at: iso(Date.now() + 300) }, removeWhenDone: true }, 'kit.wait');
      await world.until('it is gone', async () => !world.records.names('job').includes(name));
      expect((await world.rows(name)).reduce((sum, { count: stoodFor }) => sum + stoodFor, 0)).to.equal(2);
      await world.until('the other one runs', () => world.ranFor(held).length === 1);
      await world.scheduler.accept(world.durable());
      expect(world.records.names('job'), 'it has not ended').to.include(held);
      world.release();
      await world.until('it is gone, too', async () => !world.records.names('job').includes(held));
    });

    it('are all paused by a setting', async () => {
      const name = await world.job({ schedule: { everyMs: 150 }, missed: { policy: 'all' }, overlap: 'allow' });
      await count(world, name, 1);
      await world.records.create('setting', { name: 'scheduler.paused', value: true }, BY);
      await world.until('they are paused', () => world.scheduler.status().paused);
      await world.until('nothing is open', async () =>
        (await world.rows(name)).every(({ state }) => state === 'ended'),
      );
      const [from, before] = [Date.now(), (await world.rows(name)).length];
      await world.until('some time is over', () => Date.now() > from + 700);
      expect((await world.rows(name)).length).to.be.within(before, before + 1);
      expect((await world.ended(await world.scheduler.fire(name, BY)))[0], 'by hand').to.include({
        outcome: 'succeeded',
      });
      const resumed = Date.now();
      await world.records.remove('setting', 'scheduler.paused', undefined, BY);
      await count(world, name, before + 4);
      await world.remove(name);
      const made = (await world.rows(name)).filter(({ dueAt, source }) => source === 'schedule' && dueAt > from + 200);
      expect(
        made.filter(({ dueAt }) => dueAt < resumed - 400),
        'what was due meanwhile',
      ).to.deep.equal([]);
    });
  });

  describe('a due time while the run before is under way', () => {
    const begin = async (overlap: string) => {
      const name = await world.job({ schedule: { everyMs: 150 }, overlap }, 'kit.wait');
      await world.until('it runs', () => world.ranFor(name).length === 1);
      return name;
    };

    it('is skipped, and its row tells why', async () => {
      const name = await begin('skip');
      const rows = await count(world, name, 2);
      await world.remove(name);
      world.release();
      const skipped = rows.filter(({ outcome }) => outcome === 'skipped');
      expect(skipped.length).to.be.at.least(2);
      for (const one of skipped) {
        expect(one).to.include({ startedAt: null, state: 'ended' });
        expect(one.reason).to.be.a('string').with.length.greaterThan(5);
      }
      expect(rows.filter(ran)).to.have.lengthOf(1);
    });

    it('waits, and one only', async () => {
      const name = await begin('queue-one');
      const rows = await count(world, name, 1);
      expect(rows.filter(({ state }) => state === 'running')).to.have.lengthOf(1);
      expect(rows.filter(({ state }) => state === 'waiting')).to.have.lengthOf(1);
      const [waiting] = rows.filter(({ state }) => state === 'waiting');
      world.release();
      await world.until('it is next', () => world.ran(waiting?.token as string).length === 1);
      await world.remove(name);
      world.release();
    });

    it('runs beside it where it may', async () => {
      const name = await begin('allow');
      await world.until('two run', () => world.ranFor(name).filter(({ ended }) => !ended).length >= 2);
      await world.remove(name);
      world.release();
    });
  });
}
