/** The contract kit of the odb port: every promise of core/ports/odb.ts, on a real database. */
import { expect } from 'chai';
import type { Odb, Page, RecordQuery, Stored, Write } from '../../core/ports/odb.ts';
import { testOdbChanges } from './odb-changes.ts';
import { testOdbEffects } from './odb-effects.ts';
import { testOdbLeases } from './odb-leases.ts';
import { testOdbModel } from './odb-model.ts';
import { testOdbRuns } from './odb-runs.ts';
import { type OdbUnderTest, OdbWorld, refusal } from './odb-world.ts';

export type { OdbDatabase, OdbUnderTest } from './odb-world.ts';

/** Texts that databases like to take for each other, or to change. */
const NAMES = [
  'a',
  'A',
  'a ',
  ' a',
  'b',
  'á',
  'ä',
  'a\u0308',
  'ą',
  'ａ',
  'ß',
  'ss',
  'i',
  'I',
  'ı',
  'İ',
  '%',
  '_',
  '\\',
  '\\%',
  "'",
  "''",
  '"',
  '`',
  '$1',
  '$$',
  ':name',
  '?',
  '[name]',
  '{"a":1}',
  '-- ',
  '/*',
  'null',
  'NULL',
  '0',
  '00',
  '1e2',
  'line\nbreak',
  'tab\t',
  '😀',
  '👩‍👩‍👧',
  '\uffff',
  '\u{10000}',
  '\u200b',
  '__proto__',
  'constructor',
];

export function testOdb(under: OdbUnderTest): void {
  describe(`the odb contract: ${under.name}`, function () {
    this.timeout(60_000);
    const world = new OdbWorld(under);
    before(() => world.open());
    after(() => world.close());
    testRecords(world);
    testReferences(world);
    testClaims(world);
    testLists(world);
    testOdbChanges(world);
    testOdbEffects(world);
    testOdbLeases(world);
    testOdbRuns(world);
    testOdbModel(world);
  });
}

function testRecords(world: OdbWorld): void {
  const { create, update, remove, by } = world;

  describe('records', () => {
    it('keeps what was created, at version 1, for every server', async () => {
      const kind = world.kind();
      const earlier = Date.now();
      const [written] = await world.odb.write([create(kind, 'one', { body: { n: 1, list: [null, 'x'] } })], by);
      const found = (await world.other.find(kind, 'one')) as Stored;
      expect(found).to.include({ kind, name: 'one', version: 1, changedBy: by.name, revision: written?.revision });
      expect(found.body).to.deep.equal({ n: 1, list: [null, 'x'] });
      expect(written).to.deep.equal({
        kind,
        name: 'one',
        version: 1,
        revision: found.revision,
        changedAt: found.changedAt,
      });
      expect(found.changedAt).to.be.instanceOf(Date);
      expect(found.changedAt.getTime()).to.be.within(earlier, Date.now());
    });

    it('finds nothing where there is nothing', async () => {
      const kind = world.kind();
      expect(await world.odb.find(kind, 'one')).to.equal(null);
      expect(await world.odb.pick(kind, ['one', 'two'])).to.deep.equal([]);
      expect(await world.odb.list(kind, { limit: 10 })).to.deep.equal({ items: [], next: null, total: 0 });
      expect(await world.odb.referrers(kind, 'one')).to.deep.equal([]);
      for (const name of ['', 'a\0b', 'x'.repeat(201), '\ud800']) {
        expect(await world.odb.find(kind, name), JSON.stringify(name)).to.equal(null);
      }
    });

    it('counts one version more with each update, and gives each a revision', async () => {
      const kind = world.kind();
      const made = await world.odb.write([create(kind, 'one', { body: { n: 1 } })], by);
      const first = await world.odb.write([update(kind, 'one', 1, { body: { n: 2 } })], by);
      const second = await world.other.write([update(kind, 'one', 2, { body: {} })], { name: 'someone else' });
      expect([made, first, second].map((w) => w[0]?.version)).to.deep.equal([1, 2, 3]);
      expect(second[0]?.revision).to.equal((made[0]?.revision ?? 0) + 2);
      expect(await world.odb.find(kind, 'one')).to.deep.include({ version: 3, body: {}, changedBy: 'someone else' });
    });

    it('removes, and begins at version 1 again', async () => {
      const kind = world.kind();
      await world.odb.write([create(kind, 'one'), create(kind, 'two')], by);
      expect((await world.odb.write([remove(kind, 'one')], by))[0]).to.include({ name: 'one', version: 0 });
      await world.odb.write([remove(kind, 'two', 1)], by);
      expect(await world.odb.find(kind, 'one')).to.equal(null);
      expect((await world.odb.write([create(kind, 'one')], by))[0]?.version).to.equal(1);
    });

    it('refuses to create what is there: RECORD_DUPLICATE', async () => {
      const kind = world.kind();
      await world.odb.write([create(kind, 'one', { body: { mine: true } })], by);
      await refusal('RECORD_DUPLICATE', world.other.write([create(kind, 'one')], by), "'one'");
      expect((await world.odb.find(kind, 'one'))?.body).to.deep.equal({ mine: true });
    });

    it('refuses to change what is not there: RECORD_NOT_FOUND', async () => {
      const kind = world.kind();
      await refusal('RECORD_NOT_FOUND', world.odb.write([update(kind, 'one', 1)], by), "'one'");
      await refusal('RECORD_NOT_FOUND', world.odb.write([remove(kind, 'one')], by), "'one'");
      await refusal('RECORD_NOT_FOUND', world.odb.write([remove(kind, 'one', 1)], by), "'one'");
    });

    it('refuses to change what was changed meanwhile: RECORD_STALE', async () => {
      const kind = world.kind();
      await world.odb.write([create(kind, 'one')], by);
      await world.other.write([update(kind, 'one', 1, { body: { n: 2 } })], by);
      for (const version of [1, 3]) {
        await refusal('RECORD_STALE', world.odb.write([update(kind, 'one', version)], by), "'one'");
        await refusal('RECORD_STALE', world.odb.write([remove(kind, 'one', version)], by), "'one'");
      }
      expect(await world.odb.find(kind, 'one')).to.deep.include({ version: 2, body: { n: 2 } });
    });

    it('lets one of many win who change the same at once', async () => {
      const kind = world.kind();
      await world.odb.write([create(kind, 'one')], by);
      const tries = Array.from({ length: 12 }, (_, n) =>
        (n % 2 === 0 ? world.odb : world.other).write([update(kind, 'one', 1, { body: { n } })], by).then(
          () => n,
          (error) => error.code,
        ),
      );
      const ends = await Promise.all(tries);
      const won = ends.filter((end) => typeof end === 'number');
      expect(won).to.have.lengthOf(1);
      expect(ends.filter((end) => end === 'RECORD_STALE')).to.have.lengthOf(11);
      expect(await world.odb.find(kind, 'one')).to.deep.include({ version: 2, body: { n: won[0] } });
    });

    it('picks those of the names that are there', async () => {
      const kind = world.kind();
      const names = Array.from({ length: 1500 }, (_, i) => `n${i}`);
      await world.odb.write(
        names.map((name, n) => create(kind, name, { body: { n } })),
        by,
      );
      const wanted = [...names.slice(100, 1400), 'absent', 'n100'];
      const picked = await world.other.pick(kind, wanted);
      expect(picked.map((r) => r.name).sort()).to.deep.equal(names.slice(100, 1400).sort());
      expect(picked.every((r) => r.name === `n${r.body['n']}`)).to.equal(true);
      expect(await world.odb.pick(kind, [])).to.deep.equal([]);
    });

    it('takes names that compare exactly, and gives them back as they were', async () => {
      const kind = world.kind();
      await world.odb.write(
        NAMES.map((name, n) => create(kind, name, { body: { n }, fields: { f: name }, claims: [`${kind} ${name}`] })),
        by,
      );
      for (const [n, name] of NAMES.entries()) {
        const found = await world.other.find(kind, name);
        expect(found, JSON.stringify(name)).to.deep.include({ name, body: { n } });
        const listed = await world.odb.list(kind, { filter: { f: name }, limit: 10 });
        expect(
          listed.items.map((r) => r.name),
          JSON.stringify(name),
        ).to.deep.equal([name]);
      }
      expect((await world.other.pick(kind, NAMES)).length).to.equal(NAMES.length);
      const { records } = await world.odb.load([kind]);
      expect(records.map((r) => r.name)).to.deep.equal(byCodePoints(NAMES));
    });

    it('takes names of 200 characters, and refuses what it could not keep: RECORD_INVALID', async () => {
      const kind = world.kind();
      for (const name of ['x'.repeat(200), 'ä'.repeat(200), '😀'.repeat(200)]) {
        await world.odb.write([create(kind, name)], by);
        expect((await world.odb.find(kind, name))?.name).to.equal(name);
      }
      for (const name of ['', 'x'.repeat(201), 'a\0b', '\ud83d']) {
        const error = await refusal('RECORD_INVALID', world.odb.write([create(kind, name)], by));
        expect(error.problems?.[0]?.path).to.equal('/writes/0/name');
      }
      const long = create(kind, 'one', { fields: { f: 'x'.repeat(201) } });
      await refusal('RECORD_INVALID', world.odb.write([long], by));
      expect((await world.odb.load([kind])).records).to.have.lengthOf(3);
    });

    it('keeps bodies as they are: any text, a megabyte, deep', async () => {
      const kind = world.kind();
      const deep = Array.from({ length: 200 }).reduce<unknown>((inner) => ({ inner: [inner] }), 'core');
      const bodies: Record<string, unknown>[] = [
        {},
        { '': '', ' ': ' ', empty: [[], {}, null, false, 0] },
        { text: NAMES.join(' '), nul: 'a\0b\u0001', half: '\ud800 \udfff', quotes: `'"\`\\` },
        { numbers: [0, -1, 1.5, 1e300, 5e-324, Number.MAX_SAFE_INTEGER, 0.1] },
        { large: 'Zwölf Boxkämpfer 😀 '.repeat(52_000) },
        { deep },
        { key: Object.fromEntries(NAMES.filter((name) => name !== '__proto__').map((name) => [name, name])) },
      ];
      await world.odb.write(
        bodies.map((body, n) => create(kind, `n${n}`, { body, before: body, after: [body] })),
        by,
      );
      for (const [n, body] of bodies.entries()) {
        expect((await world.other.find(kind, `n${n}`))?.body, `body ${n}`).to.deep.equal(body);
      }
      const changes = (await world.odb.history({ kind, limit: 100, ascending: true })).items;
      expect(changes.map((c) => c.before)).to.deep.equal(bodies);
      expect(changes.map((c) => c.after)).to.deep.equal(bodies.map((body) => [body]));
    });
  });

  describe('a batch', () => {
    it('is done in its order, each change with a revision of its own', async () => {
      const kind = world.kind();
      const before = await world.odb.revision();
      const written = await world.odb.write(
        [
          create(kind, 'one', { body: { n: 1 } }),
          update(kind, 'one', 1, { body: { n: 2 } }),
          create(kind, 'two'),
          remove(kind, 'two'),
          create(kind, 'two', { body: { again: true } }),
        ],
        by,
      );
      expect(written.map((w) => w.version)).to.deep.equal([1, 2, 1, 0, 1]);
      expect(written.map((w) => w.revision)).to.deep.equal([1, 2, 3, 4, 5].map((n) => before + n));
      expect(await world.odb.revision()).to.equal(before + 5);
      expect(await world.odb.find(kind, 'one')).to.deep.include({ version: 2, body: { n: 2 }, revision: before + 2 });
      expect(await world.odb.find(kind, 'two')).to.deep.include({ version: 1, body: { again: true } });
    });

    it('is done as a whole or not at all, whatever is refused in it', async () => {
      const kind = world.kind();
      await world.odb.write([create(kind, 'there', { claims: [`${kind} claim`] })], by);
      const before = await world.odb.revision();
      const last: readonly [string, Write][] = [
        ['RECORD_DUPLICATE', create(kind, 'there')],
        ['RECORD_NOT_FOUND', update(kind, 'absent', 1)],
        ['RECORD_STALE', update(kind, 'there', 7)],
        ['RECORD_TAKEN', create(kind, 'thief', { claims: [`${kind} claim`] })],
        ['RECORD_DANGLING', create(kind, 'lost', { references: [{ kind, name: 'absent' }] })],
        ['RECORD_INVALID', create(kind, 'a\0b')],
      ];
      for (const [code, write] of last) {
        const batch = [create(kind, 'one'), create(kind, 'two', { fields: { f: 'x' } }), remove(kind, 'two'), write];
        await refusal(code, world.odb.write(batch, by));
      }
      expect((await world.odb.load([kind])).records.map((r) => r.name)).to.deep.equal(['there']);
      expect(await world.odb.revision()).to.equal(before);
      expect((await world.odb.history({ kind, limit: 10 })).total).to.equal(1);
    });

    it('may be empty, and changes nothing then', async () => {
      const before = await world.odb.revision();
      expect(await world.odb.write([], by)).to.deep.equal([]);
      expect(await world.odb.revision()).to.equal(before);
    });

    it('may be large', async () => {
      const kind = world.kind();
      const many = Array.from({ length: 3000 }, (_, n) =>
        create(kind, `n${n}`, {
          body: { n },
          fields: { group: `g${n % 7}`, even: n % 2 === 0 ? 'yes' : '' },
          claims: [`${kind} ${n}`],
          references: [{ kind, name: `n${(n + 1) % 3000}` }],
        }),
      );
      await world.odb.write(many, by);
      expect((await world.odb.list(kind, { filter: { group: 'g3', even: 'yes' }, limit: 1 })).total).to.equal(214);
      expect(await world.odb.referrers(kind, 'n0')).to.deep.equal([{ kind, name: 'n2999' }]);
      await world.odb.write(
        many.map(({ name }) => remove(kind, name)),
        by,
      );
      expect((await world.odb.load([kind])).records).to.deep.equal([]);
    });
  });
}

function testReferences(world: OdbWorld): void {
  const { create, update, remove, by } = world;

  describe('references', () => {
    it('tells who refers to a record, by kind and name', async () => {
      const [a, b] = [world.kind(), world.kind()];
      const references = [
        { kind: a, name: 'target' },
        { kind: a, name: 'target' },
      ];
      await world.odb.write([create(a, 'target'), create(b, 'z', { references }), create(b, 'y', { references })], by);
      await world.odb.write([create(a, 'x', { references })], by);
      const all = [
        { kind: a, name: 'x' },
        { kind: b, name: 'y' },
        { kind: b, name: 'z' },
      ];
      expect(await world.other.referrers(a, 'target')).to.deep.equal(all);
      await world.odb.write([update(b, 'y', 1), remove(b, 'z')], by);
      expect(await world.other.referrers(a, 'target')).to.deep.equal(all.slice(0, 1));
    });

    it('rehearse() refuses what write() would refuse, and changes nothing, also of what it would take', async () => {
      const kind = world.kind();
      await world.odb.write([create(kind, 'one', { claims: [`${kind} claim`] })], by);
      const before = await world.odb.revision();
      await refusal('RECORD_TAKEN', world.odb.rehearse([create(kind, 'two', { claims: [`${kind} claim`] })], by));
      await refusal('RECORD_STALE', world.odb.rehearse([update(kind, 'one', 7)], by));
      await refusal(
        'RECORD_DANGLING',
        world.odb.rehearse([create(kind, 'two', { references: [{ kind, name: 'x' }] })], by),
      );
      await world.odb.rehearse([update(kind, 'one', 1), create(kind, 'two', { claims: [`${kind} other`] })], by);
      expect(await world.odb.revision()).to.equal(before);
      expect([(await world.odb.find(kind, 'one'))?.version, await world.odb.find(kind, 'two')]).to.deep.equal([
        1,
        null,
      ]);
      await world.other.write([create(kind, 'three', { claims: [`${kind} other`] })], by);
    });
    it('refuses a reference that leads nowhere: RECORD_DANGLING', async () => {
      const kind = world.kind();
      const references = [{ kind, name: 'absent' }];
      await refusal('RECORD_DANGLING', world.odb.write([create(kind, 'one', { references })], by), "'absent'");
      await world.odb.write([create(kind, 'one')], by);
      await refusal('RECORD_DANGLING', world.odb.write([update(kind, 'one', 1, { references })], by), "'absent'");
      const nearly = [{ kind, name: 'ONE' }];
      await refusal('RECORD_DANGLING', world.odb.write([create(kind, 'two', { references: nearly })], by), "'ONE'");
    });

    it('refuses to remove what is referred to, and tells by what: RECORD_IN_USE', async () => {
      const kind = world.kind();
      await world.odb.write(
        [create(kind, 'target'), create(kind, 'user', { references: [{ kind, name: 'target' }] })],
        by,
      );
      const error = await refusal('RECORD_IN_USE', world.other.write([remove(kind, 'target')], by), "'target'");
      expect(error.message).to.include(`${kind} 'user'`);
      await world.odb.write([update(kind, 'user', 1)], by);
      await world.odb.write([remove(kind, 'target')], by);
    });

    it('looks at references as the whole batch left them', async () => {
      const kind = world.kind();
      const to = (name: string) => ({ references: [{ kind, name }] });
      await world.odb.write([create(kind, 'circle-1', to('circle-2')), create(kind, 'circle-2', to('circle-1'))], by);
      await world.odb.write([create(kind, 'self', to('self'))], by);
      await refusal('RECORD_IN_USE', world.odb.write([remove(kind, 'circle-1')], by));
      await world.odb.write([remove(kind, 'circle-1'), remove(kind, 'circle-2'), remove(kind, 'self')], by);
      await world.odb.write([create(kind, 'old'), create(kind, 'user', to('old'))], by);
      await world.odb.write([remove(kind, 'old'), create(kind, 'new'), update(kind, 'user', 1, to('new'))], by);
      await world.odb.write([remove(kind, 'new'), create(kind, 'new')], by);
      expect(await world.odb.referrers(kind, 'new')).to.deep.equal([{ kind, name: 'user' }]);
    });

    it('never leaves one that leads nowhere, however many change at once', async () => {
      const kind = world.kind();
      for (let round = 0; round < 5; round++) {
        const target = `target-${round}`;
        await world.odb.write([create(kind, target)], by);
        const references = [{ kind, name: target }];
        const ends = await Promise.allSettled([
          world.odb.write([remove(kind, target)], by),
          world.other.write([create(kind, `user-${round}`, { references })], by),
        ]);
        expect(ends.filter((end) => end.status === 'fulfilled')).to.have.lengthOf(1);
      }
    });
  });
}

function testClaims(world: OdbWorld): void {
  const { create, update, remove, by } = world;

  describe('claims', () => {
    it('refuses what another record claims, and tells which: RECORD_TAKEN', async () => {
      const [kind, other] = [world.kind(), world.kind()];
      const claims = [`${kind} GET /orders`];
      await world.odb.write([create(kind, 'one', { claims })], by);
      const error = await refusal('RECORD_TAKEN', world.other.write([create(other, 'two', { claims })], by), "'one'");
      expect(error.message).to.include('GET /orders');
      await world.odb.write([create(other, 'two')], by);
      await refusal('RECORD_TAKEN', world.other.write([update(other, 'two', 1, { claims })], by));
      await refusal(
        'RECORD_TAKEN',
        world.odb.write([create(kind, 'x', { claims: ['c'] }), create(kind, 'y', { claims: ['c'] })], by),
      );
    });

    it('lets go of them when the record lets go, or goes', async () => {
      const kind = world.kind();
      const claims = [`${kind} a`, `${kind} a`, `${kind} b`];
      await world.odb.write([create(kind, 'one', { claims })], by);
      await world.odb.write([update(kind, 'one', 1, { claims: [`${kind} b`] })], by);
      await world.odb.write([create(kind, 'two', { claims: [`${kind} a`] })], by);
      await refusal('RECORD_TAKEN', world.odb.write([create(kind, 'three', { claims: [`${kind} b`] })], by));
      await world.odb.write([remove(kind, 'one')], by);
      await world.odb.write([create(kind, 'three', { claims: [`${kind} b`] })], by);
    });

    it('lets a batch hand them over, in either order', async () => {
      const kind = world.kind();
      const mine = (name: string) => ({ claims: [`${kind} ${name}`] });
      await world.odb.write([create(kind, 'one', mine('a')), create(kind, 'two', mine('b'))], by);
      await world.odb.write([update(kind, 'one', 1, mine('b')), update(kind, 'two', 1, mine('a'))], by);
      await world.odb.write([create(kind, 'three', mine('a')), remove(kind, 'two')], by);
      await refusal('RECORD_TAKEN', world.odb.write([create(kind, 'four', mine('a'))], by), "'three'");
    });

    it('takes any text of any length, and compares it exactly', async () => {
      const kind = world.kind();
      const long = 'x'.repeat(20_000);
      const claims = [...NAMES, '', `${long}1`, `${long}2`, 'a\0b', '\ud800', '\ud801'].map((c) => `${kind} ${c}`);
      await world.odb.write([create(kind, 'one', { claims })], by);
      for (const claim of claims.slice(-6)) {
        await refusal('RECORD_TAKEN', world.odb.write([create(kind, 'two', { claims: [claim] })], by));
      }
    });
  });
}

function testLists(world: OdbWorld): void {
  const { create, update, remove, by } = world;
  const names = (page: Page<Stored>) => page.items.map((record) => record.name);

  /** All pages, one after the other; `meanwhile` is done between them. */
  async function pages(odb: Odb, kind: string, query: RecordQuery, meanwhile?: (n: number) => Promise<unknown>) {
    const all: string[] = [];
    for (let next: string | undefined, n = 0; ; n++) {
      const page: Page<Stored> = await odb.list(kind, { ...query, ...(next === undefined ? {} : { after: next }) });
      expect(page.items.length).to.be.at.most(query.limit);
      all.push(...names(page));
      if (page.next === null) return all;
      expect(page.items).to.have.lengthOf(query.limit);
      next = page.next;
      await meanwhile?.(n);
    }
  }

  describe('lists', () => {
    it('are sorted by name, exactly, and told in pages', async () => {
      const kind = world.kind();
      await world.odb.write(
        NAMES.map((name) => create(kind, name)),
        by,
      );
      const sorted = byCodePoints(NAMES);
      for (const limit of [1, 7, NAMES.length, 1000]) {
        expect(await pages(world.odb, kind, { limit }), `pages of ${limit}`).to.deep.equal(sorted);
        expect(await pages(world.other, kind, { limit, descending: true })).to.deep.equal(sorted.toReversed());
      }
      const page = await world.odb.list(kind, { limit: NAMES.length });
      expect(page).to.include({ next: null, total: NAMES.length });
    });

    it('are sorted by a field, the absent first, those of one value by name', async () => {
      const kind = world.kind();
      const group: Record<string, string> = {
        a: 'x',
        b: '',
        c: 'B',
        d: 'x',
        e: 'ä',
        f: 'b',
        h: 'x',
        i: '😀',
        j: '\uffee',
      };
      await world.odb.write(
        ['g', ...Object.keys(group)].map((name) =>
          create(kind, name, { fields: name === 'g' ? {} : { f: group[name] ?? '' } }),
        ),
        by,
      );
      for (const limit of [1, 2, 3, 100]) {
        const up = await pages(world.odb, kind, { sort: 'f', limit });
        expect(up.join(''), `pages of ${limit}`).to.equal('bgcfadhejI'.replace('I', 'i'));
        const down = await pages(world.odb, kind, { sort: 'f', descending: true, limit });
        expect(down.join(''), `pages of ${limit}`).to.equal('ijeadhfcbg');
        expect((await pages(world.odb, kind, { sort: 'none', limit })).join('')).to.equal('abcdefghij');
      }
    });

    it('are sorted by the time of the last change', async () => {
      const kind = world.kind();
      for (const name of ['c', 'a', 'b']) {
        await world.odb.write([create(kind, name), create(kind, `${name}2`)], by);
        const { changedAt } = (await world.odb.find(kind, name)) as Stored;
        while (Date.now() <= changedAt.getTime()) await new Promise(setImmediate);
      }
      for (const limit of [1, 2, 5]) {
        const up = await pages(world.odb, kind, { sort: 'changedAt', limit });
        expect(up).to.deep.equal(['c', 'c2', 'a', 'a2', 'b', 'b2']);
        const down = await pages(world.odb, kind, { sort: 'changedAt', descending: true, limit });
        expect(down).to.deep.equal(['b', 'b2', 'a', 'a2', 'c', 'c2']);
      }
    });

    it('are stable: what stays is on exactly one page, whatever comes and goes meanwhile', async () => {
      for (const query of [{}, { descending: true }, { sort: 'f' }, { sort: 'f', descending: true }]) {
        const kind = world.kind();
        const stays = Array.from({ length: 30 }, (_, n) => `n${String(n).padStart(2, '0')}`);
        const fields = (name: string) => ({ fields: { f: `f${Number(name.slice(1, 3)) % 4}` } });
        await world.odb.write(
          stays.flatMap((name) => [create(kind, name, fields(name)), create(kind, `${name}-goes`, fields(name))]),
          by,
        );
        const got = await pages(world.odb, kind, { ...query, limit: 4 }, async (n) => {
          const going = stays.slice(n * 3, n * 3 + 3).map((name) => remove(kind, `${name}-goes`));
          await world.other.write(
            [...going, create(kind, `n00-${n}`, fields('n00')), create(kind, `n29-${n}`, fields('n29'))],
            by,
          );
        });
        const stayed = got.filter((name) => stays.includes(name));
        expect(stayed.toSorted(), JSON.stringify(query)).to.deep.equal(stays);
      }
    });

    it('are filtered by fields, exactly; an empty value is an absent one', async () => {
      const kind = world.kind();
      await world.odb.write(
        [
          create(kind, 'a', { fields: { f: 'x', g: '1' } }),
          create(kind, 'b', { fields: { f: 'X', g: '1' } }),
          create(kind, 'c', { fields: { f: '', g: '1' } }),
          create(kind, 'd', { fields: { f: 'x ', g: '2' } }),
        ],
        by,
      );
      const filtered = async (filter: Record<string, string>) => {
        const page = await world.odb.list(kind, { filter, limit: 10 });
        expect(page.total).to.equal(page.items.length);
        return names(page).join('');
      };
      expect(await filtered({ f: 'x' })).to.equal('a');
      expect(await filtered({ g: '1' })).to.equal('abc');
      expect(await filtered({ f: 'X', g: '1' })).to.equal('b');
      expect(await filtered({ f: '' })).to.equal('c');
      expect(await filtered({ none: '', g: '2' })).to.equal('d');
      for (const value of ['%', '_', 'x%', 'a\0b', '\ud800', 'x'.repeat(300)])
        expect(await filtered({ f: value })).to.equal('');
      await world.odb.write([update(kind, 'a', 1, { fields: { f: 'new' } })], by);
      expect(await filtered({ f: 'x' })).to.equal('');
      expect(await filtered({ f: 'new' })).to.equal('a');
    });

    it('are searched for a part of the name, ASCII letters in any case', async () => {
      const kind = world.kind();
      const all = [
        'Orders',
        'border',
        '100%',
        'a_b',
        'aXb',
        'back\\slash',
        'Ärger',
        'ärger',
        "it's",
        'a.b',
        'STRASSE',
        'straße',
      ];
      await world.odb.write(
        all.map((name) => create(kind, name)),
        by,
      );
      const found = async (search: string) => {
        const page = await world.other.list(kind, { search, limit: 100 });
        expect(page.total).to.equal(page.items.length);
        return names(page);
      };
      expect(await found('ORDER')).to.deep.equal(['Orders', 'border']);
      expect(await found('orders')).to.deep.equal(['Orders']);
      expect(await found('%')).to.deep.equal(['100%']);
      expect(await found('a_b')).to.deep.equal(['a_b']);
      expect(await found('_')).to.deep.equal(['a_b']);
      expect(await found('\\')).to.deep.equal(['back\\slash']);
      expect(await found("'")).to.deep.equal(["it's"]);
      expect(await found('Ä')).to.deep.equal(['Ärger']);
      expect(await found('ä')).to.deep.equal(['ärger']);
      expect(await found('ss')).to.deep.equal(['STRASSE']);
      expect(await found('a\0b')).to.deep.equal([]);
      expect(await found('')).to.have.lengthOf(all.length);
      expect(await pages(world.odb, kind, { search: 'r', sort: 'f', limit: 2 })).to.have.lengthOf(6);
    });

    it('refuse a limit or a next that they did not give: INPUT_INVALID', async () => {
      const kind = world.kind();
      await world.odb.write(
        ['a', 'b', 'c'].map((name) => create(kind, name)),
        by,
      );
      for (const limit of [0, -1, 1.5, 1001, Number.NaN]) {
        await refusal('INPUT_INVALID', world.odb.list(kind, { limit }));
        await refusal('INPUT_INVALID', world.odb.history({ limit }));
      }
      const { next } = await world.odb.list(kind, { limit: 1 });
      const log = await world.odb.history({ kind, limit: 1 });
      const json = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
      const wrong = [
        '',
        'x',
        '!',
        `${next}x`,
        json(null),
        json({}),
        json([]),
        json(['+name']),
        json(['+name', 1]),
        '\0',
      ];
      for (const after of [...wrong, String(log.next)]) {
        await refusal('INPUT_INVALID', world.odb.list(kind, { limit: 1, after }));
      }
      for (const after of [...wrong, String(next)])
        await refusal('INPUT_INVALID', world.odb.history({ limit: 1, after }));
      await refusal('INPUT_INVALID', world.odb.list(kind, { limit: 1, sort: 'changedAt', after: String(next) }));
      await refusal('INPUT_INVALID', world.odb.list(kind, { limit: 1, descending: true, after: String(next) }));
    });
  });
}

/** JavaScript's own order is by UTF-16 units. */
function byCodePoints(texts: readonly string[]): string[] {
  return texts.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}
