import { type Problem, toGantryError } from '../errors.ts';
import type { Loaded } from '../kernel/plugin.ts';
import type { Loader } from '../loading/loader.ts';
import { ownPlugins } from '../loading/plugins.ts';
import { compileConfig } from '../schema/check.ts';
import { plain, settle } from '../schema/settle.ts';
import { Entry } from './root.ts';

/** The plugins that a config names, and what is wrong with the entries that name none. */
export interface Found {
  readonly loaded: readonly Loaded[];
  readonly problems: readonly Problem[];
}

/** Loads the module of every entry of "plugins". Does not look into their blocks. */
export async function findPlugins(
  entries: Readonly<Record<string, Readonly<Record<string, unknown>>>>,
  dir: string,
  loader: Loader,
): Promise<Found> {
  const known = ownPlugins();
  const check = compileConfig(Entry, 'the config');
  const find = async (id: string, { use, optional, ...config }: Record<string, unknown>): Promise<Found> => {
    const entry = plain(settle(Entry, { use, optional })) as Entry;
    const problems = check(entry, `plugins.${id}`);
    if (problems.length > 0) return { loaded: [], problems };
    try {
      const plugin = await loader.plugin(entry.use ?? id, dir, known);
      return { loaded: [{ id, plugin, config, optional: entry.optional === true }], problems: [] };
    } catch (thrown) {
      const { message, hint } = toGantryError(thrown);
      return { loaded: [], problems: [{ path: `plugins.${id}`, message, plugin: id, hint }] };
    }
  };
  const found = await Promise.all(Object.entries(entries).map(([id, block]) => find(id, block)));
  return {
    loaded: found.flatMap(({ loaded }) => loaded),
    problems: found.flatMap(({ problems }) => problems),
  };
}
