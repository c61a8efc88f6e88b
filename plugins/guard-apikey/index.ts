/** Lets callers in by a key in a header. */
import { hash, randomBytes, timingSafeEqual } from 'node:crypto';
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
    header: Type.Optional(
      Type.String({
        pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$",
        default: 'x-api-key',
        description: 'Carries the key; any case',
      }),
    ),
    keys: Type.Array(
      Type.Object(
        {
          name: Type.String({
            minLength: 1,
            description: 'Who calls with it. May have two keys, while one takes the place of the other',
          }),
          key: SecretText({ minLength: 8, description: 'Visible ASCII characters' }),
          roles: Type.Optional(Type.Array(Type.String({ minLength: 1 }))),
        },
        { additionalProperties: false },
      ),
      { minItems: 1 },
    ),
  },
  { additionalProperties: false },
);
type Definition = Static<typeof Definition>;

/** Printable, and no space: what any transport hands on as it came, and what no joined list of two headers is. */
const VISIBLE = /^[\x21-\x7e]+$/;

/**
 * Of many keys none is compared: what is looked up is the SHA-256 of a random prefix and the key. Which digest a key
 * has is not known outside the process, so how long a look-up takes tells nothing about how near a guess was; and it
 * costs the same for five keys and for five thousand.
 */
function digester(): (key: string) => string {
  const prefix = randomBytes(16).toString('hex');
  return (key) => hash('sha256', prefix + key, 'base64');
}

export default definePlugin({
  id: 'guard.apikey',
  api: 1,
  config: Type.Object({}, { additionalProperties: false }),
  create() {
    const digest = digester();
    return { definition: Definition, compile: (definition) => compile(definition as Definition, digest) };
  },
});

function compile(
  { header = 'x-api-key', keys }: Definition,
  digest: (key: string) => string,
): (call: Call) => Identity {
  const callers = identities(keys, digest);
  const name = header.toLowerCase();
  // RFC 9110 leaves room for schemes of one's own; this one tells where the key belongs.
  const challenge = `ApiKey header="${name}"`;
  const hint = `The channel's guard takes one of its keys in the header '${name}', sent once.`;

  const find = keys.length <= FEW ? comparing(keys, callers, digest) : (given: string) => callers.get(digest(given));

  /** Hot. */
  return (call) => {
    const given = call.headers[name];
    if (given === undefined || given.length === 0) {
      throw new GantryError('AUTH_MISSING', 'An API key is needed', { challenge, hint });
    }
    const caller = typeof given === 'string' ? find(given) : undefined;
    if (caller !== undefined) return caller;
    throw new GantryError('AUTH_REJECTED', 'The API key is not valid', { challenge, hint });
  };
}

/** Up to this many keys it is cheaper to compare each in constant time (0.15 us) than to make a digest (0.5 us). */
const FEW = 3;

/** Compares with every key, whichever fits, in constant time; only how long a key is could be told from outside. */
function comparing(
  keys: Definition['keys'],
  callers: ReadonlyMap<string, Identity>,
  digest: (key: string) => string,
): (given: string) => Identity | undefined {
  const known = keys.map(({ key }) => ({
    bytes: Buffer.from(key.reveal()),
    identity: callers.get(digest(key.reveal())) as Identity,
  }));
  return (given) => {
    const bytes = Buffer.from(given);
    let found: Identity | undefined;
    for (const { bytes: own, identity } of known) {
      if (own.length === bytes.length && timingSafeEqual(own, bytes)) found = identity;
    }
    return found;
  };
}

/** Who calls, by the digest of the key. Throws CHANNEL_INVALID, which never tells a key. */
function identities(keys: Definition['keys'], digest: (key: string) => string): ReadonlyMap<string, Identity> {
  const callers = new Map<string, Identity>();
  const first = new Map<string, number>();
  const problems: Problem[] = [];
  for (const [i, { name, key, roles = [] }] of keys.entries()) {
    const text = key.reveal();
    const path = `security.keys.${i}.key`;
    const of = digest(text);
    const other = first.get(of);
    if (!VISIBLE.test(text)) {
      problems.push({
        path,
        message: 'has a character that a header does not carry',
        expected: 'visible ASCII characters',
        got: 'a secret',
        hint: 'Look for spaces, line breaks and letters beyond ASCII.',
      });
    } else if (other !== undefined) {
      problems.push({
        path,
        message: `is also the key of security.keys.${other}`,
        expected: 'a key of its own',
        got: 'a secret',
        hint: `Give '${name}' another key: who calls is known by the key alone.`,
      });
    }
    first.set(of, other ?? i);
    callers.set(of, Object.freeze({ name, roles: Object.freeze([...roles]) }));
  }
  if (problems.length === 0) return callers;
  const told = problems.map((p) => `${p.path} ${p.message}`).join('; ');
  throw new GantryError('CHANNEL_INVALID', `The guard is not valid: ${told}`, { problems });
}
