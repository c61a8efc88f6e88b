/** Nobody becomes an administrator by way of a job. */
import { expect } from 'chai';
import { until } from '../../chaos/condition.ts';
import { as, type JobServer, jobServer } from './jobs.ts';
import type { Answer } from './server.ts';

type Fields = Readonly<Record<string, unknown>>;

describe('services/admin: jobs that lead to the admin API', () => {
  let server: JobServer;
  const schedule = { everyMs: 3_600_000 };
  const told = ({ status, body }: Answer) => [status, body.code];
  const FORBIDDEN = [403, 'FORBIDDEN'];
  const job = (more: Fields = {}) => ({ name: 'door', service: 'test.work', schedule, ...more });
  const ask = (verb: string, input: Fields, who?: string) => server.ask(`gantry.job.${verb}`, input, who);

  before(async () => {
    server = await jobServer();
  });
  after(() => server.stop());
  afterEach(() => server.good('gantry.job.remove', { name: 'door' }));

  // The last one may be deployed on another server.
  for (const service of ['gantry.user.create', 'test.secret', 'gantry.not.deployed']) {
    for (const field of ['service', 'onSuccess', 'onError']) {
      it(`are not made by a developer: ${field} ${service}`, async () => {
        expect(told(await ask('create', job({ [field]: service }), as('developer')))).to.deep.equal(FORBIDDEN);
        expect((await ask('create', job(), as('developer'))).status).to.equal(200);
        const changes = { [field]: service };
        const changed = await ask('update', { name: 'door', version: 1, changes }, as('developer'));
        expect(told(changed)).to.deep.equal(FORBIDDEN);
        expect((await ask('update', { name: 'door', version: 1, changes })).status).to.equal(200);
      });

      it(`are neither changed, switched on nor run by who is less than an administrator: ${field} ${service}`, async () => {
        expect((await ask('create', job({ [field]: service, active: false }))).status).to.equal(200);
        const runs = (await server.good('gantry.run.list', { of: 'jobs' })).total;
        const changes = { payload: { role: 'administrator' } };
        const refused = {
          update: await ask('update', { name: 'door', version: 1, changes }, as('developer')),
          toggle: await ask('toggle', { name: 'door', version: 1, active: true }, as('operator')),
          run: await ask('run', { name: 'door' }, as('operator')),
          payload: await ask('run', { name: 'door', payload: {} }, as('developer')),
          backfill: await ask('backfill', { name: 'door', from: '2026-01-01T00:00:00Z' }, as('developer')),
        };
        for (const [what, answer] of Object.entries(refused)) expect(told(answer), what).to.deep.equal(FORBIDDEN);
        expect((await server.good('gantry.run.list', { of: 'jobs' })).total).to.equal(runs);
        expect((await ask('toggle', { name: 'door', version: 1, active: true })).status).to.equal(200);
        expect((await ask('toggle', { name: 'door', version: 2, active: false }, as('operator'))).status).to.equal(200);
        const run = await ask('run', { name: 'door' });
        expect(run.status, JSON.stringify(run.body)).to.equal(200);
        await server.ended(run.body.token);
      });
    }
  }

  it('are not left to a job that has their name by now', async () => {
    const retries = { attempts: 3, backoffMs: 2000 };
    await server.good('gantry.job.create', job({ service: 'gantry.user.create', payload: { name: 'x' }, retries }));
    const { token } = await server.good('gantry.job.run', { name: 'door' });
    await until('its second attempt waits', async () => {
      return (await server.good('gantry.run.get', { token })).attempts.length === 2;
    });
    await server.good('gantry.job.remove', { name: 'door' }, as('developer'));
    const payload = { name: 'mallory', role: 'administrator', password: 'a long password' };
    await server.good('gantry.job.create', job({ payload }), as('developer'));
    await server.ended(token);
    expect((await server.ask('gantry.user.get', { name: 'mallory' })).status).to.equal(404);
  });

  it('are run as nobody that administers; a durable call is run as who made it', async () => {
    const input = { service: 'test.work', input: { whose: 'call' }, options: {} };
    const { body } = await server.ask('gantry.service.invoke', { name: 'test.later', input }, as('developer'));
    await server.ended(body.output.token);
    await server.good('gantry.job.create', job({ payload: { whose: 'job' } }));
    await server.ended((await ask('run', { name: 'door' })).body.token);
    const by = (whose: string) => server.worked.find(({ input: given }) => (given as Fields)['whose'] === whose)?.by;
    expect(by('call')).to.equal('a developer');
    expect(by('job')).to.equal('scheduler');
  });
});
