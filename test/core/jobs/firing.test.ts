import { rmSync } from 'node:fs';
import { expect } from 'chai';
import { Call, defineService, type Firing, GantryError, isGantryError, Type } from '../../../core/api.ts';
import { effectsOn } from '../../../core/calls/effects.ts';
import type { NewRun } from '../../../core/ports/index.ts';
import { BY, operated } from '../../fixtures/operated.ts';

const OWNER = 'server-1.1';

function firing(token: string, attempt = 1, owner = OWNER): Firing {
  return { job: 'nightly', token, dueAt: new Date(1000), attempt, source: 'schedule', owner };
}

function fired(of: Firing): Call {
  const call = new Call('job nightly', {});
  call.firing = of;
  return call;
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  const thrown: unknown = await work.then(
    () => null,
    (error: unknown) => error,
  );
  return isGantryError(thrown) ? thrown.code : String(thrown);
}

describe('a call of the scheduler', () => {
  it('carries its firing, and so do the calls that are made on its behalf', () => {
    const of = firing('t1');
    expect(fired(of).child().child().firing).to.equal(of);
    expect(new Call('channel', {}).child().firing).to.equal(null);
  });

  it('has one idempotency key for all its attempts, which no caller can name', () => {
    const [first, second, other] = [fired(firing('t1')), fired(firing('t1', 2, 'server-2.1')), fired(firing('t2'))];
    expect(first.idempotencyKey).to.match(/^[0-9a-f]{64}$/);
    expect(second.idempotencyKey).to.equal(first.idempotencyKey);
    expect(first.child().idempotencyKey).to.equal(first.idempotencyKey);
    expect(other.idempotencyKey).to.not.equal(first.idempotencyKey);
    const named = new Call('channel', { headers: { 'idempotency-key': 't1' } });
    named.identity = { name: 'somebody', roles: [] };
    expect(named.idempotencyKey).to.not.equal(first.idempotencyKey);
  });

  describe('with effects', function () {
    this.timeout(20_000);
    let server: Awaited<ReturnType<typeof operated>>;
    const count = async () => {
      const { value } = await server.kernel.cradle.odb.once(null, async (run) => {
        const { rows } = await run('SELECT COUNT(*) AS n FROM firing_effects');
        return Number(rows[0]?.['n']);
      });
      return value;
    };
    const effect = (call: Call, label = '', meanwhile: () => Promise<unknown> = async () => {}) =>
      effectsOn(server.kernel.cradle.odb, 'books').once(
        call,
        async (run) => {
          await run('INSERT INTO firing_effects (token) VALUES ($1)', [`${call.firing?.token}${label}`]);
          await meanwhile();
          return 'done';
        },
        label,
      );
    const running = (token: string, attempt = 1): NewRun => ({
      ...{ token, attempt, source: 'schedule', job: 'nightly', service: 'books', dueAt: 1000, readyAt: 1000 },
      ...{ pool: 'holder', attempts: 1, count: 1, data: null, outcome: null, reason: null },
      by: { owner: OWNER, server: 'server-1', epoch: 1, now: 1000 },
    });
    const interrupt = (token: string) =>
      server.kernel.cradle.odb.runs.end(
        [
          {
            ...{ token, attempt: 1, outcome: 'interrupted', endedAt: 2000, reason: null, code: null, dead: false },
            followers: [],
          },
        ],
        OWNER,
        null,
      );

    before(async () => {
      server = await operated();
      await server.kernel.start();
      await server.kernel.cradle.odb.once(null, (run) => run('CREATE TABLE firing_effects (token VARCHAR(100))'));
    });
    after(async () => {
      await server.kernel.stop();
      rmSync(server.data, { recursive: true, force: true });
    });

    it('makes them while the run is its own, each once over all attempts', async () => {
      const { runs } = server.kernel.cradle.odb;
      const before = await count();
      await runs.add([running('own')], null);
      expect((await effect(fired(firing('own')))).first).to.equal(true);
      await interrupt('own');
      await runs.add([running('own', 2)], null);
      // The second attempt finds what the first one did.
      expect(await effect(fired(firing('own', 2)))).to.deep.equal({ first: false, value: 'done' });
      expect(await count()).to.equal(before + 1);
    });

    it('makes none, and gives none again, once the run is not its own', async () => {
      const before = await count();
      await server.kernel.cradle.odb.runs.add([running('lost')], null);
      expect((await effect(fired(firing('lost')), ' early')).first).to.equal(true);
      expect(await codeOf(effect(fired(firing('lost', 1, 'server-1.2')), ' other'))).to.equal('LEASE_LOST');
      await interrupt('lost');
      expect(await codeOf(effect(fired(firing('lost')), ' late'))).to.equal('LEASE_LOST');
      expect(await codeOf(effect(fired(firing('lost')), ' early'))).to.equal('LEASE_LOST');
      expect(await codeOf(effect(fired(firing('never there'))))).to.equal('LEASE_LOST');
      expect(await count()).to.equal(before + 1);
    });
  });
});

describe('schedule', function () {
  this.timeout(20_000);
  let server: Awaited<ReturnType<typeof operated>>;
  const asked = new Call('asked', { cid: 'cid-1' });
  const planner = defineService({
    name: 'planner',
    input: Type.Unknown(),
    output: Type.Unknown(),
    create: ({ schedule }) => {
      if (schedule === null) throw new GantryError('UNAVAILABLE', 'no records');
      return () => schedule;
    },
  });
  // biome-ignore lint/suspicious/noExplicitAny: a test calls what the service was given
  let schedule: any;

  before(async () => {
    server = await operated();
    server.kernel.deploy([planner]);
    await server.kernel.start();
    schedule = await server.kernel.cradle.services.run('planner', {}, new Call('test', {}), {});
  });
  after(async () => {
    await server.kernel.stop();
    rmSync(server.data, { recursive: true, force: true });
  });

  it('once makes a job that goes when it is done, by the service and for the call', async () => {
    const { records } = server;
    const name: string = await schedule.once(asked, { service: 'echo', payload: { n: 1 }, afterMs: 60_000 });
    const { definition, changedBy } = await records.get('job', name);
    expect(definition).to.include({ service: 'echo', removeWhenDone: true, interrupted: 'again' });
    expect(definition['payload']).to.deep.equal({ n: 1 });
    const due = Date.parse((definition['schedule'] as { at: string }).at);
    expect(due).to.be.within(Date.now() + 50_000, Date.now() + 60_000);
    expect(changedBy).to.equal('planner');
    const [line] = (await records.history({ kind: 'job', name, limit: 1 })).items;
    expect(line?.cid).to.equal('cid-1');
  });

  it('once with a name is refused where such a job is there, and for a time that is past', async () => {
    const at = new Date(Date.now() + 60_000);
    expect(await schedule.once(asked, { name: 'close the books', service: 'echo', at })).to.equal('close the books');
    expect(await codeOf(schedule.once(asked, { name: 'close the books', service: 'echo', at }))).to.equal(
      'RECORD_DUPLICATE',
    );
    expect(await codeOf(schedule.once(asked, { service: 'echo', at: new Date(1000) }))).to.equal('RECORD_INVALID');
  });

  it('put makes a job, and puts another in its place, fields that are gone too', async () => {
    const { records } = server;
    const cron = { cron: '0 3 * * *', timeZone: 'Europe/Warsaw' };
    await schedule.put(asked, { name: 'nightly', service: 'echo', schedule: cron, jitterMs: 5 });
    const first = (await records.get('job', 'nightly')).definition;
    await schedule.put(asked, { name: 'nightly', service: 'forward', schedule: cron });
    const second = await records.get('job', 'nightly');
    expect(second.definition).to.include({ service: 'forward' });
    expect(second.definition).to.not.have.property('jitterMs');
    expect(second.definition['since']).to.equal(first['since']);
  });

  it('remove tells whether there was one', async () => {
    await server.records.create('job', { name: 'gone soon', service: 'echo', schedule: { every: '1h' } }, BY);
    expect(await schedule.remove(asked, 'gone soon')).to.equal(true);
    expect(await schedule.remove(asked, 'gone soon')).to.equal(false);
  });
});
