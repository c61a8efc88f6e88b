import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import fc from 'fast-check';
import { Type } from 'typebox';
import { stringify } from 'yaml';
import { merge, readConfig, surveyConfig } from '../../../core/config/config.ts';
import { type Config, Entry } from '../../../core/config/root.ts';
import { explain, GantryError } from '../../../core/errors.ts';
import { compileConfig } from '../../../core/schema/check.ts';
import { SecretText } from '../../../core/schema/secret.ts';
import { plain, settle } from '../../../core/schema/settle.ts';

type Env = Readonly<Record<string, string | undefined>>;

describe('config', () => {
  const dir = mkdtempSync(path.join(tmpdir(), 'gantry-config-'));
  let count = 0;
  after(() => rmSync(dir, { recursive: true }));

  /** A path in the folder that was written last. */
  const inFolder = (...names: string[]) => path.resolve(dir, String(count), ...names);

  /** Writes files into a fresh folder and reads the first one. */
  function read(files: Record<string, string> | string, env: Env = {}) {
    const folder = path.join(dir, String(++count));
    const all = typeof files === 'string' ? { 'server.yaml': files } : files;
    for (const [name, text] of Object.entries(all)) {
      mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
      writeFileSync(path.join(folder, name), text);
    }
    return readConfig(path.join(folder, Object.keys(all)[0] as string), { env }).config;
  }
  function refusal(files: Record<string, string> | string, env: Env = {}): GantryError {
    try {
      read(files, env);
    } catch (error) {
      expect(error, String((error as Error).stack)).to.be.instanceOf(GantryError);
      return error as GantryError;
    }
    return expect.fail('it was read');
  }
  const block = (config: Config, id = 'http.koa') => plain(config.plugins[id]);

  describe('layers', () => {
    it('an empty file is all defaults', () => {
      expect(read('')).to.deep.equal({
        name: 'gantry',
        data: inFolder('data'),
        log: { level: 'info', levels: {} },
        startTimeoutMs: 15_000,
        graceMs: 30_000,
        plugins: {},
        services: [],
        channels: [],
        connections: [],
        security: [],
        secrets: {},
      });
      const comment = { ...read('# only a comment\n'), data: '' };
      expect(comment).to.deep.equal({ ...read('{}'), data: '' });
    });
    it('extends: a chain, from folder to folder, maps merged, services added to and everything else replaced', () => {
      const config = read({
        'roles/server.yaml':
          'extends: ../base/middle.yaml\nname: top\nplugins: { http.koa: { port: 3, hosts: [c] } }\nservices: [c]',
        'base/middle.yaml':
          'extends: ./bottom.yaml\nname: middle\ngraceMs: 2\nplugins: { http.koa: { port: 2, host: b, hosts: [a, b] } }\nservices: [b]',
        'base/bottom.yaml':
          'name: bottom\ngraceMs: 1\nstartTimeoutMs: 1\nplugins: { http.koa: { host: a, tls: { cert: x } } }\nservices: [a, b]',
      });
      expect(config).to.include({ name: 'top', graceMs: 2, startTimeoutMs: 1 });
      expect(block(config)).to.deep.equal({ port: 3, host: 'b', hosts: ['c'], tls: { cert: 'x' } });
      expect(config.services).to.deep.equal([inFolder('base/a'), inFolder('base/b'), inFolder('roles/c')]);
    });
    it('the local file lies over all of them', () => {
      const config = read({
        'server.yaml': 'extends: ./base.yaml\nname: server\nplugins: { http.koa: { port: 1 } }',
        'base.yaml': 'plugins: { http.koa: { host: a } }',
        'base.local.yaml': 'name: never',
        'server.local.yaml': 'plugins: { http.koa: { port: 2 } }',
      });
      expect(config.name).to.equal('server');
      expect(block(config)).to.deep.equal({ port: 2, host: 'a' });
    });
    it('a local file says nothing of "extends": it would be heard by nobody', () => {
      const error = refusal({
        'server.yaml': '',
        'server.local.yaml': 'extends: ./other.yaml',
        'other.yaml': 'name: x',
      });
      expect(error.message).to.include('server.local.yaml').and.include('extends');
    });
    it('a local file that cannot be read is told as such', () => {
      const error = refusal({ 'server.yaml': '', 'server.local.yaml/x': '' });
      expect(error.code).to.equal('CONFIG_UNREADABLE');
      expect(error.message).to.include('server.local.yaml');
    });
    it('null removes what was inherited, at every depth', () => {
      const config = read({
        'server.yaml': 'extends: ./base.yaml\nplugins: { http.koa: null, stats.memory: { size: null } }\ngraceMs: null',
        'base.yaml': 'graceMs: 5\nplugins: { http.koa: { port: 1 }, stats.memory: { size: 1, keep: 2 } }',
      });
      expect(Object.keys(config.plugins)).to.deep.equal(['stats.memory']);
      expect(block(config, 'stats.memory')).to.deep.equal({ keep: 2 });
      expect(config.graceMs).to.equal(30_000);
    });
    it('JSON is YAML', () => {
      expect(block(read('{"plugins": {"http.koa": {"port": 1}}}'))).to.deep.equal({ port: 1 });
    });
    it('what names itself, or a circle of files, is refused with the circle', () => {
      expect(refusal('extends: ./server.yaml').message).to.match(/server\.yaml -> .*server\.yaml/);
      const error = refusal({ 'a.yaml': 'extends: b.yaml', 'b.yaml': 'extends: c.yaml', 'c.yaml': 'extends: b.yaml' });
      expect(error.code).to.equal('CONFIG_INVALID');
      expect(error.message).to.match(/a\.yaml -> .*b\.yaml -> .*c\.yaml -> .*b\.yaml/);
    });
    it('a file that is not there is named, and so is the file that names it', () => {
      const error = refusal('extends: ./nowhere.yaml');
      expect(error.code).to.equal('CONFIG_UNREADABLE');
      expect(error.message).to.include('nowhere.yaml');
      expect(error.hint).to.include('server.yaml');
      expect(() => readConfig(path.join(dir, 'none.yaml'))).to.throw(GantryError, 'none.yaml');
      expect(() => readConfig(dir)).to.throw(GantryError, 'EISDIR');
    });
    it('extends is one path', () => {
      for (const text of ['extends: [a.yaml, b.yaml]', 'extends: { a: b }', 'extends: 5'])
        expect(refusal(text).message).to.include('"extends"');
    });
  });

  describe('lists of a layer', () => {
    const channel = (name: string, more = '') =>
      `{ name: ${name}, transport: t, address: { path: /${name} }, service: s${more} }`;
    const connection = (name: string, more = '') =>
      `{ name: ${name}, transport: t, options: { url: u, retry: { attempts: 1 } }${more} }`;

    it('channels and connections are merged by name, in the order in which the names came first', () => {
      const config = read({
        'server.yaml': `extends: ./base.yaml
channels: [${channel('c')}, { name: a, address: { method: GET }, settings: { etag: true } }]
connections: [{ name: y, options: { retry: { attempts: 5 } } }, ${connection('z')}]`,
        'base.yaml': `channels: [${channel('a', ', timeoutMs: 5')}, ${channel('b')}]
connections: [${connection('x')}, ${connection('y')}]`,
      });
      const rest = { transport: 't', service: 's', format: 'json', active: true };
      expect(config.channels).to.deep.equal([
        { ...rest, name: 'a', address: { path: '/a', method: 'GET' }, timeoutMs: 5, settings: { etag: true } },
        { ...rest, name: 'b', address: { path: '/b' }, timeoutMs: 60_000 },
        { ...rest, name: 'c', address: { path: '/c' }, timeoutMs: 60_000 },
      ]);
      expect(config.connections.map(({ name, options }) => [name, options])).to.deep.equal([
        ['x', { url: 'u', retry: { attempts: 1 } }],
        ['y', { url: 'u', retry: { attempts: 5 } }],
        ['z', { url: 'u', retry: { attempts: 1 } }],
      ]);
    });
    it('a local file adds one and switches one off, and needs to repeat nothing', () => {
      const config = read({
        'server.yaml': `channels: [${channel('a')}, ${channel('b')}]\nconnections: [${connection('x')}]`,
        'server.local.yaml': `channels: [{ name: a, active: false }, ${channel('mine')}]
connections: [{ name: x, active: false }, ${connection('mine')}]`,
      });
      expect(config.channels.map(({ name, active }) => [name, active])).to.deep.equal([
        ['a', false],
        ['b', true],
        ['mine', true],
      ]);
      expect(config.channels[0]).to.deep.include({ transport: 't', address: { path: '/a' }, service: 's' });
      expect(config.connections.map(({ name, active }) => [name, active])).to.deep.equal([
        ['x', false],
        ['mine', true],
      ]);
    });
    it('null takes a key away from one, and the whole list from the layers below', () => {
      const files = (over: string) => ({
        'server.yaml': `extends: ./base.yaml\n${over}`,
        'base.yaml': `channels: [${channel('a', ', timeoutMs: 5, format: xml')}]\nconnections: [${connection('x')}]\nservices: [s]`,
      });
      const [one] = read(files('channels: [{ name: a, timeoutMs: null }]')).channels;
      expect(one).to.include({ format: 'xml', timeoutMs: 60_000 });
      const none = read(files('channels: null\nconnections: null\nservices: null'));
      expect([none.channels, none.connections, none.services]).to.deep.equal([[], [], []]);
    });
    it('lists in one of them are replaced, as everywhere', () => {
      const config = read({
        'server.yaml': 'extends: ./base.yaml\nchannels: [{ name: a, formats: [xml] }]',
        'base.yaml': `channels: [${channel('a', ', formats: [json, csv]')}]`,
      });
      expect(config.channels[0]?.formats).to.deep.equal(['xml']);
    });
    it('two of one name in one file stay two, for the check to tell, and so do those without a name', () => {
      const twice = `channels: [${channel('a')}, ${channel('a', ', timeoutMs: 1')}, ${channel('b')}, ${channel('b')}]`;
      const names = (files: Record<string, string>) => read(files).channels.map((c) => c.name);
      expect(names({ 'server.yaml': twice })).to.deep.equal(['a', 'a', 'b', 'b']);
      expect(
        names({ 'server.yaml': `extends: ./base.yaml\n${twice}`, 'base.yaml': `channels: [${channel('a')}]` }),
      ).to.deep.equal(['a', 'a', 'b', 'b']);
      const nameless = '{ transport: t, address: {}, service: s }';
      const error = refusal({
        'server.yaml': `extends: ./base.yaml\nchannels: [${nameless}]`,
        'base.yaml': `channels: [${nameless}]`,
      });
      expect(error.problems?.map((p) => p.path)).to.deep.equal(['channels.0.name', 'channels.1.name']);
    });
    it('services are added to, and a folder that two files name is there once', () => {
      const config = read({
        'roles/server.yaml': 'extends: ../base/base.yaml\nservices: [../services/shop, ../services/health/, ./own.ts]',
        'base/base.yaml': 'services: [../services/health]',
        'roles/server.local.yaml': 'services: [../services/mine, ../services/shop]',
      });
      expect(config.services).to.deep.equal(
        ['services/health', 'services/shop', 'roles/own.ts', 'services/mine'].map((name) => inFolder(name)),
      );
    });
    it('an absolute folder is the same one however its path is written', () => {
      const files = {
        'server.yaml': 'extends: ./base.yaml\nservices: [//shop/, /shop/../own]',
        'base.yaml': 'services: [/shop]',
      };
      expect(read(files).services).to.deep.equal(['/shop', '/own'].map((name) => path.resolve(name)));
    });
  });

  describe('paths', () => {
    const uses = (config: Config) =>
      Object.fromEntries(
        Object.entries(config.plugins).map(([id, own]) => [id, (plain(own) as { use?: unknown }).use]),
      );

    it('are relative to the file in which they stand, also when another one extends it', () => {
      const config = read({
        'roles/server.yaml':
          'extends: ../base/base.yaml\nservices: [./own]\nplugins: { feature.a: { use: ./a.ts }, feature.b: { use: ../b } }\nname: "${file:secret}"',
        'roles/secret': 'of the role',
        'base/base.yaml':
          'services: [./shared]\nplugins: { feature.c: { use: ./c.ts, keys: [{ key: "<${file:secret}>" }] }, feature.d: { use: .. } }',
        'base/secret': 'of the base',
        'roles/server.local.yaml': 'plugins: { feature.e: { use: ./e.ts } }',
      });
      expect(config.services).to.deep.equal([inFolder('base/shared'), inFolder('roles/own')]);
      expect(uses(config)).to.deep.equal({
        'feature.a': inFolder('roles/a.ts'),
        'feature.b': inFolder('b'),
        'feature.c': inFolder('base/c.ts'),
        'feature.d': inFolder('.'),
        'feature.e': inFolder('roles/e.ts'),
      });
      expect(config.name).to.equal('of the role');
      expect(block(config, 'feature.c')).to.deep.include({ keys: [{ key: '<of the base>' }] });
    });
    it('a module that is no relative path stays what it is', () => {
      const config = read(
        'plugins: { a.b: { use: "@acme/x" }, a.c: { use: transport.rest }, a.d: { use: /opt/x.ts }, a.e: { use: .hidden }, a.f: {} }',
      );
      expect(Object.values(uses(config))).to.deep.equal([
        '@acme/x',
        'transport.rest',
        '/opt/x.ts',
        '.hidden',
        undefined,
      ]);
      expect(read('services: [/srv/services]').services).to.deep.equal(['/srv/services']);
    });
    it('with a reference in them they are, too; what begins with one is relative to the main file, or absolute', () => {
      const config = read(
        {
          'roles/server.yaml': 'extends: ../base/base.yaml',
          'base/base.yaml':
            'services: ["./${env:AREA}/x", "${env:AREA}", "${env:ROOT}/y"]\nplugins: { feature.a: { use: "./${env:AREA}.ts" } }',
        },
        { AREA: 'shop', ROOT: '/srv' },
      );
      expect(config.services).to.deep.equal([inFolder('base/shop/x'), inFolder('roles/shop'), '/srv/y']);
      expect(path.resolve(String(uses(config)['feature.a']))).to.equal(inFolder('base/shop.ts'));
    });
    it('no folder is made of an empty one', () => {
      expect(read('services: [""]').services).to.deep.equal(['']);
      expect(read('services: ["${env:MORE:-}"]').services).to.deep.equal(['']);
    });

    describe('data', () => {
      const data = (text: string, env: Env = {}) => read({ 'roles/server.yaml': text }, env).data;

      it('is beside the config file where nothing, or an empty text, is said', () => {
        for (const text of ['', 'data: ""', 'data: null', 'data: "${env:NONE:-}"', 'data: "${env:EMPTY}"'])
          expect(data(text, { EMPTY: '' }), text).to.equal(inFolder('roles/data'));
      });
      it('is beside a folder config, and never where an installation would remove it', () => {
        expect(read({ 'config/server.yaml': '' }).data).to.equal(inFolder('data'));
        expect(read({ 'node_modules/gantry/config/server.yaml': '' }).data).to.equal(path.resolve('data'));
      });
      it('is relative to the main config file, in whichever layer it is written', () => {
        expect(data('data: ./x')).to.equal(inFolder('roles/x'));
        expect(data('data: /var/lib/x')).to.equal('/var/lib/x');
        const extended = { 'roles/server.yaml': 'extends: ../base.yaml', 'base.yaml': 'data: ./x' };
        expect(read(extended).data).to.equal(inFolder('roles/x'));
        expect(read({ ...extended, 'base.yaml': '' }).data).to.equal(inFolder('roles/data'));
      });
      it('is relative to the working folder where a reference wrote it', () => {
        expect(data('data: "${env:DATA}"', { DATA: 'x' })).to.equal(path.resolve('x'));
        expect(data('data: "${env:DATA:-y}/z"')).to.equal(path.resolve('y/z'));
        expect(data('data: "${env:DATA}"', { DATA: '/var/lib/x' })).to.equal('/var/lib/x');
      });
      it('is text', () => {
        for (const text of ['data: 5', 'data: [a]', 'data: { a: b }'])
          expect(
            refusal(text).problems?.map((p) => p.path),
            text,
          ).to.deep.equal(['data']);
      });
    });
  });

  describe('an entry of "plugins"', () => {
    const entry = (yaml: string, env: Env = {}) => {
      const { use, optional } = read(`plugins:\n  a.b: ${yaml}`, env).plugins['a.b'] as Record<string, unknown>;
      const settled = plain(settle(Entry, { use, optional })) as Entry;
      return { settled, problems: compileConfig(Entry)(settled, 'plugins.a.b').map((p) => [p.path, p.got]) };
    };
    it('has a module and may be optional, by references too', () => {
      const { settled, problems } = entry('{ use: "${env:M}", optional: "${env:O}" }', { M: '@acme/x', O: 'true' });
      expect(settled).to.deep.equal({ use: '@acme/x', optional: true });
      expect(problems).to.deep.equal([]);
      expect(entry('{ port: 1 }').problems).to.deep.equal([]);
    });
    it('is checked', () => {
      expect(entry('{ use: 5, optional: "true" }').problems).to.deep.equal([
        ['plugins.a.b.use', '5'],
        ['plugins.a.b.optional', '"true"'],
      ]);
      expect(entry('{ use: "", optional: "${env:O}" }', { O: 'maybe' }).problems).to.deep.equal([
        ['plugins.a.b.use', '""'],
        ['plugins.a.b.optional', '"maybe"'],
      ]);
    });
  });

  describe('the text', () => {
    it('invalid YAML is told with file and line', () => {
      const error = refusal('name: a\nplugins:\n  http.koa: { port: 1\nservices: []');
      expect(error.code).to.equal('CONFIG_INVALID');
      expect(error.message).to.match(/server\.yaml .*at line [34]/);
    });
    it('a key that stands twice is refused, with its line', () => {
      expect(refusal('name: a\ngraceMs: 1\nname: b').message).to.match(/unique at line 3/);
      expect(refusal('plugins:\n  http.koa: {}\n  http.koa: {}').message).to.match(/unique at line 3/);
    });
    it('what is no map is refused', () => {
      for (const text of ['- a', 'text', '5', '*x', '[]']) expect(refusal(text).code, text).to.equal('CONFIG_INVALID');
    });
    it('two documents in one file are refused', () => {
      expect(refusal('name: a\n---\nname: b').code).to.equal('CONFIG_INVALID');
    });
    it('anchors and aliases are read', () => {
      const config = read('plugins:\n  a.x: &shared { size: 1 }\n  a.y: *shared');
      expect(config.plugins).to.deep.equal({ 'a.x': { size: 1 }, 'a.y': { size: 1 } });
    });
    it('aliases that multiply are refused at once', () => {
      const levels = Array.from(
        { length: 20 },
        (_, i) => `  l${i + 1}: &l${i + 1} { ${[...'abcdefghi'].map((k) => `${k}: *l${i}`).join(', ')} }`,
      );
      const startedAt = performance.now();
      const error = refusal(`plugins:\n  l0: &l0 { x: 1 }\n${levels.join('\n')}`);
      expect(error.code).to.equal('CONFIG_INVALID');
      expect(error.message).to.include('server.yaml').and.include('alias');
      expect(performance.now() - startedAt).to.be.lessThan(2000);
    });
    it('an alias that leads nowhere, or to itself, is refused', () => {
      for (const text of [
        'plugins: { a.x: *nowhere }',
        'plugins: &p { a.x: *p }',
        'services: &s [*s]',
        'plugins: { a.x: &x { y: { z: [*x] } } }',
      ])
        expect(refusal(text).message, text).to.match(/alias/i);
    });
    it("a key '__proto__' is refused wherever it stands, and nothing is polluted", () => {
      for (const text of [
        '__proto__: { polluted: 1 }',
        'plugins: { __proto__: { polluted: 1 } }',
        'plugins: { http.koa: { deep: { __proto__: { polluted: 1 } } } }',
        'plugins: { http.koa: { list: [{ __proto__: { polluted: 1 } }] } }',
        '{"channels": [{"__proto__": {"polluted": 1}}]}',
      ]) {
        expect(refusal(text).message, text).to.include('__proto__').and.include('server.yaml');
        expect(({} as { polluted?: number }).polluted).to.equal(undefined);
      }
    });
    it('a key like that of an inherited property is a key like any other', () => {
      const config = read({
        'server.yaml':
          'extends: b.yaml\nplugins: { http.koa: { constructor: { a: 1 }, toString: 2, hasOwnProperty: { b: 1 } } }',
        'b.yaml': 'plugins: { http.koa: { constructor: { prototype: { c: 1 } } } }',
      });
      expect(block(config)).to.deep.equal({
        constructor: { prototype: { c: 1 }, a: 1 },
        toString: 2,
        hasOwnProperty: { b: 1 },
      });
      expect(({} as { c?: number }).c).to.equal(undefined);
    });
  });

  describe('the root', () => {
    it('an unknown key is refused, with the nearest known one', () => {
      const error = refusal('plugin: {}\nlog: { levle: debug }\nwhatever: 1');
      expect(error.problems?.map((p) => [p.path, p.hint?.includes('Did you mean')])).to.have.deep.members([
        ['plugin', true],
        ['whatever', false],
        ['log.levle', true],
      ]);
      expect(error.problems?.find((p) => p.path === 'plugin')?.hint).to.equal("Did you mean 'plugins'?");
    });
    it('all problems are told at once, each with its path, what was expected and what came', () => {
      const error = refusal('name: ""\ngraceMs: soon\nlog: { level: loud }\nservices: demo\nchannels: [{ name: a }]');
      expect(error.problems?.map((p) => p.path)).to.include.members([
        'name',
        'graceMs',
        'log.level',
        'services',
        'channels.0.service',
      ]);
      const grace = error.problems?.find((p) => p.path === 'graceMs');
      expect(grace).to.include({ message: 'must be an integer', expected: 'an integer', got: '"soon"' });
      expect(error.message).to.include(String(error.problems?.length));
    });
    it('a survey tells the same problems and goes on, as far as the shapes allow', () => {
      const survey = (text: string) => {
        read('');
        writeFileSync(inFolder('server.yaml'), text);
        const { config, dir: folder, problems, usable } = surveyConfig(inFolder('server.yaml'), { env: {} });
        expect(folder).to.equal(inFolder('.'));
        return { config, usable, paths: problems.map((p) => p.path) };
      };
      const some = survey('name: ${env:NAME}\ngraceMs: soon\nplugins: { http.koa: { port: 1 } }\nservices: [a]');
      expect(some.paths).to.have.members(['name', 'graceMs']);
      expect(some.usable).to.equal(true);
      expect([block(some.config), some.config.services]).to.deep.equal([{ port: 1 }, [inFolder('a')]]);
      for (const text of ['plugins: []', 'plugins: { a.b: 5 }', 'services: a', 'services: [5]', 'log: { level: 5 }'])
        expect(survey(text).usable, text).to.equal(false);
      expect(survey('')).to.deep.include({ usable: true, paths: [] });
      expect(() => survey('a: [')).to.throw(GantryError, 'YAML');
    });
    it('no time is longer than a timer can wait: it would fire at once', () => {
      expect(refusal('graceMs: 3000000000').problems?.[0]?.path).to.equal('graceMs');
      expect(refusal('startTimeoutMs: 3000000000').problems?.[0]?.path).to.equal('startTimeoutMs');
    });
    it('explain tells a problem to a person, a line for each fact', () => {
      const text = explain({ path: 'plugins.a.b', plugin: 'a', message: 'm', expected: 'e', got: 'g', hint: 'h' });
      expect(text.split('\n').map((line) => line.trim())).to.deep.equal([
        'plugins.a.b (plugin a): m',
        'expected: e',
        'got:      g',
        'hint:     h',
      ]);
      expect(explain({ path: 'name', message: 'm' })).to.equal('name: m');
    });
  });

  describe('references', () => {
    it('env and file are put in, alone and inside a text', () => {
      const config = read(
        {
          'server.yaml':
            'name: ${env:NAME}\nplugins: { a.b: { url: "http://${env:HOST}:8080/${file:secret}/${env:HOST}", list: ["${env:NAME}"] } }',
          secret: 'from-file\n',
        },
        { NAME: 'n1', HOST: 'h1' },
      );
      expect(config.name).to.equal('n1');
      expect(block(config, 'a.b')).to.deep.equal({ url: 'http://h1:8080/from-file/h1', list: ['n1'] });
    });
    it('a default stands where the variable is not set, or empty', () => {
      const of = (env: Env) => read('name: ${env:NAME:-fallback}\nplugins: { a.b: { text: "a${env:NONE:-}b" } }', env);
      expect(of({}).name).to.equal('fallback');
      expect(block(of({}), 'a.b')).to.deep.equal({ text: 'ab' });
      expect(of({ NAME: '' }).name).to.equal('fallback');
      expect(of({ NAME: 'set' }).name).to.equal('set');
      expect(read('name: "x${env:NAME}"', { NAME: '' }).name).to.equal('x');
    });
    it("a file's path is relative to the config file, and only its last line break is not text", () => {
      const config = read({ 'roles/server.yaml': 'name: ${file:../secrets/a}', 'secrets/a': ' b \n\n' });
      expect(config.name).to.equal(' b \n');
    });
    it('what a value holds is text: no reference in it is followed, no pattern in it means anything', () => {
      const config = read(
        { 'server.yaml': 'name: "${env:A}"\nplugins: { a.b: { text: "<${file:f}>" } }', f: '${env:B}' },
        { A: '$&${env:B}$1', B: 'x' },
      );
      expect(config.name).to.equal('$&${env:B}$1');
      expect(block(config, 'a.b')).to.deep.equal({ text: '<${env:B}>' });
    });
    it('takes the type that the schema declares; a quoted number in the file stays wrong', () => {
      const config = read(
        'graceMs: ${env:GRACE}\nchannels: [{ name: a, transport: t, address: {}, service: s, active: "${env:ON}", timeoutMs: "${env:GRACE}" }]',
        {
          GRACE: '250',
          ON: 'false',
        },
      );
      expect(config.graceMs).to.equal(250);
      expect(config.channels[0]).to.include({ active: false, timeoutMs: 250 });
      expect(refusal('graceMs: "8080"').problems?.[0]).to.include({
        path: 'graceMs',
        expected: 'an integer',
        got: '"8080"',
      });
      expect(refusal('graceMs: ${env:GRACE}', { GRACE: 'soon' }).problems?.[0]).to.include({
        path: 'graceMs',
        got: '"soon"',
      });
      expect(read('name: ${env:N}', { N: '42' }).name).to.equal('42');
    });
    it("takes the type of a plugin's own schema, wherever it stands in it", () => {
      const schema = Type.Object({
        port: Type.Integer(),
        quoted: Type.Unknown(),
        name: Type.String(),
        list: Type.Array(Type.Integer()),
        by: Type.Record(Type.String(), Type.Boolean()),
        either: Type.Union([Type.Literal('auto'), Type.Integer()]),
        both: Type.Intersect([Type.Object({ a: Type.Integer() }), Type.Object({ b: Type.Boolean() })]),
      });
      const config = read(
        `plugins:
  http.koa:
    port: \${env:N}
    quoted: "7"
    name: \${env:N}
    list: ["\${env:N}", 8]
    by: { x: "\${env:B}" }
    either: \${env:N}
    both: { a: "\${env:N}", b: "\${env:B}" }`,
        { N: '7', B: 'true' },
      );
      expect(plain(settle(schema, config.plugins['http.koa']))).to.deep.equal({
        port: 7,
        quoted: '7',
        name: '7',
        list: [7, 8],
        by: { x: true },
        either: 7,
        both: { a: 7, b: true },
      });
    });
    it('a module named by a reference is text for whoever makes text of it', () => {
      const { use } = read('plugins: { a.b: { use: "${env:M}" } }', { M: './x.ts' }).plugins['a.b'] as { use: unknown };
      expect(String(use)).to.equal('./x.ts');
    });
    it('everything that is missing is told at once, with its path, and once', () => {
      const error = refusal(
        'name: ${env:NAME}\ngraceMs: ${env:GRACE}\nplugins:\n  kv.redis: { url: "redis://${env:HOST}:${env:PORT}", list: [{ key: "${file:./none}" }] }',
      );
      expect(error.problems?.map((p) => [p.path, p.got])).to.have.deep.members([
        ['name', '${env:NAME}'],
        ['graceMs', '${env:GRACE}'],
        ['plugins.kv.redis.url', '${env:HOST}'],
        ['plugins.kv.redis.url', '${env:PORT}'],
        ['plugins.kv.redis.list[0].key', `\${file:${inFolder('none')}}`],
      ]);
      const byGot = (got: string) => error.problems?.find((p) => p.got === got);
      expect(byGot('${env:NAME}')?.message).to.include('NAME').and.include('not set');
      expect(byGot('${env:NAME}')?.hint).to.include('${env:NAME:-default}');
      const file = error.problems?.find((p) => p.path.endsWith('.key'));
      expect(file?.message).to.include(inFolder('none')).and.include('ENOENT');
    });
    it('a reference of a kind that does not exist is refused, and nothing else of the text is shown', () => {
      for (const strange of ['${vault:db}', '${NAME}', '${env.NAME}', '${aws-secret:x}', '${}', '${env:NAME']) {
        const error = refusal(`plugins: { kv.redis: { url: "hunter2 ${strange}" } }`, { NAME: 'x' });
        expect(error.problems, strange).to.have.length(1);
        expect(error.problems?.[0]).to.include({ path: 'plugins.kv.redis.url' });
        expect(error.problems?.[0]?.expected).to.include('${env:NAME}');
        expect(JSON.stringify(error.problems)).to.not.include('hunter2');
      }
      expect(read('name: "5$ {a} $b {}"').name).to.equal('5$ {a} $b {}');
    });
    it('only variables that are set count: no name finds what objects inherit', () => {
      for (const name of ['constructor', 'toString', '__proto__', 'hasOwnProperty']) {
        expect(refusal(`name: \${env:${name}}`).problems?.[0]?.message, name).to.include('not set');
        const folder = path.join(dir, String(++count));
        mkdirSync(folder);
        writeFileSync(path.join(folder, 'a.yaml'), `name: \${env:${name}:-none}`);
        expect(readConfig(path.join(folder, 'a.yaml')).config.name, name).to.equal('none');
      }
    });
    it('a secret is never in a problem, wherever it came from', () => {
      const schema = Type.Object(
        { password: SecretText({ minLength: 20 }), port: Type.Integer() },
        { additionalProperties: false },
      );
      const config = read(
        { 'server.yaml': 'plugins: { kv.redis: { password: "${env:PW}", port: "${file:f}" } }', f: '5' },
        { PW: 'hunter2' },
      );
      expect(plain(settle(schema, config.plugins['kv.redis']))).to.deep.equal({ password: 'hunter2', port: 5 });
      const error = refusal(
        {
          'server.yaml':
            'name: "${env:PW}"\nplugin: "${env:PW}"\ngraceMs: { a: "${env:PW}" }\nplugins: { kv.redis: "${env:PW}" }',
        },
        { PW: 'hunter2' },
      );
      expect(error.problems).to.have.length(3);
      const told = JSON.stringify([
        error.message,
        error.hint,
        error.problems?.filter((p) => p.path !== 'plugins.kv.redis'),
      ]);
      expect(told).to.not.include('hunter2');
    });
  });

  describe('merge', () => {
    /** A name tells whether it holds a map, so that no layer puts a map over a value: then a map merges with nothing. */
    const leaf = fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.array(fc.integer(), { maxLength: 3 }));
    const { tree } = fc.letrec((tie) => ({
      tree: fc
        .tuple(
          fc.dictionary(fc.constantFrom('a', 'b', 'constructor', 'toString'), leaf, {
            maxKeys: 3,
            noNullPrototype: true,
          }),
          fc.oneof(
            { maxDepth: 3 },
            fc.constant({}),
            fc.dictionary(fc.constantFrom('A', 'B'), tie('tree'), { maxKeys: 2, noNullPrototype: true }),
          ),
        )
        .map(([leaves, maps]) => ({ ...leaves, ...(maps as object) })),
    }));
    const trees = tree as fc.Arbitrary<Record<string, unknown>>;

    it('is associative', () => {
      fc.assert(
        fc.property(trees, trees, trees, (a, b, c) => {
          expect(merge(merge(a, b), c)).to.deep.equal(merge(a, merge(b, c)));
        }),
      );
    });
    it('of a layer and nothing is the layer, on either side', () => {
      fc.assert(
        fc.property(trees, (a) => {
          expect(merge(a, {})).to.deep.equal(a);
          expect(merge({}, a)).to.deep.equal(a);
          expect(merge(a, a)).to.deep.equal(a);
        }),
      );
    });
    it('has the keys of both, and the values of the upper layer', () => {
      const holds = (made: Record<string, unknown>, a: Record<string, unknown>, b: Record<string, unknown>): void => {
        expect(Object.keys(made)).to.have.members([...new Set([...Object.keys(a), ...Object.keys(b)])]);
        for (const [key, value] of Object.entries(made)) {
          const [under, over] = [
            Object.hasOwn(a, key) ? a[key] : undefined,
            Object.hasOwn(b, key) ? b[key] : undefined,
          ];
          if (/^[AB]$/.test(key))
            holds(value as typeof made, (under ?? {}) as typeof made, (over ?? {}) as typeof made);
          else expect(value).to.equal(over ?? under);
        }
      };
      fc.assert(fc.property(trees, trees, (a, b) => holds(merge(a, b) as Record<string, unknown>, a, b)));
    });
    it('changes neither layer', () => {
      fc.assert(
        fc.property(trees, trees, (a, b) => {
          const before = structuredClone([a, b]);
          merge(a, b);
          expect([a, b]).to.deep.equal(before);
        }),
      );
    });
    it('null removes, and is never left over', () => {
      expect(merge({ a: 1, b: { c: 1, d: 2 } }, { a: null, b: { c: null }, e: null, f: { g: null } })).to.deep.equal({
        b: { d: 2 },
        f: {},
      });
    });
    it('pollutes nothing, whatever the layers hold', () => {
      const keys = fc.constantFrom('__proto__', 'constructor', 'prototype', 'a', 'polluted');
      const { evil } = fc.letrec((tie) => ({
        evil: fc.oneof(
          { maxDepth: 4 },
          leaf,
          fc.array(tie('evil'), { maxLength: 2 }),
          fc.dictionary(keys, tie('evil'), { noNullPrototype: true }),
        ),
      }));
      fc.assert(
        fc.property(evil, evil, (a, b) => {
          const [under, over] = [JSON.parse(JSON.stringify(a)), JSON.parse(JSON.stringify(b))] as [unknown, unknown];
          try {
            merge(merge({}, under), over);
          } catch (error) {
            expect((error as GantryError).message).to.include('__proto__');
          }
          expect(Object.keys(Object.prototype)).to.deep.equal([]);
          expect(({} as { polluted?: unknown }).polluted).to.equal(undefined);
        }),
        { numRuns: 300 },
      );
    });
  });

  it('what is written as YAML is read back as it was', () => {
    const name = fc
      .string({ unit: 'grapheme', minLength: 1, maxLength: 100 })
      .filter((s) => !s.includes('${') && s.length <= 100);
    const key = fc.string({ unit: 'grapheme' }).filter((s) => s !== '__proto__');
    const value = fc.oneof(
      name,
      fc.constantFrom(
        'yes',
        'no',
        'null',
        '~',
        '1e3',
        '0x10',
        '- a',
        '#',
        ': ',
        '2001-01-01',
        '*a',
        '&a',
        '!t',
        '%',
        '@',
        '\n',
        '\t',
        '\u2028',
      ),
      fc.boolean(),
      fc.integer(),
      fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => (n === 0 ? 0 : n)),
    );
    const { data } = fc.letrec((tie) => ({
      data: fc.oneof(
        { maxDepth: 3 },
        value,
        fc.array(tie('data'), { maxLength: 3 }),
        fc.dictionary(key, tie('data'), { maxKeys: 3, noNullPrototype: true }),
      ),
    }));
    const config = fc.record({
      name,
      data: name,
      graceMs: fc.nat(),
      startTimeoutMs: fc.integer({ min: 1 }),
      log: fc.record(
        { level: fc.constantFrom('info', 'debug'), levels: fc.constant({ 'a.b': 'warn' }) },
        { noNullPrototype: true },
      ),
      plugins: fc.dictionary(key, fc.dictionary(key, data as fc.Arbitrary<unknown>, { noNullPrototype: true }), {
        noNullPrototype: true,
      }),
      services: fc.array(name, { maxLength: 3 }),
      channels: fc.constant([]),
      connections: fc.constant([]),
      security: fc.constant([]),
      secrets: fc.constant({}),
    });
    fc.assert(
      fc.property(config, (given) => {
        const config = read({ 'server.yaml': stringify(given) });
        const services = given.services.map((name) => inFolder(name));
        expect(config).to.deep.equal({ ...given, data: inFolder(given.data), services });
      }),
      { numRuns: 150 },
    );
  });

  it('whatever bytes a file holds, it is read or refused, and never hangs', () => {
    const piece = fc.constantFrom(
      'a',
      ': ',
      '\n',
      '  ',
      '- ',
      '{',
      '}',
      '[',
      ']',
      '*a',
      '&a ',
      '"',
      "'",
      '|',
      '>',
      '#',
      '!!str ',
      '? ',
      'plugins',
      'name',
      '${env:',
      '}',
      '\t',
      '\u0000',
      '<<',
      '---',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
        try {
          read(pieces.join(''));
        } catch (error) {
          expect(error, `${JSON.stringify(pieces.join(''))} ${(error as Error).stack}`).to.be.instanceOf(GantryError);
        }
      }),
      { numRuns: 500 },
    );
  });
});
