import { tmpdir } from 'node:os';
import { expect } from 'chai';
import pg from 'pg';
import type { RunSql } from '../../../core/ports/odb.ts';
import postgresDialect from '../../../plugins/dialect-postgres/index.ts';
import odb from '../../../plugins/odb-sequelize/index.ts';
import { needs, postgres } from '../../engines/index.ts';
import { between } from '../../engines/odb-proxy.ts';
import { journal } from '../../fixtures/direct.ts';
import { refusal, wireOdb } from '../../kit/odb-world.ts';

describe('odb.sequelize when the connection breaks', function () {
  this.timeout(30_000);
  const engine = needs(postgres);
  const by = { name: 'the test' };
  const one = (name: string) => ({ action: 'create', kind: 'k', name, body: {} }) as const;
  let proxy: Awaited<ReturnType<typeof between>>;
  let server: ReturnType<typeof wireOdb>;
  let database: string;
  let told: ReturnType<typeof journal>;

  beforeEach(async () => {
    const { port, user, password } = engine();
    told = journal();
    proxy = await between(port);
    database = await engine().database();
    const config = { host: '127.0.0.1', port: proxy.port, user, password, database };
    const plugins = [
      { id: postgresDialect.id, plugin: postgresDialect as never, config },
      { id: odb.id, plugin: odb as never, config: {} },
    ];
    server = wireOdb(plugins, told.logs, tmpdir());
    await server.start();
    proxy.state.commits = 0;
  });
  afterEach(async () => {
    await server.stop();
    proxy.close();
  });

  for (const [cut, kept] of [
    ['before', 0],
    ['after', 1],
  ] as const) {
    it(`${cut} the end of a change reached it: not tried again, and reading tells whether it was made`, async () => {
      proxy.state.cut = cut;
      const error = await refusal('ODB_UNAVAILABLE', server.odb.write([one('n')], by), 'may have been made');
      expect(error.retryable).to.equal(true);
      expect(server.odb.problem).to.equal(error);
      proxy.state.cut = 'none';
      expect(proxy.state, 'the change was sent once').to.include({ cuts: 1, commits: 1 });
      expect((await server.odb.load(['k'])).records).to.have.lengthOf(kept);
      expect(await server.odb.changes(0, 10)).to.have.lengthOf(kept);
      expect(server.odb.problem).to.equal(null);
    });
  }

  it('does not say so where the answer to it is that there is no room: nothing was changed, and reading goes on', async () => {
    const { port, user, password } = engine();
    const client = new pg.Client({ host: '127.0.0.1', port, user, password, database });
    await client.connect();
    // As a disk that is full when the end of a transaction is written.
    await client.query(`
      CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$;
      CREATE CONSTRAINT TRIGGER full_disk AFTER INSERT ON gantry_records DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION full_disk()`);
    const { odb: store } = server;
    for (const name of ['a', 'b']) {
      const error = await refusal('ODB_UNAVAILABLE', store.write([one(name)], by), 'no room; nothing was changed');
      expect(error.hint).to.include('make some').and.to.include(database);
      expect(store.problem).to.equal(error);
      expect(await store.revision()).to.equal(0);
    }
    await client.query('DROP FUNCTION full_disk CASCADE');
    await client.end();
    await store.write([one('c')], by);
    expect(store.problem).to.equal(null);
    // Once, not with each change, and not 'is available' in between.
    const lines = told.lines.filter(({ level }) => level !== 'debug').map(({ msg }) => msg);
    const messages = lines.slice(lines.findIndex((msg) => msg.includes('no room')));
    expect(messages).to.deep.equal(['the database has no room: changes are refused', 'the database has room again']);
  });

  describe('under an effect', () => {
    let client: InstanceType<typeof pg.Client>;
    beforeEach(async () => {
      const { port, user, password } = engine();
      client = new pg.Client({ host: '127.0.0.1', port, user, password, database });
      await client.connect();
      const late = 'DEFERRABLE INITIALLY DEFERRED';
      await client.query(
        `CREATE TABLE t (id INTEGER PRIMARY KEY, other INTEGER UNIQUE ${late}, above INTEGER REFERENCES t ${late})`,
      );
    });
    afterEach(() => client.end());
    const count = async () => (await client.query('SELECT * FROM t')).rows.length;

    for (const [cut, kept] of [
      ['before', 0],
      ['after', 1],
    ] as const) {
      it(`${cut} its end reached the database: not run again by itself, and made once when it is asked for again`, async () => {
        let runs = 0;
        const work = async (run: RunSql) => {
          await run('INSERT INTO t (id) VALUES (1)');
          return { run: ++runs };
        };
        proxy.state.cut = cut;
        const error = await refusal('ODB_UNAVAILABLE', server.odb.once('key', work), 'may have been made');
        expect(error.retryable).to.equal(true);
        expect([runs, await count()]).to.deep.equal([1, kept]);
        proxy.state.cut = 'none';
        const again = await server.odb.once('key', work);
        const expected = kept === 1 ? { first: false, value: { run: 1 } } : { first: true, value: { run: 2 } };
        expect(again).to.deep.equal(expected);
        expect(await count()).to.equal(1);
        expect(server.odb.problem).to.equal(null);
      });
    }

    it('before its work began: tried once more, and run once', async () => {
      proxy.state.cut = 'key';
      let runs = 0;
      const asking = server.odb.once('key', async (run) => {
        runs++;
        await run('INSERT INTO t (id) VALUES (1)');
      });
      while (proxy.state.cuts === 0) await new Promise(setImmediate);
      proxy.state.cut = 'none';
      expect((await asking).first).to.equal(true);
      expect([proxy.state.cuts, runs, await count()]).to.deep.equal([1, 1, 1]);
    });

    it('without room for it: undone, told as the state of the odb, and over with the next one that has room', async () => {
      await client.query(`
        CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
          $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$;
        CREATE TRIGGER full_disk BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION full_disk()`);
      const work = (run: RunSql) => run('INSERT INTO t (id) VALUES (1)');
      await refusal('ODB_UNAVAILABLE', server.odb.once('key', work), 'no room');
      expect(await server.odb.revision()).to.equal(0);
      expect(server.odb.problem?.message).to.include('no room');
      await client.query('DROP FUNCTION full_disk CASCADE');
      expect((await server.odb.once('key', work)).first).to.equal(true);
      expect(server.odb.problem).to.equal(null);
    });

    it('cannot be ended by a block or a procedure', async () => {
      await client.query('CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$');
      for (const sql of ['CALL p()', 'DO $$ BEGIN COMMIT; END $$']) {
        const doing = server.odb.once('key', async (run) => {
          await run('INSERT INTO t (id) VALUES (1)');
          await run(sql);
        });
        const error = await refusal('ODB_FAILED', doing);
        expect(error.hint).to.include('invalid transaction termination');
        expect(await count()).to.equal(0);
      }
    });

    it('refused at its end by the database: told as what it is, all undone, and run once', async () => {
      await client.query(`INSERT INTO t (id, other) VALUES (1, 5);
        CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS
          $$ BEGIN RAISE EXCEPTION 'could not serialize access' USING ERRCODE = '40001'; END $$;
        CREATE CONSTRAINT TRIGGER conflict AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED
          FOR EACH ROW WHEN (NEW.other = 7) EXECUTE FUNCTION conflict()`);
      for (const [columns, code, told] of [
        ['(id, other) VALUES (2, 5)', 'RECORD_DUPLICATE', 'unique key'],
        ['(id, above) VALUES (3, 4)', 'ODB_FAILED', 'refused'],
        ['(id, other) VALUES (2, 7)', 'ODB_UNAVAILABLE', 'busy'],
      ] as const) {
        let runs = 0;
        const work = async (run: RunSql) => {
          runs++;
          await run(`INSERT INTO t ${columns}`);
        };
        await refusal(code, server.odb.once('key', work), told);
        expect([runs, await count()], columns).to.deep.equal([1, 1]);
      }
      expect((await server.odb.once('key', async () => 1)).first).to.equal(true);
    });
  });

  it('before anything was asked: a change is tried once more', async () => {
    proxy.state.cut = 'begin';
    const writing = server.odb.write([one('n')], by);
    while (proxy.state.cuts === 0) await new Promise(setImmediate);
    proxy.state.cut = 'none';
    expect((await writing)[0]?.revision).to.equal(1);
    expect(proxy.state.cuts).to.equal(1);
  });
});
