/** What the admin API tells of jobs and does with them, with the real scheduler and a real database. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { until } from '../../chaos/condition.ts';
import { as, type JobServer, jobServer } from './jobs.ts';
import { type Answer, adminServer } from './server.ts';

type Fields = Readonly<Record<string, unknown>>;

describe('services/admin: jobs', () => {
  let server: JobServer;
  const hourly = { everyMs: 3_600_000 };
  const paths = ({ body }: Answer) => (body.errors ?? []).map((one: { path: string }) => one.path);
  const told = ({ status, body }: Answer) => [status, body.code];
  const create = (name: string, more: Fields = {}) =>
    server.good('gantry.job.create', { name, service: 'test.work', schedule: hourly, ...more });
  const overview = async (query: Fields = {}) => server.good('gantry.job.overview', query);
  const one = async (name: string) => (await overview({ search: name })).items[0];
  const history = (name: string, query: Fields = {}) => server.good('gantry.job.history', { name, ...query });
  const ms = (times: readonly string[]) => times.map((time) => Date.parse(time));
  const ranTimes = async (name: string, times: number) => {
    await until(`'${name}' ran ${times} times`, async () => {
      return (await history(name, { outcome: 'succeeded' })).total >= times;
    });
  };

  before(async () => {
    server = await jobServer();
    const { kernel } = server;
    await until('it has the scheduler', () => kernel.cradle.scheduler.status().planned !== null);
  });
  after(() => server.stop());

  describe('a change', () => {
    it('is answered with the next five runs', async () => {
      const before = Date.now();
      const created = await create('told');
      const first = Date.parse(created.next[0]);
      expect(first).to.be.closeTo(before + 3_600_000, 10_000);
      expect(ms(created.next)).to.deep.equal([0, 1, 2, 3, 4].map((n) => first + n * 3_600_000));
      expect(created.warnings).to.deep.equal([]);
      const schedule = { cron: '0 30 2 * * *', timeZone: 'Europe/Warsaw', start: '2099-12-31T00:00:00Z' };
      const updated = await server.good('gantry.job.update', { name: 'told', version: 1, changes: { schedule } });
      expect(updated.next[0]).to.equal('2099-12-31T01:30:00.000Z');
      const off = await server.good('gantry.job.toggle', { name: 'told', version: 2, active: false });
      expect(off.next).to.deep.equal([]);
      const on = await server.good('gantry.job.toggle', { name: 'told', version: 3, active: true });
      expect(on.next).to.deep.equal(updated.next);
    });

    it('warns of services that are not deployed here, and is made all the same', async () => {
      const made = await create('absent', { service: 'shop.gone', onError: 'shop.alarm' });
      expect(made.live).to.equal(true);
      expect(made.warnings).to.deep.equal([
        "the service 'shop.gone' (service) is not deployed on this server",
        "the service 'shop.alarm' (onError) is not deployed on this server",
      ]);
      expect((await one('absent')).problem).to.include("'shop.gone' (service) is not deployed");
    });

    it('of another kind tells nothing of runs', async () => {
      const made = await server.good('gantry.setting.create', { name: 'a', value: 1 });
      expect(made).to.not.have.any.keys('next', 'warnings');
    });
  });

  describe('next', () => {
    const next = (input: Fields) => server.ask('gantry.job.next', input);
    const times = async (input: Fields) => (await server.good('gantry.job.next', input)).times as string[];

    it('tells when a job runs, as often as it is asked for', async () => {
      const { next: five } = await create('next');
      expect(await times({ name: 'next' })).to.deep.equal(five);
      const twelve = await times({ name: 'next', count: 12 });
      expect(twelve).to.have.lengthOf(12);
      expect(twelve.slice(0, 5)).to.deep.equal(five);
      expect((await next({ name: 'nxet' })).body.detail).to.include("Did you mean 'next'?");
    });

    it('tells it of a definition that is not saved, of which the schedule is enough', async () => {
      const cron = { cron: '0 30 2 * * *', timeZone: 'Europe/Warsaw', start: '2030-03-30T00:00:00Z' };
      expect(await times({ definition: { schedule: cron }, count: 3 })).to.deep.equal([
        '2030-03-30T01:30:00.000Z',
        // 02:30 is not there on that day.
        '2030-03-31T01:30:00.000Z',
        '2030-04-01T00:30:00.000Z',
      ]);
      expect((await server.ask('gantry.job.get', { name: 'new' })).status).to.equal(404);
    });

    it('of a job that is off, tells when it would run from now on', async () => {
      await create('off', { active: false });
      const { times: found, active } = await server.good('gantry.job.next', { name: 'off', count: 1 });
      expect(active).to.equal(false);
      expect(Date.parse(found[0])).to.be.closeTo(Date.now() + 3_600_000, 10_000);
    });

    it('of a definition with the schedule that is saved, keeps its phase', async () => {
      const { next: kept } = await create('phase');
      const definition = { name: 'phase', service: 'test.work', schedule: hourly, overlap: 'allow' };
      expect(await times({ definition })).to.deep.equal(kept);
      const [other] = await times({ definition: { ...definition, schedule: { everyMs: 3_500_000 } } });
      expect(Date.parse(other as string)).to.be.closeTo(Date.now() + 3_500_000, 10_000);
    });

    const wrong: Readonly<Record<string, Fields>> = {
      'a cron expression that is none': { schedule: { cron: '99 * * * *' } },
      'a zone that there is not': { schedule: { cron: '0 0 * * *', timeZone: 'Europe/Atlantis' } },
      'a day that there is not': { schedule: { cron: '0 0 30 2 *' } },
      'a time that is past': { schedule: { at: '2001-01-01T00:00:00Z' } },
      'an end that is past': { schedule: { every: '1h', end: '2001-01-01T00:00:00Z' } },
      'two schedules in one': { schedule: { everyMs: 1000, cron: '* * * * *' } },
      'no schedule': {},
      'a field that is not known': { schedule: hourly, shedule: {} },
      'a field of a wrong type': { schedule: hourly, jitterMs: 'long' },
      'something that never comes true': { schedule: { cron: '0 0 * * *' }, removeWhenDone: true },
    };
    for (const [what, fields] of Object.entries(wrong)) {
      it(`refuses ${what}, with what saving it would be refused for`, async () => {
        const definition = { name: 'wrong', service: 'test.work', ...fields };
        const saved = await server.ask('gantry.job.create', definition);
        const asked = await next({ definition });
        expect([saved.status, asked.status]).to.deep.equal([400, 400]);
        const problems = (answer: Answer, below: string) =>
          answer.body.errors.map(({ path, message, hint }: Record<string, string>) => [below + path, message, hint]);
        // What the schema refuses may be told in another order.
        expect(problems(asked, '')).to.have.deep.members(problems(saved, '/definition'));
      });
    }

    it('takes a name or a definition, and not both', async () => {
      expect(told(await next({}))).to.deep.equal([400, 'INPUT_INVALID']);
      expect(told(await next({ name: 'next', definition: { schedule: hourly } }))).to.deep.equal([
        400,
        'INPUT_INVALID',
      ]);
    });
  });

  describe('run', () => {
    const run = (input: Fields, who?: string) => server.ask('gantry.job.run', input, who);

    it('runs a job now, also one that is off, with its payload or another one', async () => {
      await create('now', { payload: { a: 1 }, active: false });
      const { token } = (await run({ name: 'now' }, as('operator'))).body;
      const [attempt] = await server.ended(token);
      expect(attempt).to.include({ attempt: 1, outcome: 'succeeded', source: 'manual', job: 'now', server: 'server1' });
      const again = (await run({ name: 'now', payload: { b: 2 } }, as('developer'))).body.token;
      await server.ended(again);
      const runs = server.worked.filter(({ firing }) => firing?.job === 'now');
      expect(runs.map(({ input }) => input)).to.deep.equal([{ a: 1 }, { b: 2 }]);
      expect(runs.map(({ firing }) => firing?.token)).to.deep.equal([token, again]);
    });

    it('with another payload is for developers, as gantry.service.invoke is', async () => {
      await create('payload');
      expect(told(await run({ name: 'payload', payload: 1 }, as('operator')))).to.deep.equal([403, 'FORBIDDEN']);
      expect((await run({ name: 'payload', payload: 1 }, as('developer'))).status).to.equal(200);
    });

    it('of a job that there is not is 404 with the nearest name', async () => {
      const { status, body } = await run({ name: 'payloda' });
      expect([status, body.detail]).to.deep.equal([404, body.detail]);
      expect(body.detail).to.include("Did you mean 'payload'?");
    });
  });

  describe('overview', () => {
    it('tells the next run, the last one, and what is under way', async () => {
      await create('seen');
      expect(await one('seen')).to.deep.include({
        name: 'seen',
        service: 'test.work',
        active: true,
        last: null,
        open: [],
      });
      const { token } = await server.good('gantry.job.run', { name: 'seen', payload: { hold: true } });
      await until('it is held', () => server.held === 1);
      const running = await one('seen');
      expect(running.last).to.equal(null);
      expect(running.open).to.have.lengthOf(1);
      expect(running.open[0]).to.include({ token, state: 'running', outcome: null, endedAt: null, server: 'server1' });
      server.release();
      await server.ended(token);
      const failed = (await server.good('gantry.job.run', { name: 'seen', payload: { fail: true } })).token;
      await server.ended(failed);
      const { last, open, nextAt, problem } = await one('seen');
      expect(last).to.include({
        token: failed,
        outcome: 'failed',
        code: 'CONFLICT',
        reason: 'as it was told',
        epoch: 1,
      });
      expect(last.durationMs).to.be.at.least(0);
      expect([open, problem]).to.deep.equal([[], undefined]);
      expect([nextAt]).to.deep.equal((await server.good('gantry.job.next', { name: 'seen', count: 1 })).times);
    });

    it('is listed in pages, by a part of the name, by fields, in an order', async () => {
      for (const i of [1, 2, 3, 4, 5]) await create(`page ${i}`, { active: i % 2 === 0 });
      const names: string[] = [];
      let after: string | null = null;
      do {
        const page = await overview({ search: 'PAGE', limit: 2, ...(after === null ? {} : { after }) });
        expect(page.total).to.equal(5);
        names.push(...page.items.map(({ name }: { name: string }) => name));
        after = page.next;
      } while (after !== null);
      expect(names).to.deep.equal(['page 1', 'page 2', 'page 3', 'page 4', 'page 5']);
      const off = await overview({ search: 'page', filter: { active: 'false' }, descending: true });
      expect(off.items.map(({ name, nextAt }: Fields) => [name, nextAt])).to.deep.equal([
        ['page 5', null],
        ['page 3', null],
        ['page 1', null],
      ]);
      expect((await overview({ filter: { service: 'nobody' } })).items).to.deep.equal([]);
      expect((await server.ask('gantry.job.overview', { filter: { schedule: 'x' } })).status).to.equal(400);
    });
  });

  describe('history', () => {
    it('tells each run, the latest first, page by page, also of a job that is gone', async () => {
      await create('often', { schedule: { everyMs: 150 } });
      await ranTimes('often', 5);
      const { version } = await server.good('gantry.job.get', { name: 'often' });
      await server.good('gantry.job.remove', { name: 'often', version });
      await until('nothing of it runs', async () => (await one('often')) === undefined);
      await until('all have ended', async () => {
        const { items } = await history('often', { limit: 1000 });
        return items.every(({ state }: Fields) => state === 'ended');
      });
      const { items, total } = await history('often', { limit: 1000 });
      expect(items).to.have.lengthOf(total);
      const due = ms(items.map(({ dueAt }: { dueAt: string }) => dueAt));
      expect(due).to.deep.equal([...due].sort((a, b) => b - a));
      const paged: unknown[] = [];
      let after: string | undefined;
      do {
        const page = await history('often', { limit: 2, ...(after === undefined ? {} : { after }) });
        paged.push(...page.items);
        after = page.next ?? undefined;
      } while (after !== undefined);
      expect(paged).to.deep.equal(items);
      const span = { from: items[3].dueAt, until: items[1].dueAt };
      expect((await history('often', span)).items).to.deep.equal(items.slice(2, 4));
      expect((await history('often', { outcome: 'failed' })).items).to.deep.equal([]);
      expect(items[0]).to.include({ job: 'often', source: 'schedule', attempt: 1, server: 'server1', count: 1 });
    });

    it('of a name that there never was is 404 with the nearest one; of a job that never ran it is empty', async () => {
      await create('never ran');
      expect(await history('never ran')).to.deep.equal({ items: [], next: null, total: 0 });
      const { status, body } = await server.ask('gantry.job.history', { name: 'never rna' });
      expect(status).to.equal(404);
      expect(body.detail).to.include("Did you mean 'never ran'?");
    });

    it('goes on only where a page ended', async () => {
      expect(told(await server.ask('gantry.job.history', { name: 'never ran', after: 'x' }))).to.deep.equal([
        400,
        'INPUT_INVALID',
      ]);
    });
  });

  describe('backfill', () => {
    const hour = 3_600_000;
    const start = Math.floor(Date.now() / hour) * hour - 48 * hour;
    const iso = (at: number) => new Date(at).toISOString();

    it('runs each due time of a period once, the earliest first', async () => {
      await create('filled', { schedule: { everyMs: hour, start: iso(start) }, active: false });
      const period = { name: 'filled', from: iso(start + hour), until: iso(start + 4 * hour) };
      expect(await server.good('gantry.job.backfill', period, as('developer'))).to.deep.equal({ due: 4, added: 4 });
      await ranTimes('filled', 4);
      const due = server.worked.filter(({ firing }) => firing?.job === 'filled').map(({ firing }) => firing?.dueAt);
      expect(due.map((at) => at?.toISOString())).to.deep.equal([1, 2, 3, 4].map((n) => iso(start + n * hour)));
      expect(await server.good('gantry.job.backfill', period)).to.deep.equal({ due: 0, added: 0 });
      const wider = { ...period, from: iso(start), until: iso(start + 5 * hour) };
      expect(await server.good('gantry.job.backfill', wider)).to.deep.equal({ due: 2, added: 2 });
      await ranTimes('filled', 6);
      expect((await history('filled')).items[0]).to.include({ source: 'backfill' });
    });

    it('of more than the limit, or of no period, does nothing', async () => {
      await create('unfilled', { schedule: { everyMs: hour, start: iso(start) }, active: false });
      const period = { name: 'unfilled', from: iso(start), limit: 10 };
      const many = await server.ask('gantry.job.backfill', period);
      expect([...told(many), paths(many)]).to.deep.equal([400, 'INVALID', ['/until']]);
      const reversed = await server.ask('gantry.job.backfill', { ...period, until: iso(start - hour) });
      expect([...told(reversed), paths(reversed)]).to.deep.equal([400, 'INVALID', ['/from']]);
      expect((await server.ask('gantry.job.backfill', { ...period, name: 'unfiled' })).status).to.equal(404);
      expect((await history('unfilled')).total).to.equal(0);
    });
  });

  describe('all of them', () => {
    it('are paused and resumed, and what was due meanwhile is not made up for', async () => {
      await create('beating', { schedule: { everyMs: 200 }, missed: { policy: 'all' } });
      await ranTimes('beating', 1);
      const paused = await server.good('gantry.scheduler.pause', {}, as('operator'));
      expect(paused).to.deep.equal({ paused: true, changed: true, live: true });
      expect(await server.good('gantry.scheduler.pause')).to.deep.equal({ paused: true, changed: false, live: true });
      const since = Date.now();
      const shown = await overview({ search: 'beating' });
      expect([shown.paused, shown.items[0].nextAt]).to.deep.equal([true, null]);
      expect((await create('made meanwhile')).warnings).to.deep.equal(['all jobs are paused']);
      // A job that is run by a person runs; it also shows that the scheduler works on.
      const { token } = await server.good('gantry.job.run', { name: 'beating', payload: {} });
      expect((await server.ended(token))[0]).to.include({ outcome: 'succeeded' });
      const status = await server.good('gantry.scheduler.status');
      expect(status).to.include({ server: 'server1', isHolder: true, standsBack: null, paused: true });
      expect(status.holder).to.deep.equal({ server: 'server1', epoch: 1 });
      expect(status.counters.succeeded).to.be.at.least(2);
      const end = Date.now();
      const resumed = await server.good('gantry.scheduler.resume', {}, as('operator'));
      expect(resumed).to.deep.equal({ paused: false, changed: true, live: true });
      await until('it runs again', async () => {
        const { items } = await history('beating', { from: new Date(end).toISOString(), outcome: 'succeeded' });
        return items.length > 0;
      });
      const between = { from: new Date(since + 400).toISOString(), until: new Date(end).toISOString() };
      const { items } = await history('beating', between);
      expect(items.filter(({ source }: Fields) => source === 'schedule')).to.deep.equal([]);
      const { version } = await server.good('gantry.job.get', { name: 'beating' });
      await server.good('gantry.job.remove', { name: 'beating', version });
    });

    it('are paused by true or false, and by nothing else', async () => {
      const { version } = await server.good('gantry.setting.get', { name: 'scheduler.paused' });
      const input = { name: 'scheduler.paused', version, changes: { value: 'yes' } };
      const refused = await server.ask('gantry.setting.update', input);
      expect([...told(refused), paths(refused)]).to.deep.equal([400, 'RECORD_INVALID', ['/changes/value']]);
      expect(refused.body.errors[0]).to.include({ expected: 'true or false', got: '"yes"' });
    });

    it('are paused by whoever asks at the same time', async () => {
      const all = await Promise.all(
        [0, 1, 2, 3].map((i) => server.ask(`gantry.scheduler.${i % 2 === 0 ? 'pause' : 'resume'}`)),
      );
      expect(all.map(({ status }) => status)).to.deep.equal([200, 200, 200, 200]);
      await server.good('gantry.scheduler.resume');
      expect((await server.good('gantry.scheduler.status')).paused).to.equal(false);
    });
  });

  it('nobody runs is a problem of health, and told with the jobs', async () => {
    const data = mkdtempSync(path.join(tmpdir(), 'gantry-jobs-'));
    const config = { 'scheduler.agenda': { beatMs: 100 } };
    let alone = await adminServer({ data, config });
    try {
      const check = async () => {
        const { checks } = await alone.good('gantry.server.health');
        return checks.find(({ name }: { name: string }) => name === 'scheduler');
      };
      await until('it has the scheduler', async () => (await check()).healthy);
      await alone.good('gantry.server.drain', { name: 'server1' });
      await until('it stands back', async () => !(await alone.good('gantry.scheduler.status')).isHolder);
      await alone.stop();
      alone = await adminServer({ data, config });
      const problem = 'No server runs the scheduler';
      expect(await check()).to.deep.equal({ name: 'scheduler', healthy: false, problem });
      expect((await alone.good('gantry.job.overview')).problem).to.equal(problem);
      const { holder, standsBack, ...status } = await alone.good('gantry.scheduler.status');
      expect([holder, standsBack, status.problem]).to.deep.equal([null, 'it is draining', problem]);
      await alone.good('gantry.server.online', { name: 'server1' });
      await until('it has it again', async () => (await check()).healthy);
    } finally {
      await alone.stop();
      rmSync(data, { recursive: true });
    }
  });

  it('are told by a server without a scheduler to be elsewhere', async () => {
    const without = await adminServer();
    try {
      const inputs: Readonly<Record<string, Fields>> = {
        'job.overview': {},
        'job.history': { name: 'a' },
        'job.run': { name: 'a' },
        'job.backfill': { name: 'a', from: '2026-01-01T00:00:00Z' },
        'scheduler.status': {},
        'scheduler.pause': {},
        'scheduler.resume': {},
        'run.get': { token: 'a' },
        'run.list': {},
        'run.dead': {},
        'run.replay': { all: true },
        'run.bury': { all: true },
        'run.cancel': { token: 'a' },
      };
      const job = { name: 'a', service: 'demo.hello', schedule: hourly };
      expect((await without.good('gantry.job.create', job)).warnings).to.deep.equal([
        'this server has no scheduler: another one has to run it',
      ]);
      expect((await without.good('gantry.job.next', { name: 'a' })).times).to.have.lengthOf(5);
      for (const [service, input] of Object.entries(inputs)) {
        const { status, body } = await without.ask(`gantry.${service}`, input);
        expect([status, body.code], service).to.deep.equal([503, 'SCHEDULER_UNAVAILABLE']);
        expect(body.detail, service).to.include('add scheduler.agenda');
      }
    } finally {
      await without.stop();
    }
  });
});
