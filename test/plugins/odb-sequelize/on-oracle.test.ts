import { expect } from 'chai';
import type { Plugin } from '../../../core/cradle.ts';
import { Logs } from '../../../core/log/log.ts';
import type { Odb, Write } from '../../../core/ports/odb.ts';
import oracle from '../../../plugins/dialect-oracle/index.ts';
import { odbDatabase, odbPlugins } from '../../engines/odb-plugins.ts';
import { oracleServer } from '../../engines/oracle.ts';
import { OracleRecorder, type Statement } from '../../engines/oracle-recorder.ts';
import { violations } from '../../engines/oracle-rules.ts';
import { testOdb } from '../../kit/index.ts';
import { type OdbServer, wireOdb } from '../../kit/odb-world.ts';

const by = { name: 'me', cid: 'c1' };
const config = { service: 'GANTRY', user: 'gantry', password: 'secret' };
const record = { kind: 'k', version: 1, body: '{"n":1}', changed_at: 5, changed_by: 'me', revision: 3 };
const lease = { name: 'l', holder: 'h', server: 's', epoch: 1, until_ms: 9000, for_ms: 1000, mark: null, now: 8500 };
const waiting = {
  ...{ token: 't', attempt: 1, source: 'schedule', job: 'j', service: 's', due_at: 5, ready_at: 5, pool: 'any' },
  ...{ state: 'waiting', owner: null, server: null, epoch: 0, started_at: null, ended_at: null, outcome: null },
  ...{ code: null, reason: null, attempts: 2, repeats: 1, data: '{"a":""}', dead: null, asking: 'x' },
};
const running = { ...waiting, token: 'running', state: 'running', owner: 'h' };
const dead = { ...waiting, token: 'dead', state: null, outcome: 'failed', ended_at: 7, dead: 1 };
const change = { ...record, name: 'a', action: 'create', cid: null, was: null, became: '{}' };

/** How often a lease is not there yet when it is looked for. */
let absent = 0;

/** As a database with a few records might answer. */
function answer(sql: string): Record<string, unknown>[] {
  const from = /FROM "(\w+)"/.exec(sql)?.[1];
  if (/^SELECT COUNT/.test(sql)) return [{ total: 3 }];
  if (sql.includes('"gantry_leases"')) return /^SELECT/.test(sql) && absent-- > 0 ? [] : [lease];
  if (sql.includes('"gantry_runs"')) return /MIN\(/.test(sql) ? [{ ready: 5 }] : [waiting, running, dead];
  if (/"moment"/.test(sql)) return [{ ...record, moment: 7, name: 'a' }];
  if (from === 'gantry_effects') return /^SELECT "key"/.test(sql) ? [{ key: 'k' }] : [];
  if (from === 'gantry_counter') return [{ id: 1, revision: 7 }];
  if (from === 'gantry_references') return [{ kind: 'k', name: 'other', to_name: 'elsewhere' }];
  if (from === 'gantry_changes') return [1, 2].map((revision) => ({ ...change, revision }));
  if (from === 'gantry_records') return ['old', 'target'].map((name) => ({ ...record, name, sorted: 'x' }));
  return [];
}

describe('odb.sequelize in the dialect of Oracle', () => {
  const recorder = new OracleRecorder(answer);
  let server: OdbServer & { start(): Promise<void> };
  let odb: Odb;

  before(() => {
    const [dialect, ...rest] = odbPlugins('dialect.oracle', config);
    const create = (given: never) => {
      const made = oracle.create(given);
      return { ...made, options: () => ({ ...made.options(), dialectModule: recorder.driver }) };
    };
    const recorded = { ...dialect, id: 'dialect.oracle', config, plugin: { ...oracle, create } as unknown as Plugin };
    server = wireOdb([recorded, ...rest], new Logs({ level: 'silent' }), '/');
    odb = server.odb;
  });
  after(() => server.stop());

  /** What was asked, once it was found to be what Oracle takes. */
  const asked = async (doing: () => Promise<unknown>): Promise<readonly Statement[]> => {
    recorder.take();
    await doing();
    const statements = recorder.take();
    for (const statement of statements) expect(violations(statement), statement.sql).to.deep.equal([]);
    expect(statements).to.not.have.lengthOf(0);
    return statements;
  };
  const only = async (doing: () => Promise<unknown>) => (await asked(doing)).map(({ sql }) => sql);

  it('makes every table and index, after it has the lock, each with what compares exactly', async () => {
    const statements = await only(() => server.start());
    expect(odb.problem).to.equal(null);
    const at = (pattern: RegExp) => statements.findIndex((sql) => pattern.test(sql));
    expect(at(/LOCK TABLE gantry_lock IN EXCLUSIVE MODE/)).to.be.within(0, at(/CREATE TABLE "gantry_/) - 1);
    const made = statements.flatMap((sql) => /CREATE (?:TABLE|INDEX) "(\w+)"/.exec(sql)?.[1] ?? []);
    expect(made).to.include.members([
      'gantry_effects',
      'gantry_effects_by_time',
      'gantry_records',
      'gantry_changes',
      'gantry_counter',
      'gantry_fields_by_value',
      'gantry_leases',
      'gantry_runs',
      'gantry_runs_open',
      'gantry_runs_open_of_job',
    ]);
    const records = statements.find((sql) => sql.includes('CREATE TABLE "gantry_records"'));
    expect(records).to.include('"name" VARCHAR2(200 CHAR) NOT NULL').and.include('"body" CLOB NOT NULL');
    expect(statements.at(-1)).to.match(/^INSERT INTO "gantry_migrations"/);
  });

  it('reads', async () => {
    await asked(() => odb.revision());
    await asked(() => odb.find('k', 'old'));
    await asked(() => odb.referrers('k', 'old'));
    await asked(() => odb.load(['k', 'm', 'n']));
    const kinds = Array.from({ length: 3000 }, (_, i) => `k${i}`);
    await asked(() => odb.load(kinds));
    await asked(() =>
      odb.pick(
        'k',
        Array.from({ length: 3000 }, (_, i) => `n${i}`),
      ),
    );
  });

  it('lists in pages, however they are sorted, filtered and searched', async () => {
    for (const sort of [undefined, 'name', 'changedAt', 'priority']) {
      for (const descending of [false, true]) {
        const query = { limit: 1, descending, search: 'x%_', filter: { a: 'b', c: '' }, ...(sort && { sort }) };
        let next: string | null = null;
        const [page] = await only(async () => {
          ({ next } = await odb.list('k', query));
        });
        expect(page).to.match(/ORDER BY .* OFFSET 0 ROWS FETCH NEXT 2 ROWS ONLY$/);
        expect(next, 'there is a next page').to.be.a('string');
        await asked(() => odb.list('k', { ...query, after: String(next) }));
      }
    }
  });

  it('tells changes and history in pages', async () => {
    const [changes] = await only(() => odb.changes(3, 10));
    expect(changes).to.match(/ORDER BY h."revision" OFFSET 0 ROWS FETCH NEXT 10 ROWS ONLY$/);
    const all = { kind: 'k', name: 'n', action: 'update', changedBy: 'me', cid: 'c', search: '"x"' } as const;
    for (const ascending of [false, true]) {
      const query = { limit: 1, ascending };
      let next: string | null = null;
      await asked(async () => {
        ({ next } = await odb.history(query));
      });
      await asked(() => odb.history({ ...query, ...all, from: new Date(), until: new Date(), after: String(next) }));
    }
  });

  it('writes: one, and what is left of it', async () => {
    const content = {
      kind: 'k',
      body: { text: 'x'.repeat(100_000), empty: '' },
      fields: { a: 'b', empty: '' },
      references: [{ kind: 'k', name: 'target' }],
      claims: ['c', ''],
      after: {},
    };
    const statements = await only(() => odb.write([{ action: 'create', name: 'new', ...content }], by));
    const tables = statements.flatMap((sql) => /^INSERT INTO "(\w+)"/.exec(sql)?.[1] ?? []);
    expect(tables).to.include.members(['gantry_records', 'gantry_fields', 'gantry_references', 'gantry_changes']);
    await asked(() => odb.write([{ action: 'update', name: 'old', version: 1, ...content, before: {} }], by));
  });

  it('writes: many rows with one statement, each bound by itself', async () => {
    const writes = Array.from(
      { length: 3000 },
      (_, i): Write => ({
        action: 'create',
        kind: 'k',
        name: `n${i}`,
        body: { i },
        fields: { a: `${i}` },
        claims: [`c${i}`],
        references: [{ kind: 'k', name: `n${(i + 1) % 3000}` }],
      }),
    );
    const statements = await asked(() => odb.write(writes, by));
    const inserts = statements.filter(({ sql }) => sql.startsWith('INSERT'));
    expect(inserts.map(({ binds }) => binds.length)).to.deep.equal([3000, 3000, 3000, 3000, 3000]);
    expect(inserts[0]?.binds[2999]?.slice(0, 2)).to.deep.equal(['k', 'n2999']);
  });

  it('makes an effect: its key first, what it gave last, and between them the statements of the work', async () => {
    const statements = await asked(() =>
      odb.once('k', async (run) => {
        await run('UPDATE "t" SET "a" = $2, "b" = $1 WHERE "c" = $2 AND "d" = \':1 $1\'', ['x', true]);
        return { text: 'x'.repeat(5000) };
      }),
    );
    const told = statements.filter(({ sql }) => !/^(BEGIN|SET|ALTER|COMMIT|ROLLBACK)/.test(sql));
    expect(told.map(({ sql }) => sql)).to.deep.equal([
      'INSERT INTO "gantry_effects" ("key", "made_at") VALUES (:0, :1)',
      `/* effect */ UPDATE "t" SET "a" = :0 , "b" = :1  WHERE "c" = :2  AND "d" = ':1 $1'`,
      'UPDATE "gantry_effects" SET "result" = :0 WHERE "key" = :1',
    ]);
    expect(told[1]?.binds).to.deep.equal([[1, 'x', 1]]);
  });

  it('forgets effects', async () => {
    const statements = await only(() => odb.forget(new Date()));
    expect(statements.find((sql) => sql.includes('"gantry_effects"'))).to.match(
      /OFFSET 0 ROWS FETCH NEXT 512 ROWS ONLY$/,
    );
    expect(statements.find((sql) => sql.includes('DELETE'))).to.match(/FROM "gantry_effects" WHERE "key" IN \(:0\)$/);
  });

  it('takes, renews, releases and removes leases, by the clock of the database', async () => {
    const { leases } = odb;
    const [, taken] = await only(() => leases.take('l', { holder: 'h', server: 's' }, 1000));
    expect(taken).to.include('SYS_EXTRACT_UTC(SYSTIMESTAMP)').and.to.include('"until_ms" <= FLOOR(');
    absent = 2;
    const made = await only(() => leases.take('l', { holder: 'h', server: 's' }, 1000));
    expect(made.filter((sql) => /^INSERT INTO "gantry_leases"/.test(sql))).to.have.lengthOf(1);
    const held = { name: 'l', holder: 'h', epoch: 1, forMs: 1000, mark: null };
    for (const renewed of [[], [held], [held, { ...held, mark: 5 }, { ...held, name: 'm', mark: 6 }]]) {
      const statements = await only(() => leases.renew(renewed));
      expect(statements).to.have.lengthOf(renewed.length === 0 ? 1 : 2);
    }
    await asked(() => leases.release('l', 'h', 1));
    await asked(() => leases.remove('l', 'h'));
  });

  const fence = { lease: 'l', holder: 'h', epoch: 1 };
  const runner = { owner: 'h', server: 's', epoch: 1, now: 10 };
  const fresh = (i: number) => ({
    ...({
      token: `t${i}`,
      attempt: 1 + (i % 2),
      source: 'schedule',
      job: i % 3 === 0 ? null : 'j',
      service: 's',
    } as const),
    ...({ dueAt: i, readyAt: i, pool: 'any', attempts: 1, count: 1, data: i % 5 === 0 ? '' : null } as const),
    ...({
      by: i % 4 === 0 ? runner : null,
      outcome: i % 7 === 0 ? 'missed' : null,
      reason: i % 7 === 0 ? '' : null,
    } as const),
  });

  it('adds runs, the lease first and many rows with one statement', async () => {
    const runs = Array.from({ length: 2000 }, (_, i) => fresh(i));
    const statements = await asked(() => odb.runs.add(runs, fence));
    const told = statements.filter(({ sql }) => !/^(BEGIN|SET|ALTER|COMMIT|ROLLBACK)/.test(sql));
    expect(told[0]?.sql).to.match(/^SELECT "name" FROM "gantry_leases" WHERE .* FOR UPDATE$/);
    const inserts = told.filter(({ sql }) => sql.startsWith('INSERT'));
    expect(inserts.map(({ binds }) => binds.length)).to.deep.equal([2000]);
  });

  it('takes, starts, ends and moves runs, and each is locked before', async () => {
    const keys = Array.from({ length: 700 }, (_, i) => ({ token: i === 0 ? 't' : `t${i}`, attempt: 1 + (i % 3) }));
    await asked(() => odb.runs.take({ ...runner, pools: ['any', 'holder'], limit: 3 }));
    const started = await only(() => odb.runs.start(keys, runner, fence));
    expect(started.filter((sql) => /^SELECT .* FROM "gantry_runs" r WHERE .* FOR UPDATE$/.test(sql))).to.have.lengthOf(
      2,
    );
    const ends = keys.slice(0, 100).map((key, i) => ({
      ...({ ...key, outcome: 'failed', endedAt: 10 + i, code: null, reason: 'x'.repeat(9000), dead: true } as const),
      followers: [fresh(i)],
    }));
    await asked(() => odb.runs.end(ends, null, null));
    await asked(() => odb.runs.end([{ ...(ends[0] as (typeof ends)[0]), token: 'running', reason: '' }], 'h', fence));
    await asked(() => odb.runs.move(keys, 'holder'));
    await asked(() => odb.once('other', async () => 1, { token: 'running', attempt: 1, owner: 'h' }));
  });

  it('asks for runs', async () => {
    await asked(() => odb.runs.open({ limit: 5 }));
    await asked(() => odb.runs.open({ state: 'running', owner: 'h', pools: ['any'], job: 'j', of: 'jobs', limit: 5 }));
    await asked(() => odb.runs.readyAt(['any', 'queue']));
    await asked(() => odb.runs.firings(5));
    await asked(() => odb.runs.find('t'));
    await asked(() => odb.runs.counts());
    await asked(() => odb.runs.latest(Array.from({ length: 100 }, (_, i) => `j${i}`)));
    let next: string | null = null;
    const all = { job: 'j', service: 's', of: 'jobs', outcome: 'failed', dead: true, from: 1, until: 9 } as const;
    await asked(async () => {
      ({ next } = await odb.runs.history({ limit: 1 }));
    });
    await asked(() => odb.runs.history({ ...all, limit: 1, state: 'ended', after: String(next) }));
    await asked(() => odb.runs.history({ limit: 1, of: 'calls', state: 'waiting', dead: false }));
  });

  it('buries, replays and forgets runs', async () => {
    await asked(() => odb.runs.bury(['dead', 't']));
    await asked(() => odb.runs.replay(['dead', 't'], 10, 2));
    const jobs = Array.from({ length: 70 }, (_, i) => `j${i}`);
    const query = { before: 5, deadBefore: 3, keep: 10, jobs, services: ['s'], accounted: 9 };
    const statements = await only(() => odb.runs.forget(query));
    expect(statements.filter((sql) => /OFFSET 10 ROWS FETCH NEXT 1 ROWS ONLY/.test(sql))).to.have.lengthOf(3);
  });

  it('refuses what would end the transaction of an effect', async () => {
    const error: unknown = await odb.once('k', (run) => run('CREATE TABLE u (n INTEGER)')).catch((e: unknown) => e);
    expect(error).to.include({ code: 'INVALID' });
    for (const statement of recorder.take()) expect(violations(statement), statement.sql).to.deep.equal([]);
  });

  it('writes: a removal, and looks for who refers to it', async () => {
    // Somebody does, as the answers go: that refuses it, after everything was asked.
    const error: unknown = await odb.write([{ action: 'remove', kind: 'k', name: 'old' }], by).catch((e: unknown) => e);
    expect(error).to.include({ code: 'RECORD_IN_USE' });
    for (const statement of recorder.take()) expect(violations(statement), statement.sql).to.deep.equal([]);
  });
});

describe('the rules of Oracle that statements are held to', () => {
  const of = (sql: string, ...binds: unknown[]) => violations({ sql, binds: [binds] });

  const refused: readonly [string, string, ...unknown[]][] = [
    ['ILIKE', 'SELECT "a" FROM "t" WHERE "a" ILIKE :0', 'x'],
    ['LIMIT', 'SELECT "a" FROM "t" LIMIT 5'],
    ['TRUE', 'SELECT "a" FROM "t" WHERE "a" = TRUE'],
    ['RETURNING', 'DELETE FROM "t" RETURNING "a"'],
    ['a reserved word', 'SELECT level_ FROM "t" WHERE size = 1'],
    ['an empty literal', `SELECT COALESCE("a", '') FROM "t"`],
    ['an empty value', 'SELECT "a" FROM "t" WHERE "a" = :0', ''],
    ['a boolean', 'SELECT "a" FROM "t" WHERE "a" = :0', true],
    ['a value that is missing', 'SELECT "a" FROM "t" WHERE "a" = :0', undefined],
    ['too few values', 'SELECT "a" FROM "t" WHERE "a" = :0 OR "a" = :1', 1],
    ['a semicolon', 'SELECT "a" FROM "t";'],
    ['no FROM', 'SELECT 1'],
    ['no FROM within', 'SELECT "a" FROM "t" WHERE EXISTS (SELECT 1)'],
    ['several rows', 'INSERT INTO "t" ("a") VALUES (:0), (:1)', 1, 2],
    ['AS before a table', 'SELECT x."a" FROM "t" AS x'],
    ['a page that is locked', 'SELECT "a" FROM "t" ORDER BY "a" FETCH NEXT 1 ROWS ONLY FOR UPDATE'],
    ['a page without an order', 'SELECT "a" FROM "t" OFFSET 0 ROWS FETCH NEXT 1 ROWS ONLY'],
    ['a long name', `SELECT "${'a'.repeat(31)}" FROM "t"`],
    ['a long list', `SELECT "a" FROM "t" WHERE "a" IN (${Array(1001).fill('1').join(', ')})`],
    ['a CLOB that is compared', 'SELECT "a" FROM "t" WHERE r."body" = :0', 'x'],
    ['a CLOB that is compared from the left', 'SELECT "a" FROM "t" WHERE :0 = "claim"', 'x'],
    ['a CLOB in a list', 'SELECT "a" FROM "t" WHERE "was" IN (:0)', 'x'],
    ['a CLOB that is sorted', 'SELECT "a" FROM "t" ORDER BY "a", "body"'],
    ['a CLOB that is distinct', 'SELECT DISTINCT "body" FROM "t"'],
    ['a CLOB in an index', 'CREATE INDEX "i" ON "t" ("a", "body")'],
    ['a CLOB in a key', `BEGIN EXECUTE IMMEDIATE 'CREATE TABLE "t" ("body" CLOB, PRIMARY KEY ("body"))'; END;`],
    ['a long text', 'INSERT INTO "t" ("name", "body") VALUES (:0, :1)', 'ä'.repeat(2001), 'x'],
    ['a long text that is set', 'UPDATE "t" SET "result" = :0, "name" = :1 WHERE "a" = 1', 'x', 'x'.repeat(4001)],
    ['a word in a block', `BEGIN EXECUTE IMMEDIATE 'CREATE TABLE "t" ("a" TEXT)'; END;`],
  ];
  for (const [what, sql, ...binds] of refused) {
    it(`refuse ${what}`, () => expect(of(sql, ...binds)).to.have.lengthOf.at.least(1));
  }

  const taken: readonly [string, ...unknown[]][] = [
    [
      'SELECT r."a", r."body" AS "b" FROM "t" r WHERE r."a" IN (:0, :1) ORDER BY r."a" OFFSET 0 ROWS FETCH NEXT 5 ROWS ONLY',
      1,
      2,
    ],
    ['UPDATE "t" SET "body" = :0, "a" = :1 WHERE "b" = :2', 'x', 1, 2],
    ['INSERT INTO "t" ("name", "body") VALUES (:0, :1)', 'x', 'y'.repeat(9000)],
    ['UPDATE "t" SET "name" = :0, "result" = :1 WHERE "a" = 1', 'x', 'y'.repeat(9000)],
    ['SELECT "a" FROM "t" WHERE LENGTH(REPLACE("body", :0, :1)) > LENGTH("body")', 'x', 'x.'],
    [`SELECT "a" FROM "t" WHERE "a" = 'limit true ilike'`],
  ];
  for (const [sql, ...binds] of taken)
    it(`take ${sql.slice(0, 60)}`, () => expect(of(sql, ...binds)).to.deep.equal([]));
});

describe('odb.sequelize on Oracle', () => {
  const server = oracleServer();

  testOdb({
    name: 'Oracle',
    database: async () => odbDatabase('dialect.oracle', await server.config(), () => server.drop()),
  });
});
