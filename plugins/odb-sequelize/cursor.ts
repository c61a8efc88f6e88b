import { GantryError } from '../../core/api.ts';

/** Where a page ended, as `next` of that page tells it: opaque for who hands it back. `of` is what was listed. */
export function cursorOf(of: string, ...position: readonly (string | number | null)[]): string {
  return Buffer.from(JSON.stringify([of, ...position])).toString('base64url');
}

/** The position in a cursor of the same list. Throws INPUT_INVALID for anything else. */
export function positionIn(cursor: string, of: string, fits: readonly ((value: unknown) => boolean)[]): unknown[] {
  const [made, ...position] = parsed(cursor);
  const right = made === of && position.length === fits.length && fits.every((fit, i) => fit(position[i]));
  if (right) return position;
  const foreign = typeof made === 'string' && made !== of;
  throw new GantryError('INPUT_INVALID', 'The page to go on from is not known', {
    problems: [
      {
        path: '/after',
        message: foreign ? 'is of a list in another order' : 'is malformed',
        expected: "'next' of the page before",
        got: cursor.slice(0, 100),
      },
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

export const isText = (value: unknown): boolean => typeof value === 'string';
export const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;

/** Throws INPUT_INVALID where a page cannot have so many. */
export function checkLimit(limit: number, most = 1000): void {
  if (Number.isInteger(limit) && limit >= 1 && limit <= most) return;
  const expected = `a whole number from 1 to ${most}`;
  throw new GantryError('INPUT_INVALID', 'The limit is not valid', {
    problems: [{ path: '/limit', message: `must be ${expected}`, expected, got: String(limit) }],
  });
}
