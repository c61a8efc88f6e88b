/**
 * What the guides show is true. A sample is a whole file where a line with nothing but its path stands before it,
 * `services/shop/price.ts` in backticks and a colon: all of those of one guide are laid into one folder, beside copies
 * of our config and services; TypeScript is type-checked there, and each config is checked by `gantry check`.
 */
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { configDocs } from '../.build/config-docs.ts';
import { loader } from '../core/doors.ts';
import { ownPlugins } from '../core/loading/plugins.ts';

const home = path.resolve(import.meta.dirname, '..');

interface Sample {
  readonly file: string;
  readonly text: string;
}

const SAMPLE = /^`([\w@.-]+(?:\/[\w@.-]+)*)`:\n\n```(?:ts|yaml)\n([\s\S]*?)^```$/gm;

function samplesOf(guide: string): Sample[] {
  return [...guide.matchAll(SAMPLE)].map(([, file = '', text = '']) => ({ file, text }));
}

/** Every guide of this repository, by its path. */
function guides(): Map<string, string> {
  const folders = ['docs', 'test', 'core', 'plugins', 'services', 'config', 'haproxy'].filter((f) =>
    existsSync(path.join(home, f)),
  );
  const below = folders.flatMap((folder) =>
    readdirSync(path.join(home, folder), { recursive: true }).map((name) => path.join(folder, String(name))),
  );
  const files = [...readdirSync(home), ...below].filter(
    (file) => file.endsWith('.md') && !file.includes('node_modules'),
  );
  return new Map(files.sort().map((file) => [file, readFileSync(path.join(home, file), 'utf8')]));
}

/** Lays the samples of a guide into a folder as if they stood in this repository. */
function lay(samples: readonly Sample[], folder: string): void {
  for (const room of ['config', 'services'])
    cpSync(path.join(home, room), path.join(folder, room), { recursive: true });
  for (const { file, text } of samples) {
    mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
    writeFileSync(path.join(folder, file), text);
  }
}

/** Type-checks files as strictly as our own; gives what the compiler said, or ''. */
function typeErrors(folder: string, files: readonly string[]): string {
  const tsconfig = { extends: path.join(home, 'tsconfig.json'), include: [], files };
  writeFileSync(path.join(folder, 'tsconfig.json'), JSON.stringify(tsconfig));
  const compiler = path.join(home, 'node_modules/typescript/bin/tsc');
  const { stdout, status } = spawnSync(process.execPath, [compiler, '-p', folder], { encoding: 'utf8' });
  return status === 0 ? '' : stdout || `tsc ended with ${status}`;
}

/** Runs `gantry check` as it was built; gives how it ended and what it said. */
function check(config: string): { readonly status: number | null; readonly said: string } {
  const wanted = [...readFileSync(config, 'utf8').matchAll(/\$\{env:(\w+)\}/g)].map(([, name = '']) => name);
  const env = { ...process.env, ...Object.fromEntries(wanted.map((name) => [name, 'a-value-of-this-test'])) };
  const args = [path.join(home, 'dist/core/main.js'), 'check', '--config', config];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', cwd: home, env });
  return { status, said: stdout + stderr };
}

const FENCED = /^```[\s\S]*?^```$/gm;

/** The relative links of a guide that lead to no file, or to no heading of one. */
function brokenLinks(file: string, guide: string): string[] {
  const links = [...guide.replace(FENCED, '').matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target);
  return links
    .filter((target) => !/^[a-z]+:/.test(target))
    .filter((target) => {
      const [to = '', anchor] = target.split('#');
      const found = to === '' ? path.join(home, file) : path.resolve(home, path.dirname(file), to);
      if (!existsSync(found)) return true;
      return anchor !== undefined && !anchorsOf(readFileSync(found, 'utf8')).has(anchor);
    });
}

/** Headings as GitHub makes anchors of them. */
function anchorsOf(guide: string): Set<string> {
  const headings = [...guide.replace(FENCED, '').matchAll(/^#+ (.+)$/gm)].map(([, text = '']) => text);
  return new Set(
    headings.map((text) =>
      text
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}

describe('the guides', () => {
  const all = guides();
  const shown = new Map([...all].map(([file, guide]) => [file, samplesOf(guide)]));
  const folder = mkdtempSync(path.join(tmpdir(), 'gantry-docs-'));
  const folderOf = (file: string) => path.join(folder, file.replace(/\W+/g, '-'));

  before(() => {
    writeFileSync(path.join(folder, 'package.json'), '{ "type": "module" }');
    symlinkSync(path.join(home, 'node_modules'), path.join(folder, 'node_modules'), 'junction');
    for (const [file, samples] of shown) if (samples.length > 0) lay(samples, folderOf(file));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('have samples that are whole files', () => {
    for (const file of [
      'README.md',
      'docs/services.md',
      'docs/plugins.md',
      'docs/rest.md',
      'docs/guards.md',
      'docs/dialects.md',
      'docs/admin.md',
    ]) {
      expect(shown.get(file), file).to.not.be.empty;
    }
  });
  it('show TypeScript that has the right types', function () {
    this.timeout(120_000);
    const files = [...shown].flatMap(([guide, samples]) =>
      samples.filter(({ file }) => file.endsWith('.ts')).map(({ file }) => path.join(folderOf(guide), file)),
    );
    expect(typeErrors(folder, files)).to.equal('');
  });
  for (const [guide, samples] of shown) {
    for (const { file } of samples.filter((sample) => sample.file.endsWith('.yaml'))) {
      it(`show a config that is good: ${file} in ${guide}`, function () {
        this.timeout(60_000);
        const { status, said } = check(path.join(folderOf(guide), file));
        expect(status, said).to.equal(0);
      });
    }
  }
  for (const [file, guide] of all) {
    it(`have no broken link: ${file}`, () => expect(brokenLinks(file, guide)).to.deep.equal([]));
  }
});

describe('docs/configuration.md', () => {
  it('has each key of each plugin, and says which are secret', async () => {
    const text = await configDocs();
    for (const id of ownPlugins()) {
      const { config } = await loader.plugin(id, home);
      const [, rest = ''] = text.split(`\n### ${id}\n`);
      const [chapter = ''] = rest.split('\n### ');
      for (const key of Object.keys((config as { properties?: object }).properties ?? {})) {
        expect(chapter, id).to.contain(`| \`${key}\` | `);
      }
    }
    expect(text).to.match(/\| `users\[\]\.password` \| secret text \|/);
    expect(text).to.match(/\| `users\[\]\.username` \| text.* \| required \|/);
    expect(text).to.match(/\| `tls\.key` \| secret text \| +\|/);
  });
});

describe('the test of the guides itself', () => {
  it('knows a whole file by its path', () => {
    const ts = '`a/b.ts`:\n\n```ts\nconst a = 1;\n```\n';
    const yaml = 'Text.\n\n`c.yaml`:\n\n```yaml\na: 1\n```\n';
    const neither = '```ts\nfragment\n```\n\nIn `d.ts`:\n\n```ts\nfragment\n```\n\n`e.sh`:\n\n```sh\nls\n```\n';
    expect(samplesOf(ts + yaml + neither)).to.deep.equal([
      { file: 'a/b.ts', text: 'const a = 1;\n' },
      { file: 'c.yaml', text: 'a: 1\n' },
    ]);
  });
  it('sees a wrong type, and a config that is not good', function () {
    this.timeout(120_000);
    const folder = mkdtempSync(path.join(tmpdir(), 'gantry-docs-'));
    const wrong = "import { Type } from 'gantry/api';\nexport const a: number = Type.String();\n";
    writeFileSync(path.join(folder, 'package.json'), '{ "type": "module" }');
    writeFileSync(path.join(folder, 'a.ts'), wrong);
    writeFileSync(path.join(folder, 'a.yaml'), 'plugins: { http.koa: { prot: 1 } }\n');
    symlinkSync(path.join(home, 'node_modules'), path.join(folder, 'node_modules'), 'junction');
    expect(typeErrors(folder, [path.join(folder, 'a.ts')])).to.match(/a\.ts\(2,14\): error TS2322/);
    const { status, said } = check(path.join(folder, 'a.yaml'));
    expect(status).to.equal(1);
    expect(said).to.contain("Did you mean 'port'?");
    rmSync(folder, { recursive: true });
  });
  it('sees a link to no file, and to no heading', () => {
    const guide = '[a](docs/rest.md) [b](no/such.md) [c](docs/rest.md#formats) [d](docs/rest.md#no) [e](https://x.y)';
    expect(brokenLinks('README.md', guide)).to.deep.equal(['no/such.md', 'docs/rest.md#no']);
    expect(brokenLinks('README.md', '[a](#config) [b](#no-such-heading)')).to.deep.equal(['#no-such-heading']);
  });
});
