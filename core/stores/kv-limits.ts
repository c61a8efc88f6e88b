/** What every plugin of the kv port takes and refuses. */
import { GantryError } from '../errors.ts';

const KEY_CHARACTERS = 512;
/** 1 MiB. */
const VALUE_BYTES = 1_048_576;
/** A hundred years. */
const TTL_MS = 3_155_760_000_000;
const PAGE = 10_000;
const SHOWN = 60;

export function checkKey(key: string, what = 'key'): void {
  const expected = `a text of 1 to ${KEY_CHARACTERS} characters without NUL`;
  if (typeof key !== 'string') throw invalid(what, expected, typeof key);
  // Counted only where the number of UTF-16 units does not settle it.
  const tooLong = key.length > 2 * KEY_CHARACTERS || (key.length > KEY_CHARACTERS && [...key].length > KEY_CHARACTERS);
  if (key === '' || tooLong) throw invalid(what, expected, `${key.length} of them`);
  if (key.includes('\0') || !key.isWellFormed())
    throw invalid(what, `${expected}, in whole Unicode characters`, shown(key));
}

export function checkPrefix(prefix: string): void {
  if (prefix !== '') checkKey(prefix, 'prefix');
}

export function checkValue(value: string, what = 'value'): void {
  const expected = `a text of at most ${VALUE_BYTES} bytes in UTF-8`;
  if (typeof value !== 'string') throw invalid(what, expected, typeof value);
  // No character has more than 3 bytes for each of its UTF-16 units.
  const bytes = value.length * 3 <= VALUE_BYTES ? 0 : Buffer.byteLength(value);
  if (bytes > VALUE_BYTES) throw invalid(what, expected, `${bytes} bytes`);
  if (!value.isWellFormed()) throw invalid(what, 'whole Unicode characters', 'half of a surrogate pair');
}

export function checkTtl(ttlMs: number): void {
  if (Number.isInteger(ttlMs) && ttlMs >= 1 && ttlMs <= TTL_MS) return;
  throw invalid('ttlMs', `a whole number from 1 to ${TTL_MS}`, String(ttlMs));
}

export function checkWhole(number: number, what: string): void {
  if (!Number.isSafeInteger(number)) throw invalid(what, 'a safe whole number', String(number));
}

export function checkLimit(limit: number): void {
  if (Number.isInteger(limit) && limit >= 1 && limit <= PAGE) return;
  throw invalid('limit', `a whole number from 1 to ${PAGE}`, String(limit));
}

/** The cursor of the next page; callers hand it back as it is. */
export function cursorOf(prefix: string, last: string): string {
  return Buffer.from(JSON.stringify([prefix, last])).toString('base64url');
}

/** The last key before the page. Throws INPUT_INVALID for what is no `next` of the same list. */
export function lastOf(cursor: string, prefix: string): string {
  const [of, last] = parsed(cursor);
  if (of === prefix && typeof last === 'string' && last.startsWith(prefix)) return last;
  throw new GantryError('INPUT_INVALID', 'The page to go on from is not known', {
    problems: [
      { path: '/after', message: 'is malformed', expected: "'next' of the page before", got: shown(String(cursor)) },
    ],
  });
}

function parsed(cursor: string): unknown[] {
  try {
    const value: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString());
    return Array.isArray(value) ? value : [];
  } catch {
    return [];
  }
}

function invalid(what: string, expected: string, got: string): GantryError {
  return new GantryError('INVALID', `The ${what} is not valid`, {
    problems: [{ path: `/${what}`, message: `must be ${expected}`, expected, got }],
  });
}

function shown(text: string): string {
  return JSON.stringify(text.slice(0, SHOWN));
}
