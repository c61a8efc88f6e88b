import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import * as sqlite3 from '@appthreat/sqlite3';
import { expect } from 'chai';
import { QueryTypes, Sequelize } from 'sequelize';
import { isGantryError } from '../../../core/errors.ts';
import { Logs } from '../../../core/log/log.ts';
import type { Dialect } from '../../../core/ports/index.ts';
import { Process } from '../../../core/process.ts';
import sqlite from '../../../plugins/dialect-sqlite/index.ts';
import odb from '../../../plugins/odb-sequelize/index.ts';
import { testDialect } from '../../kit/dialect.ts';
import { openOdb } from '../../kit/odb-world.ts';

const driver = (sqlite3 as unknown as { readonly default: object }).default;
const folder = mkdtempSync(path.join(tmpdir(), 'gantry-sqlite-'));
let files = 0;
const fresh = () => path.join(folder, `file-${++files}.sqlite`);

/** The dialect as a server has it. */
function dialectOf(config: object, data = folder): Dialect {
  const kernel = new Process({ logs: new Logs({ level: 'silent' }), data });
  kernel.create([{ id: sqlite.id, plugin: sqlite as never, config: { ...config } }]);
  return kernel.cradle.dialect;
}
async function opened(dialect: Dialect): Promise<Sequelize> {
  await dialect.prepare?.();
  return new Sequelize({ ...dialect.options(), logging: false, retry: { max: 1 } });
}
/** The only column of the first row. */
const value = async (database: Sequelize, text: string, options: object = {}): Promise<unknown> => {
  const [row] = await database.query<object>(text, { ...options, type: QueryTypes.SELECT });
  return Object.values(row ?? {})[0];
};

async function refused(config: object, data = folder) {
  const error: unknown = await Promise.resolve(dialectOf(config, data).prepare?.()).then(
    () => expect.fail('nothing was refused'),
    (thrown: unknown) => thrown,
  );
  if (!isGantryError(error)) throw error;
  expect(error).to.include({ code: 'PLUGIN_START_FAILED', kind: 'setup' });
  expect(error.hint).to.be.a('string').and.not.equal('');
  return error.message;
}

describe('dialect.sqlite', function () {
  this.timeout(30_000);
  after(() => rmSync(folder, { recursive: true, force: true }));

  testDialect({
    plugin: sqlite as never,
    // The kit lets more wait at once than Node has threads: whoever is in has to wait until one gives up.
    config: async () => ({ file: fresh(), busyTimeoutMs: 1000 }),
    open: (options) => new Sequelize({ ...options, logging: false }) as never,
  });

  describe('a file', () => {
    it("is below the server's data folder, which is made with it", async () => {
      const data = path.join(folder, 'data');
      const database = await opened(dialectOf({ file: 'deep/er/own.sqlite' }, data));
      await database.query('CREATE TABLE t (x)');
      await database.close();
      expect(existsSync(path.join(data, 'deep/er/own.sqlite'))).to.equal(true);
      const kernel = new Process({ logs: new Logs({ level: 'silent' }), data });
      kernel.create([{ id: sqlite.id, plugin: sqlite as never, config: {} }]);
      expect(kernel.cradle.dialect.options()['storage']).to.equal(path.join(data, 'gantry.sqlite'));
    });

    it('is written ahead and synced with each change, on every connection', async () => {
      const database = await opened(dialectOf({ file: fresh(), busyTimeoutMs: 1234 }));
      const transaction = await database.transaction();
      for (const options of [{}, { transaction }]) {
        const of = async (name: string) => value(database, `PRAGMA ${name}`, options);
        expect(await of('journal_mode')).to.equal('wal');
        expect(await of('synchronous'), 'FULL').to.equal(2);
        expect(await of('busy_timeout')).to.equal(1234);
      }
      await transaction.rollback();
      await database.close();
    });

    it('is refused with its reason where it cannot be a database', async () => {
      const text = fresh();
      writeFileSync(text, 'name,age\nann,5\n');
      expect(await refused({ file: text }))
        .to.include(text)
        .and.include('not an SQLite database');
      expect(await refused({ file: folder })).to.include('EISDIR');
      expect(await refused({ file: path.join(text, 'below.sqlite') }))
        .to.include('cannot be made')
        .and.include('EEXIST');
    });

    it('is refused where this user may not write', async () => {
      const locked = path.join(folder, 'locked');
      mkdirSync(locked, { mode: 0o500 });
      const file = fresh();
      writeFileSync(file, '', { mode: 0o400 });
      // Root may everywhere: there, the test is nobody for a moment.
      const isRoot = process.geteuid?.() === 0;
      if (isRoot) chmodSync(folder, 0o755);
      if (isRoot) process.seteuid?.(65_534);
      try {
        expect(await refused({ file: path.join(locked, 'x.sqlite') })).to.include('EACCES');
        expect(await refused({ file })).to.include('EACCES');
      } finally {
        if (isRoot) process.seteuid?.(0);
      }
    });

    it('may be empty or there already', async () => {
      const file = fresh();
      writeFileSync(file, '');
      const first = await opened(dialectOf({ file }));
      await first.query('CREATE TABLE t (x)');
      await first.close();
      const second = await opened(dialectOf({ file }));
      expect(await value(second, 'SELECT COUNT(*) AS n FROM t')).to.equal(0);
      await second.close();
    });

    it('is not made anew after it was taken away while the server runs', async () => {
      const file = fresh();
      const plugins = [
        { id: sqlite.id, plugin: sqlite, config: { file } },
        { id: odb.id, plugin: odb, config: {} },
      ] as never;
      const server = await openOdb({ plugins });
      for (const name of readdirSync(folder).filter((n) => n.startsWith(path.basename(file))))
        rmSync(path.join(folder, name), { force: true });
      const error: unknown = await server.odb
        .write([{ action: 'create', kind: 'k', name: 'n', body: {} }], { name: 'me' })
        .then(
          () => expect.fail('written to nothing'),
          (thrown: unknown) => thrown,
        );
      expect(error).to.include({ code: 'ODB_UNAVAILABLE' });
      expect((error as Error).message).to.include('taken away');
      expect((error as { hint: string }).hint).to.include(file);
      // A connection that is open would still see what was there.
      const seen: unknown = await server.odb.revision().then(
        () => 'what is not there any more',
        (thrown: { code: string }) => thrown.code,
      );
      expect(seen).to.equal('ODB_UNAVAILABLE');
      expect(existsSync(file)).to.equal(false);
      await server.stop();
    });

    it('is opened anew where another one was put in its place, and nothing is acknowledged that is lost', async () => {
      const file = fresh();
      const plugins = [
        { id: sqlite.id, plugin: sqlite, config: { file } },
        { id: odb.id, plugin: odb, config: {} },
      ] as never;
      const { odb: store, stop } = await openOdb({ plugins });
      const write = (name: string) => store.write([{ action: 'create', kind: 'k', name, body: {} }], { name: 'me' });
      await write('before');
      const other = new Sequelize({ dialect: 'sqlite', storage: file, logging: false, dialectModule: driver });
      await other.query(`VACUUM INTO '${file}.backup'`);
      await other.close();
      await write('lost');
      for (const end of ['-wal', '-shm']) rmSync(`${file}${end}`, { force: true });
      renameSync(`${file}.backup`, file);
      const error: unknown = await write('not made').catch((thrown: unknown) => thrown);
      expect(error).to.include({ code: 'ODB_UNAVAILABLE', message: 'The database was replaced by another one' });
      while (store.problem !== null) await new Promise((resolve) => setTimeout(resolve, 5));
      await write('after');
      const { items } = await store.list('k', { limit: 10 });
      expect(items.map(({ name }) => name)).to.deep.equal(['after', 'before']);
      await stop();
    });
  });

  describe('in memory', () => {
    it('all connections of a server see one database, and other servers another', async () => {
      const [one, two] = [await opened(dialectOf({ file: ':memory:' })), await opened(dialectOf({ file: ':memory:' }))];
      await one.query('CREATE TABLE t (x)');
      await one.transaction(async (transaction) => {
        await one.query('INSERT INTO t VALUES (1)', { transaction });
      });
      expect(await value(one, 'SELECT COUNT(*) AS n FROM t')).to.equal(1);
      expect(await value(two, "SELECT COUNT(*) AS n FROM sqlite_master WHERE name = 't'")).to.equal(0);
      await Promise.all([one.close(), two.close()]);
    });

    it('nobody reads what is not committed', async () => {
      const plugins = [
        { id: sqlite.id, plugin: sqlite, config: { file: ':memory:' } },
        { id: odb.id, plugin: odb, config: {} },
      ] as never;
      const { odb: store, stop } = await openOdb({ plugins });
      let writing = true;
      const names = Array.from({ length: 40 }, (_, n) => `n${n}`);
      const rounds = async () => {
        for (let i = 0; i < 10; i++) {
          const kind = `k${i}`;
          await store.write(
            names.map((name) => ({ action: 'create', kind, name, body: {} })),
            { name: 'me' },
          );
        }
        writing = false;
      };
      const done = rounds();
      const seen = new Set<number>();
      while (writing) seen.add((await store.load(Array.from({ length: 10 }, (_, i) => `k${i}`))).records.length);
      await done;
      expect([...seen].filter((count) => count % names.length !== 0)).to.deep.equal([]);
      await stop();
    });
  });

  describe('classify', () => {
    it('tells what SQLite says', () => {
      const { classify } = dialectOf({ file: ':memory:' });
      const of = (code: string, message = '') => classify({ code, message });
      expect(of('SQLITE_BUSY')).to.equal('busy');
      expect(of('SQLITE_FULL')).to.equal('full');
      expect(of('SQLITE_READONLY')).to.equal('unavailable');
      expect(of('SQLITE_IOERR')).to.equal('unavailable');
      expect(of('SQLITE_INTERRUPT')).to.equal('timeout');
      expect(of('SQLITE_CONSTRAINT', 'UNIQUE constraint failed: t.x')).to.equal('duplicate');
      expect(of('SQLITE_CONSTRAINT', 'NOT NULL constraint failed: t.x')).to.equal(null);
      for (const code of ['SQLITE_CORRUPT', 'SQLITE_ERROR', 'constructor']) expect(of(code), code).to.equal(null);
    });

    it('names a full disk', async () => {
      const dialect = dialectOf({ file: fresh() });
      const database = await opened(dialect);
      await database.query('CREATE TABLE t (x)');
      // As if the disk ended after these pages: the limit is of one connection.
      await database.query('PRAGMA max_page_count = 8');
      const error = await database.query('INSERT INTO t VALUES (zeroblob(1000000))').then(
        () => expect.fail('there was room'),
        (thrown: { parent: { code: string } }) => thrown.parent,
      );
      expect(error.code).to.equal('SQLITE_FULL');
      expect(dialect.classify(error)).to.equal('full');
      await database.close();
    });
  });
});
