import { timingSafeEqual } from 'node:crypto';
import { KEY } from '../work.ts';

const expected = Buffer.from(KEY);

/** Compares in constant time. */
export function isKey(given: unknown): boolean {
  if (typeof given !== 'string') return false;
  const bytes = Buffer.from(given);
  return bytes.length === expected.length && timingSafeEqual(bytes, expected);
}
