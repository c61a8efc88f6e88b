import { GantryError, type Problem } from '../errors.ts';

/** Why a record cannot be saved. */
export function invalid(kind: string, name: string, problems: readonly Problem[]): GantryError {
  const all = problems.map((p) => `${p.path || '/'} ${p.message}`).join('; ');
  return new GantryError('RECORD_INVALID', `The ${kind} '${name}' is not valid: ${all}`, { problems });
}

/** `.options.url`, or `users.0.password` of a guard, as a JSON pointer (RFC 6901). */
export function pointed(problem: Problem): Problem {
  const { path } = problem;
  if (path === '' || path.startsWith('/')) return problem;
  return {
    ...problem,
    path: `/${path.replace(/^\./, '').replaceAll('~', '~0').replaceAll('/', '~1').replaceAll('.', '/')}`,
  };
}
