import { expect } from 'chai';
import fc from 'fast-check';
import { type TSchema, Type } from 'typebox';
import { Check } from 'typebox/value';
import { compileCoerce } from '../../../core/schema/coerce.ts';

/** A schema, and values that are valid under it. */
interface Sample {
  readonly schema: TSchema;
  readonly valid: fc.Arbitrary<unknown>;
}

const scalar: fc.Arbitrary<Sample> = fc.constantFrom<Sample>(
  { schema: Type.Integer(), valid: fc.maxSafeInteger() },
  { schema: Type.Number(), valid: fc.double({ noNaN: true, noDefaultInfinity: true }) },
  { schema: Type.Boolean(), valid: fc.boolean() },
  { schema: Type.String(), valid: fc.oneof(fc.string(), fc.constantFrom('5', 'true', '', 'null', ' 7 ')) },
  { schema: Type.Null(), valid: fc.constant(null) },
  { schema: Type.Literal('5'), valid: fc.constant('5') },
  { schema: Type.Literal(5), valid: fc.constant(5) },
  { schema: Type.Literal(true), valid: fc.constant(true) },
  { schema: Type.Enum(['a', '1', 'true']), valid: fc.constantFrom('a', '1', 'true') },
  { schema: Type.Unsafe({ enum: [1, 2, 'x', null] }), valid: fc.constantFrom(1, 2, 'x', null) },
  { schema: Type.Unsafe({ type: ['integer', 'null'] }), valid: fc.option(fc.integer()) },
  { schema: Type.Unsafe({ type: ['string', 'null'] }), valid: fc.option(fc.string()) },
  { schema: Type.Unknown(), valid: fc.jsonValue() },
);

const { sample } = fc.letrec<{ sample: Sample }>((tie) => ({
  sample: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    scalar,
    tie('sample').map(({ schema, valid }) => ({
      schema: Type.Array(schema),
      valid: fc.array(valid, { maxLength: 4 }),
    })),
    tie('sample').map(({ schema, valid }) => ({
      schema: Type.Record(Type.String(), schema),
      valid: fc.dictionary(fc.stringMatching(/^[a-z]{1,3}$/), valid, { maxKeys: 4 }),
    })),
    fc.tuple(tie('sample'), tie('sample')).map(([a, b]) => ({
      schema: Type.Object({ a: a.schema, b: Type.Optional(b.schema) }),
      valid: fc.record({ a: a.valid, b: b.valid }, { requiredKeys: ['a'], noNullPrototype: true }),
    })),
    fc.tuple(tie('sample'), tie('sample')).map(([a, b]) => ({
      schema: Type.Union([a.schema, b.schema]),
      valid: fc.oneof(a.valid, b.valid),
    })),
    fc.tuple(tie('sample'), tie('sample')).map(([a, b]) => ({
      schema: Type.Intersect([Type.Object({ a: a.schema }), Type.Object({ b: b.schema })]),
      valid: fc.record({ a: a.valid, b: b.valid }, { noNullPrototype: true }),
    })),
  ),
}));

describe('coerce', () => {
  const valued = sample.chain(({ schema, valid }) => valid.map((value) => ({ schema, value })));

  it('changes nothing that is valid already', () => {
    fc.assert(
      fc.property(valued, ({ schema, value }) => {
        const before = structuredClone(value);
        expect(Check(schema, value)).to.equal(true);
        expect(compileCoerce(schema)(value)).to.deep.equal(before);
      }),
      { numRuns: 300 },
    );
  });

  it('a second time changes nothing more', () => {
    fc.assert(
      fc.property(
        sample,
        fc.oneof(fc.jsonValue(), fc.string(), fc.dictionary(fc.constantFrom('a', 'b'), fc.string())),
        ({ schema }, value) => {
          const coerce = compileCoerce(schema);
          const once = coerce(structuredClone(value));
          expect(coerce(structuredClone(once))).to.deep.equal(once);
        },
      ),
      { numRuns: 300 },
    );
  });

  const written: [string, TSchema, fc.Arbitrary<unknown>][] = [
    ['integer', Type.Integer(), fc.maxSafeInteger()],
    ['number', Type.Number(), fc.double({ noNaN: true, noDefaultInfinity: true })],
    ['boolean', Type.Boolean(), fc.boolean()],
    ['literal', Type.Literal(-1.5), fc.constant(-1.5)],
    ['integer or null', Type.Union([Type.Integer(), Type.Null()]), fc.option(fc.maxSafeInteger())],
    ['one of several', Type.Union([Type.Literal(1), Type.Literal(false)]), fc.constantFrom(1, false)],
  ];
  for (const [what, schema, values] of written) {
    it(`${what}: what was written as text comes back`, () => {
      fc.assert(
        fc.property(values, (value) => {
          // -0 is written as 0
          const expected = value === 0 ? 0 : value;
          expect(compileCoerce(schema)(String(value))).to.equal(expected);
          expect(compileCoerce(schema)(`  ${value}\n`)).to.equal(
            what === 'literal' || what === 'one of several' ? `  ${value}\n` : expected,
          );
          expect(compileCoerce(Type.Array(schema))([String(value)])).to.deep.equal([expected]);
          expect(compileCoerce(Type.Array(schema))(String(value))).to.deep.equal([expected]);
          expect(compileCoerce(Type.Object({ x: schema }))({ x: String(value) })).to.deep.equal({ x: expected });
          expect(compileCoerce(Type.Record(Type.String(), schema))({ x: String(value) })).to.deep.equal({
            x: expected,
          });
          const map = Type.Unsafe({ type: 'object', additionalProperties: schema });
          expect(compileCoerce(map)({ x: String(value) })).to.deep.equal({ x: expected });
        }),
      );
    });
  }

  it('a text that does not fit stays, for the check to refuse', () => {
    const text = fc.oneof(
      fc.string(),
      fc.constantFrom(
        '1e400',
        'Infinity',
        'NaN',
        '0x10',
        '1_000',
        '1,5',
        '1.5',
        '12345678901234567890',
        'TRUE',
        '--1',
        '.',
        '+',
        'e1',
      ),
    );
    fc.assert(
      fc.property(
        text,
        fc.constantFrom(Type.Integer(), Type.Number(), Type.Boolean(), Type.Null()),
        (given, schema) => {
          const made = compileCoerce(schema)(given);
          if (made !== given) expect(Check(schema, made)).to.equal(true);
        },
      ),
      { numRuns: 300 },
    );
    for (const given of ['1.5', '', ' ', '12345678901234567890', 'x', '1e3'])
      expect(compileCoerce(Type.Integer())(given)).to.equal(given);
    for (const given of ['1e400', 'Infinity', 'NaN', '0x10', '', '.', '1,5'])
      expect(compileCoerce(Type.Number())(given)).to.equal(given);
    for (const given of ['TRUE', 'yes', '2', '']) expect(compileCoerce(Type.Boolean())(given)).to.equal(given);
  });

  it('numbers: signs, points, exponents, zeros in front', () => {
    const number = compileCoerce(Type.Number());
    expect(['+1', '-1.5', '.5', '1.', '1e3', '1E-3', '007'].map(number)).to.deep.equal([
      1, -1.5, 0.5, 1, 1000, 0.001, 7,
    ]);
    expect(['1', '0'].map(compileCoerce(Type.Boolean()))).to.deep.equal([true, false]);
  });

  it('lists: one for one, nothing for what is not there', () => {
    const list = compileCoerce(Type.Object({ tags: Type.Array(Type.Integer()) }));
    expect(list({ tags: '5' })).to.deep.equal({ tags: [5] });
    expect(list({ tags: ['5', 'x', 6] })).to.deep.equal({ tags: [5, 'x', 6] });
    expect(list({})).to.deep.equal({});
  });
  it('objects: what is empty in XML is an object without anything', () => {
    const coerce = compileCoerce(Type.Object({ customer: Type.Object({ id: Type.Optional(Type.Integer()) }) }));
    expect(coerce({ customer: '' })).to.deep.equal({ customer: {} });
    expect(coerce({ customer: { id: '5', name: '6' } })).to.deep.equal({ customer: { id: 5, name: '6' } });
    expect(coerce({ customer: 'x' })).to.deep.equal({ customer: 'x' });
  });
  it('maps: by the pattern of the key, and by what further keys have', () => {
    const coerce = compileCoerce(
      Type.Unsafe({
        type: 'object',
        properties: { name: { type: 'string' } },
        patternProperties: { '^n_': { type: 'integer' } },
        additionalProperties: { type: 'boolean' },
      }),
    );
    expect(coerce({ name: '1', n_a: '1', other: '1' })).to.deep.equal({ name: '1', n_a: 1, other: true });
  });

  describe('unions', () => {
    it('a text stays one where that is allowed', () => {
      expect(compileCoerce(Type.Union([Type.Integer(), Type.String()]))('5')).to.equal('5');
      expect(compileCoerce(Type.Union([Type.Literal('5'), Type.Integer({ minimum: 10 })]))('5')).to.equal('5');
      expect(compileCoerce(Type.Union([Type.Enum(['1', 'auto']), Type.Boolean()]))('1')).to.equal('1');
      expect(compileCoerce(Type.Union([Type.Literal('auto'), Type.Integer()]))('5')).to.equal(5);
    });
    it('of objects: the branch that fits, and no trace of one that does not', () => {
      const coerce = compileCoerce(
        Type.Union([
          Type.Object({ kind: Type.Literal('number'), value: Type.Integer() }),
          Type.Object({ kind: Type.Literal('text'), value: Type.String() }),
          Type.Object({ kind: Type.Literal('list'), value: Type.Array(Type.Integer()) }),
        ]),
      );
      expect(coerce({ kind: 'number', value: '5' })).to.deep.equal({ kind: 'number', value: 5 });
      expect(coerce({ kind: 'text', value: '5' })).to.deep.equal({ kind: 'text', value: '5' });
      expect(coerce({ kind: 'list', value: '5' })).to.deep.equal({ kind: 'list', value: [5] });
      expect(coerce({ kind: 'other', value: '5' })).to.deep.equal({ kind: 'other', value: '5' });
    });
    it('of a list and something else', () => {
      const coerce = compileCoerce(
        Type.Union([Type.Array(Type.Integer()), Type.Object({ all: Type.Boolean() }), Type.Null()]),
      );
      expect(coerce({ all: true })).to.deep.equal({ all: true });
      expect(coerce({ all: 'true' })).to.deep.equal({ all: true });
      expect(coerce(['5'])).to.deep.equal([5]);
      expect(coerce('5')).to.deep.equal([5]);
      expect(coerce(null)).to.equal(null);
    });
  });

  it('a name like that of an inherited property means nothing', () => {
    const coerce = compileCoerce(
      Type.Object({ constructor: Type.Optional(Type.Integer()), toString: Type.Optional(Type.Integer()) }),
    );
    expect(Object.keys(coerce({}) as object)).to.deep.equal([]);
    const evil = JSON.parse('{"__proto__":{"polluted":"1"},"a":"1"}') as object;
    compileCoerce(Type.Record(Type.String(), Type.Integer()))(evil);
    compileCoerce(Type.Record(Type.String(), Type.Record(Type.String(), Type.Integer())))(evil);
    expect(({} as { polluted?: unknown }).polluted).to.equal(undefined);
    expect(Object.getPrototypeOf(evil)).to.equal(Object.prototype);
  });

  it('takes no long time for a long text', () => {
    const startedAt = performance.now();
    for (const type of [Type.Integer(), Type.Number(), Type.Boolean(), Type.Null(), Type.Literal(5)]) {
      for (const long of ['1', '1.', ' ', '-', 'e1', '1e']) compileCoerce(type)(`${long.repeat(200_000)}x`);
    }
    expect(performance.now() - startedAt).to.be.lessThan(2000);
  });
});
