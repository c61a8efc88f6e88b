import { write, writeSync } from 'node:fs';

const WAITING_BYTES = 4_194_304;
const AGAIN_MS = 1000;

/**
 * Where log lines go. A log that cannot be written must not stop the server: the disk may be full, and the reader may be
 * gone or hang. Lines wait in memory up to a limit, and writing is tried again. When it works again, the log says how
 * many lines were lost.
 */
export class LogStream {
  readonly #fd: number;
  readonly #recovered: (lost: number) => void;
  #waiting: string[] = [];
  #bytes = 0;
  #lost = 0;
  /** What is on its way, or has to be tried again. */
  #current: Buffer | null = null;
  #failing = false;
  #idle: (() => void)[] = [];

  constructor(fd: number, recovered: (lost: number) => void) {
    this.#fd = fd;
    this.#recovered = recovered;
  }

  write(line: string): void {
    if (this.#bytes + line.length > WAITING_BYTES) {
      this.#lost++;
      return;
    }
    this.#waiting.push(line);
    this.#bytes += line.length;
    if (this.#current === null) this.#next();
  }

  /** Resolves when everything is written, or after ms: a reader that hangs must not keep the process from stopping. */
  async end(ms: number): Promise<void> {
    if (this.#current === null) return;
    await new Promise<void>((resolve) => {
      setTimeout(resolve, ms);
      this.#idle.push(resolve);
    });
  }

  /** For an end without any wait: what did not go out yet is written if it can be, once. */
  endNow(): void {
    if (this.#failing || this.#waiting.length === 0) return;
    try {
      writeSync(this.#fd, this.#waiting.join(''));
    } catch {
      // There is nobody left to tell.
    }
  }

  #next(): void {
    if (this.#waiting.length === 0) {
      this.#current = null;
      for (const resolve of this.#idle.splice(0)) resolve();
      return;
    }
    this.#current = Buffer.from(this.#waiting.join(''));
    this.#waiting = [];
    this.#bytes = 0;
    this.#send(this.#current);
  }

  #send(bytes: Buffer): void {
    write(this.#fd, bytes, (error, written) => {
      if (error !== null) {
        this.#failing = true;
        setTimeout(() => this.#send(bytes), AGAIN_MS).unref();
        return;
      }
      if (this.#failing || this.#lost > 0) this.#tell();
      if (written < bytes.length) this.#send(bytes.subarray(written));
      else this.#next();
    });
  }

  #tell(): void {
    const lost = this.#lost;
    this.#failing = false;
    this.#lost = 0;
    if (lost > 0) this.#recovered(lost);
  }
}
