import { expect } from 'chai';
import { Sequelize, Transaction } from 'sequelize';
import postgresDialect from '../../../plugins/dialect-postgres/index.ts';
import { type Connected, connect, failed } from '../../engines/connect.ts';
import { needs, ownPostgres } from '../../engines/index.ts';
import { testDialect } from '../../kit/dialect.ts';

describe('dialect.postgres', function () {
  this.timeout(30_000);
  const engine = needs(ownPostgres);
  const block = async () => {
    const { host, port, user, password } = engine();
    return { host, port, user, password, database: await engine().database() };
  };

  testDialect({
    plugin: postgresDialect,
    config: block,
    open: (options) => new Sequelize({ ...options, logging: false }),
    nowhere: { port: 1, database: 'x', user: 'x', password: 'x' },
    secret: () => engine().password,
    breakOff: (connection) =>
      (connection as { connection: { stream: { destroy(): void } } }).connection.stream.destroy(),
  });

  const opened: Connected[] = [];
  const open = async (more: object = {}) => {
    const one = await connect(postgresDialect, { ...(await block()), ...more });
    opened.push(one);
    return one;
  };
  afterEach(async () => {
    engine().thaw();
    await Promise.all(opened.splice(0).map((one) => one.close()));
  });

  describe('a connection', () => {
    it('tells the server whose it is', async () => {
      const { rows } = await open();
      expect(await rows('SHOW application_name')).to.deep.equal([{ application_name: 'gantry server1' }]);
    });

    it('works in the schema that it is given', async () => {
      const config = await block();
      const first = await connect(postgresDialect, config);
      opened.push(first);
      await first.sequelize.query('CREATE SCHEMA esb');
      const { sequelize, rows } = await open({ ...config, schema: 'esb' });
      await sequelize.getQueryInterface().createTable('things', { id: { type: 'INTEGER', primaryKey: true } });
      expect(await rows("SELECT schemaname FROM pg_tables WHERE tablename = 'things'")).to.deep.equal([
        { schemaname: 'esb' },
      ]);
    });

    it('is refused a schema that would be more than a name', async () => {
      const error = await open({ schema: 'a -c fsync=off' }).catch((thrown: unknown) => thrown);
      expect((error as { problems: { path: string }[] }).problems[0]?.path).to.contain('schema');
    });

    it('has no more of them than it is told', async () => {
      const { rows } = await open({ pool: { max: 3 } });
      const all = await Promise.all(Array.from({ length: 20 }, () => rows('SELECT pg_backend_pid() AS pid')));
      expect(new Set(all.map(([row]) => row?.['pid'])).size).to.be.within(1, 3);
    });

    it('ends a transaction that says nothing more, so that its locks are freed', async () => {
      const { rows } = await open();
      const [row] = await rows('SHOW idle_in_transaction_session_timeout');
      expect(row).to.deep.equal({ idle_in_transaction_session_timeout: '1min' });
    });
  });

  describe('tls', () => {
    const over = async ({ rows }: Connected) =>
      (await rows('SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()'))[0];
    const ca = (test: Mocha.Context) => engine().ca ?? test.skip();

    it('is used, and the certificate is checked', async function () {
      const trusting = await open({ host: 'localhost', tls: { ca: ca(this) } });
      expect(await over(trusting)).to.deep.equal({ ssl: true });
      expect(await over(await open())).to.deep.equal({ ssl: false });
    });

    it('refuses a certificate that nobody vouches for', async function () {
      ca(this);
      const careful = await open({ host: 'localhost', tls: {} });
      const { problem, error } = await failed(careful, over(careful));
      expect([problem, error.code]).to.deep.equal([null, 'DEPTH_ZERO_SELF_SIGNED_CERT']);
    });

    it('refuses one of another name, unless that name is the one expected', async function () {
      const careful = await open({ tls: { ca: ca(this) } });
      const { error } = await failed(careful, over(careful));
      expect(error.code).to.equal('ERR_TLS_CERT_ALTNAME_INVALID');
      expect(await over(await open({ tls: { ca: ca(this), servername: 'localhost' } }))).to.deep.equal({ ssl: true });
    });
  });

  describe('what the server says', () => {
    it('a statement that takes too long: timeout', async () => {
      const slow = await open({ statementTimeoutMs: 200 });
      const { problem, error, ms } = await failed(slow, slow.rows('SELECT pg_sleep(20)'));
      expect([problem, error.code]).to.deep.equal(['timeout', '57014']);
      expect(ms).to.be.within(150, 10_000);
    });

    it('a wrong password: nothing that passes, and not a word of the password', async () => {
      const stranger = await open({ password: 'guessed-wrong' });
      const { problem, error } = await failed(stranger, stranger.rows('SELECT 1'));
      expect([problem, error.code]).to.deep.equal([null, '28P01']);
      expect(error.message).to.not.include('guessed-wrong');
    });

    it('a database that is not there: nothing that passes', async () => {
      const lost = await open({ database: 'not_there' });
      const { problem, error } = await failed(lost, lost.rows('SELECT 1'));
      expect([problem, error.code]).to.deep.equal([null, '3D000']);
    });

    it('a connection that the administrator ends: unavailable', async () => {
      const victim = await open();
      const transaction = await victim.sequelize.transaction();
      const [row] = (await victim.sequelize.query('SELECT pg_backend_pid() AS pid', { transaction }))[0] as {
        pid: number;
      }[];
      const waiting = failed(victim, victim.sequelize.query('SELECT pg_sleep(20)', { transaction }));
      await engine().admin(`SELECT pg_terminate_backend(${row?.pid})`);
      const { problem, error } = await waiting;
      expect([problem, error.code]).to.deep.equal(['unavailable', '57P01']);
      expect(await victim.rows('SELECT 1 AS x')).to.deep.equal([{ x: 1 }]);
    });

    it('too many connections: unavailable', async () => {
      const crowd = await open();
      await crowd.rows('SELECT 1');
      await engine().admin('ALTER ROLE gantry CONNECTION LIMIT 1');
      try {
        const held = await crowd.sequelize.transaction();
        const { problem, error } = await failed(crowd, crowd.rows('SELECT 1'));
        expect([problem, error.code]).to.deep.equal(['unavailable', '53300']);
        await held.rollback();
      } finally {
        await engine().admin('ALTER ROLE gantry CONNECTION LIMIT -1');
      }
    });

    it('a standby that takes no writes: unavailable', async () => {
      const replica = await open();
      await replica.sequelize.query('CREATE TABLE things (id INTEGER)');
      const transaction = await replica.sequelize.transaction();
      await replica.sequelize.query('SET TRANSACTION READ ONLY', { transaction });
      const insert = replica.sequelize.query('INSERT INTO things VALUES (1)', { transaction });
      const { problem, error } = await failed(replica, insert);
      expect([problem, error.code]).to.deep.equal(['unavailable', '25006']);
      await transaction.rollback();
    });

    it('a lock that is not free, and a snapshot that is too old: busy', async () => {
      const both = await open();
      await both.sequelize.query('CREATE TABLE things (id INTEGER)');
      await both.sequelize.query('INSERT INTO things VALUES (1)');
      const isolationLevel = Transaction.ISOLATION_LEVELS.REPEATABLE_READ;
      const [one, two] = [await both.sequelize.transaction(), await both.sequelize.transaction({ isolationLevel })];
      await both.sequelize.query('SELECT * FROM things', { transaction: two });
      await both.sequelize.query('UPDATE things SET id = 2', { transaction: one });
      const impatient = await both.sequelize.transaction();
      const nowait = both.sequelize.query('SELECT * FROM things FOR UPDATE NOWAIT', { transaction: impatient });
      const locked = await failed(both, nowait);
      expect([locked.problem, locked.error.code]).to.deep.equal(['busy', '55P03']);
      await impatient.rollback();
      await one.commit();
      const old = await failed(both, both.sequelize.query('UPDATE things SET id = 3', { transaction: two }));
      expect([old.problem, old.error.code]).to.deep.equal(['busy', '40001']);
      await two.rollback();
    });
  });

  describe('a server that is gone', () => {
    it('is unavailable while it is stopped, and works again by itself', async () => {
      const one = await open();
      await one.rows('SELECT 1');
      const transaction = await one.sequelize.transaction();
      const cut = failed(one, one.sequelize.query('SELECT pg_sleep(20)', { transaction }));
      await engine().stop();
      expect((await cut).problem).to.equal('unavailable');
      const { problem, error } = await failed(one, one.rows('SELECT 1'));
      expect([problem, error.code]).to.deep.equal(['unavailable', 'ECONNREFUSED']);
      await engine().start();
      expect(await one.rows('SELECT 1 AS x')).to.deep.equal([{ x: 1 }]);
    });

    it('is unavailable after a crash, too', async () => {
      const one = await open();
      const transaction = await one.sequelize.transaction();
      const cut = failed(one, one.sequelize.query('SELECT pg_sleep(20)', { transaction }));
      await engine().kill();
      expect((await cut).problem).to.equal('unavailable');
      await engine().start();
      expect(await one.rows('SELECT 1 AS x')).to.deep.equal([{ x: 1 }]);
    });

    it('does not hang who asks while it stands still, and no connection of that time is used again', async () => {
      const one = await open({ statementTimeoutMs: 300, pool: { max: 2 } });
      await one.rows('SELECT 1');
      engine().freeze();
      const { problem, ms } = await failed(one, one.rows('SELECT 1'));
      expect(problem).to.equal('timeout');
      expect(ms).to.be.below(10_000);
      engine().thaw();
      for (let i = 0; i < 5; i++) expect(await one.rows(`SELECT ${i} AS x`)).to.deep.equal([{ x: i }]);
    });

    it('does not hang who connects while it stands still', async () => {
      const one = await open({ connectTimeoutMs: 300 });
      engine().freeze();
      const { problem, ms } = await failed(one, one.rows('SELECT 1'));
      expect(problem).to.equal('unavailable');
      expect(ms).to.be.below(5000);
    });
  });
});
