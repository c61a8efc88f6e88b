import type { Problem } from '../errors.ts';

/** `$${` is a literal `${`; `${kind:argument}` a reference. Anything else in braces is text: sources have it. */
const REFERENCE = /\$\$\{|\$\{(\w+):([^}]*)(\}?)/g;

/** A text with variables of the environment in the place of `${env:NAME}` and `${env:NAME:-default}`. */
export function putIn(
  text: string,
  env: Readonly<Record<string, string | undefined>>,
): { text: string; problem?: Omit<Problem, 'path'> } {
  if (!text.includes('${')) return { text };
  const problems: Omit<Problem, 'path'>[] = [];
  const filled = text.replace(REFERENCE, (whole, kind?: string, argument = '', end = '') => {
    if (kind === undefined) return '${';
    const found = kind === 'env' && end === '}' ? fromEnv(argument, env) : unknown(whole, kind, end);
    if (typeof found === 'string') return found;
    problems.push(found);
    return whole;
  });
  const [problem] = problems;
  return problem === undefined ? { text: filled } : { text: filled, problem };
}

/** The text that putIn() makes this one of. */
export function escapeReferences(text: string): string {
  return text.replace(/(?<=\$)\$\{|\$\{(?=\w+:)/g, '$$$&');
}

function fromEnv(argument: string, env: Readonly<Record<string, string | undefined>>): string | Omit<Problem, 'path'> {
  const split = argument.indexOf(':-');
  const name = split === -1 ? argument : argument.slice(0, split);
  const value = Object.hasOwn(env, name) ? env[name] : undefined;
  if (value !== undefined && (value !== '' || split === -1)) return value;
  if (split !== -1) return argument.slice(split + 2);
  return {
    message: `needs the environment variable ${name}, which is not set`,
    got: `\${env:${argument}}`,
    hint: `Set ${name}, or give a default: \${env:${name}:-default}.`,
  };
}

function unknown(whole: string, kind: string, end: string): Omit<Problem, 'path'> {
  const got = whole.slice(0, 60);
  const expected = '${env:NAME} or ${env:NAME:-default}';
  if (end === '') return { message: 'has a reference that is not closed', expected, got };
  const hint = `Where it is meant as text, write $\${${kind}:`;
  return { message: 'has a reference of an unknown kind', expected, got, hint };
}
