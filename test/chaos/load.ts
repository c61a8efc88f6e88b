import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import type { LoadOrder, Progress, Sent } from './traffic.ts';

export interface Loaded {
  readonly sent: readonly Sent[];
  /** Cores that the load itself took; near 1 it would be what limits the figures. */
  readonly cpu: number;
}

/** The process that makes the load. */
export class Load {
  readonly #child: ChildProcess;
  readonly #ended: Promise<never>;
  #progress: Progress = { sent: 0, ok: 0, failed: 0, by: {} };

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#ended = once(child, 'exit').then(([code, signal]) => {
      throw new Error(`The load ended with ${code ?? signal}`);
    });
    // Whoever waits for something is told.
    this.#ended.catch(() => {});
    child.on('message', (message: { progress?: Progress }) => {
      if (message.progress !== undefined) this.#progress = message.progress;
    });
  }

  static async start(): Promise<Load> {
    const file = path.join(import.meta.dirname, 'load-process.ts');
    const child = fork(file, [], { execArgv: ['--import', 'tsx'], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    const load = new Load(child);
    await Promise.race([once(child, 'message'), load.#ended]);
    return load;
  }

  get pid(): number {
    return this.#child.pid as number;
  }
  /** As of a moment ago. */
  get progress(): Progress {
    return this.#progress;
  }

  /**
   * Resolves when the time is over and every request has ended, one way or the other. `onSent` is called when nothing more
   * is sent: telling of all that was takes a while.
   */
  async drive(order: LoadOrder, onSent: () => void = () => {}): Promise<Loaded> {
    this.#progress = { sent: 0, ok: 0, failed: 0, by: {} };
    const loaded = new Promise<Loaded>((resolve) => {
      const hear = (message: Partial<Loaded> & { over?: true }) => {
        if (message.over === true) onSent();
        if (message.sent === undefined) return;
        this.#child.off('message', hear);
        resolve(message as Loaded);
      };
      this.#child.on('message', hear);
    });
    this.#child.send(order);
    return Promise.race([loaded, this.#ended]);
  }
  /** Sends nothing more; drive() ends when all are answered. */
  end(): void {
    this.#child.send('end');
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await gone;
  }
}
