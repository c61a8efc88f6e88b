/** Hashes passwords with Argon2id (RFC 9106). */
import { hash as digestOf, randomBytes } from 'node:crypto';
import { type Algorithm, hash as argon2, verify as verifyArgon2 } from '@node-rs/argon2';
import { definePlugin, GantryError, type Static, Type } from '../../core/api.ts';
import { Turns } from '../../core/parts.ts';
import { hashOfNobody, refusedCost, refusedHash } from './hash-text.ts';
import { Verified } from './verified.ts';

const Config = Type.Object(
  {
    memoryKiB: Type.Integer({ minimum: 8, default: 19_456, description: 'That one check needs, in KiB' }),
    iterations: Type.Integer({ minimum: 1, default: 2, description: 'Passes over that memory' }),
    parallelism: Type.Integer({ minimum: 1, maximum: 16, default: 1, description: 'Lanes of that memory' }),
    parallel: Type.Integer({
      minimum: 1,
      maximum: 64,
      default: 2,
      description: "Checks at once. They take Node's pool of 4 threads (UV_THREADPOOL_SIZE), as files and DNS do",
    }),
    waiting: Type.Integer({ minimum: 0, default: 20, description: 'Checks that wait; more are told SERVER_BUSY' }),
    cacheSize: Type.Integer({ minimum: 0, default: 1000, description: 'Callers whose password is not checked again' }),
    cacheMs: Type.Integer({ minimum: 0, default: 600_000, description: 'For so long after their last call' }),
  },
  { additionalProperties: false },
);
type Config = Static<typeof Config>;

/** Longer than any that is typed or made, and short enough to cost nothing. */
const MOST_BYTES = 1000;
/** The cheapest that OWASP recommends is 7 MiB five times; in KiB. */
const RECOMMENDED = { memoryKiB: 7168, work: 35_840 };
const ARGON2ID: Algorithm = 2;

export default definePlugin({
  id: 'password.argon2',
  api: 1,
  config: Config,
  create({ config, log }) {
    refuseCost(config);
    const checking = new Turns(config.parallel, config.waiting);
    // Who hashes is an administrator, and is not turned away; one at a time leaves threads to the callers.
    const hashing = new Turns(1, Number.POSITIVE_INFINITY);
    const verified = new Verified(config.cacheSize, config.cacheMs);
    const underWay = new Map<string, Promise<boolean>>();
    const nobody = hashOfNobody(config);
    const prefix = randomBytes(16).toString('hex');
    const { memoryKiB: memoryCost, iterations: timeCost, parallelism } = config;
    const options = { algorithm: ARGON2ID, memoryCost, timeCost, parallelism };

    /** Null: the queue is full. A password that no hash is made of, or no hash, costs the same and is never right. */
    function checked(key: string, password: string, hash: string | null): Promise<boolean> | null {
      const against = hash !== null && refusedPassword(password) === null ? hash : nobody;
      const turn = checking.take(() => verifyArgon2(against, password));
      if (turn === null) return null;
      return turn.then(
        (fits) => {
          underWay.delete(key);
          const right = fits && against === hash;
          if (right) verified.add(key);
          return right;
        },
        (cause: unknown) => {
          underWay.delete(key);
          throw unreadable('it cannot be computed', cause);
        },
      );
    }

    return {
      async hash(given) {
        const password = given.normalize('NFC');
        const wrong = refusedPassword(password);
        if (wrong !== null) {
          throw new GantryError('RECORD_INVALID', `The password ${wrong}`, {
            hint: `A password has 1 to ${MOST_BYTES} bytes in UTF-8.`,
          });
        }
        return await (hashing.take(() => argon2(password, options)) as Promise<string>);
      },

      /** Hot, for a password that was right before. */
      verify(given, hash) {
        // One character may be written in two ways in Unicode; keyboards differ in which one they send.
        const password = given.normalize('NFC');
        // What is kept in memory is of no use without the prefix, and the prefix leaves this process as little as it does.
        const key = digestOf('sha256', `${prefix}${hash ?? nobody}\0${password}`, 'base64');
        if (verified.has(key)) return true;
        const same = underWay.get(key);
        if (same !== undefined) return same;
        const wrong = hash === null ? null : refusedHash(hash);
        if (wrong !== null) return Promise.reject(unreadable(wrong));
        const answer = checked(key, password, hash);
        if (answer === null) return Promise.reject(busy());
        underWay.set(key, answer);
        return answer;
      },

      /** Finds out before the first caller does that the memory is not there, or that the cost is too low. */
      async start() {
        const startedAt = performance.now();
        await argon2(randomBytes(16), options);
        log.debug({ ms: Math.round(performance.now() - startedAt) }, 'what one password costs');
        if (memoryCost < RECOMMENDED.memoryKiB || memoryCost * timeCost < RECOMMENDED.work) {
          log.warn(
            { memoryKiB: memoryCost, iterations: timeCost },
            'hashes are cheaper to guess than OWASP recommends',
          );
        }
      },
    };
  },
});

/** Throws CONFIG_INVALID for what the schema cannot see. */
function refuseCost(config: Config): void {
  const message = refusedCost(config);
  if (message === null) return;
  const hint = 'The defaults, 19456, 2 and 1, are what OWASP recommends.';
  throw new GantryError('CONFIG_INVALID', `password.argon2 cannot hash: ${message}`, {
    hint,
    problems: [{ path: 'plugins.password.argon2', message, hint, plugin: 'password.argon2' }],
  });
}

/** Why a password is not taken, or null. A half of a surrogate pair has no UTF-8: any other half would do as well. */
function refusedPassword(password: string): string | null {
  if (password === '') return 'is empty';
  if (!password.isWellFormed()) return 'has half a character';
  return Buffer.byteLength(password) > MOST_BYTES ? `is longer than ${MOST_BYTES} bytes` : null;
}

function unreadable(why: string, cause?: unknown): GantryError {
  return new GantryError('SECRET_UNREADABLE', 'The password cannot be checked', {
    cause,
    hint: `What is kept of it is no hash of password.argon2: ${why}. Set the password again.`,
  });
}

function busy(): GantryError {
  return new GantryError('SERVER_BUSY', 'Too many passwords are being checked', {
    retryAfterMs: 1000,
    hint: 'Somebody is guessing, or many callers came at once: see parallel and waiting of password.argon2.',
  });
}
