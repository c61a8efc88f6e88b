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

function timeOf(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS;
  } catch {
    return 0;
  }
}
