import { randomBytes } from 'node:crypto';
import { chmodSync, linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { GantryError } from '../../core/api.ts';

const NAMES = ['clusterToken', 'secretKey', 'adminPassword', 'statsPassword', 'redisPassword'] as const;
/** What all that is started shares. Each is a text without signs that a URL or a shell would read otherwise. */
export type Passwords = Readonly<Record<(typeof NAMES)[number], string>>;

/** Those of the file, which is made where there is none, for us alone. Throws CONFIG_UNREADABLE. */
export function passwordsIn(file: string): Passwords {
  const found = read(file);
  if (found !== null) return found;
  make(file);
  // Another that started at the same moment may have made it.
  return read(file) as Passwords;
}

function read(file: string): Passwords | null {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
    chmodSync(file, 0o600);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT') return null;
    throw unusable(file, `cannot be read (${code})`, cause);
  }
  let kept: Partial<Passwords>;
  try {
    kept = JSON.parse(text) as Partial<Passwords>;
  } catch (cause) {
    throw unusable(file, 'is not JSON', cause);
  }
  const missing = NAMES.filter((name) => typeof kept?.[name] !== 'string' || kept[name] === '');
  if (missing.length > 0) throw unusable(file, `has no ${missing.join(', no ')}`);
  return kept as Passwords;
}

function unusable(file: string, what: string, cause?: unknown): GantryError {
  return new GantryError('CONFIG_UNREADABLE', `The file of passwords ${file} ${what}`, {
    cause,
    hint: 'Put back what it was: secrets in the database are sealed with its key. Without it, empty the whole folder.',
  });
}

function make(file: string): void {
  const made: Passwords = {
    clusterToken: randomBytes(32).toString('hex'),
    secretKey: randomBytes(32).toString('hex'),
    adminPassword: randomBytes(15).toString('base64url'),
    statsPassword: randomBytes(15).toString('base64url'),
    redisPassword: randomBytes(24).toString('hex'),
  };
  const draft = `${file}.${process.pid}`;
  try {
    writeFileSync(draft, `${JSON.stringify(made, null, 2)}\n`, { mode: 0o600, flag: 'wx', flush: true });
    // Unlike a rename, a link never replaces a file.
    linkSync(draft, file);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code !== 'EEXIST') throw unusable(file, `cannot be made (${code})`, cause);
  } finally {
    rmSync(draft, { force: true });
  }
}
