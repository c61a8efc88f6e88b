import { GantryError, type Problem, toGantryError } from '../errors.ts';
import type { Passwords } from '../ports/password.ts';
import type { Definition } from '../records/record.ts';

/** What no schema says: a user has a password, or what is kept of one. */
export function checkUser({ password, passwordHash }: Definition): Problem[] {
  if (password === undefined && passwordHash === undefined) {
    return [{ path: '.password', message: 'is required', expected: 'a password', got: 'nothing' }];
  }
  const both = password !== undefined && passwordHash !== undefined;
  return both ? [{ path: '.passwordHash', message: 'cannot be given together with a password' }] : [];
}

/** A user with the hash of the password; the one that there is where it is the same. Rejects with RECORD_INVALID. */
export async function keepUser(
  { password, ...user }: Definition,
  past: Definition | null,
  passwords: Passwords | null,
): Promise<Definition> {
  if (passwords === null) {
    throw new GantryError('RECORD_INVALID', 'Passwords cannot be kept', {
      hint: 'Add password.argon2 to "plugins" in the config.',
    });
  }
  const hash = past?.['passwordHash'];
  const given = password === undefined ? null : String(password);
  const same =
    given === null ? user['passwordHash'] === hash : typeof hash === 'string' && (await passwords.verify(given, hash));
  if (given === null && !same) await refuseForeign(passwords, user as Definition);
  const passwordHash = given === null ? user['passwordHash'] : same ? hash : await passwords.hash(given);
  return { ...user, passwordHash, epoch: epochAfter(user as Definition, past, same) } as Definition;
}

/** A hash that the plugin for passwords cannot check would let nobody in. */
async function refuseForeign(passwords: Passwords, { name, passwordHash }: Definition): Promise<void> {
  try {
    await passwords.verify('', String(passwordHash));
  } catch (thrown) {
    const { code, hint = 'Give the password itself.' } = toGantryError(thrown);
    if (code !== 'SECRET_UNREADABLE') throw thrown;
    const message = 'is no hash that can be checked here';
    throw new GantryError('RECORD_INVALID', `The user '${name}' is not valid: /passwordHash ${message}`, {
      problems: [{ path: '/passwordHash', message, hint }],
    });
  }
}

/**
 * The epoch that sessions of the user must have. It rises when the password changes and when the user is switched off, so
 * that earlier sessions end for good. It never falls, and a new user with the name of an earlier one begins above it.
 */
function epochAfter(user: Definition, past: Definition | null, same: boolean): number {
  const given = user['epoch'] as number | undefined;
  if (past === null) return given ?? Date.now();
  const least = Math.max(given ?? 0, Number(past['epoch'] ?? 0));
  const out = !same || (past['active'] !== false && user['active'] === false);
  return out ? least + 1 : least;
}
