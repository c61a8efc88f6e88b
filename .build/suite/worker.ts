/** One process of mocha that runs a few files, followed until it has ended. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import path from 'node:path';
import type { Event } from './events.ts';
import { endAll, familyOf, isAnyLeft } from './processes.ts';

export interface WorkerOptions {
  readonly cwd: string;
  /** Further options of mocha. */
  readonly mocha: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Without any sign of life for so long it hangs: longer than the longest time limit that a test sets itself. */
  readonly silenceMs: number;
}

export interface Ended {
  /** Why it did not get to its end; null where it did. */
  readonly problem: string | null;
}

/** After an order to end, before it is killed; and once it is gone, for the wardens of its engines to do their work. */
const GRACE_MS = 8000;
const WARDENS_MS = 3000;
/** After its last test. */
const EXIT_MS = 60_000;

const require = createRequire(import.meta.url);
// bin/mocha.js would start a process of its own for the loader.
const MOCHA = path.join(path.dirname(require.resolve('mocha/package.json')), 'lib/cli/cli.js');
const TSX = import.meta.resolve('tsx');
const REPORTER = path.join(import.meta.dirname, 'reporter.cjs');

export class Worker {
  readonly #child: ChildProcess;
  /** Resolves when it has ended, and what it started with it. */
  readonly ended: Promise<Ended>;
  #problem: string | null = null;
  #isThrough = false;

  constructor(
    files: readonly string[],
    options: WorkerOptions,
    hear: { readonly event: (event: Event) => void; readonly text: (text: string) => void },
  ) {
    const { cwd, mocha, env, silenceMs } = options;
    const child = spawn(process.execPath, ['--import', TSX, MOCHA, '--reporter', REPORTER, ...mocha, ...files], {
      cwd,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      // A session of its own: Ctrl-C is for the runner, which ends its processes in order.
      detached: true,
    });
    this.#child = child;
    let silence = setTimeout(() => this.#hang(silenceMs), silenceMs);
    child.on('message', (event: Event) => {
      clearTimeout(silence);
      this.#isThrough ||= event.type === 'end';
      const limitMs = this.#isThrough ? EXIT_MS : silenceMs;
      silence = setTimeout(() => this.#hang(limitMs), limitMs);
      hear.event(event);
    });
    for (const stream of [child.stdout, child.stderr]) stream?.setEncoding('utf8').on('data', hear.text);
    this.ended = new Promise((resolve) => {
      child.once('error', (error) => {
        clearTimeout(silence);
        resolve({ problem: `did not start: ${error.message}` });
      });
      // 'close' waits for who holds its pipes, and a process that was left behind may hold them for ever.
      child.once('exit', (code, signal) => {
        clearTimeout(silence);
        const crash = `ended with ${code ?? signal} before its tests were through`;
        setTimeout(() => resolve({ problem: this.#problem ?? (this.#isThrough ? null : crash) }), 50);
      });
    });
  }

  /** Ends it: in order at first, so that its hooks can end what its tests started. */
  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null || this.#child.pid === undefined) return;
    this.#problem ??= 'was interrupted';
    const family = familyOf(this.#child.pid);
    this.#child.kill('SIGINT');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), GRACE_MS);
    await this.ended.finally(() => clearTimeout(timer));
    await endLeft(family);
  }

  #hang(ms: number): void {
    this.#problem ??= `hangs: nothing happened for ${Math.round(ms / 1000)} s`;
    this.#kill();
  }
  #kill(): void {
    if (this.#child.pid === undefined) return;
    const family = familyOf(this.#child.pid);
    this.#child.kill('SIGKILL');
    void endLeft(family);
  }
}

/** Who outlives a process of tests though nobody ends it. Engines have wardens, which end them in order. */
async function endLeft(family: ReturnType<typeof familyOf>): Promise<void> {
  const until = Date.now() + WARDENS_MS;
  while (isAnyLeft(family) && Date.now() < until) await new Promise((resolve) => setTimeout(resolve, 50));
  endAll(family, 'SIGKILL');
}
