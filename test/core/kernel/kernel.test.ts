import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { mock } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { expect } from 'chai';
import fc from 'fast-check';
import {
  Call,
  definePlugin,
  defineService,
  GantryError,
  type Plugin,
  pause,
  type Secret,
  SecretText,
  Type,
} from '../../../core/api.ts';
import { readConfig } from '../../../core/config/config.ts';
import { loader } from '../../../core/doors.ts';
import { order } from '../../../core/kernel/order.ts';
import type { Loaded } from '../../../core/kernel/plugin.ts';
import { PORTS } from '../../../core/ports/table.ts';
import { Process, type ProcessOptions } from '../../../core/process.ts';
import { direct, journal, json, serve } from '../../fixtures/direct.ts';

const fixtures = path.join(import.meta.dirname, 'fixtures');

/** An entry of the config: the fixture `use`, under its own id or another key. */
async function entry(use: string, config: Record<string, unknown> = {}, more: Partial<Loaded> = {}): Promise<Loaded> {
  const plugin = await loader.plugin(`./${use}.ts`, fixtures);
  return { id: plugin.id, plugin, config, ...more };
}
async function create(entries: readonly (Loaded | Promise<Loaded>)[], options: Partial<ProcessOptions> = {}) {
  const { logs, lines } = journal();
  const kernel = new Process({ logs, dir: fixtures, graceMs: 100, ...options }).create(await Promise.all(entries));
  /** 'feature.good start', in the order in which it came. */
  const life = () =>
    lines
      .filter((l) => ['start', 'pause', 'stop'].includes(l.msg))
      .map((l) => `${l.plugin.replace('feature.', '')} ${l.msg}`);
  return { kernel, lines, life };
}
async function refusal(work: () => unknown): Promise<GantryError> {
  try {
    await work();
  } catch (error) {
    expect(error, String((error as Error)?.stack)).to.be.instanceOf(GantryError);
    return error as GantryError;
  }
  return expect.fail('nothing was thrown');
}
/** A plugin made here, which notes what happens to it. */
function noting(
  id: string,
  notes: string[],
  more: { needs?: string[]; wants?: string[]; methods?: object } = {},
): Loaded {
  const plugin = {
    id,
    api: 1,
    config: Type.Object({}),
    needs: more.needs ?? [],
    wants: more.wants ?? [],
    create: (given: object) => {
      notes.push(`create ${id}`);
      expect(Object.keys(given)).to.include.members([...(more.needs ?? []), ...(more.wants ?? [])]);
      return {
        supports: { reply: true, headers: false, largeBody: false },
        ...Object.fromEntries(PORTS[id.split('.')[0] as 'http'].methods.map((m) => [m, () => ({})])),
        start: async () => void notes.push(`start ${id}`),
        stop: async () => void notes.push(`stop ${id}`),
        ...more.methods,
      };
    },
  } as unknown as Plugin;
  return { id, plugin, config: {} };
}

describe('loading a plugin', () => {
  const malformed: [string, RegExp][] = [
    ['no-default', /no default export/],
    ['wrong-id', /the id 'Feature One'.*<port>\.<name>/],
    ['unknown-port', /the id 'teleport\.beam'.*ports codec, .*transport/],
    ['wrong-api', /version 2 .*version 1/],
    ['no-create', /no create\(\)/],
    ['no-config', /no config schema/],
  ];
  for (const [use, message] of malformed) {
    it(`${use}: is refused, and says why`, async () => {
      const error = await refusal(() => loader.plugin(`./${use}.ts`, fixtures));
      expect(error.code).to.equal('PLUGIN_MALFORMED');
      expect(error.message).to.include(`'./${use}.ts'`).and.match(message);
    });
  }

  it('by path: TypeScript and JavaScript, relative and absolute, with or without its ending', async () => {
    for (const use of ['./good.ts', path.join(fixtures, 'good.ts')])
      expect((await loader.plugin(use, fixtures)).id).to.equal('feature.good');
    for (const use of ['./javascript.js', './javascript'])
      expect((await loader.plugin(use, fixtures)).id).to.equal('feature.javascript');
    expect((await loader.plugin('./good', fixtures)).id).to.equal('feature.good');
  });
  it('by folder: its package.json, index.js or index.ts', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'gantry-plugin-'));
    const put = (file: string, text: string) => {
      mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
      writeFileSync(path.join(folder, file), text);
    };
    const source = (id: string) => `export default { id: '${id}', api: 1, config: {}, create: () => ({}) } as const;`;
    put('typed/index.ts', source('feature.typed'));
    put('plain/index.js', source('feature.plain').replace(' as const', ''));
    put('packed/package.json', '{ "main": "lib/plugin.js" }');
    put('packed/lib/plugin.js', source('feature.packed').replace(' as const', ''));
    put('packed/index.ts', source('feature.wrong'));
    put('nothing/readme.md', '');
    for (const name of ['typed', 'plain', 'packed']) {
      for (const use of [`./${name}`, `./${name}/`, path.join(folder, name)])
        expect((await loader.plugin(use, folder)).id, use).to.equal(`feature.${name}`);
    }
    expect((await loader.plugin('.', path.join(folder, 'typed'))).id).to.equal('feature.typed');
    expect((await loader.plugin('..', path.join(folder, 'typed/deep'))).id).to.equal('feature.typed');
    const error = await refusal(() => loader.plugin('./nothing', folder));
    expect(error).to.include({ code: 'PLUGIN_NOT_FOUND' });
    expect(error.message).to.include("'./nothing'").and.include('cannot be found');
    rmSync(folder, { recursive: true });
  });
  it("what it throws is this process's own error, wherever the file lies", async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'gantry-plugin-'));
    writeFileSync(
      path.join(folder, 'plugin.ts'),
      `import { definePlugin, GantryError, Type } from 'gantry/api';
       import { text } from './text.ts';
       export default definePlugin({ id: 'feature.far', api: 1, config: Type.Object({}), create() { throw new GantryError('CONFLICT', text); } });`,
    );
    writeFileSync(path.join(folder, 'text.ts'), `export const text: string = 'from beside';`);
    const plugin = await loader.plugin('./plugin.ts', folder);
    expect(() => plugin.create({} as never)).to.throw(GantryError, 'from beside');
    rmSync(folder, { recursive: true });
  });

  describe('from a package', () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'gantry-packages-'));
    const source = (id: string) => `{ id: '${id}', api: 1, config: { type: 'object' }, create: () => ({}) }`;
    const install = (name: string, manifest: object, files: Record<string, string>) => {
      const home = path.join(folder, 'node_modules', name);
      mkdirSync(home, { recursive: true });
      writeFileSync(path.join(home, 'package.json'), JSON.stringify({ name, version: '1.0.0', ...manifest }));
      for (const [file, text] of Object.entries(files)) writeFileSync(path.join(home, file), text);
    };
    before(() => {
      install(
        '@acme/gantry-feature-esm',
        { type: 'module', exports: { '.': { import: './plugin.js' }, './second': { import: './second.js' } } },
        {
          'plugin.js': `export default ${source('feature.esm')}`,
          'second.js': `await 0; export default ${source('feature.second')}`,
        },
      );
      install(
        'gantry-feature-cjs',
        { main: 'plugin.js' },
        { 'plugin.js': `module.exports = ${source('feature.cjs')}` },
      );
      install(
        'gantry-feature-compiled',
        { main: 'plugin.js' },
        {
          'plugin.js': `Object.defineProperty(exports, '__esModule', { value: true }); exports.default = ${source('feature.compiled')}`,
        },
      );
      install(
        'gantry-feature-broken',
        { type: 'module', exports: './plugin.js' },
        { 'plugin.js': `import 'not-installed-either';` },
      );
      install('gantry-feature-null', { main: 'plugin.js' }, { 'plugin.js': 'module.exports = null' });
    });
    after(() => rmSync(folder, { recursive: true }));

    for (const [use, id] of [
      ['@acme/gantry-feature-esm', 'feature.esm'],
      ['@acme/gantry-feature-esm/second', 'feature.second'],
      ['gantry-feature-cjs', 'feature.cjs'],
      ['gantry-feature-compiled', 'feature.compiled'],
    ] as const) {
      it(use, async () => expect((await loader.plugin(use, folder)).id).to.equal(id));
    }
    it('that is not installed: says how to get it', async () => {
      const error = await refusal(() => loader.plugin('@acme/nowhere', folder));
      expect(error.code).to.equal('PLUGIN_NOT_FOUND');
      expect(error.message).to.include("'@acme/nowhere'");
      expect(error.hint).to.include('npm install @acme/nowhere').and.include(folder);
    });
    it('that lacks a package itself: names that one, and does not say that the plugin is not there', async () => {
      const error = await refusal(() => loader.plugin('gantry-feature-broken', folder));
      expect(error.message).to.include('gantry-feature-broken').and.include('not-installed-either');
      expect(error.message).to.not.include('cannot be found');
      expect(error.hint ?? '').to.not.include('npm install gantry-feature-broken');
    });
    it('that exports nothing', async () => {
      expect((await refusal(() => loader.plugin('gantry-feature-null', folder))).code).to.equal('PLUGIN_MALFORMED');
    });
    it('that does not export what was asked for', async () => {
      const error = await refusal(() => loader.plugin('@acme/gantry-feature-esm/third', folder));
      expect(error.message).to.include('third');
    });
  });

  it('a path at which nothing is', async () => {
    for (const use of ['./nowhere.ts', '../nowhere', '/nowhere/at/all']) {
      const error = await refusal(() => loader.plugin(use, fixtures));
      expect(error.code).to.equal('PLUGIN_NOT_FOUND');
      expect(error.message).to.include(`'${use}'`).and.include('cannot be found');
      expect(error.hint).to.include('relative to the config file').and.include(fixtures);
    }
  });
  it('one of ours that does not exist: the nearest', async () => {
    const error = await refusal(() => loader.plugin('transport.rst', fixtures, ['transport.rest', 'codec.json']));
    expect(error.code).to.equal('PLUGIN_NOT_FOUND');
    expect(error.hint).to.equal("Did you mean 'transport.rest'?");
    expect((await refusal(() => loader.plugin('transport.beam', fixtures, []))).hint).to.include('"use"');
  });
  it('a module that throws while it is imported: what it threw', async () => {
    const error = await refusal(() => loader.plugin('./import-throws.ts', fixtures));
    expect(error.message).to.include('./import-throws.ts').and.include('the license has run out');
    expect(error.cause).to.be.instanceOf(Error);
    expect((await refusal(() => loader.plugin('./import-throws-text.ts', fixtures))).message).to.include('just text');
  });
  it('a module that lacks a package: names the package, and does not say that the plugin is not there', async () => {
    const error = await refusal(() => loader.plugin('./missing-dependency.ts', fixtures));
    expect(error.message).to.include('missing-dependency').and.include('@nobody/has-this-package');
    expect(error.message).to.not.include('cannot be found (');
    expect(error.hint ?? '').to.not.include('npm install ./');
  });
  it('a syntax error: file, line and column', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'gantry-plugin-'));
    writeFileSync(path.join(folder, 'broken.ts'), 'const a = 1;\nexport default {{;\n');
    const error = await refusal(() => loader.plugin('./broken.ts', folder));
    expect(error.message).to.match(/broken\.ts:2:\d+/);
    rmSync(folder, { recursive: true });
  });
  it('load gives what the module exports', async () => {
    expect(((await loader.module('./good.ts', fixtures)) as { default: Plugin }).default.id).to.equal('feature.good');
    expect(await loader.module('node:path', fixtures)).to.include.keys('join');
  });
  it('a plugin loads what its config names, relative to the config file', async () => {
    const { kernel, lines } = await create([entry('loads', { module: './good.ts' })]);
    await kernel.start();
    expect(lines.find((l) => l.msg === 'loaded')).to.include({ loaded: 'feature.good' });
    await kernel.stop();
  });
});

describe('creating plugins', () => {
  const wrong: [string, string, RegExp, string?][] = [
    ['create-throws', 'PLUGIN_MALFORMED', /feature\.explosive.*no space left/],
    ['create-promise', 'PLUGIN_MALFORMED', /feature\.late/, 'start()'],
    ['create-rejects', 'PLUGIN_MALFORMED', /feature\.later/, 'start()'],
    ['create-nothing', 'PLUGIN_MALFORMED', /feature\.nothing/, 'start()'],
    ['lacks-methods', 'PLUGIN_MALFORMED', /codec\.half lacks encode/, 'codec.ts'],
    ['needs-http', 'PLUGIN_NEED_UNMET', /feature\.needy needs 'http'/, 'http.'],
    ['needs-records', 'PLUGIN_NEED_UNMET', /feature\.recorder needs 'records'/, 'plugin odb.<name>'],
    ['bad-schema', 'PLUGIN_MALFORMED', /feature\.misdrawn.*minimun/],
    ['foreign-tap', 'HOOK_MISUSED', /'done'.*'feature\.somebody-else'/, 'create()'],
  ];
  for (const [use, code, message, hint] of wrong) {
    it(`${use}: is refused, and says why`, async () => {
      const error = await refusal(() => create([entry('good'), entry(use)]));
      expect(error.message).to.match(message);
      expect(error.code).to.equal(code);
      if (hint !== undefined) expect(error.hint).to.include(hint);
      // What an async create() rejects with is heard, or it would end the process.
      await turn();
    });
  }
  it('a circle of needs is told as a whole', async () => {
    const error = await refusal(() => create([entry('good'), entry('circle-feature'), entry('circle-transport')]));
    expect(error.code).to.equal('PLUGIN_CYCLE');
    expect(error.message).to.include('feature.chicken -> transport.egg -> feature.chicken');
    expect(error.hint).to.be.a('string');
  });
  it('two plugins of a port that has one: both are named', async () => {
    const error = await refusal(() => create([entry('stats-one'), entry('stats-two')]));
    expect(error.message).to.include('stats.one').and.include('stats.two');
    expect(error.hint).to.include('null');
  });
  it('two of a port that has many, and two of one plugin, are fine', async () => {
    const { kernel } = await create([entry('good'), entry('good', {}, { id: 'feature.second' })]);
    expect([...kernel.cradle.features.keys()]).to.deep.equal(['good', 'second']);
    await kernel.stop();
  });

  describe('the config block', () => {
    const check = async (config: Record<string, unknown>, use = 'strict') => {
      const error = await refusal(() => create([entry(use, config)]));
      expect(error.code).to.equal('CONFIG_INVALID');
      return error.problems ?? [];
    };
    it('an unknown key: plugin, path, what is known, the nearest', async () => {
      expect(await check({ port: 1, pasword: 'x' })).to.deep.equal([
        {
          plugin: 'feature.strict',
          path: 'plugins.feature.strict.pasword',
          message: 'is not known here',
          expected: 'one of port, password, retry',
          got: 'pasword',
          hint: "Did you mean 'password'?",
        },
      ]);
    });
    it('an unknown key further down', async () => {
      expect((await check({ port: 1, retry: { attempt: 1 } }))[0]).to.include({
        path: 'plugins.feature.strict.retry.attempt',
        hint: "Did you mean 'attempts'?",
      });
    });
    it('a wrong type: plugin, path, expected, got', async () => {
      expect(await check({ port: '8080' })).to.deep.equal([
        {
          plugin: 'feature.strict',
          path: 'plugins.feature.strict.port',
          message: 'must be an integer',
          expected: 'an integer',
          got: '"8080"',
        },
      ]);
    });
    it('everything of every plugin at once', async () => {
      const error = await refusal(() =>
        create([
          entry('strict', { port: 0, password: 'short' }),
          entry('strict', {}, { id: 'feature.other' }),
          entry('loads'),
        ]),
      );
      expect(error.problems?.map((p) => p.path)).to.have.members([
        'plugins.feature.strict.port',
        'plugins.feature.strict.password',
        'plugins.feature.other.port',
        'plugins.feature.loads.module',
      ]);
      expect(JSON.stringify(error.problems)).to.not.include('short"');
    });
    it('gets its defaults, its secrets wrapped, and cannot be changed', async () => {
      const { kernel, lines } = await create([entry('strict', { port: 1, password: 'long enough' })]);
      expect(lines.find((l) => l.msg === 'created')).to.include({ port: 1, password: '***', frozen: true });
      await kernel.stop();
    });
    it("a secret that is not set is told when the file is read, with the plugin's key path", async () => {
      const folder = mkdtempSync(path.join(tmpdir(), 'gantry-config-'));
      const file = path.join(folder, 'server.yaml');
      writeFileSync(
        file,
        'plugins:\n  feature.strict: { use: ./strict.ts, port: 1, password: "${env:NO_SUCH_SECRET}" }\n',
      );
      const error = await refusal(() => readConfig(file, { env: {} }));
      expect(error.problems?.[0]).to.include({ path: 'plugins.feature.strict.password', got: '${env:NO_SUCH_SECRET}' });
      expect(error.problems?.[0]?.hint).to.include('NO_SUCH_SECRET');
      rmSync(folder, { recursive: true });
    });
    it('what references wrote takes the types of the plugin', async () => {
      const folder = mkdtempSync(path.join(tmpdir(), 'gantry-config-'));
      const file = path.join(folder, 'server.yaml');
      writeFileSync(file, 'plugins:\n  feature.strict: { port: "${env:PORT}", retry: { attempts: "${env:PORT}" } }\n');
      const block = (env: Record<string, string>) =>
        readConfig(file, { env }).config.plugins['feature.strict'] as Record<string, unknown>;
      const { kernel, lines } = await create([entry('strict', block({ PORT: '8080' }))]);
      expect(lines.find((l) => l.msg === 'created')).to.include({ port: 8080 });
      await kernel.stop();
      const error = await refusal(() => create([entry('strict', block({ PORT: 'http' }))]));
      expect(error.problems?.[0]).to.include({ path: 'plugins.feature.strict.port', got: '"http"' });
      rmSync(folder, { recursive: true });
    });
  });

  it('no create() is called before every block is checked', async () => {
    const notes: string[] = [];
    await refusal(() => create([noting('feature.a', notes), entry('strict')]));
    expect(notes).to.deep.equal([]);
  });
});

describe('the order of plugins', () => {
  it('stores before logic before edges, givers before takers, ties as in the config; stop in reverse', async () => {
    const notes: string[] = [];
    const { kernel } = await create([
      noting('transport.b', notes, { needs: ['http', 'codecs', 'services', 'channels'] }),
      noting('transport.a', notes),
      noting('http.koa', notes, { wants: ['stats'] }),
      noting('feature.b', notes, { needs: ['stats', 'server', 'logs', 'connections'] }),
      noting('feature.a', notes),
      noting('guard.x', notes),
      noting('codec.json', notes, { needs: ['stats'] }),
      noting('stats.memory', notes),
    ]);
    const expected = [
      'stats.memory',
      'codec.json',
      'feature.b',
      'feature.a',
      'guard.x',
      'http.koa',
      'transport.b',
      'transport.a',
    ];
    expect(notes).to.deep.equal(expected.map((id) => `create ${id}`));
    notes.length = 0;
    await kernel.start();
    expect(notes).to.deep.equal(expected.map((id) => `start ${id}`));
    notes.length = 0;
    await kernel.stop();
    expect(notes).to.deep.equal(expected.reverse().map((id) => `stop ${id}`));
  });
  it('what is only wanted may be missing, and is null then', () => {
    const given: unknown[] = [];
    const plugin = definePlugin({
      id: 'feature.modest',
      api: 1,
      config: Type.Object({}),
      wants: ['stats', 'http', 'codecs'],
      create: ({ stats, http, codecs }) => {
        // @ts-expect-error: what is only wanted may be null
        expect(() => stats.snapshot()).to.throw(TypeError);
        given.push(stats, http, codecs?.size);
        return {};
      },
    });
    new Process({ logs: journal().logs }).create([
      { id: 'feature.modest', plugin: plugin as unknown as Plugin, config: {} },
    ]);
    expect(given).to.deep.equal([null, null, 0]);
  });
  it('what is needed is there, in its type', () => {
    const given: string[] = [];
    const plugin = definePlugin({
      id: 'feature.server',
      api: 1,
      config: Type.Object({}),
      needs: ['server'],
      create: ({ server }) => {
        given.push(server.name, server.data, server.state);
        return {};
      },
    });
    const entries = [{ id: 'feature.server', plugin: plugin as unknown as Plugin, config: {} }];
    new Process({ logs: journal().logs, name: 'shop1', data: '/srv/data' }).create(entries);
    new Process({ logs: journal().logs }).create(entries);
    expect(given).to.deep.equal(['shop1', '/srv/data', 'starting', 'gantry', path.resolve('data'), 'starting']);
  });
  it('holds for any set of plugins: lower stages first, givers first, nobody lost', () => {
    const ports = Object.keys(PORTS) as (keyof typeof PORTS)[];
    const some = fc.uniqueArray(
      fc.record({
        port: fc.constantFrom(...ports),
        name: fc.constantFrom('a', 'b'),
        needs: fc.subarray(['codecs', 'guards', 'stats'], { maxLength: 2 }),
      }),
      { selector: ({ port, name }) => (PORTS[port].many ? `${port}.${name}` : port) },
    );
    fc.assert(
      fc.property(some, (given) => {
        const loaded = given.map(({ port, name, needs }) =>
          noting(`${port}.${name}`, [], PORTS[port].stage === 0 ? {} : { needs }),
        );
        let sorted: Loaded[];
        try {
          const steps = order(loaded, { values: new Set(), parts: {} });
          sorted = steps.flatMap((step) => ('plugin' in step ? [step.plugin] : []));
        } catch (error) {
          expect((error as GantryError).code).to.be.oneOf(['PLUGIN_NEED_UNMET', 'PLUGIN_CYCLE']);
          return;
        }
        expect(sorted).to.have.members(loaded);
        const stageOf = (l: Loaded) => PORTS[l.id.split('.')[0] as 'http'].stage;
        for (const [i, one] of sorted.entries()) {
          expect(i === 0 || stageOf(sorted[i - 1] as Loaded) <= stageOf(one)).to.equal(true);
          for (const giver of sorted.slice(i + 1))
            expect(one.plugin.needs ?? []).to.not.include(PORTS[giver.id.split('.')[0] as 'http'].token);
        }
      }),
    );
  });
});

describe('starting', () => {
  const failures: [string, string, RegExp][] = [
    ['start-rejects', 'PLUGIN_START_FAILED', /feature\.start-rejects did not start: connection refused/],
    ['start-throws-text', 'PLUGIN_START_FAILED', /feature\.start-throws-text did not start: out of luck/],
    ['start-hangs', 'PLUGIN_START_TIMEOUT', /feature\.start-hangs did not start in 30 ms/],
    ['late-tap', 'HOOK_MISUSED', /'done' is sealed/],
  ];
  for (const [use, code, message] of failures) {
    it(`${use}: the boot ends, and nothing that had started goes on running`, async () => {
      const names = [entry('good', {}, { id: 'feature.one' }), entry('good', {}, { id: 'feature.two' })];
      const { kernel, life } = await create([...names, entry(use), entry('good', {}, { id: 'feature.never' })], {
        startTimeoutMs: 30,
      });
      const error = await refusal(() => kernel.start());
      expect(error.code).to.equal(code);
      expect(error.message).to.match(message);
      expect(kernel.state).to.equal('stopped');
      const others = life().filter((event) => !event.includes(use));
      expect(others).to.deep.equal(['one start', 'two start', 'one pause', 'two pause', 'two stop', 'one stop']);
      if (use.startsWith('start-'))
        expect(life().filter((e) => e.startsWith(use))).to.deep.equal([`${use} start`, `${use} pause`, `${use} stop`]);
    });
  }
  it('a tap of ready that fails ends the boot, and is named', async () => {
    const { kernel, life } = await create([entry('good'), entry('decider', { how: 'ready' })]);
    const error = await refusal(() => kernel.start());
    expect(error).to.include({ code: 'TAP_FAILED' });
    expect(error.message).to.include('feature.decider').and.include("'ready'");
    expect(life()).to.deep.equal(['good start', 'good pause', 'good stop']);
  });
  it('a tap of ready that never ends is given up like a start', async () => {
    const { kernel, life } = await create([entry('good'), entry('decider', { how: 'ready for ever' })], {
      startTimeoutMs: 20,
    });
    const started = refusal(() => kernel.start());
    const error = await Promise.race([started, pause(1000)]);
    expect(error, 'start() waits for ever').to.include({ code: 'PLUGIN_START_TIMEOUT' });
    expect(life()).to.deep.equal(['good start', 'good pause', 'good stop']);
  });
  it('calls are turned away until all have started', async () => {
    const { logs } = journal();
    const { channels, plugin } = direct();
    let during: string | undefined;
    const slow = noting('transport.slow', [], {
      methods: {
        start: async () => {
          during = (await channels.get('c')?.run(new Call('c', { body: '{}' })))?.error?.code;
        },
      },
    });
    const base = [
      { id: 'codec.json', plugin: json, config: {} },
      { id: 'transport.direct', plugin, config: {} },
    ];
    const kernel = new Process({ logs }).create([...base, slow]);
    kernel.deploy([defineService({ name: 's', input: Type.Unknown(), output: Type.Unknown(), create: () => () => 1 })]);
    await kernel.start({ channels: [{ name: 'c', transport: 'direct', address: {}, service: 's' }] });
    expect(during).to.equal('SERVER_STARTING');
    expect((await channels.get('c')?.run(new Call('c', { body: '{}' })))?.body).to.equal('1');
    await kernel.stop();
    const after = await channels.get('c')?.run(new Call('c', { body: '{}' }));
    expect(after?.error).to.include({ code: 'SERVER_DRAINING', kind: 'unavailable' });
  });

  for (const stop of ['rejects', 'nothing', 'throws', 'hangs']) {
    it(`an optional plugin that does not start is a warning, even where its stop ${stop}; the rest goes on without it`, async () => {
      const plugins = [await entry('optional-transport', { stop }, { optional: true }), await entry('good')];
      mock.timers.enable({ apis: ['setTimeout'] });
      try {
        const { logs, lines } = journal();
        const kernel = new Process({ logs, graceMs: 0 }).create(plugins);
        let ended = false;
        const started = kernel.start().finally(() => {
          ended = true;
        });
        started.catch(() => {});
        for (let i = 0; i < 50 && !ended; i++) {
          await turn();
          if (i > 20) mock.timers.tick(10_000);
        }
        expect(ended, 'start() waits for ever').to.equal(true);
        await started;
        expect(kernel.state).to.equal('ready');
        const warning = lines.find((l) => l.level === 'warn');
        expect(JSON.stringify(warning)).to.include('transport.absent').and.include('the port is taken');
        expect(
          lines.filter((l) => l.plugin === 'transport.absent' && l.level === 'info').map((l) => l.msg),
        ).to.deep.equal(['stop']);
        expect(kernel.cradle.transports.has('absent')).to.equal(false);
        await kernel.stop();
        expect(lines.filter((l) => l.msg === 'stop').map((l) => l.plugin)).to.deep.equal([
          'transport.absent',
          'feature.good',
        ]);
      } finally {
        mock.timers.reset();
      }
    });
  }
  it('an optional plugin that did not start decides no calls: its taps are gone', async () => {
    const service = defineService({
      name: 's',
      input: Type.Unknown(),
      output: Type.Unknown(),
      create: () => () => 'served',
    });
    const { kernel, call } = await serve([service], {
      plugins: [await entry('optional-transport', { stop: 'rejects' }, { optional: true })],
    });
    const reply = await call('s');
    expect(reply.error?.message).to.equal(undefined);
    expect(reply.value).to.equal('served');
    await kernel.stop();
  });
});

describe('the taps of an optional plugin that did not start', () => {
  const service = defineService({
    name: 's',
    input: Type.Unknown(),
    output: Type.Unknown(),
    create: () => () => 'served',
  });
  const early = { outcome: 'ok', body: '"early"', contentType: 'application/json', error: null } as const;

  /** Taps all hooks of a call, in one way of tapping, and does not start. */
  const meddler = (how: 'tap' | 'tapAsync' | 'tapPromise', seen: string[]): Loaded => ({
    id: 'feature.meddler',
    config: {},
    optional: true,
    plugin: definePlugin({
      id: 'feature.meddler',
      api: 1,
      config: Type.Object({}),
      create: ({ hooks, id }) => {
        const note = <T>(name: string, gives: T): T => {
          seen.push(name);
          return gives;
        };
        if (how === 'tap') {
          hooks.before.tap(id, () => note('before', early));
          hooks.after.tap(id, () => note('after', 'changed'));
          hooks.ready.tap(id, () => note('ready', undefined));
          hooks.draining.tap(id, () => note('draining', undefined));
        } else if (how === 'tapAsync') {
          hooks.before.tapAsync(id, (_, done) => done(null, note('before', early)));
          hooks.after.tapAsync(id, (_, __, done) => done(null, note('after', 'changed')));
          hooks.ready.tapAsync(id, (done) => done(note('ready', null)));
          hooks.draining.tapAsync(id, (done) => done(note('draining', null)));
        } else {
          hooks.before.tapPromise(id, async () => note('before', early));
          hooks.after.tapPromise(id, async () => note('after', 'changed'));
          hooks.ready.tapPromise(id, async () => note('ready', undefined));
          hooks.draining.tapPromise(id, async () => note('draining', undefined));
        }
        hooks.received.tap(id, () => note('received', undefined));
        hooks.failed.tap(id, () => note('failed', undefined));
        hooks.done.tap(id, () => note('done', undefined));
        return {
          start: async () => {
            throw new Error('no license');
          },
        };
      },
    }) as unknown as Plugin,
  });

  for (const how of ['tap', 'tapAsync', 'tapPromise'] as const) {
    it(`are passed over, all of them: ${how}`, async () => {
      const seen: string[] = [];
      const { kernel, call } = await serve([service], { plugins: [meddler(how, seen)] });
      expect(await call('s')).to.include({ outcome: 'ok', value: 'served' });
      await kernel.stop();
      expect(seen).to.deep.equal([]);
    });
    it(`are what they were where it did start: ${how}`, async () => {
      const seen: string[] = [];
      const one = meddler(how, seen);
      const create = one.plugin.create as (given: object) => object;
      const plugin = {
        ...one.plugin,
        create: (given: object) => ({ ...create(given), start: async () => {} }),
      } as Plugin;
      const { kernel, call } = await serve([service], { plugins: [{ ...one, plugin }] });
      expect((await call('s')).value).to.equal('early');
      await kernel.stop();
      expect(seen).to.deep.equal(['ready', 'received', 'before', 'done', 'draining']);
    });
  }
});

describe('stopping', () => {
  for (const use of ['stop-rejects', 'stop-throws', 'pause-throws']) {
    it(`${use}: is logged with its name, and the rest is stopped`, async () => {
      const { kernel, lines, life } = await create([
        entry('good', {}, { id: 'feature.one' }),
        entry(use),
        entry('good', {}, { id: 'feature.two' }),
      ]);
      await kernel.start();
      await kernel.stop();
      expect(kernel.state).to.equal('stopped');
      expect(life().filter((e) => e.endsWith('stop'))).to.deep.equal(['two stop', `${use} stop`, 'one stop']);
      const told = lines.find((l) => l.level === 'error');
      expect(told?.plugin).to.equal(`feature.${use}`);
      expect(told?.error?.message).to.match(/^cannot/);
    });
  }
  it('stop-hangs: is given up after some seconds, and the rest is stopped', async () => {
    const { kernel, lines, life } = await create([entry('good'), entry('stop-hangs')]);
    await kernel.start();
    mock.timers.enable({ apis: ['setTimeout'] });
    try {
      const stopped = kernel.stop();
      let ended = false;
      void stopped.then(() => {
        ended = true;
      });
      for (let i = 0; i < 20; i++) await turn();
      expect(ended).to.equal(false);
      mock.timers.tick(10_000);
      await stopped;
    } finally {
      mock.timers.reset();
    }
    expect(life().slice(-2)).to.deep.equal(['stop-hangs stop', 'good stop']);
    expect(lines.find((l) => l.level === 'error')?.error?.message).to.include(
      'feature.stop-hangs did not stop in 10000 ms',
    );
  });
  it('a tap of draining that fails is logged, and the rest is stopped', async () => {
    const { kernel, lines, life } = await create([entry('good'), entry('decider', { how: 'draining' })]);
    await kernel.start();
    await kernel.stop();
    expect(life()).to.deep.equal(['good start', 'good pause', 'good stop']);
    expect(JSON.stringify(lines.find((l) => l.level === 'error'))).to.include('feature.decider');
  });
  it('a tap of draining that never ends is given up after some seconds, and the rest is stopped', async () => {
    const { kernel, life } = await create([entry('good'), entry('decider', { how: 'draining for ever' })]);
    await kernel.start();
    mock.timers.enable({ apis: ['setTimeout'] });
    try {
      void kernel.stop();
      for (let i = 0; i < 20; i++) {
        await turn();
        if (i === 10) mock.timers.tick(10_000);
      }
    } finally {
      mock.timers.reset();
    }
    expect(kernel.state).to.equal('stopped');
    expect(life()).to.deep.equal(['good start', 'good pause', 'good stop']);
  });
  it('twice is once', async () => {
    const { kernel, life } = await create([entry('good')]);
    await kernel.start();
    await Promise.all([kernel.stop(), kernel.stop()]);
    await kernel.stop();
    expect(life()).to.deep.equal(['good start', 'good pause', 'good stop']);
  });
  it('without start, and without create', async () => {
    const { kernel, life } = await create([entry('good')]);
    await kernel.stop();
    expect([kernel.state, ...life()]).to.deep.equal(['stopped']);
    const bare = new Process({ logs: journal().logs });
    await bare.stop();
    expect(bare.state).to.equal('stopped');
  });
  it('while it starts: what has not started yet does not start any more', async () => {
    const notes: string[] = [];
    const { kernel } = await create([
      noting('feature.a', notes),
      noting('feature.b', notes, {
        methods: {
          start: async () => {
            notes.push('start feature.b');
            void kernel.stop();
          },
        },
      }),
      noting('feature.c', notes),
    ]);
    await kernel.start();
    await kernel.stop();
    expect(notes.filter((n) => !n.startsWith('create'))).to.deep.equal([
      'start feature.a',
      'start feature.b',
      'stop feature.b',
      'stop feature.a',
    ]);
    expect(kernel.state).to.equal('stopped');
  });
  it('waits for calls in hand, turns new ones away, and only then stops plugins', async () => {
    let answer: (value: string) => void = () => {};
    const service = defineService({
      name: 's',
      input: Type.Unknown(),
      output: Type.Unknown(),
      create: () => () => new Promise((resolve) => (answer = resolve)),
    });
    const { kernel, call, lines } = await serve([service], { plugins: [await entry('good')], graceMs: 10_000 });
    const inHand = call('s');
    await turn();
    const stopped = kernel.stop();
    await turn();
    expect(kernel.state).to.equal('draining');
    expect((await call('s')).error?.code).to.equal('SERVER_DRAINING');
    expect(lines.map((l) => l.msg))
      .to.include('pause')
      .and.not.include('stop');
    answer('done');
    expect((await inHand).value).to.equal('done');
    await stopped;
    expect(lines.map((l) => l.msg)).to.include('stop');
  });
  it('a call that never ends is left behind when the time is over', async () => {
    const service = defineService({
      name: 's',
      input: Type.Unknown(),
      output: Type.Unknown(),
      create: () => () => new Promise(() => {}),
    });
    const { kernel, call, lines } = await serve([service], { graceMs: 20 });
    void call('s');
    await kernel.stop();
    expect(lines.find((l) => l.level === 'warn')).to.include({ left: 1 });
    expect(kernel.state).to.equal('stopped');
  });
});

describe('hooks', () => {
  const service = defineService({
    name: 's',
    input: Type.Object({ fail: Type.Optional(Type.Boolean()) }),
    output: Type.Object({ said: Type.String() }),
    create:
      () =>
      ({ fail }) => {
        if (fail === true) throw new GantryError('CONFLICT', 'as asked');
        return { said: 'hello' };
      },
  });
  const decided = async (how: string, input: object = {}) => {
    const served = await serve([service], { plugins: [await entry('decider', { how })] });
    const reply = await served.call('s', input);
    await served.kernel.stop();
    return { ...served, reply };
  };

  it('an observer that throws, or rejects, is logged with its name and changes nothing', async () => {
    const { kernel, call, lines } = await serve([service], { plugins: [await entry('observer')] });
    expect((await call('s', {})).value).to.deep.equal({ said: 'hello' });
    expect((await call('s', { fail: true })).error).to.include({ code: 'CONFLICT' });
    await turn();
    const told = lines.filter((l) => l.level === 'error' && l.plugin === 'feature.observer');
    expect(new Set(told.map((l) => l['hook']))).to.have.keys([
      'received',
      'done',
      'failed',
      'channelBound',
      'serviceDeployed',
    ]);
    for (const line of told) expect(line.error?.message).to.equal('lost its glasses');
    await kernel.stop();
  });
  for (const [how, hook] of [
    ['throws', 'before'],
    ['rejects', 'before'],
    ['calls back', 'before'],
    ['after', 'after'],
  ] as const) {
    it(`a tap of ${hook} that ${how}: the call fails with TAP_FAILED, and the log names the plugin`, async () => {
      const { reply, lines } = await decided(how);
      expect(reply.outcome).to.equal('bug');
      expect(reply.error?.code).to.equal('TAP_FAILED');
      expect(reply.error?.message).to.include('feature.decider').and.include(`'${hook}'`);
      expect(reply.error?.cause).to.have.property('message', 'dice lost');
      expect(JSON.stringify(lines.find((l) => l.level === 'error'))).to.include('dice lost');
    });
  }
  it('a tap of before may refuse with an error of its own', async () => {
    const { reply } = await decided('refuses');
    expect(reply.error).to.include({ code: 'SERVER_BUSY', message: 'Too many calls' });
  });
  it('a tap of before may answer instead of the service', async () => {
    const { reply } = await decided('answers');
    expect(reply.value).to.equal('early');
  });
  it('a tap of before that gives nothing lets the call go on, in every way of tapping', async () => {
    const asked: string[] = [];
    const plugin = definePlugin({
      id: 'feature.patient',
      api: 1,
      config: Type.Object({}),
      create: ({ hooks, id }) => {
        hooks.before.tap(id, () => void asked.push('tap'));
        hooks.before.tap(id, () => undefined);
        hooks.before.tapAsync(id, (_, done) => {
          asked.push('tapAsync');
          done(null, undefined);
        });
        hooks.before.tapPromise(id, async ({ channel }) => {
          asked.push('tapPromise');
          if (channel !== 'limited') return undefined;
          return { outcome: 'busy', body: null, contentType: '', error: null };
        });
        return {};
      },
    }) as unknown as Plugin;
    const { kernel, call } = await serve([service], { plugins: [{ id: 'feature.patient', plugin, config: {} }] });
    expect((await call('s', {})).value).to.deep.equal({ said: 'hello' });
    expect(asked).to.deep.equal(['tap', 'tapAsync', 'tapPromise']);
    await kernel.stop();
  });
  it('what a tap of after gives on is checked and stripped like any output', async () => {
    const { reply } = await decided('changes');
    expect(reply.value).to.deep.equal({ said: 'changed' });
  });
  it('no hook can be added to the table, and none that is not in it exists', () => {
    const { hooks } = new Process({ logs: journal().logs });
    expect(() => Object.assign(hooks, { mine: 1 })).to.throw(TypeError);
    expect((hooks as unknown as Record<string, unknown>)['beforeAll']).to.equal(undefined);
  });
});

describe('channels of a config', () => {
  const service = defineService({
    name: 'demo.hello',
    input: Type.Unknown(),
    output: Type.Unknown(),
    create: () => () => 1,
  });
  const kernel = () => {
    const { plugin } = direct();
    const made = new Process({ logs: journal().logs }).create([
      { id: 'codec.json', plugin: json, config: {} },
      { id: 'transport.direct', plugin, config: {} },
    ]);
    return made.deploy([service]);
  };
  const good = { name: 'a', transport: 'direct', address: {}, service: 'demo.hello' };

  it('everything that is wrong is told at once, with path, choice and hint', async () => {
    const error = await refusal(() =>
      kernel().bind({
        channels: [
          good,
          { ...good, name: 'a' },
          { ...good, name: 'b', transport: 'drect' },
          { ...good, name: 'c', service: 'demo.helo' },
          { ...good, name: 'd', format: 'xml', security: { guard: 'basic' } },
          { ...good, name: 'e', settings: { x: 1 } },
        ],
      }),
    );
    const told = Object.fromEntries((error.problems ?? []).map((p) => [p.path, p.hint]));
    expect(told).to.deep.equal({
      'channels[1].name': 'Names are unique.',
      'channels[2] (b).transport': "Did you mean 'direct'?",
      'channels[3] (c).service': "Did you mean 'demo.hello'?",
      'channels[4] (d).format': 'Add codec.xml to "plugins" in the config.',
      'channels[4] (d).security.guard': 'Add guard.basic to "plugins" in the config.',
      'channels[5] (e).settings': 'Remove them.',
    });
  });
  it('one that is there twice is told once, where it stands', async () => {
    const error = await refusal(() => kernel().bind({ channels: [good, { ...good, name: 'b' }, good] }));
    expect(error.problems).to.deep.equal([
      { path: 'channels[2].name', message: 'is taken by channels[0]', got: 'a', hint: 'Names are unique.' },
    ]);
  });
  describe('with settings and a guard of their own', () => {
    const seen: { settings: Record<string, unknown>[]; guarded: Record<string, unknown>[] } = {
      settings: [],
      guarded: [],
    };
    const Settings = Type.Object({
      tokens: Type.Array(Type.Object({ name: Type.String(), token: SecretText() }), { default: [] }),
      token: Type.Optional(SecretText()),
      retries: Type.Integer({ default: 3 }),
    });
    const Security = Type.Object({
      realm: Type.String({ default: 'here' }),
      key: Type.Optional(SecretText()),
      limits: Type.Object({ perMinute: Type.Integer({ default: 60 }) }, { default: {} }),
    });
    const made = () => {
      const keen = definePlugin({
        id: 'transport.keen',
        api: 1,
        config: Type.Object({}),
        create: () => ({
          supports: { reply: true, headers: false, largeBody: false },
          address: Type.Object({}),
          settings: Settings,
          bind: ({ settings }) => void seen.settings.push({ ...settings }),
        }),
      });
      const guard = definePlugin({
        id: 'guard.own',
        api: 1,
        config: Type.Object({}),
        create: () => ({
          definition: Security,
          compile: (definition) => {
            seen.guarded.push({ ...definition });
            return () => ({ name: 'ann', roles: [] });
          },
        }),
      });
      seen.settings.length = 0;
      seen.guarded.length = 0;
      return new Process({ logs: journal().logs })
        .create([
          { id: 'codec.json', plugin: json, config: {} },
          { id: 'transport.keen', plugin: keen as unknown as Plugin, config: {} },
          { id: 'guard.own', plugin: guard as unknown as Plugin, config: {} },
        ])
        .deploy([service]);
    };
    const keen = { name: 'k', transport: 'keen', address: {}, service: 'demo.hello' };

    it("a secret in a channel's settings arrives as a Secret, also in a list", () => {
      const settings = { token: 'hunter2', tokens: [{ name: 'a', token: 'hunter3' }] };
      made().bind({ channels: [{ ...keen, settings }] });
      const [given] = seen.settings as [{ token: Secret; tokens: { name: string; token: Secret }[]; retries: number }];
      expect([given.token.reveal(), given.tokens[0]?.token.reveal()]).to.deep.equal(['hunter2', 'hunter3']);
      expect([given.tokens[0]?.name, given.retries]).to.deep.equal(['a', 3]);
      expect(JSON.stringify(given)).to.not.include('hunter');
      expect(settings.token, 'the definition is left alone').to.equal('hunter2');
    });
    it("defaults of the transport's and the guard's schema are filled in", () => {
      made().bind({ channels: [{ ...keen, security: { guard: 'own', key: 'hunter2' } }] });
      expect(seen.settings).to.deep.equal([{ tokens: [], retries: 3 }]);
      const [{ key, ...rest }] = seen.guarded as [{ key: Secret }];
      expect(rest).to.deep.equal({ realm: 'here', limits: { perMinute: 60 } });
      expect(key.reveal()).to.equal('hunter2');
    });
    it('what is wrong in them is told, without the secret', async () => {
      const wrong = { ...keen, settings: { token: '', retries: 'hunter2' }, security: { guard: 'own', relm: 'x' } };
      const error = await refusal(() => made().bind({ channels: [wrong] }));
      expect(error.problems?.map((p) => p.path)).to.have.members([
        'channels[0] (k).settings.token',
        'channels[0] (k).settings.retries',
        'channels[0] (k).security.relm',
      ]);
      expect(seen).to.deep.equal({ settings: [], guarded: [] });
    });
  });
  it('one that is not active is not bound', async () => {
    const made = kernel();
    await made.start({ channels: [good, { ...good, name: 'b', active: false }] });
    expect(made.cradle.channels.list().map((c) => c.name)).to.deep.equal(['a']);
    await made.stop();
  });
});
