import { readFileSync } from 'node:fs';
import { GantryError } from '../errors.ts';
import { usage } from './failure.ts';
import type { Options } from './options.ts';
import { readAll, type Terminal } from './terminal.ts';
import { type Path, readValue, readYaml } from './yaml.ts';

type Tree = Record<string, unknown>;

/** What a record is to say, as --file, --set and --set-string give it. */
export interface Content {
  /** The whole of the file; empty where there is none. */
  readonly file: Tree;
  readonly sets: readonly Assignment[];
}

/** One value at a place. */
export interface Assignment {
  readonly path: Path;
  readonly value: unknown;
  /** As it was written, without the value. */
  readonly told: string;
}

/** Reads a file, or stdin for `-`. Throws USAGE where it cannot be read. */
export async function readText(file: string, { stdin }: Terminal): Promise<{ name: string; text: string }> {
  if (file === '-') return { name: 'stdin', text: await readAll(stdin) };
  try {
    return { name: file, text: readFileSync(file, 'utf8') };
  } catch (thrown) {
    throw usage(`The file ${file} cannot be read (${(thrown as NodeJS.ErrnoException).code})`);
  }
}

/** Throws USAGE, or RECORD_INVALID for a file that holds no definition. */
export async function readContent(options: Options, terminal: Terminal): Promise<Content> {
  const from = options.text('file');
  const sets = options.inOrder(['set', 'set-string']).map(({ name, value }) => assignment(name, value ?? ''));
  if (from === undefined) return { file: {}, sets };
  const { name, text } = await readText(from, terminal);
  const documents = readYaml(text, name);
  const [document] = documents;
  const value = document?.value;
  if (documents.length === 1 && isTree(value)) return { file: value, sets };
  const problem = { path: name, message: 'does not hold one definition', expected: 'a map of its fields' };
  throw new GantryError('RECORD_INVALID', `${name} cannot be used:`, { problems: [problem] });
}

/** `path.to.key=value`. Throws USAGE. */
export function assignment(option: string, text: string): Assignment {
  const example = 'E.g. --set address.path=/orders, --set "methods[0]=GET", --set active=false.';
  const { path, told, rest } = pathOf(text);
  if (rest === null) throw usage(`--${option} ${told} has no '=': it must be key=value`, example);
  if (path === null) throw usage(`--${option}: '${told}' is no path to a value`, example);
  if (option === 'set-string') return { path, value: rest, told };
  const read = readValue(rest);
  if (read !== null) return { path, value: read.value, told };
  throw usage(
    `--${option} ${told}: the value is not valid YAML`,
    'Use --set-string for a text that is to stay as it is.',
  );
}

/** Keys between dots, list indexes in brackets; a backslash takes its meaning from a dot, bracket or '='. */
function pathOf(text: string): { path: Path | null; told: string; rest: string | null } {
  const end = /^(?:\\.|[^=\\])*/s.exec(text)?.[0] ?? '';
  const rest = text.length > end.length ? text.slice(end.length + 1) : null;
  const step = /(?:^|(?<=.)\.)((?:\\.|[^.[\]\\])+)|\[(\d+)\]/gsy;
  const path: (string | number)[] = [];
  while (step.lastIndex < end.length) {
    const found = step.exec(end);
    if (found === null) return { path: null, told: end, rest };
    const [, key, index] = found;
    path.push(key === undefined ? Number(index) : key.replace(/\\(.)/gs, '$1'));
  }
  return { path: path.length === 0 || typeof path[0] === 'number' ? null : path, told: end, rest };
}

/** A copy of a definition with values put in at their places. Throws USAGE for a place that is not possible. */
export function assign(definition: Tree, sets: readonly Assignment[]): Tree {
  const copy = structuredClone(definition);
  for (const set of sets) put(copy, set.path, set, false);
  return copy;
}

/** The changes that make `current` what the file and the assignments say; null takes a field away. */
export function changesOf({ file, sets }: Content, current: Tree): Tree {
  const merged: Tree = structuredClone({ ...current, ...file });
  const changes: Tree = { ...file };
  for (const set of sets) {
    const top = String(set.path[0]);
    if (set.path.length === 1) merged[top] = set.value;
    else put(merged, set.path, set, true);
    changes[top] = merged[top];
  }
  return changes;
}

function put(root: Tree, path: Path, { value, told }: Assignment, removes: boolean): void {
  let at: unknown = root;
  for (const [i, step] of path.entries()) {
    const last = i === path.length - 1;
    const next = typeof path[i + 1] === 'number' ? [] : {};
    const list = Array.isArray(at) ? at : null;
    const key = list === null ? String(step) : indexOf(list, step, told);
    if (list === null && (!isTree(at) || typeof step === 'number')) {
      throw usage(`--set ${told}: '${step}' is looked for in what is no ${typeof step === 'number' ? 'list' : 'map'}`);
    }
    if (key === '__proto__') throw usage(`--set ${told}: '__proto__' cannot be a key`);
    const into = at as Tree;
    if (!last) {
      if (!Object.hasOwn(into, key) || into[key] === null || into[key] === undefined) into[key] = next;
      at = into[key];
    } else if (value === null && removes) {
      if (list === null) delete into[key];
      else list.splice(Number(key), 1);
    } else into[key] = value;
  }
}

/** A list has no holes. */
function indexOf(list: readonly unknown[], step: string | number, told: string): string {
  if (/^\d+$/.test(String(step)) && Number(step) <= list.length) return String(Number(step));
  throw usage(
    `--set ${told}: '${step}' is no place in a list of ${list.length}`,
    'The index that is one too many adds to it.',
  );
}

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
