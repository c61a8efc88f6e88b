import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';

/** Path (from the repository, with '/') -> text. */
type Sources = ReadonlyMap<string, string>;
interface Import {
  readonly specifier: string;
  /** `import type` and `export type`: gone when it runs. */
  readonly typeOnly: boolean;
}

const root = path.resolve(import.meta.dirname, '..');
const ROOMS = ['core', 'plugins', 'haproxy', 'services', 'test/kit'];

/** What of node leaves the process. */
const OUTSIDE = /^node:(fs|net|tls|http|https|http2|dgram|dns|child_process|cluster|worker_threads)(\/|$)/;

/** Who of the core names which library. */
const LIBRARIES: Readonly<Record<string, readonly string[]>> = {
  typebox: [],
  ajv: ['core/schema.ts'],
  'ajv-formats': ['core/schema.ts'],
  awilix: ['core/kernel.ts'],
  esbuild: ['core/modules.ts'],
  pino: ['core/log.ts'],
  tapable: ['core/hooks.ts'],
  yaml: ['core/config.ts', 'core/cli/yaml.ts'],
};

/** Strings become `"<number>"`, comments and texts nothing: what is left is code. */
function strip(source: string): { code: string; strings: string[] } {
  const strings: string[] = [];
  let code = '';
  const templates: number[] = [];
  let depth = 0;
  for (let i = 0; i < source.length; ) {
    const two = source.slice(i, i + 2);
    const c = source[i] as string;
    if (two === '//') i = until(source, i, '\n');
    else if (two === '/*') i = until(source, i + 2, '*/') + 2;
    else if (c === "'" || c === '"') {
      const end = closing(source, i + 1, c);
      code += `"${strings.push(source.slice(i + 1, end)) - 1}"`;
      i = end + 1;
    } else if (c === '`' || (c === '}' && templates.at(-1) === depth)) {
      if (c === '}') templates.pop();
      const { end, opens } = templateText(source, i + 1);
      if (opens) templates.push(depth);
      code += opens ? '(' : ')';
      i = end;
    } else if (c === '/' && /(^|[(,=:[!&|?{};+\-*%~^<>]|\b(return|typeof|case|in|of))\s*$/.test(code.slice(-20))) {
      i = regexEnd(source, i + 1);
      code += '0';
    } else {
      if (c === '{') depth++;
      if (c === '}') depth--;
      code += c;
      i++;
    }
  }
  return { code, strings };
}

function until(source: string, from: number, end: string): number {
  const at = source.indexOf(end, from);
  return at === -1 ? source.length : at;
}
function closing(source: string, from: number, quote: string): number {
  let i = from;
  while (i < source.length && source[i] !== quote) i += source[i] === '\\' ? 2 : 1;
  return i;
}
function templateText(source: string, from: number): { end: number; opens: boolean } {
  for (let i = from; i < source.length; i++) {
    if (source[i] === '\\') i++;
    else if (source[i] === '`') return { end: i + 1, opens: false };
    else if (source[i] === '$' && source[i + 1] === '{') return { end: i + 2, opens: true };
  }
  return { end: source.length, opens: false };
}
function regexEnd(source: string, from: number): number {
  let inClass = false;
  for (let i = from; i < source.length; i++) {
    if (source[i] === '\\') i++;
    else if (source[i] === '[') inClass = true;
    else if (source[i] === ']') inClass = false;
    else if (source[i] === '/' && !inClass) return i + 1;
  }
  return source.length;
}

/** `import { type A } from` still loads the module when it runs (verbatimModuleSyntax), so it counts as a value. */
function importsOf(source: string): Import[] {
  const { code, strings } = strip(source);
  const found: Import[] = [];
  const add = (typeOnly: boolean, index: string | undefined) =>
    found.push({ typeOnly, specifier: strings[Number(index)] ?? '' });
  for (const m of code.matchAll(/\b(?:import|export)\b\s*(type\b(?!\s*(?:from\b|,)))?[\w\s{},*$]*?\bfrom\s*"(\d+)"/g))
    add(m[1] !== undefined, m[2]);
  for (const m of code.matchAll(/\bimport\s*"(\d+)"/g)) add(false, m[1]);
  for (const m of code.matchAll(/\b(?:import|require)\s*\(\s*"(\d+)"/g)) add(false, m[1]);
  return found;
}

/** Where a relative import leads, or itself. */
function resolved(from: string, specifier: string): string {
  return specifier.startsWith('.') ? path.posix.join(path.posix.dirname(from), specifier) : specifier;
}

function checkImports(sources: Sources): string[] {
  const wrong: string[] = [];
  for (const [file, source] of sources) {
    for (const one of importsOf(source)) {
      const reason = refusal(file, resolved(file, one.specifier), one);
      if (reason !== null) wrong.push(`${file} imports ${one.specifier}: ${reason}`);
    }
  }
  return wrong;
}

function refusal(file: string, target: string, { specifier, typeOnly }: Import): string | null {
  const relative = specifier.startsWith('.');
  const node = specifier.startsWith('node:');
  const library = specifier.split('/')[0] as string;
  if (relative && !/\.\w+$/.test(specifier)) return 'a relative import has the ending of the file';
  if (specifier.startsWith('/')) return 'a path of one machine';
  if (file.startsWith('core/ports/')) {
    if (target.startsWith('core/ports/')) return null;
    if (!typeOnly) return 'a port imports nothing but types';
    if (node || specifier === 'typebox' || ['core/call.ts', 'core/errors.ts'].includes(target)) return null;
    return 'a port knows the types of core/call, core/errors, typebox and node';
  }
  if (file.startsWith('core/')) {
    if (node) return null;
    if (relative) return target.startsWith('core/') ? null : 'the core imports the core';
    const rooms = Object.hasOwn(LIBRARIES, library) ? LIBRARIES[library] : undefined;
    if (rooms === undefined) return 'the core does not name this library';
    return rooms.length === 0 || rooms.includes(file) ? null : `only ${rooms.join(', ')} names ${library}`;
  }
  if (file.startsWith('test/kit/')) {
    if (node || ['chai', 'fast-check', 'typebox'].includes(library)) return null;
    return /^(core|test\/kit)\//.test(target) ? null : 'a kit imports the core, typebox, chai, fast-check and node:';
  }
  if (file.startsWith('services/')) {
    if (specifier === 'gantry/api' || library === 'typebox') return null;
    if (node) return OUTSIDE.test(specifier) ? 'the outside is reached through connections' : null;
    return relative && target.startsWith(`${folderOf(file)}/`)
      ? null
      : 'a service imports gantry/api and its own folder';
  }
  // plugins/x and haproxy
  if (!relative) return specifier.startsWith('gantry/') && specifier !== 'gantry/api' ? 'the door is gantry/api' : null;
  if (target === 'core/api.ts' || target.startsWith(`${folderOf(file)}/`)) return null;
  // A room without a plugin: what plugins of one technology share.
  if (file.startsWith('plugins/') && target.startsWith('plugins/_')) return null;
  return target.startsWith('plugins/')
    ? 'a plugin never imports another'
    : 'a plugin imports core/api.ts and its folder';
}

/** `plugins/transport-rest`, `services/demo`, `haproxy`; a file right in services is its own folder's. */
function folderOf(file: string): string {
  const parts = file.split('/');
  return parts[0] === 'haproxy' || parts.length < 3 ? (parts[0] as string) : parts.slice(0, 2).join('/');
}

/** Groups of files that reach each other; of each, the files in alphabetical order (Tarjan). */
function circles(sources: Sources, withTypes: boolean): string[][] {
  const edges = new Map<string, string[]>();
  for (const [file, source] of sources) {
    const targets = importsOf(source)
      .filter((i) => withTypes || !i.typeOnly)
      .map((i) => (i.specifier === 'gantry/api' ? 'core/api.ts' : resolved(file, i.specifier)));
    edges.set(
      file,
      targets.filter((t) => sources.has(t)),
    );
  }
  const index = new Map<string, number>();
  const low = new Map<string, number>();
  const stack: string[] = [];
  const found: string[][] = [];
  const visit = (file: string): void => {
    index.set(file, index.size);
    low.set(file, index.get(file) as number);
    stack.push(file);
    for (const next of edges.get(file) ?? []) {
      if (!index.has(next)) visit(next);
      if (stack.includes(next)) low.set(file, Math.min(low.get(file) as number, low.get(next) as number));
    }
    if (low.get(file) !== index.get(file)) return;
    const group = stack.splice(stack.indexOf(file));
    if (group.length > 1 || edges.get(file)?.includes(file) === true) found.push(group.sort());
  };
  for (const file of edges.keys()) if (!index.has(file)) visit(file);
  return found;
}

function checkNames(sources: Sources): string[] {
  const bad = /^(utils?|helpers?|common|managers?|base)$/i;
  return [...sources.keys()]
    .filter((file) => file.split('/').some((part) => bad.test(part.replace(/(\.test)?\.\w+$/, ''))))
    .map((file) => `${file}: say what it is, not that it is shared`);
}

function checkClasses(sources: Sources): string[] {
  const wrong: string[] = [];
  const heir = /\bclass\b(?:\s+(?!extends\b)\w+)?(?:\s*<[^{]*?>)?\s+extends\s+([\w$.]+)/g;
  for (const [file, source] of sources) {
    for (const [, parent] of strip(source).code.matchAll(heir)) {
      if (parent !== 'Error') wrong.push(`${file}: a class extends ${parent}`);
    }
  }
  return wrong;
}

function checkLengths(sources: Sources, most = 400): string[] {
  return [...sources]
    .map(([file, source]) => ({ file, lines: source.replace(/\n$/, '').split('\n').length }))
    .filter(({ file, lines }) => /^(core|plugins|haproxy|services)\//.test(file) && lines > most)
    .map(({ file, lines }) => `${file} has ${lines} lines`);
}

function checkIds(sources: Sources): string[] {
  const isPlugin = (file: string) => file.startsWith('plugins/') && !file.startsWith('plugins/_');
  const folders = new Set([...sources.keys()].filter(isPlugin).map(folderOf));
  const wrong: string[] = [];
  for (const folder of folders) {
    const name = folder.slice('plugins/'.length);
    const [, port, rest] = /^([a-z]+)-([a-z0-9-]+)$/.exec(name) ?? [];
    const source = sources.get(`${folder}/index.ts`);
    if (port === undefined) wrong.push(`${folder}: a plugin's folder is <port>-<name>`);
    else if (source === undefined) wrong.push(`${folder} has no index.ts`);
    else {
      const { code, strings } = strip(source);
      const written = strings[Number(/\bid:\s*"(\d+)"/.exec(code.slice(code.search(/\bdefinePlugin\s*\(/)))?.[1])];
      if (written !== `${port}.${rest}`)
        wrong.push(`${folder}/index.ts has the id '${written}', not '${port}.${rest}'`);
    }
  }
  return wrong;
}

function checkExits(sources: Sources): string[] {
  return [...sources]
    .filter(([file]) => file !== 'core/main.ts' && !file.startsWith('test/'))
    .filter(([, source]) => /\bprocess\.(exit\(|on\(|once\()/.test(strip(source).code))
    .map(([file]) => `${file}: only core/main.ts ends the process and hears its signals`);
}

function read(): Map<string, string> {
  const sources = new Map<string, string>();
  for (const room of ROOMS) {
    let entries: ReturnType<typeof list> = [];
    try {
      entries = list(path.join(root, room));
    } catch {
      continue;
    }
    for (const file of entries) {
      const name = path.relative(root, file).split(path.sep).join('/');
      if (!/(^|\/)(node_modules|web|dist)\//.test(name)) sources.set(name, readFileSync(file, 'utf8'));
    }
  }
  return sources;
}
function list(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((e) => e.isFile() && /\.m?tsx?$/.test(e.name) && !e.name.endsWith('.d.ts'))
    .map((e) => path.join(e.parentPath, e.name));
}

describe('architecture', () => {
  const sources = read();

  it('finds the project', () => {
    expect([...sources.keys()]).to.include.members(['core/kernel.ts', 'core/ports/transport.ts']);
    expect(importsOf(sources.get('core/kernel.ts') ?? '')).to.deep.include({ specifier: 'awilix', typeOnly: false });
  });
  it('every room imports what it may', () => {
    expect(checkImports(sources)).to.deep.equal([]);
  });
  it('no file imports itself over others', () => {
    expect(circles(sources, false)).to.deep.equal([]);
  });
  it('nor while types are checked: what two files share lies below both', () => {
    expect(circles(sources, true)).to.deep.equal([]);
  });
  it('names say what a file is', () => {
    expect(checkNames(sources)).to.deep.equal([]);
  });
  it('no class extends another, except Error', () => {
    expect(checkClasses(sources)).to.deep.equal([]);
  });
  it('no file is longer than 400 lines', () => {
    expect(checkLengths(sources)).to.deep.equal([]);
  });
  it("a plugin's folder is its id", () => {
    expect(checkIds(sources)).to.deep.equal([]);
  });
  it('only main ends the process', () => {
    expect(checkExits(sources)).to.deep.equal([]);
  });
});

describe('the architecture test itself', () => {
  const of = (files: Record<string, string>): Sources => new Map(Object.entries(files));
  const imports = (file: string, specifier: string, how = (s: string) => `import { a } from '${s}';`) =>
    checkImports(of({ [file]: how(specifier) }));

  it('reads every way to import, and nothing in comments, texts and patterns', () => {
    const source = [
      "// import 'comment-1'",
      "/* import x from 'comment-2' */",
      "import a, { b } from 'one';",
      "import * as c from 'two';",
      "import 'three';",
      "import type { d } from 'four';",
      "import { type e } from 'five';",
      "export * from 'six';",
      "export type { f } from 'seven';",
      "const g = await import('eight');",
      "const h = require('nine');",
      "import type from 'ten';",
      "import {\n  i,\n  j,\n} from 'eleven';",
      'const text = "import k from \'text-1\'";',
      "const template = `import l from 'text-2' ${await import('twelve')} import 'text-3'`;",
      'const pattern = /\'import m from "text-4"/;',
      "const after = 'import(x)';",
      'const n = 4 / 2; import "thirteen";',
    ].join('\n');
    const found = importsOf(source);
    expect(found.map((i) => i.specifier).sort()).to.deep.equal(
      [
        'one',
        'two',
        'three',
        'four',
        'five',
        'six',
        'seven',
        'eight',
        'nine',
        'ten',
        'eleven',
        'twelve',
        'thirteen',
      ].sort(),
    );
    expect(found.filter((i) => i.typeOnly).map((i) => i.specifier)).to.deep.equal(['four', 'seven']);
  });

  const refused: [string, string, ((s: string) => string)?][] = [
    ['core/kernel.ts', 'pino'],
    ['core/call.ts', 'ajv'],
    ['core/config.ts', 'ajv-formats'],
    ['core/loader.ts', 'esbuild'],
    ['core/kernel.ts', 'tapable'],
    ['core/hooks.ts', 'awilix'],
    ['core/main.ts', 'yaml'],
    ['core/main.ts', 'koa'],
    ['core/main.ts', 'koa', (s) => `await import('${s}')`],
    ['core/main.ts', 'koa', (s) => `export * from '${s}'`],
    ['core/kernel.ts', '../plugins/http-koa/index.ts'],
    ['core/kernel.ts', '../test/kit/transport.ts'],
    ['core/kernel.ts', './call'],
    ['core/kernel.ts', '/opt/call.ts'],
    ['core/ports/kv.ts', '../call.ts'],
    ['core/ports/kv.ts', '../kernel.ts', (s) => `import type { a } from '${s}'`],
    ['core/ports/kv.ts', 'ajv', (s) => `import type { a } from '${s}'`],
    ['plugins/kv-redis/index.ts', '../kv-memory/index.ts'],
    ['plugins/kv-redis/index.ts', '../kv-memory/index.ts', (s) => `import type { a } from '${s}'`],
    ['plugins/kv-redis/store.ts', '../../core/kernel.ts'],
    ['plugins/_redis/link.ts', '../kv-redis/store.ts'],
    ['haproxy/index.ts', '../plugins/_redis/link.ts'],
    ['services/demo/hello.ts', '../../plugins/_redis/link.ts'],
    ['core/kernel.ts', '../plugins/_redis/link.ts'],
    ['plugins/kv-redis/index.ts', '../../services/demo/hello.ts'],
    ['plugins/kv-redis/index.ts', 'gantry/kit'],
    ['haproxy/index.ts', '../plugins/kv-redis/index.ts'],
    ['haproxy/index.ts', '../core/kernel.ts'],
    ['services/demo/hello.ts', '../../core/kernel.ts'],
    ['services/demo/hello.ts', '../admin/status.ts'],
    ['services/demo/hello.ts', 'undici'],
    ['services/demo/hello.ts', 'node:fs/promises'],
    ['services/demo/hello.ts', 'node:http'],
    ['test/kit/codec.ts', '../../plugins/codec-json/index.ts'],
    ['test/kit/codec.ts', 'koa'],
  ];
  for (const [file, specifier, how] of refused) {
    it(`refuses ${specifier} in ${file}${how === undefined ? '' : ` (${how('...')})`}`, () => {
      expect(imports(file, specifier, how)).to.have.length(1);
    });
  }

  const allowed: [string, string, ((s: string) => string)?][] = [
    ['core/schema.ts', 'ajv'],
    ['core/secret.ts', 'typebox'],
    ['core/schema.ts', 'typebox/value'],
    ['core/cli/channel.ts', '../errors.ts'],
    ['core/ports/kv.ts', './codec.ts'],
    ['core/ports/kv.ts', '../call.ts', (s) => `import type { a } from '${s}'`],
    ['core/ports/kv.ts', 'node:stream', (s) => `import type { a } from '${s}'`],
    ['plugins/kv-redis/index.ts', '../../core/api.ts'],
    ['plugins/kv-redis/deep/store.ts', '../../../core/api.ts'],
    ['plugins/kv-redis/index.ts', './store.ts'],
    ['plugins/kv-redis/index.ts', '../_redis/link.ts'],
    ['plugins/kv-redis/index.ts', 'ioredis'],
    ['plugins/kv-redis/index.ts', 'gantry/api'],
    ['haproxy/index.ts', './runtime.ts'],
    ['haproxy/index.ts', '../core/api.ts'],
    ['services/demo/hello.ts', 'gantry/api'],
    ['services/demo/hello.ts', './_words.ts'],
    ['services/demo/hello.ts', 'node:crypto'],
    ['test/kit/codec.ts', '../../core/api.ts'],
    ['test/kit/codec.ts', 'fast-check'],
  ];
  for (const [file, specifier, how] of allowed) {
    it(`allows ${specifier} in ${file}`, () => expect(imports(file, specifier, how)).to.deep.equal([]));
  }

  it('sees circles of values, of types, and a file that imports itself', () => {
    const typed = of({ 'core/a.ts': "import './b.ts'", 'core/b.ts': "import type { a } from './a.ts'" });
    expect(circles(typed, false)).to.deep.equal([]);
    expect(circles(typed, true)).to.deep.equal([['core/a.ts', 'core/b.ts']]);
    const valued = of({
      'core/a.ts': "import './b.ts'",
      'core/b.ts': "export { c } from './c.ts'",
      'core/c.ts': "await import('./a.ts')",
      'core/d.ts': "import './a.ts'",
      'core/e.ts': "import './e.ts'",
    });
    expect(circles(valued, false)).to.deep.equal([['core/a.ts', 'core/b.ts', 'core/c.ts'], ['core/e.ts']]);
  });
  it('sees bad names', () => {
    for (const file of [
      'core/utils.ts',
      'plugins/kv-redis/helper.ts',
      'core/common/a.ts',
      'services/demo/base.test.ts',
    ])
      expect(checkNames(of({ [file]: '' })), file).to.have.length(1);
    expect(checkNames(of({ 'core/database.ts': '', 'core/baseline.ts': '' }))).to.deep.equal([]);
  });
  it('sees heirs', () => {
    const heirs = [
      'class A extends B {}',
      'export default class extends B {}',
      'class A<T extends C> extends B<T> {}',
      'class A extends ns.B {}',
      'const A = class extends B {}',
    ];
    for (const source of heirs) expect(checkClasses(of({ 'core/a.ts': source })), source).to.have.length(1);
    for (const source of [
      'class A extends Error {}',
      'class A<T extends B> {}',
      '// class A extends B',
      "'class A extends B'",
    ])
      expect(checkClasses(of({ 'core/a.ts': source })), source).to.deep.equal([]);
  });
  it('sees long files', () => {
    expect(checkLengths(of({ 'plugins/a-b/index.ts': '\n'.repeat(401) }))).to.have.length(1);
    expect(checkLengths(of({ 'plugins/a-b/index.ts': '\n'.repeat(400) }))).to.deep.equal([]);
  });
  it('sees ids that are not their folder', () => {
    const plugin = (id: string) => `export default definePlugin({ id: '${id}', api: 1 })`;
    expect(checkIds(of({ 'plugins/kv-redis/index.ts': plugin('kv.redis') }))).to.deep.equal([]);
    expect(checkIds(of({ 'plugins/kv-redis/index.ts': plugin('kv.memory') }))).to.have.length(1);
    expect(checkIds(of({ 'plugins/kv-redis/index.ts': 'export default 1' }))).to.have.length(1);
    expect(checkIds(of({ 'plugins/kv-redis/store.ts': '' }))).to.have.length(1);
    expect(checkIds(of({ 'plugins/redis/index.ts': plugin('redis') }))).to.have.length(1);
  });
  it('sees who ends the process', () => {
    expect(checkExits(of({ 'core/kernel.ts': 'process.exit(1)', 'core/main.ts': 'process.exit(1)' }))).to.have.length(
      1,
    );
  });
});
