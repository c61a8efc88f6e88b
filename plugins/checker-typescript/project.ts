import { mkdir, mkdtemp, readdir, realpath, rm, stat, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import type { CheckedSource } from '../../core/ports/index.ts';
import type { Installation } from './installation.ts';

/** A source in a temporary folder, as the compiler wants it. */
export interface Project {
  /** The first pass reads the source alone; the second one all that it imports. */
  readonly folders: { readonly syntax: string; readonly types: string };
  /** The source's name in both: never the one that it was given, which may be a path. */
  readonly file: string;
  readonly hasTypes: boolean;
  /** Folders that are nobody's business: messages are told without them. */
  readonly hidden: readonly string[];
  remove(): Promise<void>;
}

const PREFIX = 'gantry-check-';
/** Longer than any check may take. */
const FORGOTTEN_MS = 3_600_000;

export async function makeProject(source: CheckedSource, installation: Installation): Promise<Project> {
  // Real, since the compiler tells where a link leads.
  const folder = await realpath(await mkdtemp(path.join(os.tmpdir(), PREFIX)));
  const remove = () => rm(folder, { recursive: true, force: true, maxRetries: 3 });
  try {
    const isTypeScript = source.language === 'typescript';
    const file = isTypeScript ? 'service.ts' : 'service.js';
    const hasTypes = isTypeScript || /^\s*\/\/+\s*@ts-check\b/m.test(source.source);
    const folders = { syntax: path.join(folder, 'syntax'), types: await layered(folder, installation.packages) };
    await mkdir(folders.syntax);
    const options = { syntax: syntaxOptions(), types: typeOptions(installation.api, isTypeScript) };
    for (const pass of ['syntax', 'types'] as const) {
      const config = JSON.stringify({ compilerOptions: options[pass], files: [file] });
      await writeFile(path.join(folders[pass], 'tsconfig.json'), config);
      await writeFile(path.join(folders[pass], file), source.source);
    }
    const home = path.dirname(path.dirname(installation.api));
    const hidden = [folders.types, ...installation.packages, home].map((one) => `${one}${path.sep}`);
    return { folders, file, hasTypes, hidden, remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** Removes what processes that were killed have left. */
export async function removeForgotten(): Promise<void> {
  const all = await readdir(os.tmpdir()).catch(() => []);
  for (const name of all.filter((one) => one.startsWith(PREFIX))) {
    const folder = path.join(os.tmpdir(), name);
    const about = await stat(folder).catch(() => null);
    if (about === null || Date.now() - about.mtimeMs < FORGOTTEN_MS) continue;
    // It may be another user's.
    await rm(folder, { recursive: true, force: true }).catch(() => {});
  }
}

/** A folder from which packages are found as they are from the installation, in the same order. */
async function layered(folder: string, packages: readonly string[]): Promise<string> {
  let at = folder;
  for (const one of [...packages].reverse()) {
    at = path.join(at, 'in');
    await mkdir(at);
    await symlink(one, path.join(at, 'node_modules'), 'junction');
  }
  const innermost = path.join(at, 'types');
  await mkdir(innermost);
  return innermost;
}

/** As esbuild, which compiles services in the end, sees them. */
const SHARED = {
  noEmit: true,
  skipLibCheck: true,
  target: 'ES2023',
  module: 'ESNext',
  moduleResolution: 'Bundler',
  isolatedModules: true,
  esModuleInterop: true,
  allowJs: true,
  allowImportingTsExtensions: true,
  resolveJsonModule: false,
};

/** Without a library there are no types to check; the trace tells the names that are imported. */
function syntaxOptions(): object {
  return { ...SHARED, noCheck: true, noLib: true, types: [], traceResolution: true };
}

function typeOptions(api: string, isTypeScript: boolean): object {
  const ports = api.replace(/api(\.d)?\.ts$/, 'ports/index$1.ts');
  const paths = { 'gantry/api': [api], 'gantry/ports': [ports] };
  // In JavaScript there is no place to write most types at.
  const strict = isTypeScript ? { strict: true } : { strict: true, noImplicitAny: false };
  return { ...SHARED, ...strict, lib: ['ES2023'], types: ['node'], paths };
}
