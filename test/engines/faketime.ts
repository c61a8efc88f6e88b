/** A clock that can be set for one program, while it runs: libfaketime between it and the machine's own. */
import { chownSync, mkdirSync, readdirSync, renameSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { User } from './daemon.ts';
import { install } from './install.ts';

/** The package of Debian that brings it, and where that puts it. */
const DEBIAN = 'libfaketime';
const FOLDERS = ['/usr/lib', '/usr/lib64', '/usr/local/lib'];
/** For programs of several threads. */
const LIBRARY = 'faketime/libfaketimeMT.so.1';

export class FakedClock {
  /** What the program is to be started with. */
  readonly env: Readonly<Record<string, string>>;
  readonly #file: string;
  readonly #user: User | null;
  #offsetS = 0;

  /** The folder is made, and belongs to the user: who reads the clock's file must get there. */
  constructor(library: string, folder: string, user: User | null = null) {
    this.#user = user;
    mkdirSync(folder, { recursive: true });
    if (user !== null) chownSync(folder, user.uid, user.gid);
    this.#file = path.join(folder, 'clock');
    this.env = {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: this.#file,
      // It is read each time, so that a running program sees a change at once.
      FAKETIME_NO_CACHE: '1',
      // Timers go on: only what a clock on the wall shows is changed.
      DONT_FAKE_MONOTONIC: '1',
      NO_FAKE_STAT: '1',
      FAKETIME_DISABLE_SHM: '1',
    };
    this.set(0);
  }

  get offsetS(): number {
    return this.#offsetS;
  }

  /** So many seconds ahead of the machine's own clock, from now on; a negative number: behind. */
  set(offsetS: number): void {
    this.#offsetS = offsetS;
    const next = `${this.#file}.next`;
    writeFileSync(next, `${offsetS < 0 ? '' : '+'}${offsetS}\n`, { mode: 0o644 });
    if (this.#user !== null) chownSync(next, this.#user.uid, this.#user.gid);
    // At once: nobody reads half of it.
    renameSync(next, this.#file);
  }
}

/** The library, installed first where that is asked for; null where there is none, which is said: on CI an error. */
export function faketime(): string | null {
  const found = search();
  if (found !== null) return found;
  const why = process.platform === 'linux' ? install(DEBIAN) : 'it is for Linux';
  const installed = why === null ? search() : null;
  if (installed !== null) return installed;
  const told = `libfaketime is not installed (${why ?? 'its package brought no library'}). Its package in Debian: ${DEBIAN}`;
  if (process.env['CI'] === 'true') throw new Error(told);
  process.stderr.write(`\nSKIPPED: the tests with clocks that are set do not run here. ${told}\n\n`);
  return null;
}

/** Also in a folder for one architecture, as Debian has it. */
function search(): string | null {
  const places = FOLDERS.flatMap((folder) => [folder, ...below(folder).map((name) => path.join(folder, name))]);
  return places.map((place) => path.join(place, LIBRARY)).find(isFile) ?? null;
}
function below(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => name.includes('-linux-'));
  } catch {
    return [];
  }
}
function isFile(file: string): boolean {
  try {
    return statSync(file).isFile();
  } catch {
    return false;
  }
}
