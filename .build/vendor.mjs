// Puts packages of many small files into one file each, in dist/vendor, and lets what was built import those: Node takes
// longer to find and read 700 files than to run them. The packages stay dependencies: their types are theirs.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { build } from 'esbuild';

/** Not among them: what has a native part or a file beside it, and what is one file already. */
const PACKAGES = [
  'agenda',
  'ajv',
  'ajv-formats',
  'awilix',
  'csv-parse/sync',
  'csv-stringify/sync',
  'ioredis',
  'koa',
  'sequelize',
  'tapable',
  'typebox',
  'typebox/value',
  'umzug',
  'undici',
  'xml2js',
  'yaml',
];

/** Asked for by one of them where it is there, and no dependency of ours. */
const OPTIONAL = ['pg-hstore'];

/** What CommonJS expects where it runs as a module of ECMAScript. */
const BANNER = `import { createRequire as vendorRequire } from 'node:module';
import { fileURLToPath as vendorPath } from 'node:url';
const require = vendorRequire(import.meta.url);
const __filename = vendorPath(import.meta.url);
const __dirname = vendorPath(new URL('.', import.meta.url));`;

/** `home` is the repository, with dist built in it. */
export async function vendor(home) {
  const dist = path.join(home, 'dist');
  const entries = path.join(dist, 'vendor-entries');
  mkdirSync(entries);
  for (const name of PACKAGES) writeFileSync(path.join(entries, `${fileOf(name)}.mjs`), await entryOf(name));
  const { metafile } = await build({
    absWorkingDir: home,
    entryPoints: PACKAGES.map((name) => path.join(entries, `${fileOf(name)}.mjs`)),
    outdir: path.join(dist, 'vendor'),
    bundle: true,
    splitting: true,
    external: OPTIONAL,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    banner: { js: BANNER },
    legalComments: 'none',
    minifyWhitespace: true,
    metafile: true,
    logLevel: 'error',
  });
  rmSync(entries, { recursive: true });
  writeFileSync(path.join(dist, 'vendor/LICENSES.txt'), licenses(home, Object.keys(metafile.inputs)));
  for (const folder of ['core', 'plugins', 'test']) rewrite(path.join(dist, folder), path.join(dist, 'vendor'));
}

/** A module with the exports that Node finds in the package, as it finds them: not every one of CommonJS is seen. */
async function entryOf(name) {
  const names = Object.keys(await import(name)).filter((one) => /^[A-Za-z_$][\w$]*$/.test(one));
  return `export { ${names.join(', ')} } from '${name}';\n`;
}

function fileOf(name) {
  return name.replace('/', '-');
}

/** Lets every built file import what was put together. */
function rewrite(folder, vendored) {
  for (const name of readdirSync(folder, { recursive: true }).map(String)) {
    if (!name.endsWith('.js')) continue;
    const file = path.join(folder, name);
    const to = path.relative(path.dirname(file), vendored).replaceAll(path.sep, '/');
    const text = readFileSync(file, 'utf8');
    const changed = text.replace(/(\bfrom |\bimport\()'([^'.][^']*)'/g, (whole, before, specifier) =>
      PACKAGES.includes(specifier) ? `${before}'${to}/${fileOf(specifier)}.js'` : whole,
    );
    if (changed !== text) writeFileSync(file, changed);
  }
}

/** The notices of all packages of which something was copied. */
function licenses(home, inputs) {
  const folders = new Set(
    inputs.map((input) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0]).filter(Boolean),
  );
  return [...folders]
    .sort()
    .map((folder) => {
      const at = path.join(home, folder);
      const {
        name,
        version,
        license = 'see the package',
      } = JSON.parse(readFileSync(path.join(at, 'package.json'), 'utf8'));
      const notice = readdirSync(at).find((file) => /^(licen[sc]e|copying)/i.test(file));
      const text = notice === undefined ? `License: ${license}` : readFileSync(path.join(at, notice), 'utf8').trim();
      return `${name} ${version}\n\n${text}\n`;
    })
    .join(`\n${'-'.repeat(80)}\n\n`);
}
