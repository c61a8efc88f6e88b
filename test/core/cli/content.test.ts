/** What the client reads: YAML with its lines, references, assignments, and files of records. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { expect } from 'chai';
import fc from 'fast-check';
import { assign, assignment, changesOf } from '../../../core/cli/content.ts';
import { KINDS } from '../../../core/cli/kinds.ts';
import { place, readPortable, writePortable } from '../../../core/cli/portable.ts';
import { escapeReferences, putIn } from '../../../core/cli/references.ts';
import type { Terminal } from '../../../core/cli/terminal.ts';
import { type Fill, readValue, readYaml, writeYaml } from '../../../core/cli/yaml.ts';
import type { GantryError, Problem } from '../../../core/errors.ts';
import type { Definition, Portable } from '../../../core/records/record.ts';

const filler =
  (env: Record<string, string>): Fill =>
  (text) =>
    putIn(text, env);

/** Each problem as `path message`. */
function problemsOf(thrown: unknown): string[] {
  const { problems } = thrown as GantryError;
  if (problems === undefined) throw thrown;
  return problems.map((p) => `${p.path} ${p.message}`);
}
function refused(text: string, fill: Fill | null = null): string {
  try {
    readYaml(text, 'f.yaml', fill);
  } catch (thrown) {
    return problemsOf(thrown).join('\n');
  }
  throw new Error('was not refused');
}

/** JSON of any kind; -0 is 0 there. */
const json = fc
  .jsonValue({ maxDepth: 4, stringUnit: 'binary' })
  .map((one) => JSON.parse(JSON.stringify(one)) as unknown);
const hasProto = (value: unknown): boolean =>
  typeof value === 'object' &&
  value !== null &&
  (Object.hasOwn(value, '__proto__') || Object.values(value).some((entry) => hasProto(entry)));

describe('YAML of the client', () => {
  it('reads back what it wrote: any JSON', () => {
    fc.assert(
      fc.property(json, (value) => {
        fc.pre(!hasProto(value));
        const [document] = readYaml(writeYaml(value, 'a comment\nof two lines'), 'f.yaml');
        expect(document?.value).to.deep.equal(value);
      }),
      { numRuns: 500 },
    );
  });
  it('writes nothing that a terminal obeys, in keys or values', () => {
    const text = writeYaml({ '\u009b31m': '\u001b[2J', b: 'a\u202eb\n\u0085', c: 'line\n\ttab\n' });
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    expect(text).not.to.match(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202e]/);
    expect(readYaml(text, 'f')[0]?.value).to.deep.equal({
      '\u009b31m': '\u001b[2J',
      b: 'a\u202eb\n\u0085',
      c: 'line\n\ttab\n',
    });
  });
  it('knows the line of each key and item, and of the nearest that is there', () => {
    const text = 'channel:\n  - name: x\n    address:\n      path: /a\n  - {name: y}\n---\n\na: &b { c: 1 }\nd: *b\n';
    const [first, second] = readYaml(text, 'f.yaml');
    const line = (...at: (string | number)[]) => first?.line(at);
    expect([
      line('channel', 0, 'address', 'path'),
      line('channel', 0, 'nope'),
      line('channel', 1, 'name'),
    ]).to.deep.equal([4, 2, 5]);
    expect([line(), line('channel', 7), second?.line(['d', 'c'])]).to.deep.equal([1, 1, 8]);
  });

  it('tells what is malformed once, and that flow style needs quotes around a reference', () => {
    try {
      readYaml('a: 1\nb: { c: ${env:C:-7}, d: 1 }\ne: 2\n', 'f.yaml');
    } catch (thrown) {
      const { problems = [] } = thrown as GantryError;
      expect(problems).to.have.length(1);
      expect(problems[0]).to.have.property('path', 'f.yaml:2');
      expect(problems[0]?.hint).to.include('needs quotes');
      return;
    }
    throw new Error('was not refused');
  });

  const bad: [string, string, RegExp][] = [
    ['what is not closed', 'a: [1', /^f\.yaml:1 /],
    ['a key twice', 'a: 1\nb: 2\na: 3', /^f\.yaml:3 Map keys must be unique$/],
    ['a tag that nobody knows', 'a: !secret x', /^f\.yaml:1 .*!secret/],
    ['an alias of nothing', 'a: *b', /^f\.yaml:1 \/a is an alias of nothing$/],
    ['an alias of itself', 'a:\n  - &x [*x]', /^f\.yaml:2 .*nested deeper/],
    ['aliases that multiply', aliases(), /an alias of more than|deeper/],
    [
      'numbers that JSON cannot keep',
      'a: .inf\nb: 12345678901234567890\nc: 0xffffffffffffffffe',
      /:1 \/a.*\n.*:2 \/b.*\n.*:3 \/c/,
    ],
    ['a key that is no text', '? [1]\n: 2', /^f\.yaml:1 has a key that is not possible/],
    ['the key __proto__', 'a:\n  __proto__: 1', /^f\.yaml:2 \/a has a key/],
    ['what is nested too deep', `${'['.repeat(120)}${']'.repeat(120)}`, /nested deeper than 100/],
  ];
  for (const [what, text, told] of bad) it(`refuses ${what}`, () => expect(refused(text)).to.match(told));

  function aliases(): string {
    const lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]'];
    for (let i = 1; i < 9; i++)
      lines.push(
        `a${i}: &a${i} [${Array(10)
          .fill(`*a${i - 1}`)
          .join(', ')}]`,
      );
    return lines.join('\n');
  }
});

describe('references in files that are applied', () => {
  const env = { HOST: 'h', PORT: '80', EMPTY: '', TRUE: 'true', TREE: '{a: 1}', LONG: '98765432109876543210' };
  const read = (text: string) => readYaml(text, 'f.yaml', filler(env))[0]?.value;

  it('take the type that they look like without quotes, and are text in quotes', () => {
    expect(
      read('a: ${env:PORT}\nb: "${env:PORT}"\nc: ${env:TRUE}\nd: ${env:NO:-5}\ne: |\n  ${env:PORT}\n'),
    ).to.deep.equal({
      a: 80,
      b: '80',
      c: true,
      d: 5,
      e: '80\n',
    });
  });
  it('stand within a text; an empty one is an empty text; none makes a list or a map', () => {
    expect(
      read('a: http://${env:HOST}:${env:PORT}/x\nb: ${env:EMPTY}\nc: ${env:EMPTY:-x}\nd: ${env:TREE}'),
    ).to.deep.equal({
      a: 'http://h:80/x',
      b: '',
      c: 'x',
      d: '{a: 1}',
    });
  });
  it('are told with file, line, path and variable where it is not set, each of them', () => {
    const text = 'channel:\n  - name: a\n    x: ${env:NO_A}\n  - name: b\n    y: ["${env:HOST}", "${env:NO_B}"]';
    expect(refused(text, filler(env))).to.equal(
      'f.yaml:3 /channel/0/x needs the environment variable NO_A, which is not set\n' +
        'f.yaml:5 /channel/1/y/1 needs the environment variable NO_B, which is not set',
    );
  });
  it('of an unknown kind, or not closed, are told, and sources are left alone', () => {
    expect(refused('a: "${evn:HOST}"', filler(env))).to.equal('f.yaml:1 /a has a reference of an unknown kind');
    expect(refused('a: "${env:HOST"', filler(env))).to.equal('f.yaml:1 /a has a reference that is not closed');
    const source = 'const a = `${b} ${c ? d : e} ${{ f: 1 }.f}`; // ${env} $ {env:HOST}';
    expect(putIn(source, env)).to.deep.equal({ text: source });
  });
  it('do not show what they put in', () => {
    try {
      read('a: ${env:LONG}');
    } catch (thrown) {
      expect(JSON.stringify((thrown as GantryError).problems))
        .to.include('cannot keep')
        .and.not.include(env.LONG);
      return;
    }
    throw new Error('was not refused');
  });
  it('are not looked for in keys, nor in what they put in', () => {
    expect(readYaml('"${env:A}": x', 'f', filler({ A: '${env:B}' }))[0]?.value).to.deep.equal({ '${env:A}': 'x' });
    expect(readYaml('a: "${env:A}"', 'f', filler({ A: '${env:B}' }))[0]?.value).to.deep.equal({ a: '${env:B}' });
  });
  it('$${ is a literal ${: what is escaped is read as it was', () => {
    expect(putIn('$${env:HOST} $$${x} $${x}', env)).to.deep.equal({ text: '${env:HOST} $${x} ${x}' });
    const texts = fc
      .array(fc.constantFrom('$', '{', '}', '${', 'env', ':', 'HOST', ':-', ' ', 'file'))
      .map((all) => all.join(''));
    fc.assert(
      fc.property(texts, (text) => {
        expect(putIn(escapeReferences(text), env)).to.deep.equal({ text });
      }),
      { numRuns: 5000 },
    );
  });
});

describe('--set and --set-string', () => {
  const put = (definition: Record<string, unknown>, ...sets: string[]) =>
    assign(
      definition,
      sets.map((text) => assignment('set', text)),
    );

  it('read values as YAML: scalars, and lists and maps in brackets', () => {
    const values: [string, unknown][] = [
      ['1', 1],
      ['0.5', 0.5],
      ['true', true],
      ['null', null],
      ['~', null],
      ['yes', 'yes'],
      ['Note: this', 'Note: this'],
      ['a=b', 'a=b'],
      ['', ''],
      ['"5"', '5'],
      ['[GET, POST]', ['GET', 'POST']],
      ['{ a: [1] }', { a: [1] }],
      ['2026-11-22', '2026-11-22'],
    ];
    for (const [text, value] of values) expect(assignment('set', `k=${text}`).value, text).to.deep.equal(value);
    expect(assignment('set-string', 'k=[1').value).to.equal('[1');
    expect(readValue('[1')).to.equal(null);
  });
  it('put values at their places, and make what is missing on the way', () => {
    expect(put({ a: { b: 1 } }, 'a.c=2', 'd.e.f=x', 'l[0].n=1', 'l[1].n=2', 'l.1.n=3')).to.deep.equal({
      a: { b: 1, c: 2 },
      d: { e: { f: 'x' } },
      l: [{ n: 1 }, { n: 3 }],
    });
    expect(put({}, 'entries.0=zero', 'entries.a\\.b=dot', 'entries.c\\=d=equal', 'e\\[0\\]=x')).to.deep.equal({
      entries: { '0': 'zero', 'a.b': 'dot', 'c=d': 'equal' },
      'e[0]': 'x',
    });
  });
  it('change a copy', () => {
    const before = { a: { b: [1] } };
    put(before, 'a.b[0]=2');
    expect(before).to.deep.equal({ a: { b: [1] } });
  });
  it('refuse what is no assignment, and places that are not possible', () => {
    for (const text of ['a', '=1', 'a..b=1', '.a=1', 'a.=1', '[0]=1', 'a[x]=1', 'a[0=1', 'a=[1']) {
      expect(() => assignment('set', text), text).to.throw(/--set/);
    }
    for (const text of ['a.b=1', 'l[5]=1', 'l.x=1', 'm[0]=1', '__proto__.x=1']) {
      expect(() => put({ a: 1, l: [1], m: {} }, text), text).to.throw(/--set/);
    }
  });
  it('of an update send whole fields, from what is there; null takes away', () => {
    const current = { name: 'n', address: { method: 'GET', path: '/a' }, list: [1, 2, 3], on: true };
    const sets = ['address.path=/b', 'list[1]=null', 'on=null', 'fresh.key=1'].map((text) => assignment('set', text));
    expect(changesOf({ file: { timeoutMs: 5 }, sets }, current)).to.deep.equal({
      timeoutMs: 5,
      address: { method: 'GET', path: '/b' },
      list: [1, 3],
      on: null,
      fresh: { key: 1 },
    });
    const more = [assignment('set', 'address.host=h'), assignment('set', 'address.method=null')];
    expect(changesOf({ file: { address: { method: 'PUT', path: '/c' } }, sets: more }, current)).to.deep.equal({
      address: { path: '/c', host: 'h' },
    });
  });
});

describe('files of records', () => {
  const dir = mkdtempSync(path.join(tmpdir(), 'gantry-cli-'));
  after(() => rmSync(dir, { recursive: true }));
  const terminal = (env: Record<string, string> = {}, stdin = ''): Terminal => ({
    stdin: Readable.from(stdin === '' ? [] : [Buffer.from(stdin)]),
    stdout: new PassThrough(),
    stderr: new PassThrough(),
    env,
  });
  function file(name: string, text: string): string {
    mkdirSync(path.dirname(path.join(dir, name)), { recursive: true });
    writeFileSync(path.join(dir, name), text);
    return path.join(dir, name);
  }
  const known = async () => new Set(KINDS.map(({ name }) => name));
  async function problems(files: string[], env: Record<string, string> = {}): Promise<string[]> {
    try {
      await readPortable(files, terminal(env), known);
    } catch (thrown) {
      return problemsOf(thrown).map((one) => one.replaceAll(`${dir}/`, ''));
    }
    throw new Error('was not refused');
  }
  const read = async (files: string[], env: Record<string, string> = {}, stdin = '') =>
    (await readPortable(files, terminal(env, stdin), known)).map(({ kind, definition }) => ({ kind, definition }));

  const record = fc.record({
    kind: fc.constantFrom(...KINDS.map(({ name }) => name)),
    definition: fc.tuple(fc.string({ minLength: 1, unit: 'binary' }), json).map(([name, value]) => ({ value, name })),
  });
  const unique = fc.uniqueArray(record, { selector: ({ kind, definition }) => `${kind}/${definition.name}` });

  it('are written in one order, and read as what they were', async () => {
    await fc.assert(
      fc.asyncProperty(unique, fc.integer(), async (records, seed) => {
        fc.pre(!hasProto(records));
        const text = writePortable(records as Portable[]);
        expect(writePortable(shuffled(records, seed) as Portable[])).to.equal(text);
        const again = records.length === 0 ? [] : await read(['-'], {}, text);
        expect(writePortable(again)).to.equal(text);
        const key = ({ kind, definition }: Portable) => `${kind}/${definition.name}`;
        const sorted = (all: readonly Portable[]) => [...all].sort((a, b) => (key(a) < key(b) ? -1 : 1));
        expect(sorted(again)).to.deep.equal(sorted(records as Portable[]));
      }),
      { numRuns: 200 },
    );
    function shuffled<T>(all: readonly T[], seed: number): T[] {
      return all
        .map((one, i) => ({ one, key: Math.imul(i + 1, seed | 1) }))
        .sort((a, b) => a.key - b.key)
        .map(({ one }) => one);
    }
  });
  it('are grouped by kind in the order of KINDS, by name; known fields come first', () => {
    const channel = (name: string) => ({
      service: 's',
      active: true,
      name,
      address: { path: '/', method: 'GET' },
      transport: 'rest',
    });
    const text = writePortable([
      { kind: 'user', definition: { role: 'viewer', name: 'u' } },
      { kind: 'channel', definition: channel('b') },
      { kind: 'setting', definition: { value: { b: 1, a: '${env:X}' }, name: 's' } as Definition },
      { kind: 'channel', definition: channel('B') },
    ]);
    expect(text.replace(/^#.*\n/gm, '')).to.equal(`setting:
  - name: s
    value:
      a: $\${env:X}
      b: 1
channel:
  - name: B
    transport: rest
    address:
      method: GET
      path: /
    service: s
    active: true
  - name: b
    transport: rest
    address:
      method: GET
      path: /
    service: s
    active: true
user:
  - name: u
    role: viewer
`);
  });
  it('are several files, several documents, a folder, stdin; JSON, too', async () => {
    const one = file(
      'one.yaml',
      'setting: [{ name: a, value: 1 }]\n---\nsetting: [{ name: b, value: "${env:B}" }]\n---\n',
    );
    const two = file('two.json', '{"dictionary":[{"name":"c","entries":{"x":"${env:X:-y}"}}],"setting":null}');
    file('folder/2.yml', 'setting: [{ name: e, value: 5 }]');
    file('folder/1.yaml', '# nothing but a comment');
    file('folder/other.txt', 'not: read');
    const all = await read([one, two, path.join(dir, 'folder'), '-'], { B: 'bee' }, 'setting: [{ name: f, value: 6 }]');
    expect(all.map(({ kind, definition }) => `${kind} ${JSON.stringify(definition)}`)).to.deep.equal([
      'setting {"name":"a","value":1}',
      'setting {"name":"b","value":"bee"}',
      'dictionary {"name":"c","entries":{"x":"y"}}',
      'setting {"name":"e","value":5}',
      'setting {"name":"f","value":6}',
    ]);
  });
  it('are refused with all that is wrong in all of them', async () => {
    const one = file('bad1.yaml', 'chanel: []\nsetting: { name: x }\nuser:\n  - role: viewer\n  - [x]\n');
    const two = file('bad2.yaml', 'setting:\n  - { name: a, value: "${env:NOWHERE}" }\n');
    const three = file('bad3.yaml', '[1]');
    const four = file('bad4.yaml', 'job: [');
    expect(await problems([one, two, three, four])).to.deep.equal([
      'bad1.yaml:1 /chanel is no kind of record',
      'bad1.yaml:2 /setting must be a list',
      'bad1.yaml:4 /user/0 is a user without a name',
      'bad1.yaml:5 /user/1 is a user without a name',
      'bad2.yaml:2 /setting/0/value needs the environment variable NOWHERE, which is not set',
      'bad3.yaml:1 is no configuration',
      'bad4.yaml:1 Flow sequence in block collection must be sufficiently indented and end with a ]',
    ]);
  });
  it('are refused where a record is there twice, with both places', async () => {
    const one = file('twice1.yaml', 'setting:\n  - { name: a, value: 1 }\n');
    const two = file('twice2.yaml', '\nsetting:\n  - { name: a, value: 2 }\ndictionary:\n  - { name: a, entries: {} }');
    expect(await problems([one, two])).to.deep.equal([`twice2.yaml:3 setting 'a' is also at twice1.yaml:2`]);
  });
  it('that cannot be read are wrong usage', async () => {
    mkdirSync(path.join(dir, 'empty'));
    for (const [name, told] of [
      ['nowhere.yaml', /nowhere\.yaml cannot be read \(ENOENT\)/],
      ['empty', /empty has no file \*\.yaml/],
    ] as const) {
      const failure = await readPortable([path.join(dir, name)], terminal(), known).catch(
        (thrown: GantryError) => thrown,
      );
      expect(failure).to.have.property('code', 'USAGE');
      expect((failure as GantryError).message).to.match(told);
    }
  });
  it("a server's problem is told at its place in the file, and once", async () => {
    const name = file('placed.yaml', 'setting: []\nchannel:\n  - name: a/b\n    address:\n      path~x: 1\n');
    const records = await readPortable([name], terminal(), known);
    const told = (problem: Problem) => {
      const { path: at, message } = place(problem, records);
      return `${at.replace(`${dir}/`, '')}: ${message}`;
    };
    const at = "placed.yaml:5 channel 'a/b' /address/path~0x: is bad";
    expect(told({ path: '/records/0/definition/address/path~0x', message: "is bad (channel 'a/b')" })).to.equal(at);
    expect(told({ path: '/records/0/definition', message: 'is bad' })).to.equal("placed.yaml:3 channel 'a/b': is bad");
    expect(told({ path: '/records/9/definition', message: 'is bad' })).to.equal('/records/9/definition: is bad');
    expect(told({ path: '/prune/0', message: 'is bad' })).to.equal('/prune/0: is bad');
  });
});
