import { createHmac, createSecretKey, randomBytes } from 'node:crypto';
import type { Problem } from '../../core/api.ts';

/**
 * The secret of a definition's hashes: 32 random bytes. A key is random itself, so one HMAC-SHA-256 (RFC 2104) does for
 * it; whoever has the hashes without the pepper cannot even try out keys that are not.
 */
export interface Pepper {
  /** In base64url, as it is kept. */
  readonly text: string;
  /** What is kept of a key, in base64url. */
  hashOf(key: string): string;
}

export function pepperOf(text: string): Pepper {
  const secret = createSecretKey(text, 'base64url');
  return { text, hashOf: (key) => createHmac('sha256', secret).update(key).digest('base64url') };
}

export function newPepper(): Pepper {
  return pepperOf(randomBytes(32).toString('base64url'));
}

/** Whether a text is 32 bytes in base64url, written in the one way that an encoder writes them. */
export function isWhole(text: string): boolean {
  const bytes = Buffer.from(text, 'base64url');
  return bytes.length === 32 && bytes.toString('base64url') === text;
}

export function pepperProblem(path: string): Problem {
  return {
    path,
    message: 'is no pepper',
    expected: '32 random bytes in base64url',
    got: 'a secret',
    hint: 'Leave it out: one is made, and the one that there is stays.',
  };
}
