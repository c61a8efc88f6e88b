import { expect } from 'chai';
import { Sequelize } from 'sequelize';
import mysqlDialect from '../../../plugins/dialect-mysql/index.ts';
import { type Connected, connect, failed } from '../../engines/connect.ts';
import { needs, ownMariadb } from '../../engines/index.ts';
import { testDialect } from '../../kit/dialect.ts';

describe('dialect.mysql', function () {
  this.timeout(30_000);
  const engine = needs(ownMariadb);
  const block = async () => {
    const { host, port, user, password } = engine();
    return { host, port, user, password, database: await engine().database() };
  };

  testDialect({
    plugin: mysqlDialect,
    config: block,
    open: (options) => new Sequelize({ ...options, logging: false }),
    nowhere: { port: 1, database: 'x', user: 'x', password: 'x' },
    secret: () => engine().password,
    breakOff: (connection) => (connection as { stream: { destroy(): void } }).stream.destroy(),
  });

  const opened: Connected[] = [];
  const open = async (more: object = {}) => {
    const one = await connect(mysqlDialect, { ...(await block()), ...more });
    opened.push(one);
    return one;
  };
  /** The connection in which the server sleeps, once it does. */
  const underWay = async (): Promise<unknown> => {
    const sql = "SELECT id FROM information_schema.processlist WHERE user = 'gantry' AND info LIKE 'SELECT SLEEP%'";
    let row: Readonly<Record<string, unknown>> | undefined;
    while (row === undefined) [row] = await engine().admin(sql);
    return row['id'];
  };
  afterEach(async () => {
    engine().thaw();
    await Promise.all(opened.splice(0).map((one) => one.close()));
  });

  describe('tables', () => {
    it('have the collation of the engine that compares exactly, in a database of another character set', async () => {
      const { dialect, sequelize, rows } = await open();
      const columns = {
        name: { type: dialect.exactText(200), primaryKey: true },
        body: { type: 'LONGTEXT' },
      };
      await sequelize.getQueryInterface().createTable('things', columns, { ...dialect.tables });
      const found = await rows(
        'SELECT column_name AS name, collation_name AS collation FROM information_schema.columns ' +
          "WHERE table_schema = DATABASE() AND table_name = 'things' ORDER BY 1",
      );
      expect(found).to.deep.equal([
        { name: 'body', collation: 'utf8mb4_nopad_bin' },
        { name: 'name', collation: 'utf8mb4_nopad_bin' },
      ]);
      const [table] = await rows("SHOW TABLE STATUS LIKE 'things'");
      expect(table).to.include({ Engine: 'InnoDB', Collation: 'utf8mb4_nopad_bin' });
    });

    it('name the collation of MySQL where only MySQL reads it', async () => {
      const { dialect } = await open();
      for (const text of [dialect.exactText(9), String(dialect.tables?.['collate'])]) {
        expect(text.replace(/\/\*M!\d+ [^*]*\*\//, '').replace(/\/\*!\d+ ([^*]*)\*\//, '$1')).to.match(
          /(^|COLLATE )\s*utf8mb4_0900_bin\s*$/,
        );
      }
    });
  });

  describe('a connection', () => {
    it('tells the server whose it is', async () => {
      const { dialectOptions } = (await open()).dialect.options() as { dialectOptions: object };
      expect(dialectOptions).to.deep.include({ connectAttributes: { program_name: 'gantry server1' } });
    });

    it('is what it has to be, whatever the server is', async () => {
      await engine().admin(
        "SET GLOBAL sql_mode = 'NO_BACKSLASH_ESCAPES,ANSI_QUOTES'",
        "SET GLOBAL time_zone = '+05:00'",
      );
      try {
        const { sequelize, rows } = await open({ statementTimeoutMs: 1500 });
        const [session] = await rows(
          'SELECT @@sql_mode AS mode, @@time_zone AS zone, @@max_statement_time AS slow, @@innodb_lock_wait_timeout AS wait, ' +
            '@@idle_write_transaction_timeout AS idle, @@character_set_client AS chars',
        );
        expect(session).to.deep.include({ zone: '+00:00', wait: 2, idle: 62, chars: 'utf8mb4' });
        expect(Number(session?.['slow'])).to.equal(1.5);
        expect(session?.['mode']).to.include('STRICT_ALL_TABLES').and.not.include('NO_BACKSLASH_ESCAPES');
        const words = ["\\' OR 1=1 -- ", '\\', "'"];
        for (const word of words) {
          const [row] = await sequelize.query('SELECT :word AS word', { replacements: { word }, plain: false });
          expect(row).to.deep.equal([{ word }]);
        }
      } finally {
        await engine().admin('SET GLOBAL sql_mode = DEFAULT', 'SET GLOBAL time_zone = DEFAULT');
      }
    });

    it('refuses a text that is too long, and does not cut it', async () => {
      const one = await open();
      const { dialect, sequelize } = one;
      await sequelize.query(`CREATE TABLE things (name ${dialect.exactText(3)})`);
      const { problem, error } = await failed(one, sequelize.query("INSERT INTO things VALUES ('abcd')"));
      expect([problem, error.code]).to.deep.equal([null, 'ER_DATA_TOO_LONG']);
    });

    it('has no more of them than it is told', async () => {
      const { rows } = await open({ pool: { max: 3 } });
      const all = await Promise.all(Array.from({ length: 20 }, () => rows('SELECT CONNECTION_ID() AS id')));
      expect(new Set(all.map(([row]) => row?.['id'])).size).to.be.within(1, 3);
    });
  });

  describe('tls', () => {
    const over = async ({ rows }: Connected) => (await rows("SHOW STATUS LIKE 'Ssl_version'"))[0]?.['Value'];
    const ca = (test: Mocha.Context) => engine().ca ?? test.skip();

    it('is used, and the certificate is checked', async function () {
      const trusting = await open({ host: 'localhost', tls: { ca: ca(this) } });
      expect(await over(trusting)).to.match(/^TLS/);
      expect(await over(await open())).to.equal('');
    });

    it('refuses a certificate that nobody vouches for', async function () {
      ca(this);
      const careful = await open({ host: 'localhost', tls: {} });
      const { problem, error } = await failed(careful, over(careful));
      expect(problem).to.equal(null);
      // Newer versions of Node add what to do about it.
      expect(error.message).to.match(/^self-signed certificate/);
    });

    it('refuses one of another name', async function () {
      // Leads to 127.0.0.1, and is what no certificate carries.
      const careful = await open({ host: '127.1', tls: { ca: ca(this) } });
      const { problem, error } = await failed(careful, over(careful));
      expect([problem, error.message]).to.deep.equal([
        null,
        "Hostname/IP does not match certificate's altnames: Host: 127.1. is not in the cert's altnames: DNS:localhost",
      ]);
    });

    it('is refused with an address, which the driver would not check', async () => {
      const error = await open({ host: '127.0.0.1', tls: {} }).catch((thrown: unknown) => thrown);
      expect(error).to.include({ code: 'CONFIG_INVALID' });
      expect((error as { problems: object[] }).problems[0]).to.include({
        path: 'plugins.dialect.mysql.host',
        got: '127.0.0.1',
      });
      await open({ host: '127.0.0.1', tls: { rejectUnauthorized: false } });
    });

    it('bounds the silence of an encrypted connection, too', async function () {
      const one = await open({ host: 'localhost', tls: { ca: ca(this) }, statementTimeoutMs: 300, pool: { max: 2 } });
      await one.rows('SELECT 1');
      engine().freeze();
      expect((await failed(one, one.rows('SELECT 1'))).problem).to.equal('unavailable');
    });
  });

  describe('what the server says', () => {
    it('a statement that takes too long: timeout', async () => {
      const slow = await open({ statementTimeoutMs: 200 });
      const { problem, error, ms } = await failed(slow, slow.rows('SELECT SUM(seq * 2) FROM seq_1_to_100000000000'));
      // A number of MariaDB's own, which the driver has no name for.
      expect([problem, error.errno]).to.deep.equal(['timeout', 1969]);
      expect(ms).to.be.within(150, 10_000);
    });

    it('a wrong password: nothing that passes, and not a word of the password', async () => {
      const stranger = await open({ password: 'guessed-wrong' });
      const { problem, error } = await failed(stranger, stranger.rows('SELECT 1'));
      expect([problem, error.code]).to.deep.equal([null, 'ER_ACCESS_DENIED_ERROR']);
      expect(error.message).to.not.include('guessed-wrong');
    });

    it('a database that is not there: nothing that passes', async () => {
      const lost = await open({ database: 'not_there' });
      const { problem } = await failed(lost, lost.rows('SELECT 1'));
      expect(problem).to.equal(null);
    });

    it('a connection that the administrator ends: unavailable', async () => {
      const victim = await open();
      const waiting = failed(victim, victim.rows('SELECT SLEEP(20)'));
      await engine().admin(`KILL ${await underWay()}`);
      expect((await waiting).problem).to.equal('unavailable');
      expect(await victim.rows('SELECT 1 AS x')).to.deep.equal([{ x: 1 }]);
    });

    it('too many connections: unavailable', async () => {
      const crowd = await open();
      const held = await crowd.sequelize.transaction();
      await engine().admin('SET GLOBAL max_user_connections = 1');
      try {
        const { problem, error } = await failed(crowd, crowd.rows('SELECT 1'));
        expect([problem, error.code]).to.deep.equal(['unavailable', 'ER_TOO_MANY_USER_CONNECTIONS']);
      } finally {
        await engine().admin('SET GLOBAL max_user_connections = DEFAULT');
        await held.rollback();
      }
    });

    it('a replica that takes no writes: unavailable', async () => {
      const replica = await open();
      await replica.sequelize.query('CREATE TABLE things (id INTEGER)');
      await engine().admin('SET GLOBAL read_only = 1');
      try {
        const { problem, error } = await failed(replica, replica.sequelize.query('INSERT INTO things VALUES (1)'));
        expect([problem, error.code]).to.deep.equal(['unavailable', 'ER_OPTION_PREVENTS_STATEMENT']);
      } finally {
        await engine().admin('SET GLOBAL read_only = 0');
      }
    });

    it('a lock that is not free: busy', async () => {
      const both = await open();
      await both.sequelize.query('CREATE TABLE things (id INTEGER PRIMARY KEY)');
      await both.sequelize.query('INSERT INTO things VALUES (1)');
      const [one, two] = [await both.sequelize.transaction(), await both.sequelize.transaction()];
      await both.sequelize.query('UPDATE things SET id = 2', { transaction: one });
      const nowait = both.sequelize.query('SELECT * FROM things FOR UPDATE NOWAIT', { transaction: two });
      const { problem, error } = await failed(both, nowait);
      expect([problem, error.code]).to.deep.equal(['busy', 'ER_LOCK_WAIT_TIMEOUT']);
      await two.rollback();
      await one.rollback();
    });
  });

  describe('a server that is gone', () => {
    it('is unavailable while it is stopped, and works again by itself', async () => {
      const one = await open();
      await one.rows('SELECT 1');
      const cut = failed(one, one.rows('SELECT SLEEP(20)'));
      await underWay();
      await engine().stop();
      expect((await cut).problem).to.equal('unavailable');
      const { problem, error } = await failed(one, one.rows('SELECT 1'));
      expect([problem, error.code]).to.deep.equal(['unavailable', 'ECONNREFUSED']);
      await engine().start();
      expect(await one.rows('SELECT 1 AS x')).to.deep.equal([{ x: 1 }]);
    });

    it('is unavailable after a crash, too', async () => {
      const one = await open();
      const cut = failed(one, one.rows('SELECT SLEEP(20)'));
      await underWay();
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
      expect(problem).to.equal('unavailable');
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
