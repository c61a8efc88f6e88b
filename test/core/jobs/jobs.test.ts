import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { isGantryError } from '../../../core/errors.ts';
import { checkJob, type Job, JobDefinition, jobOf, keepJob, nextTimes, timesOf } from '../../../core/jobs/jobs.ts';
import { Timetable } from '../../../core/jobs/timetable.ts';
import { Logs } from '../../../core/log/log.ts';
import { Process } from '../../../core/process.ts';
import type { Definition, Records } from '../../../core/records/record.ts';
import { compileConfig } from '../../../core/schema/check.ts';
import { odbPlugins } from '../../engines/odb-plugins.ts';

const NOW = Date.UTC(2030, 0, 1);
const iso = (ms: number) => new Date(ms).toISOString();

function job(of: object = {}): Definition {
  return { name: 'j', service: 's', schedule: { every: '1h' }, ...of };
}

describe('jobs', () => {
  it('have all that was left out filled in, as their schema says', () => {
    const filled = job() as Record<string, unknown>;
    expect(compileConfig(JobDefinition)(filled, '')).to.deep.equal([]);
    const { since: _, schedule, ...of } = jobOf(job());
    expect(schedule).to.deep.equal({ given: { every: '1h' }, fields: { everyMs: 3_600_000 }, problems: [] });
    expect(of).to.deep.equal({
      ...{ name: 'j', service: 's', payload: undefined, active: true, jitterMs: 0 },
      ...{ timeoutMs: null, overlap: 'skip', interrupted: 'leave', onSuccess: null, onError: null },
      ...{ runsOn: 'holder', removeWhenDone: false },
      missed: { policy: 'once', lateMs: 60_000, withinMs: 86_400_000, limit: 100 },
      retries: { attempts: 1, backoffMs: 1000, maxBackoffMs: 300_000 },
    });
    // The schema fills in the same: what is shown is what is done.
    const {
      since: _s,
      timeoutMs: _t,
      onError: _e,
      onSuccess: _u,
      payload: _p,
      missed,
      retries,
      ...plain
    } = of as never as Record<string, unknown>;
    expect(filled).to.deep.include(plain);
    const given = jobOf({ ...job(), missed: {}, retries: {} });
    expect([given.missed, given.retries]).to.deep.equal([missed, retries]);
    const empty = job({ missed: {}, retries: {} }) as Record<string, unknown>;
    compileConfig(JobDefinition)(empty, '');
    expect([empty['missed'], empty['retries']]).to.deep.equal([missed, retries]);
  });

  it('keep what was given', () => {
    const since = '2029-12-31T00:00:00.000Z';
    const given = job({ since, payload: null, active: false, timeoutMs: 5, missed: { policy: 'all' }, onError: 'e' });
    expect(jobOf(given)).to.include({
      since: Date.parse(since),
      payload: null,
      active: false,
      timeoutMs: 5,
      onError: 'e',
    });
    expect(jobOf(given).missed).to.include({ policy: 'all', limit: 100 });
  });

  it('are due from when they were made, at their interval', () => {
    const kept = jobOf(job({ since: iso(NOW) }));
    expect(timesOf(kept).next(NOW)).to.equal(NOW + 3_600_000);
    expect(timesOf(kept).previous(NOW)).to.equal(null);
  });

  it('have their schedule parsed once when they are checked, and once for all uses when they take effect', () => {
    let parsed = 0;
    const ownKeys = (schedule: object) => {
      parsed++;
      return Reflect.ownKeys(schedule);
    };
    const given = job({ schedule: new Proxy({ cron: '30 2 * * *', timeZone: 'Europe/Warsaw' }, { ownKeys }) });
    expect(checkJob(given, null, NOW)).to.deep.equal([]);
    const kept = keepJob(given, null, NOW);
    expect(parsed, 'checked').to.equal(1);
    const timetable = new Timetable();
    timetable.put(kept);
    const planned = timetable.get('j') as Job;
    for (let at = NOW, i = 0; i < 3; i++) at = timesOf(planned).next(at) as number;
    expect(parsed, 'in effect').to.equal(2);
  });

  it('are refused by the timetable if another version wrote their schedule', () => {
    const put = () => new Timetable().put(job({ schedule: { cron: '61 * * * *' } }));
    expect(put).to.throw("The job 'j' cannot be planned: /schedule/cron");
  });

  describe('that never run are refused', () => {
    const paths = (found: readonly { readonly path: string }[]) => found.map(({ path: at }) => at);
    const past = iso(NOW - 1000);

    it('when they are new, or changed in this, with the reason', () => {
      expect(paths(checkJob(job({ schedule: { at: past } }), null, NOW))).to.deep.equal(['.schedule.at']);
      expect(paths(checkJob(job({ schedule: { at: past } }), job(), NOW))).to.deep.equal(['.schedule.at']);
      const over = { cron: '* * * * *', end: past };
      expect(paths(checkJob(job({ schedule: over }), null, NOW))).to.deep.equal(['.schedule.end']);
      expect(paths(checkJob(job({ schedule: { cron: '0 0 30 2 *' } }), null, NOW))).to.deep.equal(['.schedule.cron']);
      expect(checkJob(job({ schedule: { at: iso(NOW + 1000) } }), null, NOW)).to.deep.equal([]);
      expect(
        paths(checkJob(job({ schedule: { at: past } }), job({ schedule: { at: past }, active: false }), NOW)),
        'switched on',
      ).to.deep.equal(['.schedule.at']);
    });

    it('but not those that have run their course, or are paused', () => {
      const done = job({ schedule: { at: past } });
      expect(checkJob({ ...done, description: 'more' }, done, NOW)).to.deep.equal([]);
      expect(checkJob({ ...done, active: false }, null, NOW)).to.deep.equal([]);
    });

    it('nor are they kept with a schedule that is none, or an end that never comes', () => {
      expect(paths(checkJob(job({ schedule: { cron: '61 * * * *' } }), null, NOW))).to.deep.equal(['.schedule.cron']);
      const endless = job({ schedule: { cron: '* * * * *' }, removeWhenDone: true });
      expect(paths(checkJob(endless, null, NOW))).to.deep.equal(['.removeWhenDone']);
      for (const schedule of [{ at: past }, { every: '1h', repeats: 3 }, { cron: '* * * * *', end: past }])
        expect(
          checkJob({ ...job({ schedule, removeWhenDone: true }), description: 'more' }, job({ schedule }), NOW),
          JSON.stringify(schedule),
        ).to.deep.equal([]);
    });
  });

  describe('count their due times since', () => {
    const made = keepJob(job(), null, NOW);

    it('they were made', () => {
      expect(made['since']).to.equal(iso(NOW));
      expect(keepJob(job({ since: '2001-01-01T00:00:00Z' }), null, NOW)['since'], 'whatever it says').to.equal(
        iso(NOW),
      );
    });

    it('their schedule changed, or they were switched on; nothing else changes their phase', () => {
      const later = NOW + 1000;
      for (const same of [
        { description: 'd' },
        { payload: 1 },
        { service: 'other' },
        { active: true },
        { overlap: 'allow' },
      ])
        expect(keepJob(job(same), made, later)['since'], JSON.stringify(same)).to.equal(iso(NOW));
      for (const other of [{ schedule: { every: '2h' } }, { active: false }])
        expect(keepJob(job(other), made, later)['since'], JSON.stringify(other)).to.equal(iso(later));
      const paused = keepJob(job({ active: false }), made, later);
      expect(keepJob(job(), paused, later + 1)['since']).to.equal(iso(later + 1));
      expect(keepJob(job({ active: false, payload: 2 }), paused, later + 1)['since']).to.equal(iso(later));
    });
  });

  it('tell when they run next', () => {
    const after = new Date(NOW + 10_000);
    const times = (of: object, count = 3) => nextTimes(job(of), after, count).map((time) => time.getTime() - NOW);
    expect(times({ schedule: { everyMs: 4000 }, since: iso(NOW) })).to.deep.equal([12_000, 16_000, 20_000]);
    expect(times({ schedule: { everyMs: 4000 }, since: iso(NOW + 60_000) }, 1), 'not before since').to.deep.equal([
      64_000,
    ]);
    expect(times({ schedule: { everyMs: 4000, repeats: 4 }, since: iso(NOW) })).to.deep.equal([12_000, 16_000]);
    expect(times({ schedule: { everyMs: 4000 }, active: false })).to.deep.equal([]);
    expect(() => times({ schedule: { cron: 'x' } }))
      .to.throw()
      .with.property('code', 'INVALID');
  });

  describe('as records', function () {
    this.timeout(30_000);
    const folder = mkdtempSync(path.join(tmpdir(), 'gantry-jobs-'));
    const by = { name: 'the test' };
    let kernel: Process;
    let records: Records;

    before(async () => {
      kernel = new Process({ logs: new Logs({ level: 'silent' }), data: folder });
      kernel.create(odbPlugins('dialect.sqlite', { file: path.join(folder, 'odb.sqlite') }));
      await kernel.start();
      records = kernel.cradle.records;
    });
    after(async () => {
      await kernel.stop();
      rmSync(folder, { recursive: true, force: true });
    });

    const kept = async (name: string) => (await records.get('job', name)).definition;
    const refused = async (work: Promise<unknown>) => {
      const thrown = await work.then(
        () => null,
        (error: unknown) => error,
      );
      if (!isGantryError(thrown)) throw new Error('It was not refused');
      return { code: thrown.code, paths: thrown.problems?.map(({ path: at }) => at) };
    };

    it('are in the timetable of the server, and leave it', async () => {
      const { timetable } = kernel.cradle;
      const heard: string[] = [];
      const undo = timetable.subscribe((name) => heard.push(name));
      await records.create('job', { name: 'a', service: 's', schedule: { every: '1h' } }, by);
      const version = (await records.get('job', 'a')).version;
      await records.update('job', 'a', version, { payload: { n: 1 } }, by);
      expect(timetable.get('a')).to.include({ service: 's' }).and.have.property('payload').that.deep.equals({ n: 1 });
      await records.remove('job', 'a', undefined, by);
      expect([timetable.get('a'), timetable.size]).to.deep.equal([null, 0]);
      expect(heard).to.deep.equal(['a', 'a', 'a']);
      undo();
    });

    it('keep their phase over edits, and over the same file that is applied again', async () => {
      const definition = { name: 'phase', service: 's', schedule: { every: '1h' } };
      const portable = (of: object) => [{ kind: 'job', definition: { ...definition, ...of } }];
      await records.apply(portable({}), by);
      const { since } = (await kept('phase')) as { since?: string };
      expect(Date.parse(since as string)).to.be.closeTo(Date.now(), 60_000);
      expect(await records.apply(portable({}), by)).to.deep.include({
        kind: 'job',
        name: 'phase',
        action: 'unchanged',
      });
      await records.apply(portable({ payload: 5 }), by);
      expect(await kept('phase')).to.include({ payload: 5, since });
      await records.apply(portable({ since: '2001-01-01T00:00:00Z' }), by);
      expect(await kept('phase')).to.include({ since });
      const exported = (await records.export(['job'])).filter(({ definition: { name } }) => name === 'phase');
      expect(await records.apply(exported, by)).to.deep.include({ kind: 'job', name: 'phase', action: 'unchanged' });
    });

    it('are refused when they would never run, and with what is wrong with them', async () => {
      const of = (more: object) =>
        records.create('job', { name: 'bad', service: 's', schedule: { every: '1h' }, ...more }, by);
      expect(await refused(of({ schedule: { at: '2001-01-01T00:00:00Z' } }))).to.deep.equal({
        ...{ code: 'RECORD_INVALID', paths: ['/schedule/at'] },
      });
      expect(await refused(of({ schedule: { cron: '0 25 * * *' } }))).to.deep.include({ code: 'RECORD_INVALID' });
      expect(await refused(of({ missed: { policy: 'some' } }))).to.deep.include({ code: 'RECORD_INVALID' });
      expect(await refused(of({ jitterMs: -1 }))).to.deep.include({ paths: ['/jitterMs'] });
      expect(await refused(of({ unknown: 1 }))).to.deep.include({ code: 'RECORD_INVALID' });
      expect(kernel.cradle.timetable.get('bad')).to.equal(null);
    });

    it('may be changed in the rest when they have run their course', async () => {
      const at = new Date(Date.now() + 700).toISOString();
      await records.create('job', { name: 'done', service: 's', schedule: { at } }, by);
      while (Date.now() <= Date.parse(at)) await new Promise<void>((resolve) => void setTimeout(resolve, 50));
      const { version } = await records.get('job', 'done');
      await records.update('job', 'done', version, { description: 'it ran' }, by);
      expect(
        await refused(records.update('job', 'done', version + 1, { schedule: { at: '2001-01-01T00:00:00Z' } }, by)),
      ).to.deep.include({ code: 'RECORD_INVALID' });
    });
  });
});
