import { spawn } from 'node:child_process';
import { type Background, LEAST_NICE, setSessionNice, stepBack } from './background.ts';

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
/**
 * A compiler that takes only what is left of the cores may get nothing of a busy machine. After so long it gets its share,
 * as any other process: longer than the half second that a whole check takes, and shorter than anybody's patience.
 */
const STARVED_MS = 1000;

/**
 * Runs the compiler in a folder that has a tsconfig.json, with less priority than calls. Resolves once it has ended; the
 * signal kills it. Rejects where it cannot be started.
 */
export function runTsc(exe: string, folder: string, signal: AbortSignal, { prefix, isIdle }: Background): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const [command = exe, ...args] = [...prefix, exe, '-p', '.', '--pretty', 'false', '--singleThreaded'];
    // Nothing of this process's environment, and one thread: the cores are for the calls. The collector of a process that
    // is gone in a second only costs time, up to the limit.
    const child = spawn(command, args, {
      cwd: folder,
      env: { GOMEMLIMIT: '1GiB', GOGC: '400' },
      stdio: ['ignore', 'pipe', 'pipe'],
      // A session of its own: see setSessionNice().
      detached: isIdle,
    });
    const { pid } = child;
    const share = (nice: number) => void (isIdle && pid !== undefined && setSessionNice(pid, nice));
    share(LEAST_NICE);
    // Again and again: the system refuses it where it was asked a moment ago.
    const starved = setInterval(share, STARVED_MS, 0);
    const kill = () => {
      // To end takes time of a core, too.
      share(0);
      child.kill('SIGKILL');
    };
    signal.addEventListener('abort', kill);
    if (signal.aborted) kill();
    child.once('error', (error) => {
      clearInterval(starved);
      reject(error);
    });
    if (pid !== undefined) stepBack(pid);
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
      clearInterval(starved);
      signal.removeEventListener('abort', kill);
      resolve({ ...said, code, cut: left < 0 });
    });
  });
}
