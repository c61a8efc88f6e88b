/**
 * The JSON pointer (RFC 6901) of the first key that would reach a prototype once the value is merged or copied, or
 * null. The value is a parsed one: a tree, and not deeper than the codec allows.
 */
import { pointerOf } from '../../core/api.ts';
export function findPollution(value: unknown, path = ''): string | null {
  if (typeof value !== 'object' || value === null) return null;
  for (const [key, entry] of Object.entries(value)) {
    const here = `${path}${pointerOf([key])}`;
    if (key === '__proto__' || (key === 'constructor' && hasPrototype(entry))) return here;
    const below = findPollution(entry, here);
    if (below !== null) return below;
  }
  return null;
}

function hasPrototype(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, 'prototype');
}
