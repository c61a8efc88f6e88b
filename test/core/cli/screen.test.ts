/** What the client shows to people, and asks them. */
import { PassThrough, Writable } from 'node:stream';
import { expect } from 'chai';
import fc from 'fast-check';
import { Credentials, newPassword } from '../../../core/cli/credentials.ts';
import { duration, localTime, textOf, valuesOf, visible } from '../../../core/cli/display.ts';
import { exitOf, failureJson, failureText } from '../../../core/cli/failure.ts';
import { Options } from '../../../core/cli/options.ts';
import { table, widthOf } from '../../../core/cli/table.ts';
import { askHidden, type Terminal, write } from '../../../core/cli/terminal.ts';
import { CODES, GantryError } from '../../../core/errors.ts';

interface Row {
  readonly name: string;
  readonly value?: unknown;
  readonly more?: unknown;
}
const COLUMNS = [
  { title: 'NAME', of: (row: Row) => row.name },
  { title: 'VALUE', of: (row: Row) => row.value },
  { title: 'MORE', of: (row: Row) => row.more },
];

describe('tables', () => {
  it('align their columns under the titles, and say something of any value', () => {
    const rows: Row[] = [
      { name: 'a', value: true, more: ['x', 'y'] },
      { name: 'long name', value: null, more: { k: [1] } },
      { name: 'c', value: 'two\nlines', more: 1.5 },
    ];
    expect(table(COLUMNS, rows, null)).to.equal(
      [
        'NAME       VALUE       MORE\n',
        'a          yes         x,y\n',
        'long name  -           {"k":[1]}\n',
        'c          two\\nlines  1.5\n',
      ].join(''),
    );
  });
  it('cut long values, never names, where the width is not known', () => {
    const [, line = ''] = table(COLUMNS, [{ name: 'n'.repeat(200), value: 'v'.repeat(200) }], null).split('\n');
    expect(line).to.match(/^n{200} {2}v{59}… {2}-$/);
  });
  it('are as wide as the terminal at most, whatever stands in them', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'é', '漢', '🎉', 'e\u0301', ' ') });
    const row = fc.record({ name: text, value: text, more: text });
    fc.assert(
      fc.property(fc.array(row), fc.integer({ min: 28, max: 120 }), (rows, width) => {
        const lines = table(COLUMNS, rows, width).split('\n');
        expect(Math.max(...lines.map(widthOf))).to.be.at.most(width);
      }),
    );
  });
  it('count what takes two columns as two', () => {
    expect([widthOf('漢字'), widthOf('e\u0301'), widthOf('a🎉')]).to.deep.equal([4, 1, 3]);
    expect(table(COLUMNS, [{ name: '漢' }, { name: 'ab' }], null))
      .to.match(/^漢 {4}-/m)
      .and.match(/^ab {4}-/m);
  });
});

describe('values for people', () => {
  it('never command the terminal', () => {
    expect(visible('\u001b[2Ja\u009b\u202eb\r\u0000\n')).to.equal('\\u001b[2Ja\\u009b\\u202eb\\u000d\\u0000\n');
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: 'binary' }), (value) => {
        // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
        expect(textOf(value)).not.to.match(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/);
      }),
    );
  });
  it('are local times, lengths of time, and addresses without their keys', () => {
    const time = new Date(2026, 10, 22, 9, 5, 7);
    expect(localTime(time.toISOString())).to.equal('2026-11-22 09:05:07');
    expect([localTime(undefined), localTime('soon')]).to.deep.equal(['-', 'soon']);
    const units = [0, 999, 61_000, 3_600_000, 90_061_000].map(duration);
    expect(units).to.deep.equal(['0 s', '0 s', '1 min 1 s', '1 h', '1 d 1 h']);
    expect(valuesOf({ path: '/a', method: ['GET', 'POST'] })).to.equal('GET,POST /a');
  });
});

describe('failures', () => {
  const problems = [{ path: '/a', message: 'is bad', expected: 'good', got: 'bad', hint: 'Mend it.' }];

  it('are told with each problem, and without its repetition or a stack', () => {
    const error = new GantryError('RECORD_INVALID', "The job 'x' is not valid: /a is bad", {
      problems,
      hint: 'Look.',
      cause: new Error('inner'),
    });
    expect(failureText(error)).to.equal(
      "gantry: The job 'x' is not valid:\n  /a: is bad\n      expected: good\n      got:      bad\n      hint:     Mend it.\nLook.\n",
    );
    // The path of the server begins deeper than that of the sentence, or is not in it.
    for (const message of ["The job 'x' is not valid: /a is bad", "The job 'x' is not valid"]) {
      const deeper = problems.map((one) => ({ ...one, path: '/changes/a' }));
      const told = failureText(new GantryError('RECORD_INVALID', message, { problems: deeper }));
      expect(told).to.match(/^gantry: The job 'x' is not valid:\n {2}\/changes\/a: is bad\n/);
    }
    expect(failureText(new Error('odd \u001b[0m'))).to.equal('gantry: odd \\u001b[0m\n');
  });
  it("are the server's own document for scripts, with the exit code", () => {
    const answer = { type: 'urn:x', status: 400, code: 'RECORD_INVALID', detail: 'bad', cid: 'c' };
    const error = new GantryError('RECORD_INVALID', 'bad', { problems, answer });
    expect(JSON.parse(failureJson(error))).to.deep.equal({ ...answer, errors: problems, exit: 1 });
    expect(JSON.parse(failureJson(new Error('odd')))).to.deep.equal({ code: 'CLIENT_FAILED', detail: 'odd', exit: 1 });
  });
  it('have an exit code by their kind', () => {
    const codes = Object.entries(CODES).map(([code, kind]) => [kind, exitOf(new GantryError(code as 'INVALID', ''))]);
    expect(Object.fromEntries(codes)).to.deep.equal({
      setup: 2,
      invalid: 1,
      missing: 1,
      conflict: 1,
      bug: 1,
      unavailable: 3,
      timeout: 3,
      busy: 3,
      unauthorized: 4,
      forbidden: 4,
    });
    expect(exitOf(new TypeError())).to.equal(1);
  });
  it('of writing are told, except that nobody reads', async () => {
    const failing = (code: string) =>
      new Writable({ write: (_part, _encoding, done) => done(Object.assign(new Error(code), { code })) }).on(
        'error',
        () => {},
      );
    await write(failing('EPIPE'), 'x');
    const full = await write(failing('ENOSPC'), 'x').catch((thrown: GantryError) => thrown);
    expect(full).to.be.an('error').with.property('message', 'The output cannot be written (ENOSPC)');
  });
});

describe('passwords', () => {
  /** A terminal that knows whether it shows what is typed. */
  function typing(env: Record<string, string> = {}) {
    const raw: boolean[] = [];
    const stdin = Object.assign(new PassThrough(), { isTTY: true, setRawMode: (on: boolean) => raw.push(on) });
    const stderr = Object.assign(new PassThrough({ encoding: 'utf8' }), { isTTY: true });
    const terminal: Terminal = { stdin, stdout: new PassThrough(), stderr, env };
    return { terminal, stdin, stderr, raw };
  }
  const none = new Options([]);

  it('are asked for without showing them, and can be mended while they are typed', async () => {
    const { terminal, stdin, stderr, raw } = typing();
    const asked = askHidden(terminal, 'Password: ');
    expect(raw).to.deep.equal([true]);
    for (const key of ['x', 'y', '\u0015', 'sé', 'c', '\u007f', 'c', '\u001b', 'ret', '\r']) stdin.write(key);
    expect(await asked).to.equal('sécret');
    expect(raw).to.deep.equal([true, false]);
    expect(stdin.isPaused()).to.equal(true);
    expect(stderr.read()).to.equal('Password: \n');
  });
  it('that are new are typed twice, and the two are the same', async () => {
    for (const [second, told] of [
      ['secret1', null],
      ['secret2', /not the same/],
    ] as const) {
      const { terminal, stdin } = typing();
      const made = newPassword(terminal, none, 'bob').catch((thrown: GantryError) => thrown.message);
      // In one piece, as it is pasted.
      stdin.write(`secret1\n${second}\n`);
      if (told === null) expect(await made).to.equal('secret1');
      else expect(await made).to.match(told);
    }
  });
  it('are not asked for where nobody can answer: it is told how else', async () => {
    const terminal: Terminal = {
      stdin: new PassThrough(),
      stdout: new PassThrough(),
      stderr: new PassThrough(),
      env: {},
    };
    const of = (asked: Promise<string>) => asked.catch((thrown: GantryError) => `${thrown.code} ${thrown.hint}`);
    expect(await of(new Credentials(terminal, none).header(false))).to.match(
      /^USAGE .*GANTRY_PASSWORD.*--password-file/,
    );
    expect(await of(newPassword(terminal, none, 'bob'))).to.match(/^USAGE .*GANTRY_NEW_PASSWORD.*never an argument/);
  });
  it('a session comes first, unless a user or a password file is named with the command', async () => {
    const env = { GANTRY_TOKEN: ' gss1.a.b \n', GANTRY_PASSWORD: 'pässword', GANTRY_USER: 'ann' };
    const { terminal } = typing(env);
    const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;
    const named = new Options([{ name: 'user', value: 'bob' }]);
    expect(await new Credentials(terminal, none).header(false)).to.equal('Bearer gss1.a.b');
    expect(await new Credentials(terminal, none).header(true)).to.equal(basic('ann:pässword'));
    expect(await new Credentials(terminal, named).header(false)).to.equal(basic('bob:pässword'));
    expect(
      await new Credentials(typing({ ...env, GANTRY_TOKEN: '', GANTRY_USER: '' }).terminal, none).header(false),
    ).to.equal(basic('admin:pässword'));
  });
});
