import { definePlugin, Type } from '../../core/api.ts';
import { readXml } from './read.ts';
import { writeXml } from './write.ts';

/**
 * XML 1.0 with namespaces, in the object shape of xml2js (`explicitArray: false`), read with libxml2.
 *
 * | XML | value |
 * |---|---|
 * | the root element | is not part of the value; its content is. Written, it is named by config `root` |
 * | `<a>text</a>` | `{ a: 'text' }`, spaces kept; what is declared as a number or the like is made one later |
 * | `<a/>`, `<a></a>` | `{ a: '' }`; an object declared for it becomes `{}` |
 * | `<a>1</a><a>2</a>` | `{ a: ['1', '2'] }`; one alone is `'1'`, and becomes a list where one is declared |
 * | `<a x="1"/>` | `{ a: { $: { x: '1' } } }` |
 * | `<a x="1">text</a>` | `{ a: { $: { x: '1' }, _: 'text' } }` |
 * | text beside elements | all of it joined under `_`; left out where it is only spaces between them |
 * | `<p:a xmlns:p="u"/>` | `{ 'p:a': { $: { 'xmlns:p': 'u' } } }`: prefixes as they stand, declarations are attributes |
 * | CDATA | is text |
 * | comments, processing instructions | are left out |
 * | DOCTYPE | is refused, and with it every entity but the five of XML and character references |
 * | names `_` and `__proto__` | are refused: `_` is the text, and `__proto__` would change a prototype |
 *
 * Written are strings, finite numbers, booleans, bigints and dates (ISO 8601) as text, null as an empty element,
 * objects and lists. An undefined property is left out. An empty list writes nothing, so that it is absent when read.
 * A list without a name of its own, as the whole value or within a list, gets elements named by config `item`.
 * decode(encode(x)) is x for strings, objects that are not empty, attributes, text beside attributes that is more than
 * spaces, and lists of two or more that stand in an object.
 *
 * The encoding is, in this order, that of a byte order mark, of the charset parameter, of the XML declaration, UTF-8
 * (RFC 7303), by the names of the WHATWG Encoding Standard. Written is UTF-8.
 */
export default definePlugin({
  id: 'codec.xml',
  api: 1,
  config: Type.Object(
    {
      root: Type.String({
        pattern: '^[A-Za-z][A-Za-z0-9.-]*$',
        default: 'root',
        description: 'Name of the root element that is written',
      }),
      item: Type.String({
        pattern: '^[A-Za-z][A-Za-z0-9.-]*$',
        default: 'item',
        description: 'Name of the elements of a list that has no name of its own',
      }),
      // libxml2 itself reads no more than 256 levels.
      maxDepth: Type.Integer({
        minimum: 1,
        maximum: 250,
        default: 64,
        description: 'Deepest nesting of elements, the root included',
      }),
      maxNodes: Type.Integer({
        minimum: 1,
        default: 100_000,
        description: 'Most elements and attributes in a document',
      }),
      // The memory that libxml2 took is used again, and never given back.
      maxBytes: Type.Integer({
        minimum: 1,
        maximum: 256 * 1024 * 1024,
        default: 16 * 1024 * 1024,
        description: 'Largest document that is read',
      }),
    },
    { additionalProperties: false },
  ),
  create: ({ config }) => ({
    contentTypes: ['application/xml', 'text/xml', 'application/*+xml'],
    parameters: 'charset=utf-8',
    typed: false,
    decode: (raw: Uint8Array | string, parameters = '') => readXml(raw, parameters, config),
    encode: (value: unknown) => writeXml(value, config),
  }),
});
