import { GantryError } from '../errors.ts';
import { PORTS, portOf } from '../ports/index.ts';
import type { Loaded } from './plugin.ts';

/**
 * Lower stage first; within a stage givers before takers; ties keep the config's order. Throws PLUGIN_NEED_UNMET,
 * PLUGIN_CYCLE (with the whole circle) or CONFIG_INVALID for a second plugin of a port that has one.
 */
export function order(loaded: readonly Loaded[], kernelTokens: ReadonlySet<string>): Loaded[] {
  refuseSeconds(loaded);
  const sorted = new Set<Loaded>();
  const visit = (taker: Loaded, path: readonly Loaded[]): void => {
    if (sorted.has(taker)) return;
    if (path.includes(taker)) {
      const circle = [...path.slice(path.indexOf(taker)), taker].map((p) => p.id).join(' -> ');
      throw new GantryError('PLUGIN_CYCLE', `Plugins need each other: ${circle}`, {
        hint: 'One of them has to reach the other through a hook, or not at all.',
      });
    }
    const { needs = [], wants = [] } = taker.plugin;
    for (const need of [...needs, ...wants]) {
      const givers = loaded.filter((l) => PORTS[portOf(l.plugin.id)].token === need && l !== taker);
      const port = Object.values(PORTS).find((p) => p.token === need);
      const given = givers.length > 0 || kernelTokens.has(need) || port?.many === true;
      if (!given && !(wants as readonly string[]).includes(need)) {
        throw new GantryError('PLUGIN_NEED_UNMET', `${taker.id} needs '${need}', and no plugin gives it`, {
          hint: `${HINTS[need] ?? `Add a plugin ${giverOf(need)}.<name> to "plugins" in the config`}, or take ${taker.id} away.`,
        });
      }
      for (const giver of givers) visit(giver, [...path, taker]);
    }
    sorted.add(taker);
  };
  for (const one of [...loaded].sort((a, b) => stage(a) - stage(b))) visit(one, []);
  return [...sorted];
}

/** Of what the kernel itself gives only where there is such a plugin. */
const THROUGH: Readonly<Record<string, string>> = { records: 'odb', sessions: 'odb' };

const HINTS: Readonly<Record<string, string>> = {
  cluster: 'Give "cluster" in the config a token (GANTRY_CLUSTER_TOKEN), and add a plugin kv.<name>',
};

/** The port whose plugin would give a token. */
function giverOf(token: string): string {
  const [port] = Object.entries(PORTS).find(([, rules]) => rules.token === token) ?? [];
  return port ?? THROUGH[token] ?? token;
}

function stage({ plugin }: Loaded): number {
  return PORTS[portOf(plugin.id)].stage;
}

function refuseSeconds(loaded: readonly Loaded[]): void {
  const first = new Map<string, Loaded>();
  for (const one of loaded) {
    const port = portOf(one.plugin.id);
    if (PORTS[port].many) continue;
    const other = first.get(port);
    if (other !== undefined) {
      throw new GantryError('CONFIG_INVALID', `${other.id} and ${one.id} both give '${PORTS[port].token}'`, {
        hint: `Only one ${port} plugin can be loaded; set the other to null in "plugins".`,
      });
    }
    first.set(port, one);
  }
}
