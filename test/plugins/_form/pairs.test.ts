import { expect } from 'chai';
import fc from 'fast-check';
import { GantryError } from '../../../core/errors.ts';
import { type Pairs, parsePairs } from '../../../plugins/_form/pairs.ts';

/** What the platform's own reader makes of it. */
function expected(params: URLSearchParams): Record<string, string | string[]> {
  const pairs: [string, string | string[]][] = [...new Set(params.keys())].map((name) => {
    const all = params.getAll(name);
    return [name, all.length === 1 ? (all[0] as string) : all];
  });
  return Object.fromEntries(pairs);
}

function plain(pairs: Pairs): object {
  return Object.fromEntries(Object.entries(pairs));
}

function refusal(text: string): GantryError {
  try {
    parsePairs(text);
  } catch (error) {
    expect(error).to.be.instanceOf(GantryError);
    return error as GantryError;
  }
  return expect.fail(`'${text.slice(0, 40)}' was read`);
}

describe('parsePairs', () => {
  const name = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom('a', 'b', 'constructor', 'toString', 'a b', '+', '%'),
  );

  it('reads what URLSearchParams writes', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(name, fc.string({ unit: 'binary' })), { maxLength: 20 }), (given) => {
        fc.pre(given.every(([n]) => n !== '__proto__'));
        const params = new URLSearchParams(given);
        // An empty name with an empty value is written as '=', a pair like any other.
        expect(plain(parsePairs(params.toString()))).to.deep.equal(expected(params));
      }),
      { numRuns: 500 },
    );
  });

  it('reads what encodeURIComponent writes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'grapheme' }), (key, value) => {
        fc.pre(key !== '__proto__');
        expect(parsePairs(`${encodeURIComponent(key)}=${encodeURIComponent(value)}`)[key]).to.equal(value);
      }),
    );
  });

  it('never does anything but read or refuse with INPUT_MALFORMED or INPUT_TOO_LARGE', () => {
    const piece = fc.constantFrom(
      'a',
      '=',
      '&',
      '%',
      '%4',
      '%zz',
      '%c3',
      '%28',
      '+',
      '__proto__',
      '\u0000',
      'é',
      '?',
      '#',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
        try {
          for (const value of Object.values(parsePairs(pieces.join('')))) {
            if (Array.isArray(value)) expect(value.length).to.be.greaterThan(1);
            else expect(value).to.be.a('string');
          }
        } catch (error) {
          expect((error as GantryError).code).to.equal('INPUT_MALFORMED');
        }
      }),
      { numRuns: 500 },
    );
  });

  it('makes a list of what is repeated, in the order in which it came', () => {
    expect(plain(parsePairs('b=2&a=1&b=3&b='))).to.deep.equal({ b: ['2', '3', ''], a: '1' });
  });
  it('reads names without a value, empty parts and values with an equals sign', () => {
    expect(plain(parsePairs('&&a&b=&c=x=y&&'))).to.deep.equal({ a: '', b: '', c: 'x=y' });
    expect(plain(parsePairs(''))).to.deep.equal({});
  });
  it('reads a plus as a space, and an encoded plus as itself', () => {
    expect(plain(parsePairs('a+b=c+d%2B'))).to.deep.equal({ 'a b': 'c d+' });
  });
  it('has no prototype, so that no name means more than it says', () => {
    const pairs = parsePairs('a=1&constructor=2&hasOwnProperty=3');
    expect(Object.getPrototypeOf(pairs)).to.equal(null);
    expect(pairs['constructor']).to.equal('2');
    expect(pairs['toString']).to.equal(undefined);
  });

  for (const text of ['a=%', 'a=%4', '%zz=1', 'a=%c3%28', 'a=%ff']) {
    it(`refuses invalid percent-encoding: ${text}`, () => {
      const { code, problems } = refusal(text);
      expect(code).to.equal('INPUT_MALFORMED');
      expect(problems?.[0]?.message).to.include('percent-encoded');
      expect(problems?.[0], 'the text may hold a secret').to.not.have.property('got');
    });
  }
  for (const text of ['__proto__=1', 'a=1&__proto__=2', '%5F_proto__=1', '__proto__']) {
    it(`refuses ${text}`, () => {
      expect(refusal(text).code).to.equal('INPUT_MALFORMED');
      expect(({} as Record<string, unknown>)['1']).to.equal(undefined);
    });
  }
  it('reads 1,000 pairs and refuses 1,001', () => {
    const many = (n: number) => Array.from({ length: n }, (_, i) => `k${i}=1`).join('&');
    expect(Object.keys(parsePairs(many(1000)))).to.have.length(1000);
    expect(refusal(many(1001)).code).to.equal('INPUT_TOO_LARGE');
    expect(refusal('a&'.repeat(1001)).code).to.equal('INPUT_TOO_LARGE');
  });
  it('takes no long time for a long text, whatever is in it', () => {
    const startedAt = performance.now();
    for (const part of ['&', 'a', '=', '%41', '+', 'é']) parsePairs(part.repeat(1_000_000));
    expect(performance.now() - startedAt).to.be.lessThan(3000);
  });
});
