import { GantryError } from '../errors.ts';
import { PORTS, portOf } from '../ports/table.ts';
import type { Part, Parts } from './part.ts';
import type { Loaded } from './plugin.ts';

/** What the kernel has beside the plugins: tokens that are there from the start, and parts that are made on the way. */
export interface Stock {
  readonly values: ReadonlySet<string>;
  readonly parts: Parts;
}

/** What is made next. */
export type Step = { readonly plugin: Loaded } | { readonly part: string };

/**
 * The order in which plugins and parts are made: lower stage first; within a stage givers before takers; ties keep the
 * config's order. Throws PLUGIN_NEED_UNMET, PLUGIN_CYCLE (with the whole circle) or CONFIG_INVALID for a second plugin
 * of a port that has one.
 */
export function order(loaded: readonly Loaded[], stock: Stock): Step[] {
  refuseSeconds(loaded);
  const available = availability(loaded, stock);
  const steps: Step[] = [];
  const made = new Set<Loaded | string>();
  const takers = new Map<string, Loaded[]>();
  for (const one of loaded) {
    const { token } = PORTS[portOf(one.plugin.id)];
    takers.set(token, [...(takers.get(token) ?? []), one]);
  }
  const visit = (taker: Loaded | string, path: readonly (Loaded | string)[]): void => {
    if (made.has(taker)) return;
    if (path.includes(taker)) throw circle([...path.slice(path.indexOf(taker)), taker]);
    const isPart = typeof taker === 'string';
    const { needs = [], wants = [] } = isPart ? (stock.parts[taker] as Part) : taker.plugin;
    for (const need of [...needs, ...wants]) {
      if (!available(need)) {
        if (!(wants as readonly string[]).includes(need))
          throw unmet(isPart ? taker : taker.id, need, stock, available);
        continue;
      }
      const below = [...path, taker];
      if (Object.hasOwn(stock.parts, need)) visit(need, below);
      // A part holds the map of a port with many plugins, which fills; only a plugin waits until it is full.
      else if (!isPart || !isMany(need))
        for (const giver of takers.get(need) ?? []) if (giver !== taker) visit(giver, below);
    }
    made.add(taker);
    steps.push(isPart ? { part: taker } : { plugin: taker });
  };
  for (const one of [...loaded].sort((a, b) => stage(a) - stage(b))) visit(one, []);
  for (const token of Object.keys(stock.parts)) if (available(token)) visit(token, []);
  return steps;
}

/** Whether a token will be there. */
export function availability(loaded: readonly Loaded[], { values, parts }: Stock): (token: string) => boolean {
  const given = new Set(loaded.map((one) => PORTS[portOf(one.plugin.id)].token as string));
  const known = new Map<string, boolean>();
  const isThere = (token: string): boolean => {
    if (values.has(token) || given.has(token) || isMany(token)) return true;
    const part = Object.hasOwn(parts, token) ? parts[token] : undefined;
    if (part === undefined) return false;
    let answer = known.get(token);
    if (answer === undefined) {
      known.set(token, true);
      known.set(token, (answer = (part.needs ?? []).every(isThere)));
    }
    return answer;
  };
  return isThere;
}

function isMany(token: string): boolean {
  return Object.values(PORTS).some((port) => port.token === token && port.many);
}

function unmet(taker: string, need: string, { parts }: Stock, isThere: (token: string) => boolean): GantryError {
  let missing = need;
  let hint: string | undefined;
  // What a part lacks is what is missing.
  while (hint === undefined && Object.hasOwn(parts, missing)) {
    const { needs = [], hint: own } = parts[missing] as Part;
    hint = own;
    if (own === undefined) missing = needs.find((token) => !isThere(token)) ?? missing;
  }
  const [port = missing] = Object.entries(PORTS).find(([, rules]) => rules.token === missing) ?? [];
  return new GantryError('PLUGIN_NEED_UNMET', `${taker} needs '${need}', and no plugin gives it`, {
    hint: `${hint ?? `Add a plugin ${port}.<name> to "plugins" in the config`}, or take ${taker} away.`,
  });
}

function circle(path: readonly (Loaded | string)[]): GantryError {
  const names = path.map((one) => (typeof one === 'string' ? one : one.id)).join(' -> ');
  return new GantryError('PLUGIN_CYCLE', `Plugins need each other: ${names}`, {
    hint: 'One of them has to reach the other through a hook, or not at all.',
  });
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
