/** The family of a process, as /proc knows it: whoever is ended takes along what it started. */
import { readdirSync, readFileSync } from 'node:fs';

/** A process by its id and when it began, since ids are used again. */
interface Identity {
  readonly pid: number;
  readonly began: string;
}

/** The process and everything below it, the youngest last. */
export function familyOf(pid: number): Identity[] {
  const below = new Map<number, Identity[]>();
  for (const name of readdirOf('/proc')) {
    const fields = statOf(Number(name));
    if (fields === null) continue;
    const siblings = below.get(fields.parent) ?? [];
    siblings.push({ pid: Number(name), began: fields.began });
    below.set(fields.parent, siblings);
  }
  const self = statOf(pid);
  if (self === null) return [];
  const found: Identity[] = [{ pid, began: self.began }];
  for (const { pid: parent } of found) found.push(...(below.get(parent) ?? []));
  return found;
}

/** Whether one of them has not ended; what nobody has asked for yet has. */
export function isAnyLeft(family: readonly Identity[]): boolean {
  return family.some(({ pid, began }) => {
    const stat = statOf(pid);
    return stat?.began === began && !stat.isOver;
  });
}

/** Ends those of them that are still there. */
export function endAll(family: readonly Identity[], signal: NodeJS.Signals): void {
  for (const { pid, began } of family) {
    if (statOf(pid)?.began !== began) continue;
    try {
      process.kill(pid, signal);
    } catch {
      // It ended meanwhile.
    }
  }
}

function statOf(pid: number): { parent: number; began: string; isOver: boolean } | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return { parent: Number(fields[1]), began: String(fields[19]), isOver: /^[ZX]$/.test(fields[0] ?? '') };
  } catch {
    return null;
  }
}

function readdirOf(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => /^\d+$/.test(name));
  } catch {
    return [];
  }
}
