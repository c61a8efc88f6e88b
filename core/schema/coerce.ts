import type { TSchema } from 'typebox';
import { Check, Clone } from 'typebox/value';

/** Turns what was written as text into what a schema declares; gives back unchanged what does not fit. */
export type Coerce = (value: unknown) => unknown;

interface Node {
  type?: string | string[];
  const?: unknown;
  enum?: unknown[];
  properties?: Record<string, Node>;
  patternProperties?: Record<string, Node>;
  additionalProperties?: boolean | Node;
  items?: Node | Node[];
  anyOf?: Node[];
  oneOf?: Node[];
  allOf?: Node[];
}

/**
 * Compiled once per schema, for sources that have only strings: path, query, form, CSV, XML, environment. A lone
 * value where a list is declared becomes a list of one; '' where an object is declared becomes an empty one. It never
 * fails: a string that is no number stays a string, for the check to refuse with its path.
 */
export function compileCoerce(schema: TSchema): Coerce {
  return build(schema as Node) ?? same;
}

const same: Coerce = (value) => value;

/** Null where there is nothing to do. */
function build(node: Node | boolean | undefined): Coerce | null {
  if (typeof node !== 'object' || node === null) return null;
  const branches = node.anyOf ?? node.oneOf;
  if (branches !== undefined) return union(branches);
  if (node.allOf !== undefined) return chain(node.allOf.map(build));
  if (node.const !== undefined) return constant([node.const]);
  if (node.enum !== undefined) return constant(node.enum);
  const types = Array.isArray(node.type) ? node.type : [node.type];
  return types.length === 1 ? single(types[0], node) : union(types.map((type) => ({ ...node, type: type as string })));
}

function single(type: string | undefined, node: Node): Coerce | null {
  switch (type) {
    case 'integer':
      return text((s) => (/^[+-]?\d{1,16}$/.test(s) && Number.isSafeInteger(Number(s)) ? Number(s) : s));
    case 'number':
      return text((s) =>
        /^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i.test(s) && Number.isFinite(Number(s)) ? Number(s) : s,
      );
    case 'boolean':
      return text((s) => (s === 'true' || s === '1' ? true : s === 'false' || s === '0' ? false : s));
    case 'null':
      return text((s) => (s === '' || s === 'null' ? null : s));
    case 'array':
      return list(node);
    case 'object':
      return object(node);
    default:
      return null;
  }
}

function text(convert: (value: string) => unknown): Coerce {
  return (value) => {
    if (typeof value !== 'string') return value;
    const made = convert(value.trim());
    return typeof made === 'string' ? value : made;
  };
}

function list({ items }: Node): Coerce {
  const each = Array.isArray(items) ? null : build(items);
  return (value) => {
    if (value === undefined) return value;
    const entries = Array.isArray(value) ? value : [value];
    return each === null ? entries : entries.map(each);
  };
}

function object({ properties = {}, patternProperties = {}, additionalProperties }: Node): Coerce {
  const known = Object.entries(properties).map(([key, node]) => [key, build(node)] as const);
  const named = known.filter((entry): entry is readonly [string, Coerce] => entry[1] !== null);
  const patterns = Object.entries(patternProperties).map(
    ([pattern, node]) => [new RegExp(pattern, 'u'), build(node)] as const,
  );
  const further = build(additionalProperties as Node | boolean | undefined);
  const open = further !== null || patterns.some(([, coerce]) => coerce !== null);
  return (value) => {
    if (typeof value === 'string' && value.trim() === '') return {};
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
    const record = value as Record<string, unknown>;
    for (const [key, coerce] of named) {
      if (Object.hasOwn(record, key)) record[key] = coerce(record[key]);
    }
    if (open) {
      for (const key of Object.keys(record)) {
        if (Object.hasOwn(properties, key)) continue;
        const pattern = patterns.find(([name]) => name.test(key));
        const coerce = pattern === undefined ? further : pattern[1];
        if (coerce !== null) record[key] = coerce(record[key]);
      }
    }
    return record;
  };
}

/** What a branch takes as it is stays; else the first branch that makes something of it wins. */
function union(branches: readonly Node[]): Coerce | null {
  const built = branches.map(build).filter((b): b is Coerce => b !== null);
  if (built.length === 0) return null;
  if (!branches.every(isScalar)) return choice(branches);
  const takesText = branches.some((b) => b.type === 'string' && b.enum === undefined && b.const === undefined);
  const texts = new Set(branches.flatMap((b) => b.enum ?? [b.const]));
  return (value) => {
    if (typeof value !== 'string' || texts.has(value)) return value;
    if (takesText) return value;
    for (const coerce of built) {
      const made = coerce(value);
      if (made !== value) return made;
    }
    return value;
  };
}

/** Lists and objects can be told apart only by what is in them, and a branch that does not fit must leave no trace. */
function choice(branches: readonly Node[]): Coerce {
  const built = branches.map((branch) => ({ schema: branch as TSchema, coerce: build(branch) ?? same }));
  return (value) => {
    if (built.some(({ schema }) => Check(schema, value))) return value;
    for (const { schema, coerce } of built) {
      const made = coerce(Clone(value));
      if (Check(schema, made)) return made;
    }
    return value;
  };
}

function isScalar({ type, const: only, enum: some }: Node): boolean {
  if (only !== undefined || some !== undefined) return true;
  return typeof type === 'string' && type !== 'array' && type !== 'object';
}

function constant(allowed: readonly unknown[]): Coerce | null {
  const byText = new Map(allowed.filter((v) => typeof v !== 'string').map((v) => [String(v), v]));
  if (byText.size === 0) return null;
  return (value) =>
    typeof value === 'string' && !allowed.includes(value) && byText.has(value) ? byText.get(value) : value;
}

function chain(parts: readonly (Coerce | null)[]): Coerce | null {
  const present = parts.filter((p): p is Coerce => p !== null);
  if (present.length === 0) return null;
  return (value) => present.reduce((made, coerce) => coerce(made), value);
}
