import { GantryError, type Problem } from '../../core/api.ts';
import { isStorable } from './content.ts';

/** What differs between engines for who hands on another's statement. */
export interface Engine {
  /** As Sequelize calls it. */
  readonly engine: string;
  /** What makes tables does not end the transaction. */
  readonly transactionalDdl: boolean;
}

/** A statement that this plugin did not write, as Sequelize takes it. */
export interface Foreign {
  /** Its first word, or that of what follows WITH, in capitals. */
  readonly verb: string;
  /** With a place `$1`, `$2` ... for each value; every other `$` is written so that Sequelize gives it back as it was. */
  readonly text: string;
  readonly values: readonly unknown[];
}

/** The verbs of statements that change rows. */
export const CHANGING = new Set(['INSERT', 'UPDATE', 'DELETE', 'REPLACE', 'MERGE']);
const READING = new Set(['SELECT', 'VALUES']);
/** Without this list, what ends a transaction would have to be known of each engine. */
const ACCEPTED = new Set([...CHANGING, ...READING, 'WITH']);
/** Part of the transaction here; elsewhere each ends it. */
const ACCEPTED_TOO = new Set(['CREATE', 'ALTER', 'DROP', 'TRUNCATE', 'COMMENT', 'CALL', 'DO', 'LOCK']);

/** Throws INVALID for what must not run within a transaction of ours, and for values that do not fit. */
export function statementOf(sql: string, values: readonly unknown[], of: Engine): Foreign {
  const { verb, pieces, places, several } = read(sql, of.engine);
  if (several) throw refused(sql, 'has several statements', 'one statement', 'Run each by itself.');
  if (!ACCEPTED.has(verb) && !(of.transactionalDdl && ACCEPTED_TOO.has(verb))) throw strange(sql, verb, of);
  checkPlaces(sql, places, values.length);
  const bound = values.map((value, i) => boundOf(value, i, of.engine));
  // Oracle counts places and not names: each place has a value of its own.
  const each = of.engine === 'oracle';
  const text = pieces
    .map((piece, i) => (i === 0 ? plain(piece) : `$${each ? i : places[i - 1]} ${plain(piece)}`))
    .join('');
  return { verb, text, values: each ? places.map((place) => bound[place - 1]) : bound };
}

interface Reading {
  readonly verb: string;
  /** What is between the places. */
  readonly pieces: readonly string[];
  readonly places: readonly number[];
  readonly several: boolean;
}

/** What has to be told apart from a place: comments, texts and names in their quotes, words. */
function tokens(comment: string, quoted: string): RegExp {
  const kinds = [
    String.raw`(?<blank>\s+|/\*[^]*?\*/|${comment})`,
    // PostgreSQL's with escapes, Oracle's with brackets, then the usual ones.
    String.raw`[eE]'(?:[^'\\]|\\[^]|'')*'`,
    String.raw`[nN]?[qQ]'(?:\[[^]*?\]|\{[^]*?\}|\([^]*?\)|<[^]*?>)'`,
    quoted,
    '`[^`]*`',
    String.raw`\$(?<tag>[A-Za-z_]\w*)?\$[^]*?\$\k<tag>\$`,
    String.raw`\$(?<place>[1-9]\d*)`,
    String.raw`(?<word>[\p{L}_][\p{L}\p{N}_$]*)`,
    String.raw`[\d.]+\w*`,
    '[^]',
  ];
  return new RegExp(kinds.join('|'), 'gu');
}
const USUAL = tokens('--[^\\n]*', `'(?:[^']|'')*'|"[^"]*"`);
/** A backslash escapes, and two dashes are a comment only before a blank. */
const MYSQL = tokens(String.raw`--(?=\s|$)[^\n]*|#[^\n]*`, String.raw`'(?:[^'\\]|\\[^])*'|"(?:[^"\\]|\\[^])*"`);

function read(sql: string, engine: string): Reading {
  const pieces = [''];
  const places: number[] = [];
  let [verb, depth, ended, several] = ['', 0, false, false];
  for (const match of sql.matchAll(engine === 'mysql' || engine === 'mariadb' ? MYSQL : USUAL)) {
    const [token] = match;
    const { blank, place, word } = match.groups as Record<string, string | undefined>;
    if (blank === undefined && ended && token !== ';') several = true;
    if (token === ';') ended = true;
    else if (place === undefined) pieces.push(`${pieces.pop()}${token}`);
    else {
      places.push(Number(place));
      pieces.push('');
    }
    if (token === '(') depth++;
    if (token === ')') depth--;
    if (word !== undefined) verb = verbWith(verb, word.toUpperCase(), depth);
  }
  return { verb, pieces, places, several };
}

function verbWith(verb: string, word: string, depth: number): string {
  if (verb === '') return word;
  return verb === 'WITH' && depth === 0 && (CHANGING.has(word) || READING.has(word)) ? word : verb;
}

/** Sequelize takes `$$` for `$`, but not after a letter or a digit. */
function plain(text: string): string {
  return text.replace(/(^|[^$])(\$+)/g, (_, before: string, run: string) =>
    /\w/.test(before) ? `${before}$${run.slice(1).repeat(2)}` : `${before}${run.repeat(2)}`,
  );
}

function checkPlaces(sql: string, places: readonly number[], count: number): void {
  const beyond = places.find((place) => place > count);
  const how = `${count} value(s)`;
  if (beyond !== undefined)
    throw refused(sql, `has a $${beyond}, and there are ${how}`, how, 'Give a value for each place.');
  const spare = Array.from({ length: count }, (_, i) => i + 1).find((place) => !places.includes(place));
  if (spare !== undefined) throw refused(sql, `has no $${spare}, and there are ${how}`, how, 'Take the value away.');
}

/** As every driver takes it and every engine keeps it. */
function boundOf(value: unknown, i: number, engine: string): unknown {
  if (value === null || value === undefined) return null;
  if (typeof value === 'string' && isStorable(value)) return value;
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  if (typeof value === 'bigint') return String(value);
  if (typeof value === 'boolean') return engine === 'oracle' ? Number(value) : value;
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  if (value instanceof Date && !Number.isNaN(value.getTime())) return engine === 'oracle' ? value : dateOf(value);
  throw invalid('A value of the statement is not valid', {
    path: `/values/${i}`,
    message: 'cannot be kept',
    expected: 'a text without NUL and half surrogate pairs, a finite number, a boolean, null, a Date or a Buffer',
    got: describe(value),
    hint: 'Write what has parts as JSON: JSON.stringify(value).',
  });
}

/** UTC, which is the zone of each session: drivers differ in what they make of a Date, and some take their own zone. */
function dateOf(date: Date): string {
  return date.toISOString().replace('T', ' ').replace('Z', '');
}

function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value).slice(0, 100);
  return typeof value === 'object' ? (value?.constructor?.name ?? 'an object') : String(value);
}

function strange(sql: string, verb: string, { transactionalDdl }: Engine): GantryError {
  const some = [...ACCEPTED, ...(transactionalDdl ? ACCEPTED_TOO : [])].join(', ');
  const hint = ACCEPTED_TOO.has(verb)
    ? 'This engine would end the transaction with it: make tables beforehand, e.g. when the service starts.'
    : 'The transaction begins and ends by itself; what the work throws undoes it.';
  return refused(sql, `begins with ${verb === '' ? 'no word' : verb}`, `one of ${some}`, hint);
}

function refused(sql: string, message: string, expected: string, hint: string): GantryError {
  const got = sql.length > 200 ? `${sql.slice(0, 200)}...` : sql;
  return invalid(`The statement ${message}`, { path: '/sql', message, expected, got, hint });
}

function invalid(text: string, problem: Problem & { readonly hint: string }): GantryError {
  return new GantryError('INVALID', text, { problems: [problem], hint: problem.hint });
}
