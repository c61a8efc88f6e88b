import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import vm from 'node:vm';
import { didYouMean, GantryError } from '../errors.ts';
import { API, type Plugin } from '../kernel/plugin.ts';
import { isPort, PORTS } from '../ports/table.ts';
import { type Doors, loadFile } from './scripts.ts';

const own = fileURLToPath(import.meta.url);
/** `.js` when built, `.ts` when run from source. */
const extension = path.extname(own);
const pluginsDir = path.resolve(path.dirname(own), '../../plugins');

/**
 * Finds a plugin's module: `transport.rest` is ours, `./x` or `/x` a file or folder beside the config file, anything
 * else an npm package as seen from there. Throws PLUGIN_NOT_FOUND or PLUGIN_MALFORMED.
 */
export async function loadPlugin(use: string, from: string, known: readonly string[], doors: Doors): Promise<Plugin> {
  const isOurs = /^[a-z]+\.[a-z0-9-]+$/.test(use) && isPort(use.split('.')[0] as string);
  let exports: { default?: unknown } | null;
  try {
    exports = isOurs
      ? await import(pathToFileURL(ourFile(use)).href)
      : ((await load(use, from, doors)) as { default?: unknown });
  } catch (cause) {
    throw notFound(use, isOurs, from, known, cause);
  }
  return checked(exports?.default, use);
}

/** Imports what an operator named: a path beside `from`, or a package as seen from there. */
export async function load(specifier: string, from: string, doors: Doors): Promise<unknown> {
  if (isPath(specifier)) {
    const target = path.resolve(from, specifier);
    return loadFile(fileOf(target, from), doors);
  }
  return importPackage(specifier, from);
}

function isPath(specifier: string): boolean {
  return /^(\.{0,2}\/|\.{1,2}$)/.test(specifier);
}

function ourFile(id: string): string {
  return path.join(pluginsDir, id.replace('.', '-'), `index${extension}`);
}

/** As require() finds it, and also TypeScript: a file without its ending, or a folder's index.ts. */
function fileOf(target: string, from: string): string {
  try {
    return createRequire(path.join(from, 'x')).resolve(target);
  } catch (error) {
    const found = [`${target}.ts`, path.join(target, 'index.ts')].find((file) => existsSync(file));
    if (found !== undefined) return found;
    throw error;
  }
}

/** From the config file's folder first, then from the working folder, then from our own. */
async function importPackage(specifier: string, from: string): Promise<unknown> {
  let failure: unknown;
  for (const base of [from, process.cwd(), path.dirname(own)]) {
    try {
      return await importFrom(base)(specifier);
    } catch (error) {
      if (!isMissing(error, specifier)) throw error;
      failure ??= error;
    }
  }
  throw failure;
}

/** An `import()` that resolves as if it stood in a file of that folder. */
function importFrom(base: string): (specifier: string) => Promise<unknown> {
  return vm.compileFunction('return import(specifier)', ['specifier'], {
    filename: path.join(base, 'gantry.config.js'),
    importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  }) as (specifier: string) => Promise<unknown>;
}

/** Whether it is this module that is not there, and not one that it imports. */
function isMissing(thrown: unknown, specifier: string): boolean {
  const { code = '', message = '' } = (thrown ?? {}) as { code?: unknown; message?: unknown };
  return (
    String(code).endsWith('MODULE_NOT_FOUND') && String(message).split('\n', 1)[0]?.includes(`'${specifier}'`) === true
  );
}

function notFound(use: string, isOurs: boolean, from: string, known: readonly string[], cause: unknown): GantryError {
  const message = cause instanceof Error ? cause.message : String(cause);
  const wanted = isOurs ? ourFile(use) : isPath(use) ? path.resolve(from, use) : use;
  if (!isMissing(cause, wanted)) {
    return new GantryError('PLUGIN_NOT_FOUND', `Plugin '${use}' failed while it was loaded: ${message}`, { cause });
  }
  const hint = isOurs
    ? didYouMean(use, known) || 'There is no such plugin of ours. For another one, say in "use" which module it is.'
    : `Looked from ${from}. A path is relative to the config file; a package has to be installed (npm install ${use}).`;
  return new GantryError('PLUGIN_NOT_FOUND', `Plugin '${use}' cannot be found (${message.split('\n')[0]})`, {
    cause,
    hint,
  });
}

/** Throws PLUGIN_MALFORMED, saying what is wrong with it. */
export function checked(value: unknown, use: string): Plugin {
  const plugin = (typeof value === 'object' && value !== null && 'default' in value ? value.default : value) as
    | Partial<Plugin>
    | null
    | undefined;
  const [port = ''] = typeof plugin?.id === 'string' ? plugin.id.split('.') : [];
  const wrong =
    typeof plugin !== 'object' || plugin === null
      ? 'has no default export made with definePlugin()'
      : typeof plugin.id !== 'string' || !/^[a-z]+\.[a-z0-9-]+$/.test(plugin.id) || !isPort(port)
        ? `has the id '${String(plugin.id)}': it must be <port>.<name>, with one of the ports ${Object.keys(PORTS).join(', ')}`
        : plugin.api !== API
          ? `is written for version ${String(plugin.api)} of the plugin contract; this is version ${API}`
          : typeof plugin.create !== 'function'
            ? 'has no create()'
            : typeof plugin.config !== 'object' || plugin.config === null
              ? 'has no config schema'
              : null;
  if (wrong !== null) throw new GantryError('PLUGIN_MALFORMED', `Plugin '${use}' ${wrong}`);
  return plugin as Plugin;
}

/** The ids of the plugins that come with this package. */
export function ownPlugins(): string[] {
  return readdirSync(pluginsDir, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name.includes('-'))
    .map((entry) => entry.name.replace('-', '.'))
    .sort();
}
