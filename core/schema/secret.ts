import { inspect } from 'node:util';
import { Type } from 'typebox';
import { GantryError } from '../errors.ts';

const BRAND = Symbol.for('gantry.secret');

/** A value that must not be seen: prints as `***` wherever it is logged, inspected or serialised. */
export class Secret {
  readonly [BRAND] = true;
  readonly #value: string;
  constructor(value: string) {
    this.#value = value;
  }
  /** By brand: a plugin that is a package of its own may bring a second copy of this class. */
  static [Symbol.hasInstance](value: unknown): boolean {
    return typeof value === 'object' && value !== null && BRAND in value;
  }
  /** The value itself; call it where it is used, and keep it nowhere. */
  reveal(): string {
    return this.#value;
  }
  toString(): string {
    return '***';
  }
  toJSON(): string {
    return '***';
  }
  [inspect.custom](): string {
    return '***';
  }
}

/** Schema of a secret config field: a string in the file, a `Secret` for the plugin, never a value in an error. */
export function SecretText(options: { description?: string; minLength?: number } = {}) {
  return Type.Unsafe<Secret>({ type: 'string', minLength: 1, ...options, secret: true });
}

interface SchemaNode {
  readonly $id?: string;
  readonly $ref?: string;
  readonly $defs?: Readonly<Record<string, SchemaNode>>;
  readonly definitions?: Readonly<Record<string, SchemaNode>>;
  readonly secret?: boolean;
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly patternProperties?: Readonly<Record<string, SchemaNode>>;
  readonly additionalProperties?: boolean | SchemaNode;
  readonly items?: boolean | SchemaNode | readonly SchemaNode[];
  readonly additionalItems?: boolean | SchemaNode;
  readonly anyOf?: readonly SchemaNode[];
  readonly oneOf?: readonly SchemaNode[];
  readonly allOf?: readonly SchemaNode[];
  readonly then?: SchemaNode;
  readonly else?: SchemaNode;
}

/** A part of a schema, and what its references are looked up in. */
interface Scoped {
  readonly node: SchemaNode;
  readonly defs: Readonly<Record<string, SchemaNode>>;
  readonly root: SchemaNode;
}

/** Where a schema has secrets: whether a text at this place of a value is one, and where the places below are. */
export interface Places {
  readonly secret: boolean;
  /** Whether the schema says nothing of this place, nor of what is below. */
  readonly unknown: boolean;
  /** Of a key of an object, or of a position in a list. Throws PLUGIN_MALFORMED for a `$ref` that leads nowhere. */
  below(step: string | number): Places;
}

/** Those of no schema. */
export const NOWHERE: Places = Object.freeze({ secret: false, unknown: true, below: () => NOWHERE });
const known = new WeakMap<object, Places>();

/**
 * The places of a schema. All branches of a union count, whichever the value is of: what may be a secret is one.
 * `parts` are schemas of single keys, which know more than the schema of the whole, e.g. a transport's of `options`.
 */
export function placesOf(schema: object, parts: Readonly<Record<string, object | undefined>> = {}): Places {
  let places = known.get(schema);
  if (places === undefined) {
    const node = schema as SchemaNode;
    known.set(schema, (places = new SchemaPlaces(spread({ node, defs: {}, root: node }, []))));
  }
  const whole = places;
  const own = Object.entries(parts).flatMap(([key, part]) =>
    part === undefined ? [] : [[key, placesOf(part)] as const],
  );
  if (own.length === 0) return whole;
  const byKey = new Map<string | number, Places>(own);
  return { secret: whole.secret, unknown: false, below: (step) => byKey.get(step) ?? whole.below(step) };
}

class SchemaPlaces implements Places {
  readonly secret: boolean;
  readonly unknown = false;
  readonly #nodes: readonly Scoped[];
  /** Of the keys that the schema names, and no others: it must not grow with the values. */
  readonly #named = new Map<string, Places>();
  /** Of all positions, where they are alike. */
  #items: Places | null = null;

  constructor(nodes: readonly Scoped[]) {
    this.#nodes = nodes;
    this.secret = nodes.some(({ node }) => node.secret === true);
  }

  below(step: string | number): Places {
    return typeof step === 'number' ? this.#item(step) : this.#entry(step);
  }

  #item(index: number): Places {
    if (this.#items !== null) return this.#items;
    const made = this.#made((node) => itemsOf(node, index));
    if (!this.#nodes.some(({ node }) => isList(node.items))) this.#items = made;
    return made;
  }

  #entry(key: string): Places {
    const before = this.#named.get(key);
    if (before !== undefined) return before;
    const made = this.#made((node) => entriesOf(node, key));
    if (this.#nodes.some(({ node }) => hasOwn(node.properties, key))) this.#named.set(key, made);
    return made;
  }

  #made(children: (node: SchemaNode) => readonly SchemaNode[]): Places {
    const found: Scoped[] = [];
    for (const scoped of this.#nodes) {
      for (const node of children(scoped.node)) spread({ ...scoped, node }, found);
    }
    return found.length === 0 ? NOWHERE : new SchemaPlaces(found);
  }
}

/** Every part of a schema that may say something of one place. */
function spread(from: Scoped, found: Scoped[]): Scoped[] {
  const { node } = from;
  // Seen already: references may go in a circle.
  if (typeof node !== 'object' || node === null || found.some((one) => one.node === node)) return found;
  const scoped = { ...from, defs: { ...from.defs, ...node.$defs, ...node.definitions } };
  found.push(scoped);
  const { anyOf = [], oneOf = [], allOf = [] } = node;
  const others = [...anyOf, ...oneOf, ...allOf, node.then, node.else];
  if (node.$ref !== undefined) others.push(target(node.$ref, scoped));
  for (const other of others) if (other !== undefined) spread({ ...scoped, node: other }, found);
  return found;
}

const patterns = new WeakMap<object, readonly (readonly [RegExp, SchemaNode])[]>();

function entriesOf(node: SchemaNode, key: string): SchemaNode[] {
  const found = hasOwn(node.properties, key) ? [node.properties[key] as SchemaNode] : [];
  if (node.patternProperties !== undefined) {
    for (const [pattern, child] of patternsOf(node.patternProperties)) if (pattern.test(key)) found.push(child);
  }
  const rest = node.additionalProperties;
  return found.length === 0 && typeof rest === 'object' ? [rest] : found;
}

function patternsOf(of: Readonly<Record<string, SchemaNode>>): readonly (readonly [RegExp, SchemaNode])[] {
  let made = patterns.get(of);
  if (made === undefined) {
    made = Object.entries(of).map(([pattern, child]) => [new RegExp(pattern, 'u'), child] as const);
    patterns.set(of, made);
  }
  return made;
}

function itemsOf({ items, additionalItems }: SchemaNode, index: number): SchemaNode[] {
  const one = isList(items) ? (items[index] ?? additionalItems) : items;
  return typeof one === 'object' ? [one] : [];
}

function isList(items: SchemaNode['items']): items is readonly SchemaNode[] {
  return Array.isArray(items);
}

/** Not found would mean not sealed: it is an error. */
function target(ref: string, { defs, root }: Scoped): SchemaNode {
  const name = ref.slice(ref.lastIndexOf('/') + 1);
  const found = hasOwn(defs, name) ? defs[name] : ref.startsWith('#') ? pointed(root, ref) : identified(root, ref);
  if (typeof found === 'object' && found !== null) return found as SchemaNode;
  throw new GantryError('PLUGIN_MALFORMED', `A schema refers to '${ref}', which is not in it`);
}

function pointed(root: unknown, ref: string): unknown {
  const steps = ref.split('/').slice(1);
  return steps.reduce((at: unknown, step) => {
    const key = decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~');
    return hasOwn(at, key) ? at[key] : undefined;
  }, root);
}

function identified(at: unknown, id: string): unknown {
  if (typeof at !== 'object' || at === null) return undefined;
  if ('$id' in at && at.$id === id) return at;
  for (const part of Object.values(at)) {
    const found = identified(part, id);
    if (found !== undefined) return found;
  }
  return undefined;
}

function hasOwn(value: unknown, key: string): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, key);
}

/** A copy of a checked value in which each field that its schema marks secret is a `Secret`. */
export function wrapSecrets(schema: object, value: unknown): unknown {
  return wrap(placesOf(schema), value);
}

function wrap(places: Places, value: unknown): unknown {
  if (typeof value === 'string') return places.secret ? new Secret(value) : value;
  if (typeof value !== 'object' || value === null || value instanceof Secret || places.unknown) return value;
  if (Array.isArray(value)) return value.map((entry, i) => wrap(places.below(i), entry));
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, wrap(places.below(key), entry)]));
}
