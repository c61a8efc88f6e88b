/** The ledgers: what runs wrote down themselves. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import type { Event } from './services/_ledger.ts';

export interface Line {
  readonly event: Event;
  /** Null: a durable call. */
  readonly job: string | null;
  readonly token: string;
  readonly dueAt: number;
  readonly attempt: number;
  readonly owner: string;
  readonly source: string;
  readonly server: string;
  readonly pid: number;
  /** When it was written: ms since 1970, by the clock of this machine. */
  readonly at: number;
  /** Why it was aborted or refused. */
  readonly code?: string;
  /** Of a durable call. */
  readonly id?: string;
}

/** The clock that nobody sets, which all processes of a machine share. */
export function steadyMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
const NEWLINE = 10;
const WALL_MS = Date.now() - steadyMs();

/** Ms since 1970, as the lines have it. */
export function now(): number {
  return WALL_MS + steadyMs();
}

/** What the runs of one server wrote down so far. */
export class Ledger {
  readonly file: string;
  readonly #lines: Line[] = [];
  /** Of the file: so many bytes are in the lines. */
  #taken = 0;

  constructor(file: string) {
    this.file = file;
  }

  /** Reads on from where it was. Nothing is there before something was run. */
  read(): readonly Line[] {
    let bytes = Buffer.alloc(0);
    try {
      bytes = this.#more();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
    // What is being written just now is for the next time.
    const whole = bytes.subarray(0, bytes.lastIndexOf(NEWLINE) + 1);
    this.#taken += whole.length;
    for (const text of whole.toString().split('\n').filter(Boolean)) {
      const { steadyMs: at, ...rest } = JSON.parse(text) as Line & { steadyMs: number };
      this.#lines.push({ ...rest, at: WALL_MS + at });
    }
    return this.#lines;
  }

  #more(): Buffer<ArrayBuffer> {
    const file = openSync(this.file, 'r');
    try {
      const bytes = Buffer.alloc(Math.max(0, fstatSync(file).size - this.#taken));
      return bytes.subarray(0, readSync(file, bytes, 0, bytes.length, this.#taken));
    } finally {
      closeSync(file);
    }
  }
}
