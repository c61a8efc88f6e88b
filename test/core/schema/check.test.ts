import { expect } from 'chai';
import fc from 'fast-check';
import { type TSchema, Type } from 'typebox';
import type { GantryError, Problem } from '../../../core/errors.ts';
import { compileCheck, compileConfig, compileOutput, hasDefaults } from '../../../core/schema/check.ts';
import { SecretText } from '../../../core/schema/secret.ts';

function first(schema: TSchema, value: unknown): Problem {
  const problems = compileCheck(schema, 'service')(value);
  expect(problems).to.have.length(1);
  return problems[0] as Problem;
}

function thrown(work: () => unknown): GantryError {
  try {
    work();
  } catch (error) {
    return error as GantryError;
  }
  return expect.fail('nothing was thrown');
}

const Order = Type.Object({
  customer: Type.Object({
    orders: Type.Array(Type.Object({ sku: Type.String({ minLength: 3 }), count: Type.Integer({ minimum: 1 }) })),
  }),
});

describe('checking the input of a call', () => {
  it('what fits has no problem', () => {
    const check = compileCheck(Order, 'service');
    expect(check({ customer: { orders: [{ sku: 'abc', count: 1 }] } })).to.deep.equal([]);
  });
  it('what is missing is named by its own path', () => {
    expect(first(Type.Object({ name: Type.String() }), {})).to.deep.equal({
      path: '/name',
      message: 'is required',
      got: 'nothing',
    });
  });
  it('a list within an object within a list has its path', () => {
    const orders = [
      { sku: 'abc', count: 1 },
      { sku: 'abc', count: 2 },
      { sku: 'x', count: 3 },
    ];
    const problem = first(Order, { customer: { orders } });
    expect(problem.path).to.equal('/customer/orders/2/sku');
    expect(problem.got).to.equal('"x"');
    expect(problem.expected).to.match(/3 characters/);
    const missing = first(Order, { customer: { orders: [{ sku: 'abc' }] } });
    expect(missing.path).to.equal('/customer/orders/0/count');
  });
  it('a path is a JSON pointer, whatever the name is (RFC 6901)', () => {
    expect(first(Type.Object({ 'a/b~c': Type.Integer() }), { 'a/b~c': 'x' }).path).to.equal('/a~1b~0c');
    expect(first(Type.Object({ 'a/b~c': Type.Integer() }), {}).path).to.equal('/a~1b~0c');
  });

  const types: [string, TSchema, unknown, Partial<Problem>][] = [
    ['an integer', Type.Integer(), 'x', { message: 'must be an integer', expected: 'an integer', got: '"x"' }],
    ['a string', Type.String(), 5, { message: 'must be a string', expected: 'a string', got: '5' }],
    ['a boolean', Type.Boolean(), null, { message: 'must be a boolean', expected: 'a boolean', got: 'null' }],
    ['a list', Type.Array(Type.Any()), {}, { message: 'must be an array', expected: 'an array', got: 'an object' }],
    ['an object', Type.Object({}), [1, 2], { message: 'must be an object', expected: 'an object', got: 'a list of 2' }],
    ['nothing', Type.Null(), true, { message: 'must be null', expected: 'null', got: 'true' }],
    ['a constant', Type.Literal('a'), 'b', { message: 'must be "a"', expected: '"a"', got: '"b"' }],
    ['a format', Type.String({ format: 'date' }), 'soon', { message: 'must match format "date"', got: '"soon"' }],
    ['a short text', Type.String({ minLength: 8 }), 'x', { message: 'must have at least 8 characters' }],
    ['a text that is too long', Type.String({ maxLength: 1 }), 'xy', { expected: 'at most 1 character' }],
    ['a short list', Type.Array(Type.Any(), { minItems: 2 }), [], { expected: 'at least 2 items' }],
    ['too many keys', Type.Object({}, { maxProperties: 1 }), { a: 1, b: 2 }, { expected: 'at most 1 key' }],
    ['too little', Type.Integer({ minimum: 2 }), 1, { message: 'must be 2 or more', expected: '2 or more' }],
    ['too much', Type.Integer({ maximum: 2 }), 3, { message: 'must be 2 or less', expected: '2 or less' }],
    ['a pattern', Type.String({ pattern: '^/' }), 'x', { message: 'must match ^/', expected: 'text that matches ^/' }],
    ['a long text', Type.Integer(), 'x'.repeat(1000), { got: 'a string of 1000' }],
    ['no value', Type.Integer(), undefined, { got: 'undefined' }],
  ];
  for (const [what, schema, value, expected] of types) {
    it(`tells what was expected and what came: ${what}`, () => {
      expect(first(schema, value)).to.include({ path: '', ...expected });
    });
  }

  for (const [what, schema] of [
    ['an enum', Type.Enum(['red', 'green'])],
    ['a union of constants', Type.Union([Type.Literal('red'), Type.Literal('green')])],
  ] as const) {
    it(`${what}: tells the choice and the nearest`, () => {
      expect(first(Type.Object({ color: schema }), { color: 'gren' })).to.deep.equal({
        path: '/color',
        message: 'must be one of red, green',
        expected: 'one of red, green',
        got: '"gren"',
        hint: "Did you mean 'green'?",
      });
      expect(first(Type.Object({ color: schema }), { color: 'magenta' })).to.not.have.property('hint');
    });
    it(`${what}: survives whatever a caller sends instead`, () => {
      const strange = [
        { toString: 1 },
        Object.create(null),
        { toString: null, valueOf: null },
        ['red', Object.create(null)],
        Symbol('x'),
        10n,
        Number.NaN,
      ];
      for (const color of strange) expect(first(Type.Object({ color: schema }), { color }).path).to.equal('/color');
      let deep: unknown = [];
      for (let i = 0; i < 20_000; i++) deep = [deep];
      expect(first(Type.Object({ color: schema }), { color: deep }).got).to.equal('a list of 1');
    });
  }
  it('a union of forms has one line, not one for each form', () => {
    const schema = Type.Union([Type.Object({ a: Type.Integer() }), Type.Object({ b: Type.Integer() })]);
    const problem = first(Type.Object({ x: schema }), { x: { a: 'x' } });
    expect(problem).to.include({ path: '/x', message: 'fits none of the forms that are allowed here' });
  });
  it('of a union the forms are told, and where it is seen which form is meant, what is wrong with that one', () => {
    const schema = Type.Object({
      auth: Type.Union([
        Type.Object({ kind: Type.Literal('none') }, { additionalProperties: false }),
        Type.Object(
          { kind: Type.Literal('basic'), user: Type.String(), realm: Type.Optional(Type.String()) },
          { additionalProperties: false },
        ),
      ]),
    });
    const told = (auth: unknown) => {
      return compileConfig(schema)({ auth }, 'c').map(({ path, message, expected }) => ({ path, message, expected }));
    };
    expect(told({ kind: 'basic', usr: 'x' })).to.deep.equal([
      { path: 'c.auth.user', message: 'is required', expected: undefined },
      { path: 'c.auth.usr', message: 'is not known here', expected: 'one of kind, user, realm' },
    ]);
    for (const auth of [{ kind: 'basik', user: 'x' }, 'basic', {}]) {
      expect(told(auth)).to.deep.equal([
        {
          path: 'c.auth',
          message: 'fits none of the forms that are allowed here',
          expected: '{ kind: "none" } or { kind: "basic", user, realm? }',
        },
      ]);
    }
  });
  it('an unknown key is told with the nearest known one', () => {
    const closed = Type.Object(
      { name: Type.String(), age: Type.Optional(Type.Integer()) },
      { additionalProperties: false },
    );
    expect(first(closed, { name: 'x', aeg: 1 })).to.deep.equal({
      path: '/aeg',
      message: 'is not known here',
      expected: 'one of name, age',
      got: 'aeg',
      hint: "Did you mean 'age'?",
    });
    expect(first(closed, { name: 'x', unrelated: 1 }).hint).to.equal('Known: name, age.');
  });
  it('tells the first problem only: a caller cannot make the answer long', () => {
    const schema = Type.Array(Type.Integer());
    expect(compileCheck(schema, 's')(Array(1000).fill('x'))).to.have.length(1);
  });
  it('fills in defaults, whatever they are', () => {
    const schema = Type.Object({
      a: Type.Integer({ default: 5 }),
      b: Type.Array(Type.Integer(), { default: [] }),
      c: Type.Object({ d: Type.Integer({ default: 1 }) }, { default: {} }),
      e: Type.Union([Type.Null(), Type.Integer()], { default: null }),
    });
    const value = {};
    expect(compileCheck(schema, 's')(value)).to.deep.equal([]);
    expect(value).to.deep.equal({ a: 5, b: [], c: { d: 1 }, e: null });
    const other = {} as { b: number[] };
    compileCheck(schema, 's')(other);
    other.b.push(1);
    const third = {} as { b: number[] };
    compileCheck(schema, 's')(third);
    expect(third.b).to.deep.equal([]);
  });
  it('knows whether it may write: a default of any kind, and no property that is only called so', () => {
    for (const value of [5, '', false, null, [], {}])
      expect(
        hasDefaults(Type.Object({ a: Type.Object({ b: Type.Unsafe({ default: value }) }) })),
        String(value),
      ).to.equal(true);
    expect(hasDefaults(Type.Object({ default: Type.Object({ a: Type.Integer() }) }))).to.equal(false);
    expect(hasDefaults(Type.Object({ a: Type.Unsafe({ const: { default: 1 } }) }))).to.equal(false);
    expect(hasDefaults(Type.Object({ enum: Type.Integer({ default: 1 }) }))).to.equal(true);
  });

  const broken: [string, TSchema][] = [
    ['an unknown keyword', Type.Unsafe({ type: 'string', minLenght: 5 })],
    ['an unknown format', Type.String({ format: 'telephone' })],
    ['an unknown type', Type.Unsafe({ type: 'text' })],
    ['a pattern that is none', Type.Unsafe({ type: 'string', pattern: '(' })],
    ['a reference to nothing', Type.Unsafe({ $ref: '#/$defs/Nothing' })],
    ['a keyword with a wrong value', Type.Unsafe({ type: 'string', minLength: 'five' })],
  ];
  for (const [what, schema] of broken) {
    it(`${what} is refused when the service is deployed`, () => {
      for (const compile of [compileCheck, compileOutput]) {
        const error = thrown(() => compile(Type.Object({ a: schema }), "service 'x'"));
        expect(error.code).to.equal('SERVICE_INVALID');
        expect(error.message).to.include("service 'x'");
        expect(error.hint).to.be.a('string');
      }
    });
  }
  it('a schema with an id can be compiled again: the service is deployed again', () => {
    const of = (minimum: number) => Type.Object({ id: Type.Integer({ $id: 'Inner', minimum }) }, { $id: 'Order' });
    for (let i = 1; i <= 3; i++) {
      expect(compileCheck(of(i), 's')({ id: i })).to.deep.equal([]);
      expect(compileCheck(of(i), 's')({ id: i - 1 })).to.have.length(1);
      expect(compileOutput(of(i), 's')({ id: i, more: 1 })).to.deep.equal({ id: i });
    }
  });
});

describe('checking what operators write', () => {
  const schema = Type.Object(
    {
      port: Type.Integer({ minimum: 1, maximum: 65535 }),
      tls: Type.Optional(Type.Object({ cert: Type.String() }, { additionalProperties: false })),
      password: Type.Optional(SecretText({ minLength: 8 })),
      tokens: Type.Optional(Type.Array(SecretText({ minLength: 8 }))),
      either: Type.Optional(Type.Union([SecretText({ minLength: 8 }), Type.Integer()])),
    },
    { additionalProperties: false },
  );
  const check = compileConfig(schema);

  it('lists every problem, each with its dotted path', () => {
    const problems = check({ prot: 1, port: 99_999, tls: { crt: 'x' } }, 'plugins.http.koa');
    expect(problems.map((p) => [p.path, p.message])).to.have.deep.members([
      ['plugins.http.koa.port', 'must be 65535 or less'],
      ['plugins.http.koa.tls.cert', 'is required'],
      ['plugins.http.koa.tls.crt', 'is not known here'],
      ['plugins.http.koa.prot', 'is not known here'],
    ]);
    expect(problems.find((p) => p.path.endsWith('prot'))?.hint).to.equal("Did you mean 'port'?");
  });
  it('a key with a slash or a dot stands as it is written', () => {
    const open = compileConfig(Type.Record(Type.String(), Type.Integer()));
    expect(open({ 'a/b.c~d': 'x' }, 'levels')[0]?.path).to.equal('levels["a/b.c~d"]');
  });
  it('never shows a secret, nor what might be one', () => {
    const leaky = [
      { port: 1, password: 'hunter2' },
      { port: 1, password: 12345678 },
      { port: 1, password: ['hunter2'] },
      { port: 1, tokens: ['hunter2', 'hunter3'] },
      { port: 1, either: 'hunter2' },
    ];
    for (const value of leaky) {
      const problems = check(value, 'plugins.x');
      expect(problems.length, JSON.stringify(value)).to.be.greaterThan(0);
      expect(JSON.stringify(problems)).to.not.match(/hunter|1234/);
    }
    expect(check({ port: 1, password: 'hunter2' }, 'p')[0]).to.include({ path: 'p.password', got: 'a secret' });
  });
  it('a schema that is not valid is told as such', () => {
    const error = thrown(() => compileConfig(Type.Unsafe({ type: 'text' })));
    expect(error.code).to.equal('PLUGIN_MALFORMED');
  });
});

describe('the output of a service', () => {
  const Person = Type.Object({
    name: Type.String(),
    address: Type.Object({ city: Type.String() }),
    tags: Type.Array(Type.Object({ key: Type.String() })),
  });

  it('what fits is given on as it is, not copied', () => {
    const value = { name: 'a', address: { city: 'b' }, tags: [{ key: 'c' }] };
    expect(compileOutput(Person, 's')(value)).to.equal(value);
  });
  it('what the schema does not name is not sent, however deep it is', () => {
    const value = {
      name: 'a',
      password: 'x',
      address: { city: 'b', secret: 'x' },
      tags: [{ key: 'c', secret: 'x' }, { key: 'd' }],
    };
    const before = structuredClone(value);
    expect(compileOutput(Person, 's')(value)).to.deep.equal({
      name: 'a',
      address: { city: 'b' },
      tags: [{ key: 'c' }, { key: 'd' }],
    });
    expect(value).to.deep.equal(before);
  });
  it('a frozen object is stripped as well', () => {
    const value = Object.freeze({ a: Object.freeze({ b: 1, secret: 2 }), secret: 3 });
    expect(compileOutput(Type.Object({ a: Type.Object({ b: Type.Integer() }) }), 's')(value)).to.deep.equal({
      a: { b: 1 },
    });
  });
  it('defaults go into a copy, for a frozen object too', () => {
    const schema = Type.Object({
      a: Type.Integer({ default: 1 }),
      list: Type.Array(Type.Integer(), { default: [] }),
      none: Type.Union([Type.Null(), Type.String()], { default: null }),
    });
    for (const value of [{}, Object.freeze({})]) {
      expect(compileOutput(schema, 's')(value)).to.deep.equal({ a: 1, list: [], none: null });
      expect(value).to.deep.equal({});
    }
    const onlyList = Type.Object({ list: Type.Array(Type.Integer(), { default: [] }) });
    const frozen = Object.freeze({});
    expect(compileOutput(onlyList, 's')(frozen)).to.deep.equal({ list: [] });
    expect(frozen).to.deep.equal({});
  });
  it('an instance of a class keeps what is its own', () => {
    class Model {
      readonly store: { rows: unknown[] };
      constructor() {
        this.store = { rows: [1] };
      }
      get name(): string {
        return 'a';
      }
    }
    const model = new Model();
    expect(compileOutput(Type.Object({ name: Type.String() }), 's')(model)).to.deep.equal({ name: 'a' });
    expect(model.store).to.deep.equal({ rows: [1] });
    const outer = { inner: model };
    const schema = Type.Object({ inner: Type.Object({ name: Type.String() }) });
    expect(compileOutput(schema, 's')(outer)).to.deep.equal({ inner: { name: 'a' } });
    expect(model).to.have.property('store');
  });
  it('an object that holds itself is stripped of that', () => {
    const value: Record<string, unknown> = { name: 'a' };
    value['self'] = value;
    value['list'] = [value];
    expect(compileOutput(Type.Object({ name: Type.String() }), 's')(value)).to.deep.equal({ name: 'a' });
    expect(value['self']).to.equal(value);
  });
  it('a circle where the schema has no end is refused', () => {
    const Tree = Type.Cyclic({ Node: Type.Object({ kids: Type.Array(Type.Ref('Node')) }) }, 'Node');
    const value: { kids: unknown[] } = { kids: [] };
    value.kids.push(value);
    expect(thrown(() => compileOutput(Tree, 's')(value)).code).to.equal('OUTPUT_INVALID');
  });
  it('a schema that refers to itself is followed', () => {
    const Tree = Type.Cyclic({ Node: Type.Object({ v: Type.Integer(), kids: Type.Array(Type.Ref('Node')) }) }, 'Node');
    const value = { v: 1, x: 1, kids: [{ v: 2, x: 2, kids: [{ v: 3, kids: [], x: 3 }] }] };
    expect(compileOutput(Tree, 's')(value)).to.deep.equal({ v: 1, kids: [{ v: 2, kids: [{ v: 3, kids: [] }] }] });
  });
  it('a property that is called like a keyword is like any other', () => {
    for (const name of ['default', 'const', 'enum', 'examples', 'properties', 'type', 'items', 'not', 'constructor']) {
      const schema = Type.Object({ [name]: Type.Object({ a: Type.Integer() }) });
      expect(compileOutput(schema, 's')({ [name]: { a: 1, secret: 2 } }), name).to.deep.equal({ [name]: { a: 1 } });
    }
  });

  it('unions: each form keeps its own', () => {
    const schema = Type.Union([
      Type.Object({ kind: Type.Literal('x'), a: Type.Object({ b: Type.Integer() }) }),
      Type.Object({ kind: Type.Literal('y'), c: Type.Integer() }),
      Type.Null(),
      Type.String(),
    ]);
    const output = compileOutput(schema, 's');
    expect(output({ kind: 'x', a: { b: 1, s: 1 }, c: 1 })).to.deep.equal({ kind: 'x', a: { b: 1 } });
    expect(output({ kind: 'y', a: 1, c: 2 })).to.deep.equal({ kind: 'y', c: 2 });
    expect(output(null)).to.equal(null);
    expect(output('text')).to.equal('text');
    expect(thrown(() => output({ kind: 'z' })).code).to.equal('OUTPUT_INVALID');
  });
  it('unions: of forms that overlap, the one that keeps the most', () => {
    const summary = Type.Object({ id: Type.Integer() });
    const detail = Type.Object({ id: Type.Integer(), lines: Type.Array(Type.Object({ sku: Type.String() })) });
    const output = compileOutput(Type.Union([summary, detail]), 's');
    const lines = [{ sku: 'a' }];
    expect(output({ id: 1, lines })).to.deep.equal({ id: 1, lines });
    expect(output({ id: 1, lines, secret: 1 })).to.deep.equal({ id: 1, lines });
    expect(output({ id: 1, lines: [{ sku: 'a', secret: 1 }] })).to.deep.equal({ id: 1, lines });
    expect(output({ id: 1, secret: 1 })).to.deep.equal({ id: 1 });
  });
  it('intersections: what any part names is kept', () => {
    const schema = Type.Intersect([
      Type.Object({ a: Type.Integer(), deep: Type.Object({ x: Type.Integer() }) }),
      Type.Object({ b: Type.Integer(), deep: Type.Object({ y: Type.Integer() }) }),
    ]);
    const output = compileOutput(schema, 's');
    expect(output({ a: 1, b: 2, secret: 3, deep: { x: 1, y: 2, secret: 3 } })).to.deep.equal({
      a: 1,
      b: 2,
      deep: { x: 1, y: 2 },
    });
    expect(thrown(() => output({ a: 1, deep: { x: 1, y: 2 } })).code).to.equal('OUTPUT_INVALID');
  });
  it('maps: every name is kept, and what it holds is stripped', () => {
    const output = compileOutput(
      Type.Object({ by: Type.Record(Type.String(), Type.Object({ a: Type.Integer() })) }),
      's',
    );
    expect(output({ by: { one: { a: 1, secret: 2 }, two: { a: 2 } }, secret: 1 })).to.deep.equal({
      by: { one: { a: 1 }, two: { a: 2 } },
    });
    const some = compileOutput(Type.Record(Type.String({ pattern: '^x_' }), Type.Integer()), 's');
    expect(some({ x_a: 1, x_b: 2 })).to.deep.equal({ x_a: 1, x_b: 2 });
  });
  it('tuples: each place is stripped by its own', () => {
    const output = compileOutput(Type.Tuple([Type.Object({ a: Type.Integer() }), Type.String()]), 's');
    expect(output([{ a: 1, secret: 2 }, 'x'])).to.deep.equal([{ a: 1 }, 'x']);
  });
  it('what the schema leaves open is given on as it is', () => {
    const open = { any: { thing: 1 } };
    expect(compileOutput(Type.Object({ open: Type.Unknown() }), 's')({ open, secret: 1 })).to.deep.equal({ open });
    const object = Type.Object({ a: Type.Integer() }, { additionalProperties: true });
    expect(compileOutput(object, 's')({ a: 1, b: 2 })).to.deep.equal({ a: 1, b: 2 });
    const typed = Type.Object({ a: Type.Integer() }, { additionalProperties: Type.Object({ c: Type.Integer() }) });
    expect(compileOutput(typed, 's')({ a: 1, b: { c: 1, secret: 2 } })).to.deep.equal({ a: 1, b: { c: 1 } });
  });

  it('what does not fit is told to the operator, not to the caller', () => {
    const error = thrown(() => compileOutput(Person, "service 'x'")({ name: 'a', address: { city: 5 }, tags: [] }));
    expect([error.code, error.kind]).to.deep.equal(['OUTPUT_INVALID', 'bug']);
    expect(error.message).to.equal("service 'x' gave an output that is not what it declares");
    expect(error.problems).to.equal(undefined);
    expect(error.hint).to.include('/address/city must be a string');
    expect((error.cause as Problem[])[0]).to.include({ path: '/address/city', got: '5' });
  });
  it('a getter that throws makes the output invalid', () => {
    const value = {
      get name(): string {
        throw new Error('lost');
      },
      extra: 1,
    };
    expect(thrown(() => compileOutput(Type.Object({ name: Type.String() }), 's')(value)).code).to.equal(
      'OUTPUT_INVALID',
    );
  });

  it('names only what is declared, and never changes what it was given', () => {
    const keys = fc.constantFrom('a', 'b', 'c', 'secret', 'constructor', 'default');
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { maxDepth: 4 },
        fc.integer(),
        fc.array(tie('value'), { maxLength: 3 }),
        fc.dictionary(keys, tie('value')),
      ),
    }));
    const Part = Type.Object({
      a: Type.Optional(Type.Unknown()),
      b: Type.Optional(Type.Array(Type.Object({ c: Type.Optional(Type.Integer()) }))),
    });
    const schema = Type.Object({
      a: Type.Optional(Part),
      b: Type.Optional(Type.Record(Type.String(), Part)),
      default: Type.Optional(Part),
    });
    const output = compileOutput(schema, 's');
    fc.assert(
      fc.property(fc.dictionary(keys, value as fc.Arbitrary<unknown>), (given) => {
        const before = structuredClone(given);
        let made: object | null = null;
        try {
          made = output(given) as object;
        } catch (error) {
          expect((error as GantryError).code).to.equal('OUTPUT_INVALID');
        }
        expect(given).to.deep.equal(before);
        if (made === null) return;
        expect(['a', 'b', 'default']).to.include.members(Object.keys(made));
        for (const name of ['a', 'default']) {
          const part = (made as Record<string, object | undefined>)[name];
          if (part !== undefined) expect(['a', 'b']).to.include.members(Object.keys(part));
        }
      }),
      { numRuns: 500 },
    );
  });
});
