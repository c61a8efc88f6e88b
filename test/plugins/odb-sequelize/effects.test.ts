import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import fc from 'fast-check';
import type { Odb, SqlResult } from '../../../core/ports/odb.ts';
import { statementOf } from '../../../plugins/odb-sequelize/foreign.ts';
import { mariadb, needs, postgres } from '../../engines/index.ts';
import { ask, openServer } from '../../engines/odb-plugins.ts';
import { type OdbServer, refusal } from '../../kit/odb-world.ts';

const of = (engine: string) => ({ engine, transactionalDdl: engine === 'sqlite' || engine === 'postgres' });

describe('odb.sequelize, the statements of others', () => {
  const text = (sql: string, values: unknown[] = [], engine = 'postgres') => statementOf(sql, values, of(engine)).text;

  it('are handed on so that Sequelize gives them back as they were', () => {
    expect(text('SELECT $1, $2, $1', [1, 2])).to.equal('SELECT $1 , $2 , $1 ');
    expect(text("SELECT '$1', \"$1\", `$1`, a$1, $$it's $1$$, $x$ $1 $x$ -- $1\n, $1", [1])).to.equal(
      "SELECT '$$1', \"$$1\", `$$1`, a$1, $$$$it's $$1$$$, $$x$ $$1 $$x$ -- $$1\n, $1 ",
    );
    expect(text(String.raw`SELECT E'\'$1', '\', $1`, [1])).to.equal(String.raw`SELECT E'\'$$1', '\', $1 `);
    expect(text(String.raw`SELECT 'it\'s $1', $1`, [1], 'mysql')).to.equal(String.raw`SELECT 'it\'s $$1', $1 `);
    expect(text("SELECT 'a$$b', 'ä$$b', 'a$$$b'")).to.equal("SELECT 'a$$$b', 'ä$$$$b', 'a$$$$$b'");
  });

  it('have a value of its own for each place where an engine counts places', () => {
    const { text: made, values } = statementOf("SELECT $2, $1, $2, q'[it's $1]'", ['a', 'b'], of('oracle'));
    expect(made).to.equal("SELECT $1 , $2 , $3 , q'[it's $$1]'");
    expect(values).to.deep.equal(['b', 'a', 'b']);
  });

  it('are known by their verb, behind comments, brackets and WITH', () => {
    for (const [sql, verb] of [
      ['/* x */ -- y\n select 1', 'SELECT'],
      ['(SELECT 1) UNION (SELECT 2)', 'SELECT'],
      ['WITH a AS (SELECT 1) INSERT INTO b SELECT * FROM a', 'INSERT'],
      ['WITH a AS (DELETE FROM b RETURNING id) SELECT * FROM a', 'SELECT'],
      ['WITH RECURSIVE "update" AS (VALUES (1)) SELECT 1', 'SELECT'],
    ] as const) {
      expect(statementOf(sql, [], of('postgres')).verb, sql).to.equal(verb);
    }
  });

  it('have dates as UTC, and numbers of any size', () => {
    const date = new Date(Date.UTC(2026, 0, 2, 3, 4, 5, 6));
    const { values } = statementOf('SELECT $1, $2, $3', [date, 2n ** 70n, new Uint8Array([1])], of('postgres'));
    expect(values).to.deep.equal(['2026-01-02 03:04:05.006', '1180591620717411303424', Buffer.from([1])]);
    const oracle = statementOf('SELECT $1, $2', [date, true], of('oracle')).values;
    expect(oracle).to.deep.equal([date, 1]);
  });

  it('are none that make tables where that ends the transaction, and the hint says what to do', () => {
    expect(statementOf('CREATE TABLE t (n INTEGER)', [], of('postgres')).verb).to.equal('CREATE');
    expect(() => statementOf('CREATE TABLE t (n INTEGER)', [], of('oracle')))
      .to.throw('begins with CREATE')
      .with.property('hint')
      .that.includes('beforehand');
  });
});

const folder = mkdtempSync(path.join(tmpdir(), 'gantry-odb-effects-'));

for (const engine of ['sqlite', 'postgres', 'mysql'] as const) {
  describe(`odb.sequelize, the statements of others, on ${engine}`, function () {
    this.timeout(30_000);
    const server = engine === 'sqlite' ? null : needs(engine === 'postgres' ? postgres : mariadb);
    const dialect = `dialect.${engine}`;
    const types = {
      sqlite: ['INTEGER', 'BLOB', 'TEXT'],
      postgres: ['BOOLEAN', 'BYTEA', 'TIMESTAMPTZ(3)'],
      mysql: ['BOOLEAN', 'BLOB', 'DATETIME(3)'],
    };
    let config: Record<string, unknown>;
    let opened: OdbServer;
    let odb: Odb;

    before(async () => {
      if (server === null) config = { file: path.join(folder, 'effects.sqlite') };
      else {
        const { host, port, user, password } = server();
        config = { host, port, user, password, database: await server().database() };
      }
      opened = await openServer(dialect, config);
      odb = opened.odb;
      const [flag, bytes, time] = types[engine];
      await ask(
        dialect,
        config,
        `CREATE TABLE t (id VARCHAR(40) PRIMARY KEY, n BIGINT, flag ${flag}, bytes ${bytes}, at ${time})`,
      );
    });
    after(async () => {
      await opened?.stop();
      if (server === null) rmSync(folder, { recursive: true, force: true });
    });
    let keys = 0;
    const ran = async (sql: string, values?: unknown[]): Promise<SqlResult> => {
      let result: SqlResult | null = null;
      await odb.once(`key ${++keys}`, async (run) => {
        result = await run(sql, values);
      });
      return result as unknown as SqlResult;
    };

    it('take numbers, booleans, dates and bytes', async () => {
      const at = new Date(Date.UTC(2026, 6, 2, 3, 4, 5, 678));
      const bytes = Buffer.from([0, 255, 39, 92]);
      const values = ['one', 2n ** 53n, true, bytes, at];
      expect((await ran('INSERT INTO t VALUES ($1, $2, $3, $4, $5)', values)).changed).to.equal(1);
      const [row] = (await ran('SELECT * FROM t WHERE flag = $1 AND at = $2 AND n = $3', [true, at, 2 ** 53])).rows;
      expect(row?.['id']).to.equal('one');
      expect(row?.['bytes']).to.deep.equal(bytes);
      expect(Number(row?.['n'])).to.equal(2 ** 53);
      expect(Boolean(row?.['flag'])).to.equal(true);
      const told = row?.['at'];
      expect(told instanceof Date ? told : new Date(`${String(told)}Z`)).to.deep.equal(at);
    });

    it('give what RETURNING returns, and count it', async () => {
      const insert = "INSERT INTO t (id, n) VALUES ('r1', 1), ('r2', 2) RETURNING id, n";
      const { rows, changed } = await ran(insert);
      expect(rows.map((row) => ({ ...row, n: Number(row['n']) }))).to.deep.equal([
        { id: 'r1', n: 1 },
        { id: 'r2', n: 2 },
      ]);
      expect(changed).to.equal(2);
      const removed = await ran("DELETE FROM t WHERE id LIKE 'r%' RETURNING id");
      expect(removed.rows.map((row) => row['id']).toSorted()).to.deep.equal(['r1', 'r2']);
      expect(removed.changed).to.equal(2);
    });

    it('count what is changed behind WITH, and nothing for what only reads', async () => {
      await ran("INSERT INTO t (id, n) VALUES ('w1', 1), ('w2', 1)");
      const read = await ran('WITH those AS (SELECT id FROM t) SELECT id FROM those WHERE id LIKE $1', ['w%']);
      expect([read.rows.length, read.changed]).to.deep.equal([2, 0]);
      if (engine === 'mysql') return;
      const { changed } = await ran(
        "WITH those AS (SELECT id FROM t) UPDATE t SET n = 2 WHERE id IN (SELECT id FROM those WHERE id LIKE 'w%')",
      );
      expect(changed).to.equal(2);
    });

    it('are not taken for questions of Sequelize itself', async () => {
      if (engine !== 'postgres') return;
      const { rows } = await ran("SELECT table_name FROM information_schema.tables WHERE table_name = 't'");
      expect(rows).to.deep.equal([{ table_name: 't' }]);
    });

    it('are what was written, wherever there is a $ in a text', async () => {
      const texts = fc.sample(
        fc.string({ unit: fc.constantFrom('$', '$', '1', 'a', '_', ' ', "''", '?', ':', 'ä') }),
        300,
      );
      await odb.once(`key ${++keys}`, async (run) => {
        for (const text of texts) {
          const { rows } = await run(`SELECT 'x${text}' AS v, '${text}' AS w FROM t WHERE n <> $1`, [-1]);
          const expected = text.replaceAll("''", "'");
          expect(rows[0], text).to.deep.equal({ v: `x${expected}`, w: expected });
        }
      });
    });

    it('make tables only where that is part of the transaction', async () => {
      const work = odb.once('ddl', async (run) => {
        await run('CREATE TABLE u (n INTEGER)');
        throw new Error('undone');
      });
      if (engine === 'mysql') await refusal('INVALID', work, 'CREATE');
      else expect(await work.catch((error: Error) => error.message)).to.equal('undone');
      await refusal('ODB_FAILED', ran('SELECT * FROM u'));
    });
  });
}

describe('odb.sequelize, effects in figures', function () {
  this.timeout(60_000);
  const engines = { sqlite: null, postgres: needs(postgres), mysql: needs(mariadb) };

  it('are printed: effects with one INSERT, 16 asked for at a time', async () => {
    const file = mkdtempSync(path.join(tmpdir(), 'gantry-odb-effects-'));
    for (const [engine, server] of Object.entries(engines)) {
      const dialect = `dialect.${engine}`;
      const config: Record<string, unknown> =
        server === null
          ? { file: path.join(file, 'figures.sqlite') }
          : {
              host: server().host,
              port: server().port,
              user: server().user,
              password: server().password,
              database: await server().database(),
            };
      const { odb, stop } = await openServer(dialect, config);
      await ask(dialect, config, 'CREATE TABLE t (id VARCHAR(40) PRIMARY KEY, n INTEGER)');
      const perSecond = async (count: number) => {
        let next = 0;
        const began = performance.now();
        await Promise.all(
          Array.from({ length: 16 }, async () => {
            while (next < count) {
              const key = `${count} ${next++}`;
              await odb.once(key, (run) => run('INSERT INTO t (id, n) VALUES ($1, $2)', [key, next]));
            }
          }),
        );
        return (count * 1000) / (performance.now() - began);
      };
      await perSecond(50);
      process.stdout.write(`        ${engine}: ${(await perSecond(300)).toFixed(0)} a second\n`);
      await stop();
    }
    rmSync(file, { recursive: true, force: true });
  });
});
