import { expect } from 'chai';
import fc from 'fast-check';
import type { Codec } from '../../../core/ports/index.ts';
import codecText from '../../../plugins/codec-text/index.ts';
import { buildCodec, refusal, testCodec } from '../../kit/codec.ts';

describe('codec.text', () => {
  testCodec({
    plugin: codecText,
    values: ['', 'text', ' lines\r\nand\ttabs\0 ', 'é 漢 😀', '{"__proto__":1}'],
    malformed: [
      { name: 'bytes that are not UTF-8', raw: Buffer.from('swordfish-and-potatoes \xe9', 'latin1') },
      { name: 'a character that was cut off', raw: Buffer.from('swordfish-and-potatoes é').subarray(0, -1) },
      { name: 'an encoded surrogate', raw: Buffer.from([0xed, 0xa0, 0x80]) },
      { name: 'UTF-16 that was cut off', raw: Buffer.from([0x41, 0x00, 0x42]), parameters: 'charset=utf-16le' },
      { name: 'what is not the charset it names', raw: Buffer.from([0x82]), parameters: 'charset=shift_jis' },
      { name: 'a charset that is not known', raw: Buffer.from('a'), parameters: 'charset=klingon' },
    ],
    hostile: [
      { name: '20 MB', raw: () => Buffer.alloc(20e6, 'é'), maxMs: 2000 },
      { name: '20 MB that are no UTF-8', raw: () => Buffer.alloc(20e6, 0xff), maxMs: 2000 },
      { name: '20 MB of Shift_JIS', raw: () => Buffer.alloc(20e6, 0x41), parameters: 'charset=shift_jis', maxMs: 4000 },
      { name: 'a charset of a megabyte', raw: Buffer.from('a'), parameters: `charset=${'x'.repeat(1e6)}`, maxMs: 500 },
      { name: 'parameters of a megabyte', raw: Buffer.from('a'), parameters: '; charset'.repeat(1e5), maxMs: 500 },
      { name: 'parameters of spaces', raw: Buffer.from('a'), parameters: `;${' '.repeat(1e5)}`, maxMs: 500 },
    ],
    impossible: [
      { name: 'an object', value: { a: 1 } },
      { name: 'a list', value: ['a'] },
      { name: 'null', value: null },
      { name: 'undefined', value: undefined },
      { name: 'NaN', value: Number.NaN },
      { name: 'bytes', value: Buffer.from('a') },
      { name: 'a symbol', value: Symbol('s') },
      { name: 'a function', value: () => 1 },
      { name: 'a lone surrogate', value: 'a\ud800b' },
    ],
  });

  let codec: Codec;
  before(() => {
    codec = buildCodec(codecText);
  });
  const latin = (text: string) => Buffer.from(text, 'latin1');

  it('reads the charset that the content type names, in any case and in quotes', () => {
    expect(codec.decode(latin('caf\xe9'), 'charset=iso-8859-1')).to.equal('café');
    expect(codec.decode(latin('caf\xe9'), 'format=flowed; Charset="ISO-8859-1"')).to.equal('café');
    expect(codec.decode(latin('\x80'), 'charset=windows-1252')).to.equal('€');
    expect(codec.decode(latin('plain'), 'charset=us-ascii')).to.equal('plain');
    expect(codec.decode(latin('\xa4'), 'charset=iso-8859-15')).to.equal('€');
    expect(codec.decode(Buffer.from('é', 'utf16le'), 'charset=utf-16le')).to.equal('é');
    expect(codec.decode(Buffer.from('é'), 'charset=UTF-8')).to.equal('é');
    expect(codec.decode(Buffer.from('é'), 'x-charset=utf-16')).to.equal('é');
  });
  it('says which charset it does not know', () => {
    const error = refusal(() => codec.decode(latin('a'), 'charset=klingon'));
    expect(error?.code).to.equal('MEDIA_UNSUPPORTED');
    expect(error?.problems?.[0]).to.include({ expected: 'utf-8', got: 'klingon' });
  });
  it('takes a byte order mark for what it is', () => {
    expect(codec.decode('\ufefftext')).to.equal('text');
    expect(codec.decode(Buffer.from('\ufefftext'))).to.equal('text');
    expect(codec.decode(Buffer.from('text\ufeff'))).to.equal('text\ufeff');
  });
  it('writes numbers, booleans and bigints', () => {
    expect([1.5, true, 10n, -0].map((value) => codec.encode(value))).to.deep.equal(['1.5', 'true', '10', '0']);
  });
  it('gives back every text', () => {
    const text = fc.string({ unit: 'binary' }).filter((t) => t.isWellFormed() && !t.startsWith('\ufeff'));
    const same = (value: string) => {
      expect(codec.decode(codec.encode(value))).to.equal(value);
      expect(codec.decode(Buffer.from(codec.encode(value)))).to.equal(value);
    };
    fc.assert(fc.property(text, same), { numRuns: 500 });
  });
});
