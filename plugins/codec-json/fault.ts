/** Where text stops being JSON, since the engine tells it only sometimes, and then by quoting the body. */

export interface Fault {
  /** Index in the text; its length where the text ends too early. */
  readonly at: number;
  /** What JSON has in such a place. */
  readonly expected: string;
}

const WORDS = ['true', 'false', 'null'];
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const HEX = /[0-9a-fA-F]{4}/y;
const ESCAPED = '"\\/bfnrt';

/** What may come next, and what to say where it does not. */
const EXPECTED = {
  value: 'a value',
  firstValue: "a value or ']'",
  name: 'a name in double quotes',
  firstName: "a name in double quotes or '}'",
  colon: "':'",
  inObject: "',' or '}'",
  inArray: "',' or ']'",
  end: 'the end of the body',
} as const;
type State = keyof typeof EXPECTED;

/** The first fault of a text that JSON.parse refused (RFC 8259). */
export function findFault(text: string): Fault {
  const open: ('{' | '[')[] = [];
  let state: State = 'value';
  let at = skipSpace(text, 0);
  for (; at < text.length; at = skipSpace(text, at)) {
    const char = text.charAt(at);
    if (char === '"' && isOneOf(state, 'value', 'firstValue', 'name', 'firstName')) {
      const string = readString(text, at);
      if ('expected' in string) return string;
      at = string.end;
      state = isOneOf(state, 'name', 'firstName') ? 'colon' : after(open);
    } else if (isOneOf(state, 'value', 'firstValue') && (char === '{' || char === '[')) {
      open.push(char);
      state = char === '{' ? 'firstName' : 'firstValue';
      at++;
    } else if (char === closing(state)) {
      open.pop();
      state = after(open);
      at++;
    } else if (char === ',' && isOneOf(state, 'inObject', 'inArray')) {
      state = state === 'inObject' ? 'name' : 'value';
      at++;
    } else if (char === ':' && state === 'colon') {
      state = 'value';
      at++;
    } else {
      const end = isOneOf(state, 'value', 'firstValue') ? endOfScalar(text, at) : at;
      if (end === at) break;
      at = end;
      state = after(open);
    }
  }
  return { at, expected: EXPECTED[state] };
}

function isOneOf(state: State, ...states: readonly State[]): boolean {
  return states.includes(state);
}

function after(open: readonly string[]): State {
  const within = open.at(-1);
  return within === undefined ? 'end' : within === '{' ? 'inObject' : 'inArray';
}

function closing(state: State): string {
  if (state === 'inObject' || state === 'firstName') return '}';
  return state === 'inArray' || state === 'firstValue' ? ']' : '';
}

function skipSpace(text: string, from: number): number {
  let at = from;
  while (at < text.length && ' \t\n\r'.includes(text.charAt(at))) at++;
  return at;
}

/** Behind a number or a word; `at` where there is none. */
function endOfScalar(text: string, at: number): number {
  const word = WORDS.find((w) => text.startsWith(w, at));
  if (word !== undefined) return at + word.length;
  NUMBER.lastIndex = at;
  return NUMBER.test(text) ? NUMBER.lastIndex : at;
}

function readString(text: string, from: number): { readonly end: number } | Fault {
  for (let at = from + 1; at < text.length; at++) {
    const char = text.charAt(at);
    if (char === '"') return { end: at + 1 };
    if (char < ' ') return { at, expected: 'no control character in a string' };
    if (char !== '\\') continue;
    at++;
    if (text.charAt(at) === 'u') {
      HEX.lastIndex = at + 1;
      if (!HEX.test(text)) return { at, expected: 'four hexadecimal digits' };
      at += 4;
    } else if (at >= text.length || !ESCAPED.includes(text.charAt(at))) {
      return { at, expected: 'one of " \\ / b f n r t u after a backslash' };
    }
  }
  return { at: text.length, expected: 'the closing quote of a string' };
}
