/** What an installation keeps: across restarts, across engines, and under load. */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import { mariadb, needs, postgres } from '../engines/index.ts';
import { channel, databaseOf, type Installation, installation, load, PASSWORD, SQLITE } from './installation.ts';

const LONG = process.env['GANTRY_TEST_LONG'] === '1';

interface Exported {
  readonly records: readonly { readonly kind: string; readonly definition: { readonly name: string } }[];
}

describe('an installation', function () {
  this.timeout(300_000);
  const running: Installation[] = [];

  async function start(...args: Parameters<typeof installation>): Promise<Installation> {
    const made = await installation(...args);
    running.push(made);
    await made.start();
    return made;
  }
  afterEach(async () => {
    await Promise.all(running.splice(0).map((one) => one.end()));
  });

  it('keeps what was changed over a restart, and tells the password of its first administrator once', async () => {
    const made = await installation();
    running.push(made);
    const first = await made.start({ GANTRY_ADMIN_PASSWORD: '' });
    const password = /its password, shown only now, is {2}(\S+)/.exec(first.out())?.[1] ?? '';
    expect(password).to.match(/^[\w-]{20}$/);
    expect(first.err()).to.not.include(password);
    const ask = (name: string, input: object) =>
      fetch(`${made.url}/gantry/admin/gantry.${name}`, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          authorization: `Basic ${Buffer.from(`admin:${password}`).toString('base64')}`,
        },
        body: JSON.stringify(input),
      });
    expect((await ask('channel.create', channel('kept'))).status).to.equal(200);
    expect(await made.stop()).to.equal(0);
    const second = await made.start({ GANTRY_ADMIN_PASSWORD: '' });
    expect(second.out()).to.not.include('administrator');
    expect((await ask('channel.get', { name: 'kept' })).status).to.equal(200);
    expect((await fetch(`${made.url}/kept`, { method: 'POST', body: '1' })).status).to.equal(200);
    expect(PASSWORD).to.not.equal(password);
  });

  describe('between engines', () => {
    const pg = needs(postgres);
    const maria = needs(mariadb);

    it('export, then apply on another engine, gives the same export; and again, and changes nothing', async () => {
      const stores = [SQLITE, await databaseOf(pg()), await databaseOf(maria())];
      const [one, ...others] = (await Promise.all(stores.map((store) => start(store)))) as [Installation, Installation];
      const ask = async (on: Installation, service: string, input: object) => {
        const { status, body } = await on.ask(service, input);
        expect(status, `${service}: ${JSON.stringify(body)}`).to.equal(200);
        return body;
      };
      const users = [{ username: 'ada', password: 'first-secret' }];
      await ask(one, 'security.create', { name: 'people', guard: 'basic', definition: { users } });
      const keys = [{ name: 'shop', key: 'a-key-of-the-shop' }];
      await ask(one, 'security.create', { name: 'Ünïcode ✓ %_"\'', guard: 'apikey', definition: { keys } });
      await ask(one, 'channel.create', channel('c', { security: ['people', 'Ünïcode ✓ %_"\''] }));
      await ask(one, 'channel.create', channel('C ', { active: false, settings: { etag: true } }));
      const options = {
        url: 'http://127.0.0.1:9',
        security: { kind: 'basic', username: 'u', password: 'outgoing-secret' },
      };
      await ask(one, 'connection.create', { name: 'out', transport: 'rest', options });
      await ask(one, 'dictionary.create', { name: 'words', entries: { a: '1\u0000', '': 'empty', ą: '漢字' } });
      await ask(one, 'setting.create', { name: 'shop.vat', value: { rate: 0.23, none: null, big: 9007199254740991 } });
      await ask(one, 'job.create', {
        name: 'nightly',
        service: 'echo',
        schedule: { cron: '0 0 2 * * *' },
        payload: [1],
      });
      await ask(one, 'user.create', { name: 'bob', role: 'operator', password: 'bobs-password' });
      const exported = (await ask(one, 'configuration.export', {})) as unknown as Exported;
      expect(JSON.stringify(exported)).to.not.match(/first-secret|a-key-of-the-shop|outgoing-secret|bobs-password/);
      for (const other of others) {
        const applied = await ask(other, 'configuration.apply', { ...exported, prune: ['user'] });
        expect(applied).to.include({ created: exported.records.length - 1, updated: 1, removed: 0 });
        expect(await ask(other, 'configuration.export', {})).to.deep.equal(exported);
        const again = await ask(other, 'configuration.apply', exported);
        expect(again).to.include({ created: 0, updated: 0, removed: 0, unchanged: exported.records.length });
        const sent = { method: 'POST', body: '1', headers: { 'x-api-key': 'a-key-of-the-shop' } };
        expect((await fetch(`${other.url}/c`, sent)).status).to.equal(200);
        expect((await fetch(`${other.url}/c`, { method: 'POST', body: '1' })).status).to.equal(401);
      }
    });
  });

  it('its secrets move to another key without a restart, and the old key can go', async () => {
    const { keys, made } = await withKeyFile();
    const old = readFileSync(keys, 'utf8').trim();
    const sealed = async () => JSON.stringify((await made.ask('configuration.export')).body);
    const idOf = (text: string) => /gs1\.([0-9a-f]{8})\./.exec(text)?.[1];
    const before = idOf(await sealed());
    const options = { url: made.url, security: { kind: 'apikey', header: 'x-key', key: 'outgoing-secret' } };
    expect((await made.ask('connection.create', { name: 'out', transport: 'rest', options })).status).to.equal(200);
    const fresh = Buffer.alloc(32, 9).toString('base64');
    writeFileSync(keys, `# the new one first\n${fresh}\n${old}\n`, { mode: 0o600 });
    const done = await made.ask('configuration.reseal');
    expect([done.status, done.body['changed']]).to.deep.equal([200, 2]);
    const ids = [...(await sealed()).matchAll(/gs1\.([0-9a-f]{8})\./g)].map(([, id]) => id);
    expect(new Set(ids).size).to.equal(1);
    expect(ids[0]).to.not.equal(before);
    expect((await made.ask('configuration.reseal')).body['changed']).to.equal(0);
    writeFileSync(keys, `${fresh}\n`, { mode: 0o600 });
    expect(await made.stop()).to.equal(0);
    await made.start({ GANTRY_SECRET_KEYS: '' });
    expect((await made.ask('connection.ping', { name: 'out' })).body['ok']).to.be.a('boolean');
    expect((await made.ask('server.health')).body['healthy']).to.equal(true);
  });

  async function withKeyFile() {
    const made = await installation();
    running.push(made);
    await made.start({ GANTRY_SECRET_KEYS: '' });
    return { made, keys: path.join(made.data, 'secret.keys') };
  }

  it(`${LONG ? 1000 : 200} changes under load: no request fails`, async () => {
    const made = await start();
    const changes = LONG ? 1000 : 200;
    for (let i = 0; i < 20; i++) await made.ask('channel.create', channel(`c${i}`));
    const calls = [load(`${made.url}/fixed`, 4), load(`${made.url}/c0`, 4)];
    const versions = new Map<string, number>();
    for (let i = 0; i < changes; i++) {
      const name = `c${i % 20}`;
      const version = (versions.get(name) ?? 0) + 1;
      versions.set(name, version);
      const { status, body } = await made.ask('channel.update', {
        name,
        version,
        changes: { timeoutMs: 1000 + i },
      });
      expect(status, JSON.stringify(body)).to.equal(200);
      expect(body['live']).to.equal(true);
    }
    const done = await Promise.all(calls.map((one) => one.stop()));
    expect(done.flatMap(({ failed }) => failed)).to.deep.equal([]);
    const answered = done.reduce((sum, one) => sum + one.answered, 0);
    process.stderr.write(`      ${changes} changes while ${answered} calls were answered, 0 failed\n`);
  });
});
