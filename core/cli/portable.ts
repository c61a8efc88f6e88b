import { readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { didYouMean, GantryError, type Problem } from '../errors.ts';
import { pointerOf, stepsOf } from '../path.ts';
import type { Definition, Portable } from '../records/record.ts';
import { readText } from './content.ts';
import { usage } from './failure.ts';
import { KINDS } from './kinds.ts';
import { escapeReferences, putIn } from './references.ts';
import type { Terminal } from './terminal.ts';
import { type Path, readYaml, writeYaml, type YamlDocument } from './yaml.ts';

/** A record of a file, and where it stands there. */
export interface Placed extends Portable {
  readonly document: YamlDocument;
  readonly path: Path;
}

const ABOUT = `Records of Gantry, by kind and name. 'gantry apply -f FILE' puts them into a server.
Secrets are sealed: only an installation with the same key can read them. \${env:NAME} is put in by apply.`;

/**
 * Records as YAML, by kind in the order of KINDS and by name; a kind is a list of definitions. The same records give the
 * same text, however their keys are ordered. Reading it gives them again.
 */
export function writePortable(records: readonly Portable[]): string {
  const byKind: Record<string, unknown[]> = {};
  for (const kind of new Set([...KINDS.map(({ name }) => name), ...records.map((one) => one.kind)])) {
    const own = records.filter((one) => one.kind === kind);
    const sorted = own.sort((a, b) => compare(a.definition.name, b.definition.name));
    if (own.length > 0) byKind[kind] = sorted.map(({ definition }) => arranged(definition, fieldsOf(kind)));
  }
  return writeYaml(byKind, ABOUT);
}

function fieldsOf(kind: string): readonly string[] {
  return KINDS.find(({ name }) => name === kind)?.keys ?? ['name'];
}

/** Keys in one order: those given first, then `name`, then the alphabet; texts so that reading gives them again. */
function arranged(value: unknown, first: readonly string[] = ['name']): unknown {
  if (typeof value === 'string') return escapeReferences(value);
  if (Array.isArray(value)) return value.map((entry) => arranged(entry));
  if (typeof value !== 'object' || value === null) return value;
  const rank = (key: string) => (first.includes(key) ? first.indexOf(key) : first.length);
  const entries = Object.entries(value).sort(([a], [b]) => rank(a) - rank(b) || compare(a, b));
  // A map keeps the order of keys that look like numbers, too.
  return new Map(entries.map(([key, entry]) => [key, arranged(entry)]));
}

/** By code units: the same on every machine. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/**
 * Reads files, folders of *.yaml, and stdin for `-`; `known` tells which names are kinds. Throws USAGE, or RECORD_INVALID
 * with the problems of all files.
 */
export async function readPortable(
  files: readonly string[],
  terminal: Terminal,
  known: (kinds: readonly string[]) => Promise<ReadonlySet<string>>,
): Promise<readonly Placed[]> {
  const placed: Placed[] = [];
  const problems: Problem[] = [];
  for (const file of files.flatMap(filesOf)) {
    const { name, text } = await readText(file, terminal);
    try {
      for (const document of readYaml(text, name, (value) => putIn(value, terminal.env))) {
        const kinds = isMap(document.value) ? Object.keys(document.value) : [];
        placed.push(...recordsOf(document, problems, [...(await known(kinds))]));
      }
    } catch (thrown) {
      if (!(thrown instanceof GantryError) || thrown.problems === undefined) throw thrown;
      problems.push(...thrown.problems);
    }
  }
  problems.push(...twice(placed));
  if (problems.length === 0) return placed;
  throw new GantryError('RECORD_INVALID', `${problems.length} problem(s) in the files; nothing was sent:`, {
    problems,
  });
}

function filesOf(file: string): string[] {
  if (file === '-' || !isFolder(file)) return [file];
  const found = readdirSync(file).filter((name) => /\.ya?ml$/.test(name));
  if (found.length > 0) return found.sort(compare).map((name) => path.join(file, name));
  throw usage(`The folder ${file} has no file *.yaml`);
}

function isFolder(file: string): boolean {
  return statSync(file, { throwIfNoEntry: false })?.isDirectory() === true;
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function recordsOf(document: YamlDocument, problems: Problem[], known: readonly string[]): Placed[] {
  const { value, file } = document;
  const tell = (at: Path, problem: Omit<Problem, 'path'>) => {
    problems.push({ path: `${file}:${document.line(at)} ${pointerOf(at)}`.trim(), ...problem });
  };
  const expected = `kinds with a list of definitions each: ${known.join(', ')}`;
  if (value === null || value === undefined) return [];
  if (!isMap(value)) {
    tell([], { message: 'is no configuration', expected });
    return [];
  }
  return Object.entries(value).flatMap(([kind, list]) => {
    if (!known.includes(kind)) {
      const hint = didYouMean(kind, known);
      tell([kind], { message: `is no kind of record`, expected, ...(hint === '' ? {} : { hint }) });
      return [];
    }
    if (list === null) return [];
    if (!Array.isArray(list)) {
      tell([kind], { message: 'must be a list', expected: `a list, each with the fields of a ${kind}` });
      return [];
    }
    return list.flatMap((definition: unknown, i): Placed[] => {
      const name = (definition as { name?: unknown } | null)?.name;
      if (typeof name === 'string' && name !== '') {
        return [{ kind, definition: definition as Definition, document, path: [kind, i] }];
      }
      tell([kind, i], { message: `is a ${kind} without a name`, expected: 'name: TEXT' });
      return [];
    });
  });
}

function twice(placed: readonly Placed[]): Problem[] {
  const first = new Map<string, Placed>();
  return placed.flatMap((one) => {
    const key = `${one.kind}/${one.definition.name}`;
    const other = first.get(key);
    if (other === undefined) first.set(key, one);
    return other === undefined
      ? []
      : [{ path: whereOf(one, []), message: `is also at ${lineOf(other, [])}`, hint: 'Remove one of the two.' }];
  });
}

/** A problem of the server's, `/records/3/definition/address`, as a place in a file. */
export function place(problem: Problem, records: readonly Placed[]): Problem {
  const [, index, below = ''] = /^\/records\/(\d+)(?:\/definition)?(\/.*)?$/s.exec(problem.path) ?? [];
  const record = records[Number(index)];
  if (index === undefined || record === undefined) return problem;
  const steps = stepsOf(below);
  // The server names the record, too.
  const suffix = ` (${record.kind} '${record.definition.name}')`;
  const message = problem.message.endsWith(suffix) ? problem.message.slice(0, -suffix.length) : problem.message;
  return { ...problem, path: whereOf(record, steps), message };
}

function whereOf(record: Placed, steps: readonly string[]): string {
  const where = `${lineOf(record, steps)} ${record.kind} '${record.definition.name}'`;
  return `${where} ${pointerOf(steps)}`.trim();
}

function lineOf({ document, path: at }: Placed, steps: readonly string[]): string {
  return `${document.file}:${document.line([...at, ...steps])}`;
}
