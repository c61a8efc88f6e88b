import { GantryError } from '../../core/api.ts';

/** Names and values as URLs and forms have them; a repeated name is a list. Has no prototype. */
export type Pairs = Record<string, string | string[]>;

const MOST = 1000;

/**
 * Reads `a=1&b=2&b=3` (WHATWG URL, application/x-www-form-urlencoded). Throws INPUT_MALFORMED for invalid
 * percent-encoding and for the name `__proto__`, INPUT_TOO_LARGE for more than 1,000 pairs.
 */
export function parsePairs(text: string, what = 'The query'): Pairs {
  const pairs: Pairs = Object.create(null);
  let count = 0;
  for (let at = 0; at < text.length; ) {
    let end = text.indexOf('&', at);
    if (end === -1) end = text.length;
    if (end > at) {
      if (++count > MOST) throw new GantryError('INPUT_TOO_LARGE', `${what} has more than ${MOST} parameters`);
      const equals = text.indexOf('=', at);
      const split = equals === -1 || equals > end ? end : equals;
      const name = decoded(text.slice(at, split), what);
      if (name === '__proto__') throw new GantryError('INPUT_MALFORMED', `${what} has a parameter '__proto__'`);
      add(pairs, name, split === end ? '' : decoded(text.slice(split + 1, end), what));
    }
    at = end + 1;
  }
  return pairs;
}

function add(pairs: Pairs, name: string, value: string): void {
  const had = pairs[name];
  if (had === undefined) pairs[name] = value;
  else if (typeof had === 'string') pairs[name] = [had, value];
  else had.push(value);
}

function decoded(text: string, what: string): string {
  const spaced = text.includes('+') ? text.replaceAll('+', ' ') : text;
  if (!spaced.includes('%')) return spaced;
  try {
    return decodeURIComponent(spaced);
  } catch {
    throw new GantryError('INPUT_MALFORMED', `${what} has invalid percent-encoding`, {
      problems: [{ path: '', message: 'is not valid percent-encoded UTF-8' }],
    });
  }
}
