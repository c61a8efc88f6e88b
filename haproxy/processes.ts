/** Processes of this machine, by their id: whether they live, and whether they are ours. */
import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { pause } from 'gantry/api';

const run = promisify(execFile);
const HAS_PROC = process.platform === 'linux';

/** What has ended and waits for its parent to ask is no longer alive. */
export async function isAlive(pid: number): Promise<boolean> {
  if (!signal(pid, 0)) return false;
  if (!HAS_PROC) return true;
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  // After the name, which is in brackets and may hold anything: the state.
  return stat !== '' && !/^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2));
}

/** All processes that run HAProxy as a master with this configuration file, and their workers. */
export async function processesOf(file: string): Promise<number[]> {
  const all = HAS_PROC ? await fromProc() : await fromPs();
  return all.filter(({ pid, words }) => pid !== process.pid && isOurs(words, file)).map(({ pid }) => pid);
}

function isOurs(words: readonly string[], file: string): boolean {
  const at = words.indexOf('-f');
  return words.includes('-W') && at > 0 && words[at + 1] === file;
}

async function fromProc(): Promise<{ pid: number; words: string[] }[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')));
  return lines.map((line, i) => ({ pid: Number(pids[i]), words: line.split('\0') }));
}

async function fromPs(): Promise<{ pid: number; words: string[] }[]> {
  const { stdout } = await run('ps', ['-A', '-ww', '-o', 'pid=,args='], { maxBuffer: 16 * 1024 * 1024 });
  return stdout.split('\n').map((line) => {
    const [pid = '', ...words] = line.trim().split(/\s+/);
    return { pid: Number(pid), words };
  });
}

/** Whether there was one to be told. */
export function signal(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, name);
  } catch (error) {
    // There, and someone else's.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Waits for the end of all of them; gives whether it came in time. */
export async function ended(pids: readonly number[], withinMs: number): Promise<boolean> {
  const until = Date.now() + withinMs;
  for (;;) {
    const alive = await Promise.all(pids.map(isAlive));
    if (!alive.includes(true)) return true;
    if (Date.now() >= until) return false;
    await pause(20);
  }
}
