import { Builder } from 'xml2js';
import { pointerOf } from '../../core/api.ts';
import { hasForbiddenCharacter, isUri, type Name, parseName, XML_NAMESPACE, XMLNS_NAMESPACE } from './names.ts';
import { unwritable } from './refuse.ts';

export interface WriteOptions {
  readonly root: string;
  readonly item: string;
  readonly maxDepth: number;
}

const builder = new Builder({ xmldec: { version: '1.0', encoding: 'UTF-8' }, renderOpts: { pretty: false } });

/** Throws OUTPUT_INVALID. */
export function writeXml(value: unknown, options: WriteOptions): string {
  const content = new Writer(options).content(value, '', 1, NO_PREFIXES);
  try {
    // The one key of the outermost object names the root.
    return builder.buildObject({ [options.root]: content });
  } catch (cause) {
    throw unwritable('', 'has a part that cannot be written', cause);
  }
}

/** Prefix -> namespace, as declared so far. */
type Prefixes = ReadonlyMap<string, string>;
const NO_PREFIXES: Prefixes = new Map([['xml', XML_NAMESPACE]]);

type Content = string | { [name: string]: Content | Content[] | Record<string, string> };

/**
 * Makes of a value what the builder writes without surprises: strings and plain objects, names checked. Left to
 * itself it writes a date as nothing, a text in a list as one element for each letter, and any name as it comes.
 */
class Writer {
  readonly #options: WriteOptions;

  constructor(options: WriteOptions) {
    this.#options = options;
  }

  content(value: unknown, path: string, depth: number, prefixes: Prefixes): Content {
    const { maxDepth, item } = this.#options;
    if (depth > maxDepth) throw unwritable(path, `is nested deeper than ${maxDepth} levels, or contains itself`);
    if (typeof value !== 'object' || value === null || value instanceof Date) return textOf(value, path);
    if (Array.isArray(value)) return { [item]: this.#list(value, path, depth, prefixes) };
    return this.#object(value as Record<string, unknown>, path, depth, prefixes);
  }

  #list(list: readonly unknown[], path: string, depth: number, prefixes: Prefixes): Content[] {
    return list.map((entry, i) => this.content(entry, `${path}/${i}`, depth + 1, prefixes));
  }

  #object(value: Record<string, unknown>, path: string, depth: number, above: Prefixes): Content {
    const { $: attributes, ...rest } = value;
    const content: Exclude<Content, string> = {};
    let prefixes = above;
    if (attributes !== undefined) {
      const written = attributesOf(attributes, `${path}/$`);
      prefixes = declare(written, `${path}/$`, above);
      if (Object.keys(written).length > 0) content['$'] = written;
    }
    for (const [key, entry] of Object.entries(rest)) {
      if (entry === undefined) continue;
      const here = `${path}${pointerOf([key])}`;
      if (key === '_') {
        content['_'] = textOf(entry, here);
        continue;
      }
      const name = nameOf(key, here);
      if (Array.isArray(entry)) content[key] = this.#list(entry, here, depth, prefixes);
      else content[key] = this.content(entry, here, depth + 1, prefixes);
      this.#checkPrefix(name, here, entry, prefixes);
    }
    return content;
  }

  /** An element may declare its own prefix. */
  #checkPrefix({ prefix }: Name, path: string, entry: unknown, prefixes: Prefixes): void {
    if (prefix === '' || prefixes.has(prefix)) return;
    const elements = Array.isArray(entry) ? entry : [entry];
    for (const element of elements) {
      const attributes = (element as { $?: Record<string, unknown> } | null | undefined)?.$;
      if (attributes?.[`xmlns:${prefix}`] === undefined) throw undeclared(path, prefix);
    }
  }
}

function nameOf(key: string, path: string): Name {
  const name = key === '__proto__' ? null : parseName(key);
  if (name === null || name.prefix === 'xmlns') throw unwritable(path, 'has a key that is no name of an XML element');
  return name;
}

function textOf(value: unknown, path: string): string {
  const text = scalar(value, path);
  if (hasForbiddenCharacter(text)) throw unwritable(path, 'has a character that XML 1.0 cannot hold');
  return text;
}

function scalar(value: unknown, path: string): string {
  if (value === null || value === undefined) return '';
  if (typeof value === 'string') return value;
  if (typeof value === 'boolean' || typeof value === 'bigint') return String(value);
  if (typeof value === 'number' && Number.isFinite(value)) return String(value);
  if (value instanceof Date && !Number.isNaN(value.getTime())) return value.toISOString();
  const what = typeof value === 'object' ? (value instanceof Date ? 'a date that is none' : 'an object') : typeof value;
  throw unwritable(path, `is ${typeof value === 'number' ? String(value) : what}, which XML text cannot hold`);
}

/** `$` of an element: names and texts. */
function attributesOf(value: unknown, path: string): Record<string, string> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw unwritable(path, 'is not an object of attributes');
  }
  const attributes: Record<string, string> = {};
  for (const [key, entry] of Object.entries(value)) {
    if (entry === undefined) continue;
    const here = `${path}${pointerOf([key])}`;
    if (key === '__proto__' || parseName(key) === null)
      throw unwritable(here, 'has a key that is no name of an attribute');
    attributes[key] = textOf(entry, here);
  }
  return attributes;
}

/** The prefixes that hold below an element, after its own declarations; its attributes are checked against them. */
function declare(attributes: Readonly<Record<string, string>>, path: string, above: Prefixes): Prefixes {
  const names = Object.entries(attributes).map(([key, value]) => ({ key, value, ...(parseName(key) as Name) }));
  const declared = names.filter(({ key, prefix }) => key === 'xmlns' || prefix === 'xmlns');
  for (const { key, value, local } of declared) checkDeclaration(key, value, local, `${path}/${key}`);
  const own = declared.filter(({ prefix }) => prefix === 'xmlns').map(({ local, value }) => [local, value] as const);
  const prefixes = own.length === 0 ? above : new Map([...above, ...own]);
  const seen = new Set<string>();
  for (const { key, prefix, local } of names) {
    if (prefix === '' || prefix === 'xmlns') continue;
    const namespace = prefixes.get(prefix);
    if (namespace === undefined) throw undeclared(`${path}/${key}`, prefix);
    if (seen.has(`${namespace} ${local}`)) throw unwritable(`${path}/${key}`, 'is there twice, under another prefix');
    seen.add(`${namespace} ${local}`);
  }
  return prefixes;
}

function checkDeclaration(key: string, uri: string, local: string, path: string): void {
  const taken = uri === XML_NAMESPACE || uri === XMLNS_NAMESPACE;
  const reserved = key !== 'xmlns' && (local === 'xml' || local === 'xmlns' || uri === '');
  if (taken || reserved) throw unwritable(path, 'declares what Namespaces in XML does not let anyone declare');
  if (!isUri(uri)) throw unwritable(path, 'declares a namespace that is not a URI');
}

function undeclared(path: string, prefix: string) {
  return unwritable(path, `has the prefix '${prefix}', which no attribute xmlns:${prefix} declares`);
}
