/** Lets callers in by user name and password: HTTP's Basic scheme (RFC 7617), in UTF-8. */
import { isUtf8 } from 'node:buffer';
import { hash, randomBytes } from 'node:crypto';
import { type Call, definePlugin, GantryError, type Identity, type Problem, Type } from '../../core/api.ts';
import type { Passwords } from '../../core/ports/index.ts';
import { Definition, nameOf, problemsOf, revealed, told, type User } from './definition.ts';
import { keep } from './keep.ts';
import { Refusals } from './refusals.ts';

/** A caller who is let in by another definition of the channel is refused by this one at each call. */
const REMEMBERED_REFUSALS = 10_000;
const CREDENTIALS = /^basic +([a-z0-9+/]+={0,2}) *$/i;

type Found = Identity | null | Promise<Identity | null>;

/**
 * Neither names nor passwords are compared: what is looked up is the SHA-256 of a random prefix and of both together.
 * Which digest they have is not known outside the process, so that time tells nothing about how near a guess was, nor
 * whether the user exists.
 */
function digester(): (userPass: string) => string {
  const prefix = randomBytes(16).toString('hex');
  // One character may be written in two ways in Unicode; keyboards differ in which one they send.
  return (userPass) => hash('sha256', prefix + userPass.normalize('NFC'), 'base64');
}

export default definePlugin({
  id: 'guard.basic',
  api: 1,
  config: Type.Object({}, { additionalProperties: false }),
  wants: ['passwords'],
  create({ passwords }) {
    const refusals = new Refusals(REMEMBERED_REFUSALS);
    return {
      definition: Definition,
      keep: (definition, earlier) => keep(definition, earlier, passwords),
      compile: (definition) => compile(definition as Definition, passwords, refusals),
    };
  },
});

function compile(
  definition: Definition,
  passwords: Passwords | null,
  refusals: Refusals,
): (call: Call) => Identity | Promise<Identity> {
  const users = revealed(definition);
  refuse(users, passwords);
  const find = finder(users, passwords, refusals);
  const challenge = `Basic realm=${quoted(definition.realm ?? 'gantry')}, charset="UTF-8"`;
  const hint = "The channel's guard takes user name and password of one of its users, in 'authorization', sent once.";
  const admit = (caller: Identity | null): Identity => {
    if (caller !== null) return caller;
    throw new GantryError('AUTH_REJECTED', 'User name or password is not valid', { challenge, hint });
  };

  /** Hot. */
  return (call) => {
    const given = call.headers['authorization'];
    if (given === undefined || given.length === 0) {
      throw new GantryError('AUTH_MISSING', 'User name and password are needed', { challenge, hint });
    }
    const userPass = typeof given === 'string' ? parse(given) : null;
    const caller = userPass === null ? null : find(userPass);
    return caller instanceof Promise ? caller.then(admit) : admit(caller);
  };
}

/** Who has a name and password, by the digest of both where the password is known, and by its hash where it is not. */
function finder(users: readonly User[], passwords: Passwords | null, refusals: Refusals): (userPass: string) => Found {
  const digest = digester();
  const plain = new Map<string, Identity>();
  const hashed = new Map<string, { readonly identity: Identity; readonly hash: string }>();
  for (const user of users) {
    const { username, password, passwordHash, roles = [] } = user;
    const identity = Object.freeze({ name: username, roles: Object.freeze([...roles]) });
    if (password !== undefined) plain.set(digest(`${username}:${password}`), identity);
    if (passwordHash !== undefined) hashed.set(nameOf(user), { identity, hash: passwordHash });
  }
  if (hashed.size === 0 || passwords === null) return (userPass) => plain.get(digest(userPass)) ?? null;

  const settle = (fits: boolean, identity: Identity | null, userPass: string): Identity | null => {
    if (fits === true && identity !== null) return identity;
    refusals.add(digest(userPass));
    return null;
  };
  const byHash = (userPass: string): Found => {
    const colon = userPass.indexOf(':');
    if (colon < 0) return null;
    if (!refusals.empty && refusals.has(digest(userPass))) return null;
    const user = hashed.get(userPass.slice(0, colon).normalize('NFC'));
    // Of no user the name is checked along: who guesses one password for two names must not find them treated as one.
    const right =
      user === undefined ? passwords.verify(userPass, null) : passwords.verify(userPass.slice(colon + 1), user.hash);
    const identity = user?.identity ?? null;
    if (typeof right === 'boolean') return settle(right, identity, userPass);
    // Whatever can be awaited: only what is a promise of our own is told from an identity below.
    return Promise.resolve(right).then((fits) => settle(fits, identity, userPass));
  };
  if (plain.size === 0) return byHash;
  return (userPass) => plain.get(digest(userPass)) ?? byHash(userPass);
}

/** `name:password` of an Authorization header; null for another scheme and for what is malformed. */
function parse(header: string): string | null {
  const token = CREDENTIALS.exec(header)?.[1];
  if (token === undefined || token.length % 4 !== 0) return null;
  const bytes = Buffer.from(token, 'base64');
  return isUtf8(bytes) ? bytes.toString('utf8') : null;
}

/** Throws CHANNEL_INVALID, which never tells a password. */
function refuse(users: readonly User[], passwords: Passwords | null): void {
  const problems: Problem[] = problemsOf(users);
  const kept = users.findIndex(({ passwordHash }) => passwordHash !== undefined);
  if (kept >= 0 && passwords === null) {
    problems.push({
      path: `users.${kept}.passwordHash`,
      message: 'needs a plugin that checks hashes, and none is loaded',
      hint: 'Add password.argon2 to "plugins" in the config.',
    });
  }
  if (problems.length === 0) return;
  throw new GantryError('CHANNEL_INVALID', `The guard is not valid: ${told(problems)}`, { problems });
}

/** A quoted-string (RFC 9110, 5.6.4). */
function quoted(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&')}"`;
}
