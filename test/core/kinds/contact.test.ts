/** A plugin brings a kind of record: all that every kind has comes with it. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { expect } from 'chai';
import { runClient } from '../../../core/cli/index.ts';
import type { Plugin } from '../../../core/kernel/plugin.ts';
import { Logs } from '../../../core/log/log.ts';
import { Process } from '../../../core/process.ts';
import { type AdminServer, adminServer, basic, PASSWORD } from '../../services/admin/server.ts';
import contact from './contact.ts';

const ADA = { name: 'ada', team: 'billing', phone: '+48123456', pin: 'larch' };
const BOB = { name: 'bob', team: 'billing', phone: '+48123457', standsInFor: 'ada' };

describe('a kind that a plugin brings', () => {
  let server: AdminServer;
  let folder: string;

  before(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'gantry-contact-'));
    server = await adminServer({ plugins: [contact as unknown as Plugin] });
    await server.good('gantry.user.create', { name: 'olga', role: 'operator', password: 'a long password' });
    await server.good('gantry.user.create', { name: 'vera', role: 'viewer', password: 'a long password' });
  });
  after(async () => {
    await server.stop();
    rmSync(folder, { recursive: true });
  });

  async function gantry(...argv: string[]): Promise<{ exit: number; out: string; err: string }> {
    const [stdout, stderr] = [new PassThrough(), new PassThrough()];
    const env = { GANTRY_URL: server.url, GANTRY_PASSWORD: PASSWORD };
    const exit = await runClient(argv, { stdin: Readable.from([]), stdout, stderr, env }, '0.0.0');
    return { exit, out: String(stdout.read() ?? ''), err: String(stderr.read() ?? '') };
  }
  const reachable = () =>
    (server.kernel.cradle.kinds.get('contact') as unknown as { reachable: Map<string, string> }).reachable;

  it('has admin services, with its schema, filters, secrets and effect', async () => {
    const { version, live } = await server.good('gantry.contact.create', ADA);
    expect([version, live, [...reachable()]]).to.deep.equal([1, true, [['ada', '+48123456']]]);
    await server.good('gantry.contact.create', BOB);
    const { definition } = await server.good('gantry.contact.get', { name: 'ada' });
    expect(definition).to.deep.equal({ ...ADA, pin: '***' });
    const list = await server.good('gantry.contact.list', { filter: { team: 'billing' }, search: 'bo' });
    expect(list.items.map((one: { name: string }) => one.name)).to.deep.equal(['bob']);
    await server.good('gantry.contact.toggle', { name: 'bob', version: 1, active: false });
    expect([...reachable().keys()]).to.deep.equal(['ada']);
    const { status, body } = await server.ask('gantry.contact.create', { ...ADA, name: 'x', phone: '1' });
    expect([status, body.errors[0].path]).to.deep.equal([400, '/phone']);
    const own = await server.ask('gantry.contact.create', {
      ...BOB,
      name: 'eve',
      phone: '+48123458',
      standsInFor: 'eve',
    });
    expect([own.status, own.body.errors[0].path]).to.deep.equal([400, '/standsInFor']);
    const { status: taken } = await server.ask('gantry.contact.create', { ...ADA, name: 'ann' });
    expect(taken).to.equal(409);
  });
  it('has references, and a history', async () => {
    const { usedBy } = await server.good('gantry.contact.usage', { name: 'ada' });
    expect(usedBy).to.deep.equal([{ kind: 'contact', name: 'bob' }]);
    const refused = await server.ask('gantry.contact.remove', { name: 'ada' });
    expect([refused.status, refused.body.detail]).to.deep.equal([409, refused.body.detail]);
    expect(refused.body.detail).to.include("contact 'bob'");
    const dangling = await server.ask('gantry.contact.create', {
      ...BOB,
      name: 'eve',
      phone: '+48123458',
      standsInFor: 'x',
    });
    expect(dangling.status).to.equal(400);
    const { items } = await server.good('gantry.audit.list', { kind: 'contact' });
    expect(items.map((one: { name: string; action: string }) => `${one.action} ${one.name}`)).to.deep.equal([
      ...['update bob', 'create bob', 'create ada'],
    ]);
  });
  it('has roles', async () => {
    const olga = basic('olga', 'a long password');
    const vera = basic('vera', 'a long password');
    expect((await server.ask('gantry.contact.get', { name: 'ada' }, olga)).status).to.equal(200);
    expect((await server.ask('gantry.contact.get', { name: 'ada' }, vera)).status).to.equal(403);
    expect((await server.ask('gantry.contact.remove', { name: 'bob' }, olga)).status).to.equal(403);
    expect(
      (await server.ask('gantry.contact.toggle', { name: 'bob', version: 2, active: true }, olga)).status,
    ).to.equal(200);
  });
  it('is in the OpenAPI document', async () => {
    const { paths, tags } = (await (await fetch(`${server.url}/gantry/admin/openapi.json`)).json()) as {
      readonly paths: object;
      readonly tags: readonly object[];
    };
    expect(paths).to.include.keys('/gantry.contact.create', '/gantry.contact.toggle');
    expect(tags).to.deep.include({ name: 'contact', description: 'A person to call at night' });
  });
  it('has commands', async () => {
    const made = await gantry('contact', 'create', 'carl', '--set', 'team=ops', '--set-string', 'phone=+48123459');
    expect(made).to.deep.include({ exit: 0, out: "The contact 'carl' was created (version 1).\n" });
    expect((await gantry('contact', 'disable', 'carl')).exit).to.equal(0);
    const { out } = await gantry('contact', 'list', '--filter', 'team=ops', '--quiet');
    expect(out).to.equal('carl\n');
    expect((await gantry('contact', 'list', '--help')).out).to.include('only those: team, active');
    const wrong = await gantry('contact', 'lst');
    expect(wrong.exit).to.equal(2);
    expect(wrong.err).to.include("'contact' has no 'lst'").and.include("Did you mean 'list'");
    const other = await gantry('zebra', 'list');
    expect(other.exit).to.equal(2);
    expect(other.err).to.include("There is no command 'zebra'");
  });
  it('is exported, compared and applied', async () => {
    const file = path.join(folder, 'all.yaml');
    expect((await gantry('export', '--kinds', 'contact', '--out', file)).exit).to.equal(0);
    const text = readFileSync(file, 'utf8');
    expect(text)
      .to.match(/^contact:$/m)
      .and.include('  - name: ada');
    expect((await gantry('diff', '-f', file)).exit).to.equal(0);
    writeFileSync(file, text.replace('team: ops', 'team: night'));
    expect((await gantry('apply', '-f', file)).out).to.include("updated  contact 'carl'");
    const one = path.join(folder, 'one.yaml');
    writeFileSync(one, 'contact:\n  - { name: ada, team: billing, phone: "+48123456", pin: larch }\n');
    const pruned = await gantry('apply', '-f', one, '--prune', 'contact');
    expect(pruned.out).to.include("removed  contact 'bob'").and.include("removed  contact 'carl'");
    expect([...reachable().keys()]).to.deep.equal(['ada']);
  });
  it('takes no name that the core has', () => {
    const plugin = { ...contact, id: 'kind.channel' } as unknown as Plugin;
    const own = new Process({ logs: new Logs({ level: 'silent' }) });
    expect(() => own.create([{ id: 'kind.channel', plugin, config: {} }]))
      .to.throw("'channel'")
      .with.property('code', 'PLUGIN_MALFORMED');
  });
});
