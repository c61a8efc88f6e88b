import http2 from 'node:http2';

/** How one request ended: `200`, `502`, or the name of the code by which its stream was closed. */
export interface Ended {
  readonly id: string;
  readonly how: string;
}

/** Said of a stream that was not begun: whoever reads that repeats the request by itself (RFC 9113, 8.7). */
export const REFUSED = 'REFUSED_STREAM';

/** A caller over HTTP/2 that always has some slow plain POSTs in hand, on one connection. It repeats nothing. */
export class Http2Caller {
  readonly ended: Ended[] = [];
  readonly #url: string;
  readonly #run: string;
  #session: http2.ClientHttp2Session | null = null;
  #count = 0;
  #going = true;
  #done: Promise<unknown> = Promise.resolve();

  constructor(url: string, run: string) {
    this.#url = url;
    this.#run = run;
  }

  start(atOnce: number, slowMs: number): void {
    const one = async () => {
      while (this.#going) await this.#send(slowMs);
    };
    this.#done = Promise.all(Array.from({ length: atOnce }, one));
  }
  async stop(): Promise<void> {
    this.#going = false;
    await this.#done;
    this.#session?.destroy();
  }

  /** The connection; another one where that has ended. */
  #connected(): http2.ClientHttp2Session {
    if (this.#session !== null && !this.#session.closed && !this.#session.destroyed) return this.#session;
    // The certificate is of this run, and signed by nobody.
    this.#session = http2.connect(this.#url, { rejectUnauthorized: false });
    this.#session.on('error', () => {});
    return this.#session;
  }

  async #send(slowMs: number): Promise<void> {
    const id = `${this.#run}-${++this.#count}`;
    const body = JSON.stringify({ slowMs, padding: '' });
    const headers = { ':method': 'POST', ':path': '/chaos/plain', 'content-type': 'application/json' };
    const stream = this.#connected().request({ ...headers, 'x-correlation-id': id });
    const how = await new Promise<string>((resolve) => {
      let status = '';
      stream.once('response', (head) => {
        status = String(head[':status']);
      });
      stream.once('error', () => {});
      stream.once('close', () => resolve(status === '' ? nameOf(stream.rstCode) : status));
      stream.resume();
      stream.end(body);
    });
    this.ended.push({ id, how });
  }
}

/** RFC 9113, 7. */
const CODES: Readonly<Record<number, string>> = {
  0: 'NO_ERROR',
  2: 'INTERNAL_ERROR',
  7: 'REFUSED_STREAM',
  8: 'CANCEL',
};

function nameOf(code = 0): string {
  return CODES[code] ?? `closed with ${code}`;
}
