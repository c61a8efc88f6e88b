import { type Problem, Secret, SecretText, type Static, Type } from '../../core/api.ts';

/** A security definition, as it is written and as it is kept. */
export const Definition = Type.Object(
  {
    users: Type.Array(
      Type.Object(
        {
          username: Type.String({
            minLength: 1,
            // RFC 7617, 2: the first colon ends the name, and neither part has control characters.
            pattern: '^[^:\\u0000-\\u001f\\u007f]+$',
            description: 'Without colons and control characters',
          }),
          password: Type.Optional(
            SecretText({ minLength: 1, description: 'Without control characters. This or `passwordHash`' }),
          ),
          passwordHash: Type.Optional(
            SecretText({
              minLength: 1,
              description: 'What is kept of a password in a record; needs a password plugin',
            }),
          ),
          roles: Type.Optional(Type.Array(Type.String({ minLength: 1 }))),
        },
        { additionalProperties: false },
      ),
      { minItems: 1 },
    ),
    realm: Type.Optional(
      Type.String({
        pattern: '^[\\u0020-\\u007e]+$',
        default: 'gantry',
        description: 'What browsers show when they ask for a password',
      }),
    ),
  },
  { additionalProperties: false },
);
export type Definition = Static<typeof Definition>;

/** One user, with the secrets in the clear. */
export interface User {
  readonly username: string;
  readonly password?: string | undefined;
  readonly passwordHash?: string | undefined;
  readonly roles?: readonly string[];
}

/** The users of a definition whose secrets are wrapped. */
export function revealed({ users }: Definition): readonly User[] {
  return users.map((user) => ({ ...user, password: text(user.password), passwordHash: text(user.passwordHash) }));
}

function text(value: Secret | undefined): string | undefined {
  return value instanceof Secret ? value.reveal() : value;
}

/** One letter may be written in two ways in Unicode; keyboards differ in which one they send. */
export function nameOf({ username }: User): string {
  return username.normalize('NFC');
}

const CONTROL = /[\p{Cc}]/u;

/** What the schema cannot see. Tells no password. */
export function problemsOf(users: readonly User[]): Problem[] {
  const first = new Map<string, number>();
  return users.flatMap((user, i) => {
    const name = nameOf(user);
    const other = first.get(name);
    first.set(name, other ?? i);
    return [
      ...(other === undefined ? [] : [sameName(user, `users.${i}.username`, `users.${other}`)]),
      ...secretProblems(user, `users.${i}`),
    ];
  });
}

function sameName({ username }: User, path: string, other: string): Problem {
  return {
    path,
    message: `is also the name of ${other}`,
    expected: 'a name of its own',
    got: username,
    hint: 'Remove one of the two.',
  };
}

function secretProblems({ password, passwordHash }: User, at: string): Problem[] {
  if (password === undefined && passwordHash === undefined) {
    const hint = 'Give the user a password.';
    return [{ path: `${at}.password`, message: 'is required', expected: 'a password', got: 'nothing', hint }];
  }
  if (password !== undefined && passwordHash !== undefined) {
    return [
      {
        path: `${at}.passwordHash`,
        message: 'stands beside a password',
        expected: 'one of the two',
        got: 'both',
        hint: 'Remove passwordHash to set this password, or password to keep the one that there is.',
      },
    ];
  }
  if (password === undefined || !CONTROL.test(password)) return [];
  return [
    {
      path: `${at}.password`,
      message: 'has a control character, which no caller can send (RFC 7617)',
      expected: 'a password without control characters',
      got: 'a secret',
      hint: 'Look for line breaks, e.g. a second one at the end of a file.',
    },
  ];
}

/** As one line. */
export function told(problems: readonly Problem[]): string {
  return problems.map((p) => `${p.path} ${p.message}`).join('; ');
}
