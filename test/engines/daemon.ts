/** A program that runs beside the tests: started, followed, frozen, stopped by its process id, and never left behind. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';

export interface Program {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** As whom, where the tests run as root. */
  readonly user?: User | null;
  /** What it says once it answers. */
  readonly ready: RegExp;
  /** Ends it at once and orderly, whoever is connected. */
  readonly stopSignal: NodeJS.Signals;
  readonly readyMs?: number;
}

export interface User {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

const KEPT = 20_000;

export class Daemon {
  readonly #program: Program;
  readonly #warden: Warden;
  #child: ChildProcess | null = null;
  #said = '';

  constructor(program: Program, warden: Warden) {
    this.#program = program;
    this.#warden = warden;
  }

  /** Null while it does not run. */
  get pid(): number | null {
    return this.#child?.pid ?? null;
  }
  /** The end of what it said. */
  get said(): string {
    return this.#said;
  }

  /** Resolves when it answers; rejects, with what it said, when it ends before that or takes too long. */
  async start(): Promise<void> {
    if (this.#child !== null) return;
    const { command, args, env, ready, readyMs = 60_000 } = this.#program;
    this.#said = '';
    const child = spawn(command, args, {
      // A session of its own: the terminal's Ctrl-C is for the tests, which then end it in order.
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'] ?? '', LC_ALL: 'C.UTF-8', ...env },
      ...asUser(this.#program.user ?? null),
    });
    this.#child = child;
    this.#warden.watch(child.pid ?? null);
    const gone = new Promise<string>((resolve) => {
      child.once('error', (error) => resolve(error.message));
      child.once('exit', (code, signal) => resolve(`it ended with ${code ?? signal}`));
    });
    void gone.then(() => {
      if (this.#child !== child) return;
      this.#child = null;
      this.#warden.watch(null);
    });
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), readyMs);
    try {
      await new Promise<void>((resolve, reject) => {
        const fail = (why: string) => reject(new Error(`${command} did not start: ${why}\n${this.#said}`));
        const hear = (text: string) => {
          this.#said = (this.#said + text).slice(-KEPT);
          if (ready.test(this.#said)) resolve();
        };
        child.stdout?.setEncoding('utf8').on('data', hear);
        child.stderr?.setEncoding('utf8').on('data', hear);
        late.signal.addEventListener('abort', () => fail(`it did not answer in ${readyMs} ms`));
        void gone.then(fail);
      });
    } catch (error) {
      await this.kill();
      throw error;
    } finally {
      clearTimeout(timer);
    }
    // Not what keeps the tests from ending.
    child.unref();
    for (const stream of [child.stdout, child.stderr]) (stream as unknown as { unref?(): void } | null)?.unref?.();
  }

  /** In order: everything that it was told is kept. */
  stop(): Promise<void> {
    return this.#end(this.#program.stopSignal);
  }
  /** As if the machine had killed it. */
  kill(): Promise<void> {
    return this.#end('SIGKILL');
  }

  /** It stands still, its connections stay open: what a caller sees of a machine that hangs. */
  freeze(): void {
    if (this.#child === null) return;
    // The parent first, so that no child is made meanwhile.
    signal(this.#child.pid, 'SIGSTOP');
    const children = childrenOf(this.#child.pid);
    for (const child of children) signal(child, 'SIGSTOP');
    // A thread that is running stops some milliseconds after the signal, and could still answer meanwhile.
    const until = Date.now() + 1000;
    while (![this.#child.pid as number, ...children].every(isStill) && Date.now() < until);
  }
  thaw(): void {
    if (this.#child === null) return;
    for (const child of childrenOf(this.#child.pid)) signal(child, 'SIGCONT');
    signal(this.#child.pid, 'SIGCONT');
  }

  async #end(how: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === null || child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.ref();
    // One that is to be killed makes no more children meanwhile.
    if (how === 'SIGKILL') this.freeze();
    else this.thaw();
    const all = [child.pid, ...childrenOf(child.pid)];
    for (const pid of how === 'SIGKILL' ? all : [child.pid]) signal(pid, how);
    const timer = setTimeout(() => {
      for (const pid of all) signal(pid, 'SIGKILL');
    }, 15_000);
    await gone.finally(() => clearTimeout(timer));
    // What its children held is free only when they have ended, too; nobody tells when that is.
    while (all.some(isRunning)) await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/**
 * A shell that waits for the end of this process, however it ends, and then ends the program and removes its folder.
 * It hears by its standard input, which closes even where the tests are killed with SIGKILL.
 */
export class Warden {
  readonly #shell: ChildProcess;

  constructor(folder: string, signalName: NodeJS.Signals) {
    const script = [
      'pid=',
      'while read -r line; do pid=$line; done',
      'if [ -n "$pid" ]; then',
      '  for p in $(cat "/proc/$pid/task/$pid/children" 2>/dev/null) "$pid"; do kill -CONT "$p" 2>/dev/null; done',
      '  kill -"$2" "$pid" 2>/dev/null',
      '  n=0; while kill -0 "$pid" 2>/dev/null && [ $n -lt 50 ]; do n=$((n+1)); sleep 0.1; done',
      '  kill -KILL "$pid" 2>/dev/null',
      'fi',
      'rm -rf "$1"',
    ].join('\n');
    this.#shell = spawn('/bin/sh', ['-c', script, 'warden', folder, signalName.replace('SIG', '')], {
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    this.#shell.unref();
    const { stdin } = this.#shell;
    (stdin as unknown as { unref(): void }).unref();
    stdin?.on('error', () => {});
  }

  /** Which process to end; null: there is none now. */
  watch(pid: number | null): void {
    this.#shell.stdin?.write(`${pid ?? ''}\n`);
  }

  /** Ends and removes what is left, and resolves when that is done. */
  async close(): Promise<void> {
    if (this.#shell.exitCode !== null) return;
    const gone = once(this.#shell, 'exit');
    this.#shell.ref();
    this.#shell.stdin?.end();
    await gone;
  }
}

/** For spawn: who runs it. Only root can be someone else. */
export function asUser(user: User | null): { uid?: number; gid?: number } {
  return user === null ? {} : { uid: user.uid, gid: user.gid };
}

/** The first of the names that this machine knows, where the tests run as root; null where they do not. */
export function unprivileged(...names: readonly string[]): User | null {
  if (process.getuid?.() !== 0) return null;
  const lines = readFileSync('/etc/passwd', 'utf8').split('\n');
  for (const name of names) {
    const [, , uid, gid] = lines.find((line) => line.startsWith(`${name}:`))?.split(':') ?? [];
    if (uid !== undefined && gid !== undefined) return { name, uid: Number(uid), gid: Number(gid) };
  }
  throw new Error(`None of the users ${names.join(', ')} exists, and a server must not run as root`);
}

function childrenOf(pid: number | undefined): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

function isRunning(pid: number): boolean {
  try {
    // What has ended and was not asked for yet is a zombie.
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

function signal(pid: number | undefined, name: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(pid, name);
  } catch {
    // It has ended meanwhile.
  }
}

/** Whether every thread of a process stands still, or the process is not there. */
function isStill(pid: number): boolean {
  try {
    return readdirSync(`/proc/${pid}/task`).every((thread) => {
      const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8');
      // After the name, which is in brackets and may hold anything: the state.
      return /^[TtZX]$/.test(stat.slice(stat.lastIndexOf(')') + 2).split(' ', 1)[0] as string);
    });
  } catch {
    return true;
  }
}
