import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { expect } from 'chai';
import { QueryTypes, Sequelize } from 'sequelize';
import type { Loaded } from '../../../core/kernel/plugin.ts';
import type { Change, Odb, Stored, Write } from '../../../core/ports/odb.ts';
import sqlite from '../../../plugins/dialect-sqlite/index.ts';
import odb from '../../../plugins/odb-sequelize/index.ts';
import { MIGRATIONS } from '../../../plugins/odb-sequelize/migrations/index.ts';
import { journal } from '../../fixtures/direct.ts';
import { type OdbDatabase, type OdbServer, openOdb, refusal, wireOdb } from '../../kit/odb-world.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'gantry-odb-sequelize-'));
const by = { name: 'the test' };
let files = 0;

/** A database in a file of its own, and a way to look into it behind the odb's back. */
class File implements OdbDatabase {
  readonly path = path.join(folder, `file-${++files}.sqlite`);

  get plugins(): readonly Loaded[] {
    return [
      { id: sqlite.id, plugin: sqlite as never, config: { file: this.path } },
      { id: odb.id, plugin: odb as never, config: {} },
    ];
  }
  async drop(): Promise<void> {}
  run(sql: string): Promise<unknown> {
    return this.look((run) => run(sql));
  }

  async look<T>(work: (run: (text: string) => Promise<Record<string, unknown>[]>) => Promise<T>): Promise<T> {
    const dialectModule = (await import('@appthreat/sqlite3')) as unknown as { default: object };
    const database = new Sequelize({
      dialect: 'sqlite',
      dialectModule: dialectModule.default,
      storage: this.path,
      logging: false,
    });
    try {
      return await work(async (text) => {
        if (/^SELECT/.test(text)) return database.query(text, { type: QueryTypes.SELECT });
        await database.query(text);
        return [];
      });
    } finally {
      await database.close();
    }
  }
  /** Tables and indexes as they were made, by name. */
  schema(): Promise<unknown> {
    return this.look((run) =>
      run("SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite%' ORDER BY name"),
    );
  }
}

const create = (kind: string, name: string, more: object = {}): Write => ({
  action: 'create',
  kind,
  name,
  body: {},
  ...more,
});

async function started<T>(database: OdbDatabase, work: (odb: Odb) => Promise<T>): Promise<T> {
  const server = await openOdb(database);
  try {
    return await work(server.odb);
  } finally {
    await server.stop();
  }
}

describe('odb.sequelize', function () {
  this.timeout(60_000);
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('gives what was changed by hand and is no JSON object as empty, and tells whose it is', async () => {
    const file = new File();
    await started(file, (store) => store.write([create('k', 'good'), create('k', 'bad'), create('k', 'list')], by));
    await file.look(async (run) => {
      await run("UPDATE gantry_records SET body = 'not json' WHERE name = 'bad'");
      await run("UPDATE gantry_records SET body = '[1]' WHERE name = 'list'");
      await run("UPDATE gantry_changes SET became = 'not json' WHERE name = 'bad'");
    });
    const { logs, lines } = journal();
    const server = wireOdb(file.plugins, logs, folder);
    await server.start();
    const { odb: store } = server;
    const told = () => lines.splice(0).filter(({ level }) => level === 'error');
    const bodies = async (records: Promise<readonly Stored[]>) =>
      Object.fromEntries((await records).map(({ name, body }) => [name, body]));
    const expected = { bad: {}, good: {}, list: {} };
    expect(await bodies(store.load(['k']).then(({ records }) => records))).to.deep.equal(expected);
    expect(told().map((line) => (line as unknown as { record: string }).record)).to.deep.equal(['bad', 'list']);
    expect(await bodies(store.list('k', { limit: 9 }).then(({ items }) => items))).to.deep.equal(expected);
    expect(await bodies(store.pick('k', ['bad', 'good', 'list']))).to.deep.equal(expected);
    expect((await store.history({ limit: 9 })).items).to.have.lengthOf(3);
    await server.stop();
  });

  describe('migrations', () => {
    it('make every table and index, named to be found, in names that Oracle takes', async () => {
      const file = new File();
      await started(file, (store) => store.revision());
      const made = (await file.schema()) as { type: string; name: string }[];
      expect(made.filter((m) => m.type === 'table').map((m) => m.name)).to.deep.equal([
        'gantry_changes',
        'gantry_claims',
        'gantry_counter',
        'gantry_effects',
        'gantry_fields',
        'gantry_leases',
        'gantry_migrations',
        'gantry_records',
        'gantry_references',
        'gantry_runs',
      ]);
      expect(made.filter((m) => m.type === 'index')).to.have.lengthOf(16);
      for (const { name } of made) expect(name).to.match(/^gantry_[a-z_]{1,23}$/);
      const done = await file.look((run) => run('SELECT name FROM gantry_migrations'));
      expect(done.map((row) => row['name'])).to.deep.equal(MIGRATIONS.map((m) => m.name));
    });

    it('have names that sort in their order, and are each there once', () => {
      const names = MIGRATIONS.map((m) => m.name);
      expect(names).to.deep.equal([...new Set(names)].sort());
      for (const name of names) expect(name).to.match(/^\d{4}-[a-z-]+$/);
    });

    it('are done again where they were left half done', async () => {
      const whole = new File();
      await started(whole, (store) => store.revision());
      const expected = await whole.schema();
      const cuts = [
        ['DELETE FROM gantry_migrations'],
        ['DELETE FROM gantry_migrations', 'DELETE FROM gantry_counter'],
        ['DROP TABLE gantry_migrations', 'DROP TABLE gantry_counter', 'DROP TABLE gantry_changes'],
        ['DELETE FROM gantry_migrations', 'DROP INDEX gantry_changes_by_time', 'DROP INDEX gantry_claims_by_record'],
        ['DELETE FROM gantry_migrations', 'DROP TABLE gantry_runs'],
        ["DELETE FROM gantry_migrations WHERE name > '0002-effects'", 'DROP INDEX gantry_runs_open'],
      ];
      for (const cut of cuts) {
        const file = new File();
        await started(file, (store) => store.revision());
        await file.look(async (run) => {
          for (const statement of cut) await run(statement);
        });
        await started(file, async (store) => {
          expect(await store.revision()).to.equal(0);
          await store.write([create('k', 'n', { fields: { f: 'x' }, claims: ['c'] })], by);
          expect((await store.history({ limit: 1 })).total).to.equal(1);
        });
        expect(await file.schema(), cut.join('; ')).to.have.deep.members(expected as unknown[]);
      }
    });

    it('leave what is there: from the first version on, records and log are as they were', async () => {
      const file = new File();
      const first = [MIGRATIONS[0]?.name];
      const before = await started(file, async (store) => {
        await store.write([create('k', 'a', { body: { n: 1 }, after: { n: 1 } }), create('k', 'b')], by);
        return [await store.load(['k']), await store.history({ limit: 10 })];
      });
      await file.look((run) => run(`DELETE FROM gantry_migrations WHERE name > '${first[0]}'`));
      await started(file, async (store) => {
        expect([await store.load(['k']), await store.history({ limit: 10 })]).to.deep.equal(before);
        await store.write([create('k', 'c')], by);
      });
    });

    it('of a newer version stop the start, and the error names what both know', async () => {
      const file = new File();
      await started(file, (store) => store.write([create('k', 'a')], by));
      await file.look((run) => run("INSERT INTO gantry_migrations (name, applied_at) VALUES ('0099-future', 0)"));
      const error = await refusal('PLUGIN_START_FAILED', openOdb(file), '0099-future');
      expect(error.kind).to.equal('setup');
      expect(error.message).to.include(MIGRATIONS.at(-1)?.name);
      expect(error.hint).to.match(/newer version|backup/);
      await file.look(async (run) => {
        expect((await run('SELECT COUNT(*) AS n FROM gantry_records'))[0]?.['n']).to.equal(1);
        await run("DELETE FROM gantry_migrations WHERE name = '0099-future'");
      });
      await started(file, async (store) => expect(await store.revision()).to.equal(1));
    });
  });

  describe('what was acknowledged', () => {
    /** A server in a process of its own, that writes as fast as it can and tells each batch that was acknowledged. */
    function writer(file: File, mark: string): ChildProcess {
      const from = (name: string) => JSON.stringify(pathToFileURL(path.join(import.meta.dirname, name)).href);
      const code = `
        const { default: sqlite } = await import(${from('../../../plugins/dialect-sqlite/index.ts')});
        const { default: odb } = await import(${from('../../../plugins/odb-sequelize/index.ts')});
        const { openOdb } = await import(${from('../../kit/odb-world.ts')});
        const plugins = [
          { id: sqlite.id, plugin: sqlite, config: { file: ${JSON.stringify(file.path)} } },
          { id: odb.id, plugin: odb, config: {} },
        ];
        const server = await openOdb({ plugins });
        for (let n = 0; n < 1000; n++) {
          const batch = ['a', 'b', 'c'].map((part) => ({
            action: 'create', kind: '${mark}', name: n + part, body: { n }, fields: { n: 'n' + n },
            claims: ['${mark} ' + n + part], references: [{ kind: '${mark}', name: n + 'a' }], after: { n },
          }));
          const written = await server.odb.write(batch, { name: '${mark}' });
          process.stdout.write(n + ' ' + written.map((w) => w.revision).join(' ') + '\\n');
        }`;
      const args = ['--import', 'tsx', '--input-type=module', '-e', code];
      return spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    }

    it('is there after kill -9 in the middle of it, and nothing half', async () => {
      const file = new File();
      const marks = ['one', 'two'];
      const told = new Map<string, Map<number, number[]>>(marks.map((mark) => [mark, new Map()]));
      const children = marks.map((mark) => writer(file, mark));
      await Promise.all(
        children.map(async (child, i) => {
          const lines = told.get(marks[i] as string) as Map<number, number[]>;
          for await (const line of createInterface(child.stdout as NodeJS.ReadableStream)) {
            const [n, ...revisions] = line.split(' ').map(Number) as [number, ...number[]];
            lines.set(n, revisions);
            // Each in another batch, both while the other one writes, or has died in the midst of it.
            if (n === 20 + 13 * i) child.kill('SIGKILL');
          }
          if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
        }),
      );
      await started(file, async (store) => {
        const { revision, records } = await store.load(marks);
        const log: readonly Change[] = await store.changes(0, 100_000);
        expect(log.map((c) => c.revision)).to.deep.equal(Array.from({ length: revision }, (_, i) => i + 1));
        for (const [mark, lines] of told) {
          expect(lines.size, 'batches that were acknowledged').to.be.above(20);
          const own = records.filter((r) => r.kind === mark);
          const there = new Map(own.map((r) => [r.name, r]));
          for (const [n, revisions] of lines) {
            const found = ['a', 'b', 'c'].map((part) => (there.get(n + part) as Stored | undefined)?.revision);
            expect(found, `${mark} ${n}`).to.deep.equal(revisions);
          }
          // One batch more may have been made, whose acknowledgement nobody heard.
          expect(own.length % 3, 'no part of a batch').to.equal(0);
          expect(own.length / 3).to.be.within(lines.size, lines.size + 1);
          expect(log.filter((c) => c.kind === mark)).to.have.lengthOf(own.length);
          expect((await store.list(mark, { filter: { n: 'n7' }, limit: 10 })).total).to.equal(3);
          expect(await store.referrers(mark, '7a')).to.have.lengthOf(3);
        }
        await store.write([create('after', 'all')], by);
        await refusal('RECORD_TAKEN', store.write([create('x', 'y', { claims: ['one 7b'] })], by));
      });
    });
  });

  describe('figures', () => {
    let server: OdbServer;
    before(async () => {
      server = await openOdb(new File());
    });
    after(() => server.stop());
    const timed = async (work: () => Promise<unknown>) => {
      const start = performance.now();
      await work();
      return performance.now() - start;
    };
    const many = (kind: string, count: number) =>
      Array.from({ length: count }, (_, n) =>
        create(kind, `channel-${n}`, {
          body: { n, transport: 'rest', address: { method: 'GET', path: `/orders/${n}` }, text: 'x'.repeat(200) },
          fields: { transport: 'rest', service: `s${n % 50}` },
          claims: [`${kind} rest GET /orders/${n}`],
          after: { n },
        }),
      );

    it('are printed: 10,000 records in one change, their loading, single changes', async () => {
      const created = await timed(() => server.odb.write(many('many', 10_000), by));
      const loaded = await timed(async () =>
        expect((await server.odb.load(['many'])).records).to.have.lengthOf(10_000),
      );
      const found = await timed(async () => {
        for (let n = 0; n < 200; n++) await server.odb.find('many', `channel-${n}`);
      });
      const listed = await timed(() => server.odb.list('many', { sort: 'service', search: '9', limit: 100 }));
      const single = await timed(async () => {
        for (const one of many('single', 200)) await server.odb.write([one], by);
      });
      const figures = [
        `10,000 records created in one change: ${created.toFixed(0)} ms`,
        `loaded: ${loaded.toFixed(0)} ms`,
        `found: ${(found / 200).toFixed(2)} ms each`,
        `a page of 100, searched and sorted by a field: ${listed.toFixed(1)} ms`,
        `single changes: ${(200_000 / single).toFixed(0)} a second`,
      ];
      process.stdout.write(`        ${figures.join('\n        ')}\n`);
    });
  });
});
