import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { expect } from 'chai';
import { Sequelize } from 'sequelize';
import type { Plugin } from '../../../core/cradle.ts';
import oracleDialect from '../../../plugins/dialect-oracle/index.ts';
import { type Connected, connect, failed } from '../../engines/connect.ts';
import { oracleServer } from '../../engines/oracle.ts';
import { OracleRecorder } from '../../engines/oracle-recorder.ts';
import { violations } from '../../engines/oracle-rules.ts';
import { testDialect } from '../../kit/dialect.ts';

const plugin = oracleDialect as unknown as Plugin;
const block = { service: 'GANTRY', user: 'gantry', password: 'pass-word-of-the-test' };

describe('dialect.oracle', function () {
  this.timeout(30_000);
  const opened: Connected[] = [];
  const open = async (more: object = {}) => {
    const one = await connect(plugin, { ...block, ...more });
    opened.push(one);
    return one;
  };
  afterEach(() => Promise.all(opened.splice(0).map((one) => one.close())));

  describe('options', () => {
    it('lead to the service, with the password only where it is used', async () => {
      const { dialect } = await open({ host: 'db1', port: 1522 });
      const { dialectModule, password, ...rest } = dialect.options();
      expect(rest).to.deep.include({
        dialect: 'oracle',
        host: 'db1',
        port: 1522,
        database: 'GANTRY',
        username: 'gantry',
      });
      expect(password).to.equal(block.password);
      expect(JSON.stringify(rest)).to.not.include(block.password);
      expect((dialectModule as { thin: boolean }).thin, "without Oracle's client libraries").to.equal(true);
    });

    it('make each session compare by bytes, and bound its calls in time', async () => {
      const { dialect } = await open({ statementTimeoutMs: 1234 });
      const { hooks } = dialect.options() as { hooks: { afterConnect(connection: object): Promise<void> } };
      const recorder = new OracleRecorder(() => []);
      const connection = await recorder.connection();
      await hooks.afterConnect(connection);
      expect(recorder.take().map(({ sql }) => sql)).to.deep.equal([
        'ALTER SESSION SET NLS_COMP = BINARY NLS_SORT = BINARY',
      ]);
      expect(connection).to.include({ callTimeout: 1234 });
    });

    it('leave no connection behind that could not be made so', async () => {
      const { dialect } = await open();
      const { hooks } = dialect.options() as { hooks: { afterConnect(connection: object): Promise<void> } };
      const refusing = new OracleRecorder(() => {
        throw new Error('ORA-01033: ORACLE initialization or shutdown in progress');
      });
      const connection = await refusing.connection();
      const error: unknown = await hooks.afterConnect(connection).catch((thrown: unknown) => thrown);
      expect((error as Error).message).to.include('ORA-01033');
      expect(refusing.open).to.equal(0);
    });
  });

  it('has texts that compare by the bytes of UTF-8, and says that an empty one is none', async () => {
    const { dialect } = await open();
    expect(dialect.exactText(200)).to.equal('VARCHAR2(200 CHAR)');
    expect(dialect.supports).to.deep.equal({ transactionalDdl: false, emptyText: false });
  });

  it('tells its time in UTC, in the parts of an interval, and in the words that Oracle has for it', async () => {
    const { dialect } = await open();
    const since = "(SYS_EXTRACT_UTC(SYSTIMESTAMP) - CAST(DATE '1970-01-01' AS TIMESTAMP))";
    const parts = ['DAY', 'HOUR', 'MINUTE', 'SECOND'].map((part) => `EXTRACT(${part} FROM ${since})`);
    const times = [86_400_000, 3_600_000, 60_000, 1000];
    expect(dialect.now).to.equal(`FLOOR(${parts.map((part, i) => `${part} * ${times[i]}`).join(' + ')})`);
    expect(violations({ sql: `SELECT ${dialect.now} AS "n" FROM "t"`, binds: [[]] })).to.deep.equal([]);
  });

  describe('lock', () => {
    const busy = () =>
      Object.assign(new Error('ORA-00054: resource busy'), { parent: { code: 'ORA-00054', message: 'ORA-00054: x' } });

    it('asks again while somebody else has it', async () => {
      const { dialect } = await open();
      const asked: string[] = [];
      await dialect.lock(async (sql) => {
        asked.push(sql);
        if (asked.length < 3) throw busy();
        return [];
      });
      expect(new Set(asked)).to.have.lengthOf(1);
      expect(asked).to.have.lengthOf(3);
    });

    it('gives up for any other reason', async () => {
      const { dialect } = await open();
      const gone = new Error('ORA-03113: end-of-file on communication channel');
      expect(await dialect.lock(() => Promise.reject(gone)).catch((error: unknown) => error)).to.equal(gone);
    });
  });

  describe('classify', () => {
    it('tells what the driver says, by its code or by the begin of its message', async () => {
      const { classify } = (await open()).dialect;
      const told = {
        'ORA-00001': 'duplicate',
        'ORA-00054': 'busy',
        'ORA-00060': 'busy',
        'ORA-08177': 'busy',
        'NJS-123': 'timeout',
        'ORA-01013': 'timeout',
        'NJS-500': 'unavailable',
        'ORA-03113': 'unavailable',
        'ORA-01033': 'unavailable',
        'ORA-12514': 'unavailable',
        'ORA-16000': 'unavailable',
        'ORA-01017': null,
        'ORA-00942': null,
        'ORA-02014': null,
        'ORA-01400': null,
      };
      for (const [code, problem] of Object.entries(told)) {
        expect(classify({ code, message: `${code}: text` }), code).to.equal(problem);
        expect(classify({ message: `${code}: text\nORA-06512: at line 1` }), code).to.equal(problem);
      }
      // As Sequelize hands on a duplicate: with no driver's error below it.
      expect(classify({ message: 'Validation error' })).to.equal(null);
    });
  });

  describe('a server that is not there', () => {
    const sockets = new Set<Socket>();
    let server: Server | null = null;
    afterEach(() => {
      for (const socket of sockets) socket.destroy();
      server?.close();
      server = null;
    });
    const listen = async (taken: (socket: Socket) => void): Promise<number> => {
      server = createServer((socket) => {
        sockets.add(socket.on('error', () => {}));
        taken(socket);
      }).listen(0, '127.0.0.1');
      await once(server, 'listening');
      return (server.address() as { port: number }).port;
    };

    it('is unavailable where nobody listens', async () => {
      const lost = await open({ port: 1 });
      const { problem, error } = await failed(lost, lost.rows('SELECT 1 FROM DUAL'));
      expect([problem, error.code]).to.deep.equal(['unavailable', 'NJS-503']);
      expect(error.message).to.not.include(block.password);
    });

    it('is unavailable where it hangs up', async () => {
      const lost = await open({ port: await listen((socket) => socket.end()) });
      expect((await failed(lost, lost.rows('SELECT 1 FROM DUAL'))).problem).to.equal('unavailable');
    });

    it('is unavailable, and waited for no longer than it is told, where it says nothing', async () => {
      const lost = await open({ port: await listen(() => {}), connectTimeoutMs: 1000 });
      const { problem, ms } = await failed(lost, lost.rows('SELECT 1 FROM DUAL'));
      expect(problem).to.equal('unavailable');
      expect(ms).to.be.within(900, 5000);
    });
  });

  describe('on a server', () => {
    const server = oracleServer();
    after(() => server.drop());

    testDialect({
      plugin,
      config: () => server.config(),
      open: (options) => new Sequelize({ ...options, logging: false }),
      nowhere: { ...block, port: 1 },
      secret: (config) => String(config['password']),
    });
  });
});
