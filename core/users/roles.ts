import type { Role } from '../ports/kind.ts';

/** From the least that a person may do to the most. */
export const ROLES = ['viewer', 'operator', 'developer', 'administrator'] as const satisfies readonly Role[];
