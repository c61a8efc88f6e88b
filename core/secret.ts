import { inspect } from 'node:util';
import { Type } from 'typebox';

/** A value that must not be seen: prints as `***` wherever it is logged, inspected or serialised. */
export class Secret {
  readonly #value: string;
  constructor(value: string) {
    this.#value = value;
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
  readonly secret?: boolean;
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly additionalProperties?: boolean | SchemaNode;
  readonly patternProperties?: Readonly<Record<string, SchemaNode>>;
  readonly items?: SchemaNode | readonly SchemaNode[];
  readonly anyOf?: readonly SchemaNode[];
  readonly allOf?: readonly SchemaNode[];
}

/** A copy of a checked value in which each field that its schema marks secret is a `Secret`. */
export function wrapSecrets(schema: object, value: unknown): unknown {
  return wrap(schema as SchemaNode, value);
}

function wrap(node: SchemaNode | undefined, value: unknown): unknown {
  if (node === undefined || value === null || value === undefined) return value;
  if (node.secret === true && typeof value === 'string') return new Secret(value);
  const branches = node.anyOf ?? node.allOf;
  if (branches !== undefined) return branches.reduce((made: unknown, branch) => wrap(branch, made), value);
  if (Array.isArray(value)) {
    const items = node.items;
    return Array.isArray(items) || items === undefined ? value : value.map((v) => wrap(items as SchemaNode, v));
  }
  if (typeof value !== 'object' || value instanceof Secret) return value;
  const rest = typeof node.additionalProperties === 'object' ? node.additionalProperties : undefined;
  const patterns = Object.entries(node.patternProperties ?? {});
  const of = (key: string) =>
    node.properties?.[key] ?? patterns.find(([pattern]) => new RegExp(pattern).test(key))?.[1] ?? rest;
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, wrap(of(key), entry)]));
}
