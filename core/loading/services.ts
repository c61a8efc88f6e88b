import { type Dirent, statSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { GantryError } from '../errors.ts';
import { isService, isServicesMaker, type MakeServices, type Service } from '../service.ts';
import { compileModules, type Doors, evaluate } from './scripts.ts';

const own = fileURLToPath(import.meta.url);
const services = path.resolve(path.dirname(own), own.endsWith('.js') ? '../../..' : '../..', 'services');
/** Services of this package that nobody changes, and whose schemas its tests compile. */
const OURS = ['admin', 'health'].map((folder) => path.join(services, folder) + path.sep);

/** A file of a services folder, and what came of it. */
export type ServiceFile =
  | {
      readonly file: string;
      readonly name: string;
      readonly service: Service;
      /** It came with this package, and its schemas are known to be valid. */
      readonly isOurs: boolean;
    }
  | { readonly file: string; readonly name: string; readonly make: MakeServices; readonly isOurs: boolean }
  | { readonly file: string; readonly refused: GantryError };

/**
 * Reads every service of some folders. A file is a service unless its name (or its folder's) starts with `_` or `.`,
 * or it is a test or a declaration; one that exports a list of them holds several. A broken one is told with its path and reason, and the others go on.
 * Throws CONFIG_UNREADABLE for a folder that is not there.
 */
export async function readServices(folders: readonly string[], doors: Doors): Promise<ServiceFile[]> {
  const found: { file: string; name: string }[] = [];
  for (const folder of folders)
    for (const file of await filesOf(folder)) found.push({ file, name: nameOf(folder, file) });
  const compiled = await compileModules(found.map((f) => f.file));
  return found.flatMap(({ file, name }) => {
    const module = compiled.get(file);
    const refuse = (reason: string, cause?: unknown): ServiceFile[] => [
      { file, refused: new GantryError('SERVICE_FILE_INVALID', `${file}: ${reason}`, { cause }) },
    ];
    if (module === undefined || module.problem !== null) return refuse(module?.problem ?? 'was not compiled');
    try {
      const service = evaluate(module, doors).default;
      const isOurs = OURS.some((ours) => file.startsWith(ours));
      if (isService(service)) return [{ file, name: service.name ?? name, service, isOurs }];
      if (isServicesMaker(service)) return [{ file, name, make: service, isOurs }];
      if (!Array.isArray(service) || service.length === 0 || !service.every(isService)) {
        return refuse('has no default export made with defineService(), nor a list of such');
      }
      const nameless = service.findIndex((one) => one.name === undefined);
      if (nameless !== -1) return refuse(`has several services, and the one at index ${nameless} has no name`);
      return service.map((one) => ({ file, name: one.name as string, service: one, isOurs }));
    } catch (thrown) {
      return refuse(`failed while it was loaded: ${thrown instanceof Error ? thrown.message : String(thrown)}`, thrown);
    }
  });
}

async function filesOf(folder: string): Promise<string[]> {
  const about = await stat(folder).catch(() => null);
  if (about?.isFile() === true) return [folder];
  if (about === null || !about.isDirectory()) {
    throw new GantryError('CONFIG_UNREADABLE', `The services folder ${folder} is not there`, {
      hint: 'Paths under "services" are relative to the config file.',
    });
  }
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((e) => /\.(ts|mts|js|mjs)$/.test(e.name) && !/\.(test|d)\.m?[tj]s$/.test(e.name) && isFile(e))
    .map((e) => path.join(e.parentPath, e.name))
    .filter(
      (file) =>
        !path
          .relative(folder, file)
          .split(path.sep)
          .some((part) => /^[_.]|^node_modules$/.test(part)),
    )
    .sort();
}

/** A link counts as what it leads to: a Kubernetes ConfigMap mounts its files so. */
function isFile(entry: Dirent): boolean {
  if (!entry.isSymbolicLink()) return entry.isFile();
  const target = statSync(path.join(entry.parentPath, entry.name), { throwIfNoEntry: false });
  return target?.isFile() === true;
}

/** `<folder>/orders/create.ts` under `services/shop` is `shop.orders.create`. */
function nameOf(folder: string, file: string): string {
  const bare = (name: string) => name.replace(/\.[^.]+$/, '');
  if (file === folder) return bare(path.basename(file));
  return [path.basename(folder), ...bare(path.relative(folder, file)).split(path.sep)].join('.');
}
