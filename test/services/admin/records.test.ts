/** What may be done to the records of each kind, over the network and with a real database. */
import { expect } from 'chai';
import { KINDS } from '../../fixtures/kinds.ts';
import { moduleOf } from '../../fixtures/module.ts';
import { type AdminServer, type Answer, adminServer } from './server.ts';

type Fields = Readonly<Record<string, unknown>>;

interface Row {
  readonly name: string;
  readonly changedAt: string;
  readonly definition: Fields;
}

/** What a test needs to know of a kind. */
interface Sample {
  /** A good definition but for its name; no two of one kind have to fit together. */
  make(index: number): Fields;
  /** Fields to change, each to another value. */
  readonly changes: Fields;
  /** Changes that are wrong, and where. */
  readonly wrong: readonly { readonly changes: Fields; readonly path: string }[];
  /** A field to list by: that of samples, and how many of the first twelve have it. */
  readonly filter?: Readonly<Record<string, string>>;
  readonly filtered?: number;
  /** Characters that its names cannot have. */
  readonly without?: string;
  /** What names must be, where they cannot be any text. */
  readonly named?: RegExp;
}

const SAMPLES: Readonly<Record<string, Sample>> = {
  setting: {
    make: (i) => ({ value: { index: i, texts: ['a', null] } }),
    changes: { value: [1, 2], description: 'Changed' },
    wrong: [{ changes: { description: 5 }, path: '/description' }],
  },
  dictionary: {
    make: (i) => ({ entries: { EUR: 'euro', index: String(i), 'a/b~c': 'odd key' } }),
    changes: { entries: { CHF: 'franc' } },
    wrong: [
      { changes: { entries: 5 }, path: '/entries' },
      { changes: { entries: { 'a/b~c': 5 } }, path: '/entries/a~1b~0c' },
    ],
  },
  security: {
    make: (i) => ({ guard: 'apikey', definition: { keys: [{ name: 'shop', key: `a-key-of-sixteen-${i}` }] } }),
    changes: { definition: { keys: [{ name: 'web', key: 'another-key-of-sixteen' }] } },
    wrong: [
      { changes: { guard: 'apikye' }, path: '/guard' },
      { changes: { definition: { keys: 'none' } }, path: '/definition/keys' },
      { changes: { definition: { kesy: [] } }, path: '/definition/kesy' },
    ],
    filter: { guard: 'apikey' },
    filtered: 12,
  },
  connection: {
    make: (i) => ({ transport: 'rest', options: { url: 'http://127.0.0.1:9' }, active: i % 3 === 0 }),
    changes: { active: false, options: { url: 'http://127.0.0.1:9/below', timeoutMs: 1000 } },
    wrong: [
      { changes: { transport: 'rset' }, path: '/transport' },
      { changes: { options: { url: 'ftp://x' } }, path: '/options/url' },
      { changes: { options: { url: 'http://x', pool: { connections: 'many' } } }, path: '/options/pool/connections' },
      { changes: { active: 'yes' }, path: '/active' },
    ],
    filter: { active: 'true' },
    filtered: 4,
  },
  module: {
    make: (i) => ({ language: i % 2 === 0 ? 'typescript' : 'javascript', source: moduleOf(`shop.s${i}`) }),
    changes: { source: moduleOf('shop.other'), language: 'javascript' },
    wrong: [
      { changes: { language: 'basic' }, path: '/language' },
      { changes: { source: 'export default 2;' }, path: '/source' },
    ],
    filter: { language: 'typescript' },
    filtered: 6,
    named: /^a\.b_c-1$/,
  },
  balancer: {
    make: (i) => ({ algorithm: i % 2 === 0 ? 'roundrobin' : 'leastconn', retries: i }),
    changes: { algorithm: 'uri', maxConnections: 500, timeouts: { serverMs: 5000 } },
    wrong: [
      { changes: { algorithm: 'leastcon' }, path: '/algorithm' },
      { changes: { binds: [] }, path: '/binds' },
      { changes: { tcp: [{ name: 'a b', port: 1, serverPort: 2 }] }, path: '/tcp/0/name' },
    ],
    filter: { algorithm: 'leastconn' },
    filtered: 6,
  },
  channel: {
    make: (i) => ({
      transport: 'rest',
      address: { method: 'POST', path: `/samples/${i}` },
      service: 'demo.hello',
      ...(i % 4 === 0 ? { active: false } : {}),
    }),
    changes: { address: { method: 'PUT', path: '/samples/elsewhere' }, timeoutMs: 5000 },
    wrong: [
      { changes: { transport: 'rset' }, path: '/transport' },
      { changes: { service: 'demo.helo' }, path: '/service' },
      { changes: { format: 'jsn' }, path: '/format' },
      { changes: { address: { path: 'no-slash' } }, path: '/address/path' },
      { changes: { address: { path: '/x', methd: 'GET' } }, path: '/address/methd' },
      { changes: { settings: { maxBodyBytes: -1 } }, path: '/settings/maxBodyBytes' },
      { changes: { security: 'nobody knows it' }, path: '/security' },
      { changes: { security: { guard: 'apikey', keys: [{ name: 'a', key: 5 }] } }, path: '/security/keys/0/key' },
      { changes: { timeoutMs: 0 }, path: '/timeoutMs' },
    ],
    filter: { active: 'false' },
    filtered: 3,
  },
  job: {
    make: (i) => ({ service: 'demo.hello', schedule: { everyMs: 3_600_000 }, active: i % 2 === 0 }),
    changes: { schedule: { cron: '0 6 * * 1-5', timeZone: 'Europe/Vienna' }, payload: { name: 'Ada' } },
    wrong: [
      { changes: { schedule: { at: 'tomorrow' } }, path: '/schedule/at' },
      { changes: { schedule: { cron: '0 25 * * *' } }, path: '/schedule/cron' },
      { changes: { schedule: { everyMs: 1000, end: '2001-01-01T00:00:00Z' } }, path: '/schedule/end' },
      { changes: { overlap: 'sometimes' }, path: '/overlap' },
      { changes: { retries: { attempts: 0 } }, path: '/retries/attempts' },
      { changes: { missed: { policy: 'all', limti: 5 } }, path: '/missed/limti' },
      { changes: { removeWhenDone: true, schedule: { cron: '0 5 * * *' } }, path: '/removeWhenDone' },
    ],
    filter: { service: 'demo.hello', active: 'false' },
    filtered: 6,
  },
  user: {
    make: (i) => ({ role: i % 2 === 0 ? 'viewer' : 'operator', password: `password of user ${i}` }),
    changes: { role: 'developer', active: false },
    wrong: [
      { changes: { role: 'god' }, path: '/role' },
      { changes: { password: 'short' }, path: '/password' },
      { changes: { epoch: -1 }, path: '/epoch' },
      { changes: { passwordHash: 'not a hash' }, path: '/passwordHash' },
    ],
    filter: { role: 'viewer' },
    filtered: 6,
    without: ':',
  },
  server: {
    make: (i) => ({ urls: [], version: `1.${i % 2}.0`, startedAt: '2026-01-01T00:00:00.000Z' }),
    changes: { urls: ['http://127.0.0.1:1'], version: '2.0.0' },
    wrong: [{ changes: { startedAt: 'yesterday' }, path: '/startedAt' }],
    filter: { version: '1.1.0' },
    filtered: 6,
  },
};

/** What all engines, file systems and URLs have their own idea of. */
const NAMES = [
  'Grüße, 世界 \u{1f511}',
  `it's "quoted" \`and\` \\escaped\\`,
  "'; DROP TABLE gantry_records; --",
  '100%_of%20it',
  'a/b/../c?d=e&f#g',
  ' spaces around ',
  'Case',
  'case',
  '../../etc/passwd',
  '__proto__',
  'constructor',
  '$sealed',
  'x'.repeat(200),
];

describe('services/admin: records', () => {
  let server: AdminServer;
  const of = (kind: string, verb: string) => `gantry.${kind}.${verb}`;
  const paths = ({ body }: Answer) => (body.errors ?? []).map((one: { path: string }) => one.path);
  const told = ({ status, body }: Answer) => ({ status, code: body.code });

  before(async () => {
    server = await adminServer();
  });
  after(() => server.stop());

  /** Whatever was there before goes, but for what the server needs itself. */
  const empty = async (kind: string) => {
    const { items } = await server.good(of(kind, 'list'), { limit: 1000 });
    for (const { name } of items) {
      if (name !== 'admin' && name !== 'server1') await server.good(of(kind, 'remove'), { name });
    }
  };

  it('has samples of every kind', () => {
    expect(Object.keys(SAMPLES).sort()).to.deep.equal(Object.keys(KINDS).sort());
  });

  it('tells where they are wrong, whatever the key is', async () => {
    const channel = { name: 'odd', transport: 'rest', address: { method: 'GET', path: '/odd' }, service: 'demo.hello' };
    const headers = (value: unknown) => ({ ...channel, settings: { headers: { 'a.b': value, 'c/d~e': value } } });
    expect(paths(await server.ask(of('channel', 'create'), headers(5)))).to.deep.equal([
      ...['/settings/headers/a.b', '/settings/headers/c~1d~0e'],
    ]);
    expect(paths(await server.ask(of('channel', 'create'), headers('x\ny')))).to.deep.equal(['/settings/headers/a.b']);
    const options = { url: 'http://127.0.0.1:1', headers: { 'a.b': 'x\ny' } };
    const connection = { name: 'odd', transport: 'rest', options };
    expect(paths(await server.ask(of('connection', 'create'), connection))).to.deep.equal(['/options/headers/a.b']);
    const records = [{ kind: 'channel', definition: headers(5) }];
    expect(paths(await server.ask('gantry.configuration.apply', { records }))).to.deep.equal([
      '/records/0/definition/settings/headers/a.b',
      '/records/0/definition/settings/headers/c~1d~0e',
    ]);
  });

  for (const [kind, sample] of Object.entries(SAMPLES)) {
    describe(kind, () => {
      const create = (name: string, index = 0) => server.ask(of(kind, 'create'), { name, ...sample.make(index) });
      const get = (name: string) => server.ask(of(kind, 'get'), { name });
      /** Secrets and what comes in place of a password apart, it is given as it was created. */
      const shown = (fields: Fields): Fields => {
        if (kind === 'user') return { ...without(fields, 'password'), passwordHash: '***' };
        if (kind === 'security') {
          const { keys } = fields['definition'] as { keys: { name: string }[] };
          const kept = keys.map(({ name }) => ({ name, keyHash: '***' }));
          return { ...fields, definition: { keys: kept, pepper: '***' } };
        }
        return fields;
      };
      const derived: Readonly<Record<string, string>> = { user: 'epoch', module: 'services', job: 'since' };
      const comparable = (definition: Fields) => without(definition, derived[kind] ?? '');

      beforeEach(() => empty(kind));
      after(() => empty(kind));

      it('is created, read, changed and removed', async () => {
        const created = await create('one');
        expect(created.status, JSON.stringify(created.body)).to.equal(200);
        expect(created.body).to.include({ kind, name: 'one', version: 1, live: true });
        const { body: record } = await get('one');
        expect(record).to.include({ kind, name: 'one', version: 1, changedBy: 'admin' });
        expect(record.changedAt).to.equal(created.body.changedAt);
        expect(comparable(record.definition)).to.deep.equal({ name: 'one', ...shown(sample.make(0)) });

        const { changes } = sample;
        const updated = await server.good(of(kind, 'update'), { name: 'one', version: 1, changes });
        expect(updated).to.include({ kind, name: 'one', version: 2, live: true });
        expect(updated.revision).to.be.greaterThan(created.body.revision);
        const after = (await get('one')).body;
        expect(after.version).to.equal(2);
        const expected = { name: 'one', ...shown({ ...sample.make(0), ...changes }) };
        expect(comparable(after.definition)).to.deep.equal(expected);

        const removed = await server.good(of(kind, 'remove'), { name: 'one', version: 2 });
        expect(removed).to.include({ kind, name: 'one', version: 0, live: true });
        expect(told(await get('one'))).to.deep.equal({ status: 404, code: 'RECORD_NOT_FOUND' });
        const again = await create('one');
        expect(again.body).to.include({ version: 1, live: true });
      });

      it('takes one field away with null, and leaves the others', async () => {
        await create('one');
        const optional = Object.keys(sample.changes).filter((key) => !KINDS[kind]?.schema.required?.includes(key));
        await server.good(of(kind, 'update'), { name: 'one', version: 1, changes: sample.changes });
        const before = (await get('one')).body.definition;
        for (const [i, field] of optional.entries()) {
          await server.good(of(kind, 'update'), { name: 'one', version: 2 + i, changes: { [field]: null } });
        }
        const left = (await get('one')).body.definition;
        expect(comparable(left)).to.deep.equal(comparable(without(before, ...optional)));
      });

      it('is changed only from its latest version', async () => {
        await create('one');
        const change = (version: number) =>
          server.ask(of(kind, 'update'), { name: 'one', version, changes: sample.changes });
        expect((await change(1)).status).to.equal(200);
        for (const version of [1, 3, 99]) {
          const stale = await change(version);
          expect(told(stale)).to.deep.equal({ status: 409, code: 'RECORD_STALE' });
          expect(stale.body.detail).to.include('version 2').and.to.include('admin');
          const removal = await server.ask(of(kind, 'remove'), { name: 'one', version });
          expect(told(removal)).to.deep.equal({ status: 409, code: 'RECORD_STALE' });
        }
        expect((await get('one')).body.version).to.equal(2);
      });

      it('of several changes at once from one version one is made', async () => {
        await create('one');
        const change = () => server.ask(of(kind, 'update'), { name: 'one', version: 1, changes: sample.changes });
        const all = await Promise.all(Array.from({ length: 5 }, change));
        expect(all.map(({ status }) => status).sort()).to.deep.equal([200, 409, 409, 409, 409]);
      });

      it('is there once by its name', async () => {
        await create('one', 1);
        expect(told(await create('one', 2))).to.deep.equal({ status: 409, code: 'RECORD_DUPLICATE' });
        const all = await Promise.all(Array.from({ length: 5 }, () => create('two', 3)));
        expect(all.map(({ status }) => status).sort()).to.deep.equal([200, 409, 409, 409, 409]);
      });

      it('that is missing is 404 with the nearest name', async () => {
        await create('north-station');
        const verbs = {
          get: {},
          remove: {},
          update: { version: 1, changes: sample.changes },
        };
        for (const [verb, input] of Object.entries(verbs)) {
          const missing = await server.ask(of(kind, verb), { name: 'nort-station', ...input });
          expect(told(missing), verb).to.deep.equal({ status: 404, code: 'RECORD_NOT_FOUND' });
          expect(missing.body.detail, verb).to.include("Did you mean 'north-station'?");
        }
      });

      it('has no field that is not known, and none of a wrong type', async () => {
        const unknown = await server.ask(of(kind, 'create'), { name: 'one', ...sample.make(0), nmae: 'x' });
        expect(unknown.status).to.equal(400);
        expect(paths(unknown)).to.deep.equal(['/nmae']);
        for (const { changes, path } of sample.wrong) {
          const wrong = await server.ask(of(kind, 'create'), { name: 'one', ...sample.make(0), ...changes });
          expect(wrong.status, JSON.stringify(changes)).to.equal(400);
          expect(paths(wrong), JSON.stringify(wrong.body)).to.include(path);
        }
        for (const field of ['name', ...(KINDS[kind]?.schema.required ?? [])]) {
          const missing = await server.ask(of(kind, 'create'), without({ name: 'one', ...sample.make(0) }, field));
          expect(missing.status, field).to.equal(400);
          expect(paths(missing), field).to.include(`/${field}`);
        }
        expect((await get('one')).status).to.equal(404);
      });

      it('is changed to nothing that is wrong, and told where in the input of the call', async () => {
        await create('one');
        const change = (changes: object) => server.ask(of(kind, 'update'), { name: 'one', version: 1, changes });
        for (const { changes, path } of [...sample.wrong, { changes: { nmae: 5 }, path: '/nmae' }]) {
          const wrong = await change(changes);
          expect(wrong.status, JSON.stringify(changes)).to.equal(400);
          expect(paths(wrong), JSON.stringify(wrong.body)).to.include(`/changes${path}`);
        }
        const renamed = await change({ name: 'other' });
        expect([renamed.status, paths(renamed)]).to.deep.equal([400, ['/changes/name']]);
        expect((await get('one')).body.version).to.equal(1);
      });

      it('may have any name', async () => {
        const { named = /^/, without: no } = sample;
        const names = ['a.b_c-1', ...NAMES.map((name) => [...name].filter((c) => c !== no).join(''))].filter((name) =>
          named.test(name),
        );
        for (const [i, name] of names.entries()) {
          const created = await create(name, i);
          expect(created.status, `${name}: ${JSON.stringify(created.body)}`).to.equal(200);
          const { body } = await get(name);
          expect([body.name, body.definition.name]).to.deep.equal([name, name]);
        }
        const { items, total } = await server.good(of(kind, 'list'), { limit: 1000 });
        expect(total).to.equal(items.length);
        const there = items.map((one: { name: string }) => one.name);
        expect(there).to.include.members(names);
        for (const name of names) {
          const found = await server.good(of(kind, 'list'), { search: name, limit: 1000 });
          expect(
            found.items.map((one: { name: string }) => one.name),
            name,
          ).to.include(name);
          const update = { name, version: 1, changes: sample.changes };
          if (kind === 'channel') Object.assign(update, { changes: { timeoutMs: 5 } });
          expect((await server.ask(of(kind, 'update'), update)).status, name).to.equal(200);
        }
        for (const name of names) await server.good(of(kind, 'remove'), { name });
      });

      it('may not have a name with control characters, none, or too long a one', async () => {
        for (const name of ['a\nb', 'a\u0000b', '\u007f', '', 'x'.repeat(201), 5, null]) {
          const refused = await server.ask(of(kind, 'create'), { ...sample.make(0), name });
          expect(refused.status, JSON.stringify(name)).to.equal(400);
          expect(paths(refused)).to.deep.equal(['/name']);
        }
      });

      it('is listed in pages, by a part of the name, in an order', async () => {
        for (let i = 0; i < 12; i++) await create(`row-${String(i).padStart(2, '0')}`, i);
        const wanted = Array.from({ length: 12 }, (_, i) => `row-${String(i).padStart(2, '0')}`);
        const walk = async (query: object) => {
          const found: Row[] = [];
          let after: string | undefined;
          for (let pages = 0; pages < 20; pages++) {
            const page = await server.good(of(kind, 'list'), {
              search: 'row-',
              limit: 5,
              ...query,
              ...(after === undefined ? {} : { after }),
            });
            expect(page.total).to.equal(12);
            expect(page.items.length).to.be.at.most(5);
            found.push(...page.items);
            if (page.next === null) return found;
            after = page.next;
          }
          throw new Error('the pages do not end');
        };
        const names = (rows: readonly Row[]) => rows.map(({ name }) => name);
        expect(names(await walk({}))).to.deep.equal(wanted);
        expect(names(await walk({ descending: true }))).to.deep.equal([...wanted].reverse());
        for (const sort of ['changedAt', ...(KINDS[kind]?.fields ?? [])]) {
          const { default: usual } = (KINDS[kind]?.schema.properties[sort] ?? {}) as { default?: unknown };
          for (const descending of [false, true]) {
            const rows = await walk({ sort, descending });
            expect(names(rows).sort(), `${sort} ${descending}`).to.deep.equal(wanted);
            const values = rows.map((row) =>
              String(sort === 'changedAt' ? row.changedAt : (row.definition[sort] ?? usual)),
            );
            const ordered = [...values].sort();
            expect(values, `${sort} ${descending}`).to.deep.equal(descending ? ordered.reverse() : ordered);
          }
        }
        const upper = await server.good(of(kind, 'list'), { search: 'ROW-03' });
        expect([upper.total, upper.items[0].name]).to.deep.equal([1, 'row-03']);
        const percent = await server.good(of(kind, 'list'), { search: 'row%' });
        expect(percent.total).to.equal(0);
      });

      it('is listed by its fields, and by no others', async () => {
        for (let i = 0; i < 12; i++) await create(`row-${i}`, i);
        if (sample.filter !== undefined) {
          const query = { filter: sample.filter, search: 'row-' };
          const { total } = await server.good(of(kind, 'list'), query);
          expect(total).to.equal(sample.filtered);
          const [field] = Object.keys(sample.filter);
          const none = await server.good(of(kind, 'list'), { filter: { [field as string]: 'nothing has this' } });
          expect([none.total, none.items]).to.deep.equal([0, []]);
        }
        const refused = [
          { filter: { nofield: 'x' } },
          { sort: 'nofield' },
          { limit: 0 },
          { limit: 1001 },
          { after: 'x' },
        ];
        for (const query of refused) {
          const answer = await server.ask(of(kind, 'list'), query);
          expect(answer.status, JSON.stringify(query)).to.equal(400);
          expect(paths(answer)[0]).to.match(new RegExp(`^/${Object.keys(query)[0]}`));
        }
      });
    });
  }

  it('nobody writes what no definition can be', async () => {
    for (const input of [null, [], 'text', 5, { name: { $sealed: 'x' }, value: 1 }]) {
      const { status } = await server.ask('gantry.setting.create', input);
      expect(status, JSON.stringify(input)).to.equal(400);
    }
    const deep = JSON.parse(`${'['.repeat(150)}${']'.repeat(150)}`);
    expect((await server.ask('gantry.setting.create', { name: 'deep', value: deep })).status).to.equal(400);
    const sealed = await server.ask('gantry.setting.create', { name: 'sealed', value: { $sealed: 'gs1.x' } });
    expect([sealed.status, paths(sealed)]).to.deep.equal([400, ['/value']]);
  });
});

function without(fields: Fields, ...keys: string[]): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([key]) => !keys.includes(key)));
}
