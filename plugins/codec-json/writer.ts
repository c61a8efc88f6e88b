/** The keywords of a schema that say how a value that fits it is written. */
interface Node {
  readonly type?: unknown;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Node[];
  readonly oneOf?: readonly Node[];
  readonly items?: unknown;
  readonly prefixItems?: unknown;
  readonly properties?: Readonly<Record<string, Node>>;
  readonly required?: readonly string[];
  readonly patternProperties?: unknown;
  readonly additionalProperties?: unknown;
}

type Write = (value: unknown) => string;
type Scalar = 'string' | 'number' | 'boolean' | 'null';

/** A piece of what is written: text, or JavaScript that gives it. */
type Part = { readonly text: string } | { readonly code: string };

/**
 * Makes code that writes values of one schema as JSON. A value must fit the schema, with all of its objects closed. The
 * text is what JSON.stringify gives, with keys in the order of the schema. What the schema leaves open, and a value
 * that has an object or list with a prototype of its own in it, is left to JSON.stringify. Null where that would be all.
 */
export function compileWriter(schema: object): Write | null {
  const functions: string[] = [];
  const root = partsOf(schema as Node, 'value', functions);
  if (root === null) return null;
  const code = `'use strict';
let odd = false;
${functions.join('\n')}
return (value) => {
  odd = false;
  const written = ${sum(root)};
  return odd ? JSON.stringify(value) : written;
};`;
  const make = new Function('escaped', 'member', 'plain', 'list', code);
  return make(escaped, member, Object.prototype, Array.prototype) as Write;
}

/** What writes the value that `at` stands for; null for what only JSON.stringify knows how to write. */
function partsOf(node: Node, at: string, functions: string[]): readonly Part[] | null {
  switch (scalarOf(node)) {
    case 'string':
      return [{ text: '"' }, { code: `escaped(${at})` }, { text: '"' }];
    case 'number':
      return [{ code: at }];
    case 'boolean':
      return [{ code: `(${at} ? 'true' : 'false')` }];
    case 'null':
      return [{ text: 'null' }];
    default:
  }
  const body = node.type === 'object' ? object(node, functions) : node.type === 'array' ? list(node, functions) : null;
  if (body === null) return null;
  const name = `write${functions.length}`;
  functions.push(`function ${name}(value) {\n${body}\n}`);
  return [{ code: `${name}(${at})` }];
}

/** One expression, with as few pieces as there can be: each costs an allocation. */
function sum(parts: readonly Part[]): string {
  const terms: string[] = [];
  let text = '';
  for (const part of parts) {
    if ('text' in part) text += part.text;
    else {
      // The first term is text, so that numbers are appended and not added.
      if (text !== '' || terms.length === 0) terms.push(JSON.stringify(text));
      terms.push(part.code);
      text = '';
    }
  }
  if (text !== '') terms.push(JSON.stringify(text));
  return terms.join(' + ');
}

/** What all values of a schema are, where that is one thing. */
function scalarOf(node: Node): Scalar | null {
  if (typeof node !== 'object' || node === null) return null;
  const { type, const: only, enum: some, anyOf, oneOf } = node;
  if (type === 'string' || type === 'number' || type === 'boolean' || type === 'null') return type;
  if (type === 'integer') return 'number';
  if (type !== undefined) return null;
  if (only !== undefined) return ofValue(only);
  if (some !== undefined) return one(some.map(ofValue));
  const branches = anyOf ?? oneOf;
  return branches === undefined ? null : one(branches.map(scalarOf));
}

function ofValue(value: unknown): Scalar | null {
  if (value === null) return 'null';
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
    ? (typeof value as Scalar)
    : null;
}

function one(kinds: readonly (Scalar | null)[]): Scalar | null {
  const [first = null] = kinds;
  return kinds.every((kind) => kind === first) ? first : null;
}

/** Statements that return an object's text; null where it may have keys that the schema does not name. */
function object(node: Node, functions: string[]): string | null {
  const { properties, required = [], patternProperties, additionalProperties } = node;
  if (properties === undefined || patternProperties !== undefined) return null;
  if (additionalProperties !== undefined && additionalProperties !== false) return null;
  const keys = Object.keys(properties);
  // An object has these without having been given them, or they say how it is written.
  if (keys.some((key) => key in Object.prototype || key === 'toJSON')) return null;
  const lines = [`if (Object.getPrototypeOf(value) !== plain) { odd = true; return ''; }`, `let out = '{';`];
  // What is always there is written at once; of what comes before, nobody knows whether there was any.
  let always: Part[] = [];
  let begun = false;
  const flush = () => {
    if (always.length > 0) lines.push(`out += ${sum(always)};`);
    always = [];
  };
  for (const key of keys) {
    const at = `value[${JSON.stringify(key)}]`;
    const parts = partsOf(properties[key] as Node, at, functions);
    const comma: Part = begun ? { text: ',' } : { code: `(out.length === 1 ? '' : ',')` };
    const name: Part = { text: `${JSON.stringify(key)}:` };
    if (parts !== null && required.includes(key)) {
      always.push(comma, name, ...parts);
      begun = true;
      continue;
    }
    flush();
    if (parts !== null) lines.push(`if (${at} !== undefined) out += ${sum([comma, name, ...parts])};`);
    else {
      const given = `const part = member(${JSON.stringify(key)}, ${at});`;
      lines.push(`{ ${given} if (part !== '') out += ${sum([comma, { code: 'part' }])}; }`);
    }
  }
  flush();
  lines.push(`return out + '}';`);
  return lines.join('\n');
}

function list({ items, prefixItems }: Node, functions: string[]): string | null {
  if (typeof items !== 'object' || items === null || Array.isArray(items) || prefixItems !== undefined) return null;
  const parts = partsOf(items as Node, 'value[i]', functions);
  if (parts === null) return null;
  return `if (Object.getPrototypeOf(value) !== list) { odd = true; return ''; }
if (value.length === 0) return '[]';
let i = 0;
let out = ${sum([{ text: '[' }, ...parts])};
for (i = 1; i < value.length; i++) out += ${sum([{ text: ',' }, ...parts])};
return out + ']';`;
}

/** Longer text is searched faster by an expression. */
const SHORT = 48;
/** Quotes, backslashes, control characters, and halves of surrogate pairs, which may be alone. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what JSON escapes
const SPECIAL = /["\\\u0000-\u001f\ud800-\udfff]/;

/** Hot. */
function escaped(text: string): string {
  if (text.length > SHORT) return SPECIAL.test(text) ? JSON.stringify(text).slice(1, -1) : text;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x20 || code === 0x22 || code === 0x5c || (code >= 0xd800 && code <= 0xdfff)) {
      return JSON.stringify(text).slice(1, -1);
    }
  }
  return text;
}

/** `"key":value`, or '' where JSON has no such value. A toJSON() is told the key, as it is by JSON.stringify. */
function member(key: string, value: unknown): string {
  return JSON.stringify({ [key]: value }).slice(1, -1);
}
