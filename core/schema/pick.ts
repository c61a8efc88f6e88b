import type { TSchema } from 'typebox';
import { Check as fits } from 'typebox/value';

/** The keywords of a schema that say what a value has. */
export interface Node {
  readonly $ref?: string;
  readonly $defs?: Readonly<Record<string, Node>>;
  readonly anyOf?: readonly Node[];
  readonly oneOf?: readonly Node[];
  readonly allOf?: readonly Node[];
  readonly items?: Node | readonly Node[];
  readonly properties?: Readonly<Record<string, Node>>;
  readonly patternProperties?: Readonly<Record<string, Node>>;
  readonly additionalProperties?: boolean | Node;
}

/**
 * A copy of what the schema names. It is made from the schema and not from the value, which may be a model with a
 * database behind it, or hold itself; what the schema leaves open is the value's own.
 */
export function pick(node: Node, value: unknown, outer: Readonly<Record<string, Node>>): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const defs = node.$defs === undefined ? outer : { ...outer, ...node.$defs };
  const target = node.$ref === undefined ? undefined : defs[node.$ref.slice(node.$ref.lastIndexOf('/') + 1)];
  if (target !== undefined) return pick(target, value, defs);
  const branches = node.anyOf ?? node.oneOf;
  if (branches !== undefined) return fullest(branches, value, defs);
  if (node.allOf !== undefined) return node.allOf.map((part) => pick(part, value, defs)).reduce(united);
  if (Array.isArray(value)) {
    const { items } = node;
    if (items === undefined) return value;
    const each = Array.isArray(items) ? (i: number) => (items as Node[])[i] : () => items as Node;
    return value.map((entry, i) => {
      const own = each(i);
      return own === undefined ? entry : pick(own, entry, defs);
    });
  }
  return named(node, value as Record<string, unknown>, defs);
}

function named(node: Node, value: Record<string, unknown>, defs: Readonly<Record<string, Node>>): unknown {
  const { properties = {}, patternProperties = {}, additionalProperties: rest } = node;
  if (node.properties === undefined && node.patternProperties === undefined && typeof rest !== 'object') return value;
  const patterns = Object.entries(patternProperties).map(([name, own]) => [new RegExp(name, 'u'), own] as const);
  const entries: [string, unknown][] = [];
  for (const [key, own] of Object.entries(properties)) {
    const inherited = !Object.hasOwn(value, key) && key in Object.prototype;
    if (!inherited && value[key] !== undefined) entries.push([key, pick(own, value[key], defs)]);
  }
  if (patterns.length > 0 || rest === true || typeof rest === 'object') {
    for (const [key, entry] of Object.entries(value)) {
      if (Object.hasOwn(properties, key)) continue;
      const own = patterns.find(([name]) => name.test(key))?.[1] ?? rest;
      if (own === true) entries.push([key, entry]);
      else if (typeof own === 'object') entries.push([key, pick(own, entry, defs)]);
    }
  }
  return Object.fromEntries(entries);
}

/** What fits a branch, and of several the one that keeps the most. */
function fullest(branches: readonly Node[], value: object, defs: Readonly<Record<string, Node>>): unknown {
  let best: object | null = null;
  for (const branch of branches) {
    const made = pick(branch, value, defs) as object;
    if (!fits(defs as Record<string, TSchema>, branch as TSchema, made)) continue;
    if (best === null || Object.keys(made).length > Object.keys(best).length) best = made;
  }
  return best ?? value;
}

/** What two parts of an intersection each took. */
function united(one: unknown, other: unknown): unknown {
  if (!isRecord(one) || !isRecord(other)) return other;
  const both: Record<string, unknown> = { ...one };
  for (const [key, entry] of Object.entries(other)) both[key] = key in one ? united(one[key], entry) : entry;
  return both;
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
