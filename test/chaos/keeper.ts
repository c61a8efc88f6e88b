import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { Warden } from '../engines/daemon.ts';
import { until } from './condition.ts';

const root = path.resolve(import.meta.dirname, '../..');
const program = path.join(root, 'dist/core/main.js');
/** As core/main.ts ends when it was told to restart. */
const RESTART = 75;
const START_MS = 60_000;
const TAIL = 6000;

export interface Kept {
  readonly name: string;
  /** The config file. */
  readonly config: string;
  readonly env: Readonly<Record<string, string>>;
  /** For its data and its log; it goes with the keeper. */
  readonly folder: string;
  /** Whether it serves. */
  isUp(): Promise<boolean>;
}

/** Runs one process of Gantry, as systemd would: one that ends in order to be started again is. */
export class Keeper {
  readonly name: string;
  /** How each of its processes ended: an exit code, or a signal. */
  readonly ends: (number | string)[] = [];
  readonly #kept: Kept;
  readonly #warden: Warden;
  #child: ChildProcess | null = null;
  #gone: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(kept: Kept) {
    this.name = kept.name;
    this.#kept = kept;
    mkdirSync(kept.folder, { recursive: true });
    this.#warden = new Warden(kept.folder, 'SIGKILL');
  }

  get pid(): number | null {
    return this.#child?.pid ?? null;
  }
  get folder(): string {
    return this.#kept.folder;
  }
  /** All that its processes said. */
  get log(): string {
    return readFileSync(path.join(this.folder, 'log.txt'), 'utf8');
  }
  /** Resolves when there is no process now. */
  get gone(): Promise<void> {
    return this.#gone;
  }

  launch(): void {
    if (this.#child !== null) return;
    const { config, env, folder } = this.#kept;
    const log = openSync(path.join(folder, 'log.txt'), 'a');
    const child = spawn(process.execPath, [program, 'start', '--config', config], {
      cwd: folder,
      // The terminal's Ctrl-C is for us, who end it then.
      detached: true,
      stdio: ['ignore', log, log],
      env: { PATH: process.env['PATH'] ?? '', NODE_ENV: 'production', GANTRY_DATA: path.join(folder, 'data'), ...env },
    });
    closeSync(log);
    this.#child = child;
    this.#warden.watch(child.pid ?? null);
    this.#gone = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        this.ends.push(code ?? signal ?? '');
        this.#child = null;
        this.#warden.watch(null);
        resolve();
        if (code === RESTART && !this.#closed) this.launch();
      });
    });
  }

  /** Resolves when it serves, with the time that this took in ms. */
  async start(): Promise<number> {
    this.launch();
    const ended = this.ends.length;
    const isUp = async () => this.ends.length > ended || (await this.#kept.isUp());
    const ms = await until(`${this.name} serves`, isUp, START_MS).catch((error: Error) => {
      throw new Error(`${error.message}\n${this.log.slice(-TAIL)}`);
    });
    if (this.ends.length === ended) return ms;
    throw new Error(`${this.name} ended with ${this.ends.at(-1)} while it started:\n${this.log.slice(-TAIL)}`);
  }

  signal(name: NodeJS.Signals): void {
    this.#child?.kill(name);
  }
  /** Resolves when it has ended. */
  async end(name: NodeJS.Signals): Promise<void> {
    if (this.#child === null) return;
    const gone = this.#gone;
    this.signal(name);
    await gone;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.signal('SIGCONT');
    await this.end('SIGKILL');
    await this.#warden.close();
  }
}
