/** What the admin API tells of runs and does with them, with the real scheduler and a real database. */
import { expect } from 'chai';
import { until } from '../../chaos/condition.ts';
import { as, type JobServer, jobServer } from './jobs.ts';
import type { Answer } from './server.ts';

type Fields = Readonly<Record<string, unknown>>;

describe('services/admin: runs', () => {
  let server: JobServer;
  const told = ({ status, body }: Answer) => [status, body.code];
  const tokens = ({ items }: { items: readonly { token: string }[] }) => items.map(({ token }) => token);
  const dead = async (query: Fields = {}) => tokens(await server.good('gantry.run.dead', query));
  /** A durable call that is given up at once. */
  const died = async (more: Fields = {}) => {
    const token = await server.durably({ fail: true, ...more });
    await server.ended(token);
    return token;
  };

  beforeEach(async () => {
    server = await jobServer();
    await until('it has the scheduler', () => server.kernel.cradle.scheduler.status().planned !== null);
  });
  afterEach(() => server.stop());

  describe('get', () => {
    it('tells all attempts of a durable call, the first one first', async () => {
      const token = await server.durably({ fail: true }, { attempts: 3, backoffMs: 1 });
      const attempts = await server.ended(token);
      expect(attempts.map(({ attempt, outcome, dead: gone }) => [attempt, outcome, gone])).to.deep.equal([
        [1, 'failed', false],
        [2, 'failed', false],
        [3, 'failed', true],
      ]);
      expect(attempts[2]).to.include({
        job: null,
        service: 'test.work',
        source: 'call',
        attempts: 3,
        code: 'CONFLICT',
      });
      expect(server.worked.map(({ firing }) => [firing?.token, firing?.attempt])).to.deep.equal([
        [token, 1],
        [token, 2],
        [token, 3],
      ]);
    });

    it('tells what it was run with to those who may act on it', async () => {
      const token = await server.durably({ order: 17 });
      const { data } = await server.good('gantry.run.get', { token }, as('operator'));
      expect(data).to.deep.include({ input: { order: 17 } });
      expect(await server.good('gantry.run.get', { token }, as('viewer'))).to.not.have.property('data');
    });

    it('of a token that there is not is 404', async () => {
      for (const verb of ['get', 'cancel']) {
        expect(told(await server.ask(`gantry.run.${verb}`, { token: 'nothing' })), verb).to.deep.equal([
          404,
          'NOT_FOUND',
        ]);
      }
    });
  });

  it('list tells jobs and durable calls, by what they are and how they ended', async () => {
    const job = { name: 'j', service: 'test.work', schedule: { everyMs: 3_600_000 } };
    await server.good('gantry.job.create', job);
    const { token: fired } = await server.good('gantry.job.run', { name: 'j' });
    await server.ended(fired);
    const failed = await died();
    const fine = await server.durably({});
    await server.ended(fine);
    const list = async (query: Fields) => tokens(await server.good('gantry.run.list', query));
    expect(await list({})).to.deep.equal([fine, failed, fired]);
    expect(await list({ of: 'jobs' })).to.deep.equal([fired]);
    expect(await list({ of: 'calls' })).to.deep.equal([fine, failed]);
    expect(await list({ job: 'j' })).to.deep.equal([fired]);
    expect(await list({ service: 'test.work', outcome: 'succeeded' })).to.deep.equal([fine, fired]);
    expect(await list({ service: 'test' })).to.deep.equal([]);
    expect(await list({ dead: true })).to.deep.equal([failed]);
    const page = await server.good('gantry.run.list', { limit: 2 });
    expect([tokens(page), page.total]).to.deep.equal([[fine, failed], 3]);
    expect(await list({ limit: 2, after: page.next })).to.deep.equal([fired]);
    const held = await server.durably({ hold: true });
    await until('it is held', () => server.held === 1);
    expect(await list({ state: 'running' })).to.deep.equal([held]);
    server.release();
    await server.ended(held);
    expect((await server.ask('gantry.run.list', { state: 'done' })).status).to.equal(400);
  });

  describe('dead ones', () => {
    it('are replayed with their token, and leave the list when they succeed', async () => {
      const [one, two] = [await died(), await died()];
      expect((await dead()).sort()).to.deep.equal([one, two].sort());
      const again = await server.good('gantry.run.replay', { tokens: [one, two] }, as('operator'));
      expect([again.replayed.sort(), again.rest]).to.deep.equal([[one, two].sort(), []]);
      const attempts = await server.ended(one);
      expect(attempts.map(({ attempt, outcome, dead: gone }) => [attempt, outcome, gone])).to.deep.equal([
        [1, 'failed', false],
        [2, 'failed', true],
      ]);
      await server.ended(two);
      const more = await server.good('gantry.run.replay', { tokens: [one], attempts: 2 });
      expect(more.replayed).to.deep.equal([one]);
      await until('it is given up again', async () => (await server.ended(one)).length === 4);
      expect((await dead()).sort()).to.deep.equal([one, two].sort());
    });

    it('are not replayed twice, nor are those that are not dead', async () => {
      const fine = await server.durably({});
      await server.ended(fine);
      const held = await server.durably({ hold: true });
      const one = await died();
      const answer = await server.good('gantry.run.replay', { tokens: [fine, one, held] });
      expect(answer).to.deep.equal({ replayed: [one], rest: [fine, held] });
      const missing = await server.ask('gantry.run.replay', { tokens: [one, 'nothing'] });
      expect(told(missing)).to.deep.equal([404, 'NOT_FOUND']);
      await server.ended(one);
      const both = await Promise.all([1, 2, 3].map(() => server.good('gantry.run.replay', { tokens: [one] })));
      expect(both.flatMap(({ replayed }) => replayed)).to.deep.equal([one]);
      expect(await server.ended(one)).to.have.lengthOf(3);
    });

    it('are replayed, or buried, all at once, or those of one service', async () => {
      const all = [await died(), await died(), await died()].sort();
      expect((await server.good('gantry.run.replay', { all: true, service: 'other' })).replayed).to.deep.equal([]);
      const { replayed } = await server.good('gantry.run.replay', { all: true, service: 'test.work', of: 'calls' });
      expect(replayed.sort()).to.deep.equal(all);
      for (const token of all) await server.ended(token);
      expect((await server.good('gantry.run.bury', { all: true, job: 'j' })).buried).to.deep.equal([]);
      const { buried, rest } = await server.good('gantry.run.bury', { all: true }, as('operator'));
      expect([buried.sort(), rest]).to.deep.equal([all, []]);
      expect(await dead()).to.deep.equal([]);
      const kept = await server.good('gantry.run.list', { outcome: 'failed' });
      expect(kept.total).to.equal(6);
    });

    it('are buried one by one, and stay in the history', async () => {
      const [one, two] = [await died(), await died()];
      expect(await server.good('gantry.run.bury', { tokens: [one] })).to.deep.equal({ buried: [one], rest: [] });
      expect(await server.good('gantry.run.bury', { tokens: [one] })).to.deep.equal({ buried: [], rest: [one] });
      expect(await dead()).to.deep.equal([two]);
      expect((await server.good('gantry.run.replay', { tokens: [one] })).rest).to.deep.equal([one]);
      expect((await server.ended(one))[0]).to.include({ outcome: 'failed', dead: false });
    });

    it('are named, or all are meant: neither and both are refused', async () => {
      for (const verb of ['replay', 'bury']) {
        for (const input of [{}, { all: false }, { tokens: ['a'], all: true }, { tokens: ['a'], service: 'b' }]) {
          const refused = await server.ask(`gantry.run.${verb}`, input);
          expect(told(refused), JSON.stringify(input)).to.deep.equal([400, 'INPUT_INVALID']);
        }
        expect((await server.ask(`gantry.run.${verb}`, { tokens: [] })).status).to.equal(400);
      }
    });

    it('that lead to the admin API are replayed by administrators only', async () => {
      const input = { service: 'test.secret', input: {}, options: {} };
      const { token } = (await server.good('gantry.service.invoke', { name: 'test.later', input })).output;
      await server.ended(token);
      const own = await died();
      const refused = await server.ask('gantry.run.replay', { tokens: [own, token] }, as('operator'));
      expect(told(refused)).to.deep.equal([403, 'FORBIDDEN']);
      const all = await server.good('gantry.run.replay', { all: true }, as('operator'));
      expect(all.replayed).to.deep.equal([own]);
      expect(await server.ended(token)).to.have.lengthOf(1);
      expect((await server.good('gantry.run.replay', { tokens: [token] })).replayed).to.deep.equal([token]);
    });
  });

  describe('cancel', () => {
    it('ends one that waits before it was run', async () => {
      const token = await server.durably({ a: 1 }, { afterMs: 3_600_000 });
      const answer = await server.good('gantry.run.cancel', { token }, as('operator'));
      expect(answer).to.deep.equal({ token, state: 'ended' });
      const [attempt] = await server.ended(token);
      expect(attempt).to.include({ outcome: 'cancelled', dead: false, reason: 'cancelled by a operator' });
      expect(server.worked).to.deep.equal([]);
      const late = await server.ask('gantry.run.cancel', { token });
      expect(told(late)).to.deep.equal([409, 'CONFLICT']);
    });

    it('tells one that is under way to end', async () => {
      const token = await server.durably({ hold: true }, { attempts: 5 });
      await until('it is held', () => server.held === 1);
      const { state } = await server.good('gantry.run.cancel', { token });
      expect(state).to.be.oneOf(['running', 'ended']);
      const attempts = await server.ended(token);
      expect(attempts.map(({ outcome }) => outcome)).to.deep.equal(['cancelled']);
      expect(await dead()).to.deep.equal([]);
    });
  });
});
