import { fstatSync, ftruncateSync, readSync } from 'node:fs';
import { type FileHandle, open, rename, truncate } from 'node:fs/promises';
import type { Logger } from 'gantry/api';
import { freshFile, type Place, sizeOf } from './place.ts';

const EVERY_MS = 500;
/** What is read in one go; of what comes faster, the rest stays in the file. */
const MOST_BYTES = 256 * 1024;
/** Of the disk. HAProxy writes on when we are away; when we are back the file is cut. */
const LARGEST_BYTES = 16 * 1024 * 1024;
/** Of `blocks` of stat(2), whatever the file system's own are. */
const BLOCK_BYTES = 512;

/**
 * Takes the lines that HAProxy writes into a file over into our log, and keeps small what the file takes of the disk.
 * HAProxy takes O_APPEND away from it. So each HAProxy has a new file, or it would write over the former one's; and in a
 * file that was cut it writes on at its old place: before that is a hole, which takes no room, and we read on behind it.
 */
export class LogFile {
  readonly #place: Place;
  readonly #log: Logger;
  #at = 0;
  /** The part of a line that is there already. */
  #begun = '';
  #timer: NodeJS.Timeout | null = null;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(place: Place, log: Logger) {
    this.#place = place;
    this.#log = log;
  }

  /** From here on: what is there was for those before us. */
  async begin(): Promise<void> {
    this.#at = await sizeOf(this.#place.log);
    this.#timer = setInterval(() => void this.read(), EVERY_MS).unref();
  }

  async end(): Promise<void> {
    if (this.#timer === null) return;
    clearInterval(this.#timer);
    await this.read();
  }

  /** What has come meanwhile. Never rejects: a log that cannot be read must stop nothing. */
  read(): Promise<void> {
    return this.#inTurn(() => this.#read()).catch((error: unknown) => {
      this.#log.debug({ error, file: this.#place.log }, "HAProxy's log cannot be read");
    });
  }

  /** A new file for a new HAProxy, when the former one's last words are read. To be closed by who asked. */
  async renew(): Promise<number> {
    await this.read();
    return this.#inTurn(async () => {
      const { log, formerLog } = this.#place;
      // Where it cannot stay, it is written over.
      if ((await sizeOf(log)) > 0) await rename(log, formerLog).catch(() => {});
      const file = await freshFile(log);
      this.#at = 0;
      this.#begun = '';
      return file;
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => {});
    return turn;
  }

  async #read(): Promise<void> {
    const { log, errors } = this.#place;
    // HAProxy repeats there for a terminal what is in its log.
    if ((await sizeOf(errors)) > LARGEST_BYTES) await truncate(errors);
    if ((await sizeOf(log)) === this.#at) return;
    // Cutting is writing.
    const handle = await open(log, 'r+');
    try {
      await this.#take(handle);
    } finally {
      await handle.close();
    }
  }

  async #take(handle: FileHandle): Promise<void> {
    const { size, blocks } = await handle.stat();
    // Someone cut it, and its writer appends after all.
    if (size > 0 && size < this.#at) this.#at = 0;
    const from = Math.max(this.#at, size - MOST_BYTES);
    if (size > from) {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(size - from), 0, size - from, from);
      this.#hear(buffer.subarray(0, bytesRead), from);
    }
    if (blocks * BLOCK_BYTES > LARGEST_BYTES) this.#cut(handle.fd);
  }

  /** In one go, so that as good as no line comes between what was read and what is cut. */
  #cut(fd: number): void {
    const length = Math.min(MOST_BYTES, fstatSync(fd).size - this.#at);
    if (length > 0) {
      const bytes = Buffer.alloc(length);
      this.#hear(bytes.subarray(0, readSync(fd, bytes, 0, length, this.#at)), this.#at);
    }
    ftruncateSync(fd, 0);
  }

  #hear(bytes: Buffer, from: number): void {
    const skipped = from - this.#at;
    const first = bytes.findIndex((byte) => byte !== 0);
    const hole = first === -1 ? bytes.length : first;
    if (skipped > 0 || hole > 0) this.#begun = '';
    // Before a hole there is nothing that could have been read.
    if (skipped > 0 && hole === 0) {
      this.#log.warn(
        { bytes: skipped, file: this.#place.log },
        'HAProxy writes more than is taken over; it stands in its file',
      );
    }
    this.#at = from + bytes.length;
    const lines = (this.#begun + bytes.toString('utf8', hole)).split('\n');
    this.#begun = lines.pop() ?? '';
    for (const line of lines) if (line !== '') this.#tell(line);
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
