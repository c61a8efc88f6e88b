import { createHmac, timingSafeEqual } from 'node:crypto';
import type { LiveRecord } from '../records/record.ts';
import type { Keyring } from '../secrets/keyring.ts';

/** A person's pass for a while, instead of the password with each call. */
export interface Session {
  readonly token: string;
  readonly expiresAt: Date;
}

/** Sessions of users, as services and guards see them. Any server with the same key knows a token. */
export interface Sessions {
  /** The caller has checked the user's password. */
  open(user: string, ms: number): Session;
  /** The user's name; null for a token that is malformed, forged or over, or whose user is not let in any more. */
  check(token: string): string | null;
}

interface Claims {
  readonly user: string;
  readonly epoch: number;
  readonly until: number;
}

const PURPOSE = 'session';
const PREFIX = 'gss1';

/**
 * Nothing is stored: a token says who and until when, and is signed (HMAC-SHA-256). It ends with its time, and with any
 * change of the user's `epoch`, which a new password makes, and ending all sessions.
 */
export class SignedSessions implements Sessions {
  readonly #keyring: () => Keyring;
  readonly #find: (user: string) => LiveRecord | null;

  constructor(keyring: () => Keyring, find: (user: string) => LiveRecord | null) {
    this.#keyring = keyring;
    this.#find = find;
  }

  open(user: string, ms: number): Session {
    const until = Date.now() + ms;
    const epoch = epochOf(this.#find(user));
    const claims = Buffer.from(JSON.stringify({ user, epoch, until } satisfies Claims)).toString('base64url');
    const [key] = this.#keyring().derive(PURPOSE) as readonly [Buffer];
    return { token: `${PREFIX}.${claims}.${sign(claims, key)}`, expiresAt: new Date(until) };
  }

  check(token: string): string | null {
    const [prefix, claims = '', signature = '', more] = token.split('.');
    if (prefix !== PREFIX || more !== undefined) return null;
    // As text: decoding passes over what is no base64url, and over the last bits of the last character.
    const given = Buffer.from(signature);
    // Only what this installation has signed is looked into.
    if (!this.#isOurs(claims, given)) return null;
    const { user, epoch, until } = JSON.parse(Buffer.from(claims, 'base64url').toString()) as Claims;
    const record = this.#find(user);
    if (until <= Date.now() || record === null || record.definition['active'] === false) return null;
    return epochOf(record) === epoch ? user : null;
  }

  #isOurs(claims: string, given: Buffer): boolean {
    const keyring = this.#keyring();
    const keys = keyring.derive(PURPOSE);
    const fits = (key: Buffer) => {
      const own = Buffer.from(sign(claims, key));
      return own.length === given.length && timingSafeEqual(own, given);
    };
    if (keys.some(fits)) return true;
    // Another server may have a new key already.
    keyring.refresh();
    const fresh = keyring.derive(PURPOSE);
    return fresh !== keys && fresh.some(fits);
  }
}

function sign(claims: string, key: Buffer): string {
  return createHmac('sha256', key).update(`${PREFIX}.${claims}`).digest('base64url');
}

function epochOf(user: LiveRecord | null): number {
  return (user?.definition['epoch'] as number | undefined) ?? 0;
}
