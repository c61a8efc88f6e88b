import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import fc from 'fast-check';
import { type TSchema, Type } from 'typebox';
import { GantryError } from '../../../core/errors.ts';
import { placesOf, Secret, SecretText, wrapSecrets } from '../../../core/schema/secret.ts';
import { Keyring } from '../../../core/secrets/keyring.ts';
import { HIDDEN, hide, merge, open, reseal, same, seal } from '../../../core/secrets/sealing.ts';

const CONTEXT = 'connection/crm';
const SECRET = 'swordfish-1';
const text = () => randomBytes(32).toString('base64');
const configured = (...keys: string[]) => new Keyring({ keys: new Secret(keys.join()), file: '/nowhere/keys' });
const keys = configured(text());

function refusal(work: () => unknown): GantryError {
  try {
    work();
  } catch (error) {
    expect(error).to.be.instanceOf(GantryError);
    return error as GantryError;
  }
  return expect.fail('nothing was thrown');
}

/** The value in the clear; every problem fails. */
function opened(value: unknown, ring = keys, context = CONTEXT): unknown {
  const result = open(value, ring, context);
  expect(result.problems).to.deep.equal([]);
  return result.value;
}

/** Where secrets are found below a value, as JSON pointers, by what sealing makes of it. */
function sealedPlaces(value: unknown, at = ''): string[] {
  if (typeof value !== 'object' || value === null) return [];
  if ('$sealed' in value) return [at];
  return Object.entries(value).flatMap(([key, entry]) => sealedPlaces(entry, `${at}/${key}`));
}

function deep(levels: number, end: unknown = 1): unknown {
  let value = end;
  for (let i = 0; i < levels; i++) value = i % 2 === 0 ? [value] : { a: value };
  return value;
}

const Node = Type.Cyclic(
  { Node: Type.Object({ name: Type.String(), key: SecretText(), kids: Type.Array(Type.Ref('Node')) }) },
  'Node',
);

describe('where a schema has secrets', () => {
  const forms: [string, TSchema, unknown, string[]][] = [
    ['a field', Type.Object({ a: SecretText(), b: Type.String() }), { a: SECRET, b: 'x' }, ['/a']],
    ['an optional field', Type.Object({ a: Type.Optional(SecretText()) }), { a: SECRET }, ['/a']],
    ['the value itself', SecretText(), SECRET, ['']],
    ['items', Type.Array(SecretText()), [SECRET, SECRET], ['/0', '/1']],
    [
      'a tuple',
      Type.Tuple([Type.String(), SecretText(), Type.Object({ a: SecretText() })]),
      ['x', SECRET, { a: SECRET }],
      ['/1', '/2/a'],
    ],
    [
      'what follows a tuple',
      Type.Unsafe({ type: 'array', items: [{ type: 'string' }], additionalItems: SecretText() }),
      ['x', SECRET, SECRET],
      ['/1', '/2'],
    ],
    ['a record', Type.Record(Type.String(), SecretText()), { x: SECRET, 'a/b': SECRET }, ['/x', '/a/b']],
    [
      'a pattern of keys',
      Type.Unsafe({
        type: 'object',
        patternProperties: { '^s_': SecretText() },
        additionalProperties: { type: 'string' },
      }),
      { s_a: SECRET, t_a: 'x' },
      ['/s_a'],
    ],
    [
      'further keys',
      Type.Object({ known: Type.String() }, { additionalProperties: SecretText() }),
      { known: 'x', other: SECRET },
      ['/other'],
    ],
    ['a union with nothing', Type.Union([SecretText(), Type.Null()]), SECRET, ['']],
    [
      'a branch of a union',
      Type.Union([Type.Object({ user: Type.String() }), Type.Object({ token: SecretText() })]),
      { token: SECRET },
      ['/token'],
    ],
    [
      'one of',
      Type.Unsafe({ oneOf: [{ type: 'object', properties: { k: SecretText() } }, { type: 'null' }] }),
      { k: SECRET },
      ['/k'],
    ],
    [
      'an intersection',
      Type.Intersect([Type.Object({ a: SecretText() }), Type.Object({ b: SecretText(), c: Type.String() })]),
      { a: SECRET, b: SECRET, c: 'x' },
      ['/a', '/b'],
    ],
    [
      'a union beside properties',
      Type.Unsafe({ type: 'object', properties: { a: SecretText() }, anyOf: [{ properties: { b: SecretText() } }] }),
      { a: SECRET, b: SECRET },
      ['/a', '/b'],
    ],
    [
      'a condition',
      Type.Unsafe(
        JSON.parse(
          '{"type":"object","if":{},"then":{"properties":{"a":{"secret":true}}},"else":{"properties":{"b":{"secret":true}}}}',
        ),
      ),
      { a: SECRET, b: SECRET },
      ['/a', '/b'],
    ],
    [
      'recursion',
      Node,
      { name: 'x', key: SECRET, kids: [{ name: 'y', key: SECRET, kids: [] }] },
      ['/key', '/kids/0/key'],
    ],
    [
      'recursion below a field',
      Type.Object({ tree: Node }),
      { tree: { name: 'x', key: SECRET, kids: [{ name: 'y', key: SECRET, kids: [] }] } },
      ['/tree/key', '/tree/kids/0/key'],
    ],
    [
      'a reference to definitions',
      Type.Unsafe({ $ref: '#/definitions/K', definitions: { K: { type: 'object', properties: { k: SecretText() } } } }),
      { k: SECRET },
      ['/k'],
    ],
    [
      'a reference to the root, and to a place',
      Type.Unsafe({
        type: 'object',
        properties: { 'a/b': SecretText(), more: { $ref: '#' }, also: { $ref: '#/properties/a~1b' } },
      }),
      { more: { 'a/b': SECRET }, also: SECRET },
      ['/more/a/b', '/also'],
    ],
    [
      'a reference by id',
      Type.Unsafe({ type: 'object', properties: { a: { ...SecretText(), $id: 'Key' }, b: { $ref: 'Key' } } }),
      { a: SECRET, b: SECRET },
      ['/a', '/b'],
    ],
    [
      'a reference that goes in a circle',
      Type.Unsafe({ $ref: 'A', $defs: { A: { anyOf: [{ $ref: 'A' }, SecretText()] } } }),
      SECRET,
      [''],
    ],
    ['keys that objects inherit', Type.Object({ a: SecretText() }), { constructor: 'x', toString: 'x' }, []],
    ['what the schema does not name', Type.Object({ a: SecretText() }), { b: { a: 'x' }, c: ['x'] }, []],
    ['other types than text', Type.Object({ a: SecretText() }), { a: 5 }, []],
  ];
  for (const [what, schema, value, places] of forms) {
    it(`${what}: sealed, opened, hidden, and wrapped for plugins`, () => {
      const before = structuredClone(value);
      const sealed = seal(placesOf(schema), value, keys, CONTEXT);
      expect(sealedPlaces(sealed)).to.have.members(places);
      expect(JSON.stringify(sealed)).to.not.include(SECRET);
      expect(opened(sealed)).to.deep.equal(value);
      expect(JSON.stringify(hide(value, placesOf(schema)))).to.not.include(SECRET);
      expect(hide(sealed)).to.deep.equal(JSON.parse(JSON.stringify(value).replaceAll(SECRET, HIDDEN)));
      expect(JSON.stringify(wrapSecrets(schema, value))).to.not.include(SECRET);
      expect(value).to.deep.equal(before);
    });
  }
  it('a key named __proto__ is one like any other', () => {
    const value = JSON.parse(`{"__proto__":{"a":"${SECRET}"},"a":"${SECRET}"}`) as object;
    const Rec = placesOf(Type.Record(Type.String(), Type.Object({ a: SecretText() })));
    const sealed = seal(Rec, value, keys, CONTEXT);
    expect(JSON.stringify(sealed)).to.match(/"__proto__":\{"a":\{"\$sealed"/);
    expect(JSON.stringify(opened(sealed))).to.equal(JSON.stringify(value));
    expect(({} as { a?: unknown }).a).to.equal(undefined);
  });
  it('parts of a value may have schemas of their own, which know more than that of the whole', () => {
    const Body = Type.Object({
      transport: Type.String(),
      options: Type.Record(Type.String(), Type.Unknown()),
      own: SecretText(),
    });
    const places = placesOf(Body, { options: Type.Object({ password: SecretText() }), absent: undefined });
    const value = { transport: 'rest', options: { password: SECRET, url: 'u' }, own: SECRET };
    expect(sealedPlaces(seal(places, value, keys, CONTEXT))).to.deep.equal(['/options/password', '/own']);
    const root = { type: 'object', properties: { key: SecretText(), more: { $ref: '#' } } };
    const sealed = seal(placesOf(Body, { options: root }), { options: { more: { key: SECRET } } }, keys, CONTEXT);
    expect(sealedPlaces(sealed), 'references are those of the part').to.deep.equal(['/options/more/key']);
  });
  it('a reference that leads nowhere is an error, not a secret that stays in the clear', () => {
    const schema = { type: 'object', properties: { a: { $ref: 'Nothing' }, b: { $ref: '#/a/b' } } };
    for (const key of ['a', 'b']) {
      const error = refusal(() => seal(placesOf(schema), { [key]: SECRET }, keys, CONTEXT));
      expect(error.code).to.equal('PLUGIN_MALFORMED');
    }
  });
});

const Options = Type.Object({
  url: Type.String(),
  auth: Type.Optional(
    Type.Union([
      Type.Object({ username: Type.String(), password: SecretText() }),
      Type.Object({ header: Type.String(), key: SecretText() }),
    ]),
  ),
  users: Type.Array(Type.Object({ username: Type.String(), password: SecretText(), tokens: Type.Array(SecretText()) })),
  by: Type.Record(Type.String(), Type.Object({ name: Type.String(), key: SecretText() })),
  free: Type.Unknown(),
});
const places = placesOf(Options);

describe('sealing the secrets of a record', () => {
  /** Nothing else of a value may look like it by chance. */
  const secret = fc.oneof(
    fc.string({ minLength: 1 }).map((s) => `§§${s}§§`),
    fc.constantFrom('§§***§§', '§§{"$sealed":"gs1"}§§', '§§\ud800§§', '§§\u0000§§'),
  );
  const name = fc.oneof(fc.constantFrom('a', 'b', '', '***'), fc.string());
  const plain = fc
    .jsonValue({ maxDepth: 3 })
    .filter((value) => !JSON.stringify(value).includes('§§') && !JSON.stringify(value).includes('$sealed'));
  const definition = fc.record(
    {
      url: fc.oneof(name, fc.constant(HIDDEN)),
      auth: fc.oneof(fc.record({ username: name, password: secret }), fc.record({ header: name, key: secret })),
      users: fc.array(fc.record({ username: name, password: secret, tokens: fc.array(secret) }), { maxLength: 5 }),
      by: fc.dictionary(name, fc.record({ name, key: secret }), { maxKeys: 4 }),
      free: plain,
    },
    { requiredKeys: ['url', 'users'] },
  );

  it('open(seal(x)) is x', () => {
    fc.assert(
      fc.property(definition, (x) => {
        const before = structuredClone(x);
        expect(opened(seal(places, x, keys, CONTEXT))).to.deep.equal(x);
        expect(x).to.deep.equal(before);
      }),
    );
  });
  it('nothing of a secret is in what is sealed or hidden', () => {
    fc.assert(
      fc.property(definition, (x) => {
        const sealed = seal(places, x, keys, CONTEXT);
        for (const shown of [sealed, hide(sealed), hide(x, places)]) {
          expect(JSON.stringify(shown)).to.not.include('§§');
        }
        expect(hide(sealed)).to.deep.equal(hide(x, places));
      }),
    );
  });
  it('merge(hide(seal(x)), seal(x)) opens to x', () => {
    fc.assert(
      fc.property(definition, (x) => {
        const sealed = seal(places, x, keys, CONTEXT);
        const { value, problems } = merge(places, hide(sealed), sealed);
        expect(problems).to.deep.equal([]);
        expect(opened(value)).to.deep.equal(x);
        // Without the schema, too: the plugin may be gone.
        expect(opened(merge(placesOf({}), hide(sealed), sealed).value)).to.deep.equal(x);
      }),
    );
  });
  it('sealing twice changes nothing', () => {
    fc.assert(
      fc.property(definition, (x) => {
        const sealed = seal(places, x, keys, CONTEXT);
        expect(seal(places, sealed, keys, CONTEXT)).to.deep.equal(sealed);
      }),
    );
  });
  it('under another context, or changed in any character, it is a problem with its path, and the rest is opened', () => {
    const x = {
      url: 'u',
      users: [],
      auth: { username: 'n', password: SECRET },
      by: { 'a/b~': { name: '', key: SECRET } },
    };
    const sealed = seal(places, x, keys, CONTEXT) as typeof x;
    const moved = open(sealed, keys, 'connection/other');
    expect(moved.problems.map(({ path }) => path)).to.deep.equal(['/auth/password', '/by/a~1b~0/key']);
    expect(moved.value).to.deep.equal(sealed);
    for (const { message, hint } of moved.problems) {
      expect(message).to.equal('is a sealed secret that cannot be read');
      expect(hint).to.match(/moved here from another record/);
    }
    const whole = (sealed.auth.password as unknown as { $sealed: string }).$sealed;
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.string({ minLength: 1, maxLength: 1 }), (at, c) => {
        fc.pre(whole[at] !== c);
        const changed = { ...sealed, auth: { password: { $sealed: whole.slice(0, at) + c + whole.slice(at + 1) } } };
        const { value, problems } = open(changed, keys, CONTEXT);
        expect(problems.map(({ path }) => path)).to.deep.equal(['/auth/password']);
        expect((value as typeof x).by['a/b~'].key).to.equal(SECRET);
        expect(JSON.stringify(problems)).to.not.include(SECRET);
      }),
    );
  });
  it('what an operator writes by hand as sealed and is not, is a problem and never plain data', () => {
    for (const bad of ['', 'x', 'gs1.00000000.AAAA.AAAA', 5, null, {}, [], deep(100_000)]) {
      for (const literal of [{ $sealed: bad }, { $sealed: bad, more: 1 }]) {
        const { value, problems } = open({ a: literal }, keys, CONTEXT);
        expect(problems).to.have.length(1);
        expect(problems[0]).to.include({ path: '/a' });
        expect(problems[0]?.hint).to.be.a('string');
        expect((value as { a: unknown }).a).to.deep.include(typeof bad === 'object' ? {} : { $sealed: bad });
        expect(hide({ a: literal })).to.deep.equal({ a: HIDDEN });
        expect(reseal({ a: literal }, keys, CONTEXT)).to.include({ changed: false });
      }
    }
  });
  it('a secret in the clear that is no text is hidden, too', () => {
    expect(hide({ url: 'u', auth: { username: 'n', password: 12345 } }, places)).to.deep.equal({
      url: 'u',
      auth: { username: 'n', password: HIDDEN },
    });
    expect(hide({ auth: { password: null } }, places)).to.deep.equal({ auth: { password: null } });
  });
});

describe('merging what an operator gives with what there is', () => {
  const user = (username: string, password: unknown) => ({ username, password, tokens: [] });
  const merged = (given: unknown, earlier: unknown) => merge(places, given, earlier);
  const sealedOf = (value: unknown) => seal(places, value, keys, CONTEXT);

  it('a new secret takes the place of the earlier one, and a hidden one keeps it', () => {
    const earlier = sealedOf({ url: 'u', users: [user('a', 'one'), user('b', 'two')] });
    const { value, problems } = merged({ url: 'v', users: [user('a', 'new'), user('b', HIDDEN)] }, earlier);
    expect(problems).to.deep.equal([]);
    expect(opened(value)).to.deep.equal({ url: 'v', users: [user('a', 'new'), user('b', 'two')] });
  });
  it('items are matched by username, wherever they stand now', () => {
    const earlier = sealedOf({ users: [user('a', 'one'), user('b', 'two'), user('c', 'three')] });
    const given = { users: [user('c', HIDDEN), user('new', 'four'), user('a', HIDDEN)] };
    expect(opened(merged(given, earlier).value)).to.deep.equal({
      users: [user('c', 'three'), user('new', 'four'), user('a', 'one')],
    });
  });
  it('items are matched by name before username', () => {
    const List = placesOf(Type.Array(Type.Object({ key: SecretText() }, { additionalProperties: true })));
    const item = (itemName: string, username: string, key: string) => ({ name: itemName, username, key });
    const earlier = seal(List, [item('a', 'x', 'one'), item('b', 'x', 'two')], keys, CONTEXT);
    const { value } = merge(List, [item('b', 'y', HIDDEN), item('a', 'x', HIDDEN)], earlier);
    expect(opened(value)).to.deep.equal([item('b', 'y', 'two'), item('a', 'x', 'one')]);
  });
  it('a renamed item does not get the secret of who was at its place before', () => {
    const earlier = sealedOf({ users: [user('a', 'one')] });
    const { value, problems } = merged({ users: [user('mallory', HIDDEN)] }, earlier);
    expect(problems.map(({ path }) => path)).to.deep.equal(['/users/0/password']);
    expect(JSON.stringify(value)).to.not.include('gs1');
  });
  it('items without a name are matched by position; where one was removed nobody can tell whose secret it was', () => {
    const tokens = (...list: string[]) => ({ users: [{ username: 'a', password: HIDDEN, tokens: list }] });
    const earlier = sealedOf({ users: [{ username: 'a', password: 'p', tokens: ['one', 'two'] }] });
    const more = merged(tokens(HIDDEN, HIDDEN, 'three'), earlier);
    expect(opened(more.value)).to.deep.equal({
      users: [{ username: 'a', password: 'p', tokens: ['one', 'two', 'three'] }],
    });
    const fewer = merged(tokens(HIDDEN), earlier);
    expect(fewer.problems.map(({ path }) => path)).to.deep.equal(['/users/0/tokens/0']);
    expect(fewer.problems[0]?.hint).to.include('position');
  });
  it('a hidden secret without an earlier one is a problem; all are listed, with their paths', () => {
    const given = {
      url: 'u',
      auth: { username: 'n', password: HIDDEN },
      users: [user('a', 'x'), user('b', HIDDEN)],
      by: { 'x/y': { name: 'n', key: HIDDEN } },
    };
    const expected = ['/auth/password', '/users/1/password', '/by/x~1y/key'];
    const others = [
      undefined,
      null,
      {},
      { auth: null, users: {}, by: [] },
      { auth: { password: HIDDEN } },
      'text',
      deep(100_000),
    ];
    for (const earlier of others) {
      const { problems } = merged(given, earlier);
      expect(problems.map(({ path }) => path)).to.deep.equal(expected);
      for (const problem of problems) expect(problem).to.include.keys('message', 'hint', 'expected', 'got');
    }
  });
  it("in an ordinary field '***' is text, whatever was there", () => {
    const given = { url: HIDDEN, users: [], free: [HIDDEN, { a: HIDDEN }] };
    const earlier = sealedOf({ url: 'u', users: [], free: ['x', { a: 'y' }] });
    expect(merged(given, earlier)).to.deep.equal({ value: given, problems: [] });
    expect(merged(given, undefined)).to.deep.equal({ value: given, problems: [] });
  });
  it('what was sealed once is kept, although the schema no longer says so; what was not sealed yet is kept, too', () => {
    const earlier = {
      url: { $sealed: keys.seal('u', CONTEXT) },
      auth: { username: 'n', password: 'clear' },
      users: [],
    };
    const given = { url: HIDDEN, auth: { username: 'n', password: HIDDEN }, users: [] };
    expect(opened(merged(given, earlier).value)).to.deep.equal({
      url: 'u',
      auth: { username: 'n', password: 'clear' },
      users: [],
    });
  });
  it('neither value is changed, and nothing is shared with them', () => {
    const earlier = sealedOf({ users: [user('a', 'one')], free: { x: [] } }) as object;
    const given = { users: [user('a', HIDDEN)], free: { y: [] } };
    const before = structuredClone([earlier, given]);
    const value = merged(given, earlier).value as {
      users: { password: { $sealed: string } }[];
      free: { y: unknown[] };
    };
    for (const one of value.users) one.password.$sealed = 'x';
    value.free.y.push(1);
    expect([earlier, given]).to.deep.equal(before);
  });
});

describe('the same JSON', () => {
  const shuffled = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(shuffled);
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(
      Object.entries(value)
        .reverse()
        .map(([key, entry]) => [key, shuffled(entry)]),
    );
  };
  it('is the same in whatever order its keys are', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(same(value, shuffled(JSON.parse(JSON.stringify(value))))).to.equal(true);
      }),
    );
  });
  it('is another one when anything differs', () => {
    fc.assert(
      fc.property(fc.jsonValue({ noUnicodeString: false }), fc.jsonValue(), (one, other) => {
        const sorted = (value: unknown) =>
          JSON.stringify(value, (_, entry: unknown) =>
            typeof entry === 'object' && entry !== null && !Array.isArray(entry)
              ? Object.fromEntries(Object.entries(entry).sort(([a], [b]) => (a < b ? -1 : 1)))
              : entry,
          );
        expect(same(one, other)).to.equal(sorted(one) === sorted(other));
      }),
      { numRuns: 1000 },
    );
    const pairs: [unknown, unknown][] = [
      [{ a: 1 }, { a: 1, b: 2 }],
      [{ a: 1 }, { b: 1 }],
      [
        [1, 2],
        [2, 1],
      ],
      [[], {}],
      [{}, null],
      [{ 0: 1 }, [1]],
      ['1', 1],
      [{ toString: 1 }, {}],
      [null, undefined],
    ];
    for (const [one, other] of pairs) {
      expect(same(one, other), JSON.stringify([one, other])).to.equal(false);
      expect(same(other, one)).to.equal(false);
    }
  });
  it('a key without a value is no key', () => {
    expect(same({ a: 1, b: undefined }, { a: 1 })).to.equal(true);
    expect(same({ a: 1 }, { b: undefined, a: 1 })).to.equal(true);
  });
});

describe('sealing anew', () => {
  const [old, fresh] = [text(), text()];
  const x = { url: 'u', users: [{ username: 'a', password: 'one', tokens: ['two'] }] };
  const sealedOld = seal(places, x, configured(old), CONTEXT);

  it('what an older key sealed is sealed with the current one, and opens without the older', () => {
    const { value, changed, problems } = reseal(sealedOld, configured(fresh, old), CONTEXT);
    expect({ changed, problems }).to.deep.equal({ changed: true, problems: [] });
    expect(opened(value, configured(fresh))).to.deep.equal(x);
    expect(opened(sealedOld, configured(old)), 'the value itself is not changed').to.deep.equal(x);
  });
  it('what the current key sealed stays as it is', () => {
    const ring = configured(fresh, old);
    const sealed = seal(places, x, ring, CONTEXT) as typeof x;
    expect(reseal(sealed, ring, CONTEXT)).to.deep.equal({ value: sealed, changed: false, problems: [] });
    const mixed = { current: sealed, old: sealedOld };
    const { value, changed } = reseal(mixed, ring, CONTEXT) as { value: typeof mixed; changed: boolean };
    expect(changed).to.equal(true);
    expect(value.current).to.deep.equal(sealed);
  });
  it('what cannot be opened is a problem and stays, and the rest is done', () => {
    const lost = { $sealed: configured(text()).seal('x', CONTEXT) };
    const { value, changed, problems } = reseal({ lost, users: sealedOld }, configured(fresh, old), CONTEXT);
    expect(changed).to.equal(true);
    expect(problems.map(({ path }) => path)).to.deep.equal(['/lost']);
    expect((value as { lost: unknown }).lost).to.deep.equal(lost);
    expect(opened((value as { users: unknown }).users, configured(fresh))).to.deep.equal(x);
  });
});

describe('a value of too many levels', () => {
  const works: [string, (value: unknown) => unknown][] = [
    ['seal', (value) => seal(placesOf(Node), value, keys, CONTEXT)],
    ['open', (value) => open(value, keys, CONTEXT)],
    ['hide', (value) => hide(value, placesOf(Node))],
    ['merge', (value) => merge(placesOf(Node), value, value)],
    ['same', (value) => same(value, value)],
    ['reseal', (value) => reseal(value, keys, CONTEXT)],
  ];
  for (const [what, work] of works) {
    it(`${what}: a hundred are taken, more are refused`, () => {
      work(deep(100));
      for (const levels of [101, 1000]) expect(refusal(() => work(deep(levels))).code).to.equal('INPUT_TOO_DEEP');
      const error = refusal(() => work(deep(100_000)));
      expect(error.code).to.equal('INPUT_TOO_DEEP');
      expect(error.problems?.[0]?.expected).to.equal('at most 100 levels');
    });
  }
  it('what is sealed at the deepest of them can be opened', () => {
    const Deep = placesOf({
      $ref: '#/$defs/D',
      $defs: { D: { anyOf: [{ items: { $ref: 'D' } }, { additionalProperties: { $ref: 'D' } }, SecretText()] } },
    });
    const value = deep(100, SECRET);
    const sealed = seal(Deep, value, keys, CONTEXT);
    expect(JSON.stringify(sealed)).to.not.include(SECRET);
    expect(opened(sealed)).to.deep.equal(value);
    expect(opened(merge(Deep, hide(sealed), sealed).value)).to.deep.equal(value);
  });
});
