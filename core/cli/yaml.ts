/** YAML 1.2 in and out, each value with its place in the file. */
import {
  Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type ParsedNode,
  parseAllDocuments,
  parseDocument,
  Scalar,
  visit,
} from 'yaml';
import { GantryError, type Problem } from '../errors.ts';
import { pointerOf } from '../path.ts';

export type Path = readonly (string | number)[];

/** One document of a file, as JSON. */
export interface YamlDocument {
  /** As it is told to people: a path, or `stdin`. */
  readonly file: string;
  readonly value: unknown;
  /** The line, from 1, of what a path leads to, or of what is nearest above it. */
  line(path: Path): number;
}

/** What a text stands for, e.g. with references put in; `problem` says why it cannot. */
export type Fill = (text: string) => { readonly text: string; readonly problem?: Omit<Problem, 'path'> };

const IN_FLOW = 'Between brackets or braces, what has ${...} in it needs quotes, or a line of its own.';
/** As deep as the server takes it. */
const DEEPEST = 100;
/** Of what aliases stand for. */
const MOST_COPIED = 1_000_000;

/**
 * Reads every document of a text. What `fill` puts into a text without quotes takes the type that it looks like, as if
 * it had been written there; text in quotes stays text. Throws RECORD_INVALID with all problems, by file and line.
 */
export function readYaml(text: string, file: string, fill: Fill | null = null): YamlDocument[] {
  const lines = new LineCounter();
  const parsed = parseAllDocuments(text.replace(/^\ufeff/, ''), { lineCounter: lines, prettyErrors: false });
  const documents = [...(Array.isArray(parsed) ? parsed : [])] as Document.Parsed[];
  const problems: Problem[] = [];
  const at = (offset: number) => `${file}:${lines.linePos(offset).line}`;
  for (const { errors, warnings } of documents) {
    // What follows the first is mostly made by it.
    const [first] = [...errors, ...warnings];
    if (first === undefined) continue;
    const source = text.split('\n')[lines.linePos(first.pos[0]).line - 1] ?? '';
    const hint = /[{[].*\$\{/.test(source) ? { hint: IN_FLOW } : {};
    problems.push({ path: at(first.pos[0]), message: first.message, ...hint });
  }
  if (problems.length > 0) throw invalidYaml(file, problems);
  const made = documents.map((document): YamlDocument => {
    const reading: Reading = { document, at, fill, problems, copied: 0, inAlias: false };
    const value = read(document.contents, reading, { pointer: '', depth: 0 });
    return { file, value, line: (path) => lines.linePos(offsetOf(document.contents, path, document)).line };
  });
  if (problems.length > 0) throw invalidYaml(file, problems);
  return made;
}

interface Reading {
  readonly document: Document.Parsed;
  readonly fill: Fill | null;
  readonly problems: Problem[];
  at(offset: number): string;
  copied: number;
  inAlias: boolean;
}

/** Where a value stands: a JSON pointer, and how many lists and maps it is in. */
interface Place {
  readonly pointer: string;
  readonly depth: number;
}

function read(node: Node | ParsedNode | null, reading: Reading, place: Place): unknown {
  if (place.depth > DEEPEST) return tell(node, reading, place, { message: `is nested deeper than ${DEEPEST} levels` });
  if (reading.inAlias && ++reading.copied > MOST_COPIED) {
    return tell(node, reading, place, { message: `is an alias of more than ${MOST_COPIED} values` });
  }
  if (isAlias(node)) return readAlias(node, reading, place);
  if (isScalar(node)) return readScalar(node, reading, place);
  if (isSeq(node)) return node.items.map((item, i) => read(item as Node | null, reading, below(place, i)));
  if (!isMap(node)) return null;
  const result: Record<string, unknown> = {};
  for (const { key, value } of node.items) {
    const name = isScalar(key) && typeof key.value !== 'object' ? String(key.value) : null;
    if (name === null || name === '__proto__') {
      tell((key as Node | null) ?? node, reading, place, {
        message: 'has a key that is not possible',
        expected: 'texts',
      });
    } else result[name] = read(value as Node | null, reading, below(place, name));
  }
  return result;
}

function below({ pointer, depth }: Place, step: string | number): Place {
  return { pointer: `${pointer}${pointerOf([step])}`, depth: depth + 1 };
}

function readAlias(
  node: Node & { resolve(document: Document): Node | undefined },
  reading: Reading,
  place: Place,
): unknown {
  const target = node.resolve(reading.document);
  if (target === undefined) return tell(node, reading, place, { message: 'is an alias of nothing' });
  const within = reading.inAlias;
  const before = reading.problems.length;
  reading.inAlias = true;
  // What an alias stands for may hold the alias itself: the depth ends it.
  const value = read(target, reading, { ...place, depth: place.depth + 1 });
  reading.inAlias = within;
  reading.problems.length = Math.min(reading.problems.length, before + 1);
  return value;
}

function readScalar(node: Scalar, reading: Reading, place: Place): unknown {
  const { value } = node;
  if (typeof value === 'number') {
    const source = node.source ?? '';
    return isExact(value, source) ? value : tell(node, reading, place, { ...INEXACT, got: source });
  }
  if (typeof value !== 'string' || reading.fill === null) return value;
  const { text, problem } = reading.fill(value);
  if (problem !== undefined) return tell(node, reading, place, problem);
  // Nothing at all is an empty text, not null: a variable that is empty is there.
  if (node.type !== Scalar.PLAIN || text === value || text === '') return text;
  const typed = plainValue(text);
  // What came from outside may be a secret: it is not shown.
  return typeof typed !== 'number' || isExact(typed, text) ? typed : tell(node, reading, place, INEXACT);
}

const INEXACT = { message: 'is a number that JSON cannot keep exactly', hint: 'Put it in quotes.' };

function isExact(value: number, source: string): boolean {
  if (!Number.isInteger(value)) return Number.isFinite(value);
  // A larger one is exact as JSON itself writes it.
  return Number.isSafeInteger(value) || String(value) === source || /^[^x]*[.e]/i.test(source);
}

function tell(node: Node | null, { at, problems }: Reading, { pointer }: Place, problem: Omit<Problem, 'path'>): null {
  problems.push({ path: `${at(node?.range?.[0] ?? 0)} ${pointer}`.trim(), ...problem });
  return null;
}

/** Of the key or list item that a path leads to, or of the nearest above it. */
function offsetOf(root: Node | ParsedNode | null, path: Path, document: Document): number {
  let at: Node | null | undefined = root;
  let offset = root?.range?.[0] ?? 0;
  for (const step of path) {
    if (isAlias(at)) at = at.resolve(document);
    if (isSeq(at)) {
      at = at.items[Number(step)] as Node | undefined;
      offset = at?.range?.[0] ?? offset;
    } else if (isMap(at)) {
      const pair = at.items.find(({ key }) => isScalar(key) && String(key.value) === String(step));
      at = pair?.value as Node | null | undefined;
      offset = (pair?.key as Node | undefined)?.range?.[0] ?? offset;
    } else break;
  }
  return offset;
}

function invalidYaml(file: string, problems: readonly Problem[]): GantryError {
  return new GantryError('RECORD_INVALID', `${file} cannot be used:`, { problems });
}

const { schema } = new Document();

/** A text without quotes as YAML 1.2 takes it: null, true, a number, or text (10.3.2). */
function plainValue(text: string): unknown {
  const tag = schema.tags.find((one) => one.default === true && 'test' in one && one.test?.test(text) === true);
  if (tag === undefined || !('resolve' in tag)) return text;
  const value = (tag.resolve as (text: string, tell: () => void, options: object) => unknown)(text, () => {}, {});
  return isScalar(value) ? value.value : value;
}

/** One value as it is written on a command line: a scalar, or a list or map in flow style. Null where it is malformed. */
export function readValue(text: string): { readonly value: unknown } | null {
  if (text.trim() === '') return { value: '' };
  if (!/^\s*["'[{]/.test(text)) return { value: plainValue(text.trim()) };
  const document = parseDocument(text, { prettyErrors: false });
  return document.errors.length > 0 ? null : { value: document.toJS() as unknown };
}

/** What a terminal would obey or not show; only double quotes can escape it. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/;
const ESCAPED = new RegExp(UNSEEN, 'g');

/** JSON as YAML, in the order of its keys: reading it gives the same. `comment` lines come first. */
export function writeYaml(value: unknown, comment = ''): string {
  // `yes` is text here, and would not be for readers of YAML 1.1.
  const document = new Document(value, { aliasDuplicateObjects: false, compat: 'yaml-1.1' });
  visit(document, {
    Scalar(_, node) {
      if (typeof node.value === 'string' && UNSEEN.test(node.value)) node.type = Scalar.QUOTE_DOUBLE;
    },
  });
  const text = document
    .toString({ lineWidth: 0, blockQuote: 'literal' })
    .replace(ESCAPED, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
  const head = comment === '' ? '' : comment.replace(/^/gm, '# ').replaceAll('# \n', '#\n');
  return head === '' ? text : `${head}\n${text}`;
}
