import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

export const here = path.dirname(fileURLToPath(import.meta.url));
export const root = path.resolve(here, '../..');

/** Where this run keeps its files: below node_modules, so that packages are found from there. */
export const workDir = path.join(root, 'node_modules/.cache/gantry-bench', String(process.pid));

export function makeWorkDir(): void {
  mkdirSync(workDir, { recursive: true });
}
export function removeWorkDir(): void {
  rmSync(workDir, { recursive: true, force: true });
}

/**
 * Makes plain JavaScript of a script of this folder, so that no process that is measured runs a TypeScript loader.
 * Gives the file's path.
 */
export async function compileScript(name: string): Promise<string> {
  const outfile = path.join(workDir, `${name.replaceAll('/', '-')}.mjs`);
  await build({
    entryPoints: [path.join(here, `${name}.ts`)],
    outfile,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    packages: 'external',
    logLevel: 'error',
  });
  return outfile;
}
