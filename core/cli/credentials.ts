import { readFileSync } from 'node:fs';
import { usage } from './failure.ts';
import type { Options } from './options.ts';
import { askHidden, type Terminal } from './terminal.ts';

/** Who asks, and the password or session that proves it. Nothing is asked for before it is needed. */
export class Credentials {
  readonly #terminal: Terminal;
  readonly #options: Options;
  #password: string | null = null;

  constructor(terminal: Terminal, options: Options) {
    this.#terminal = terminal;
    this.#options = options;
  }

  get user(): string {
    return this.#options.text('user') ?? (this.#terminal.env['GANTRY_USER'] || 'admin');
  }

  /** The header `authorization`. A session counts, unless a user or password file is named with the command. */
  async header(password: boolean): Promise<string> {
    const token = this.#token();
    if (token !== null && !password) return `Bearer ${token}`;
    const { user } = this;
    if (user.includes(':')) throw usage(`A user's name has no colon: '${user}'`);
    this.#password ??= await this.#find();
    return `Basic ${Buffer.from(`${user}:${this.#password}`).toString('base64')}`;
  }

  /** What to look at when they were refused. */
  hint(): string {
    return this.#token() === null
      ? `Asked as '${this.user}': check --user (GANTRY_USER), and GANTRY_PASSWORD or --password-file.`
      : 'Asked with the session in GANTRY_TOKEN, which may be over. Make another: gantry session create --user NAME';
  }

  #token(): string | null {
    const token = this.#terminal.env['GANTRY_TOKEN']?.trim() ?? '';
    if (token === '' || this.#options.has('user') || this.#options.has('password-file')) return null;
    if (/^[\x21-\x7e]+$/.test(token)) return token;
    throw usage('GANTRY_TOKEN is no token of a session');
  }

  async #find(): Promise<string> {
    const file = this.#options.text('password-file');
    if (file !== undefined) return secretFile(file);
    const given = this.#terminal.env['GANTRY_PASSWORD'] ?? '';
    if (given !== '') return given;
    const hint = 'Set GANTRY_PASSWORD or GANTRY_TOKEN, or name a file with --password-file.';
    if (!isAsking(this.#terminal)) throw usage(`There is no password for '${this.user}'`, hint);
    const password = await askHidden(this.#terminal, `Password of '${this.user}': `);
    if (password === '') throw usage('No password was given', hint);
    return password;
  }
}

/** A password that somebody is to have: GANTRY_NEW_PASSWORD, --new-password-file, or a prompt, twice. */
export async function newPassword(terminal: Terminal, options: Options, user: string): Promise<string> {
  const file = options.text('new-password-file');
  if (file !== undefined) return secretFile(file);
  const given = terminal.env['GANTRY_NEW_PASSWORD'] ?? '';
  if (given !== '') return given;
  if (!isAsking(terminal)) {
    throw usage(
      `There is no new password for '${user}'`,
      'Set GANTRY_NEW_PASSWORD, or name a file with --new-password-file. A password is never an argument: others can see those.',
    );
  }
  const first = await askHidden(terminal, `New password of '${user}': `);
  const second = await askHidden(terminal, 'The same again: ');
  if (first === '') throw usage('No password was given');
  if (first !== second) throw usage('The two are not the same; nothing was changed');
  return first;
}

function isAsking({ stdin, stderr }: Terminal): boolean {
  return stdin.isTTY === true && stderr.isTTY === true;
}

/** A secret, without the line end that editors put after it. */
function secretFile(file: string): string {
  let text: string;
  try {
    text = readFileSync(file, 'utf8').replace(/\r?\n$/, '');
  } catch (thrown) {
    throw usage(`The file ${file} cannot be read (${(thrown as NodeJS.ErrnoException).code})`);
  }
  if (text === '') throw usage(`The file ${file} is empty; it must hold a password`);
  return text;
}
