import { GantryError, type Problem } from '../errors.ts';
import { pointerOf, stepsOf } from '../path.ts';

/** Why a record cannot be saved. */
export function invalid(kind: string, name: string, problems: readonly Problem[]): GantryError {
  const all = problems.map((p) => `${p.path || '/'} ${p.message}`).join('; ');
  return new GantryError('RECORD_INVALID', `The ${kind} '${name}' is not valid: ${all}`, { problems });
}

/** The same with its path as a JSON pointer, whichever form a plugin wrote it in. */
export function pointed(problem: Problem): Problem {
  return { ...problem, path: pointerOf(stepsOf(problem.path)) };
}
