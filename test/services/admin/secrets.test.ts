/** Secrets of records: they go in, they work, and they come out nowhere. */
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { expect } from 'chai';
import { type AdminServer, adminServer, basic, bearer, PASSWORD } from './server.ts';

/** In every secret of this file, and in nothing else. */
const MARK = 'S3CRET';
const secret = (of: string) => `${MARK}-${of}-9d1f7c`;

describe('services/admin: secrets', () => {
  let server: AdminServer;
  let peer: Server;
  let peerUrl: string;
  /** What the other system was shown. */
  let shown: (string | undefined)[] = [];

  before(async () => {
    peer = createServer((req, res) => {
      shown.push(req.headers.authorization ?? (req.headers['x-own-key'] as string | undefined));
      res.setHeader('content-type', 'application/json');
      res.end(JSON.stringify({ id: 1, first_name: 'Ada', last_name: 'Lovelace', mail: null }));
    }).listen(0, '127.0.0.1');
    await once(peer, 'listening');
    peerUrl = `http://127.0.0.1:${(peer.address() as AddressInfo).port}`;
    server = await adminServer({
      lists: {
        connections: [
          {
            name: 'fixed',
            transport: 'rest',
            options: { url: peerUrl, security: { kind: 'bearer', token: secret('fixed-token') } },
          },
        ] as never,
        security: [
          { name: 'fixed', guard: 'apikey', definition: { keys: [{ name: 'shop', key: secret('fixed-key') }] } },
        ],
        channels: [
          {
            name: 'fixed',
            transport: 'rest',
            address: { method: 'POST', path: '/fixed' },
            service: 'demo.hello',
            security: { guard: 'basic', users: [{ username: 'ada', password: secret('fixed-password') }] },
          },
        ] as never,
      },
    });
  });
  beforeEach(() => {
    shown = [];
  });
  after(async () => {
    await server.stop();
    peer.closeAllConnections();
    peer.close();
  });

  /** As whoever reads them: what was said, written and kept up to now, by where. */
  const everything = (): [string, string][] => {
    const { data } = server.kernel.cradle.server;
    const files = readdirSync(data).map(
      (name) => [name, readFileSync(path.join(data, name)).toString('latin1')] as [string, string],
    );
    return [
      ...server.replies.map((text) => ['a reply', text] as [string, string]),
      ['the log', server.lines.join('')],
      ...files,
    ];
  };
  const expectNowhere = () => {
    const coded = Buffer.from(`ada:${MARK}`).toString('base64').slice(0, 12);
    for (const [place, text] of everything()) {
      for (const sign of [MARK, coded]) {
        const at = text.indexOf(sign);
        expect(at, `${place} tells ...${text.slice(Math.max(0, at - 100), at + 60)}`).to.equal(-1);
      }
    }
  };
  const sendsOut = async () => {
    const output = await server.good('gantry.service.invoke', { name: 'demo.customer.get', input: { id: 1 } });
    expect(output.output).to.include({ name: 'Ada Lovelace' });
    return shown.at(-1);
  };
  const options = (security: object) => ({ url: peerUrl, security });

  it('of every kind of record come out nowhere, whatever is done with them', async () => {
    const records: readonly (readonly [
      string,
      Readonly<Record<string, unknown>>,
      Readonly<Record<string, unknown>>,
    ])[] = [
      [
        'connection',
        { transport: 'rest', options: options({ kind: 'basic', username: 'ada', password: secret('basic') }) },
        { options: options({ kind: 'bearer', token: secret('bearer') }) },
      ],
      [
        'connection',
        {
          transport: 'rest',
          options: {
            ...{
              ...options({ kind: 'apikey', header: 'x-own-key', key: secret('out-key') }),
              url: 'https://127.0.0.1:9',
            },
          },
          active: false,
        },
        { options: options({ kind: 'none' }) },
      ],
      [
        'security',
        { guard: 'apikey', definition: { keys: [{ name: 'shop', key: secret('in-key') }] } },
        { definition: { keys: [{ name: 'shop', key: secret('in-key-2') }] } },
      ],
      [
        'security',
        { guard: 'basic', definition: { users: [{ username: 'ada', password: secret('in-password') }] } },
        { definition: { users: [{ username: 'ada', password: secret('in-password-2') }] } },
      ],
      [
        'channel',
        {
          transport: 'rest',
          address: { path: '/secrets/own' },
          service: 'demo.hello',
          security: { guard: 'apikey', keys: [{ name: 'own', key: secret('channel-key') }] },
        },
        { security: { guard: 'basic', users: [{ username: 'ada', password: secret('channel-password') }] } },
      ],
      ['user', { role: 'viewer', password: secret('user') }, { password: secret('user-2') }],
    ];
    for (const [i, [kind, definition, changes]] of records.entries()) {
      const name = `with secrets ${i}`;
      const verb = (what: string) => `gantry.${kind}.${what}`;
      await server.good(verb('create'), { name, ...definition });
      // Twice, and with something wrong beside the secrets: what is refused is told, and they are not.
      await server.ask(verb('create'), { name, ...definition });
      await server.ask(verb('create'), { name: `${name} wrong`, ...definition, active: 'perhaps', nmae: 1 });
      for (const wrong of wrongs(definition))
        await server.ask(verb('create'), { name: `${name} wrong`, ...(wrong as object) });
      for (const wrong of wrongs(changes)) await server.ask(verb('update'), { name, version: 1, changes: wrong });
      await server.ask(verb('update'), { name, version: 7, changes });
      // Not all of them were wrong.
      const { version } = await server.good(verb('get'), { name });
      await server.good(verb('list'), { search: name });
      await server.good(verb('update'), { name, version, changes });
      await server.good(verb('get'), { name });
      await server.good(verb('usage'), { name });
    }
    const tls = { url: 'https://127.0.0.1:9', tls: { cert: 'no PEM', key: secret('pem') } };
    const refused = await server.ask('gantry.connection.create', { name: 'tls', transport: 'rest', options: tls });
    expect(refused.status).to.equal(400);
    const { records: portable } = await server.good('gantry.configuration.export');
    await server.good('gantry.configuration.apply', { records: portable });
    const plain = records.map(([kind, definition], i) => ({
      kind,
      definition: { name: `with secrets ${i}`, ...definition },
    }));
    await server.good('gantry.configuration.apply', { records: plain, dryRun: true });
    await server.ask('gantry.configuration.apply', {
      records: [...plain, { kind: 'setting', definition: { name: 'no value' } }],
    });
    await server.good('gantry.configuration.apply', { records: plain });
    await server.good('gantry.configuration.reseal');
    const audit = await server.good('gantry.audit.list', { limit: 1000 });
    expect(audit.total).to.be.greaterThan(15);
    expect(JSON.stringify(audit)).to.include('***');
    for (const search of [MARK, secret('basic')]) {
      expect((await server.good('gantry.audit.list', { search })).total).to.equal(0);
    }
    await server.good('gantry.server.info');
    await server.good('gantry.server.health');
    await server.ask('gantry.server.info', {}, basic('with secrets 5', secret('user')));
    await server.ask('gantry.server.info', {}, basic('with secrets 5', secret('not it')));
    await server.ask('gantry.server.info', {}, bearer(secret('no-token')));
    for (const [i, [kind]] of records.entries()) {
      await server.good(`gantry.${kind}.remove`, { name: `with secrets ${i}` });
    }
    expectNowhere();
  });

  it('work, and stay what they are where *** is given back', async () => {
    const first = { kind: 'basic', username: 'ada', password: secret('kept') };
    await server.good('gantry.connection.create', { name: 'crm', transport: 'rest', options: options(first) });
    expect(await sendsOut()).to.equal(basic('ada', secret('kept')));
    // As a console does: reads it, changes something, gives all of it back.
    const { version, definition } = await server.good('gantry.connection.get', { name: 'crm' });
    expect(definition.options.security).to.deep.equal({ kind: 'basic', username: 'ada', password: '***' });
    const changed = { ...definition, options: { ...definition.options, timeoutMs: 5000 } };
    await server.good('gantry.connection.update', { name: 'crm', version, changes: changed });
    expect(await sendsOut()).to.equal(basic('ada', secret('kept')));
    const other = { options: options({ ...first, password: secret('changed') }) };
    await server.good('gantry.connection.update', { name: 'crm', version: version + 1, changes: other });
    expect(await sendsOut()).to.equal(basic('ada', secret('changed')));
    await server.good('gantry.connection.remove', { name: 'crm' });
    expectNowhere();
  });

  it('given as *** are refused where there is none to keep', async () => {
    const hidden = { transport: 'rest', options: options({ kind: 'bearer', token: '***' }) };
    const created = await server.ask('gantry.connection.create', { name: 'new', ...hidden });
    expect([created.status, created.body.errors[0].path]).to.deep.equal([400, '/options/security/token']);
    await server.good('gantry.connection.create', { name: 'new', transport: 'rest', options: { url: peerUrl } });
    const { options: changed } = hidden;
    const updated = await server.ask('gantry.connection.update', {
      name: 'new',
      version: 1,
      changes: { options: changed },
    });
    expect([updated.status, updated.body.errors[0].path]).to.deep.equal([400, '/changes/options/security/token']);
    const user = await server.ask('gantry.user.create', { name: 'new', role: 'viewer', password: '***' });
    expect(user.status).to.equal(400);
    await server.good('gantry.connection.remove', { name: 'new' });
  });

  it('are sealed for their record: in another they open nothing', async () => {
    const definition = {
      transport: 'rest',
      options: options({ kind: 'bearer', token: secret('sealed') }),
      active: false,
    };
    await server.good('gantry.connection.create', { name: 'sealed', ...definition });
    const { records } = await server.good('gantry.configuration.export', { kinds: ['connection'] });
    const [{ definition: exported }] = records.filter(
      (one: { definition: { name: string } }) => one.definition.name === 'sealed',
    );
    expect(exported.options.security.token).to.have.all.keys('$sealed');
    const moved = { ...exported, name: 'thief', options: { ...exported.options, url: 'http://127.0.0.1:9' } };
    const refused = await server.ask('gantry.connection.create', moved);
    expect([refused.status, refused.body.errors[0].path]).to.deep.equal([400, '/options/security/token']);
    await server.good('gantry.connection.remove', { name: 'sealed' });
  });

  it('of the config file are hidden in its fixtures, and shadowed by no record', async () => {
    for (const kind of ['connection', 'security', 'channel']) {
      const { fixtures, items } = await server.good(`gantry.${kind}.list`, { search: 'FIX' });
      expect(fixtures).to.have.lengthOf(1);
      expect(fixtures[0].name).to.equal('fixed');
      expect(JSON.stringify(fixtures)).to.include('***').and.to.not.include(MARK);
      expect(items).to.deep.equal([]);
      const { name, ...definition } = fixtures[0];
      const shadow = await server.ask(`gantry.${kind}.create`, { name, ...definition });
      expect([shadow.status, shadow.body.code], kind).to.deep.equal([409, 'RECORD_DUPLICATE']);
      expect(shadow.body.detail).to.include('config file');
      const applied = { records: [{ kind, definition: { name, ...definition } }] };
      expect((await server.ask('gantry.configuration.apply', applied)).status).to.equal(400);
      for (const [verb, input] of [
        ['get', {}],
        ['update', { version: 1, changes: {} }],
        ['remove', {}],
      ] as const) {
        const missing = await server.ask(`gantry.${kind}.${verb}`, { name, ...input });
        expect(missing.status).to.equal(404);
        expect(missing.body.detail).to.include('config file');
      }
      const second = await server.good(`gantry.${kind}.list`, { search: 'no such name' });
      expect(second.fixtures).to.deep.equal([]);
    }
    const filtered = await server.good('gantry.channel.list', { filter: { service: 'demo.hello', active: 'true' } });
    expect(filtered.fixtures).to.have.lengthOf(1);
    const none = await server.good('gantry.channel.list', { filter: { active: 'false' } });
    expect(none.fixtures).to.deep.equal([]);
    const call = (authorization: string) =>
      fetch(`${server.url}/fixed`, {
        method: 'POST',
        headers: { authorization, 'content-type': 'application/json' },
        body: '{"name":"Ada"}',
      });
    expect((await call(basic('ada', secret('fixed-password')))).status).to.equal(200);
    expect((await call(basic('ada', PASSWORD))).status).to.equal(401);
    expectNowhere();
  });
});

/** Copies of a definition in each of which one thing is another, mostly a wrong one, and never a text that stands for a secret. */
function wrongs(definition: unknown): unknown[] {
  if (Array.isArray(definition)) {
    const inside = definition.flatMap((entry, i) =>
      wrongs(entry).map((wrong) => definition.map((one, j) => (i === j ? wrong : one))),
    );
    return [[], {}, ...inside];
  }
  if (typeof definition !== 'object' || definition === null) return [5, { in: { an: 'object' } }, null];
  const entries = Object.entries(definition);
  const inside = entries.flatMap(([key, value]) => wrongs(value).map((wrong) => ({ ...definition, [key]: wrong })));
  const less = entries.map(([key]) => Object.fromEntries(entries.filter(([other]) => other !== key)));
  const moved = entries.map(([key, value]) => ({ ...definition, [`${key}X`]: value }));
  return [...inside, ...less, ...moved];
}
