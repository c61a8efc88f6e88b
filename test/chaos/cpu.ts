import { readFileSync } from 'node:fs';

/** Ticks of `/proc/<pid>/stat`: 100 a second on every Linux that Node runs on. */
const TICKS = 100;

/** The CPU time that processes took so far, in seconds, by a name of theirs; empty where there is no /proc. */
export class CpuShares {
  readonly #groups: Readonly<Record<string, () => readonly number[]>>;
  readonly #from: ReadonlyMap<string, ReadonlyMap<number, number>>;
  readonly #at = performance.now();

  constructor(groups: Readonly<Record<string, () => readonly number[]>>) {
    this.#groups = groups;
    this.#from = this.#read();
  }

  /** Cores that each took since this was made. */
  shares(): Readonly<Record<string, number>> {
    const seconds = (performance.now() - this.#at) / 1000;
    const now = this.#read();
    return Object.fromEntries(
      [...now].map(([name, times]) => {
        const before = this.#from.get(name);
        const used = [...times].reduce((sum, [pid, time]) => sum + time - (before?.get(pid) ?? 0), 0);
        // Of one that has ended nobody knows.
        return [name, Math.max(0, used) / seconds];
      }),
    );
  }

  #read(): Map<string, Map<number, number>> {
    return new Map(
      Object.entries(this.#groups).map(([name, pids]) => [name, new Map(pids().map((pid) => [pid, timeOf(pid)]))]),
    );
  }
}

/** A process and all that it started, however deep. */
export function familyOf(pid: number | null): readonly number[] {
  if (pid === null) return [];
  try {
    const own = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
    return [pid, ...own.flatMap(familyOf)];
  } catch {
    return [pid];
  }
}

/** What the name of its program is; empty where there is no such process. */
export function programOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return '';
  }
}

/** The CPU time that a process took so far, in seconds; 0 where there is none. */
export function timeOf(pid: number): number {
  return ticksOf(pid, 11) / TICKS;
}
/** The same of those of its children that have ended. */
export function timeOfEnded(pid: number): number {
  return ticksOf(pid, 13) / TICKS;
}
function ticksOf(pid: number, field: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return Number(fields[field]) + Number(fields[field + 1]);
  } catch {
    return 0;
  }
}

/** How long the main thread of a process has waited for a core so far, in seconds; 0 where nobody tells. */
export function waitOf(pid: number): number {
  try {
    return Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[1]) / 1e9;
  } catch {
    return 0;
  }
}
