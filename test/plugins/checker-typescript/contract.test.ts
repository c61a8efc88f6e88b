import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import type { GantryError, Problem } from '../../../core/api.ts';
import type { Plugin } from '../../../core/cradle.ts';
import { Logs } from '../../../core/log/log.ts';
import type { CheckedSource, Checker } from '../../../core/ports/index.ts';
import { Process } from '../../../core/process.ts';
import plugin from '../../../plugins/checker-typescript/index.ts';
import { findInstallation } from '../../../plugins/checker-typescript/installation.ts';
import { makeProject } from '../../../plugins/checker-typescript/project.ts';
import { runTsc } from '../../../plugins/checker-typescript/tsc.ts';
import { testChecker } from '../../kit/checker.ts';
import { until } from '../fixtures/server.ts';

const HELLO = `import { defineService, Type } from 'gantry/api';

export default defineService({
  name: 'demo.hello',
  input: Type.Object({ name: Type.String({ minLength: 1 }) }),
  output: Type.Object({ greeting: Type.String() }),
  create: () => ({ name }) => ({ greeting: \`Hello, \${name}\` }),
});
`;
const PLAIN = HELLO.replace('({ name }) =>', '(input) =>').replace('${name}', '${input.name}');

const started = (config: Record<string, unknown> = {}) =>
  new Process({ logs: new Logs({ level: 'silent' }), graceMs: 1000 })
    .create([{ id: plugin.id, plugin: plugin as unknown as Plugin, config }])
    .start();
const said = (problems: readonly Problem[]) => problems.map(({ path: at, message }) => `${at} ${message}`);

/** As /proc tells it. */
const SCHED_IDLE = '5';

/** That of each thread, once the compiler runs in the process. */
function policiesOf(pid: string): readonly string[] {
  try {
    if (readFileSync(`/proc/${pid}/comm`, 'utf8').trim() !== 'tsc') return [];
    return readdirSync(`/proc/${pid}/task`).map((thread) => {
      const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8');
      return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[38] as string;
    });
  } catch {
    // It has ended meanwhile.
    return [];
  }
}

describe('checker.typescript', function () {
  // A check takes a second, and several where the machine has other work.
  this.timeout(60_000);
  let tmp: string;
  let kernel: Process;
  let checker: Checker;
  const usual = process.env['TMPDIR'];

  const check = (source: string, language: CheckedSource['language'] = 'typescript') =>
    checker.check({ file: 'orders', language, source });
  const refusal = (answer: Promise<unknown>) =>
    answer.then(
      () => expect.fail('it was answered'),
      (error: GantryError) => error,
    );
  /** Processes that work below the folder for temporary files; Linux alone tells. */
  const processes = () =>
    readdirSync('/proc').filter((pid) => {
      try {
        return /^\d+$/.test(pid) && readlinkSync(`/proc/${pid}/cwd`).startsWith(tmp);
      } catch {
        return false;
      }
    });

  before(async () => {
    tmp = await mkdtemp(path.join(os.tmpdir(), 'gantry-test-'));
    process.env['TMPDIR'] = tmp;
    kernel = await started();
    checker = kernel.cradle.checker;
  });
  after(async () => {
    await kernel.stop();
    if (usual === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = usual;
    await rm(tmp, { recursive: true });
  });
  afterEach('leaves no folder behind', () => expect(readdirSync(tmp)).to.deep.equal([]));

  describe('contract', () =>
    testChecker({
      plugin: plugin as unknown as Plugin,
      samples: [
        {
          language: 'typescript',
          right: ['export default 1;\n', HELLO],
          wrong: [
            { source: `\nexport const n: number = 'x';\n`, line: 2 },
            { source: HELLO.replace('greeting: `', 'greting: `'), line: 7 },
            { source: `${HELLO}const = 3;\n`, line: 9 },
          ],
        },
        {
          language: 'javascript',
          right: [PLAIN, 'module.exports = require("node:os").arch();\n'],
          wrong: [
            { source: `${PLAIN}const = 3;\n`, line: 9 },
            { source: 'export const n: number = 3;\n', line: 1 },
            { source: '// @ts-check\n\nexport const n = [1].at("x");\n', line: 3 },
          ],
        },
      ],
    }));

  describe('what it says', () => {
    it('has the code and the reasons of the compiler, and no path of this machine', async () => {
      const [problem] = said(await check(HELLO.replace('greeting: `', 'greting: `')));
      expect(problem).to.match(/^7:\d+ TS2322: Type /);
      expect(problem).to.match(/\n {4}Type '\{ greting: string; \}' is not assignable to /);
      const source = `import * as api from 'gantry/api';\nimport * as box from 'typebox';\nexport const a: 1[] = [api, box];\n`;
      const text = said(await check(source)).join('\n');
      expect(text)
        .to.include('import("core/api")')
        .and.match(/import\("typebox\//);
      expect(text).to.not.include(process.cwd()).and.not.include(tmp);
    });
    it('says nothing twice and nothing of other files', async () => {
      const packages = path.join(tmp, 'node_modules');
      await mkdir(path.join(packages, 'faulty'), { recursive: true });
      await writeFile(path.join(packages, 'faulty/index.ts'), `export const a: number = 'faulty';\n`);
      const problems = await check(`import { a } from 'faulty';\nexport const b: string = a;\n`);
      await rm(packages, { recursive: true });
      expect(said(problems)).to.deep.equal(["2:14 TS2322: Type 'number' is not assignable to type 'string'."]);
    });
    it('counts columns as editors do, after wide characters and in lines that end as on Windows', async () => {
      const source = '\ufeffexport {};\r\n/** \u{1f600} */ const wide = "\u{1f600}", n: number = wide;\r\n';
      expect(said(await check(source))[0]).to.match(/^2:30 TS2322: /);
      expect(source.split('\r\n')[1]?.indexOf('n: number')).to.equal(29);
    });
    it('says at most maxProblems', async () => {
      const many = await check(Array.from({ length: 300 }, (_, i) => `export const n${i}: number = 'x';\n`).join(''));
      expect(many).to.have.lengthOf(50);
      const one = await started({ maxProblems: 1 });
      const source = 'const a = ;\nconst b = ;\n';
      expect(await one.cradle.checker.check({ file: 'x', language: 'javascript', source })).to.have.lengthOf(1);
      await one.stop();
    });
    it('tells what to do where a file beside it is imported, or a package without types', async () => {
      const [beside] = await check("import { a } from './price.ts';\nexport default a;\n");
      expect(beside?.message).to.match(/^TS2307: Cannot find module '.\/price.ts'/);
      expect(beside?.hint).to.match(/no file is beside it/);
      const packages = path.join(tmp, 'node_modules');
      await mkdir(path.join(packages, 'untyped'), { recursive: true });
      await writeFile(path.join(packages, 'untyped/index.js'), 'module.exports = 1;\n');
      const [untyped] = await check("import it from 'untyped';\nexport default it;\n");
      await rm(packages, { recursive: true });
      expect(untyped?.message).to.match(/^TS7016: Could not find a declaration file for module 'untyped'/);
      expect(untyped?.hint).to.match(/@ts-expect-error/);
    });
  });

  describe('what it knows', () => {
    it('the types of gantry/api: input, call and output of a handler', async () => {
      const source = HELLO.replace('({ name }) =>', '({ name }, call) =>').replace(
        '${name}',
        '${name.toFixed(2)} ${call.nothing}',
      );
      const text = said(await check(source)).join('\n');
      expect(text).to.include("'toFixed' does not exist on type 'string'");
      expect(text).to.include("'nothing' does not exist on type 'Call'");
    });
    it('the types of Node, its globals, and of packages of the installation', async () => {
      const good = `import { createHash, type Hash } from 'node:crypto';
import { Type } from 'typebox';
export const hash: Hash = createHash('sha256').update(Buffer.from('x'));
export const schema = Type.String();
setTimeout(() => console.log(process.pid, structuredClone({}), new URL('http://x')), 1).unref();
`;
      expect(await check(good)).to.deep.equal([]);
      expect(said(await check("import { createHsh } from 'node:crypto';\nexport default createHsh;\n"))[0]).to.match(
        /^1:10 TS2724: .*Did you mean 'createHash'/,
      );
    });
    it('what a service declares of others', async () => {
      const source = `import { defineService, Type } from 'gantry/api';
const price = defineService({ name: 'shop.price', input: Type.Object({ sku: Type.String() }), output: Type.Integer(),
  create: () => () => 3 });
declare module 'gantry/api' { interface ServiceRegistry { 'shop.price': typeof price } }
export default defineService({ name: 'shop.order', input: Type.Any(), output: Type.Any(),
  create: () => async (_, call) => (await call.invoke('shop.price', { sku: 7 })) });
`;
      const text = said(await check(source)).join('\n');
      expect(text).to.match(/^6:\d+ TS2322: Type 'number' is not assignable to type 'string'/m);
      expect(await check(source.replace('sku: 7', "sku: '7'"))).to.deep.equal([]);
    });
    it('what esbuild takes: enums, decorators of parameters aside, and Node 20', async () => {
      const source = `enum Colour { Red = 1 }
namespace shop { export const open = true }
export default [Colour.Red, shop.open, [3, 1].toSorted(), import.meta.url, await Promise.resolve(1)];
`;
      expect(await check(source)).to.deep.equal([]);
    });
    it('every demo service that stands alone', async () => {
      for (const file of ['hello', 'crm', 'orders', 'digest']) {
        const source = await readFile(path.join('services/demo', `${file}.ts`), 'utf8');
        expect(said(await check(source)), file).to.deep.equal([]);
      }
    });
    it('no types in JavaScript, unless it asks for them', async () => {
      const source = `const n = 1; n.no(); nothing();\nimport x from 'not-there';\n/** @type {string} */ export let a = 1;\n`;
      expect(await check(source, 'javascript')).to.deep.equal([]);
      const asked = said(await check(`#!/usr/bin/env node\n// @ts-check\n${source}`, 'javascript'));
      expect(asked.map((one) => one.split(' ')[1])).to.deep.equal(['TS2339:', 'TS2304:', 'TS2307:', 'TS2322:']);
    });
  });

  describe('files of this machine', () => {
    let secret: string;
    before(async () => {
      secret = path.join(await mkdtemp(path.join(path.dirname(tmp), 'gantry-test-')), 'secret');
      await writeFile(`${secret}.ts`, "export const PASSWORD = 'hunter2';\nexport default PASSWORD;\n");
      await writeFile(`${secret}.js`, "exports.PASSWORD = 'hunter2';\n");
      await writeFile(`${secret}.json`, '{"hunter2":"hunter2"}\n');
    });
    after(() => rm(path.dirname(secret), { recursive: true }));

    /** As seen from anywhere below. */
    const climbing = () => `${'../'.repeat(12)}${secret.slice(1)}`;
    const ways: Record<string, (file: string) => string> = {
      'an import': (file) => `import { PASSWORD } from '${file}.ts';\nexport const a: 1 = PASSWORD;\n`,
      'an import of a default': (file) => `import it from "${file}";\nexport const a: 1 = it;\n`,
      'an import of JavaScript': (file) => `import it from '${file}.js';\nexport const a: 1 = it.PASSWORD;\n`,
      'an import of JSON': (file) => `import it from '${file}.json' with { type: 'json' };\nexport const a: 1 = it;\n`,
      'an import with escapes': (file) =>
        `import { PASSWORD } from '${file.replaceAll('/', '\\x2f')}.ts';\nexport const a: 1 = PASSWORD;\n`,
      'an import through a package': (file) =>
        `import { PASSWORD } from 'nothing/${'../'.repeat(14)}${file.replace(/^[./]+/, '')}.ts';\nexport const a: 1 = PASSWORD;\n`,
      'an import within a type': (file) => `export const a: typeof import('${file}.ts').PASSWORD = 1;\n`,
      'an import while running': (file) => `export const a: Promise<1> = import('${file}.ts');\n`,
      'an import as CommonJS has it': (file) =>
        `import it = require('${file}.ts');\nexport const a: 1 = it.PASSWORD;\n`,
      'an export': (file) => `export * from '${file}.ts';\n`,
      'an import of a URL': (file) => `import it from 'file://${file}.ts';\nexport const a: 1 = it;\n`,
      'a module that is added to': (file) =>
        `export {};\ndeclare module '${file}.ts' { const b: 1; }\ndeclare const a: 1;\n`,
      'a reference to a file': (file) => `/// <reference path="${file}.ts" />\nexport const a = 1;\n`,
      'a reference behind a comment': (file) => `/* */ ///<reference  path = '${file}.ts'/>\nexport const a = 1;\n`,
      'a reference to types': (file) => `/// <reference types="${file}" />\nexport const a = 1;\n`,
    };
    for (const [what, source] of Object.entries(ways)) {
      it(`are not read by ${what}, and nobody learns whether they are there`, async () => {
        for (const file of [secret, climbing()]) {
          const problems = await check(source(file));
          expect(problems, source(file)).to.have.lengthOf(1);
          expect(problems[0]?.message).to.match(
            /leads to files of this machine$|^The reference to the file .* is not /,
          );
          expect(JSON.stringify(problems)).to.not.include('hunter2');
          const missing = file.replace('secret', 'notnow');
          const others = await check(source(missing));
          expect(JSON.stringify(others)).to.equal(JSON.stringify(problems).replaceAll('secret', 'notnow'));
        }
      });
    }
    it('are not read by JavaScript', async () => {
      for (const source of [
        `// @ts-check\n/** @type {import('${secret}.ts').PASSWORD} */\nexport const a = 1;\n`,
        `// @ts-check\nconst it = require('${secret}.js');\n/** @type {1} */ export const a = it.PASSWORD;\n`,
        `// @ts-check\n/** @import { PASSWORD } from '${secret}.ts' */\n/** @type {PASSWORD} */ export const a = 1;\n`,
      ]) {
        const problems = await check(source, 'javascript');
        expect(said(problems), source).to.have.lengthOf(1);
        expect(problems[0]?.message).to.match(/^The import of '.*' leads to files of this machine$/);
      }
    });
    it('are not read where the name has a line break', async () => {
      const [problem] = await check("import a from 'x\\n/../../../../etc/y';\nexport default a;\n");
      expect(problem?.message).to.equal('An import is no name');
    });
    it('are told with their place', async () => {
      const [problem] = await check("export const a = 1;\nimport '/etc/passwd';\n");
      expect(problem).to.deep.include({
        path: '2:9',
        message: "The import of '/etc/passwd' leads to files of this machine",
      });
      const [reference] = await check('\n/// <reference path="/etc/passwd" />\nexport {};\n');
      expect(reference?.path).to.equal('2:1');
    });
  });

  describe('packages', () => {
    it('are looked up as Node does, the nearest first', async () => {
      const made = await mkdtemp(path.join(path.dirname(tmp), 'gantry-test-'));
      try {
        const put = async (at: string, version: number) => {
          await mkdir(path.join(made, at), { recursive: true });
          await writeFile(path.join(made, at, 'index.d.ts'), `export declare const v: ${version};\n`);
        };
        await put('inner/one', 1);
        await put('outer/one', 2);
        await put('outer/two', 2);
        const found = await findInstallation();
        const packages = [path.join(made, 'inner'), path.join(made, 'outer'), ...found.packages];
        const source = `import { v as one } from 'one';\nimport { v as two } from 'two';\nexport const x: [1, 2] = [one, two];\n`;
        const project = await makeProject({ file: 'x', language: 'typescript', source }, { ...found, packages });
        const { signal } = new AbortController();
        const { stdout, code } = await runTsc(found.exe, project.folders.types, signal, found.background);
        expect(stdout).to.equal('');
        expect(code).to.equal(0);
        await project.remove();
        expect(existsSync(path.join(made, 'outer/two/index.d.ts')), 'only the link is removed').to.equal(true);
      } finally {
        await rm(made, { recursive: true });
      }
    });
  });

  describe('time', () => {
    const slow: CheckedSource = { file: 'slow.ts', language: 'typescript', source: HELLO };
    const quick: CheckedSource = { ...slow, source: 'export const n: number = Buffer.from([1]).length;\n' };

    it('ends a check that takes too long, by CHECK_FAILED, and its process', async () => {
      const short = await started({ timeoutMs: 100 });
      const error = await refusal(short.cradle.checker.check(slow));
      expect(error).to.include({ code: 'CHECK_FAILED', kind: 'unavailable' });
      expect(error.message).to.equal("'slow.ts' could not be checked: it took longer than 100 ms");
      expect(error.hint).to.include('timeoutMs');
      if (process.platform === 'linux') expect(processes()).to.deep.equal([]);
      expect(readdirSync(tmp)).to.deep.equal([]);
      await short.stop();
    });
    it('runs as many at once as it is told, and the next one when one ends', async function () {
      if (process.platform !== 'linux') return this.skip();
      for (const parallel of [1, 2]) {
        const some = await started({ parallel });
        let most = 0;
        const look = setInterval(() => {
          most = Math.max(most, processes().length);
        }, 2);
        // Twice: a turn that was given back wrongly shows in the second round.
        for (let round = 0; round < 2; round++) {
          const checks = Array.from({ length: parallel + 2 }, () => some.cradle.checker.check(quick));
          for (const problems of await Promise.all(checks)) expect(problems).to.deep.equal([]);
        }
        clearInterval(look);
        expect(most).to.equal(parallel);
        await some.stop();
      }
    });
    it('runs beneath everything else, with all its threads', async function () {
      const { background } = await findInstallation();
      if (!background.isIdle) return this.skip();
      // Of each process that was seen: every policy that a thread of it had.
      const seen: string[] = [];
      const look = setInterval(() => {
        for (const pid of processes()) seen.push([...new Set(policiesOf(pid))].join());
      }, 1);
      // One that is quick may end before it is looked at.
      do expect(await checker.check(slow)).to.deep.equal([]);
      while (!seen.includes(SCHED_IDLE));
      clearInterval(look);
      expect(seen.filter((policies) => policies.includes(','))).to.deep.equal([]);
    });
    it('turns away what would wait for ever', async () => {
      const short = await started();
      const checks = Array.from({ length: 250 }, () => short.cradle.checker.check(slow).catch((e: GantryError) => e));
      const late = (await checks[249]) as GantryError;
      expect(late.message).to.match(/200 others wait already$/);
      await short.stop();
      await Promise.all(checks);
    });
    it('ends what runs when it is stopped, and waits until it is gone', async () => {
      const other = await started();
      const answer = refusal(other.cradle.checker.check(slow));
      if (process.platform === 'linux') await until('the compiler runs', () => processes().length > 0);
      await other.stop();
      expect(readdirSync(tmp)).to.deep.equal([]);
      if (process.platform === 'linux') expect(processes()).to.deep.equal([]);
      expect((await answer).message).to.match(/the server stops$/);
    });
    it('removes the folders that a killed process left, and no others', async () => {
      const [old, fresh] = [path.join(tmp, 'gantry-check-old'), path.join(tmp, 'gantry-check-fresh')];
      for (const folder of [old, fresh]) await mkdir(path.join(folder, 'in'), { recursive: true });
      await utimes(old, new Date(0), new Date(0));
      await (await started()).stop();
      expect(readdirSync(tmp)).to.deep.equal(['gantry-check-fresh']);
      await rm(fresh, { recursive: true });
    });
    it('is bounded for a source that is nested without end', async () => {
      const depth = 100_000;
      const answer = await check(`export const x = ${'('.repeat(depth)}1${')'.repeat(depth)};\n`).catch(
        (error: GantryError) => error,
      );
      if (!Array.isArray(answer)) expect(answer).to.include({ code: 'CHECK_FAILED' });
      expect(await check(HELLO)).to.deep.equal([]);
    });
  });
});
