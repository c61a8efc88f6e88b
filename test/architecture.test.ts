import path from 'node:path';
import { expect } from 'chai';
import { circlesOf, edgesOf, type House, type Import, readHouse, readSource, roomOf } from '../.build/house.ts';

const FOLDERS = ['core', 'plugins', 'haproxy', 'services', 'test/kit'];

/** What of Node leaves the process. */
const OUTSIDE = /^node:(fs|net|tls|http|https|http2|dgram|dns|child_process|cluster|worker_threads)(\/|$)/;

/** The files of the core that may name a library; none listed: all of them. */
const LIBRARIES: Readonly<Record<string, readonly string[]>> = {
  typebox: [],
  ajv: ['core/schema/check.ts'],
  'ajv-formats': ['core/schema/check.ts'],
  awilix: ['core/kernel/kernel.ts'],
  esbuild: ['core/loading/scripts.ts'],
  pino: ['core/log/log.ts'],
  tapable: ['core/hooks.ts'],
  yaml: ['core/config/config.ts', 'core/cli/yaml.ts'],
};

/** Whose types ports may use. */
const PORTS_KNOW = ['core/call.ts', 'core/errors.ts', 'core/schema/secret.ts'];

/** The doors of the core, for what is not of the core. */
const DOORS = ['core/api.ts', 'core/ports/index.ts', 'core/parts.ts'];
const PUBLIC = DOORS.slice(0, 2);

/** The rooms of the core by floors: a room imports lower floors only. */
const FLOORS: readonly (readonly string[])[] = [
  ['errors.ts', 'path.ts', 'time', 'server.ts'],
  ['schema'],
  ['log'],
  ['secrets', 'call.ts'],
  ['ports', 'service.ts'],
  ['hooks.ts', 'kernel', 'records', 'stores'],
  ['calls', 'jobs', 'users', 'cluster', 'statistics', 'loading'],
  ['modules', 'config', 'cradle.ts', 'greeting.ts'],
  ['kinds', 'api.ts', 'parts.ts'],
  ['wiring.ts', 'doors.ts', 'cli'],
  ['process.ts'],
  ['main.ts'],
];
/** The client is a program of its own. */
const CLI_KNOWS = ['core/errors.ts', 'core/path.ts', 'core/ports', 'core/records', 'core/time'];

/** Arrows between rooms that do not lead down, and rooms that have no floor. */
function climbs(house: House): string[] {
  const floorOf = (room: string) => FLOORS.findIndex((floor) => floor.some((one) => room === `core/${one}`));
  const core = new Map([...house].filter(([file]) => file.startsWith('core/')));
  return [...edgesOf(core, true, roomOf)].flatMap(([room, below]) => [
    ...(floorOf(room) === -1 ? [`${room} has no floor`] : []),
    ...[...below].filter((to) => floorOf(to) >= floorOf(room)).map((to) => `${room} -> ${to}`),
    ...(room === 'core/cli' ? [...below].filter((to) => !CLI_KNOWS.includes(to)).map((to) => `cli -> ${to}`) : []),
  ]);
}

function importProblems(house: House): string[] {
  return [...house].flatMap(([file, { imports }]) =>
    imports.flatMap((one) => {
      const reason = refusal(file, one);
      return reason === null ? [] : [`${file} imports ${one.specifier}: ${reason}`];
    }),
  );
}

function refusal(file: string, { specifier, target, typeOnly }: Import): string | null {
  const relative = specifier.startsWith('.');
  const node = specifier.startsWith('node:');
  const [library = ''] = specifier.split('/');
  const door = DOORS.includes(target);
  const own = relative && target.startsWith(`${folderOf(file)}/`);
  if (relative && !/\.\w+$/.test(specifier)) return 'a relative import has the ending of the file';
  if (specifier.startsWith('/')) return 'a path of one machine';
  if (file.startsWith('core/ports/')) {
    if (target.startsWith('core/ports/')) return null;
    if (!typeOnly) return 'a port imports nothing but types';
    if (node || specifier === 'typebox' || PORTS_KNOW.includes(target)) return null;
    return 'a port knows the types of what is below it, typebox and node';
  }
  if (file.startsWith('core/')) {
    if (node) return null;
    if (relative) return target.startsWith('core/') ? null : 'the core imports the core';
    const files = Object.hasOwn(LIBRARIES, library) ? LIBRARIES[library] : undefined;
    if (files === undefined) return 'the core does not name this library';
    return files.length === 0 || files.includes(file) ? null : `only ${files.join(', ')} names ${library}`;
  }
  if (file.startsWith('test/kit/')) {
    if (node || ['chai', 'fast-check', 'typebox'].includes(library)) return null;
    return /^(core|test\/kit)\//.test(target) ? null : 'a kit imports the core, typebox, chai, fast-check and node:';
  }
  if (file.startsWith('services/')) {
    // The admin API is ours, and no example for operators.
    if (door && file.startsWith('services/admin/')) return null;
    if (PUBLIC.includes(target) || library === 'typebox' || own) return null;
    if (node) return OUTSIDE.test(specifier) ? 'the outside is reached through connections' : null;
    return 'a service imports gantry/api, gantry/ports and its own folder';
  }
  // plugins/x and haproxy
  if (door || own) return null;
  if (!relative) return specifier.startsWith('gantry/') ? 'the doors are gantry/api, /ports and /parts' : null;
  // A folder without a plugin: what plugins of one technology share.
  if (file.startsWith('plugins/') && target.startsWith('plugins/_')) return null;
  return target.startsWith('plugins/') ? 'a plugin never imports another' : 'a plugin imports the doors and its folder';
}

/** `plugins/transport-rest`, `services/demo`, `haproxy`; a file right in `services` is in that folder. */
function folderOf(file: string): string {
  const parts = file.split('/');
  return parts[0] === 'haproxy' || parts.length < 3 ? (parts[0] as string) : parts.slice(0, 2).join('/');
}

function nameProblems(house: House): string[] {
  const bad = /^(utils?|helpers?|common|managers?|base)$/i;
  return [...house.keys()].filter((file) =>
    file.split('/').some((part) => bad.test(part.replace(/(\.test)?\.\w+$/, ''))),
  );
}

function heirs(house: House): string[] {
  return [...house].flatMap(([file, { parents }]) =>
    parents.filter((parent) => parent !== 'Error').map((parent) => `${file}: a class extends ${parent}`),
  );
}

function tooLong(house: House): string[] {
  return [...house].filter(([file, { lines }]) => !file.startsWith('test/') && lines > 400).map(([file]) => file);
}

function exits(house: House): string[] {
  return [...house]
    .filter(([file, source]) => source.exits && file !== 'core/main.ts' && !file.startsWith('test/'))
    .map(([file]) => file);
}

/** Of plugins whose folder is not named after their id. */
function idProblems(house: House): string[] {
  const folders = new Set([...house.keys()].filter((file) => /^plugins\/[^_]/.test(file)).map(folderOf));
  return [...folders].flatMap((folder) => {
    const id = house.get(`${folder}/index.ts`)?.pluginId ?? 'none';
    return folder === `plugins/${id.replace('.', '-')}` && id.includes('.') ? [] : [`${folder} has the id ${id}`];
  });
}

describe('architecture', () => {
  const house = readHouse(path.resolve(import.meta.dirname, '..'), FOLDERS);

  it('every room imports what it may', () => expect(importProblems(house)).to.deep.equal([]));
  it('every room of the core imports lower floors only', () => expect(climbs(house)).to.deep.equal([]));
  it('the small kernel stays small', () => {
    const rooms = ['kernel', 'loading', 'schema', 'log', 'time', 'errors.ts'].map((room) => `core/${room}`);
    const lines = [...house].map(([file, source]) => (rooms.includes(roomOf(file)) ? source.lines : 0));
    expect(lines.reduce((sum, one) => sum + one, 0)).to.be.at.most(2600);
  });
  it('no file imports itself over others', () => expect(circlesOf(edgesOf(house, false))).to.deep.equal([]));
  it('nor while types are checked: what two files share lies below both', () =>
    expect(circlesOf(edgesOf(house, true))).to.deep.equal([]));
  it('names say what a file is, not that it is shared', () => expect(nameProblems(house)).to.deep.equal([]));
  it('no class extends another, except Error', () => expect(heirs(house)).to.deep.equal([]));
  it('no file is longer than 400 lines', () => expect(tooLong(house)).to.deep.equal([]));
  it("a plugin's folder is its id", () => expect(idProblems(house)).to.deep.equal([]));
  it('only main ends the process and hears its signals', () => expect(exits(house)).to.deep.equal([]));
});

describe('the architecture test itself', () => {
  const of = (files: Record<string, string>): House =>
    new Map(Object.entries(files).map(([file, text]) => [file, readSource(file, text)]));
  const value = (specifier: string) => `import { a } from '${specifier}';`;
  const type = (specifier: string) => `import type { a } from '${specifier}';`;
  const problems = (file: string, text: string) => importProblems(of({ [file]: text }));

  it('finds the project, and knows types from values', () => {
    const house = readHouse(path.resolve(import.meta.dirname, '..'), FOLDERS);
    expect([...house.keys()]).to.include.members(['core/process.ts', 'core/ports/transport.ts']);
    const text = [
      "// import 'comment'",
      "import a, { b } from 'one'; import * as c from 'two'; import 'three'; import type { d } from 'four';",
      "import { type e } from 'five'; export * from 'six'; export type { f } from 'seven';",
      "const g = await import('eight'); const h = require('nine'); import type from 'ten';",
      "let k: import('eleven').K; const text = \"import k from 'text'\";",
    ].join('\n');
    const { imports } = readSource('core/a.ts', text);
    const names = (wanted: boolean) => imports.filter((i) => i.typeOnly === wanted).map((i) => i.specifier);
    expect(names(false)).to.have.members(['one', 'two', 'three', 'five', 'six', 'eight', 'nine', 'ten']);
    expect(names(true)).to.have.members(['four', 'seven', 'eleven']);
  });

  const refused: readonly (readonly [string, string])[] = [
    ['core/process.ts', value('pino')],
    ['core/main.ts', "await import('koa')"],
    ['core/main.ts', "export * from 'koa'"],
    ['core/process.ts', value('../../plugins/http-koa/index.ts')],
    ['core/process.ts', value('./call')],
    ['core/process.ts', value('/opt/call.ts')],
    ['core/ports/kv.ts', value('../call.ts')],
    ['core/ports/kv.ts', type('../kernel/kernel.ts')],
    ['core/ports/kv.ts', type('ajv')],
    ['plugins/kv-redis/index.ts', type('../kv-memory/index.ts')],
    ['plugins/kv-redis/store.ts', value('../../core/process.ts')],
    ['plugins/_redis/link.ts', value('../kv-redis/store.ts')],
    ['plugins/kv-redis/index.ts', value('gantry/kit')],
    ['haproxy/index.ts', value('../plugins/_redis/link.ts')],
    ['services/demo/hello.ts', value('../admin/status.ts')],
    ['services/demo/hello.ts', value('gantry/parts')],
    ['services/demo/hello.ts', value('undici')],
    ['services/demo/hello.ts', value('node:fs/promises')],
    ['test/kit/codec.ts', value('../../plugins/codec-json/index.ts')],
    ['test/kit/codec.ts', value('koa')],
  ];
  for (const [file, text] of refused) {
    it(`refuses ${text} in ${file}`, () => expect(problems(file, text)).to.have.length(1));
  }
  const allowed: readonly (readonly [string, string])[] = [
    ['core/schema/check.ts', value('ajv')],
    ['core/schema/secret.ts', value('typebox/value')],
    ['core/ports/kv.ts', value('./codec.ts')],
    ['core/ports/kv.ts', type('../call.ts')],
    ['plugins/kv-redis/deep/store.ts', value('../../../core/api.ts')],
    ['plugins/kv-redis/index.ts', value('../_redis/link.ts')],
    ['plugins/kv-redis/index.ts', value('ioredis')],
    ['haproxy/index.ts', value('gantry/parts')],
    ['services/demo/hello.ts', value('./_words.ts')],
    ['services/demo/hello.ts', value('node:crypto')],
    ['test/kit/codec.ts', value('fast-check')],
  ];
  for (const [file, text] of allowed) {
    it(`allows ${text} in ${file}`, () => expect(problems(file, text)).to.deep.equal([]));
  }

  it('sees circles of values, of types, and a file that imports itself', () => {
    const typed = of({ 'core/a.ts': "import './b.ts'", 'core/b.ts': type('./a.ts') });
    expect(circlesOf(edgesOf(typed, false))).to.deep.equal([]);
    expect(circlesOf(edgesOf(typed, true))).to.deep.equal([['core/a.ts', 'core/b.ts']]);
    const valued = of({
      'core/a.ts': "import './b.ts'",
      'core/b.ts': "await import('./a.ts')",
      'core/e.ts': value('./e.ts'),
    });
    expect(circlesOf(edgesOf(valued, false))).to.deep.equal([['core/a.ts', 'core/b.ts'], ['core/e.ts']]);
  });
  it('sees bad names, heirs, long files, wrong ids and who ends the process', () => {
    const wrong = of({
      'core/common/a.ts': 'class A<T extends C> extends ns.B<T> {}',
      'plugins/a-b/index.ts': `export default definePlugin({ id: 'a.c', api: 1 });${'\n'.repeat(401)}`,
      'plugins/c-d/index.ts': "export default definePlugin({ id: 'c.d', api: 1 }); class E extends Error {}",
      'plugins/e-f/store.ts': 'process.exit(1)',
    });
    expect(nameProblems(wrong)).to.deep.equal(['core/common/a.ts']);
    expect(heirs(wrong)).to.deep.equal(['core/common/a.ts: a class extends ns.B']);
    expect(tooLong(wrong)).to.deep.equal(['plugins/a-b/index.ts']);
    expect(idProblems(wrong)).to.deep.equal(['plugins/a-b has the id a.c', 'plugins/e-f has the id none']);
    expect(exits(wrong)).to.deep.equal(['plugins/e-f/store.ts']);
  });
});
