/** The grammar of `gantry <noun> <verb>`, and what is made from its table. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import { readArguments } from '../../../core/cli/arguments.ts';
import type { Option } from '../../../core/cli/command.ts';
import { docsText, helpText, nounHelp, verbHelp } from '../../../core/cli/help.ts';
import { KINDS as KNOWN, ROLES } from '../../../core/cli/kinds.ts';
import { NOUNS } from '../../../core/cli/nouns.ts';
import { EVERYWHERE, isForClient } from '../../../core/cli/usage.ts';
import { GantryError } from '../../../core/errors.ts';
import { ROLES as OWN_ROLES } from '../../../core/users/roles.ts';
import { KINDS } from '../../fixtures/kinds.ts';

/** What is wrong with a command line: message and hint. */
function refusal(...argv: string[]): string {
  try {
    readArguments(argv, NOUNS);
  } catch (thrown) {
    const { code, kind, message, hint } = thrown as GantryError;
    expect([code, kind]).to.deep.equal(['USAGE', 'setup']);
    return `${message} ${hint ?? ''}`;
  }
  throw new Error(`${argv.join(' ')} was not refused`);
}

describe('the command line of the client', () => {
  it('finds noun, verb, words and options, wherever the options stand', () => {
    for (const argv of [
      ['channel', 'list', '--search', 'a b', '--limit=5', '--json'],
      ['--json', '--limit', '5', 'channel', '--search=a b', 'list'],
    ]) {
      const { noun, verb, words, options, help } = readArguments(argv, NOUNS);
      expect([noun?.name, verb?.name, words, help]).to.deep.equal(['channel', 'list', [], false]);
      expect([options.text('search'), options.integer('limit', 1), options.has('json')]).to.deep.equal([
        'a b',
        5,
        true,
      ]);
      expect([options.has('quiet'), options.text('after')]).to.deep.equal([false, undefined]);
    }
  });
  it('takes a lone noun, a single dash as a value, and what follows -- as words', () => {
    const { noun, verb, words, options } = readArguments(['apply', '-f', '-', '--', '--odd.yaml', 'b.yaml'], NOUNS);
    expect([noun?.name, verb?.name, words]).to.deep.equal(['apply', '', ['--odd.yaml', 'b.yaml']]);
    expect(options.all('file')).to.deep.equal(['-']);
  });
  it('keeps the order of options that belong together', () => {
    const argv = ['setting', 'create', 'a', '--set-string', 'x=1', '--set', 'x.y=2', '--set-string', 'z=3'];
    const given = readArguments(argv, NOUNS).options.inOrder(['set', 'set-string']);
    expect(given.map(({ name, value }) => `${name} ${value}`)).to.deep.equal([
      'set-string x=1',
      'set x.y=2',
      'set-string z=3',
    ]);
  });

  const refused: [string[], RegExp][] = [
    [[], /Which command\?.*gantry help/],
    [['chanel', 'list'], /no command 'chanel'.*Did you mean 'channel'\?/],
    [['chek'], /no command 'chek'.*Did you mean 'check'\?/],
    [['channel', 'lst'], /'channel' has no 'lst'.*Did you mean 'list'\?.*list, get, create/],
    [['channel', 'remove', 'x'], /Did you mean 'delete'\?/],
    [['audit', 'rm'], /'audit' has no 'rm'. One of: list/],
    [['channel'], /What about 'channel'\? One of: list, get/],
    [['connection', 'pimg', 'crm'], /Did you mean 'ping'\?/],
    [['channel', 'list', '--serch', 'x'], /'channel list' has no option --serch.*Did you mean '--search'\?/],
    [['channel', 'get', 'a', '--limit', '5'], /'channel get' has no option --limit/],
    [['channel', 'get', 'a', '-f', 'x'], /'channel get' has no option -f/],
    [['channel', 'get'], /NAME is missing.*gantry channel get NAME/],
    [['channel', 'get', 'a', 'b'], /'b' is one word too many/],
    [['channel', 'list', 'a'], /'a' is one word too many/],
    [['info', 'x'], /'x' is one word too many/],
    [['channel', 'list', '--search'], /--search needs a value: --search TEXT/],
    [['channel', 'list', '--search', '--json'], /--search needs a value.*--search=--json/],
    [['channel', 'list', '--json=yes'], /--json takes no value/],
    [['channel', 'list', '--limit', '1', '--limit', '2'], /--limit is there twice/],
  ];
  for (const [argv, told] of refused) {
    it(`refuses gantry ${argv.join(' ')}`, () => expect(refusal(...argv)).to.match(told));
  }
  it('refuses numbers and times that are none', () => {
    const of = (...argv: string[]) => readArguments(['audit', 'list', ...argv], NOUNS).options;
    for (const limit of ['0', '-1', '1.5', 'x', '', '1e3', '99999999999999999999']) {
      expect(() => of(`--limit=${limit}`).integer('limit', 1), limit).to.throw(GantryError, /at least 1/);
    }
    expect(() => of('--from', 'yesterday').time('from')).to.throw(GantryError, /must be a time/);
    expect(of('--from', '2026-11-22T14:00:00Z').time('from')).to.equal('2026-11-22T14:00:00.000Z');
    expect(of('--from', '2026-11-22').time('from')).to.equal(new Date(2026, 10, 22).toISOString());
  });
  it('help is asked for in any way, and never needs what is missing', () => {
    const asked = (...argv: string[]) => {
      const { noun, verb, help } = readArguments(argv, NOUNS);
      return [noun?.name ?? null, verb?.name ?? null, help];
    };
    expect(asked('help')).to.deep.equal([null, null, true]);
    expect(asked('help', 'channel')).to.deep.equal(['channel', null, true]);
    expect(asked('channel', '--help')).to.deep.equal(['channel', null, true]);
    expect(asked('channel', 'help')).to.deep.equal(['channel', null, true]);
    expect(asked('channel', 'get', '-h')).to.deep.equal(['channel', 'get', true]);
    expect(asked('help', 'apply')).to.deep.equal(['apply', '', true]);
    expect(refusal('help', 'chanel')).to.match(/Did you mean 'channel'/);
  });
  it('is not loaded where a process is started: main imports the words, and the rest when it is asked for', () => {
    const source = (file: string) => readFileSync(path.resolve(import.meta.dirname, '../../../core', file), 'utf8');
    const loaded = [...source('main.ts').matchAll(/^import .*'(\.\/cli\/.*)';$/gm)].map(([, file]) => file);
    expect(loaded).to.deep.equal(['./cli/usage.ts']);
    expect(source('cli/usage.ts')).not.to.match(/^import (?!type )/m);
  });
  it('the process keeps its own commands; the client has everything else', () => {
    const own = ['start', 'check', 'schema'];
    for (const argv of [[], ['start'], ['check', '--config', 'x'], ['--config', 'x'], ['--help'], ['-h'], ['-v']]) {
      expect(isForClient(argv, own), argv.join(' ')).to.equal(false);
    }
    for (const argv of [['channel'], ['chek'], ['help'], ['--url', 'x', 'info'], ['--url=x', 'info'], ['-q', 'info']]) {
      expect(isForClient(argv, own), argv.join(' ')).to.equal(true);
    }
  });
});

describe('the table of commands', () => {
  const verbs = NOUNS.flatMap((noun) => noun.verbs.map((verb) => ({ noun, verb })));

  it('has every kind of record with all its verbs', () => {
    for (const kind of Object.keys(KINDS)) {
      const noun = NOUNS.find(({ name }) => name === kind);
      const names = noun?.verbs.map(({ name }) => name);
      expect(names, kind).to.include.members(['list', 'get', 'create', 'update', 'delete', 'usage']);
    }
  });
  it('knows the kinds and roles as a server has them', () => {
    const own = Object.entries(KINDS).map(([name, { description, schema, fields, portable = true }]) => {
      return { name, description, keys: Object.keys(schema.properties), fields: [...fields], portable };
    });
    expect(KNOWN).to.deep.equal(own);
    expect(ROLES).to.deep.equal(OWN_ROLES);
  });
  it('names nothing twice, and an option takes a value everywhere or nowhere', () => {
    expect(new Set(NOUNS.map(({ name }) => name)).size).to.equal(NOUNS.length);
    const all = new Map<string, Option>();
    for (const { noun, verb } of verbs) {
      const own = [...(verb.options ?? []), ...EVERYWHERE];
      expect(new Set(own.map(({ name }) => name)).size, `${noun.name} ${verb.name}`).to.equal(own.length);
      for (const option of own) {
        const other = all.get(option.name) ?? option;
        expect([other.short, other.value === undefined], option.name).to.deep.equal([
          option.short,
          option.value === undefined,
        ]);
        all.set(option.name, option);
      }
    }
  });
  it('is what help tells: every noun, verb and option', () => {
    for (const { noun, verb } of verbs) {
      expect(helpText(NOUNS)).to.match(new RegExp(`^  ${noun.name} .*\\b${verb.name}\\b`, 'm'));
      if (verb.name !== '') expect(nounHelp(noun)).to.match(new RegExp(`^  ${verb.name}\\b.*${verb.words ?? ''}`, 'm'));
      for (const { name } of [...(verb.options ?? []), ...EVERYWHERE]) {
        expect(verbHelp(noun, verb)).to.match(new RegExp(`^  (-\\w, )?--${name} `, 'm'));
      }
    }
  });
  it('is what docs/cli.md tells (gantry help --docs)', () => {
    const page = readFileSync(path.resolve(import.meta.dirname, '../../../docs/cli.md'), 'utf8');
    for (const table of docsText(NOUNS).split('\n\n')) expect(page).to.contain(table.trim());
  });
});
