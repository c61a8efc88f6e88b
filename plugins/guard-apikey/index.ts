/** Lets callers in by a key in a header. */
import { hash, randomBytes, timingSafeEqual } from 'node:crypto';
import { type Call, definePlugin, GantryError, type Identity, Type } from '../../core/api.ts';
import { Definition, type Key, problemsOf, revealed, text, told } from './definition.ts';
import { keep } from './keep.ts';
import { isWhole, type Pepper, pepperOf, pepperProblem } from './pepper.ts';

type Find = (given: string) => Identity | undefined;

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
    return { definition: Definition, keep, compile: (definition) => compile(definition as Definition, digest) };
  },
});

function compile(definition: Definition, digest: (key: string) => string): (call: Call) => Identity {
  const find = finder(definition, digest);
  const name = (definition.header ?? 'x-api-key').toLowerCase();
  // RFC 9110 leaves room for schemes of one's own; this one tells where the key belongs.
  const challenge = `ApiKey header="${name}"`;
  const hint = `The channel's guard takes one of its keys in the header '${name}', sent once.`;

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

/** Who has a key. Throws CHANNEL_INVALID, which never tells a key. */
function finder(definition: Definition, digest: (key: string) => string): Find {
  const keys = revealed(definition);
  const pepper = checked(keys, text(definition.pepper));
  const plain: [string, Identity][] = [];
  const hashed = new Map<string, Identity>();
  for (const { name, key, keyHash, roles = [] } of keys) {
    const identity = Object.freeze({ name, roles: Object.freeze([...roles]) });
    if (key !== undefined) plain.push([key, identity]);
    if (keyHash !== undefined) hashed.set(keyHash, identity);
  }
  if (hashed.size > 0 && pepper !== null) return byHash(plain, hashed, pepper, digest);
  return plain.length <= FEW ? comparing(plain) : byDigest(plain, digest);
}

function byDigest(plain: readonly (readonly [string, Identity])[], digest: (key: string) => string): Find {
  const callers = new Map(plain.map(([key, identity]) => [digest(key), identity]));
  return (given) => callers.get(digest(given));
}

/**
 * The HMAC of what is given is not known without the pepper: looking it up tells as little as looking up a digest. It
 * costs three times as much, so that of each key the digest is remembered once it was right; of wrong ones nothing is,
 * and there are never more digests than keys.
 */
function byHash(
  plain: readonly (readonly [string, Identity])[],
  hashed: ReadonlyMap<string, Identity>,
  pepper: Pepper,
  digest: (key: string) => string,
): Find {
  const callers = new Map(plain.map(([key, identity]) => [digest(key), identity]));
  return (given) => {
    const known = digest(given);
    const caller = callers.get(known);
    if (caller !== undefined) return caller;
    const found = hashed.get(pepper.hashOf(given));
    if (found !== undefined) callers.set(known, found);
    return found;
  };
}

/** Compares with every key, whichever fits, in constant time; only how long a key is could be told from outside. */
function comparing(plain: readonly (readonly [string, Identity])[]): Find {
  const known = plain.map(([key, identity]) => ({ bytes: Buffer.from(key), identity }));
  return (given) => {
    const bytes = Buffer.from(given);
    let found: Identity | undefined;
    for (const { bytes: own, identity } of known) {
      if (own.length === bytes.length && timingSafeEqual(own, bytes)) found = identity;
    }
    return found;
  };
}

/** The pepper of keys that are as they should be. */
function checked(keys: readonly Key[], given: string | undefined): Pepper | null {
  const whole = given === undefined || isWhole(given);
  const pepper = given === undefined || !whole ? null : pepperOf(given);
  const problems = whole ? problemsOf(keys, pepper) : [pepperProblem('pepper')];
  if (problems.length === 0) return pepper;
  throw new GantryError('CHANNEL_INVALID', `The guard is not valid: ${told(problems)}`, { problems });
}
