/** Lets callers in by user name and password: HTTP's Basic scheme (RFC 7617), in UTF-8. */
import { isUtf8 } from 'node:buffer';
import { hash, randomBytes } from 'node:crypto';
import {
  type Call,
  definePlugin,
  GantryError,
  type Identity,
  type Problem,
  SecretText,
  type Static,
  Type,
} from '../../core/api.ts';

const Definition = Type.Object(
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
          password: SecretText({ minLength: 1, description: 'Without control characters' }),
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
type Definition = Static<typeof Definition>;

const CONTROL = /[\p{Cc}]/u;
const CREDENTIALS = /^basic +([a-z0-9+/]+={0,2}) *$/i;

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
  create: () => ({ definition: Definition, compile: (definition) => compile(definition as Definition) }),
});

function compile({ users, realm = 'gantry' }: Definition): (call: Call) => Identity {
  const digest = digester();
  const callers = identities(users, digest);
  const challenge = `Basic realm=${quoted(realm)}, charset="UTF-8"`;
  const hint = "The channel's guard takes user name and password of one of its users, in 'authorization', sent once.";

  /** Hot. */
  return (call) => {
    const given = call.headers['authorization'];
    if (given === undefined || given.length === 0) {
      throw new GantryError('AUTH_MISSING', 'User name and password are needed', { challenge, hint });
    }
    const userPass = typeof given === 'string' ? parse(given) : null;
    const caller = userPass === null ? undefined : callers.get(digest(userPass));
    if (caller !== undefined) return caller;
    throw new GantryError('AUTH_REJECTED', 'User name or password is not valid', { challenge, hint });
  };
}

/** `name:password` of an Authorization header; null for another scheme and for what is malformed. */
function parse(header: string): string | null {
  const token = CREDENTIALS.exec(header)?.[1];
  if (token === undefined || token.length % 4 !== 0) return null;
  const bytes = Buffer.from(token, 'base64');
  return isUtf8(bytes) ? bytes.toString('utf8') : null;
}

/** Who calls, by the digest of name and password. Throws CHANNEL_INVALID, which never tells a password. */
function identities(users: Definition['users'], digest: (userPass: string) => string): ReadonlyMap<string, Identity> {
  const callers = new Map<string, Identity>();
  const first = new Map<string, number>();
  const problems: Problem[] = [];
  for (const [i, { username, password, roles = [] }] of users.entries()) {
    const text = password.reveal();
    const name = username.normalize('NFC');
    const other = first.get(name);
    if (other !== undefined) {
      problems.push({
        path: `security.users.${i}.username`,
        message: `is also the name of security.users.${other}`,
        expected: 'a name of its own',
        got: username,
        hint: 'Remove one of the two.',
      });
    }
    if (CONTROL.test(text)) {
      problems.push({
        path: `security.users.${i}.password`,
        message: 'has a control character, which no caller can send (RFC 7617)',
        expected: 'a password without control characters',
        got: 'a secret',
        hint: 'Look for line breaks, e.g. a second one at the end of a file.',
      });
    }
    first.set(name, other ?? i);
    callers.set(digest(`${username}:${text}`), Object.freeze({ name: username, roles: Object.freeze([...roles]) }));
  }
  if (problems.length === 0) return callers;
  const told = problems.map((p) => `${p.path} ${p.message}`).join('; ');
  throw new GantryError('CHANNEL_INVALID', `The guard is not valid: ${told}`, { problems });
}

/** A quoted-string (RFC 9110, 5.6.4). */
function quoted(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&')}"`;
}
