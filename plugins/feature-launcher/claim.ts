/** Of two launchers on one folder only one runs; it, or who ends what it started. */
import { execFileSync } from 'node:child_process';
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { GantryError, pause } from '../../core/api.ts';

interface Holder {
  /** The launcher, and the shell that ends what is left of it. */
  readonly pids: readonly number[];
  /** When each began: a number may be another process's by now. */
  readonly marks: readonly (string | null)[];
}

/** Longer than ending everything takes. */
const ENDING_MS = 45_000;
const LOOK_MS = 100;

/**
 * Claims a folder for this process by a file in it. Waits where the former launcher was killed and its things are being
 * ended. Rejects with ADDRESS_IN_USE where another launcher works there.
 */
export async function claim(file: string, folder: string, signal: AbortSignal): Promise<Claim> {
  const until = performance.now() + ENDING_MS;
  const own = new Claim(file);
  while (!own.take()) {
    const text = textOf(file);
    const holder = text === null ? null : parsed(text);
    const alive = holder === null ? [] : living(holder);
    if (holder !== null && alive.includes(holder.pids[0] as number)) throw taken(folder, holder.pids[0] as number);
    if (alive.length === 0) release(file, text);
    else if (performance.now() > until) throw taken(folder, alive[0] as number);
    else await pause(LOOK_MS, signal);
  }
  return own;
}

export class Claim {
  readonly #file: string;
  #pids: readonly number[] = [process.pid];
  #held = false;

  constructor(file: string) {
    this.#file = file;
  }

  /** False where somebody has it. */
  take(): boolean {
    try {
      this.#write((draft) => linkSync(draft, this.#file));
      this.#held = true;
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
      throw error;
    }
  }

  /** From now on it counts as taken for as long as this process lives, too. */
  share(pid: number): void {
    this.#pids = [process.pid, pid];
    this.#write((draft) => renameSync(draft, this.#file));
  }

  release(): void {
    if (this.#held) rmSync(this.#file, { force: true });
    this.#held = false;
  }

  #write(put: (draft: string) => void): void {
    const holder: Holder = { pids: this.#pids, marks: this.#pids.map(markOf) };
    const draft = `${this.#file}.${process.pid}`;
    try {
      writeFileSync(draft, JSON.stringify(holder), { mode: 0o600 });
      put(draft);
    } finally {
      rmSync(draft, { force: true });
    }
  }
}

/** Takes away the file of one that is gone, unless another one claimed the folder meanwhile. */
function release(file: string, text: string | null): void {
  if (text === null) return;
  const aside = `${file}.${process.pid}.old`;
  try {
    renameSync(file, aside);
    if (textOf(aside) !== text) linkSync(aside, file);
  } catch {
    // Somebody else did so.
  }
  rmSync(aside, { force: true });
}

function taken(folder: string, pid: number): GantryError {
  return new GantryError('ADDRESS_IN_USE', `It runs already: process ${pid} works in ${folder}`, {
    hint: `End it first (Ctrl-C there, or kill ${pid}), or give this one another data folder (GANTRY_DATA) and other ports.`,
  });
}

function living({ pids, marks }: Holder): number[] {
  return pids.filter((pid, i) => {
    const mark = markOf(pid);
    return mark !== null && mark === marks[i];
  });
}

function textOf(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}

function parsed(text: string): Holder | null {
  try {
    const { pids, marks } = JSON.parse(text) as Holder;
    return Array.isArray(pids) && Array.isArray(marks) ? { pids, marks } : null;
  } catch {
    return null;
  }
}

/** When a process began, in no certain form; null where there is none. */
export function markOf(pid: number): string | null {
  if (process.platform !== 'linux') return startedAt(pid);
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // After the name, which is in brackets and may hold anything: the state, and 19 fields on, the time.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return /^[ZX]$/.test(fields[0] as string) ? null : `${bootOf()} ${fields[19]}`;
  } catch {
    return null;
  }
}

function bootOf(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

function startedAt(pid: number): string | null {
  try {
    return execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' }).trim() || null;
  } catch {
    return null;
  }
}
