import { expect } from 'chai';
import type { Change, HistoryQuery, Page, Stored } from '../../core/ports/odb.ts';
import { type OdbServer, type OdbWorld, openOdb, refusal } from './odb-world.ts';

/** What the odb promises of revisions, of the change log, of loading, and of several servers. */
export function testOdbChanges(world: OdbWorld): void {
  testRevisions(world);
  testHistory(world);
  testServers(world);
}

function testRevisions(world: OdbWorld): void {
  const { create, update, remove, by } = world;

  describe('revisions', () => {
    it('tell the changes after one, oldest first, with who, when, before and after', async () => {
      const kind = world.kind();
      const start = await world.odb.revision();
      await world.odb.write([create(kind, 'one', { after: { n: 1 } })], by);
      await world.odb.write([update(kind, 'one', 1, { before: { n: 1 }, after: ['x', null] })], { name: 'someone' });
      const [removed] = await world.odb.write([{ ...remove(kind, 'one'), before: 'text' }], by);
      const changes = await world.other.changes(start, 10);
      expect(changes.map((c) => ({ ...c, changedAt: null }))).to.deep.equal([
        line(start + 1, 'create', kind, 1, by.name, by.cid ?? null, null, { n: 1 }),
        line(start + 2, 'update', kind, 2, 'someone', null, { n: 1 }, ['x', null]),
        line(start + 3, 'remove', kind, 0, by.name, by.cid ?? null, 'text', null),
      ]);
      expect(changes[2]?.changedAt).to.deep.equal(removed?.changedAt);
      expect(await world.odb.changes(start + 2, 10)).to.deep.equal(changes.slice(2));
      expect(await world.odb.changes(start, 2)).to.deep.equal(changes.slice(0, 2));
      expect(await world.odb.changes(start + 3, 10)).to.deep.equal([]);
    });

    it('have no gap and no double under 20 writers on two servers, and no reader ever sees a hole', async () => {
      const kind = world.kind();
      const start = await world.odb.revision();
      let writing = true;
      const holes: string[] = [];
      const watch = async (n: number) => {
        for (let seen = start; writing; ) {
          const changes = await (n % 2 === 0 ? world.odb : world.other).changes(seen, 1000);
          for (const { revision } of changes) {
            if (revision !== seen + 1) holes.push(`${revision} after ${seen}`);
            seen = revision;
          }
        }
      };
      const watchers = [watch(0), watch(1)];
      const writers = Array.from({ length: 20 }, async (_, w) => {
        const odb = w % 2 === 0 ? world.odb : world.other;
        const got: number[] = [];
        for (let i = 0; i < 6; i++) {
          const batch = Array.from({ length: 1 + (i % 3) }, (_, k) => create(kind, `${w}-${i}-${k}`));
          got.push(...(await odb.write(batch, by)).map((written) => written.revision));
        }
        return got;
      });
      const all = (await Promise.all(writers).finally(() => (writing = false))).flat().sort((a, b) => a - b);
      await Promise.all(watchers);
      expect(holes).to.deep.equal([]);
      expect(all).to.deep.equal(Array.from({ length: 240 }, (_, i) => start + 1 + i));
      expect(await world.odb.revision()).to.equal(start + 240);
    });
  });

  describe('loading', () => {
    it('gives every record of the kinds, by kind as given and name', async () => {
      const [a, b, c] = [world.kind(), world.kind(), world.kind()];
      await world.odb.write(
        [
          create(a, '2'),
          create(b, '1'),
          create(a, '1', { body: { n: 1 } }),
          create(c, '1'),
          create(b, '\u{10000}'),
          create(b, '\uffee'),
        ],
        by,
      );
      const { revision, records } = await world.other.load([b, a, b]);
      expect(records.map((r) => [r.kind, r.name])).to.deep.equal([
        [b, '1'],
        [b, '\uffee'],
        [b, '\u{10000}'],
        [a, '1'],
        [a, '2'],
      ]);
      expect(revision).to.equal(await world.odb.revision());
      expect(records[3]).to.deep.equal(await world.odb.find(a, '1'));
      expect(await world.odb.load([world.kind()])).to.deep.equal({ revision, records: [] });
      expect(await world.odb.load([])).to.deep.equal({ revision, records: [] });
    });

    it('gives all as they were at one revision, whatever is written meanwhile', async () => {
      const [a, b] = [world.kind(), world.kind()];
      await world.odb.write([create(a, 'one', { body: { n: 0 } }), create(b, 'one', { body: { n: 0 } })], by);
      let loading = true;
      const write = async () => {
        for (let n = 1; loading; n++) {
          await world.other.write([update(a, 'one', n, { body: { n } }), update(b, 'one', n, { body: { n } })], by);
        }
      };
      const writing = write();
      try {
        const seen = new Set<number>();
        for (let i = 0; i < 60 || seen.size < 5; i++) {
          const { revision, records } = await world.odb.load([a, b]);
          const [one, two] = records as [Stored, Stored];
          expect(one.body).to.deep.equal(two.body);
          expect(two.revision, 'the revision of the last change is that of the picture').to.equal(revision);
          seen.add(revision);
        }
      } finally {
        loading = false;
        await writing;
      }
    });
  });
}

function testHistory(world: OdbWorld): void {
  const { create, update, remove, by } = world;

  describe('the change log', () => {
    const kinds: string[] = [];
    let changes: readonly Change[] = [];

    before(async () => {
      kinds.push(world.kind(), world.kind());
      const [a, b] = kinds as [string, string];
      const start = await world.odb.revision();
      const tick = async () => {
        const now = Date.now();
        while (Date.now() === now) await new Promise(setImmediate);
      };
      await world.odb.write([create(a, 'Alpha', { after: { url: 'http://x/?a="b"&c=\\d' } })], {
        name: 'ann',
        cid: 'c-1',
      });
      await tick();
      await world.odb.write([create(b, 'Alpha', { after: { text: 'größer\n100%' } })], { name: 'bob', cid: 'c-2' });
      await tick();
      await world.odb.write([update(a, 'Alpha', 1, { before: { old: 'x_y' }, after: {} })], {
        name: 'bob',
        cid: 'c-2',
      });
      await tick();
      await world.odb.write([remove(a, 'Alpha')], { name: 'ann' });
      changes = await world.odb.changes(start, 100);
      expect(changes).to.have.lengthOf(4);
    });

    /** Which of the four changes a query finds, in its order. */
    async function found(query: Partial<HistoryQuery>): Promise<string> {
      const page = await world.other.history({ limit: 1000, ...query });
      const ours = page.items.filter((c) => kinds.includes(c.kind));
      return ours.map((c) => changes.findIndex((known) => known.revision === c.revision) + 1).join('');
    }

    it('is told newest first unless asked otherwise, in pages', async () => {
      const kind = world.kind();
      await world.odb.write(
        Array.from({ length: 25 }, (_, n) => create(kind, `n${n}`)),
        by,
      );
      for (const ascending of [false, true]) {
        const all: number[] = [];
        for (let after: string | null = ''; after !== null; ) {
          const page: Page<Change> = await world.odb.history({
            kind,
            ascending,
            limit: 10,
            ...(after === '' ? {} : { after }),
          });
          expect(page.total).to.be.at.least(25);
          all.push(...page.items.map((c) => c.revision));
          after = page.next;
          await world.other.write([create(world.kind(), 'meanwhile')], by);
        }
        expect(all).to.have.lengthOf(25);
        expect(all).to.deep.equal(all.toSorted((x, y) => (ascending ? x - y : y - x)));
      }
    });

    it('is filtered by kind, name, action, author, call and time', async () => {
      const [a, b] = kinds as [string, string];
      const at = (n: number) => changes[n - 1]?.changedAt as Date;
      expect(await found({})).to.equal('4321');
      expect(await found({ from: at(1), ascending: true })).to.equal('1234');
      expect(await found({ kind: a })).to.equal('431');
      expect(await found({ kind: b })).to.equal('2');
      expect(await found({ name: 'Alpha' })).to.equal('4321');
      expect(await found({ name: 'alpha' })).to.equal('');
      expect(await found({ action: 'create' })).to.equal('21');
      expect(await found({ action: 'remove', kind: a })).to.equal('4');
      expect(await found({ changedBy: 'bob' })).to.equal('32');
      expect(await found({ changedBy: 'BOB' })).to.equal('');
      expect(await found({ cid: 'c-2' })).to.equal('32');
      expect(await found({ kind: a, from: at(2) })).to.equal('43');
      expect(await found({ from: at(2), until: at(4) })).to.equal('32');
      expect(await found({ until: at(1), ascending: true, kind: a })).to.equal('');
      expect(await found({ from: at(1), until: new Date(at(1).getTime() + 1) })).to.equal('1');
      await refusal('INPUT_INVALID', world.odb.history({ from: new Date(Number.NaN), limit: 1 }));
    });

    it('is searched for a part of the name, of what was before, or of what is after', async () => {
      const [a] = kinds as [string];
      expect(await found({ search: 'lpha' })).to.equal('4321');
      expect(await found({ search: 'x_y' })).to.equal('3');
      expect(await found({ search: 'xzy' })).to.equal('');
      expect(await found({ search: '100%' })).to.equal('2');
      expect(await found({ search: 'größer\n1' })).to.equal('2');
      expect(await found({ search: '"b"&c=\\d' })).to.equal('1');
      expect(await found({ search: '"old"' })).to.equal('3');
      expect(await found({ search: "' OR 1 = 1 --" })).to.equal('');
      expect((await world.odb.history({ kind: a, search: 'x_y', limit: 1 })).total).to.equal(1);
    });
  });
}

function testServers(world: OdbWorld): void {
  const { create, by } = world;

  describe('several servers', () => {
    it('start at once on an empty database, and make its tables once', async () => {
      const database = await world.under.database();
      const starts = await Promise.allSettled(Array.from({ length: 3 }, () => openOdb(database)));
      const servers = starts.flatMap((s) => (s.status === 'fulfilled' ? [s.value] : []));
      try {
        expect(starts.flatMap((s) => (s.status === 'rejected' ? [String(s.reason)] : []))).to.deep.equal([]);
        expect(await Promise.all(servers.map(({ odb }) => odb.revision()))).to.deep.equal([0, 0, 0]);
        const writes = servers.map(({ odb }, n) => odb.write([create('kind', `n${n}`)], by));
        const revisions = (await Promise.all(writes)).map(([written]) => written?.revision ?? 0);
        expect(revisions.sort()).to.deep.equal([1, 2, 3]);
      } finally {
        await Promise.all(servers.map((server) => server.stop()));
        await database.drop();
      }
    });

    it('find what the one before kept, and have no problem', async () => {
      const database = await world.under.database();
      let server: OdbServer | null = null;
      try {
        server = await openOdb(database);
        await server.odb.write([create('kind', 'kept', { body: { n: 1 }, after: { n: 1 } })], by);
        const [loaded, log] = [await server.odb.load(['kind']), await server.odb.history({ limit: 10 })];
        await server.stop();
        server = await openOdb(database);
        expect(server.odb.problem).to.equal(null);
        expect(await server.odb.load(['kind'])).to.deep.equal(loaded);
        expect(await server.odb.history({ limit: 10 })).to.deep.equal(log);
      } finally {
        await server?.stop();
        await database.drop();
      }
    });

    it('are refused after stop with ODB_UNAVAILABLE', async () => {
      const database = await world.under.database();
      const { odb, stop } = await openOdb(database);
      await stop();
      const ends = await Promise.allSettled([
        odb.find('kind', 'x'),
        odb.write([create('kind', 'x')], by),
        odb.revision(),
      ]);
      expect(ends.map((e) => (e.status === 'rejected' ? e.reason.code : 'done'))).to.deep.equal(
        Array(3).fill('ODB_UNAVAILABLE'),
      );
      await database.drop();
    });
  });
}

function line(
  revision: number,
  action: Change['action'],
  kind: string,
  version: number,
  changedBy: string,
  cid: string | null,
  before: unknown,
  after: unknown,
) {
  return { revision, action, kind, name: 'one', version, changedAt: null, changedBy, cid, before, after };
}
