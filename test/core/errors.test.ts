import { expect } from 'chai';
import fc from 'fast-check';
import {
  CODES,
  didYouMean,
  type ErrorCode,
  type ErrorKind,
  GantryError,
  isGantryError,
  toFault,
  toGantryError,
} from '../../core/errors.ts';

const KINDS: readonly ErrorKind[] = [
  'invalid',
  'unauthorized',
  'forbidden',
  'missing',
  'conflict',
  'busy',
  'timeout',
  'unavailable',
  'bug',
  'setup',
];

describe('errors', () => {
  it('every code has one of the kinds, and an error takes the kind of its code', () => {
    for (const [code, kind] of Object.entries(CODES)) {
      expect(KINDS, code).to.include(kind);
      expect(code).to.match(/^[A-Z]+(_[A-Z]+)*$/);
      expect(new GantryError(code as ErrorCode, 'm').kind).to.equal(kind);
    }
    for (const kind of KINDS) expect(Object.values(CODES), kind).to.include(kind);
  });
  it("a service's own code has the kind that was declared", () => {
    const error = new GantryError('OUT_OF_STOCK', 'None left', { kind: 'conflict' });
    expect([error.code, error.kind, error.message]).to.deep.equal(['OUT_OF_STOCK', 'conflict', 'None left']);
  });
  it('a code that nobody declared is a bug, whatever it is called', () => {
    for (const code of ['NOBODY_KNOWS', 'constructor', 'toString', '__proto__'])
      expect(new GantryError(code as ErrorCode, 'm').kind, code).to.equal('bug');
  });
  it('may be tried again when it is busy, unavailable or timed out, and only then', () => {
    const retryable = KINDS.filter((kind) => new GantryError('X', 'm', { kind }).retryable);
    expect(retryable).to.have.members(['busy', 'unavailable', 'timeout']);
  });
  it('keeps its cause, and has none where none was given', () => {
    const cause = new Error('below');
    expect(new GantryError('INVALID', 'm', { cause }).cause).to.equal(cause);
    expect('cause' in new GantryError('INVALID', 'm')).to.equal(false);
    expect(new GantryError('INVALID', 'm', { cause: null }).cause).to.equal(null);
  });

  it('is known across two copies of the class', async () => {
    const url = new URL('../../core/errors.ts?second-copy', import.meta.url).href;
    const other = (await import(url)) as typeof import('../../core/errors.ts');
    expect(other.GantryError).to.not.equal(GantryError);
    const stranger = new other.GantryError('NOT_FOUND', 'gone');
    expect(stranger).to.not.be.instanceOf(GantryError);
    expect(isGantryError(stranger)).to.equal(true);
    expect(toGantryError(stranger)).to.equal(stranger);
    expect(other.isGantryError(new GantryError('INVALID', 'm'))).to.equal(true);
  });
  it('anything else that is thrown is hidden behind SERVICE_FAILED', () => {
    fc.assert(
      fc.property(fc.anything(), (thrown) => {
        expect(isGantryError(thrown)).to.equal(false);
        const error = toGantryError(thrown);
        expect([error.code, error.kind, error.message]).to.deep.equal(['SERVICE_FAILED', 'bug', 'The service failed']);
        expect(error.cause === thrown || Number.isNaN(thrown)).to.equal(true);
      }),
    );
    expect(toGantryError(undefined).code).to.equal('SERVICE_FAILED');
    const trap = () => {
      throw new Error('keep out');
    };
    const proxy = new Proxy({}, { get: trap, getPrototypeOf: trap, has: trap });
    expect(toGantryError(proxy).code).to.equal('SERVICE_FAILED');
  });

  it('a fault tells what the caller may know, and nothing else', () => {
    const cause = new Error('SECRET-cause');
    const error = new GantryError('INPUT_INVALID', 'The input is wrong', {
      cause,
      hint: 'SECRET-hint',
      answer: { body: 'SECRET-answer' },
      challenge: 'Basic realm="SECRET-challenge"',
      retryAfterMs: 1000,
      problems: [{ path: '/name', message: 'is required', got: 'nothing' }],
    });
    error.stack = 'SECRET-stack';
    const fault = toFault(error, 'cid-1');
    expect(fault).to.deep.equal({
      code: 'INPUT_INVALID',
      kind: 'invalid',
      message: 'The input is wrong',
      cid: 'cid-1',
      errors: [{ path: '/name', message: 'is required', got: 'nothing' }],
    });
    expect(JSON.stringify(fault)).to.not.include('SECRET');
    expect(toFault(new GantryError('NOT_FOUND', 'gone', { problems: [] }), 'c')).to.not.have.property('errors');
  });
  it('a fault of what was thrown below tells nothing of it', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 8 }), (secret) => {
        const thrown = Object.assign(new Error(`SECRET ${secret}`), { sql: `SECRET ${secret}` });
        expect(JSON.stringify(toFault(toGantryError(thrown), 'c'))).to.not.include('SECRET');
      }),
    );
  });
});

describe('didYouMean', () => {
  const names = ['transport.rest', 'transport.soap', 'http.koa', 'stats.memory', 'port', 'host'];
  const near: [string, string][] = [
    ['transport.rst', 'transport.rest'],
    ['Transport.Rest', 'transport.rest'],
    ['prot', 'port'],
    ['hots', 'host'],
    ['stats.memroy', 'stats.memory'],
    ['http.ka', 'http.koa'],
  ];
  for (const [given, meant] of near) {
    it(`${given} -> ${meant}`, () => expect(didYouMean(given, names)).to.equal(`Did you mean '${meant}'?`));
  }
  it('says nothing where nothing is near', () => {
    for (const given of ['balancer.haproxy', 'xyzzy', 'x', '']) expect(didYouMean(given, names), given).to.equal('');
    expect(didYouMean('pg', ['db'])).to.equal('');
    expect(didYouMean(undefined as unknown as string, ['db'])).to.equal('');
    expect(didYouMean('anything', [])).to.equal('');
  });
  it('takes the nearest, the first of equals', () => {
    expect(didYouMean('abcd', ['abxx', 'abcx', 'abcy'])).to.equal("Did you mean 'abcx'?");
  });
  it('finds every name that is there', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ minLength: 1 }), { minLength: 1 }), fc.nat(), (known, i) => {
        const name = known[i % known.length] as string;
        const first = known.find((k) => k.toLowerCase() === name.toLowerCase());
        expect(didYouMean(name, known)).to.equal(`Did you mean '${first}'?`);
      }),
    );
  });
  it('takes no long time for what a caller made long', () => {
    const startedAt = performance.now();
    didYouMean('x'.repeat(1_000_000), names);
    expect(performance.now() - startedAt).to.be.lessThan(5000);
  });
});
