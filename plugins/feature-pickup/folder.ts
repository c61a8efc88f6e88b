import { constants } from 'node:fs';
import { link, lstat, mkdir, open, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { GantryError, type Logger } from '../../core/api.ts';

/** A file that is all there. */
export interface Dropped {
  readonly name: string;
  /** Another one as soon as the file has other bytes. */
  readonly print: string;
}

export interface FolderOptions {
  readonly folder: string;
  /** What was not written to for so long is taken as whole. */
  readonly stillMs: number;
  readonly maxBytes: number;
  /** How many files are kept of those that were deployed, and of those that were refused. */
  readonly kept: number;
  readonly log: Logger;
}

/** An empty file is mostly one that somebody is about to write. */
const EMPTY_MS = 5000;
const DEPLOYED = 'deployed';
const REFUSED = 'refused';
/** What programs call a file that they have not done with: hidden, a copy of an editor's, a transfer under way. */
const UNFINISHED = /^[.#~]|(~|\.(tmp|temp|part|partial|filepart|crdownload|swp|swx|bak))$/i;
const MODULE = /\.(ts|js)$/;
/** Names of others are told once; a folder may be full of them. */
const TOLD = 1000;

/** The folder where files are dropped, and the two below it where they go. */
export class PickupFolder {
  readonly #options: FolderOptions;
  #looks = new Map<string, string>();
  readonly #told = new Set<string>();

  constructor(options: FolderOptions) {
    this.#options = options;
  }

  async prepare(): Promise<void> {
    const { folder, log } = this.#options;
    for (const one of ['', DEPLOYED, REFUSED]) await mkdir(path.join(folder, one), { recursive: true, mode: 0o750 });
    const { mode } = await stat(folder);
    if ((mode & 0o002) === 0) return;
    log.warn({ folder }, 'everybody on this machine can deploy code by the pick-up folder: chmod o-w it');
  }

  /** Those that stood still since the last look, or longer; by name. */
  async complete(): Promise<readonly Dropped[]> {
    const { folder } = this.#options;
    const looks = new Map<string, string>();
    const whole: Dropped[] = [];
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      const { name } = entry;
      if (name === DEPLOYED || name === REFUSED || UNFINISHED.test(name)) continue;
      if (!entry.isFile() || !MODULE.test(name)) this.#leave(name);
      else {
        const seen = await this.#seen(name);
        if (seen === null) continue;
        looks.set(name, seen.print);
        if (seen.stood) whole.push({ name, print: seen.print });
      }
    }
    this.#looks = looks;
    return whole.sort((one, other) => (one.name < other.name ? -1 : 1));
  }

  /** Its text. Rejects with INVALID for what can be no module, UNAVAILABLE for what cannot be read now, null where it is gone. */
  async read({ name }: Dropped): Promise<string | null> {
    const { folder, maxBytes } = this.#options;
    let bytes: Buffer;
    try {
      // What is put in its place meanwhile may be a link.
      const handle = await open(path.join(folder, name), constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0));
      try {
        const { size } = await handle.stat();
        if (size > maxBytes) throw tooLarge(size, maxBytes);
        bytes = await handle.readFile();
      } finally {
        await handle.close();
      }
    } catch (thrown) {
      const { code } = thrown as NodeJS.ErrnoException;
      if (code === 'ENOENT') return null;
      if (thrown instanceof GantryError) throw thrown;
      throw new GantryError('UNAVAILABLE', `The file cannot be read (${code})`, { cause: thrown });
    }
    if (bytes.length === 0) throw new GantryError('INVALID', 'The file is empty');
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    } catch (cause) {
      throw new GantryError('INVALID', 'The file is no text in UTF-8', { cause });
    }
  }

  /** Moves it to those that were deployed, under the version that it became. */
  async deployed(dropped: Dropped, version: number): Promise<void> {
    const { name, ext } = path.parse(dropped.name);
    await this.#move(dropped, path.join(DEPLOYED, `${name}.v${version}${ext}`));
    await this.#prune(DEPLOYED, () => true);
  }

  /** Moves it to those that were refused, with the reasons beside it. */
  async refused(dropped: Dropped, reasons: string): Promise<void> {
    const { folder } = this.#options;
    const target = path.join(REFUSED, dropped.name);
    await writeFile(path.join(folder, `${target}.txt`), reasons);
    await this.#move(dropped, target);
    await this.#prune(REFUSED, (name) => MODULE.test(name));
  }

  async #seen(name: string): Promise<{ print: string; stood: boolean } | null> {
    const { folder, stillMs } = this.#options;
    try {
      const { ino, size, mtimeMs } = await lstat(path.join(folder, name));
      const print = `${ino} ${size} ${mtimeMs}`;
      // One that was renamed into place was written to before.
      const ageMs = Date.now() - mtimeMs;
      const stood = this.#looks.get(name) === print || ageMs >= stillMs;
      return { print, stood: stood && (size > 0 || ageMs >= EMPTY_MS) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw error;
    }
  }

  /** A newer one that came under the same name meanwhile is not taken away: it is back for the next look. */
  async #move({ name, print }: Dropped, to: string): Promise<void> {
    const { folder } = this.#options;
    const [from, target] = [path.join(folder, name), path.join(folder, to)];
    await mkdir(path.dirname(target), { recursive: true });
    try {
      await rename(from, target);
    } catch (error) {
      // Another server that watches the same folder was quicker.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw error;
    }
    const { ino, size, mtimeMs } = await lstat(target);
    if (`${ino} ${size} ${mtimeMs}` === print) return;
    await link(target, from).catch(() => {});
    await rm(target, { force: true });
  }

  async #prune(below: string, counts: (name: string) => boolean): Promise<void> {
    const folder = path.join(this.#options.folder, below);
    const names = (await readdir(folder)).filter(counts);
    if (names.length <= this.#options.kept) return;
    const aged = await Promise.all(
      names.map(async (name) => ({ name, at: (await lstat(path.join(folder, name))).ctimeMs })),
    );
    aged.sort((one, other) => one.at - other.at);
    for (const { name } of aged.slice(0, names.length - this.#options.kept)) {
      for (const one of [name, `${name}.txt`]) await rm(path.join(folder, one), { force: true });
    }
  }

  #leave(name: string): void {
    if (this.#told.has(name) || this.#told.size >= TOLD) return;
    this.#told.add(name);
    this.#options.log.warn(
      { file: name },
      'the pick-up folder has what is no module and stays: files end in .ts or .js',
    );
  }
}

function tooLarge(bytes: number, most: number): GantryError {
  return new GantryError('INVALID', `The file has ${bytes} bytes, and at most ${most} are taken`, {
    hint: 'Move a part of it into a package, or raise maxBytes of feature.pickup.',
  });
}
