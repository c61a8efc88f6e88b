import { access, constants, realpath, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Background, findBackground } from './background.ts';

/** What a check needs of the place where Gantry is installed. */
export interface Installation {
  /** The compiler's own program. `bin/tsc` would start Node for it, and be another process to end. */
  readonly exe: string;
  /** The types of `gantry/api`. */
  readonly api: string;
  /** The folders in which packages are looked up, the innermost first; no links, as the compiler tells them. */
  readonly packages: readonly string[];
  readonly hasNodeTypes: boolean;
  readonly background: Background;
}

/** Rejects where a part of it is missing. */
export async function findInstallation(): Promise<Installation> {
  const here = fileURLToPath(import.meta.url);
  // Built or from source, each with its own types: no build is needed to check against the sources.
  const api = path.resolve(path.dirname(here), here.endsWith('.ts') ? '../../core/api.ts' : '../../core/api.d.ts');
  await access(api);
  const exe = native(createRequire(import.meta.url).resolve('typescript/package.json'));
  await access(exe, constants.X_OK);
  const packages = await packageFolders(path.dirname(here));
  const nodeTypes = await Promise.all(packages.map((folder) => isFolder(path.join(folder, '@types/node'))));
  return { exe, api, packages, hasNodeTypes: nodeTypes.includes(true), background: await findBackground() };
}

/** Since version 7 the compiler is a program of its own, in a package for each platform. */
function native(manifest: string): string {
  const name = `@typescript/typescript-${process.platform}-${process.arch}/package.json`;
  const folder = path.dirname(createRequire(manifest).resolve(name));
  return path.join(folder, 'lib', process.platform === 'win32' ? 'tsc.exe' : 'tsc');
}

/** As Node looks packages up: in every `node_modules` on the way to the root. */
async function packageFolders(from: string): Promise<string[]> {
  const folders: string[] = [];
  for (let at = from; ; at = path.dirname(at)) {
    const folder = path.join(at, 'node_modules');
    if (path.basename(at) !== 'node_modules' && (await isFolder(folder))) folders.push(await realpath(folder));
    if (at === path.dirname(at)) return folders;
  }
}

async function isFolder(file: string): Promise<boolean> {
  return (await stat(file).catch(() => null))?.isDirectory() === true;
}
