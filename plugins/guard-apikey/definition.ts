import { type Problem, Secret, SecretText, type Static, Type } from '../../core/api.ts';
import { isWhole, type Pepper } from './pepper.ts';

const SHORTEST = 8;

/** A security definition, as it is written and as it is kept. */
export const Definition = Type.Object(
  {
    header: Type.Optional(
      Type.String({
        pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$",
        default: 'x-api-key',
        description: 'Carries the key; any case',
      }),
    ),
    pepper: Type.Optional(
      SecretText({ description: 'What the hashes are made with, in a record; it is made with the first of them' }),
    ),
    keys: Type.Array(
      Type.Object(
        {
          name: Type.String({
            minLength: 1,
            description: 'Who calls with it. May have two keys, while one takes the place of the other',
          }),
          key: Type.Optional(
            SecretText({ minLength: SHORTEST, description: 'Visible ASCII characters. This or `keyHash`' }),
          ),
          keyHash: Type.Optional(SecretText({ description: 'What is kept of a key in a record' })),
          roles: Type.Optional(Type.Array(Type.String({ minLength: 1 }))),
        },
        { additionalProperties: false },
      ),
      { minItems: 1 },
    ),
  },
  { additionalProperties: false },
);
export type Definition = Static<typeof Definition>;

/** One key, in the clear or hashed. */
export interface Key {
  readonly name: string;
  readonly key?: string | undefined;
  readonly keyHash?: string | undefined;
  readonly roles?: readonly string[];
}

/** The keys of a definition whose secrets are wrapped. */
export function revealed({ keys }: Definition): readonly Key[] {
  return keys.map((one) => ({ ...one, key: text(one.key), keyHash: text(one.keyHash) }));
}

export function text(value: Secret | undefined): string | undefined {
  return value instanceof Secret ? value.reveal() : value;
}

/** Printable, and no space: what any transport hands on as it came, and what no joined list of two headers is. */
const VISIBLE = /^[\x21-\x7e]+$/;

/**
 * What the schema cannot see. Tells no key. `pepper` is what the definition's hashes were made with, if it
 * has any; with it a key in the clear and the hash of the same key are found to be one.
 */
export function problemsOf(keys: readonly Key[], pepper: Pepper | null): Problem[] {
  const first = new Map<string, number>();
  const empty = pepper?.hashOf('');
  return keys.flatMap((one, i) => {
    const path = `keys.${i}`;
    const wrong = keyProblem(one, path, pepper, empty);
    if (wrong !== null) return [wrong];
    const { name, key, keyHash } = one;
    const value = keyHash ?? (pepper === null ? key : pepper.hashOf(key as string)) ?? '';
    const other = first.get(value);
    first.set(value, other ?? i);
    if (other === undefined) return [];
    return [
      {
        path: `${path}.${key === undefined ? 'keyHash' : 'key'}`,
        message: `is also the key of keys.${other}`,
        expected: 'a key of its own',
        got: 'a secret',
        hint: `Give '${name}' another key: who calls is known by the key alone.`,
      },
    ];
  });
}

function keyProblem({ key, keyHash }: Key, at: string, pepper: Pepper | null, empty = ''): Problem | null {
  if (key !== undefined && keyHash !== undefined) {
    return {
      path: `${at}.keyHash`,
      message: 'stands beside a key',
      expected: 'one of the two',
      got: 'both',
      hint: 'Remove keyHash to set this key, or key to keep the one that there is.',
    };
  }
  if (keyHash !== undefined) return hashProblem(keyHash, `${at}.keyHash`, pepper, empty);
  const path = `${at}.key`;
  if (key === undefined) {
    return {
      path,
      message: 'is required',
      expected: 'a key',
      got: 'nothing',
      hint: `Of ${SHORTEST} or more characters.`,
    };
  }
  if (VISIBLE.test(key)) return null;
  return {
    path,
    message: 'has a character that a header does not carry',
    expected: 'visible ASCII characters',
    got: 'a secret',
    hint: 'Look for spaces, line breaks and letters beyond ASCII.',
  };
}

function hashProblem(keyHash: string, path: string, pepper: Pepper | null, empty: string): Problem | null {
  const hint = 'Write a key in its place; it is hashed when the definition is kept.';
  const expected = '32 bytes in base64url';
  if (!isWhole(keyHash)) return { path, message: 'is no hash of a key', expected, got: 'a secret', hint };
  if (pepper === null) return { path, message: 'cannot be checked without a pepper', got: 'a secret', hint };
  return keyHash === empty ? { path, message: 'is the hash of an empty key', got: 'a secret', hint } : null;
}

/** As one line. */
export function told(problems: readonly Problem[]): string {
  return problems.map((p) => `${p.path} ${p.message}`).join('; ');
}
