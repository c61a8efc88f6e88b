import { GantryError, isGantryError, type Problem } from '../../core/api.ts';
import type { Passwords } from '../../core/ports/index.ts';
import { nameOf, problemsOf, told, type User } from './definition.ts';

type Definition = Readonly<Record<string, unknown>>;

/**
 * Puts a hash in the place of each password. A user's earlier hash stays where the password is still the same, so that
 * writing a definition again changes nothing. Rejects with RECORD_INVALID, and with SERVER_BUSY as a check does.
 */
export async function keep(
  definition: Definition,
  earlier: Definition | null,
  passwords: Passwords | null,
): Promise<Record<string, unknown>> {
  const users = usersOf(definition);
  refuse(problemsOf(users));
  if (passwords === null) throw withoutPasswords(users);
  const before = new Map(usersOf(earlier).map((user) => [nameOf(user), user.passwordHash]));
  const problems: Problem[] = [];
  const kept: User[] = [];
  // One after the other: a definition of a thousand users must leave room for callers.
  for (const [i, user] of users.entries()) {
    try {
      kept.push(await keptUser(user, before.get(nameOf(user)), passwords));
    } catch (thrown) {
      const at = user.password === undefined ? 'passwordHash' : 'password';
      problems.push(problemOf(thrown, `users.${i}.${at}`));
    }
  }
  refuse(problems);
  return { ...definition, users: kept };
}

function usersOf(definition: Definition | null): readonly User[] {
  return (definition?.['users'] ?? []) as readonly User[];
}

async function keptUser(user: User, earlier: string | undefined, passwords: Passwords): Promise<User> {
  const { password, ...rest } = user;
  if (password !== undefined) return { ...rest, passwordHash: await hashed(password, earlier, passwords) };
  // A hash that is new here must be one that can be checked: found out now, and not by the user.
  if (rest.passwordHash !== undefined && rest.passwordHash !== earlier) await passwords.verify('', rest.passwordHash);
  return rest;
}

async function hashed(password: string, earlier: string | undefined, passwords: Passwords): Promise<string> {
  if (earlier !== undefined && (await isOf(password, earlier, passwords))) return earlier;
  return passwords.hash(password);
}

/** Also false where the earlier hash is another plugin's. */
async function isOf(password: string, hash: string, passwords: Passwords): Promise<boolean> {
  try {
    return await passwords.verify(password, hash);
  } catch (thrown) {
    if (isGantryError(thrown) && thrown.code === 'SECRET_UNREADABLE') return false;
    throw thrown;
  }
}

/** Throws what is not the definition's fault. */
function problemOf(thrown: unknown, path: string): Problem {
  if (isGantryError(thrown) && thrown.code === 'RECORD_INVALID') {
    const { message, hint } = thrown;
    return { path, message: `cannot be kept: ${message}`, got: 'a secret', ...(hint === undefined ? {} : { hint }) };
  }
  if (isGantryError(thrown) && thrown.code === 'SECRET_UNREADABLE') {
    return {
      path,
      message: 'is no hash that can be checked here',
      expected: "a hash of this server's password plugin",
      got: 'a secret',
      hint: 'Write a password in its place; it is hashed when the definition is kept.',
    };
  }
  throw thrown;
}

function withoutPasswords(users: readonly User[]): GantryError {
  const hint = 'Add password.argon2 to "plugins" in the config.';
  const problems = users.map(({ password }, i) => {
    const at = password === undefined ? 'passwordHash' : 'password';
    return { path: `users.${i}.${at}`, message: 'needs a plugin that hashes passwords, and none is loaded', hint };
  });
  return invalid(problems, hint);
}

function refuse(problems: readonly Problem[]): void {
  if (problems.length > 0) throw invalid(problems);
}

function invalid(problems: readonly Problem[], hint?: string): GantryError {
  const more = hint === undefined ? {} : { hint };
  return new GantryError('RECORD_INVALID', `The definition is not valid: ${told(problems)}`, { problems, ...more });
}
