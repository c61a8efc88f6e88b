/** The `gantry` command itself, run from the sources. What a built one does from outside is tested in test/e2e. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { configDocs } from '../../.build/config-docs.ts';
import { configSchema } from '../../core/config/json-schema.ts';
import { loader } from '../../core/doors.ts';

const home = path.resolve(import.meta.dirname, '../..');

describe('the gantry command', function () {
  this.timeout(60_000);
  const dir = mkdtempSync(path.join(tmpdir(), 'gantry-main-'));
  let count = 0;
  after(() => rmSync(dir, { recursive: true }));

  function gantry(args: readonly string[], env: Record<string, string> = {}) {
    const all = [path.join(home, 'dist/core/main.js'), ...args];
    const { status, stdout, stderr } = spawnSync(process.execPath, all, {
      encoding: 'utf8',
      cwd: home,
      env: { ...process.env, ...env },
      maxBuffer: 2 ** 26,
    });
    return { status, out: stdout, err: stderr };
  }
  /** Checks the first of some files in a fresh folder. */
  function check(files: Record<string, string>, env: Record<string, string> = {}) {
    const folder = path.join(dir, String(++count));
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
      writeFileSync(path.join(folder, name), text);
    }
    return { folder, ...gantry(['check', '--config', path.join(folder, Object.keys(files)[0] as string)], env) };
  }
  const plugin = (id: string) =>
    `import { definePlugin, Type } from 'gantry/api';
     export default definePlugin({ id: '${id}', api: 1, config: Type.Object({ port: Type.Optional(Type.Integer()) }), create: () => ({}) });`;
  const service = (name: string) =>
    `import { defineService, Type } from 'gantry/api';
     export default defineService({ name: '${name}', input: Type.Unknown(), output: Type.Unknown(), create: () => () => 1 });`;

  it('check: plugins and services are found beside the file that names them, and references have their types', () => {
    const { status, out, err } = check(
      {
        'roles/server.yaml': `extends: ../base/base.yaml
plugins: { feature.b: { use: ./b.ts, optional: "\${env:OPTIONAL}", port: "\${env:A_PORT}" } }
services: [./services]`,
        'roles/b.ts': plugin('feature.b'),
        'roles/services/two.ts': service('two'),
        'base/base.yaml': 'plugins: { feature.a: { use: ./a } }\nservices: [./services]',
        'base/a/index.ts': plugin('feature.a'),
        'base/services/one.ts': service('one'),
      },
      { OPTIONAL: 'true', A_PORT: '9000' },
    );
    expect(err).to.equal('');
    expect(out).to.include('2 plugins, 2 services');
    expect(status).to.equal(0);
  });
  it('check: what is wrong with entries, blocks and services is told at once', () => {
    const { status, err, folder } = check({
      'server.yaml': `graceMs: soon
plugins:
  feature.a: { use: 5 }
  feature.b: { use: ./b.ts, optional: "yes" }
  feature.c: { use: ./b.ts, port: x }
  feature.d: { use: ./nowhere }
services: [./services]`,
      'b.ts': plugin('feature.b'),
      'services/broken.ts': 'export default {{;',
    });
    expect(status).to.equal(1);
    for (const told of [
      'graceMs: must be an integer',
      'plugins.feature.a.use: must be a string',
      'plugins.feature.b.optional: must be a boolean',
      'plugins.feature.c.port (plugin feature.b): must be an integer',
      `plugins.feature.d (plugin feature.d): Plugin '${folder}/nowhere' cannot be found`,
      `services: ${folder}/services/broken.ts`,
    ])
      expect(err).to.include(told);
    expect(err).to.include('6 problem(s)');
  });
  it('check: two service files of one name are both named', () => {
    const { status, err, folder } = check({
      'server.yaml': 'services: [./first, ./second]',
      'first/a.ts': service('shop.price'),
      'second/b.ts': service('shop.price'),
    });
    expect(status).to.equal(1);
    expect(err).to.include(`${folder}/second/b.ts: 'shop.price' is the name of the service in ${folder}/first/a.ts`);
  });
  it('check: a URL with a password in it is told where it stands, and without the password', () => {
    const { status, err } = check(
      {
        'server.yaml': `plugins: { codec.json: {}, http.koa: {}, transport.rest: {} }
connections:
  - { name: crm, transport: rest, options: { url: "https://crm.example" } }
  - { name: erp, transport: rest, options: { url: "https://gantry:\${env:ERP_PASSWORD}@erp.example" } }`,
      },
      { ERP_PASSWORD: 'hunter2' },
    );
    expect(status).to.equal(1);
    expect(err).to.include('connections[1] (erp).options.url: carries a user name or password');
    expect(err).to.include('security: { kind: basic').and.not.include('hunter2').and.not.include('(crm)');
  });
  it('check: keys that are none are told, and nothing of them', () => {
    const server = 'secrets: { keys: "${env:KEYS:-}" }';
    const { status, err } = check({ 'server.yaml': server }, { KEYS: `${'0'.repeat(64)} hunter2` });
    expect(status).to.equal(1);
    expect(err).to.include('secrets.keys: Key 2 of 2').and.include('openssl rand').and.not.include('hunter2');
    expect(check({ 'server.yaml': server }, { KEYS: '0'.repeat(64) }).status).to.equal(0);
    expect(check({ 'server.yaml': server }).status).to.equal(0);
    expect(check({ 'server.yaml': 'secrets: { keys: [a] }' }).err).to.include('a secret that is a list');
  });
  it('a wrong word or option is told with the usage, and exits with 2 as in a client', () => {
    for (const [args, told] of [
      [['check', 'check'], "'check' is one word too many.\nUsage: "],
      [['start', '--confg', 'x'], "Unknown option '--confg'.\nUsage: "],
    ] as const) {
      const { status, err, out } = gantry([...args]);
      expect(err).to.include(told).and.not.include('Did you mean');
      expect([status, out]).to.deep.equal([2, '']);
    }
  });
  it('schema: prints the JSON schema, and --out writes it to a file', async () => {
    const file = path.join(dir, 'schema.json');
    expect(gantry(['schema', '--out', file])).to.deep.equal({ status: 0, out: '', err: '' });
    expect(JSON.parse(readFileSync(file, 'utf8'))).to.deep.equal(
      JSON.parse(JSON.stringify(await configSchema(loader))),
    );
  });
  it('its generated files are fresh: npm run schema writes them both', async () => {
    expect(readFileSync(path.join(home, 'docs/configuration.md'), 'utf8')).to.equal(await configDocs());
    const schema = `${JSON.stringify(await configSchema(loader), null, 2)}\n`;
    expect(readFileSync(path.join(home, 'config/schema.json'), 'utf8')).to.equal(schema);
    const { scripts } = JSON.parse(readFileSync(path.join(home, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>;
    };
    expect(scripts['schema'])
      .to.include('--out config/schema.json')
      .and.include('.build/config-docs.ts docs/configuration.md');
  });
});
