import { GantryError, type Problem } from '../../core/api.ts';

/** For a document that cannot be read. `message` goes on 'the body ...' and holds nothing of the body. */
export function malformed(message: string, more: Partial<Problem> = {}): GantryError {
  return new GantryError('INPUT_MALFORMED', 'The body is not valid XML', {
    problems: [{ path: '', message, ...more }],
  });
}

export function tooDeep(maxDepth: number): GantryError {
  return new GantryError('INPUT_TOO_DEEP', `The body is nested deeper than ${maxDepth} levels`, {
    problems: [
      { path: '', message: `is nested deeper than ${maxDepth} levels`, expected: `at most ${maxDepth} levels` },
    ],
    hint: 'Where such bodies are wanted, raise plugins."codec.xml".maxDepth.',
  });
}

export function tooLarge(what: string, most: number, key: string): GantryError {
  return new GantryError('INPUT_TOO_LARGE', `The body has more than ${most} ${what}`, {
    problems: [{ path: '', message: `has more than ${most} ${what}`, expected: `at most ${most} ${what}` }],
    hint: `Where such bodies are wanted, raise plugins."codec.xml".${key}.`,
  });
}

/** For a value that cannot be written. `path` is a JSON pointer in it. */
export function unwritable(path: string, why: string, cause?: unknown): GantryError {
  return new GantryError('OUTPUT_INVALID', 'The output cannot be written as XML', {
    ...(cause === undefined ? {} : { cause }),
    hint: `Mend the service: ${path === '' ? 'the output' : path} ${why}.`,
  });
}
