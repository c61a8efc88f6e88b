import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

/**
 * What is written before a command so that it runs with less priority than calls. It is there from the first instruction:
 * a priority that is set later holds for one thread of those that the program has started by then.
 */
export interface Background {
  /** Empty where the system has no such command. */
  readonly prefix: readonly string[];
  /** It gets a core only while nobody else wants it, as long as its session is nice: see setSessionNice(). */
  readonly isIdle: boolean;
}

/** For what is over at once: to wait for its turn would cost a deploy more than it saves the calls. */
export const FOREGROUND: Background = { prefix: [], isIdle: false };

const NICE = ['nice', '-n', '10'];
const IDLE = ['chrt', '-i', '0'];
/** The least that a session can have. */
export const LEAST_NICE = 19;

/** What this machine has of it. Never rejects. */
export async function findBackground(): Promise<Background> {
  if (process.platform === 'win32') return { prefix: [], isIdle: false };
  // An idle process cannot take that back by itself: it must be the session that decides.
  const idle = (await sharesBySession()) ? await works(IDLE) : null;
  return idle === null ? { prefix: (await works(NICE)) ?? [], isIdle: false } : { prefix: idle, isIdle: true };
}

/** Whether the kernel shares the cores between sessions: it does not within a control group that has a share of its own. */
async function sharesBySession(): Promise<boolean> {
  if (process.platform !== 'linux') return false;
  try {
    if ((await readFile('/proc/sys/kernel/sched_autogroup_enabled', 'utf8')).trim() !== '1') return false;
    const groups = (await readFile('/proc/self/cgroup', 'utf8')).trim().split('\n');
    // `hierarchy:controllers:path`; without controllers it is all of them.
    const ofCores = groups.map((line) => line.split(':')).filter(([, of = '']) => of === '' || of.includes('cpu'));
    return ofCores.every(([, , ...at]) => at.join(':') === '/');
  } catch {
    return false;
  }
}

/** The command with its path, since a compiler gets no environment; null where it cannot be used. */
async function works([name, ...args]: readonly string[]): Promise<readonly string[] | null> {
  const folders = (process.env['PATH'] ?? '').split(path.delimiter).filter((folder) => path.isAbsolute(folder));
  for (const folder of folders) {
    const command = path.join(folder, name as string);
    // Tried, since a container may forbid it.
    const isFit = await promisify(execFile)(command, [...args, 'sh', '-c', ':'], { timeout: 5000 }).then(
      () => true,
      () => false,
    );
    if (isFit) return [command, ...args];
  }
  return null;
}

/** Where memory runs out, the kernel takes this process and not the server. Best effort. */
export function stepBack(pid: number): void {
  if (process.platform === 'linux') writeFile(`/proc/${pid}/oom_score_adj`, '1000').catch(() => {});
  if (process.platform !== 'win32') return;
  try {
    os.setPriority(pid, os.constants.priority.PRIORITY_BELOW_NORMAL);
  } catch {
    // It has ended already.
  }
}

/**
 * How much a session gets that the process leads: LEAST_NICE is next to nothing, 0 as much as any other. The kernel shares
 * the cores between sessions first (sched(7), autogroup), so that a priority alone counts only within one. Best effort.
 */
export function setSessionNice(pid: number, nice: number): void {
  try {
    // At once, since the order of two counts.
    writeFileSync(`/proc/${pid}/autogroup`, String(nice));
  } catch {
    // It has ended already, or the system was asked a moment ago.
  }
}
