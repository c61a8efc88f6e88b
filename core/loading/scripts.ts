import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createRequire, isBuiltin } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import vm from 'node:vm';
import {
  type BuildOptions,
  build,
  type Message,
  type OnResolveArgs,
  type OnResolveResult,
  type OutputFile,
  type PluginBuild,
} from 'esbuild';
import { keepSourceMap } from '../log/source-maps.ts';

// Node 24 would keep the text of every version that was ever loaded, and here none is loaded twice.
setFlagsFromString('--no-compilation-cache');

/** What operators' files may import of this process: the specifier of a door, and what stands behind it. */
export type Doors = Readonly<Record<string, unknown>>;

/**
 * Loads operators' TypeScript and JavaScript files. Each becomes one script with what it imports relatively; packages
 * are resolved from where the file is, and the doors (`gantry/api`) are always this process's own, wherever the file lies. A script
 * leaves nothing in Node's module cache: loading it again gives the new one, and the old one can be forgotten.
 */
export async function compileModules(files: readonly string[]): Promise<Map<string, Compiled>> {
  const result = new Map<string, Compiled>();
  if (files.length === 0) return result;
  const together = await bundle(files).catch(() => null);
  for (const file of files) {
    const built = together?.get(file);
    result.set(file, built === undefined ? await single(file) : { file, ...built, problem: null });
  }
  return result;
}

export interface Compiled {
  readonly file: string;
  readonly code: string | null;
  /** Where its lines come from. */
  readonly map: string;
  readonly problem: string | null;
  /** No file of a folder: what it imports may come later. */
  readonly alone?: true;
}

/** Compiles a text as if it were in that file, which there need not be. It can import packages, and no other file. */
export async function compileText(file: string, text: string): Promise<Compiled> {
  const contents = {
    stdin: { contents: text, sourcefile: path.basename(file), loader: path.extname(file).slice(1) as 'ts' | 'js' },
    tsconfigRaw: '{}',
    plugins: [{ name: 'alone', setup: ({ onResolve }: PluginBuild) => onResolve({ filter: /./ }, alone) }],
  };
  try {
    const { outputFiles } = await build({ ...OPTIONS, ...contents });
    const [map = '', code = ''] = (outputFiles as OutputFile[]).map(({ text: out }) => out);
    return { file, code, map, problem: null, alone: true };
  } catch (thrown) {
    return { file, code: null, map: '', problem: explained(thrown) };
  }
}

/** Packages are looked for when it runs. */
function alone({ path: specifier, kind }: OnResolveArgs): OnResolveResult {
  if (kind === 'entry-point') return {};
  if (!/^[./]/.test(specifier)) return { path: specifier, external: true };
  const told = `imports '${specifier}': a module that is deployed is one file, with what it needs from packages`;
  return { errors: [{ text: told }] };
}

/** Runs a compiled file and gives what it exports. Throws what it throws. */
export function evaluate(compiled: Compiled, doors: Doors): { readonly default?: unknown } {
  const { file, code, map, problem, alone: isAlone } = compiled;
  if (code === null) throw new Error(problem ?? 'not compiled');
  keepSourceMap(file, map, OUT);
  const native = createRequire(file);
  const require = (specifier: string): unknown => {
    if (Object.hasOwn(doors, specifier)) return doors[specifier];
    if (isAlone === true) refuseMissing(native, specifier);
    return native(specifier);
  };
  const module = { exports: {} as { default?: unknown } };
  const run = vm.compileFunction(code, ['exports', 'require', 'module', '__filename', '__dirname', '__url'], {
    filename: file,
    importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  });
  run.call(undefined, module.exports, require, module, file, path.dirname(file), pathToFileURL(file).href);
  return module.exports;
}

/** Node 20 remembers for good that a package was not there: so it is not asked for one before it is. */
function refuseMissing(native: NodeJS.Require, specifier: string): void {
  const [name] = /^(?:@[^/]+\/)?[^/#.][^/]*/.exec(specifier) ?? [];
  if (name === undefined || name === 'gantry' || isBuiltin(specifier)) return;
  const folders = native.resolve.paths(specifier) ?? [];
  if (folders.some((folder) => existsSync(path.join(folder, name)))) return;
  throw new Error(`Cannot find the package '${name}'; looked for in ${folders[0]} and above`);
}

/** Compiles and runs one file. */
export async function loadFile(file: string, doors: Doors): Promise<{ readonly default?: unknown }> {
  const compiled = (await compileModules([file])).get(file) as Compiled;
  return evaluate(compiled, doors);
}

async function single(file: string): Promise<Compiled> {
  try {
    await readFile(file);
    const { code = null, map = '' } = (await bundle([file])).get(file) ?? {};
    return { file, code, map, problem: null };
  } catch (thrown) {
    return { file, code: null, map: '', problem: explained(thrown) };
  }
}

/** Where the scripts would be, were they written. */
const OUT = path.resolve('/bundle');

const OPTIONS = {
  outdir: OUT,
  bundle: true,
  write: false,
  format: 'cjs',
  platform: 'node',
  target: 'node20',
  packages: 'external',
  // Also where a tsconfig says that it is a file: a script would hold a copy of all of it.
  external: ['gantry/api', 'gantry/kit', 'gantry/parts', 'gantry/ports'],
  sourcemap: 'external',
  sourcesContent: false,
  define: { 'import.meta.url': '__url', 'import.meta.filename': '__filename', 'import.meta.dirname': '__dirname' },
  logLevel: 'silent',
} as const satisfies BuildOptions;

async function bundle(files: readonly string[]): Promise<Map<string, { code: string; map: string }>> {
  const entryPoints = files.map((file, i) => ({ in: file, out: String(i) }));
  const { outputFiles } = await build({ ...OPTIONS, entryPoints });
  const texts = new Map((outputFiles as OutputFile[]).map(({ path: out, text }) => [path.basename(out), text]));
  return new Map(
    files.map((file, i) => [file, { code: texts.get(`${i}.js`) ?? '', map: texts.get(`${i}.js.map`) ?? '' }]),
  );
}

function explained(thrown: unknown): string {
  const { errors } = thrown as { errors?: Message[] };
  return errors?.map(located).join('; ') ?? (thrown as Error).message;
}

function located({ text, location }: Message): string {
  return location === null ? text : `${location.file}:${location.line}:${location.column + 1} ${text}`;
}
