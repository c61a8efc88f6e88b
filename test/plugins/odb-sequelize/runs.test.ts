import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import type { Odb } from '../../../core/ports/odb.ts';
import type { NewRun } from '../../../core/ports/runs.ts';
import { mariadb, needs, postgres } from '../../engines/index.ts';
import { ask, odbPlugins, openServer } from '../../engines/odb-plugins.ts';
import { between } from '../../engines/odb-proxy.ts';
import { journal } from '../../fixtures/direct.ts';
import { endOf, freshRuns, fromKey, keys, keysOf } from '../../kit/odb-run-world.ts';
import { type OdbServer, refusal, wireOdb } from '../../kit/odb-world.ts';

type Row = Readonly<Record<string, unknown>>;

const LONG_MS = 600_000;
const HOUR_MS = 3_600_000;
const runner = (owner: string) => ({ owner, server: 's', epoch: 1, now: 5000 });

describe('odb.sequelize, runs and leases when an answer is lost', function () {
  this.timeout(30_000);
  const engine = needs(postgres);
  let proxy: Awaited<ReturnType<typeof between>>;
  let server: OdbServer;
  let config: Row;
  let odb: Odb;

  beforeEach(async () => {
    const { port, user, password } = engine();
    proxy = await between(port);
    config = { host: '127.0.0.1', port: proxy.port, user, password, database: await engine().database() };
    server = await openServer('dialect.postgres', config);
    odb = server.odb;
  });
  afterEach(async () => {
    await server.stop();
    proxy.close();
  });

  /** The first COMMIT is cut, once. */
  const cutOff = async <T>(cut: 'before' | 'after' | 'lease', work: () => Promise<T>): Promise<T> => {
    Object.assign(proxy.state, { cut, cuts: 0, commits: 0, times: 1 });
    const result = await work();
    expect(proxy.state.cuts, 'cuts').to.equal(1);
    if (cut !== 'lease') expect(proxy.state.commits, 'commits').to.equal(2);
    return result;
  };
  const runs = freshRuns('job', 10);
  const states = async () => (await odb.runs.history({ limit: 100 })).items.map(({ state }) => state);

  for (const cut of ['before', 'after'] as const) {
    describe(`${cut} the end of a change reached the database`, () => {
      it('adds each once, and tells those that are its own', async () => {
        await odb.leases.take('l', { holder: 'h', server: 's' }, LONG_MS);
        await odb.runs.add(runs.slice(0, 3), null);
        const fence = { lease: 'l', holder: 'h', epoch: 1 };
        const added = await cutOff(cut, () => odb.runs.add(runs, fence));
        expect(added).to.deep.equal(keysOf(runs.slice(3)));
        expect(await states()).to.deep.equal(runs.map(() => 'waiting'));
      });

      it('takes and starts each once, and tells those that are its own', async () => {
        await odb.runs.add(runs, null);
        await odb.runs.start(runs.slice(0, 2), runner('before'), null);
        const taken = await cutOff(cut, () =>
          odb.runs.take({ ...runner('me'), now: 10 ** 12, pools: ['holder'], limit: 5 }),
        );
        expect(keys(taken)).to.deep.equal(keys(runs.slice(2, 7)));
        const started = await cutOff(cut, () => odb.runs.start(runs, runner('me too'), null));
        expect(keys(started)).to.deep.equal(keys(runs.slice(7)));
        for (const run of [...taken, ...started]) expect((await odb.runs.find(run.token))[0]).to.deep.equal(run);
      });

      it('ends each once, with what comes after it', async () => {
        const own = runs.map((run) => ({ ...run, by: runner('me') }));
        await odb.runs.add(own, null);
        const ends = own.map((run, i) => ({ ...endOf(run, 70 + i), followers: [{ ...run, attempt: 2, by: null }] }));
        const ended = await cutOff(cut, () => odb.runs.end(ends, 'me', null));
        expect(ended).to.deep.equal(keysOf(runs));
        expect((await states()).toSorted()).to.deep.equal([...runs.map(() => 'ended'), ...runs.map(() => 'waiting')]);
      });

      it('moves, replays and buries each once', async () => {
        await odb.runs.add(runs, null);
        expect(await cutOff(cut, () => odb.runs.move(runs, 'any'))).to.equal(10);
        await odb.runs.end(
          runs.map((run) => ({ ...endOf(run), dead: true })),
          null,
          null,
        );
        const [some, rest] = [runs.slice(0, 4), runs.slice(4)].map((of) => of.map(({ token }) => token));
        const replayed = await cutOff(cut, () => odb.runs.replay(some as string[], 1, 1));
        expect(replayed.map(({ token }) => token)).to.have.members(some as string[]);
        expect(await cutOff(cut, () => odb.runs.bury(rest as string[]))).to.deep.equal(rest);
        expect(await odb.runs.counts()).to.deep.equal({ running: 0, waiting: 4, dead: 0 });
      });
    });
  }

  it('of a lease finds it again, and does nothing twice', async () => {
    const by = { holder: 'h', server: 's' };
    await odb.leases.take('l', { holder: 'g', server: 's' }, LONG_MS);
    await odb.leases.release('l', 'g', 1);
    expect(await cutOff('lease', () => odb.leases.take('l', by, LONG_MS))).to.include({ holder: 'h', epoch: 2 });
    const held = { name: 'l', holder: 'h', epoch: 2, forMs: 2 * LONG_MS, mark: 7 };
    const { leases } = await cutOff('lease', () => odb.leases.renew([held]));
    expect(leases[0]).to.include({ holder: 'h', epoch: 2, mark: 7 });
    expect(await cutOff('lease', () => odb.leases.release('l', 'h', 2))).to.equal(true);
  });
});

describe('odb.sequelize, a server that is silent in the middle of a change', function () {
  this.timeout(60_000);
  for (const [dialect, kind] of [
    ['dialect.postgres', postgres],
    ['dialect.mysql', mariadb],
  ] as const) {
    describe(`on ${dialect}`, () => {
      const engine = needs(kind);

      it('keeps the lease from others for some seconds only, and does nothing when it goes on', async () => {
        const { port, user, password } = engine();
        const proxy = await between(port);
        const config = { host: '127.0.0.1', user, password, database: await engine().database() };
        // One that is frozen gives up nothing by itself.
        const patient = { ...config, port: proxy.port, statementTimeoutMs: 120_000 };
        const frozen = await openServer(dialect, patient, { timeoutMs: 300_000 });
        const other = await openServer(dialect, { ...config, port }, { timeoutMs: 60_000 });
        try {
          await frozen.odb.leases.take('l', { holder: 'h', server: 's' }, LONG_MS);
          proxy.state.cut = 'hold';
          const adding = frozen.odb.runs.add(freshRuns('job', 3), { lease: 'l', holder: 'h', epoch: 1 });
          const refused = refusal('LEASE_LOST', adding);
          while (proxy.state.cuts === 0) await new Promise((resolve) => setTimeout(resolve, 5));
          // Else it would be held for a minute and more, which this test does not wait for.
          expect(await other.odb.leases.release('l', 'h', 1)).to.equal(true);
          const taken = await other.odb.leases.take('l', { holder: 'g', server: 's' }, LONG_MS);
          expect(taken).to.include({ holder: 'g', epoch: 2 });
          proxy.state.cut = 'none';
          await refused;
          expect(await other.odb.runs.counts()).to.deep.equal({ running: 0, waiting: 0, dead: 0 });
        } finally {
          await frozen.stop();
          await other.stop();
          proxy.close();
        }
      });
    });
  }
});

describe('odb.sequelize, its tables of runs and leases', function () {
  this.timeout(30_000);
  const folder = mkdtempSync(path.join(tmpdir(), 'gantry-odb-runs-'));
  const config = { file: path.join(folder, 'runs.sqlite') };
  const { logs, lines } = journal();
  let server: ReturnType<typeof wireOdb>;
  let odb: Odb;
  before(async () => {
    server = wireOdb(odbPlugins('dialect.sqlite', config), logs, folder);
    await server.start();
    odb = server.odb;
  });
  after(async () => {
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  const sql = (text: string) => ask('dialect.sqlite', config, text);
  const statements = () =>
    lines
      .splice(0)
      .flatMap(
        (line) => /^Executing \([^)]*\): (.*)$/s.exec(String((line as unknown as Row)['statement'] ?? ''))?.[1] ?? [],
      );

  it('let a lease lapse that lasts on since the clock was put back, and not for a difference between clocks', async () => {
    const { leases } = odb;
    await leases.take('l', { holder: 'h', server: 's' }, LONG_MS);
    await sql(`UPDATE gantry_leases SET until_ms = until_ms + ${LONG_MS / 2}`);
    expect(await leases.take('l', { holder: 'g', server: 's' }, LONG_MS)).to.include({ holder: 'h', epoch: 1 });
    // As if it had been taken before the clock was put back by an hour.
    await sql(`UPDATE gantry_leases SET until_ms = until_ms + ${HOUR_MS}`);
    expect((await leases.renew([])).leases[0]?.remainingMs).to.equal(0);
    expect(await leases.take('l', { holder: 'g', server: 's' }, LONG_MS)).to.include({ holder: 'g', epoch: 2 });
    await sql(`UPDATE gantry_leases SET until_ms = until_ms + ${HOUR_MS}`);
    // Who has it only renews it, and has it for as long as ever.
    const held = { name: 'l', holder: 'g', epoch: 2, forMs: LONG_MS, mark: null };
    expect((await leases.renew([held])).leases[0]?.remainingMs).to.be.within(1, LONG_MS);
    await sql(`UPDATE gantry_leases SET until_ms = until_ms + ${HOUR_MS}`);
    expect(await leases.remove('l', 'g')).to.equal(true);
  });

  it('find the few that are open or dead without looking at those that ended', async () => {
    const { runs } = odb;
    const given: readonly [string, () => Promise<unknown>, RegExp][] = [
      ['take', () => runs.take({ ...runner('me'), pools: ['any', 'holder'], limit: 5 }), /gantry_runs_open /],
      ['readyAt', () => runs.readyAt(['any', 'holder']), /gantry_runs_open /],
      ['open', () => runs.open({ limit: 5 }), /gantry_runs_open/],
      ['open, running', () => runs.open({ state: 'running', owner: 'me', limit: 5 }), /gantry_runs_open /],
      ['open, of a job', () => runs.open({ job: 'j', limit: 5 }), /gantry_runs_open/],
      ['counts', () => runs.counts(), /gantry_runs_open|gantry_runs_dead/],
      ['dead', () => runs.history({ dead: true, limit: 5 }), /gantry_runs_dead/],
      ['latest', () => runs.latest(['j', 'k']), /gantry_runs_by_job|gantry_runs_open_of_job|sqlite_autoindex/],
      ['firings', () => runs.firings(5), /gantry_runs_by_due/],
      ['all', () => runs.history({ limit: 5 }), /gantry_runs_by_due|COVERING INDEX/],
      ['of a job', () => runs.history({ job: 'j', limit: 5 }), /gantry_runs_by_job/],
      ['failed', () => runs.history({ outcome: 'failed', limit: 5 }), /gantry_runs_by_outcome/],
    ];
    for (const [what, doing, index] of given) {
      statements();
      await doing();
      const asked = statements().filter((text) => text.startsWith('SELECT'));
      expect(asked, what).to.have.lengthOf.at.least(1);
      for (const text of asked) {
        // Any value would do: nothing is planned by it.
        const plan = (await sql(`EXPLAIN QUERY PLAN ${text.replace(/\$\d+/g, "'1'")}`)).map((row) =>
          String(row['detail']),
        );
        const tables = plan.filter((step) => /^(SCAN|SEARCH) (?!t\d)/.test(step));
        for (const step of tables) expect(step, `${what}: ${text}`).to.match(index);
      }
    }
  });

  it('leave what ended out of the indexes of the few', async () => {
    const rows = await sql("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'gantry_runs'");
    const partial = rows.filter((row) => /WHERE/.test(String(row['sql']))).map((row) => String(row['name']));
    expect(partial.toSorted()).to.deep.equal(['gantry_runs_dead', 'gantry_runs_open', 'gantry_runs_open_of_job']);
  });

  it('take few statements for many runs, and few different ones', async () => {
    const { runs } = odb;
    const distinct = new Set<string>();
    for (let count = 1; count <= 40; count++) {
      statements();
      const some = freshRuns(`${count}`, count).map((run): NewRun => ({ ...run, by: runner('me') }));
      await runs.add(some, null);
      await runs.end(
        some.map((run, i) => endOf(run, i)),
        'me',
        null,
      );
      const asked = statements();
      if (count === 40) expect(asked.length).to.be.below(30);
      for (const text of asked) distinct.add(text);
    }
    expect(distinct.size).to.be.below(60);
    expect([...distinct].join('\n')).to.not.include('40 00039');
  });
});

describe('odb.sequelize, its leases', function () {
  this.timeout(30_000);
  const engine = needs(postgres);

  it('are renewed with two statements, and no transaction', async () => {
    const { host, port, user, password } = engine();
    const { logs, lines } = journal();
    const config = { host, port, user, password, database: await engine().database() };
    const server = wireOdb(odbPlugins('dialect.postgres', config), logs, tmpdir());
    await server.start();
    try {
      const { leases } = server.odb;
      for (const name of ['a', 'b', 'c']) await leases.take(name, { holder: 'h', server: 's' }, LONG_MS);
      lines.length = 0;
      await leases.renew(['a', 'b', 'c'].map((name) => ({ name, holder: 'h', epoch: 1, forMs: LONG_MS, mark: 1 })));
      const asked = lines.flatMap((line) => (line as unknown as Row)['statement'] ?? []);
      expect(asked.map((text) => /: (\w+)/.exec(String(text))?.[1])).to.deep.equal(['UPDATE', 'SELECT']);
    } finally {
      await server.stop();
    }
  });

  it('hold what is added: a server that is not told so cannot add, and adds nothing twice', async () => {
    const { host, port, user, password } = engine();
    const config = { host, port, user, password, database: await engine().database() };
    const server = await openServer('dialect.postgres', config);
    try {
      const { leases, runs } = server.odb;
      await leases.take('l', { holder: 'h', server: 's' }, 1);
      const [run] = freshRuns('job', 1) as [NewRun];
      const fence = { lease: 'l', holder: 'h', epoch: 1 };
      while (((await leases.renew([])).leases[0]?.remainingMs ?? 0) > 0);
      await refusal('LEASE_LOST', runs.add([run], fence));
      await leases.renew([{ name: 'l', holder: 'h', epoch: 1, forMs: LONG_MS, mark: null }]);
      expect(await runs.add([run], fence)).to.deep.equal([fromKey(run)]);
    } finally {
      await server.stop();
    }
  });
});
