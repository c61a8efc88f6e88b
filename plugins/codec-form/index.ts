import { definePlugin, GantryError, pointerOf, Type } from '../../core/api.ts';
import { parsePairs } from '../_form/pairs.ts';

/**
 * What HTML forms send (WHATWG URL, application/x-www-form-urlencoded), always UTF-8. Reads an object of strings, a
 * name that occurs several times as a list; declared types come by coercion. Writes an object of strings, finite
 * numbers, booleans, bigints, dates (ISO 8601) and lists of these; null is an empty value, undefined is left out.
 * decode(encode(x)) is x for strings and lists of two or more.
 */
export default definePlugin({
  id: 'codec.form',
  api: 1,
  config: Type.Object({}, { additionalProperties: false }),
  create: () => ({
    contentTypes: ['application/x-www-form-urlencoded'],
    typed: false,
    decode: (raw: Uint8Array | string) => parsePairs(textOf(raw), 'The form'),
    encode,
  }),
});

const utf8 = new TextDecoder('utf-8', { fatal: true });

function textOf(raw: Uint8Array | string): string {
  if (typeof raw === 'string') return raw.startsWith('\ufeff') ? raw.slice(1) : raw;
  try {
    return utf8.decode(raw);
  } catch {
    throw new GantryError('INPUT_MALFORMED', 'The form is not UTF-8', {
      problems: [{ path: '', message: 'has bytes that are not UTF-8', expected: 'UTF-8, percent-encoded' }],
    });
  }
}

function encode(value: unknown): string {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Date) {
    throw unwritable('', 'is no object of names and values');
  }
  const pairs: string[] = [];
  for (const [name, entry] of Object.entries(value)) {
    const path = pointerOf([name]);
    if (name === '__proto__') throw unwritable(path, 'has a name that no form may have');
    if (entry === undefined) continue;
    for (const one of Array.isArray(entry) ? Array.from(entry) : [entry]) {
      pairs.push(`${escaped(name, path)}=${escaped(scalar(one, path), path)}`);
    }
  }
  return pairs.join('&');
}

function scalar(value: unknown, path: string): string {
  if (value === null || value === undefined) return '';
  if (typeof value === 'string') return value;
  if (typeof value === 'boolean' || typeof value === 'bigint') return String(value);
  if (typeof value === 'number' && Number.isFinite(value)) return String(value);
  if (value instanceof Date && !Number.isNaN(value.getTime())) return value.toISOString();
  throw unwritable(
    path,
    `is ${typeof value === 'number' ? String(value) : `of type ${typeof value}`}, no single value`,
  );
}

/** As the serializer of WHATWG URL does, but that `!'()~` may stand in both. */
function escaped(text: string, path: string): string {
  if (!text.isWellFormed()) throw unwritable(path, 'has a lone surrogate');
  return encodeURIComponent(text).replaceAll('%20', '+');
}

function unwritable(path: string, why: string): GantryError {
  return new GantryError('OUTPUT_INVALID', 'The output cannot be written as a form', {
    hint: `Mend the service: ${path === '' ? 'the output' : path} ${why}.`,
  });
}
