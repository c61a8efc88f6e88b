import { nameOf } from './arguments.ts';
import type { Noun, Option, Verb } from './command.ts';
import { EXITS } from './failure.ts';
import { EVERYWHERE, PROCESS } from './usage.ts';

/** Everything there is, in short. */
export function helpText(nouns: readonly Noun[]): string {
  const rows = nouns.map(({ name, does, verbs }): [string, string] => {
    const words = verbs.map((verb) => verb.name).filter((word) => word !== '');
    return [name, words.length === 0 ? does : `${does}: ${words.join(', ')}`];
  });
  return `Usage: gantry <command> [options]

A process and its config file:
${lines(PROCESS.map(({ name, does }) => [name, does]))}
A server that runs, over its admin API:
${lines(rows)}
Options of the latter:
${optionLines(EVERYWHERE)}
More: gantry help <command>, gantry <command> <verb> --help

Exit codes: ${EXITS.map(({ code, name }) => `${code} ${name}`).join(', ')}
`;
}

/** What can be done with one noun. */
export function nounHelp(noun: Noun): string {
  const verbs = noun.verbs.map((verb): [string, string] => [`${verb.name} ${verb.words ?? ''}`.trim(), verb.does]);
  return `Usage: gantry ${noun.name} <verb> [options]

${noun.does}

${lines(verbs)}
More: gantry ${noun.name} <verb> --help, gantry help
`;
}

export function verbHelp(noun: Noun, verb: Verb): string {
  const own = verb.options ?? [];
  return `Usage: gantry ${`${nameOf(noun, verb)} ${verb.words ?? ''}`.trim()} [options]

${capital(verb.does === '' ? noun.does : verb.does)}

${own.length === 0 ? '' : `${optionLines(own)}\n`}${optionLines(EVERYWHERE)}`;
}

/** The tables of docs/cli.md. */
export function docsText(nouns: readonly Noun[]): string {
  const commands = nouns.flatMap((noun) =>
    noun.verbs.map((verb) => {
      const options = (verb.options ?? []).map(({ name }) => `\`--${name}\``).join(' ');
      const does = verb.name === '' ? noun.does : verb.does;
      return [`\`gantry ${`${nameOf(noun, verb)} ${verb.words ?? ''}`.trim()}\``, does, options];
    }),
  );
  const options = EVERYWHERE.map((option) => [`\`${written(option)}\``, option.does]);
  const exits = EXITS.map(({ code, name, means }) => [String(code), name, means]);
  return [
    markdown(['Command', 'What it does', 'Options of its own'], commands),
    markdown(['Option', 'What it says'], options),
    markdown(['Exit code', 'Name', 'When'], exits),
  ].join('\n');
}

function markdown(titles: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |\n`;
  return [line(titles), line(titles.map(() => '---')), ...rows.map(line)].join('');
}

function optionLines(options: readonly Option[]): string {
  return lines(options.map((option) => [written(option), option.does]));
}

function written({ name, short, value }: Option): string {
  const both = short === undefined ? `--${name}` : `-${short}, --${name}`;
  return value === undefined ? both : `${both} ${value}`;
}

function lines(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([first]) => first.length));
  return rows.map(([first, second]) => `  ${first.padEnd(width)}  ${second}\n`).join('');
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
