import type { Problem } from '../errors.ts';
import { compileConfig } from '../schema/check.ts';
import { copy } from '../schema/copy.ts';
import { plain, settle } from '../schema/settle.ts';
import type { Loaded } from './plugin.ts';

/** What references wrote takes the types of the plugin's own schema. A copy. */
export function settleBlock(one: Loaded): Loaded {
  return { ...one, config: copy(plain(settle(one.plugin.config, one.config))) as Loaded['config'] };
}

/** What is wrong with a plugin's block that is settled; fills in the defaults, too. */
export function problemsOf({ id, plugin, config }: Loaded): Problem[] {
  const problems = compileConfig(plugin.config, id)(config, `plugins.${id}`);
  return problems.map((p) => ({ ...p, plugin: plugin.id }));
}
