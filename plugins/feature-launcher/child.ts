import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, renameSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import path from 'node:path';
import { backoffMs, type Logger } from '../../core/api.ts';
import type { Stage } from './warden.ts';

/** What is run as a process of its own. */
export interface Program {
  readonly name: string;
  readonly stage: Stage;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Where its output goes. */
  readonly logFile: string;
}

/** As sysexits.h has it: the process asks to be started again. */
const RESTART = 75;
/** One that ran for so long did not fail for the same reason as before. */
const STEADY_MS = 10_000;
/** A log that is longer when its process starts goes aside, in place of the one before. */
const LONG_BYTES = 16_777_216;
const TAIL_BYTES = 4000;
const TAIL_LINES = 20;

/** One process: started, and started again when it ends. */
export class Child {
  readonly program: Program;
  readonly #log: Logger;
  readonly #onChange: () => void;
  #process: ChildProcess | null = null;
  #timer: NodeJS.Timeout | null = null;
  #failures = 0;
  #startedAt = 0;
  #saidFrom: number | null = null;
  #closing = false;
  /** How it ended, where it did so before it was well. */
  readonly lost: Promise<string>;
  #lose: ((how: string) => void) | null = null;

  constructor(program: Program, log: Logger, onChange: () => void) {
    this.program = program;
    this.#log = log;
    this.#onChange = onChange;
    this.lost = new Promise((resolve) => {
      this.#lose = resolve;
    });
  }

  /** Null while it does not run. */
  get pid(): number | null {
    return this.#process?.pid ?? null;
  }

  start(): void {
    const { command, args, env, logFile } = this.program;
    const { output, size } = openLog(logFile);
    // One that asks to be started again says why before its end; a log that is new has all of it.
    this.#saidFrom = Math.min(this.#saidFrom ?? size, size);
    this.#startedAt = performance.now();
    const started = spawn(command, args, {
      // A session of its own: the terminal's Ctrl-C is for the launcher.
      detached: true,
      stdio: ['ignore', output, output],
      env: { ...process.env, ...env },
    });
    closeSync(output);
    this.#process = started;
    this.#onChange();
    started.once('error', (error) => this.#ended(started, error.message, null));
    started.once('exit', (code, signal) => this.#ended(started, `ended with ${code ?? signal}`, code));
  }

  /** The last lines of its log since it was first started here, for a person who asks what went wrong. */
  said(): Promise<string> {
    return tailOf(this.program.logFile, this.#saidFrom ?? 0);
  }

  /** It was well once: from now on it is started again whenever it ends. */
  settle(): void {
    this.#lose = null;
  }

  /** It is not started again. */
  close(): void {
    this.#closing = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #ended(of: ChildProcess, how: string, code: number | null): void {
    if (this.#process !== of) return;
    this.#process = null;
    this.#onChange();
    if (this.#closing) return;
    const { name: child, logFile } = this.program;
    if (code === RESTART) {
      this.#log.info({ child }, 'it asked to be started again');
      this.start();
      return;
    }
    if (this.#lose !== null) {
      this.#lose(how);
      return;
    }
    const wasSteady = performance.now() - this.#startedAt >= STEADY_MS;
    this.#failures = wasSteady ? 1 : this.#failures + 1;
    const againMs = this.#failures === 1 ? 0 : Math.round(backoffMs(this.#failures, { backoffMs: 250 }));
    this.#log.warn({ child, how, againMs, logFile }, 'a process ended by itself; it is started again');
    this.#timer = setTimeout(() => this.start(), againMs);
  }
}

/** To be written at its end, and how long it is by now. */
function openLog(file: string): { output: number; size: number } {
  mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  const { size } = statSync(file, { throwIfNoEntry: false }) ?? { size: 0 };
  const isLong = size > LONG_BYTES;
  if (isLong) renameSync(file, `${file}.1`);
  return { output: openSync(file, 'a', 0o600), size: isLong ? 0 : size };
}

/** The last lines of a log, and none from before so many bytes. */
export async function tailOf(file: string, fromBytes: number): Promise<string> {
  try {
    const handle = await open(file, 'r');
    try {
      const { size } = await handle.stat();
      const from = Math.max(fromBytes, size - TAIL_BYTES);
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(TAIL_BYTES), 0, TAIL_BYTES, from);
      return buffer.toString('utf8', 0, bytesRead).trimEnd().split('\n').slice(-TAIL_LINES).join('\n');
    } finally {
      await handle.close();
    }
  } catch {
    return '';
  }
}
