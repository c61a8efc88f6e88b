import { expect } from 'chai';
import fc from 'fast-check';
import { Type } from '../../../core/api.ts';
import { compileCoerce } from '../../../core/parts.ts';
import type { Codec } from '../../../core/ports/index.ts';
import codecForm from '../../../plugins/codec-form/index.ts';
import { buildCodec, refusal, testCodec } from '../../kit/codec.ts';

const circle: Record<string, unknown> = {};
circle['self'] = circle;

describe('codec.form', () => {
  testCodec({
    plugin: codecForm,
    values: [
      {},
      { a: '1' },
      { '': '', 'a b': 'c d', 'x=y&z': '=&+%', é: '漢 😀' },
      { list: ['1', '', '2'], lines: 'a\r\nb\0c' },
      { constructor: 'a', toString: ['b', 'c'], hasOwnProperty: 'd', "!'()*~-._": "!'()*~-._" },
    ],
    malformed: [
      { name: 'a percent sign alone', raw: 'a=swordfish-and-potatoes%' },
      { name: 'bad hexadecimal digits', raw: 'a=swordfish%zzpotatoes' },
      { name: 'percent-encoded bytes that are not UTF-8', raw: 'a=swordfish-%e9-potatoes' },
      { name: 'percent-encoded surrogates', raw: 'a=%ed%a0%80' },
      { name: 'bytes that are not UTF-8', raw: Buffer.from('a=caf\xe9', 'latin1') },
      { name: '__proto__', raw: '__proto__=1' },
      { name: '__proto__, encoded', raw: 'a=1&%5f%5fproto__=1' },
      { name: 'more names than allowed', raw: Array.from({ length: 1001 }, (_, i) => `name${i}=x`).join('&') },
    ],
    hostile: [
      { name: 'a million names', raw: () => Array.from({ length: 1e6 }, (_, i) => `a${i}=1`).join('&'), maxMs: 500 },
      { name: 'one name a million times', raw: () => 'a=1&'.repeat(1e6), maxMs: 500 },
      { name: 'a million separators', raw: () => '&'.repeat(1e6), maxMs: 500 },
      { name: 'a million equals signs', raw: () => '='.repeat(1e6), maxMs: 500 },
      {
        name: 'a thousand names far from the next equals sign',
        raw: () => `${'a&'.repeat(999)}${'b'.repeat(5e6)}`,
        maxMs: 3000,
      },
      { name: 'a value of 10 MB', raw: () => `a=${'%41+'.repeat(2.5e6)}`, maxMs: 3000 },
      { name: 'brackets', raw: 'a[__proto__][x]=1&constructor[prototype][x]=1&constructor.prototype.x=1', maxMs: 250 },
    ],
    impossible: [
      { name: 'a text', value: 'a=1' },
      { name: 'a list', value: [{ a: 1 }] },
      { name: 'null', value: null },
      { name: 'undefined', value: undefined },
      { name: 'an object in an object', value: { a: { b: 1 } } },
      { name: 'a list in a list', value: { a: [['b']] } },
      { name: 'a value that contains itself', value: circle },
      { name: '__proto__', value: JSON.parse('{"__proto__":1}') },
      { name: 'NaN', value: { a: Number.NaN } },
      { name: 'a date that is none', value: { a: new Date(Number.NaN) } },
      { name: 'a function', value: { a: () => 1 } },
      { name: 'a lone surrogate', value: { a: '\ud800' } },
      { name: 'a lone surrogate in a name', value: { '\udc00': 1 } },
    ],
  });

  let codec: Codec;
  before(() => {
    codec = buildCodec(codecForm);
  });

  it('reads what a browser sends', () => {
    expect(codec.decode('name=J%C3%BCrgen+M&tag=a&tag=b&empty=&bare')).to.deep.equal({
      name: 'Jürgen M',
      tag: ['a', 'b'],
      empty: '',
      bare: '',
    });
  });
  it('gives what the schema declares, once it is coerced', () => {
    const coerce = compileCoerce(
      Type.Object({ n: Type.Integer(), on: Type.Boolean(), list: Type.Array(Type.String()) }),
    );
    expect(coerce(codec.decode('n=7&on=true&list=a'))).to.deep.equal({ n: 7, on: true, list: ['a'] });
  });
  it('writes numbers, booleans, dates, null and lists as text, and leaves out what is undefined', () => {
    const value = {
      n: 1.5,
      b: true,
      i: 10n,
      d: new Date(0),
      nothing: null,
      gone: undefined,
      list: [1, false],
      none: [],
    };
    expect(codec.encode(value)).to.equal('n=1.5&b=true&i=10&d=1970-01-01T00%3A00%3A00.000Z&nothing=&list=1&list=false');
  });
  it('writes a space as a plus sign, and what has a meaning in a form by its number', () => {
    expect(codec.encode({ 'a b': 'c + d&e=%é' })).to.equal('a+b=c+%2B+d%26e%3D%25%C3%A9');
  });
  it('is read by others as it is by this one', () => {
    const value = { 'a b': "c+d&e=f%!'()*~é😀", list: ['1', '2'] };
    const params = new URLSearchParams(codec.encode(value) as string);
    expect([...params]).to.deep.equal([
      ['a b', value['a b']],
      ['list', '1'],
      ['list', '2'],
    ]);
    expect(codec.decode(params.toString())).to.deep.equal(value);
  });
  it('says where the output cannot be written', () => {
    expect(refusal(() => codec.encode({ 'a/b': {} }))?.hint).to.contain('/a~1b is of type object');
  });
  it('gives back every object of strings and lists', () => {
    const text = fc.string({ unit: 'binary', maxLength: 8 }).filter((t) => t.isWellFormed());
    const plain = text.filter((t) => !t.startsWith('\ufeff'));
    const value = fc.dictionary(
      plain.filter((t) => t !== '__proto__'),
      fc.oneof(text, fc.array(text, { minLength: 2, maxLength: 4 })),
    );
    const same = (entry: object) => {
      expect(codec.decode(codec.encode(entry))).to.deep.equal(entry);
    };
    fc.assert(fc.property(value, same), { numRuns: 1000 });
  });
});
