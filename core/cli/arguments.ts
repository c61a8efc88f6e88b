import { parseArgs } from 'node:util';
import { didYouMean } from '../errors.ts';
import type { Noun, Option, Verb } from './command.ts';
import { usage } from './failure.ts';
import { type Given, Options } from './options.ts';
import { EVERYWHERE, PROCESS } from './usage.ts';

/** What a command line asks for. */
export interface Asked {
  /** Null: everything is asked about. */
  readonly noun: Noun | null;
  /** Null where help is asked for without one. */
  readonly verb: Verb | null;
  readonly words: readonly string[];
  readonly options: Options;
  readonly help: boolean;
}

type Token = { readonly kind: 'positional'; readonly value: string } | ({ readonly kind: 'option' } & Written);

interface Written {
  readonly name: string;
  /** As it stood: `-f` or `--file`. */
  readonly rawName: string;
  readonly value?: string | undefined;
  readonly inlineValue?: boolean | undefined;
}

/** Reads a command line by the table. Throws USAGE that names the nearest word there is. */
export function readArguments(argv: readonly string[], nouns: readonly Noun[]): Asked {
  const tokens = tokensOf(argv, nouns);
  const all = tokens.flatMap((one) => (one.kind === 'positional' ? [one.value] : []));
  const written = tokens.flatMap((one) => (one.kind === 'option' ? [one] : []));
  const asksHelp =
    all[0] === 'help' || (all[1] === 'help' && all.length === 2) || written.some(({ name }) => name === 'help');
  const [first, second, ...rest] = all[0] === 'help' ? all.slice(1) : asksHelp ? all.filter((w) => w !== 'help') : all;
  if (first === undefined) {
    const [unknown] = written.filter(({ name }) => name !== 'help' && name !== 'docs');
    if (asksHelp && unknown === undefined) {
      return { noun: null, verb: null, words: [], options: optionsOf(written, HELP, 'help'), help: true };
    }
    throw usage('Which command?', 'They are listed by: gantry help');
  }
  const noun = nouns.find(({ name }) => name === first);
  if (noun === undefined)
    throw usage(`There is no command '${first}'.`, `${near(first, nouns)}They are listed by: gantry help`);
  const [lone] = noun.verbs;
  if (lone?.name === '') {
    const words = [second, ...rest].filter((one) => one !== undefined);
    return asked(noun, lone, words, written, asksHelp);
  }
  if (second === undefined && asksHelp) {
    return { noun, verb: null, words: [], options: optionsOf(written, EVERYWHERE, first), help: true };
  }
  const verb = noun.verbs.find(({ name }) => name === second);
  if (verb !== undefined) return asked(noun, verb, rest, written, asksHelp);
  const verbs = noun.verbs.map(({ name }) => name);
  const what = second === undefined ? `What about '${first}'?` : `'${first}' has no '${second}'.`;
  const hint = second === undefined ? '' : didYouMean(second, verbs) || sameAs(second, verbs);
  throw usage(what, `${hint} One of: ${verbs.join(', ')}`.trim());
}

/** What the admin API, or another tool, calls it. */
const SYNONYMS: Readonly<Record<string, string>> = {
  remove: 'delete',
  rm: 'delete',
  show: 'get',
  describe: 'get',
  add: 'create',
  new: 'create',
  edit: 'update',
  set: 'update',
  ls: 'list',
};

function sameAs(word: string, verbs: readonly string[]): string {
  const verb = Object.hasOwn(SYNONYMS, word) ? (SYNONYMS[word] as string) : '';
  return verbs.includes(verb) ? `Did you mean '${verb}'?` : '';
}

/** `help --docs` prints what docs/cli.md has of the table. */
const HELP: readonly Option[] = [...EVERYWHERE, { name: 'docs', does: 'prints the tables of docs/cli.md' }];

function near(first: string, nouns: readonly Noun[]): string {
  const meant = didYouMean(first, [...nouns.map(({ name }) => name), ...PROCESS.map(({ name }) => name), 'help']);
  return meant === '' ? '' : `${meant} `;
}

function asked(noun: Noun, verb: Verb, words: readonly string[], written: readonly Written[], help: boolean): Asked {
  const command = nameOf(noun, verb);
  const options = optionsOf(written, [...(verb.options ?? []), ...EVERYWHERE], command);
  if (!help) checkWords(command, verb.words ?? '', words);
  return { noun, verb, words, options, help };
}

/** As it is typed, without `gantry`. */
export function nameOf(noun: Noun, verb: Verb): string {
  return `${noun.name} ${verb.name}`.trim();
}

function checkWords(command: string, wanted: string, words: readonly string[]): void {
  const all = wanted.split(' ').filter((one) => one !== '');
  const most = wanted.includes('...') ? Number.POSITIVE_INFINITY : all.length;
  const missing = all.slice(words.length).find((one) => !one.startsWith('['));
  const how = `Usage: gantry ${`${command} ${wanted}`.trim()} [options]`;
  if (words.length > most) throw usage(`'${words[most]}' is one word too many.`, how);
  if (missing !== undefined) throw usage(`${missing} is missing.`, how);
}

function tokensOf(argv: readonly string[], nouns: readonly Noun[]): readonly Token[] {
  const known = new Map<string, Option>();
  for (const option of [...HELP, ...nouns.flatMap(({ verbs }) => verbs.flatMap(({ options = [] }) => options))]) {
    known.set(option.name, option);
  }
  const options = Object.fromEntries(
    [...known.values()].map(({ name, short, value }) => [
      name,
      {
        type: value === undefined ? ('boolean' as const) : ('string' as const),
        ...(short === undefined ? {} : { short }),
      },
    ]),
  );
  // Not strict: what is wrong is told with the nearest option that the command has.
  const { tokens } = parseArgs({ args: [...argv], options, strict: false, allowPositionals: true, tokens: true });
  return tokens.filter((one) => one.kind !== 'option-terminator') as readonly Token[];
}

function optionsOf(written: readonly Written[], allowed: readonly Option[], command: string): Options {
  const given = written.map((one): Given => {
    const option = allowed.find(({ name }) => name === one.name);
    if (option === undefined) {
      const names = allowed.map(({ name }) => name);
      const hint = didYouMean(one.name, names).replace(/'(.+)'/, "'--$1'");
      throw usage(
        `'${command}' has no option ${one.rawName}.`,
        `${hint} It has ${names.map((name) => `--${name}`).join(', ')}.`.trim(),
      );
    }
    const { name } = option;
    if (option.value === undefined) {
      if (one.value !== undefined) throw usage(`--${name} takes no value.`);
      return { name, value: null };
    }
    const { value } = one;
    const isOption = one.inlineValue !== true && value !== undefined && /^-./.test(value);
    if (value === undefined || isOption) {
      throw usage(
        `--${name} needs a value: --${name} ${option.value}`,
        isOption ? `If it is '${value}': --${name}=${value}` : '',
      );
    }
    return { name, value };
  });
  for (const { name, many = false } of allowed) {
    if (!many && given.filter((one) => one.name === name).length > 1) throw usage(`--${name} is there twice.`);
  }
  return new Options(given);
}
