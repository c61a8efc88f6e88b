import { type ChildProcess, spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import os from 'node:os';

/** How the compiler ended, and what it said. */
export interface Ran {
  readonly stdout: string;
  readonly stderr: string;
  /** Null: it was ended from outside. */
  readonly code: number | null;
  /** It said more than anybody reads, and was ended for that. */
  readonly cut: boolean;
}

const MOST_BYTES = 8 * 1024 * 1024;

/** Runs the compiler in a folder that has a tsconfig.json. Resolves once it has ended; the signal kills it. */
export function runTsc(exe: string, folder: string, signal: AbortSignal): Promise<Ran> {
  return new Promise((resolve, reject) => {
    // Nothing of this process's environment, and one thread: the cores are for the calls.
    const child = spawn(exe, ['-p', '.', '--pretty', 'false', '--singleThreaded'], {
      cwd: folder,
      env: { GOMEMLIMIT: '1GiB' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const kill = () => void child.kill('SIGKILL');
    signal.addEventListener('abort', kill);
    if (signal.aborted) kill();
    child.once('error', reject);
    child.once('spawn', () => stepBack(child));
    const said = { stdout: '', stderr: '' };
    let left = MOST_BYTES;
    for (const from of ['stdout', 'stderr'] as const) {
      child[from].setEncoding('utf8').on('data', (text: string) => {
        left -= text.length;
        if (left < 0) kill();
        else said[from] += text;
      });
    }
    child.once('close', (code) => {
      signal.removeEventListener('abort', kill);
      resolve({ ...said, code, cut: left < 0 });
    });
  });
}

/** Calls come first; and where memory runs out, the kernel takes the check and not the server. Both are best effort. */
function stepBack({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    os.setPriority(pid, os.constants.priority.PRIORITY_BELOW_NORMAL);
  } catch {
    // It has ended already.
  }
  if (process.platform === 'linux') writeFile(`/proc/${pid}/oom_score_adj`, '1000').catch(() => {});
}
