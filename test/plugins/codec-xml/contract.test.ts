import { expect } from 'chai';
import fc from 'fast-check';
import { diag } from 'libxml2-wasm';
import { Type } from '../../../core/api.ts';
import { compileCoerce } from '../../../core/parts.ts';
import type { Codec } from '../../../core/ports/index.ts';
import codecXml from '../../../plugins/codec-xml/index.ts';
import { buildCodec, refusal, testCodec } from '../../kit/codec.ts';

const laughs = (levels: number) => {
  const entities = Array.from({ length: levels }, (_, i) => `<!ENTITY l${i + 1} "${`&l${i};`.repeat(10)}">`);
  return `<?xml version="1.0"?><!DOCTYPE r [<!ENTITY l0 "lol">${entities.join('')}]><r>&l${levels};</r>`;
};
const defaults = (attributes: number, elements: number) =>
  `<!DOCTYPE r [<!ATTLIST a ${Array.from({ length: attributes }, (_, i) => `a${i} CDATA "v"`).join(' ')}>]>` +
  `<r>${'<a/>'.repeat(elements)}</r>`;
const nest = (levels: number, within = '') => '<a>'.repeat(levels) + within + '</a>'.repeat(levels);
const circle: Record<string, unknown> = {};
circle['self'] = circle;

describe('codec.xml', () => {
  testCodec({
    plugin: codecXml,
    values: [
      '',
      'text & <more> "text" with é, 漢 and 😀',
      '  spaces\tand\r\nline ends\r  ',
      ']]> <![CDATA[ &amp; &#65; <!-- -->',
      { a: '007', b: '1e5', c: ' x ', d: 'true', e: '' },
      { a: { b: { c: { d: 'deep' } } } },
      { list: ['1', '2', ''], rows: [{ a: '1' }, { a: '2', b: ['x', 'y'] }] },
      { $: { id: '1', note: ' "quoted" & <tabs>\t\r\n ' }, _: 'text beside attributes' },
      { $: { id: '1' }, a: { $: { x: '' } }, _: 'text beside elements' },
      {
        constructor: 'a',
        toString: 'b',
        hasOwnProperty: ['c', 'd'],
        valueOf: { $: { toString: 'e', constructor: 'f' } },
      },
      { $: { xmlns: 'urn:d', 'xmlns:p': 'urn:p', 'p:x': '1', 'xml:lang': 'de' }, 'p:a': { 'p:b': ['1', '2'] }, c: 'd' },
      {
        'p:a': { $: { 'xmlns:p': 'urn:p' }, _: 'own prefix' },
        'q:a': [{ $: { 'xmlns:q': 'u' } }, { $: { 'xmlns:q': 'v' } }],
      },
      { été: 'été', 名: '名', 'a-b.c_d': 'x', _a: 'y' },
    ],
    malformed: [
      { name: 'nothing', raw: '' },
      { name: 'blanks', raw: '  \n ' },
      { name: 'text alone', raw: 'swordfish-and-potatoes' },
      { name: 'JSON', raw: '{"password":"swordfish-and-potatoes"}' },
      { name: 'an end tag that does not fit', raw: '<r><swordfish-and-potatoes></r>' },
      { name: 'a body that was cut off', raw: '<r><a>swordfish-and-pot' },
      { name: 'two roots', raw: '<r/><swordfish-and-potatoes/>' },
      { name: 'text behind the root', raw: '<r/>swordfish-and-potatoes' },
      { name: 'an attribute twice', raw: '<r swordfish-and-potatoes="1" swordfish-and-potatoes="2"/>' },
      { name: 'an attribute without quotes', raw: '<r a=1/>' },
      { name: 'an entity that is not known', raw: '<r>&swordfish-and-potatoes;</r>' },
      { name: 'a prefix that is not declared', raw: '<swordfish-and-potatoes:r/>' },
      { name: 'an attribute prefix that is not declared', raw: '<r swordfish-and-potatoes:a="1"/>' },
      { name: 'a control character', raw: '<r>\u0001</r>' },
      { name: 'a reference to a control character', raw: '<r>&#1;</r>' },
      { name: 'a NUL', raw: '<r>a\0b</r>' },
      { name: 'a lone surrogate by reference', raw: '<r>&#xD800;</r>' },
      { name: 'bytes that are not UTF-8', raw: Buffer.from('<r>caf\xe9</r>', 'latin1') },
      {
        name: 'bytes that are not of the charset',
        raw: Buffer.from('<r>\xe9</r>', 'latin1'),
        parameters: 'charset=utf-8',
      },
      { name: 'a declaration that is not at the start', raw: ' <?xml version="1.0"?><r/>' },
      { name: 'version 2.0', raw: '<?xml version="2.0"?><r/>' },
      { name: 'an encoding that is not known', raw: Buffer.from('<?xml version="1.0" encoding="klingon"?><r/>') },
      { name: 'a charset that is not known', raw: Buffer.from('<r/>'), parameters: 'charset=klingon' },
      { name: 'a DOCTYPE', raw: '<!DOCTYPE r><r/>' },
      { name: 'a DOCTYPE behind comments', raw: '\ufeff<?xml version="1.0"?>\n<!-- > --><?a b?>\n<!DOCTYPE r><r/>' },
      { name: 'a DOCTYPE in UTF-16', raw: Buffer.from('\ufeff<!DOCTYPE r><r/>', 'utf16le') },
      { name: 'a DOCTYPE in UTF-16 without a mark', raw: Buffer.from('<!DOCTYPE r><r/>', 'utf16le') },
      { name: 'a DOCTYPE in another encoding', raw: '<!DOCTYPE r><r/>', parameters: 'charset=iso-2022-jp' },
      { name: 'an element __proto__', raw: '<r><__proto__><polluted>yes</polluted></__proto__></r>' },
      { name: 'an attribute __proto__', raw: '<r __proto__="yes"/>' },
      { name: 'an element _', raw: '<r><_>text</_></r>' },
    ],
    hostile: [
      { name: 'a billion laughs', raw: () => laughs(9), maxMs: 500 },
      {
        name: 'a quadratic blow-up',
        raw: () => `<!DOCTYPE r [<!ENTITY a "${'x'.repeat(1e5)}">]><r>${'&a;'.repeat(2000)}</r>`,
        maxMs: 500,
      },
      { name: 'default attributes by the million', raw: () => defaults(1000, 1e5), maxMs: 500 },
      {
        name: 'an external entity',
        raw: '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/hostname">]><r>&x;</r>',
        maxMs: 250,
      },
      {
        name: 'an external parameter entity',
        raw: '<!DOCTYPE r [<!ENTITY % p SYSTEM "file:///etc/hostname"> %p;]><r/>',
        maxMs: 250,
      },
      { name: 'an external DTD', raw: '<!DOCTYPE r SYSTEM "http://127.0.0.1:9/evil.dtd"><r>ok</r>', maxMs: 250 },
      { name: 'a depth of 100,000', raw: () => nest(1e5), maxMs: 500 },
      { name: 'a depth of 65', raw: nest(65), maxMs: 250 },
      { name: '200,000 siblings', raw: () => `<r>${'<a/>'.repeat(2e5)}</r>`, maxMs: 2000 },
      { name: '100,000 siblings less one', raw: () => `<r>${'<a/>'.repeat(1e5 - 1)}</r>`, maxMs: 4000 },
      {
        name: '100,000 attributes',
        raw: () => `<r ${Array.from({ length: 1e5 }, (_, i) => `a${i}="1"`).join(' ')}/>`,
        maxMs: 2000,
      },
      {
        name: '50,000 namespaces',
        raw: () => `<r ${Array.from({ length: 5e4 }, (_, i) => `xmlns:a${i}="u"`).join(' ')}/>`,
        maxMs: 2000,
      },
      { name: '50,000 undeclared prefixes', raw: () => `<r>${'<b:c/>'.repeat(5e4)}</r>`, maxMs: 1000 },
      { name: '50,000 unknown entities', raw: () => `<r>${'&nope;'.repeat(5e4)}</r>`, maxMs: 1000 },
      {
        name: '90,000 names',
        raw: () => `<r>${Array.from({ length: 9e4 }, (_, i) => `<a${i}/>`).join('')}</r>`,
        maxMs: 4000,
      },
      { name: 'a text of 11 MB', raw: () => `<r>${'x'.repeat(11e6)}</r>`, maxMs: 2000 },
      { name: 'a document of 17 MB', raw: () => `<r>${'<a>x</a>'.repeat(2.2e6)}</r>`, maxMs: 500 },
      { name: 'a name of 100 kB', raw: () => `<${'x'.repeat(1e5)}/>`, maxMs: 500 },
      { name: '90,000 instructions', raw: () => `<r>${'<?a?>x'.repeat(9e4)}</r>`, maxMs: 4000 },
      { name: 'a comment of 9 MB', raw: () => `<!--${'x'.repeat(9e6)}--><r/>`, maxMs: 2000 },
      { name: 'a comment that does not end', raw: () => `<!--${'<!--'.repeat(1e6)}`, maxMs: 2000 },
      { name: 'a million comments', raw: () => `${'<!---->'.repeat(1e6)}<r/>`, maxMs: 4000 },
      {
        name: 'names of Object.prototype',
        raw: '<r constructor="c" toString="x"><constructor><prototype><polluted>yes</polluted></prototype></constructor><toString>5</toString><hasOwnProperty/></r>',
        maxMs: 250,
      },
      {
        name: 'a namespace prefix __proto__',
        raw: '<__proto__:r xmlns:__proto__="u" __proto__:constructor="1"/>',
        maxMs: 250,
      },
    ],
    impossible: [
      { name: 'a key with a space', value: { a: { 'not a name': 1 } } },
      { name: 'a key with markup', value: { 'a/><b': 1 } },
      { name: 'an empty key', value: { '': 1 } },
      { name: 'a key that begins with a digit', value: { list: [{ '1st': 1 }] } },
      { name: 'a decorated key of the builder', value: { '#text': 'x', '@a': 'y', '?pi': 'z' } },
      { name: 'two colons', value: { 'a:b:c': 1 } },
      { name: '__proto__', value: JSON.parse('{"__proto__":{"a":1}}') },
      { name: 'an attribute __proto__', value: JSON.parse('{"$":{"__proto__":"1"}}') },
      { name: 'an attribute that is no name', value: { $: { 'a="1" b': 'x' } } },
      { name: 'an attribute that is an object', value: { $: { a: {} } } },
      { name: 'attributes that are a text', value: { $: 'a="1"' } },
      { name: 'an undeclared prefix', value: { 'p:a': 1 } },
      { name: 'an undeclared prefix of an attribute', value: { $: { 'p:a': 1 } } },
      { name: 'a prefix declared elsewhere', value: { a: { $: { 'xmlns:p': 'u' } }, 'p:b': 1 } },
      {
        name: 'an attribute twice by two prefixes',
        value: { $: { 'xmlns:p': 'u', 'xmlns:q': 'u', 'p:a': 1, 'q:a': 2 } },
      },
      { name: 'an element xmlns:a', value: { 'xmlns:a': 'u' } },
      { name: 'a declaration of xml', value: { $: { 'xmlns:xml': 'u' } } },
      { name: 'a control character', value: { a: ['x', 'a\u0001b'] } },
      { name: 'a control character in an attribute', value: { $: { a: '\u0000' } } },
      { name: 'a lone surrogate', value: { a: '\ud800' } },
      { name: 'U+FFFE', value: '\ufffe' },
      { name: 'NaN', value: { a: Number.NaN } },
      { name: 'Infinity', value: { a: Number.POSITIVE_INFINITY } },
      { name: 'a date that is none', value: { a: new Date(Number.NaN) } },
      { name: 'a function', value: { a: () => 1 } },
      { name: 'a symbol', value: { a: Symbol('s') } },
      { name: 'text under _ that is an object', value: { _: { a: 1 } } },
      { name: 'a value that contains itself', value: circle },
      { name: 'a hundred thousand levels', value: JSON.parse(`${'{"a":'.repeat(1e5)}1${'}'.repeat(1e5)}`) },
    ],
  });

  let codec: Codec;
  before(() => {
    codec = buildCodec(codecXml);
  });
  const decode = (raw: Uint8Array | string, parameters?: string) => codec.decode(raw, parameters);
  const problemOf = (raw: Uint8Array | string) => refusal(() => decode(raw))?.problems?.[0];

  describe('reads', () => {
    const cases: readonly (readonly [string, string, unknown])[] = [
      ['the content of the root, whatever its name', '<anything>text</anything>', 'text'],
      ['an empty root', '<r/>', ''],
      ['a root of spaces', '<r> \n </r>', ' \n '],
      ['elements, and drops the spaces between them', '<r>\n  <a>1</a>\n  <b/>\n</r>', { a: '1', b: '' }],
      ['several of a name as a list', '<r><a>1</a><b/><a>2</a><a>3</a></r>', { a: ['1', '2', '3'], b: '' }],
      ['attributes', '<r x="1"><a y=\'2\'/></r>', { $: { x: '1' }, a: { $: { y: '2' } } }],
      ['text beside attributes', '<r x="1"> t </r>', { $: { x: '1' }, _: ' t ' }],
      ['text beside elements, joined', '<r>one<a/>two</r>', { a: '', _: 'onetwo' }],
      ['spaces beside attributes as none', '<r x="1">\n</r>', { $: { x: '1' } }],
      ['spaces in CDATA as text', '<r x="1"><![CDATA[ ]]></r>', { $: { x: '1' }, _: ' ' }],
      ['CDATA', '<r>a<![CDATA[<b>&amp;]]>c</r>', 'a<b>&amp;c'],
      ['no comments and no processing instructions', '<?a b?><r><!-- c -->x<?d e?>y</r><!-- f -->', 'xy'],
      ['what follows an instruction', '<r><?a?><b/><?a?><?a b?><b>1<?a?></b>t<?a?></r>', { b: ['', '1'], _: 't' }],
      [
        'the five entities and references',
        '<r a="&lt;&#10;">&amp;&gt;&quot;&apos;&#65;&#x42;</r>',
        { $: { a: '<\n' }, _: '&>"\'AB' },
      ],
      [
        'prefixes as they stand',
        '<p:r xmlns:p="u" xmlns="v"><p:a p:x="1"/><a/></p:r>',
        { $: { xmlns: 'v', 'xmlns:p': 'u' }, 'p:a': { $: { 'p:x': '1' } }, a: '' },
      ],
      ['what only looks like a DOCTYPE', '<!-- <!DOCTYPE a> --><r><![CDATA[<!DOCTYPE a>]]></r>', '<!DOCTYPE a>'],
      [
        'names of Object.prototype as names',
        '<r><toString>5</toString><constructor/><constructor/></r>',
        { toString: '5', constructor: ['', ''] },
      ],
      ['line ends as one character', '<r>a\r\nb\rc</r>', 'a\nb\nc'],
      ['a relative namespace, which is only bad style', '<r xmlns="relative"/>', { $: { xmlns: 'relative' } }],
    ];
    for (const [what, xml, value] of cases) {
      it(what, () => {
        const read = decode(xml);
        expect(read).to.deep.equal(value);
        if (typeof read === 'object') expect(Object.keys(read as object)).to.have.members(Object.keys(value as object));
      });
    }
    it('what the schema declares, once it is coerced', () => {
      const schema = Type.Object({
        n: Type.Integer(),
        list: Type.Array(Type.Number()),
        on: Type.Boolean(),
        o: Type.Object({}),
        s: Type.String(),
      });
      const read = compileCoerce(schema)(decode('<r><n> 7 </n><list>1.5</list><on>true</on><o/><s>007</s></r>'));
      expect(read).to.deep.equal({ n: 7, list: [1.5], on: true, o: {}, s: '007' });
    });
    it('exactly as deep as allowed', () => {
      expect(() => decode(nest(64))).to.not.throw();
      for (const levels of [65, 256, 257, 1000]) {
        expect(refusal(() => decode(nest(levels)))?.code, String(levels)).to.equal('INPUT_TOO_DEEP');
      }
      expect(refusal(() => buildCodec(codecXml, { maxDepth: 2 }).decode(nest(3)))?.message).to.contain('2 levels');
    });
    it('exactly as many elements and attributes as allowed', () => {
      const small = buildCodec(codecXml, { maxNodes: 5 });
      expect(() => small.decode('<r a="1"><b/><b xmlns="u"/></r>')).to.not.throw();
      expect(refusal(() => small.decode('<r a="1"><b/><b xmlns="u"/><b/></r>'))?.code).to.equal('INPUT_TOO_LARGE');
    });
    it('no more bytes than allowed', () => {
      const small = buildCodec(codecXml, { maxBytes: 10 });
      expect(small.decode('<r>123</r>')).to.equal('123');
      expect(refusal(() => small.decode('<r>1234</r>'))?.code).to.equal('INPUT_TOO_LARGE');
      expect(refusal(() => small.decode('<r>éé3</r>'))?.code).to.equal('INPUT_TOO_LARGE');
    });
  });

  describe('encodings', () => {
    const latin = (text: string) => Buffer.from(text, 'latin1');
    it('takes that of the XML declaration', () => {
      expect(decode(latin('<?xml version="1.0" encoding="ISO-8859-1"?><r>\xe9</r>'))).to.equal('é');
      expect(decode(latin("<?xml version='1.0' encoding = 'windows-1252' standalone='yes'?><r>\x80</r>"))).to.equal(
        '€',
      );
      expect(decode(latin('<?xml version="1.0" encoding="Shift_JIS"?><r>\x82\xa0</r>'))).to.equal('あ');
    });
    it('takes the charset of the content type before it', () => {
      const declared = '<?xml version="1.0" encoding="UTF-8"?><r>\xe9</r>';
      expect(decode(latin(declared), 'charset=iso-8859-1')).to.equal('é');
      expect(decode(latin('<r>\xe9</r>'), 'profile=x; Charset="ISO-8859-1"')).to.equal('é');
      expect(decode(Buffer.from('<?xml version="1.0" encoding="ISO-8859-1"?><r>é</r>'), 'charset=utf-8')).to.equal('é');
    });
    it('takes a byte order mark before both', () => {
      expect(decode(Buffer.from('\ufeff<r>é</r>'), 'charset=iso-8859-1')).to.equal('é');
      expect(decode(Buffer.from('\ufeff<?xml version="1.0" encoding="UTF-16"?><r>é</r>', 'utf16le'))).to.equal('é');
      expect(decode(Buffer.from('\ufeff<r>é</r>', 'utf16le').swap16())).to.equal('é');
    });
    it('knows UTF-16 without a mark', () => {
      for (const charset of [undefined, 'charset=utf-16', 'charset=utf-16le']) {
        expect(decode(Buffer.from('<r>é</r>', 'utf16le'), charset)).to.equal('é');
      }
      for (const charset of [undefined, 'charset=utf-16', 'charset=utf-16be']) {
        expect(decode(Buffer.from('<r>é</r>', 'utf16le').swap16(), charset)).to.equal('é');
      }
    });
    it('does not care what the declaration of a string says', () => {
      for (const encoding of ['UTF-16', 'ISO-8859-1', 'klingon']) {
        expect(decode(`<?xml version="1.0" encoding="${encoding}"?><r>é</r>`)).to.equal('é');
      }
    });
    it('refuses an encoding in which a DOCTYPE could hide', () => {
      const declared = Buffer.from('<?xml version="1.0" encoding="IBM1047"?><r/>');
      expect(refusal(() => decode(declared))?.code).to.equal('MEDIA_UNSUPPORTED');
      expect(refusal(() => decode(Buffer.from([0x4c, 0x6f, 0xa7, 0x94, 0x93])))?.code).to.equal('INPUT_MALFORMED');
    });
  });

  describe('says why and where', () => {
    const cases: readonly (readonly [string, RegExp])[] = [
      ['', /no root element, at line 1, column 1/],
      ['<r>\n<a>\n</r>', /end tag that does not fit its start tag, at line 3/],
      ['<r/>\nx', /something behind its root element, at line 2, column 1/],
      ['<r>&nope;</r>', /none of the five of XML, at line 1/],
      ['<p:r/>', /namespace that is not declared/],
      ['<a:b:c xmlns:a="u"/>', /namespace that is not declared/],
      ['<r xmlns:p=""/>', /namespace that is not declared/],
      ['<r a="1" a="2"/>', /attribute twice/],
      ['<r a/>', /attribute that is not written as one/],
      ['<r>\u0001</r>', /character that XML 1.0 does not allow/],
      ['<r', /tag that is not closed/],
      ['<r>', /tag that is not closed/],
      ['<!DOCTYPE r><r/>', /has a DOCTYPE/],
      // Refused before it is parsed, so that what is wrong in it is not found.
      ['\ufeff<?xml version="1.0"?> <!-- --><!DOCTYPE r [<!ENTITY', /has a DOCTYPE/],
    ];
    for (const [xml, reason] of cases) {
      it(JSON.stringify(xml), () => expect(problemOf(xml)?.message).to.match(reason));
    }
  });

  describe('writes', () => {
    const declared = '<?xml version="1.0" encoding="UTF-8"?>';
    const cases: readonly (readonly [string, unknown, string])[] = [
      ['numbers, booleans and bigints as text', { a: 1.5, b: true, c: 10n }, '<a>1.5</a><b>true</b><c>10</c>'],
      [
        'a date as ISO 8601',
        { a: new Date(0), b: [new Date(0)] },
        '<a>1970-01-01T00:00:00.000Z</a><b>1970-01-01T00:00:00.000Z</b>',
      ],
      [
        'null as an empty element, undefined not at all',
        { a: null, b: undefined, c: [null, undefined] },
        '<a/><c/><c/>',
      ],
      ['a list as its elements', { a: [1, { b: 2 }, 'x'] }, '<a>1</a><a><b>2</b></a><a>x</a>'],
      ['an empty list as nothing, an empty object as an empty element', { a: [], b: {} }, '<b/>'],
      [
        'a list without a name as items',
        ['x', { a: 1 }, [1, 2]],
        '<item>x</item><item><a>1</a></item><item><item>1</item><item>2</item></item>',
      ],
      ['a list in a list as items', { a: [[1, 2], []] }, '<a><item>1</item><item>2</item></a><a/>'],
      ['one key like any number of them', { only: 1 }, '<only>1</only>'],
      ['text and attributes', { a: { $: { x: 1, y: null, z: undefined }, _: 2 } }, '<a x="1" y="">2</a>'],
    ];
    for (const [what, value, content] of cases) {
      it(what, () => expect(codec.encode(value)).to.equal(`${declared}<root>${content}</root>`));
    }
    it('a root alone for null and undefined', () => {
      for (const value of [null, undefined, '', {}, []]) expect(decode(codec.encode(value))).to.equal('');
    });
    it('the names of the config', () => {
      const named = buildCodec(codecXml, { root: 'answer', item: 'row' });
      expect(named.encode([{ a: 1 }])).to.equal(`${declared}<answer><row><a>1</a></row></answer>`);
      for (const config of [{ root: 'a b' }, { root: '' }, { item: '_' }, { root: '1' }]) {
        expect(() => buildCodec(codecXml, config)).to.throw();
      }
    });
    it('what it reads again at the greatest depth, and no deeper', () => {
      const value = (levels: number): unknown => (levels === 0 ? 'x' : { a: value(levels - 1) });
      expect(decode(codec.encode(value(63)))).to.deep.equal(value(63));
      expect(refusal(() => codec.encode(value(64)))?.hint).to.contain('deeper than 64');
    });
    it('nothing that it cannot name, and says where', () => {
      const hint = (value: unknown) => refusal(() => codec.encode(value))?.hint;
      expect(hint({ a: [{ 'b c': 1 }] })).to.contain('/a/0/b c has a key that is no name');
      expect(hint({ a: { $: { x: '\u0001' } } })).to.contain('/a/$/x has a character');
      expect(hint({ 'p:a': 1 })).to.contain('xmlns:p');
    });
  });

  describe('round trips', () => {
    const start = fc.constantFrom('a', 'B', 'é', '名', '𐐀');
    const rest = fc.string({ unit: fc.constantFrom('a', '0', '-', '.', '_', '·', 'é'), maxLength: 4 });
    const name = fc.oneof(
      fc.tuple(start, rest).map((parts) => parts.join('')),
      fc.constantFrom('constructor', 'toString', 'valueOf', 'hasOwnProperty', 'xmlns-', 'length'),
    );
    const text = fc
      .string({
        unit: fc.oneof(
          fc.constantFrom('&', '<', '>', '"', "'", ']', '\t', '\n', '\r', ' '),
          fc.string({ unit: 'grapheme', minLength: 1, maxLength: 1 }),
        ),
        maxLength: 12,
      })
      .filter((t) => !/[^\t\n\r -\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/u.test(t));
    const visible = text.filter((t) => /[^ \t\r\n]/.test(t));
    const attributes = fc.dictionary(name, text, { minKeys: 1, maxKeys: 3 });
    const { element } = fc.letrec<{ element: unknown }>((tie) => ({
      element: fc.oneof(
        { maxDepth: 4, withCrossShrink: true },
        text,
        attributes.map(($) => ({ $ })),
        fc.tuple(attributes, visible).map(([$, _]) => ({ $, _ })),
        fc.dictionary(name, fc.oneof(tie('element'), fc.array(tie('element'), { minLength: 2, maxLength: 4 })), {
          minKeys: 1,
          maxKeys: 4,
        }),
        fc
          .tuple(attributes, fc.dictionary(name, tie('element'), { minKeys: 1, maxKeys: 3 }))
          .map(([$, children]) => ({ $, ...children })),
      ),
    }));
    it('give back every value of the documented kind', () => {
      const same = (value: unknown) => {
        expect(decode(codec.encode(value))).to.deep.equal(value);
      };
      fc.assert(fc.property(element, same), { numRuns: 1000 });
    });
    it('give back what was read, or refuse to write it, for any value', () => {
      const stable = (value: unknown) => {
        let once: unknown;
        const error = refusal(() => {
          once = decode(codec.encode(value));
        });
        if (error === null) expect(decode(codec.encode(once))).to.deep.equal(once);
        else expect(error.code).to.equal('OUTPUT_INVALID');
      };
      const values = fc.object({
        withNullPrototype: true,
        withDate: true,
        withBigInt: true,
        key: fc.oneof(name, fc.string()),
      });
      fc.assert(fc.property(values, stable), { numRuns: 1000 });
    });
    it('declare any namespace, or refuse it', () => {
      const any = (uri: string, prefix: string) => {
        const value = { $: { xmlns: uri, [`xmlns:${prefix}`]: uri }, [`${prefix}:a`]: 'x' };
        const error = refusal(() => expect(decode(codec.encode(value))).to.deep.equal(value));
        if (error !== null) expect(error.code).to.equal('OUTPUT_INVALID');
      };
      const uri = fc.oneof(
        text,
        fc.string({ unit: fc.constantFrom(...'aZ0:/?#@[]%2.-+ é&'), maxLength: 10 }),
        fc.webUrl(),
        fc.constantFrom('http://www.w3.org/2000/xmlns/', 'http://www.w3.org/XML/1998/namespace'),
      );
      fc.assert(fc.property(uri, fc.oneof(name, fc.constantFrom('xml', 'xmlns')), any), { numRuns: 500 });
    });
  });

  it('gives back the memory of every document, refused ones too', () => {
    diag.configure({ enabled: true });
    try {
      for (let i = 0; i < 200; i++) {
        decode(`<r><a x="${i}">text</a></r>`);
        for (const bad of ['<r>', '<r><__proto__/></r>', nest(100), '<!DOCTYPE r><r/>']) refusal(() => decode(bad));
      }
      expect(diag.report()).to.deep.equal({});
    } finally {
      diag.configure({ enabled: false });
    }
  });
});
