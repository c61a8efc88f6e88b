import { expect } from 'chai';
import fc from 'fast-check';
import type { Codec } from '../../../core/ports/index.ts';
import codecJson from '../../../plugins/codec-json/index.ts';
import { buildCodec, refusal, testCodec } from '../../kit/codec.ts';

const deep = (levels: number, open = '[', close = ']') => open.repeat(levels) + close.repeat(levels);
const circle: Record<string, unknown> = { name: 'a circle' };
circle['self'] = circle;

describe('codec.json', () => {
  testCodec({
    plugin: codecJson,
    values: [
      null,
      true,
      0,
      -1.5e-7,
      Number.MAX_SAFE_INTEGER,
      '',
      'a "quoted" \\ text\n\t\u0000 with é, 漢 and 😀',
      '\ud800 alone',
      '__proto__',
      [],
      {},
      [[], [{}], null],
      { '': 0, a: { b: [1, 'two', { three: null }] }, 'x/y~z': false },
      { constructor: 'a name', prototype: 'another', toString: '5', hasOwnProperty: 1 },
      Array.from({ length: 200 }, (_, i) => ({ i, tags: ['[[[', '}}}'] })),
    ],
    malformed: [
      { name: 'nothing', raw: '' },
      { name: 'blanks', raw: ' \r\n\t' },
      { name: 'a word', raw: 'swordfish-and-potatoes' },
      { name: 'undefined', raw: 'undefined' },
      { name: 'a trailing comma in an array', raw: '[1,2,]' },
      { name: 'a trailing comma in an object', raw: '{"a":1,}' },
      { name: 'a comment', raw: '{"a":1} // swordfish-and-potatoes' },
      { name: 'single quotes', raw: "{'a':1}" },
      { name: 'two values', raw: '{} {}' },
      { name: 'NaN', raw: '{"a":NaN}' },
      { name: 'a hexadecimal number', raw: '0x1F' },
      { name: 'a leading zero', raw: '[007]' },
      { name: 'a control character in a string', raw: '"a\u0001b"' },
      { name: 'a bad escape', raw: '"\\x41"' },
      { name: 'a body that was cut off', raw: '{"password":"swordfish-and-pot' },
      { name: 'bytes that are not UTF-8', raw: Buffer.from('{"a":"caf\xe9"}', 'latin1') },
      { name: 'an overlong encoding', raw: Buffer.from([0x22, 0xc0, 0xaf, 0x22]) },
      { name: 'an encoded surrogate', raw: Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]) },
      { name: 'UTF-16', raw: Buffer.from('{"a":1}', 'utf16le'), parameters: 'charset=utf-16' },
      { name: '__proto__', raw: '{"__proto__":{"polluted":true}}' },
      { name: '__proto__, escaped', raw: '{"a":[{"\\u005f_pr\\u006fto__":{"polluted":true}}]}' },
      { name: 'constructor.prototype', raw: '{"constructor":{"prototype":{"polluted":true}}}' },
      { name: 'constructor.prototype, escaped', raw: '{"const\\u0072uctor":{"prototyp\\u0065":{"polluted":true}}}' },
    ],
    hostile: [
      { name: 'a million open brackets', raw: () => '['.repeat(1e6), maxMs: 500 },
      { name: 'a million levels of arrays', raw: () => deep(1e6), maxMs: 500 },
      { name: 'a million levels of objects', raw: () => deep(1e6, '{"a":', '}'), maxMs: 500 },
      { name: 'depth behind brackets in strings', raw: () => `["${']'.repeat(1e6)}",${deep(1e5)}]`, maxMs: 500 },
      { name: 'closing brackets first', raw: () => `${']'.repeat(1e6)}${'['.repeat(1e6)}`, maxMs: 500 },
      {
        name: '__proto__ at depth',
        raw: () => `${'{"a":'.repeat(60)}{"__proto__":{"x":1}}${'}'.repeat(60)}`,
        maxMs: 250,
      },
      {
        name: 'a million keys',
        raw: () => `{${Array.from({ length: 1e6 }, (_, i) => `"k${i}":1`).join()}}`,
        maxMs: 4000,
      },
      { name: 'one key a hundred thousand times', raw: () => `{${'"a":1,'.repeat(1e5)}"a":2}`, maxMs: 500 },
      { name: 'a string of 20 MB', raw: () => `"${'x'.repeat(20e6)}"`, maxMs: 2000 },
      { name: 'a string of 20 MB that does not end', raw: () => `"${'x'.repeat(20e6)}`, maxMs: 4000 },
      {
        name: 'a million backslashes',
        raw: () => `["${'\\'.repeat(1e6)}","${'\\"'.repeat(5e5)}",${'[]'.repeat(100)}`,
        maxMs: 500,
      },
      { name: 'a number of 10 MB', raw: () => '1'.repeat(10e6), maxMs: 4000 },
      { name: 'a number of 10 MB with a bad end', raw: () => `[${'1'.repeat(10e6)}x]`, maxMs: 4000 },
      { name: '10 MB of blanks', raw: () => ' '.repeat(10e6), maxMs: 2000 },
      { name: '10 MB of line ends before a fault', raw: () => `${'\n'.repeat(10e6)}x`, maxMs: 4000 },
      {
        name: '10 MB that are not UTF-8 at the end',
        raw: () => Buffer.from(`"${'é'.repeat(5e6)}\xff"`, 'latin1'),
        maxMs: 2000,
      },
      { name: '5 MB of continuation bytes', raw: () => Buffer.alloc(5e6, 0x80), maxMs: 2000 },
      { name: '1e400', raw: '[1e400,-1e400,1e-400]', maxMs: 250 },
    ],
    impossible: [
      { name: 'a BigInt', value: { list: [1, { id: 10n }] } },
      { name: 'a value that contains itself', value: circle },
      { name: 'a function', value: () => 1 },
      { name: 'a symbol', value: Symbol('s') },
      {
        name: 'what throws when it is read',
        value: {
          get secret() {
            throw new Error('no');
          },
        },
      },
      { name: 'a toJSON that gives nothing', value: { toJSON: () => undefined } },
      { name: 'a hundred thousand levels', value: JSON.parse(deep(1e5)) },
    ],
  });

  let codec: Codec;
  before(() => {
    codec = buildCodec(codecJson);
  });
  const decode = (raw: Uint8Array | string) => codec.decode(raw);
  const problemOf = (raw: Uint8Array | string) => refusal(() => decode(raw))?.problems?.[0];

  it('is JSON.parse and JSON.stringify for every value', () => {
    const survives = (value: unknown) => {
      const text = codec.encode(value);
      expect(text).to.equal(JSON.stringify(value));
      fc.pre(!(text as string).includes('"__proto__":'));
      expect(decode(Buffer.from(text))).to.deep.equal(JSON.parse(text as string));
    };
    fc.assert(fc.property(fc.jsonValue({ maxDepth: 8 }), survives), { numRuns: 500 });
  });

  describe('depth', () => {
    const depthOf = (value: unknown): number =>
      typeof value === 'object' && value !== null
        ? 1 + Math.max(0, ...Object.values(value).map((entry) => depthOf(entry)))
        : 0;

    it('reads what is as deep as allowed, and refuses one level more', () => {
      for (const [open, close] of [
        ['[', ']'],
        ['{"a":', '}'],
      ] as const) {
        const innermost = open === '[' ? '' : '{}';
        const levels = open === '[' ? 64 : 63;
        expect(() => decode(open.repeat(levels) + innermost + close.repeat(levels))).to.not.throw();
        const error = refusal(() => decode(open.repeat(levels + 1) + innermost + close.repeat(levels + 1)));
        expect(error?.code).to.equal('INPUT_TOO_DEEP');
        expect(error?.problems?.[0]?.expected).to.equal('at most 64 levels');
      }
    });
    it('counts no brackets in strings, whatever is escaped in them', () => {
      expect(() => decode(JSON.stringify(['['.repeat(200), '\\', '"{'.repeat(100), '\\"'.repeat(99)]))).to.not.throw();
      expect(() => decode(JSON.stringify(Array.from({ length: 500 }, () => [{}])))).to.not.throw();
    });
    it('is told exactly, for every value', () => {
      const shallow = buildCodec(codecJson, { maxDepth: 3 });
      const texts = fc.constantFrom('[', ']', '{', '}', '"', '\\', 'a', '\\"');
      const { value } = fc.letrec<{ value: unknown }>((tie) => ({
        value: fc.oneof(
          { maxDepth: 5, withCrossShrink: true },
          fc.array(texts, { maxLength: 5 }).map((parts) => parts.join('')),
          fc.array(tie('value'), { maxLength: 3 }),
          fc.dictionary(fc.constantFrom('[', '}', 'b"', 'c\\'), tie('value'), { maxKeys: 3 }),
        ),
      }));
      const told = (made: unknown) => {
        const error = refusal(() => shallow.decode(JSON.stringify(made)));
        expect(error?.code).to.equal(depthOf(made) > 3 ? 'INPUT_TOO_DEEP' : undefined);
      };
      fc.assert(fc.property(value, told), { numRuns: 2000 });
    });
    it('is set in the config, and checked there', () => {
      expect(() => buildCodec(codecJson, { maxDepth: 1 }).decode('[[]]')).to.throw(/deeper than 1/);
      expect(() => buildCodec(codecJson, { maxDepth: 0 })).to.throw();
    });
  });

  describe('where the body is not JSON', () => {
    const cases: readonly (readonly [string, string, string])[] = [
      ['', 'line 1, column 1', 'a value'],
      ['{"a":1,\n "b":}', 'line 2, column 6', 'a value'],
      ['{"a" 1}', 'line 1, column 6', "':'"],
      ['{"a":1 "b":2}', 'line 1, column 8', "',' or '}'"],
      ['{a:1}', 'line 1, column 2', "a name in double quotes or '}'"],
      ['{"a":1,}', 'line 1, column 8', 'a name in double quotes'],
      ['[1 2]', 'line 1, column 4', "',' or ']'"],
      ['[1,]', 'line 1, column 4', 'a value'],
      ['[,]', 'line 1, column 2', "a value or ']'"],
      ['[1}', 'line 1, column 3', "',' or ']'"],
      ['[1', 'line 1, column 3', "',' or ']'"],
      ['{} x', 'line 1, column 4', 'the end of the body'],
      ['[01]', 'line 1, column 3', "',' or ']'"],
      ['[1.]', 'line 1, column 3', "',' or ']'"],
      ['[-]', 'line 1, column 2', "a value or ']'"],
      ['[tru]', 'line 1, column 2', "a value or ']'"],
      ['"ab', 'line 1, column 4', 'the closing quote of a string'],
      ['"a\nb"', 'line 1, column 3', 'no control character in a string'],
      ['\n\n["\\q"]', 'line 3, column 4', 'one of " \\ / b f n r t u after a backslash'],
      ['["\\u12g4"]', 'line 1, column 4', 'four hexadecimal digits'],
      ['"\\', 'line 1, column 3', 'one of " \\ / b f n r t u after a backslash'],
    ];
    for (const [text, where, expected] of cases) {
      it(`says so for ${JSON.stringify(text)}: ${where}, ${expected}`, () => {
        expect(problemOf(text)).to.include({ path: '', message: `is not JSON at ${where}`, expected });
      });
    }
    it('finds the fault wherever a byte is struck out or changed', () => {
      const text = JSON.stringify({ a: [1, -2.5e3, true, null, 'x\\"y'], b: { c: [], d: {} } });
      const struck = fc.tuple(fc.nat(text.length - 1), fc.constantFrom('', ',', '"', '{', ']', ':', 'e', '\\'));
      const found = ([at, char]: [number, string]) => {
        const damaged = text.slice(0, at) + char + text.slice(at + 1);
        const where = problemOf(damaged)?.message.match(/column (\d+)$/)?.[1];
        // A broken word is told by its first letter.
        if (where !== undefined) expect(Number(where) - 1, damaged).to.be.within(Math.max(0, at - 4), damaged.length);
        else expect(() => JSON.parse(damaged)).to.not.throw();
      };
      fc.assert(fc.property(struck, found), { numRuns: 500 });
    });
    it('names the byte that is not UTF-8', () => {
      const good = Buffer.from('{"a":"é漢😀"}');
      for (const at of [0, 6, 8, good.length - 1]) {
        const bad = Buffer.concat([good.subarray(0, at), Buffer.from([0xff]), good.subarray(at)]);
        expect(problemOf(bad)?.message).to.equal(`is not UTF-8 at byte ${at}`);
      }
    });
    it('keeps the body out of the cause as well', () => {
      expect(refusal(() => decode('{"password":swordfish}'))?.cause).to.equal(undefined);
    });
  });

  describe('what it promises beyond JSON.parse', () => {
    it('takes a byte order mark', () => {
      expect(decode('\ufeff{"a":1}')).to.deep.equal({ a: 1 });
      expect(decode(Buffer.from('\ufeff{"a":1}'))).to.deep.equal({ a: 1 });
    });
    it('takes the last of two values for a key', () => expect(decode('{"a":1,"a":2}')).to.deep.equal({ a: 2 }));
    it('points to a key that would change a prototype', () => {
      expect(problemOf('{"a":[0,{"x/y":{"__proto__":1}}]}')?.path).to.equal('/a/1/x~1y/__proto__');
      expect(problemOf('{"a":{"constructor":{"prototype":{}}}}')?.path).to.equal('/a/constructor');
    });
    it('lets such words stand as values and as harmless keys', () => {
      const text = '{"constructor":"prototype","prototype":{"constructor":"\\u005f_proto__"}}';
      expect(decode(text)).to.deep.equal(JSON.parse(text));
    });
    it('writes an undefined value as null, never as nothing', () => expect(codec.encode(undefined)).to.equal('null'));
    it('tells the operator what in the output cannot be written', () => {
      const hint = (value: unknown) => refusal(() => codec.encode(value))?.hint;
      expect(hint({ list: [1, { id: 10n }] })).to.contain('/list/1/id is a BigInt');
      expect(hint(circle)).to.contain('/self contains itself');
      expect(hint(() => 1)).to.contain('the output is a function');
    });
  });
});
