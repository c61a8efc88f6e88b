import { ParseOption, XmlCData, XmlDocument, XmlElement, XmlParseError, XmlText, XmlTreeNode } from 'libxml2-wasm';
import type { GantryError } from '../../core/api.ts';
import { malformed, tooDeep, tooLarge } from './refuse.ts';
import { hasDoctype, utf8Of } from './source.ts';

export interface ReadLimits {
  readonly maxDepth: number;
  readonly maxNodes: number;
  readonly maxBytes: number;
}

const OPTIONS = ParseOption.XML_PARSE_NO_XXE | ParseOption.XML_PARSE_NONET | ParseOption.XML_PARSE_NOWARNING;

/** The content of the root element. Throws INPUT_MALFORMED, INPUT_TOO_DEEP, INPUT_TOO_LARGE or MEDIA_UNSUPPORTED. */
export function readXml(raw: Uint8Array | string, parameters: string, limits: ReadLimits): unknown {
  if (raw.length > limits.maxBytes) throw tooLarge('bytes', limits.maxBytes, 'maxBytes');
  const source = utf8Of(raw, parameters);
  if (source.length > limits.maxBytes) throw tooLarge('bytes', limits.maxBytes, 'maxBytes');
  if (hasDoctype(source)) throw doctype();
  const document = parse(source, limits);
  try {
    // Never so, unless the parser sees a DOCTYPE where the look before it saw none.
    if (document.dtd !== null) throw doctype();
    return new Reader(limits).content(document.root, 1);
  } finally {
    document.dispose();
  }
}

function parse(source: Buffer, limits: ReadLimits): XmlDocument {
  try {
    return XmlDocument.fromBuffer(source, { option: OPTIONS, encoding: 'utf-8' });
  } catch (thrown) {
    throw thrown instanceof XmlParseError ? explain(thrown, limits) : malformed('cannot be read');
  }
}

/** What libxml2 says quotes the body: the reason is told in words of ours, and the place as it gives it. */
const REASONS: readonly (readonly [RegExp, string])[] = [
  [/tag mismatch/, 'has an end tag that does not fit its start tag'],
  [/Extra content/, 'has something behind its root element'],
  [/Start tag expected|Document is empty/, 'has no root element'],
  [/Entity '|EntityRef|undeclared entity/, 'has an entity reference that is none of the five of XML'],
  [/Namespace prefix|Namespaced|QName|xmlns/, 'has a namespace that is not declared, or not as it should be'],
  [/Attribute .*redefined/s, 'has an attribute twice in one element'],
  [/AttValue|attributes construct|Specification mandates/, 'has an attribute that is not written as one'],
  [/invalid Char|invalid xmlChar|out of allowed range/, 'has a character that XML 1.0 does not allow'],
  [/Invalid bytes|not proper UTF-8/, 'has bytes that are not UTF-8'],
  [/Premature end|EndTag|Couldn't find end of Start Tag/, 'has a tag that is not closed'],
  [/version/, 'is of a version other than 1.0'],
];

function explain(thrown: XmlParseError, limits: ReadLimits): GantryError {
  const [first] = thrown.details;
  const message = first?.message ?? '';
  if (/Excessive depth/.test(message)) return tooDeep(limits.maxDepth);
  if (/Resource limit|too long|Huge input|XML_PARSE_HUGE/.test(message)) {
    return tooLarge('bytes in one text or name', 10_000_000, 'maxBytes');
  }
  const reason = REASONS.find(([pattern]) => pattern.test(message))?.[1] ?? 'is not well-formed';
  return malformed(first === undefined ? reason : `${reason}, at line ${first.line}, column ${first.col}`);
}

function doctype(): GantryError {
  return malformed('has a DOCTYPE', {
    expected: 'none',
    hint: 'Leave it out, and write out what its entities stand for.',
  });
}

type Content = Record<string, unknown>;
const BLANK = /^[ \t\r\n]*$/;

/** Walks one document. */
class Reader {
  readonly #limits: ReadLimits;
  #nodes = 0;

  constructor(limits: ReadLimits) {
    this.#limits = limits;
  }

  content(element: XmlElement, depth: number): unknown {
    if (depth > this.#limits.maxDepth) throw tooDeep(this.#limits.maxDepth);
    this.#count(1);
    const content: Content = {};
    let bare = !this.#attributes(element, content);
    let text = '';
    let marked = false;
    for (let node = element.firstChild; node !== null; node = nextOf(node)) {
      if (node instanceof XmlElement) {
        add(content, nameOf(node), this.content(node, depth + 1));
        bare = false;
      } else if (node instanceof XmlText) text += node.content;
      else if (node instanceof XmlCData) {
        text += node.content;
        marked = true;
      }
    }
    if (bare) return text;
    if (marked || !BLANK.test(text)) content['_'] = text;
    return content;
  }

  /** Puts them under `$`; false where there are none. */
  #attributes(element: XmlElement, content: Content): boolean {
    const found: Record<string, string> = {};
    let count = 0;
    for (const [prefix, uri] of Object.entries(element.nsDeclarations)) {
      found[prefix === '' ? 'xmlns' : `xmlns:${prefix}`] = uri;
      count++;
    }
    for (const attribute of element.attrs) {
      found[nameOf(attribute)] = attribute.value;
      count++;
    }
    if (count === 0) return false;
    this.#count(count);
    content['$'] = found;
    return true;
  }

  #count(more: number): void {
    this.#nodes += more;
    const { maxNodes } = this.#limits;
    if (this.#nodes > maxNodes) throw tooLarge('elements and attributes', maxNodes, 'maxNodes');
  }
}

/**
 * What follows a node. A processing instruction of the library has no `next` of its own, and would end the walk; the
 * getter of the other nodes works for it too. An XPath that finds the instructions takes minutes where they are many.
 */
function nextOf(node: XmlTreeNode): XmlTreeNode | null {
  return node instanceof XmlTreeNode ? node.next : (Reflect.get(XmlTreeNode.prototype, 'next', node) as XmlTreeNode);
}

function nameOf(node: { readonly name: string; readonly prefix: string }): string {
  const { name, prefix } = node;
  if (prefix !== '') return `${prefix}:${name}`;
  if (name === '__proto__') throw reserved(name);
  return name;
}

function add(content: Content, name: string, value: unknown): void {
  if (name === '_') throw reserved(name);
  // Own properties only: `constructor` and `toString` are names like any other.
  if (!Object.hasOwn(content, name)) content[name] = value;
  else if (Array.isArray(content[name])) content[name].push(value);
  else content[name] = [content[name], value];
}

function reserved(name: string): GantryError {
  return malformed(`has something named ${name}, which is not allowed here`, { hint: 'Use another name for it.' });
}
