import { expect } from 'chai';
import fc from 'fast-check';
import type { TSchema } from 'typebox';
import { Type } from 'typebox';
import { compileOutput } from '../../../core/schema/check.ts';
import { compileWriter } from '../../../plugins/codec-json/writer.ts';

interface Sample {
  readonly schema: TSchema;
  readonly value: fc.Arbitrary<unknown>;
}

const text = fc.oneof(
  fc.string(),
  fc.string({ unit: 'binary' }),
  fc.string({ unit: 'grapheme', maxLength: 120, size: 'max' }),
  fc.constantFrom('"', '\\', '\n', '\u2028', '\ud83d', '\ude00x', '😀', 'ł'.repeat(60), `${'a'.repeat(60)}"`),
);
const number = fc.oneof(fc.integer(), fc.double({ noNaN: true, noDefaultInfinity: true }), fc.constant(-0));

const leaf = fc.constantFrom<Sample>(
  { schema: Type.String(), value: text },
  { schema: Type.Number(), value: number },
  { schema: Type.Integer(), value: fc.integer() },
  { schema: Type.Boolean(), value: fc.boolean() },
  { schema: Type.Null(), value: fc.constant(null) },
  { schema: Type.Literal('a"b'), value: fc.constant('a"b') },
  { schema: Type.Union([Type.Literal('x'), Type.Literal('ł')]), value: fc.constantFrom('x', 'ł') },
  { schema: Type.Union([Type.Literal(1), Type.Literal('1')]), value: fc.constantFrom(1, '1') },
  { schema: Type.Union([Type.String(), Type.Null()]), value: fc.option(text) },
  { schema: Type.Record(Type.String(), Type.Number()), value: fc.constantFrom({}, { b: 1, a: 2 }) },
  { schema: Type.Unknown(), value: fc.jsonValue() },
  { schema: Type.Unknown(), value: fc.constantFrom(new Date(0), () => 1, { toJSON: (key: string) => `of ${key}` }) },
);
const key = fc.oneof(fc.constantFrom('a', 'b', 'a b', '"', 'ł', 'constructor', 'toJSON', 'length'), fc.string());

const { sample } = fc.letrec<{ sample: Sample; object: Sample; list: Sample }>((tie) => ({
  sample: fc.oneof({ depthSize: 'small', withCrossShrink: true }, leaf, tie('object'), tie('list')),
  list: tie('sample').map(({ schema, value }) => ({
    schema: Type.Array(schema),
    value: fc.array(value, { maxLength: 4 }),
  })),
  object: fc
    .uniqueArray(fc.tuple(key, tie('sample'), fc.boolean()), { maxLength: 5, selector: ([name]) => name })
    .map((members) => members.filter(([name]) => name !== '__proto__'))
    .map((members) => ({
      schema: Type.Object(
        Object.fromEntries(members.map(([name, { schema }, must]) => [name, must ? schema : Type.Optional(schema)])),
      ),
      value: fc
        .tuple(...members.map(([, { value }, must]) => (must ? value : fc.option(value, { nil: undefined }))))
        .map((values) => Object.fromEntries(members.map(([name], i) => [name, values[i]]))),
    })),
}));

describe('codec.json: writing by a schema', () => {
  it('gives what JSON.stringify gives, with the keys in the order of the schema', () => {
    let written = 0;
    fc.assert(
      fc.property(
        sample.chain(({ schema, value }) => fc.tuple(fc.constant(schema), value)),
        ([schema, value]) => {
          const clean = compileOutput(schema, 's');
          let given: unknown;
          try {
            given = clean(value);
          } catch {
            return;
          }
          const write = compileWriter(schema);
          if (given !== value || given === undefined || write === null) return;
          written++;
          expect(write(value)).to.equal(JSON.stringify(value));
        },
      ),
      { numRuns: 150 },
    );
    expect(written).to.be.greaterThan(20);
  });

  it('writes keys in the order of the schema, whatever the order of the value is', () => {
    const write = compileWriter(Type.Object({ a: Type.Integer(), b: Type.Optional(Type.String()), c: Type.Null() }));
    expect(write?.({ c: null, b: 'x', a: 1 })).to.equal('{"a":1,"b":"x","c":null}');
    expect(write?.({ c: null, b: undefined, a: 1 })).to.equal('{"a":1,"c":null}');
  });

  it('leaves objects and lists with a prototype of their own to JSON.stringify', () => {
    class Money {
      amount = 1;
      toJSON() {
        return { amount: `${this.amount} EUR` };
      }
    }
    class Model {
      own = 1;
      get derived() {
        return 2;
      }
    }
    const money = Type.Object({ amount: Type.Integer() });
    const model = Type.Object({ own: Type.Integer(), derived: Type.Integer() });
    const [of, ofModel] = [Type.Object({ list: Type.Array(money) }), Type.Object({ model })].map(compileWriter);
    expect(of?.({ list: [{ amount: 1 }, new Money()] })).to.equal('{"list":[{"amount":1},{"amount":"1 EUR"}]}');
    expect(of?.({ list: [{ amount: 2 }] })).to.equal('{"list":[{"amount":2}]}');
    expect(ofModel?.({ model: new Model() })).to.equal('{"model":{"own":1}}');
    const bare = Object.assign(Object.create(null), { list: [] });
    expect(of?.(bare)).to.equal('{"list":[]}');
  });

  it('has nothing to gain where a schema says nothing of what is written', () => {
    for (const schema of [Type.Unknown(), Type.Record(Type.String(), Type.String()), Type.Array(Type.Unknown())]) {
      expect(compileWriter(schema)).to.equal(null);
    }
  });
});
