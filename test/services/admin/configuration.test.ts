/** The whole configuration at once, what refers to what, and the log of all changes. */
import { randomBytes } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import { KINDS } from '../../fixtures/kinds.ts';
import { moduleOf } from '../../fixtures/module.ts';
import { type AdminServer, type Answer, adminServer, basic, bearer, PASSWORD } from './server.ts';

type Entry = {
  readonly kind: string;
  readonly definition: Readonly<Record<string, unknown>> & { readonly name: string };
};

const KEYS = { name: 'shop', key: 'a-key-of-sixteen-1' };
/** One of each kind that an export has, each of which fits the others. */
const WHOLE: readonly Entry[] = [
  { kind: 'setting', definition: { name: 'limits', value: { most: 5 } } },
  { kind: 'dictionary', definition: { name: 'currencies', entries: { EUR: 'euro' } } },
  { kind: 'security', definition: { name: 'shops', guard: 'apikey', definition: { keys: [KEYS] } } },
  {
    kind: 'connection',
    definition: {
      name: 'erp',
      transport: 'rest',
      options: { url: 'http://127.0.0.1:9', security: { kind: 'bearer', token: 'a token of the erp' } },
      active: false,
    },
  },
  {
    kind: 'module',
    definition: {
      name: 'v1',
      language: 'javascript',
      source: moduleOf('shop.a'),
    },
  },
  { kind: 'balancer', definition: { name: 'main', algorithm: 'leastconn' } },
  {
    kind: 'channel',
    definition: {
      name: 'shop',
      transport: 'rest',
      address: { method: 'POST', path: '/shop' },
      service: 'demo.hello',
      security: 'shops',
    },
  },
  {
    kind: 'job',
    definition: { name: 'nightly', service: 'demo.hello', schedule: { cron: '0 3 * * *' }, active: false },
  },
  { kind: 'user', definition: { name: 'ada', role: 'developer', password: PASSWORD } },
];

describe('services/admin: configuration', () => {
  let server: AdminServer;

  beforeEach(async () => {
    server = await adminServer();
  });
  afterEach(() => server.stop());

  const apply = (records: readonly Entry[], more: object = {}) =>
    server.ask('gantry.configuration.apply', { records, ...more });
  const exported = async (): Promise<Entry[]> => (await server.good('gantry.configuration.export')).records;
  const counts = ({ body: { created, updated, removed, unchanged } }: Answer) => [created, updated, removed, unchanged];
  const paths = ({ body }: Answer) => (body.errors ?? []).map((one: { path: string }) => one.path);
  const revision = async () => (await server.good('gantry.audit.list', { limit: 1 })).items[0].revision;

  describe('apply', () => {
    it('creates what is not there, and is in effect when it answers', async () => {
      const answer = await apply(WHOLE);
      expect(answer.status, JSON.stringify(answer.body)).to.equal(200);
      expect(counts(answer)).to.deep.equal([9, 0, 0, 0]);
      const actions = answer.body.changes.map((one: { kind: string; name: string; action: string }) => [
        one.kind,
        one.name,
        one.action,
      ]);
      expect(actions).to.have.deep.members(WHOLE.map(({ kind, definition }) => [kind, definition.name, 'create']));
      const call = (headers: Record<string, string>) =>
        fetch(`${server.url}/shop`, {
          method: 'POST',
          headers: { 'content-type': 'application/json', ...headers },
          body: '{"name":"Ada"}',
        });
      expect((await call({})).status).to.equal(401);
      expect((await call({ 'x-api-key': KEYS.key })).status).to.equal(200);
      expect((await server.ask('gantry.channel.list', {}, basic('ada'))).status).to.equal(200);
    });

    it('refuses what no server could bind, and not only what the schema sees', async () => {
      const definition = { name: 'c', transport: 'rest', address: { path: '/a/{*rest}/b' }, service: 'demo.hello' };
      for (const dryRun of [true, false]) {
        const { status, body } = await apply([{ kind: 'channel', definition }], { dryRun });
        expect([status, body.code]).to.deep.equal([400, 'RECORD_INVALID']);
        expect(body.errors[0].path).to.match(/^\/records\/0\/definition/);
      }
      expect((await server.ask('gantry.channel.get', { name: 'c' })).status).to.equal(404);
    });

    it('leaves alone what says the same already, secrets too', async () => {
      await apply(WHOLE);
      const before = await revision();
      expect(counts(await apply(WHOLE))).to.deep.equal([0, 0, 0, 9]);
      expect(counts(await apply(await exported()))).to.deep.equal([0, 0, 0, 10]);
      expect(await revision()).to.equal(before);
    });

    it('tells what it would do in a dry run, and does nothing', async () => {
      await apply(WHOLE.slice(0, 2));
      const before = await revision();
      const changed = { kind: 'setting', definition: { name: 'limits', value: 'other' } };
      const answer = await apply([changed, ...WHOLE.slice(2)], { dryRun: true, prune: ['dictionary'] });
      expect(counts(answer)).to.deep.equal([7, 1, 1, 0]);
      expect(await revision()).to.equal(before);
      expect((await server.ask('gantry.channel.get', { name: 'shop' })).status).to.equal(404);
    });

    it('removes what is not given, of the kinds that are named only', async () => {
      await apply(WHOLE);
      const answer = await apply([WHOLE[0] as Entry], { prune: ['setting', 'dictionary', 'channel', 'security'] });
      expect(counts(answer)).to.deep.equal([0, 0, 3, 1]);
      const left = (await exported()).map(({ kind }) => kind);
      expect(left.sort()).to.deep.equal(['balancer', 'connection', 'job', 'module', 'setting', 'user', 'user']);
      expect((await fetch(`${server.url}/shop`, { method: 'POST' })).status).to.equal(404);
    });

    it('does all or nothing, and tells each thing that is wrong', async () => {
      const wrong: Entry[] = [
        WHOLE[0] as Entry,
        {
          kind: 'channel',
          definition: { name: 'a', transport: 'rest', address: { path: 'no-slash' }, service: 'demo.hello' },
        },
        { kind: 'setting', definition: { name: 'no value' } },
        {
          kind: 'connection',
          definition: { name: 'b', transport: 'rest', options: { url: 'http://x', timeoutMs: 'long' } },
        },
        { kind: 'user', definition: { name: 'c', role: 'developer' } },
      ];
      const before = await revision();
      const answer = await apply(wrong);
      expect([answer.status, answer.body.code]).to.deep.equal([400, 'RECORD_INVALID']);
      expect(paths(answer).sort()).to.deep.equal([
        '/records/1/definition/address/path',
        '/records/2/definition/value',
        '/records/3/definition/options/timeoutMs',
        '/records/4/definition/password',
      ]);
      expect(await revision()).to.equal(before);
      expect((await server.ask('gantry.setting.get', { name: 'limits' })).status).to.equal(404);
    });

    it('refuses two that stand in one place, and does nothing then', async () => {
      const channel = (name: string): Entry => ({
        kind: 'channel',
        definition: { name, transport: 'rest', address: { path: '/same' }, service: 'demo.hello' },
      });
      const before = await revision();
      const taken = await apply([WHOLE[0] as Entry, channel('one'), channel('two')]);
      expect([taken.status, taken.body.code]).to.deep.equal([409, 'RECORD_TAKEN']);
      const twice = await apply([WHOLE[0] as Entry, channel('one'), WHOLE[0] as Entry]);
      expect([twice.status, paths(twice)]).to.deep.equal([400, ['/records/2']]);
      expect(await revision()).to.equal(before);
    });

    it('takes what refers to each other in any order, and swaps what stands in the way', async () => {
      expect(counts(await apply([...WHOLE].reverse()))).to.deep.equal([9, 0, 0, 0]);
      const at = (name: string, to: string): Entry => ({
        kind: 'channel',
        definition: { name, transport: 'rest', address: { path: to }, service: 'demo.hello' },
      });
      await apply([at('a', '/a'), at('b', '/b')]);
      const swapped = await apply([at('a', '/b'), at('b', '/a')]);
      expect([swapped.status, counts(swapped)]).to.deep.equal([200, [0, 2, 0, 0]]);
      for (const name of ['a', 'b']) {
        expect((await server.good('gantry.server.info')).records.refused, name).to.deep.equal([]);
      }
    });

    it('refuses a kind that there is not, and what has no name', async () => {
      const unknown = await apply([{ kind: 'chanel', definition: { name: 'a' } }]);
      expect([unknown.status, paths(unknown)]).to.deep.equal([400, ['/records/0/kind']]);
      const nameless = await apply([{ kind: 'setting', definition: { value: 1 } as never }]);
      expect([nameless.status, paths(nameless)]).to.deep.equal([400, ['/records/0/definition/name']]);
      expect((await apply([], { prune: ['nothing'] })).status).to.equal(400);
    });
  });

  describe('export', () => {
    it('is everything but the servers, and makes the same configuration elsewhere with the same keys', async () => {
      await apply(WHOLE);
      const records = await exported();
      expect(new Set(records.map(({ kind }) => kind))).to.deep.equal(
        new Set(Object.keys(KINDS).filter((kind) => kind !== 'server')),
      );
      const { data } = server.kernel.cradle.server;
      const other = await adminServer({ secrets: { file: path.join(data, 'secret.keys') } });
      try {
        const { created, updated } = await other.good('gantry.configuration.apply', { records });
        expect([created, updated]).to.deep.equal([9, 1]);
        const again = await other.good('gantry.configuration.export');
        expect(again.records).to.deep.equal(records);
        expect((await other.ask('gantry.channel.list', {}, basic('ada'))).status).to.equal(200);
      } finally {
        await other.stop();
      }
    });

    it('opens nowhere without the keys, and tells what cannot be read', async () => {
      await apply(WHOLE);
      const records = await exported();
      const other = await adminServer();
      try {
        const { status, body } = await other.ask('gantry.configuration.apply', { records });
        expect([status, body.code]).to.deep.equal([400, 'RECORD_INVALID']);
        const at = body.errors.map((one: { path: string }) => one.path).join(' ');
        expect(at)
          .to.match(/\/definition\/options\/security\/token/)
          .and.to.match(/\/definition\/passwordHash/);
        expect((await other.good('gantry.configuration.export')).records).to.have.lengthOf(1);
      } finally {
        await other.stop();
      }
    });

    it('is of some kinds, where they are named', async () => {
      await apply(WHOLE);
      const { records } = await server.good('gantry.configuration.export', { kinds: ['job', 'setting'] });
      expect(records.map(({ kind }: Entry) => kind).sort()).to.deep.equal(['job', 'setting']);
      expect((await server.ask('gantry.configuration.export', { kinds: [] })).status).to.equal(400);
    });
  });

  describe('reseal', () => {
    it('lets an old key go: step by step, without a pause', async () => {
      await apply(WHOLE);
      const file = path.join(server.kernel.cradle.server.data, 'secret.keys');
      const old = readFileSync(file, 'utf8');
      const before = await exported();
      const early = bearer(server.kernel.cradle.sessions.open('admin', 60_000).token);
      const sealedOf = (entries: readonly Entry[]) =>
        [...JSON.stringify(entries).matchAll(/gs1\.([0-9a-f]{8})\./g)].map(([, id]) => id);
      expect(new Set(sealedOf(before)).size).to.equal(1);
      expect(await server.good('gantry.configuration.reseal')).to.deep.equal({ changed: 0 });
      // A new key, in front of the old one; the server is started again with it.
      writeFileSync(file, `${randomBytes(32).toString('base64')}\n${old}`, { mode: 0o600 });
      const { data } = server.kernel.cradle.server;
      await server.kernel.stop();
      const second = await adminServer({ data });
      expect((await second.ask('gantry.server.info', {}, early)).status).to.equal(200);
      const { token } = await second.good('gantry.session.create');
      const { changed } = await second.good('gantry.configuration.reseal');
      expect(changed).to.equal(4);
      const { records } = await second.good('gantry.configuration.export');
      const ids = new Set(sealedOf(records));
      expect([ids.size, ids.has(sealedOf(before)[0])]).to.deep.equal([1, false]);
      expect(await second.good('gantry.configuration.reseal')).to.deep.equal({ changed: 0 });
      await second.stop();
      // The old key goes.
      const [kept = ''] = readFileSync(file, 'utf8').split('\n');
      writeFileSync(file, `${kept}\n`, { mode: 0o600 });
      const third = await adminServer({ data });
      try {
        expect((await third.ask('gantry.server.info', {}, basic('ada'))).status).to.equal(200);
        expect((await third.ask('gantry.server.info', {}, bearer(token))).status).to.equal(200);
        expect((await third.ask('gantry.server.info', {}, early)).status).to.equal(401);
        expect((await third.good('gantry.server.info')).records.refused).to.deep.equal([]);
      } finally {
        await third.stop();
        rmSync(data, { recursive: true, force: true });
      }
    });
  });

  describe('what refers to it', () => {
    it('keeps a record from being removed, and is named', async () => {
      await apply(WHOLE);
      expect(await server.good('gantry.security.usage', { name: 'shops' })).to.deep.equal({
        usedBy: [{ kind: 'channel', name: 'shop' }],
      });
      const refused = await server.ask('gantry.security.remove', { name: 'shops' });
      expect([refused.status, refused.body.code]).to.deep.equal([409, 'RECORD_IN_USE']);
      expect(refused.body.detail).to.include("channel 'shop'");
      const pruned = await apply([], { prune: ['security'] });
      expect([pruned.status, pruned.body.code]).to.deep.equal([409, 'RECORD_IN_USE']);
      await server.good('gantry.channel.remove', { name: 'shop' });
      expect(await server.good('gantry.security.usage', { name: 'shops' })).to.deep.equal({ usedBy: [] });
      await server.good('gantry.security.remove', { name: 'shops' });
    });

    it('may be a channel of the config file', async () => {
      const fixed = {
        name: 'fixed',
        transport: 'rest',
        address: { path: '/fixed' },
        service: 'demo.hello',
        security: 'shops',
      };
      const own = await adminServer({ lists: { channels: [fixed] as never } });
      try {
        await own.good('gantry.configuration.apply', { records: [WHOLE[2]] });
        expect((await own.good('gantry.security.usage', { name: 'shops' })).usedBy).to.deep.equal([
          { kind: 'channel', name: 'fixed' },
        ]);
        for (const [service, input] of [
          ['gantry.security.remove', { name: 'shops' }],
          ['gantry.configuration.apply', { records: [], prune: ['security'] }],
        ] as const) {
          const refused = await own.ask(service, input);
          expect([refused.status, refused.body.code], service).to.deep.equal([409, 'RECORD_IN_USE']);
          expect(refused.body.detail).to.include("channel 'fixed'").and.to.include('config file');
        }
      } finally {
        await own.stop();
      }
    });

    it('cannot be removed at the moment when it is referred to', async () => {
      await apply(WHOLE.filter(({ kind }) => kind === 'security'));
      const [channel] = WHOLE.filter(({ kind }) => kind === 'channel');
      const asked = [
        server.ask('gantry.security.remove', { name: 'shops' }),
        server.ask('gantry.channel.create', channel?.definition),
      ];
      const [removed, created] = (await Promise.all(asked)).map(({ status }) => status);
      expect([removed === 200, created === 200], `${removed} ${created}`).to.satisfy(
        ([one, other]: boolean[]) => one !== other,
      );
    });
  });

  describe('the audit', () => {
    it('tells who changed what and when, with before and after', async () => {
      const from = new Date();
      await server.good('gantry.user.create', { name: 'ada', role: 'developer', password: PASSWORD });
      const cid = 'audit-test-1';
      const authorization = basic('ada');
      await server.ask('gantry.setting.create', { name: 'tax', value: 20 }, authorization, { 'x-correlation-id': cid });
      await server.good('gantry.setting.update', { name: 'tax', version: 1, changes: { value: 25 } }, authorization);
      await server.good('gantry.setting.remove', { name: 'tax' });
      const { items, total, next } = await server.good('gantry.audit.list', { kind: 'setting', name: 'tax' });
      expect([total, next]).to.deep.equal([3, null]);
      const facts = items.map((one: Record<string, unknown>) => [
        one['action'],
        one['changedBy'],
        one['version'],
        one['before'],
        one['after'],
      ]);
      expect(facts).to.deep.equal([
        ['remove', 'admin', 0, { name: 'tax', value: 25 }, null],
        ['update', 'ada', 2, { name: 'tax', value: 20 }, { name: 'tax', value: 25 }],
        ['create', 'ada', 1, null, { name: 'tax', value: 20 }],
      ]);
      const [, , created] = items;
      expect(created.cid).to.equal(cid);
      expect(Date.parse(created.changedAt)).to.be.within(from.getTime() - 1, Date.now());
      expect(items[0].revision).to.be.greaterThan(created.revision);
    });

    it('is searched, filtered and paged', async () => {
      await server.good('gantry.user.create', { name: 'ada', role: 'developer', password: PASSWORD });
      const names = Array.from({ length: 12 }, (_, i) => `row ${i}`);
      for (const [i, name] of names.entries()) {
        const who = i % 2 === 0 ? basic('admin') : basic('ada');
        await server.good('gantry.setting.create', { name, value: `the ${i === 7 ? 'needle' : 'hay'} %` }, who);
      }
      const mark = (await server.good('gantry.audit.list', { name: 'row 6' })).items[0].changedAt;
      const found = async (query: object) => {
        const { items, total } = await server.good('gantry.audit.list', { kind: 'setting', limit: 1000, ...query });
        expect(items).to.have.lengthOf(total);
        return items.map(({ name }: { name: string }) => name);
      };
      expect(await found({ search: 'needle' })).to.deep.equal(['row 7']);
      expect(await found({ search: 'row 1' })).to.have.members(['row 1', 'row 10', 'row 11']);
      expect(await found({ changedBy: 'ada' })).to.have.lengthOf(6);
      expect(await found({ action: 'remove' })).to.deep.equal([]);
      expect(await found({ ascending: true })).to.deep.equal(names);
      expect(await found({ from: mark })).to.include.members(names.slice(6));
      expect(await found({ until: mark })).to.not.include.members(names.slice(6));
      expect(await found({ cid: 'no such call' })).to.deep.equal([]);
      const paged: string[] = [];
      for (let after: string | undefined; ; ) {
        const page = await server.good('gantry.audit.list', {
          kind: 'setting',
          limit: 5,
          ...(after === undefined ? {} : { after }),
        });
        paged.push(...page.items.map(({ name }: { name: string }) => name));
        // One that comes meanwhile shifts no page.
        await server.good('gantry.setting.create', { name: `late ${paged.length}`, value: 1 });
        if (page.next === null) break;
        after = page.next;
      }
      expect(paged).to.deep.equal([...names].reverse());
      for (const query of [{ limit: 0 }, { after: 'x' }, { action: 'destroy' }, { from: 'yesterday' }]) {
        expect((await server.ask('gantry.audit.list', query)).status, JSON.stringify(query)).to.equal(400);
      }
    });

    it('has what was applied, and nothing that was refused or only tried', async () => {
      const count = async () => (await server.good('gantry.audit.list', { limit: 1 })).total;
      const before = await count();
      await apply(WHOLE, { dryRun: true });
      await server.ask('gantry.setting.create', { name: 'no value' });
      await server.ask('gantry.setting.remove', { name: 'missing' });
      expect(await count()).to.equal(before);
      await apply(WHOLE);
      expect(await count()).to.equal(before + 9);
      const { items } = await server.good('gantry.audit.list', { limit: 9 });
      expect(new Set(items.map(({ cid }: { cid: string }) => cid)).size).to.equal(1);
    });
  });
});
