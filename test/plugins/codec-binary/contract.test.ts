import { expect } from 'chai';
import fc from 'fast-check';
import type { Codec } from '../../../core/ports/index.ts';
import codecBinary from '../../../plugins/codec-binary/index.ts';
import { buildCodec, refusal, testCodec } from '../../kit/codec.ts';

describe('codec.binary', () => {
  testCodec({
    plugin: codecBinary,
    values: [
      new Uint8Array(0),
      new Uint8Array([0, 1, 127, 128, 255]),
      Uint8Array.from(Buffer.from('é 漢 😀')),
      new Uint8Array([0xef, 0xbb, 0xbf, 0x41]),
    ],
    malformed: [],
    hostile: [{ name: '100 MB', raw: () => Buffer.alloc(100e6), maxMs: 250 }],
    impossible: [
      { name: 'an object', value: { a: 1 } },
      { name: 'a number', value: 1 },
      { name: 'null', value: null },
      { name: 'undefined', value: undefined },
      { name: 'a list of bytes', value: [1, 2, 3] },
      { name: 'an ArrayBuffer', value: new ArrayBuffer(4) },
      { name: 'a Uint16Array', value: new Uint16Array(4) },
      { name: 'a lone surrogate', value: '\udc00' },
    ],
  });

  let codec: Codec;
  before(() => {
    codec = buildCodec(codecBinary);
  });

  it('copies nothing', () => {
    const bytes = new Uint8Array([1, 2, 3]);
    expect(codec.decode(bytes)).to.equal(bytes);
    expect(codec.encode(bytes)).to.equal(bytes);
  });
  it('takes a string for its UTF-8', () => {
    expect(codec.decode('é')).to.deep.equal(Buffer.from([0xc3, 0xa9]));
    expect(codec.encode('é')).to.equal('é');
  });
  it('tells what it wants', () => {
    expect(refusal(() => codec.encode({}))?.hint).to.contain('Uint8Array');
  });
  it('gives back all bytes', () => {
    const same = (bytes: Uint8Array) => {
      expect(codec.decode(codec.encode(bytes))).to.deep.equal(bytes);
    };
    fc.assert(fc.property(fc.uint8Array({ maxLength: 1000 }), same), { numRuns: 200 });
  });
});
