import { expect } from 'chai';
import fc from 'fast-check';
import type { Codec } from '../../../core/ports/index.ts';
import codecCsv from '../../../plugins/codec-csv/index.ts';
import { buildCodec, refusal, testCodec } from '../../kit/codec.ts';

const circle: Record<string, unknown> = {};
circle['self'] = circle;

describe('codec.csv', () => {
  testCodec({
    plugin: codecCsv,
    values: [
      [],
      [{ a: '1' }],
      [{ a: '' }, { a: '' }],
      [
        { name: 'Smith, "Jo"', note: 'two\r\nlines', ' spaced ': ' kept ' },
        { name: '', note: '', ' spaced ': '' },
        { name: '007', note: '1e5', ' spaced ': 'true' },
      ],
      [{ '\ufeffmark': '\ufeffx', é: '漢 😀' }],
      [{ formula: '=1+1', phone: '+49 30', minus: '-5', at: '@x', tab: '\tx', cr: '\rx', lf: '\n', quote: '"' }],
      [{ constructor: 'a', toString: 'b', hasOwnProperty: 'c', 'x.y[0]': 'd', __proto: 'e' }],
    ],
    malformed: [
      { name: 'a quote that is not closed', raw: 'a,b\n1,"swordfish-and-potatoes' },
      { name: 'a quote in the middle of a field', raw: 'a,b\nswordfish-and-"potatoes",2' },
      { name: 'text behind a closing quote', raw: 'a\n"1"swordfish-and-potatoes' },
      { name: 'a row that is too short', raw: 'a,b\nswordfish-and-potatoes' },
      { name: 'a row that is too long', raw: 'a,b\nswordfish-and-potatoes,2,3' },
      { name: 'a NUL', raw: 'a\n"1"\0swordfish-and-potatoes' },
      { name: 'a column without a name', raw: 'a,,c\n1,2,3' },
      { name: 'two columns of one name', raw: 'swordfish-and-potatoes,b,swordfish-and-potatoes\n1,2,3' },
      { name: 'a column __proto__', raw: 'a,__proto__\n1,2' },
      { name: 'bytes that are not UTF-8', raw: Buffer.from('a\ncaf\xe9', 'latin1') },
      { name: 'UTF-16 without being told', raw: Buffer.from('a,b\n1,2', 'utf16le') },
      { name: 'a charset that is not known', raw: Buffer.from('a'), parameters: 'charset=klingon' },
    ],
    hostile: [
      { name: 'a million empty lines', raw: () => '\n'.repeat(1e6), maxMs: 2000 },
      { name: 'a million rows of one field', raw: () => `a\n${'1\n'.repeat(1e6)}`, maxMs: 4000 },
      { name: 'a million columns', raw: () => `${','.repeat(1e6)}\n`, maxMs: 4000 },
      { name: 'a million quotes', raw: () => `a\n"${'""'.repeat(5e5)}`, maxMs: 4000 },
      { name: 'a million quotes that end', raw: () => `a\n"${'""'.repeat(5e5)}"`, maxMs: 4000 },
      { name: 'a field of 10 MB', raw: () => `a\n${'x'.repeat(10e6)}`, maxMs: 8000 },
      { name: 'a quote that is not closed before 10 MB', raw: () => `a\n"${'x,\n'.repeat(3.3e6)}`, maxMs: 8000 },
      { name: 'a million carriage returns', raw: () => `a\n${'\r'.repeat(1e6)}`, maxMs: 2000 },
      { name: 'a million NULs', raw: () => '\0'.repeat(1e6), maxMs: 500 },
      { name: 'names of Object.prototype', raw: 'constructor,toString,prototype\n1,2,3', maxMs: 250 },
    ],
    impossible: [
      { name: 'a text', value: 'a,b' },
      { name: 'a number', value: 5 },
      { name: 'null', value: null },
      { name: 'undefined', value: undefined },
      { name: 'a list of texts', value: ['a', 'b'] },
      { name: 'a list of nothing', value: [null] },
      { name: 'a list in a list in a list', value: [[['a']]] },
      { name: 'an object in a field', value: [{ a: { b: 1 } }] },
      { name: 'a list in a field', value: [{ a: [1] }] },
      { name: 'a value that contains itself', value: circle },
      { name: 'lists and objects', value: [{ a: 1 }, ['b']] },
      { name: 'lists of several lengths', value: [['a'], ['b', 'c']] },
      { name: 'an empty list as a row', value: [[]] },
      { name: 'an empty object as a row', value: [{}] },
      { name: 'an empty column name', value: [{ '': 1 }] },
      { name: 'a column __proto__', value: [JSON.parse('{"__proto__":1}')] },
      { name: 'NaN', value: [{ a: Number.NaN }] },
      { name: 'a date that is none', value: [{ a: new Date(Number.NaN) }] },
      { name: 'a function', value: [{ a: () => 1 }] },
      { name: 'a NUL', value: [{ a: 'x\0' }] },
      { name: 'a lone surrogate', value: [{ a: '\ud800' }] },
    ],
  });

  let codec: Codec;
  before(() => {
    codec = buildCodec(codecCsv);
  });
  const problemOf = (raw: string) => refusal(() => codec.decode(raw))?.problems?.[0];

  describe('reads', () => {
    it('rows by their header, whatever ends the lines', () => {
      const rows = [
        { a: '1', b: '2' },
        { a: '3', b: '4' },
      ];
      for (const end of ['\r\n', '\n', '\r']) {
        expect(codec.decode(`a,b${end}1,2${end}3,4`)).to.deep.equal(rows);
        expect(codec.decode(`a,b${end}1,2${end}3,4${end}`)).to.deep.equal(rows);
        expect(codec.decode(`${end}a,b${end}${end}1,2${end}${end}3,4${end}${end}`)).to.deep.equal(rows);
      }
      expect(codec.decode('a,b\r\n1,2\n3,4\r')).to.deep.equal(rows);
    });
    it('a header alone as no rows', () => expect(codec.decode('a,b\r\n')).to.deep.equal([]));
    it('quoted fields (RFC 4180, 2)', () => {
      expect(codec.decode('a,b\n"x ""y"", z","1\r\n2"')).to.deep.equal([{ a: 'x "y", z', b: '1\r\n2' }]);
    });
    it('lists of fields where the content type says that there is no header', () => {
      for (const parameters of ['header=absent', 'charset=utf-8; Header="absent"']) {
        expect(codec.decode('a,b\n1,2', parameters)).to.deep.equal([
          ['a', 'b'],
          ['1', '2'],
        ]);
      }
      const bare = buildCodec(codecCsv, { header: false });
      expect(bare.decode(',\n')).to.deep.equal([['', '']]);
      expect(bare.decode('a\n1', 'header=present')).to.deep.equal([{ a: '1' }]);
    });
    it('the charset of the content type, and a byte order mark', () => {
      expect(codec.decode(Buffer.from('a\n\x80\xe9', 'latin1'), 'charset=windows-1252')).to.deep.equal([{ a: '€é' }]);
      expect(codec.decode(Buffer.from('\ufeffa\né', 'utf16le'), 'charset=utf-16le')).to.deep.equal([{ a: 'é' }]);
      expect(codec.decode('\ufeff"a"\n1')).to.deep.equal([{ a: '1' }]);
      expect(codec.decode(Buffer.from('\ufeffa\n1'))).to.deep.equal([{ a: '1' }]);
      expect(refusal(() => codec.decode(Buffer.from('a'), 'charset=klingon'))?.code).to.equal('MEDIA_UNSUPPORTED');
    });
    it('another delimiter', () => {
      expect(buildCodec(codecCsv, { delimiter: ';' }).decode('a;b\n1,5;2')).to.deep.equal([{ a: '1,5', b: '2' }]);
      expect(buildCodec(codecCsv, { delimiter: '\t' }).decode('a\tb\n1\t2')).to.deep.equal([{ a: '1', b: '2' }]);
      for (const delimiter of ['', '"', '\n', ',,']) expect(() => buildCodec(codecCsv, { delimiter })).to.throw();
    });
    it('as much as allowed, and no more', () => {
      const small = buildCodec(codecCsv, { maxRows: 2, maxColumns: 2, maxFieldBytes: 4 });
      const code = (raw: string, parameters?: string) => refusal(() => small.decode(raw, parameters))?.code;
      expect(code('a,b\n1,2\n3,éé')).to.equal(undefined);
      expect(code('1\n2', 'header=absent')).to.equal(undefined);
      for (const raw of ['a\n1\n2\n3', 'a,b,c\n1,2,3', 'a\néé3', 'abcde\n1']) {
        expect(code(raw), raw).to.equal('INPUT_TOO_LARGE');
      }
      expect(code('1\n2\n3', 'header=absent')).to.equal('INPUT_TOO_LARGE');
    });
    it('says in which line and what', () => {
      expect(problemOf('a,b\n1,2\n\n"x\ny",3\n4')).to.include({ expected: '2 fields', got: '1 fields' });
      expect(problemOf('a,b\n1,2\n3')?.message).to.contain('in line 3');
      expect(problemOf('a,b\n1,2\n3\n4,5')?.message).to.contain('in line 3');
      expect(problemOf('a\n"x')?.message).to.equal('has a quote in line 2 that is not closed');
      expect(problemOf('a\nx"y"')?.message).to.equal('has a quote in line 2 in the middle of a field');
      expect(problemOf('a\n"x"y')?.message).to.equal('has a quote in line 2 in the middle of a field');
      expect(problemOf('a,b,a\n')?.message).to.equal('has one name for column 1 and column 3 in its header');
      expect(problemOf('a,\n')?.message).to.equal('has no name for column 2 in its header');
    });
  });

  describe('writes', () => {
    it('the columns of all rows, in the order in which they first occur', () => {
      const rows = [{ b: 1 }, { a: 'x', b: null }, { c: true, a: undefined }];
      expect(codec.encode(rows)).to.equal('b,a,c\r\n1,,\r\n,x,\r\n,,true\r\n');
    });
    it('numbers, booleans, bigints and dates as text', () => {
      expect(codec.encode({ a: -1.5, b: false, c: 10n, d: new Date(0) })).to.equal(
        'a,b,c,d\r\n-1.5,false,10,1970-01-01T00:00:00.000Z\r\n',
      );
    });
    it('one object as a list of one', () => expect(codec.encode({ a: 1 })).to.equal('a\r\n1\r\n'));
    it('lists as they are, which are read again without a header', () => {
      const lists = [
        ['a', ''],
        ['1,5', '"'],
      ];
      expect(codec.encode(lists)).to.equal('a,\r\n"1,5",""""\r\n');
      expect(codec.decode(codec.encode(lists), 'header=absent')).to.deep.equal(lists);
    });
    it('a hole in a list as an empty field', () => {
      // biome-ignore lint/suspicious/noSparseArray: that is what is tested
      expect(codec.encode([['a', , 'c']])).to.equal('a,,c\r\n');
    });
    it('no header where the config says so', () => {
      expect(buildCodec(codecCsv, { header: false }).encode([{ a: 1, b: 2 }])).to.equal('1,2\r\n');
    });
    it('properties of its own only', () => {
      expect(codec.encode([{ toString: 'x' }, { a: 1 }])).to.equal('toString,a\r\nx,\r\n,1\r\n');
    });
    it('formulas as text that begins with an apostrophe, where the config says so', () => {
      const guarded = buildCodec(codecCsv, { guardFormulas: true });
      const row = { a: '=1+1', b: '+1', c: '-1', d: '@x', e: -1, f: 'a=b', '=g': '\tx' };
      expect(guarded.encode(row)).to.equal("a,b,c,d,e,f,'=g\r\n'=1+1,'+1,'-1,'@x,-1,a=b,'\tx\r\n");
    });
    it('nothing that has no place in a field, and says where', () => {
      expect(refusal(() => codec.encode([{ a: 1 }, { a: [] }]))?.hint).to.contain('/1/a is a list');
      expect(refusal(() => codec.encode([['a'], []]))?.hint).to.contain('/1 is a row without fields');
    });
  });

  describe('round trips', () => {
    const text = fc
      .string({
        unit: fc.oneof(
          fc.constantFrom(',', ';', '"', "'", '\n', '\r', '\r\n', ' ', '\t', '\ufeff', '=', '\\'),
          fc.string({ unit: 'grapheme', minLength: 1, maxLength: 1 }),
        ),
        maxLength: 8,
      })
      .filter((t) => !t.includes('\0') && t.isWellFormed());
    const name = text.filter((t) => t !== '' && t !== '__proto__');

    it('give back every list of objects with the same keys', () => {
      const tables = fc
        .tuple(
          fc.uniqueArray(name, { minLength: 1, maxLength: 5 }),
          fc.nat(5),
          fc.array(text, { minLength: 25, maxLength: 25 }),
        )
        .map(([names, rows, fields]) =>
          Array.from({ length: rows }, (_, r) => Object.fromEntries(names.map((n, c) => [n, fields[r * 5 + c]]))),
        );
      const same = (rows: object[]) => {
        expect(codec.decode(codec.encode(rows))).to.deep.equal(rows);
      };
      fc.assert(fc.property(tables, same), { numRuns: 1000 });
    });
    it('give back every list of lists, with any delimiter', () => {
      const tables = fc
        .tuple(
          fc.integer({ min: 1, max: 4 }),
          fc.array(fc.array(text, { minLength: 4, maxLength: 4 }), { maxLength: 5 }),
        )
        .map(([width, rows]) => rows.map((row) => row.slice(0, width)));
      const same = (rows: string[][], delimiter: string) => {
        const other = buildCodec(codecCsv, { delimiter });
        expect(other.decode(other.encode(rows), 'header=absent')).to.deep.equal(rows);
      };
      fc.assert(fc.property(tables, fc.constantFrom(',', ';', '\t', '|', '§', ' '), same), { numRuns: 500 });
    });
  });
});
