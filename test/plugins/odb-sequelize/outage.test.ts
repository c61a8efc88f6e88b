import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { Sequelize, type Transaction } from 'sequelize';
import type { Loaded } from '../../../core/kernel/plugin.ts';
import type { Odb, Write } from '../../../core/ports/odb.ts';
import postgres from '../../../plugins/dialect-postgres/index.ts';
import sqlite from '../../../plugins/dialect-sqlite/index.ts';
import odb from '../../../plugins/odb-sequelize/index.ts';
import { journal } from '../../fixtures/direct.ts';
import { type OdbServer, refusal, wireOdb } from '../../kit/odb-world.ts';

const by = { name: 'the test' };
const SECRET = 'pass-word-of-the-test';
const one = (name: string): Write => ({ action: 'create', kind: 'k', name, body: {} });

describe('odb.sequelize in trouble', function () {
  this.timeout(30_000);
  const folder = mkdtempSync(path.join(tmpdir(), 'gantry-odb-outage-'));
  const servers: OdbServer[] = [];
  const sockets = new Set<Socket>();
  const closers: (() => Promise<unknown>)[] = [];
  let files = 0;

  afterEach(async () => {
    for (const one of servers.splice(0)) await one.stop();
    for (const close of closers.splice(0)) await close();
    for (const socket of sockets) socket.destroy();
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  /** A server with an odb, and what it logs. */
  function server(dialect: Loaded, limits: object) {
    const { logs, lines } = journal();
    const made = wireOdb([dialect, { id: odb.id, plugin: odb as never, config: { ...limits } }], logs, folder);
    servers.push(made);
    return { kernel: made, lines, store: made.odb };
  }
  const onFile = (file: string, busyTimeoutMs = 100): Loaded => ({
    id: sqlite.id,
    plugin: sqlite as never,
    config: { file, busyTimeoutMs },
  });
  const onPort = (port: number, more: object = {}): Loaded => ({
    id: postgres.id,
    plugin: postgres as never,
    config: { host: '127.0.0.1', port, database: 'd', user: 'u', password: SECRET, ...more },
  });

  /** Another process that writes, and does not end. */
  async function holder(file: string) {
    const { default: dialectModule } = (await import('@appthreat/sqlite3')) as unknown as { default: object };
    const options = { dialect: 'sqlite', dialectModule, storage: file, logging: false, retry: { max: 1 } } as const;
    const database = new Sequelize({ ...options, transactionType: 'IMMEDIATE' as Transaction.TYPES });
    closers.push(() => database.close());
    await database.query('PRAGMA journal_mode=WAL');
    const transaction = await database.transaction();
    const query = (text: string) => database.query(text, { transaction });
    return { query, release: () => transaction.commit() };
  }

  /** As soon as it is so; fails with the test's own time. */
  async function until(state: () => boolean): Promise<void> {
    while (!state()) await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const refusedEach = async (store: Odb) => {
    const works = [
      () => store.revision(),
      () => store.load(['k']),
      () => store.find('k', 'n'),
      () => store.pick('k', ['n']),
      () => store.list('k', { limit: 1 }),
      () => store.referrers('k', 'n'),
      () => store.changes(0, 1),
      () => store.history({ limit: 1 }),
      () => store.write([one('n')], by),
      () => store.once('k', async () => 1),
      () => store.forget(new Date()),
    ];
    for (const work of works) {
      const error = await refusal('ODB_UNAVAILABLE', work());
      expect(error).to.include({ kind: 'unavailable', retryable: true });
      expect(error.hint).to.be.a('string').and.not.equal('');
    }
  };

  /** A port that takes connections and does with them what it is told. */
  async function listen(taken: (socket: Socket) => void): Promise<{ port: number; server: Server }> {
    const listening = createServer((socket) => {
      sockets.add(socket.on('error', () => {}));
      taken(socket);
    }).listen(0, '127.0.0.1');
    await once(listening, 'listening');
    closers.push(async () => listening.close());
    return { port: (listening.address() as { port: number }).port, server: listening };
  }

  describe('at the start', () => {
    it('starts without the database, refuses every operation, and mends itself when it comes', async () => {
      const file = path.join(folder, `file-${++files}.sqlite`);
      const other = await holder(file);
      const { kernel, store, lines } = server(onFile(file), { connectTimeoutMs: 300 });
      await kernel.start();
      expect(store.problem).to.include({ code: 'ODB_UNAVAILABLE' });
      expect(lines.filter((l) => l.level === 'warn' && l.plugin === odb.id)).to.have.lengthOf.at.least(1);
      await refusedEach(store);
      await other.release();
      await until(() => store.problem === null);
      await store.write([one('n')], by);
      expect(await store.revision()).to.equal(1);
    });

    for (const [what, taken] of [
      ['says nothing', () => {}],
      ['hangs up', (socket: Socket) => socket.end()],
      ['is not listening', null],
    ] as const) {
      it(`waits no longer than it is told for a server that ${what}`, async () => {
        const { port, server: listening } = await listen(taken ?? (() => {}));
        if (taken === null) listening.close();
        const { kernel, store, lines } = server(onPort(port), { connectTimeoutMs: 400, timeoutMs: 300 });
        const start = performance.now();
        await kernel.start();
        expect(performance.now() - start).to.be.below(1500);
        await refusedEach(store);
        const stopping = performance.now();
        await kernel.stop();
        expect(performance.now() - stopping, 'ms to stop').to.be.below(2500);
        expect(JSON.stringify([lines, store.problem, store.problem?.hint])).to.not.include(SECRET);
        await refusedEach(store);
      });
    }

    it('stops the boot where only the operator can help, and says how', async () => {
      // As PostgreSQL refuses a password: ErrorResponse with its SQLSTATE (protocol 3.0, 55.7).
      const refuse = (code: string, text: string) => (socket: Socket) =>
        void socket.once('data', () => {
          const fields = Buffer.from(`SFATAL\0VFATAL\0C${code}\0M${text}\0\0`);
          const head = Buffer.from('E\0\0\0\0');
          head.writeInt32BE(fields.length + 4, 1);
          socket.end(Buffer.concat([head, fields]));
        });
      for (const [code, text, look] of [
        ['28P01', `password authentication failed for user "u" with ${SECRET}`, 'keys "user" and "password"'],
        ['3D000', 'database "d" does not exist', 'key "database"'],
        ['3F000', 'no schema has been selected to create in', 'key "schema"'],
        ['XX999', 'a reason that nobody knows', 'user, password, database and tls'],
      ] as const) {
        const { port } = await listen(refuse(code, text));
        const { kernel, lines } = server(onPort(port), {});
        const error = await refusal('PLUGIN_START_FAILED', kernel.start(), text.slice(0, 20));
        expect(error.kind).to.equal('setup');
        expect(error.hint).to.include(look);
        expect(error.message, 'where').to.include(`at 127.0.0.1:${port} (database 'd', user 'u')`);
        expect(`${error.message} ${error.hint}`).to.not.include(SECRET);
        expect(lines.filter((l) => l.msg.includes(SECRET))).to.deep.equal([]);
      }
    });

    it('tells a problem for the operator also when it comes to light later', async () => {
      const file = path.join(folder, `file-${++files}.sqlite`);
      const first = server(onFile(file), {});
      await first.kernel.start();
      await first.kernel.stop();
      const other = await holder(file);
      await other.query("INSERT INTO gantry_migrations (name, applied_at) VALUES ('0099-future', 0)");
      const { kernel, store } = server(onFile(file), { connectTimeoutMs: 200 });
      await kernel.start();
      await other.release();
      await until(() => store.problem?.message.includes('0099-future') === true);
      expect((await refusal('ODB_UNAVAILABLE', store.revision())).hint).to.match(/newer version/);
    });

    it('can be stopped while it waits', async () => {
      const { port } = await listen(() => {});
      const { kernel, store } = server(onPort(port), { connectTimeoutMs: 20_000 });
      const starting = kernel.start();
      await new Promise(setImmediate);
      const start = performance.now();
      await Promise.all([kernel.stop(), starting.catch(() => {})]);
      expect(performance.now() - start).to.be.below(3000);
      await refusedEach(store);
    });
  });

  describe('while running', () => {
    it('gives a change up in time where another one holds the database, and undoes it', async () => {
      const file = path.join(folder, `file-${++files}.sqlite`);
      const { kernel, store, lines } = server(onFile(file), { timeoutMs: 500 });
      await kernel.start();
      await store.write([one('before')], by);
      const other = await holder(file);
      const start = performance.now();
      const tries = Array.from({ length: 8 }, (_, n) => refusal('ODB_UNAVAILABLE', store.write([one(`n${n}`)], by)));
      await Promise.all(tries);
      expect(performance.now() - start).to.be.within(300, 1500);
      expect(store.problem).to.include({ code: 'ODB_UNAVAILABLE' });
      const warnings = () => lines.filter((l) => l.level === 'warn' && l.plugin === odb.id);
      const warned = warnings().length;
      expect(warned, 'one line for each reason, and not for each call').to.be.within(1, 3);
      // Whoever reads does not wait for who writes.
      expect((await store.load(['k'])).records.map((r) => r.name)).to.deep.equal(['before']);
      expect(store.problem).to.equal(null);
      await other.release();
      await store.write([one('after')], by);
      expect((await store.changes(0, 10)).map((c) => [c.revision, c.name])).to.deep.equal([
        [1, 'before'],
        [2, 'after'],
      ]);
    });

    it('waits for another one that ends in time', async () => {
      const file = path.join(folder, `file-${++files}.sqlite`);
      const { kernel, store } = server(onFile(file), { timeoutMs: 5000 });
      await kernel.start();
      const other = await holder(file);
      const writing = store.write([one('n')], by);
      await new Promise((resolve) => setTimeout(resolve, 300));
      await other.release();
      expect((await writing)[0]?.revision).to.equal(1);
    });

    it('fails with ODB_FAILED where the database is not what it was, and logs why', async () => {
      const file = path.join(folder, `file-${++files}.sqlite`);
      const { kernel, store, lines } = server(onFile(file), {});
      await kernel.start();
      const other = await holder(file);
      await other.query('DROP TABLE gantry_claims');
      await other.release();
      const error = await refusal('ODB_FAILED', store.write([{ ...one('n'), claims: ['c'] } as Write], by));
      expect(error.message).to.equal('The database failed');
      expect(error.hint).to.include('gantry_claims');
      expect(lines.find((l) => l.level === 'error')).to.include({ plugin: odb.id });
      expect(store.problem).to.equal(null);
      expect(await store.revision()).to.equal(0);
    });

    it('stops only when what is under way is done', async () => {
      const file = path.join(folder, `file-${++files}.sqlite`);
      const { kernel, store } = server(onFile(file), {});
      await kernel.start();
      const writes = Array.from({ length: 30 }, (_, n) => store.write([one(`n${n}`)], by));
      await kernel.stop();
      expect((await Promise.all(writes)).map(([w]) => w?.revision)).to.deep.equal(
        Array.from({ length: 30 }, (_, n) => n + 1),
      );
    });

    it('takes hundreds of operations at once', async () => {
      const file = path.join(folder, `file-${++files}.sqlite`);
      const { kernel, store } = server(onFile(file), {});
      await kernel.start();
      const all = Array.from({ length: 100 }, (_, n) => [
        store.write([one(`n${n}`)], by),
        store.find('k', `n${n}`),
        store.load(['k']),
        store.list('k', { limit: 10 }),
      ]);
      await Promise.all(all.flat());
      expect(await store.revision()).to.equal(100);
    });
  });
});
