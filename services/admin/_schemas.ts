/** Schemas as an OpenAPI document has them: JSON Schema 2020-12, each under a name of its own. */

type Json = Readonly<Record<string, unknown>>;

/** Names of a schema's own definitions, and what each is in the document. */
type Scope = Readonly<Record<string, string>>;

const PREFIX = '#/components/schemas/';
/** Ours: what they say is said otherwise, or to nobody outside. */
const OWN: ReadonlySet<string> = new Set(['secret', 'content', '$id', '$schema', '$defs', 'definitions']);
/** Keywords that hold data, and those that hold schemas under free names. */
const DATA: ReadonlySet<string> = new Set(['const', 'enum', 'default', 'examples', 'required']);
const NAMED: ReadonlySet<string> = new Set(['properties', 'patternProperties', 'dependentSchemas']);

/** Collects the schemas of a document. */
export class Schemas {
  readonly #all = new Map<string, unknown>();

  /** Takes a schema in under a name, with what it refers to; gives a reference to it. */
  add(name: string, schema: object): { readonly $ref: string } {
    const key = this.#free(keyOf(name));
    this.#all.set(key, {});
    this.#all.set(key, this.#schema(schema, key, {}));
    return { $ref: `${PREFIX}${key}` };
  }

  /** By name, in alphabetical order. */
  all(): Record<string, unknown> {
    return Object.fromEntries([...this.#all].sort(([one], [other]) => (one < other ? -1 : 1)));
  }

  #schema(schema: unknown, key: string, outer: Scope): unknown {
    if (Array.isArray(schema)) return schema.map((part) => this.#schema(part, key, outer));
    if (typeof schema !== 'object' || schema === null) return schema;
    const node = schema as Json;
    const scope = this.#definitions(node, key, outer);
    const entries = Object.entries(tupled(node)).filter(([keyword]) => !OWN.has(keyword));
    const made = entries.map(([keyword, value]) => [keyword, this.#value(keyword, value, key, scope)] as const);
    const secret = node['secret'] === true ? { writeOnly: true, format: 'password' } : {};
    return { ...Object.fromEntries(made), ...secret };
  }

  #value(keyword: string, value: unknown, key: string, scope: Scope): unknown {
    if (DATA.has(keyword)) return value;
    if (keyword === '$ref') return reference(String(value), key, scope);
    if (!NAMED.has(keyword)) return this.#schema(value, key, scope);
    const parts = Object.entries(value as Json).map(([name, part]) => [name, this.#schema(part, key, scope)] as const);
    return Object.fromEntries(parts);
  }

  /** References lead to the document, so what they name has to be there. */
  #definitions(node: Json, key: string, outer: Scope): Scope {
    const own = { ...(node['definitions'] as Json | undefined), ...(node['$defs'] as Json | undefined) };
    const names = Object.keys(own);
    if (names.length === 0) return outer;
    const scope = { ...outer };
    for (const name of names) {
      scope[name] = this.#free(keyOf(`${key}.${name}`));
      this.#all.set(scope[name], {});
    }
    for (const name of names) this.#all.set(scope[name] as string, this.#schema(own[name], key, scope));
    return scope;
  }

  #free(key: string): string {
    let free = key;
    for (let i = 2; this.#all.has(free); i++) free = `${key}-${i}`;
    return free;
  }
}

/** What a component may be named (OpenAPI 3.1, 4.8.7). */
function keyOf(name: string): string {
  return name.replace(/[^A-Za-z0-9._-]/g, '_');
}

function reference(ref: string, key: string, scope: Scope): string {
  if (ref === '#') return `${PREFIX}${key}`;
  return `${PREFIX}${scope[ref.slice(ref.lastIndexOf('/') + 1)] ?? key}`;
}

/** A list whose places differ is written otherwise since 2019. */
function tupled(node: Json): Json {
  const { items, additionalItems, ...rest } = node;
  if (!Array.isArray(items)) return node;
  return { ...rest, prefixItems: items, ...(additionalItems === undefined ? {} : { items: additionalItems }) };
}
