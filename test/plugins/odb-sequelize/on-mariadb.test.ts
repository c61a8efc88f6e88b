import { tmpdir } from 'node:os';
import { expect } from 'chai';
import type { RunSql } from '../../../core/ports/odb.ts';
import { needs, ownMariadb } from '../../engines/index.ts';
import { testEffects } from '../../engines/odb-effects.ts';
import { testOutage } from '../../engines/odb-outage.ts';
import { ask, odbDatabase, odbPlugins } from '../../engines/odb-plugins.ts';
import { testRace } from '../../engines/odb-race.ts';
import { testRuns } from '../../engines/odb-runs.ts';
import { journal } from '../../fixtures/direct.ts';
import { testOdb } from '../../kit/index.ts';
import { refusal, wireOdb } from '../../kit/odb-world.ts';

describe('odb.sequelize on MariaDB', () => {
  const dialect = 'dialect.mysql';
  const engine = needs(ownMariadb);
  const config = async () => {
    const { host, port, user, password } = engine();
    return { host, port, user, password, database: await engine().database() };
  };

  testOdb({
    name: 'MariaDB',
    database: async () => odbDatabase(dialect, await config()),
  });
  testRace(dialect, config);
  testEffects({ dialect, config, engine });
  testRuns({ dialect, config, engine });
  testOutage({
    dialect,
    engine,
    config,
    countSql: "SELECT COUNT(*) AS n FROM information_schema.processlist WHERE user = 'gantry'",
  });

  describe('effects of its own kind', function () {
    this.timeout(30_000);
    const { logs, lines } = journal();
    let block: Awaited<ReturnType<typeof config>>;
    let server: ReturnType<typeof wireOdb>;

    before(async () => {
      block = await config();
      server = wireOdb(odbPlugins(dialect, block), logs, tmpdir());
      await server.start();
      await ask(dialect, block, 'CREATE TABLE t (id VARCHAR(40) PRIMARY KEY, n INTEGER NOT NULL)');
      await ask(dialect, block, "INSERT INTO t (id, n) VALUES ('a', 0), ('b', 0)");
    });
    after(() => server.stop());

    it('are refused what would end their transaction: tables are made elsewhere', async () => {
      for (const sql of [
        'CREATE TABLE u (n INTEGER)',
        'create temporary table u (n INTEGER)',
        'ALTER TABLE t ADD COLUMN m INTEGER',
        'DROP TABLE t',
        'TRUNCATE t',
        'LOCK TABLES t WRITE',
        'CALL p()',
        "EXECUTE IMMEDIATE 'COMMIT'",
        'RENAME TABLE t TO u',
        '/*! COMMIT */',
        '# a comment\nCOMMIT',
      ]) {
        const doing = server.odb.once('ddl', async (run) => {
          await run("INSERT INTO t (id, n) VALUES ('ddl', 1)");
          await run(sql);
        });
        const error = await refusal('INVALID', doing, 'begins with');
        if (/^(CREATE|ALTER|DROP)/i.test(sql)) expect(error.hint).to.include('beforehand');
        expect(await ask(dialect, block, "SELECT * FROM t WHERE id = 'ddl'"), sql).to.deep.equal([]);
      }
    });

    it('know texts with backslashes, and what is no comment here', async () => {
      const { value } = await server.odb.once('texts', async (run) => {
        const { rows } = await run(String.raw`SELECT 'it\'s $1' AS a, "\"$2" AS b, 5--$1 AS c, '$$' AS d # $9`, [3]);
        return rows;
      });
      expect(value).to.deep.equal([{ a: "it's $1", b: '"$2', c: 8, d: '$$' }]);
    });

    it('end their connection once where they lock each other: it may be another’s already', async () => {
      lines.length = 0;
      const met = [deferred(), deferred()];
      const transfer = (side: number) => async (run: RunSql) => {
        for (const [i, id] of (side === 0 ? ['a', 'b'] : ['b', 'a']).entries()) {
          await run('UPDATE t SET n = n + 1 WHERE id = $1', [id]);
          met[side]?.resolve();
          if (i === 0) await met[1 - side]?.promise;
        }
      };
      const ends = await Promise.allSettled([0, 1].map((side) => server.odb.once(`side ${side}`, transfer(side))));
      const failed = ends.filter((end) => end.status === 'rejected');
      expect(failed).to.have.lengthOf(1);
      expect(failed[0]?.reason).to.include({ code: 'ODB_UNAVAILABLE', retryable: true });
      const rollbacks = lines.flatMap(
        (line) => /^Executing \((.*)\): ROLLBACK/.exec(String(line['statement']))?.[1] ?? [],
      );
      expect(rollbacks).to.have.lengthOf(1);
      expect(rollbacks[0], 'whose it was').to.not.equal('default');
    });
  });
});

function deferred() {
  let resolve = () => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
