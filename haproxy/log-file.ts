import { type FileHandle, open, stat, truncate } from 'node:fs/promises';
import type { Logger } from 'gantry/api';

const EVERY_MS = 500;
/** What is read in one go; of what comes faster, the rest stays in the file. */
const MOST_BYTES = 256 * 1024;
/** HAProxy writes on when we are away; when we are back the file is cut. */
const LARGEST_BYTES = 16 * 1024 * 1024;

/** Takes the lines that HAProxy writes into a file over into our log, and keeps the file small. */
export class LogFile {
  readonly #file: string;
  /** HAProxy repeats there for a terminal what is in its log. */
  readonly #errors: string;
  readonly #log: Logger;
  #at = 0;
  /** The part of a line that is there already. */
  #begun = '';
  #timer: NodeJS.Timeout | null = null;
  #reading: Promise<void> = Promise.resolve();

  constructor(file: string, errors: string, log: Logger) {
    this.#file = file;
    this.#errors = errors;
    this.#log = log;
  }

  /** From here on: what is there was for those before us. */
  async begin(): Promise<void> {
    this.#at = await sizeOf(this.#file);
    this.#timer = setInterval(() => void this.read(), EVERY_MS).unref();
  }

  async end(): Promise<void> {
    if (this.#timer === null) return;
    clearInterval(this.#timer);
    await this.read();
  }

  /** What has come meanwhile. Never rejects: a log that cannot be read must stop nothing. */
  read(): Promise<void> {
    this.#reading = this.#reading
      .then(() => this.#read())
      .catch((error: unknown) => {
        this.#log.debug({ error, file: this.#file }, "HAProxy's log cannot be read");
      });
    return this.#reading;
  }

  async #read(): Promise<void> {
    if ((await sizeOf(this.#errors)) > LARGEST_BYTES) await truncate(this.#errors);
    const size = await sizeOf(this.#file);
    if (size < this.#at) this.#at = 0;
    if (size === this.#at) return;
    const skipped = size - this.#at - MOST_BYTES;
    if (skipped > 0) {
      this.#log.warn(
        { bytes: skipped, file: this.#file },
        'HAProxy writes more than is taken over; it stands in its file',
      );
      this.#at += skipped;
      this.#begun = '';
    }
    const text = await this.#text(size - this.#at);
    this.#at = size;
    const lines = (this.#begun + text).split('\n');
    this.#begun = lines.pop() ?? '';
    for (const line of lines) if (line !== '') this.#tell(line);
    if (size > LARGEST_BYTES) {
      await truncate(this.#file);
      this.#at = 0;
    }
  }

  async #text(length: number): Promise<string> {
    let handle: FileHandle | null = null;
    try {
      handle = await open(this.#file, 'r');
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, this.#at);
      return buffer.toString('utf8', 0, bytesRead);
    } finally {
      await handle?.close();
    }
  }

  /** `<4>text`: the number is syslog's severity (RFC 5424, 6.2.1). */
  #tell(line: string): void {
    const [, severity = '6', text = line] = /^<(\d)>(.*)$/.exec(line) ?? [];
    const fields = { line: text };
    // 0: no server is left. 1: one is down. 3: a call failed. 4: a worker from before a reload says good-bye.
    if (severity === '0') this.#log.error(fields, 'HAProxy says');
    else if (Number(severity) <= 3) this.#log.warn(fields, 'HAProxy says');
    else this.#log.info(fields, 'HAProxy says');
  }
}

async function sizeOf(file: string): Promise<number> {
  return stat(file).then(
    ({ size }) => size,
    () => 0,
  );
}
