/** The database is another one than before: restored from a backup, away at the start, or sealed under other keys. */
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import * as sqlite3 from '@appthreat/sqlite3';
import { expect } from 'chai';
import { GantryError } from '../../../core/api.ts';
import type { Odb } from '../../../core/ports/index.ts';
import type { Definition } from '../../../core/records/record.ts';
import { BY, type OperatedOptions, operated } from '../../fixtures/operated.ts';

type Operated = Awaited<ReturnType<typeof operated>>;

const channel = (name: string, topic = name): Definition => ({
  name,
  transport: 'topics',
  address: { topic },
  service: 'echo',
});

interface Database {
  exec(statements: string, done: (error: Error | null) => void): void;
  close(done: (error: Error | null) => void): void;
}
const { Database } = (sqlite3 as unknown as { readonly default: { readonly Database: new (file: string) => Database } })
  .default;

/** Runs statements in a database that a server may have open. */
async function execute(file: string, statements: string): Promise<void> {
  const database = new Database(file);
  await new Promise<void>((resolve, reject) => {
    database.exec(statements, (error) => (error === null ? resolve() : reject(error)));
  });
  await new Promise<void>((resolve) => database.close(() => resolve()));
}

const TABLES = ['counter', 'records', 'fields', 'references', 'claims', 'changes'].map((one) => `gantry_${one}`);

function backup(file: string): Promise<void> {
  rmSync(`${file}.backup`, { force: true });
  return execute(file, `PRAGMA busy_timeout = 5000; VACUUM INTO '${file}.backup'`);
}
/** Everything as it was, in one moment, under the servers that run. */
function restore(file: string, more = ''): Promise<void> {
  const copied = TABLES.map((one) => `DELETE FROM main.${one}; INSERT INTO main.${one} SELECT * FROM old.${one};`);
  return execute(
    file,
    `PRAGMA busy_timeout = 5000; ATTACH '${file}.backup' AS old; BEGIN IMMEDIATE; ${copied.join(' ')} ${more} COMMIT`,
  );
}

describe('records of a database that', function () {
  this.timeout(60_000);
  const running: Operated[] = [];

  async function start(options: OperatedOptions = {}, prepare: (one: Operated) => void = () => {}) {
    const made = await operated(options);
    running.push(made);
    prepare(made);
    await made.kernel.start();
    return made;
  }
  afterEach(async () => {
    const all = running.splice(0);
    for (const { kernel } of all) await kernel.stop();
    for (const { data } of all) rmSync(data, { recursive: true, force: true });
  });
  async function until(what: string, holds: () => unknown, ms = 5000): Promise<void> {
    const end = performance.now() + ms;
    while (performance.now() < end) {
      if (await holds()) return;
      await wait(20);
    }
    expect.fail(`not within ${ms} ms: ${what}`);
  }
  const fileOf = ({ data }: Operated) => path.join(data, 'gantry.sqlite');
  const topicsOf = ({ bound }: Operated) => [...bound.keys()].sort().join(' ');

  /** The database cannot be reached until it is said to be back. */
  function away({ kernel }: Operated): () => void {
    const odb = kernel.cradle.odb as { -readonly [K in keyof Odb]: Odb[K] };
    const gone = () => Promise.reject(new GantryError('ODB_UNAVAILABLE', 'The database is away'));
    const { load, revision, changes, pick, find, write } = odb;
    Object.assign(odb, { load: gone, revision: gone, changes: gone, pick: gone, find: gone, write: gone });
    return () => void Object.assign(odb, { load, revision, changes, pick, find, write });
  }

  describe('was restored', () => {
    it('to an earlier state: what was made since then is gone, what was removed is back', async () => {
      const one = await start();
      await one.records.create('channel', channel('kept', 'a'), BY);
      await one.records.create('channel', channel('removed', 'b'), BY);
      await backup(fileOf(one));
      await one.records.remove('channel', 'removed', undefined, BY);
      await one.records.create('channel', channel('made', 'c'), BY);
      await one.records.update('channel', 'kept', 1, { address: { topic: 'd' } }, BY);
      expect(topicsOf(one)).to.equal('c d');
      await restore(fileOf(one));
      await until('all is as it was', () => topicsOf(one) === 'a b');
    });
    for (const [how, changes] of [
      ['as far as', 2],
      ['further than', 3],
    ] as const) {
      it(`and was changed ${how} the server had come before it looked again`, async () => {
        const one = await start();
        await one.records.create('channel', channel('kept', 'a'), BY);
        await backup(fileOf(one));
        await one.records.create('channel', channel('lost', 'b'), BY);
        await one.records.update('channel', 'kept', 1, { address: { topic: 'c' } }, BY);
        expect([topicsOf(one), one.records.status().revision]).to.deep.equal(['b c', 3]);
        const other = await operated({ data: mkdata(one) });
        running.push(other);
        await other.kernel.start();
        await other.records.update('channel', 'kept', 1, { timeoutMs: 1234 }, BY);
        for (let i = 1; i < changes; i++) await other.records.create('channel', channel(`new${i}`), BY);
        await other.kernel.stop();
        copyFileSync(fileOf(other), `${fileOf(one)}.backup`);
        // As long as revisions go on nothing is seen otherwise; where they do not, the database was away for it.
        const back = changes === 2 ? away(one) : () => {};
        if (changes === 2) await until('it saw that', () => one.records.status().problem !== null);
        await restore(fileOf(one));
        back();
        const expected = changes === 2 ? 'a new1' : 'a new1 new2';
        await until('it is what the database says', () => topicsOf(one) === expected);
        expect(one.records.find('channel', 'kept')?.definition['timeoutMs']).to.equal(1234);
      });
    }
  });

  describe('was away at the start', () => {
    it('is followed when it is back, and the state on disk too', async () => {
      const first = await start();
      await first.records.create('channel', channel('c', 'a'), BY);
      await first.kernel.stop();
      let back = () => {};
      const two = await start({ data: first.data }, (made) => {
        back = away(made);
      });
      expect([two.records.status().source, topicsOf(two)]).to.deep.equal(['snapshot', 'a']);
      const other = await beside(first);
      await other.records.create('channel', channel('d', 'b'), BY);
      back();
      await until('it runs with what was changed', () => topicsOf(two) === 'a b');
      expect(two.records.status()).to.include({ source: 'database', staleSince: null, problem: null });
      const file = path.join(first.data, 'snapshot.jsonl');
      await until('so does what is on disk', () => /"name":"d"/.test(readFileSync(file, 'utf8')));
    });
    it('and was restored since, is what counts when it is back', async () => {
      const first = await start();
      await first.records.create('channel', channel('kept', 'a'), BY);
      await backup(fileOf(first));
      await first.records.create('channel', channel('lost', 'b'), BY);
      await first.kernel.stop();
      await restore(fileOf(first));
      const other = await beside(first);
      let back = () => {};
      const two = await start({ data: first.data }, (made) => {
        back = away(made);
      });
      expect(topicsOf(two)).to.equal('a b');
      await other.records.create('channel', channel('new1'), BY);
      await other.records.create('channel', channel('new2'), BY);
      back();
      await until('it is what the database says', () => topicsOf(two) === 'a new1 new2');
    });
  });

  describe('has secrets under a key', () => {
    const secretOf = (token: string): Definition => ({
      name: 'out',
      transport: 'topics',
      options: { to: 'one', token },
    });
    const key = (byte: number) => Buffer.alloc(32, byte).toString('base64');

    it('that comes later: what could not be read then takes effect', async () => {
      const one = await start();
      await one.records.create('connection', secretOf('hunter2'), BY);
      await one.records.create('user', { name: 'ada', role: 'viewer', password: 'a-password' }, BY);
      await one.kernel.stop();
      const keys = path.join(one.data, 'secret.keys');
      const needed = readFileSync(keys, 'utf8');
      writeFileSync(keys, `${key(7)}\n`);
      const two = await start({ data: one.data });
      expect(two.records.status().refused).to.have.length(1);
      expect(two.records.find('user', 'ada')?.definition['passwordHash']).to.not.be.a('string');
      writeFileSync(keys, `${key(7)}\n${needed}\n`);
      await until('it is in effect', () => two.records.status().refused.length === 0);
      expect(two.opened.map(({ token }) => token)).to.deep.equal(['hunter2']);
      expect(two.records.find('user', 'ada')?.definition['passwordHash']).to.match(/^\$argon2id/);
    });
    it('that goes: the state on disk is signed with the one that stays, though nothing was changed', async () => {
      const one = await start();
      await one.records.create('channel', channel('c', 'a'), BY);
      const keys = path.join(one.data, 'secret.keys');
      const old = readFileSync(keys, 'utf8');
      const file = path.join(one.data, 'snapshot.jsonl');
      const signer = () => /"signature":"gh1\.([0-9a-f]{8})/.exec(readFileSync(file, 'utf8'))?.[1];
      await until('it is written', () => /"name":"c"/.test(readFileSync(file, 'utf8')));
      const before = signer();
      writeFileSync(keys, `${key(9)}\n${old}\n`);
      expect(await one.records.reseal(BY)).to.equal(0);
      await until('it is signed anew', () => signer() !== before);
      writeFileSync(keys, `${key(9)}\n`);
      await one.kernel.stop();
      const two = await start({ data: one.data }, (made) => void away(made));
      expect(topicsOf(two)).to.equal('a');
    });
  });

  /** Another server with the database of one. */
  function beside(one: Operated): Promise<Operated> {
    const data = path.join(one.data, 'beside');
    mkdirSync(data);
    return start({ data, name: 'beside', dialect: ['dialect.sqlite', { file: fileOf(one) }] });
  }
  /** A data folder of another server that has the backup for its database. */
  function mkdata(one: Operated): string {
    const folder = path.join(one.data, 'other');
    mkdirSync(folder);
    copyFileSync(`${fileOf(one)}.backup`, path.join(folder, 'gantry.sqlite'));
    return folder;
  }
});
