import path from 'node:path';
import type { Problem } from '../../core/api.ts';
import type { Project } from './project.ts';
import type { Ran } from './tsc.ts';

const PLACED = /^(.+?)\((\d+),(\d+)\): error (TS\d+): (.*)$/;
const UNPLACED = /^error (TS\d+): /;
const TRACED = /^=+ Resolving (?:module|type reference directive) '/;
const TRACED_WHOLE = /^\S+ Resolving (?:module|type .*?) '(.*)'(?: from|, containing file) '(.*?)'(?:\.|, root .*) =+$/;
/** Of one message: the compiler quotes whole types. */
const LONGEST = 2000;

/** What one run of the compiler told about the source, and not about what it imports. */
export class OutputOfTsc {
  readonly problems: readonly Problem[];
  /** Every name that the source imports, as the compiler read it; of one that it could not be read from, a null. */
  readonly imported: readonly (string | null)[];
  /** Why nothing can be said about the source. */
  readonly failure: string | null;

  constructor(ran: Ran, project: Project, maxProblems: number) {
    const lines = ran.stdout.split(/\r?\n/);
    const problems = problemsIn(lines, project);
    this.problems = problems.slice(0, maxProblems);
    this.imported = lines.filter((line) => TRACED.test(line)).flatMap((line) => importedBy(project, line));
    this.failure = failureOf(ran, lines, problems.length);
  }
}

/** None where another file imports it; null where the line does not tell, since the name has a line break. */
function importedBy({ folders, file }: Project, line: string): (string | null)[] {
  const [, name, from] = TRACED_WHOLE.exec(line) ?? [];
  if (name === undefined) return [null];
  return from === path.join(folders.syntax, file) ? [name] : [];
}

function problemsIn(lines: readonly string[], { file, hidden }: Project): Problem[] {
  const problems: { path: string; message: string; code: string }[] = [];
  let current: { message: string } | null = null;
  for (const line of lines) {
    const [, name, row, column, code = '', text = ''] = PLACED.exec(line) ?? [];
    if (name === file) {
      const problem = { path: `${row}:${column}`, message: `${code}: ${text}`, code };
      problems.push(problem);
      current = problem;
      // The lines below a message give its reasons, the deepest last.
    } else if (name === undefined && current !== null && /^\s+\S/.test(line)) current.message += `\n${line}`;
    else current = null;
  }
  return problems.map(({ path: place, message, code }) => ({
    path: place,
    message: without(hidden, message).slice(0, LONGEST),
    ...hintFor(code, message),
  }));
}

function without(hidden: readonly string[], message: string): string {
  return hidden.reduce((text, folder) => text.replaceAll(folder, ''), message);
}

function hintFor(code: string, message: string): { hint?: string } {
  if (code === 'TS2307' && /module '\.{1,2}\//.test(message)) {
    return { hint: 'The source is checked by itself: no file is beside it that it could import.' };
  }
  if (code === 'TS7016') {
    return { hint: 'Install the types of the package where Gantry is, or write // @ts-expect-error above the import.' };
  }
  return {};
}

function failureOf({ stderr, code, cut }: Ran, lines: readonly string[], problems: number): string | null {
  if (cut) return problems > 0 ? null : 'It said too much';
  if (code === 0) return null;
  // 1 and 2 tell of errors in a source; but a crash of the program ends with 2, too.
  const crashed = code === null || code > 2 || stderr !== '';
  if (crashed) return `It ended with ${code}: ${stderr.slice(0, LONGEST)}`;
  const about = lines.find((line) => UNPLACED.test(line));
  if (about !== undefined) return about;
  return lines.some((line) => PLACED.test(line)) ? null : `It ended with ${code} and said nothing`;
}
