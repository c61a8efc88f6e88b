import type { TSchema } from 'typebox';
import { compileCoerce } from './coerce.ts';

type Tree = Record<string, unknown>;

/** A string that a reference wrote; takes the type that its schema declares, and is never shown. */
export class Written {
  readonly text: string;
  readonly source: string;
  constructor(text: string, source: string) {
    this.text = text;
    this.source = source;
  }
  toString(): string {
    return this.text;
  }
}

interface SchemaNode {
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly patternProperties?: Readonly<Record<string, SchemaNode>>;
  readonly additionalProperties?: boolean | SchemaNode;
  readonly items?: SchemaNode;
  readonly anyOf?: readonly SchemaNode[];
  readonly allOf?: readonly SchemaNode[];
}

/**
 * Gives what references wrote the types that a schema declares. Only they are text without a type: "8080" in the file
 * itself stays a string. What the schema leaves open stays a reference, for a narrower schema to settle.
 */
export function settle(schema: object, value: unknown): unknown {
  return settleNode(schema as SchemaNode, value);
}

function settleNode(node: SchemaNode | undefined, value: unknown): unknown {
  if (value instanceof Written) {
    return node === undefined || Object.keys(node).length === 0 ? value : compileCoerce(node as TSchema)(value.text);
  }
  const branches = node?.anyOf ?? node?.allOf;
  if (branches !== undefined) return branches.reduce((made: unknown, branch) => settleNode(branch, made), value);
  if (Array.isArray(value)) return replaced(value, (entry) => settleNode(node?.items, entry));
  if (!isTree(value)) return value;
  const rest =
    Object.values(node?.patternProperties ?? {})[0] ??
    (typeof node?.additionalProperties === 'object' ? node.additionalProperties : undefined);
  return replaced(value, (entry, key) => settleNode(node?.properties?.[key] ?? rest, entry));
}

/** A copy with what became of the entries; the same list or map where nothing did, as in nearly all of a large file. */
function replaced(value: Tree | readonly unknown[], change: (entry: unknown, key: string) => unknown): unknown {
  let copy: Tree | unknown[] | null = null;
  for (const key of Object.keys(value)) {
    const entry = (value as Tree)[key];
    const made = change(entry, key);
    if (made === entry) continue;
    copy ??= Array.isArray(value) ? [...value] : { ...(value as Tree) };
    (copy as Tree)[key] = made;
  }
  return copy ?? value;
}

/** What no schema claimed is text. */
export function plain(value: unknown): unknown {
  if (value instanceof Written) return value.text;
  return Array.isArray(value) || isTree(value) ? replaced(value, plain) : value;
}

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Written);
}
