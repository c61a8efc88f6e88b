import { GantryError, type Problem } from '../../core/api.ts';
import type { Author, Write } from '../../core/ports/index.ts';

/** The longest text of each column, in characters (code points). */
export const LONGEST = {
  ...{ kind: 64, name: 200, field: 64, value: 200, author: 200, cid: 200, key: 200 },
  ...{ holder: 100, server: 200, token: 100, job: 200, service: 200, code: 200, reason: 4000 },
} as const;

/** Whether every engine keeps and compares it as it is: NUL is refused by some, half a surrogate pair changed by others. */
export function isStorable(text: string): boolean {
  return !text.includes('\0') && text.isWellFormed();
}

/** Whether there can be a record of that name. */
export function isName(text: string, most: number = LONGEST.name): boolean {
  return text !== '' && isStorable(text) && lengthOf(text) <= most;
}

/** Throws RECORD_INVALID that lists what no database could keep. */
export function checkWrites(writes: readonly Write[], by: Author): void {
  const problems: Problem[] = [];
  const text = (path: string, value: unknown, most: number) => {
    const wrong = problemOf(value, most);
    if (wrong !== null) problems.push({ path, ...wrong });
  };
  text('/by/name', by.name, LONGEST.author);
  if (by.cid !== undefined) text('/by/cid', by.cid, LONGEST.cid);
  for (const [i, write] of writes.entries()) {
    text(`/writes/${i}/kind`, write.kind, LONGEST.kind);
    text(`/writes/${i}/name`, write.name, LONGEST.name);
    if (write.action === 'remove') continue;
    for (const [field, value] of Object.entries(write.fields ?? {})) {
      const path = `/writes/${i}/fields/${pointed(field)}`;
      text(path, field, LONGEST.field);
      if (value !== '') text(path, value, LONGEST.value);
    }
    for (const [j, reference] of (write.references ?? []).entries()) {
      text(`/writes/${i}/references/${j}/kind`, reference.kind, LONGEST.kind);
      text(`/writes/${i}/references/${j}/name`, reference.name, LONGEST.name);
    }
  }
  if (problems.length > 0) {
    throw new GantryError('RECORD_INVALID', `The change has ${problems.length} problem(s)`, { problems });
  }
}

/** A JSON text. Throws RECORD_INVALID for what is none, such as a circle. */
export function toJson(value: unknown, path: string): string {
  let cause: unknown;
  try {
    const text = JSON.stringify(value) as string | undefined;
    if (text !== undefined) return text;
  } catch (thrown) {
    cause = thrown;
  }
  const got = cause instanceof Error ? (cause.message.split('\n', 1)[0] as string) : typeof value;
  const problems = [{ path, message: 'cannot be kept as JSON', expected: 'JSON', got }];
  throw new GantryError('RECORD_INVALID', 'The change has 1 problem(s)', { problems, cause });
}

/** What is wrong with a text that is to be kept; null where nothing is. */
export function problemOf(value: unknown, most: number): Omit<Problem, 'path'> | null {
  const expected = `1 to ${most} characters`;
  if (typeof value !== 'string') return { message: 'must be a text', expected, got: typeof value };
  if (value === '') return { message: 'must not be empty', expected, got: "''" };
  const length = lengthOf(value);
  if (length > most) return { message: 'is too long', expected, got: `${length} characters` };
  if (value.includes('\0')) return { message: 'must not have the character NUL', expected, got: JSON.stringify(value) };
  if (value.isWellFormed()) return null;
  return { message: 'has half a surrogate pair, which is no character', expected, got: JSON.stringify(value) };
}

/** In code points, as databases and JSON Schema count. */
function lengthOf(text: string): number {
  let count = text.length;
  for (let i = 0; i < text.length - 1; i++) {
    const unit = text.charCodeAt(i);
    if (unit >= 0xd800 && unit < 0xdc00) count--;
  }
  return count;
}

/** A key in a JSON pointer (RFC 6901). */
function pointed(key: string): string {
  return key.replaceAll('~', '~0').replaceAll('/', '~1');
}
