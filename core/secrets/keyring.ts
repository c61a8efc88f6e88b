import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  hkdfSync,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto';
import { closeSync, fsyncSync, linkSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { GantryError } from '../errors.ts';
import type { Secret } from '../schema/secret.ts';

interface Key {
  /** Names the key without telling anything of it. */
  readonly id: string;
  readonly bytes: Buffer;
  /** A key has one use (NIST SP 800-57): values are sealed with a derived one. */
  readonly sealing: Buffer;
}

export interface KeyringOptions {
  /** One or more keys, between white space or commas. Null or blank: those of the file. */
  readonly keys?: Secret | null;
  /** A key a line; `#` begins a comment. It is made with a random key where it and `keys` are missing. */
  readonly file: string;
}

/** Takes what is to be signed, piece by piece. */
export interface Signer {
  add(piece: string | Uint8Array): void;
  /** The signature, as text. */
  end(): string;
}

/** Takes what was signed, piece by piece. */
export interface Verifier {
  add(piece: string | Uint8Array): void;
  /** Whether it is what was signed. */
  end(): boolean;
}

const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const SEALED = /^gs1\.([0-9a-f]{8})\.([\w-]{16})\.([\w-]{22,})$/;
const SIGNATURE = /^gh1\.([0-9a-f]{8})\.[\w-]{43}$/;
const MAKE_ONE = 'A key is 32 random bytes, in base64 or as 64 hex digits. This makes one: openssl rand -base64 32';

/**
 * The keys of an installation: they seal the secrets that are stored, and sign what must not be changed. The first is
 * current; the others open and verify what was made with them, so that keys can be changed without a pause. Every
 * server of a cluster needs the same ones.
 */
export class Keyring {
  /** Whether the key file was not there and has been made: a copy of it has to be kept. */
  readonly created: boolean;
  /** Null where the keys are configured. */
  readonly file: string | null;
  #keys: readonly Key[] = [];
  #warning: string | null = null;
  /** Made once for each purpose, and again when there are other keys. */
  readonly #derived = new Map<string, { readonly of: readonly Key[]; readonly keys: readonly Buffer[] }>();
  /** Which state of the file the keys are from. */
  #seen = '';

  /**
   * Reads the keys, and makes the file where there are none. Throws KEY_INVALID, which names a key by its number and
   * never tells its text.
   */
  constructor({ keys = null, file }: KeyringOptions) {
    const configured = keys?.reveal().trim() ?? '';
    this.file = configured === '' ? file : null;
    this.created = this.file !== null && !isThere(file) && make(file);
    if (this.file === null) this.#keys = parse(configured, 'the configured keys');
    else this.#read(file);
  }

  /** The ids of the keys, the current one first. */
  get ids(): readonly string[] {
    return this.#keys.map(({ id }) => id);
  }
  /** What an operator should fix, e.g. a key file that others can read; null if all is well. */
  get warning(): string | null {
    return this.#warning;
  }

  /**
   * AES-256-GCM (NIST SP 800-38D) with the current key: `gs1.<key id>.<nonce>.<ciphertext and tag>`, in base64url. What
   * is sealed opens in the same context only, e.g. 'connection/crm'.
   *
   * A random nonce of 96 bits is good for 2^32 values under one key (SP 800-38D, 8.3): a thousand a second for 49 days
   * without a pause. Only changes of records seal, which are fewer by far.
   */
  seal(text: string, context: string): string {
    const key = this.#current();
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', key.sealing, nonce, { authTagLength: TAG_BYTES });
    cipher.setAAD(Buffer.from(context));
    // As JSON: plain UTF-8 has no form for a half of a surrogate pair.
    const bytes = Buffer.concat([cipher.update(JSON.stringify(text)), cipher.final(), cipher.getAuthTag()]);
    return `gs1.${key.id}.${nonce.toString('base64url')}.${bytes.toString('base64url')}`;
  }

  /**
   * The text that was sealed. Throws SECRET_UNREADABLE where the key is missing, the value or its context is another.
   * A key that has been added to the file meanwhile is found.
   */
  open(sealed: string, context: string): string {
    const [, id, nonce, body] = SEALED.exec(sealed) ?? [];
    if (id === undefined || nonce === undefined || body === undefined) throw unreadable('It is not a sealed value.');
    const bytes = Buffer.from(body, 'base64url');
    // The last character may have bits that are not used; a value has one form only.
    if (bytes.toString('base64url') !== body) throw changed(id);
    for (const key of this.#find(id)) {
      const text = unsealed(key, Buffer.from(nonce, 'base64url'), bytes, context);
      if (text !== null) return text;
    }
    throw changed(id);
  }

  /** Whether a value is sealed with the current key. */
  isCurrent(sealed: string): boolean {
    return SEALED.exec(sealed)?.[1] === this.#current().id;
  }

  /** HMAC-SHA-256 with a key that is derived from the current one for this purpose: `gh1.<key id>.<base64url>`. */
  sign(purpose: string, bytes: string | Uint8Array): string {
    const signer = this.signer(purpose);
    signer.add(bytes);
    return signer.end();
  }
  /** False, too, for a key that is not there. */
  verify(purpose: string, bytes: string | Uint8Array, signature: string): boolean {
    try {
      const verifier = this.verifier(purpose, signature);
      verifier.add(bytes);
      return verifier.end();
    } catch {
      return false;
    }
  }
  /** The same for what comes in pieces. */
  signer(purpose: string): Signer {
    return signing(this.#current(), purpose);
  }
  /** Throws SECRET_UNREADABLE for what is no signature, and where its key is not there. */
  verifier(purpose: string, signature: string): Verifier {
    const id = SIGNATURE.exec(signature)?.[1];
    if (id === undefined) throw unreadable('It is not a signature.');
    const signers = this.#find(id).map((key) => signing(key, purpose));
    return {
      add: (piece) => {
        for (const signer of signers) signer.add(piece);
      },
      // The texts are compared, which have one form only.
      end: () => signers.some((signer) => timingSafeEqual(Buffer.from(signer.end()), Buffer.from(signature))),
    };
  }

  /** Keys of 32 bytes for another use, the current one first: HKDF-SHA-256 (RFC 5869), the purpose being its `info`. */
  derive(purpose: string): readonly Buffer[] {
    let made = this.#derived.get(purpose);
    if (made?.of !== this.#keys) {
      made = { of: this.#keys, keys: this.#keys.map(({ bytes }) => derived(bytes, `use/${purpose}`)) };
      this.#derived.set(purpose, made);
    }
    return made.keys;
  }

  #current(): Key {
    // parse() gives no empty list.
    return this.#keys[0] as Key;
  }

  /** Two keys of one id are improbable, but nothing forbids them. */
  #find(id: string): readonly Key[] {
    const of = () => this.#keys.filter((key) => key.id === id);
    let found = of();
    let cause: unknown;
    if (found.length === 0) {
      try {
        this.refresh();
      } catch (thrown) {
        cause = thrown;
      }
      found = of();
    }
    if (found.length > 0) return found;
    const where = this.file === null ? 'the configured keys' : this.file;
    const broken = cause === undefined ? '' : ` ${where} was changed and is not valid: ${(cause as Error).message}.`;
    throw unreadable(
      `It needs the key ${id}, which is not there (there are: ${this.ids.join(', ')}).${broken} Add it to ${where}, after the first, or give the secret anew.`,
      cause,
    );
  }

  /** Takes over what the key file says by now. Throws KEY_INVALID, and keeps the keys that there are. */
  refresh(): void {
    if (this.file !== null && isThere(this.file) && stateOf(this.file) !== this.#seen) this.#read(this.file);
  }

  #read(file: string): void {
    // Before it is read: what changes meanwhile is seen the next time.
    const seen = stateOf(file);
    const text = attempt(file, () => readFileSync(file, 'utf8'));
    this.#keys = parse(text.replace(/#.*/g, ''), file);
    this.#seen = seen;
    this.#warning = openTo(file);
  }
}

function signing(key: Key, purpose: string): Signer {
  const hmac = createHmac('sha256', derived(key.bytes, `sign/${purpose}`));
  return {
    add: (piece) => void hmac.update(piece),
    end: () => `gh1.${key.id}.${hmac.digest('base64url')}`,
  };
}

/** HKDF (RFC 5869) without a salt: the key is random already. */
function derived(key: Buffer, purpose: string): Buffer {
  return Buffer.from(hkdfSync('sha256', key, '', `gantry/${purpose}`, KEY_BYTES));
}

/** Null where the key, the context or the bytes are not those that it was sealed with. */
function unsealed(key: Key, nonce: Buffer, bytes: Buffer, context: string): string | null {
  const end = bytes.length - TAG_BYTES;
  const decipher = createDecipheriv('aes-256-gcm', key.sealing, nonce, { authTagLength: TAG_BYTES });
  decipher.setAAD(Buffer.from(context));
  decipher.setAuthTag(bytes.subarray(end));
  try {
    return JSON.parse(decipher.update(bytes.subarray(0, end), undefined, 'utf8') + decipher.final('utf8')) as string;
  } catch {
    // What was thrown might tell of the bytes.
    return null;
  }
}

function unreadable(hint: string, cause?: unknown): GantryError {
  return new GantryError('SECRET_UNREADABLE', 'A stored secret cannot be read', { hint, cause });
}
function changed(id: string): GantryError {
  return unreadable(
    `Its key ${id} is there, but the value was changed, or moved here from another record. Give the secret anew.`,
  );
}

/** Throws KEY_INVALID for the first text that is no key, and where there is none. */
function parse(text: string, from: string): readonly Key[] {
  const texts = text.split(/[\s,]+/).filter((one) => one !== '');
  if (texts.length === 0) throw new GantryError('KEY_INVALID', `There is no key in ${from}`, { hint: MAKE_ONE });
  return texts.map((one, i) => {
    const bytes = decode(one);
    if (bytes === null) {
      const message = `Key ${i + 1} of ${texts.length} in ${from} is not a key: its ${one.length} characters are not 32 bytes`;
      throw new GantryError('KEY_INVALID', message, { hint: MAKE_ONE });
    }
    const id = createHash('sha256').update('gantry/key id\0').update(bytes).digest('hex').slice(0, 8);
    return { id, bytes, sealing: derived(bytes, 'seal') };
  });
}

function decode(text: string): Buffer | null {
  if (/^[0-9a-f]{64}$/i.test(text)) return Buffer.from(text, 'hex');
  if (!/^[\w+/-]{43}=?$/.test(text)) return null;
  const bytes = Buffer.from(text, 'base64');
  // A slip in the last character would go unseen otherwise: it has two bits that are not used.
  const written = text.replace('=', '').replaceAll('+', '-').replaceAll('/', '_');
  return bytes.toString('base64url') === written ? bytes : null;
}

/** Whether this process made it: of two that start at once only one does, and both read it whole. */
function make(file: string): boolean {
  const draft = `${file}.${process.pid}.${randomBytes(6).toString('hex')}`;
  const text = `# The keys of this installation: one a line, in base64. The first seals secrets, every one opens what it sealed.\n# Keep a copy in a safe place: what was sealed with a lost key cannot be read again.\n${randomBytes(KEY_BYTES).toString('base64')}\n`;
  try {
    writeFileSync(draft, text, { flag: 'wx', mode: 0o600, flush: true });
    // Unlike a rename, a link never replaces a file.
    linkSync(draft, file);
    syncFolder(path.dirname(file));
    return true;
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'EEXIST') return false;
    throw new GantryError('KEY_INVALID', `There is no key file ${file}, and it cannot be made (${code})`, {
      cause,
      hint: `Make its folder writable, put a key into the file yourself, or configure one. ${MAKE_ONE}`,
    });
  } finally {
    drop(draft);
  }
}

/** Node 24 throws for a file whose folder is none, also with `force`. */
function drop(file: string): void {
  try {
    rmSync(file, { force: true });
  } catch {
    // Then there is nothing to take away.
  }
}

/** So that the name survives a loss of power, too; not every system can. */
function syncFolder(folder: string): void {
  try {
    const fd = openSync(folder, 'r');
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  } catch {
    // The key itself is on the disk.
  }
}

function isThere(file: string): boolean {
  return attempt(file, () => statSync(file, { throwIfNoEntry: false })) !== undefined;
}

function stateOf(file: string): string {
  const { ino, size, mtimeNs, ctimeNs } = attempt(file, () => statSync(file, { bigint: true }));
  return `${ino} ${size} ${mtimeNs} ${ctimeNs}`;
}

/** Windows has other rights than these. */
function openTo(file: string): string | null {
  const mode = process.platform === 'win32' ? 0 : attempt(file, () => statSync(file)).mode & 0o777;
  if ((mode & 0o077) === 0) return null;
  return `The key file ${file} is open to others than its owner (mode ${mode.toString(8)}): chmod 600 ${file}`;
}

function attempt<T>(file: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new GantryError('KEY_INVALID', `The key file ${file} cannot be read (${code})`, {
      cause,
      hint: 'It must be a file that this process can read, with a key a line.',
    });
  }
}
