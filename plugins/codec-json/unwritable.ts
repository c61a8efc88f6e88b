/** Where JSON.stringify gave up, and why. */
import { pointerOf } from '../../core/api.ts';
export interface Unwritable {
  /** JSON pointer; '' is the value itself. */
  readonly path: string;
  readonly why: string;
}

const DEEPEST = 1000;

/** Looks for what JSON cannot hold. Runs only after writing failed. */
export function findUnwritable(value: unknown): Unwritable {
  try {
    return search(value, '', []) ?? { path: '', why: 'has a part that cannot be written' };
  } catch {
    return { path: '', why: 'has a property or a toJSON method that throws' };
  }
}

function search(value: unknown, path: string, above: readonly object[]): Unwritable | null {
  if (typeof value === 'bigint') return { path, why: 'is a BigInt; give a number or a string' };
  if (path === '' && (typeof value === 'function' || typeof value === 'symbol')) {
    return { path, why: `is a ${typeof value}` };
  }
  if (typeof value !== 'object' || value === null) return null;
  if (above.includes(value)) return { path, why: 'contains itself' };
  if (above.length >= DEEPEST) return { path: '', why: `is nested deeper than ${DEEPEST} levels` };
  const within = [...above, value];
  for (const [key, entry] of Object.entries(value)) {
    const found = search(entry, `${path}${pointerOf([key])}`, within);
    if (found !== null) return found;
  }
  return null;
}
