import { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import { type GantryError, isGantryError } from '../../core/api.ts';
import { explain, type Place, tooSlow, unreadable, unsendable } from './outgoing-errors.ts';
import type { SentHeaders } from './outgoing-headers.ts';
import { isStream, type SentBody } from './outgoing-request.ts';
import type { Time } from './outgoing-time.ts';

export type AnswerHeaders = Readonly<Record<string, string | string[]>>;

/** One request, ready to be sent. */
export interface Order {
  readonly place: Place;
  readonly dispatcher: Dispatcher;
  readonly origin: string;
  readonly method: string;
  readonly path: string;
  readonly headers: SentHeaders;
  readonly body: SentBody;
}

/** An answer, its body as it came. */
export interface Raw {
  readonly status: number;
  readonly headers: AnswerHeaders;
  /** Null where there is none, or where one that may be missing was cut or too large. */
  readonly body: Buffer | Readable | null;
}

/** Read: all of it is needed. Spare: nice to have. Stream: handed on as it comes. */
export type Fate = 'read' | 'spare' | 'stream';

export interface Limits {
  readonly time: Time;
  readonly headersTimeoutMs: number | undefined;
  readonly maxBytes: number;
  fate(status: number, headers: AnswerHeaders): Fate;
}

/**
 * One request on one socket, and its answer. Made on undici's dispatch() because that tells whether a request was
 * begun at all, and lets one that still waits for a socket be given up at once.
 */
export class Exchange implements Dispatcher.DispatchHandler {
  /** While false, nothing of the request can have reached the other side. */
  sent = false;
  /** The answer, or a GantryError. With a stream it resolves at the headers. */
  readonly answered: Promise<Raw>;
  readonly #order: Order;
  readonly #limits: Limits;
  #resolve: (raw: Raw) => void = () => {};
  #reject: (error: Error) => void = () => {};
  #controller: Dispatcher.DispatchController | null = null;
  #headersTimer: NodeJS.Timeout | undefined;
  #failure: Error | null = null;
  #over = false;
  #status = 0;
  #headers: AnswerHeaders = {};
  #fate: Fate = 'read';
  #chunks: Buffer[] = [];
  #bytes = 0;
  #stream: Readable | null = null;

  constructor(order: Order, limits: Limits) {
    this.#order = order;
    this.#limits = limits;
    this.answered = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#begin();
  }

  #begin(): void {
    const { time } = this.#limits;
    const { dispatcher, origin, method, path, headers, body } = this.#order;
    if (time.ended !== null) this.#fail(time.ended);
    else time.onEnd = () => this.#fail(time.ended as GantryError);
    if (isStream(body)) {
      // Its failure is not the other side's; undici would tell it only once a socket is free. The listener stays: a
      // stream that fails after we are done with it must not end the process.
      body.on('error', this.#bodyFailed);
      if (body.errored) this.#bodyFailed(body.errored);
    }
    if (this.#over) return;
    // Both timeouts are ours: undici's are coarse, and a deadline covers the wait for a socket, too.
    dispatcher.dispatch({ origin, method, path, headers, body, headersTimeout: 0, bodyTimeout: 0 }, this);
  }

  readonly #bodyFailed = (error: Error) => {
    const { connection, request } = this.#order.place;
    this.#fail(isGantryError(error) ? error : unsendable(connection, `The streamed body of ${request} failed.`, error));
  };

  onRequestStart(controller: Dispatcher.DispatchController): void {
    // It was given up while it waited for a socket.
    if (this.#failure !== null) {
      controller.abort(this.#failure);
      return;
    }
    this.sent = true;
    this.#controller = controller;
    const { headersTimeoutMs } = this.#limits;
    if (headersTimeoutMs === undefined) return;
    this.#headersTimer = setTimeout(() => {
      this.#fail(tooSlow(this.#order.place, 'was not answered within headersTimeoutMs.'));
    }, headersTimeoutMs);
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: object): void {
    if (status < 200) return;
    clearTimeout(this.#headersTimer);
    this.#status = status;
    this.#headers = headers as AnswerHeaders;
    this.#fate = this.#limits.fate(status, this.#headers);
    const empty = this.#order.method === 'HEAD' || status === 204 || status === 304;
    if (empty) return;
    if (this.#fate === 'stream') this.#open();
    else if (Number(this.#headers['content-length']) > this.#limits.maxBytes) this.#overflow();
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#stream !== null) {
      if (!this.#stream.push(chunk)) controller.pause();
      return;
    }
    this.#bytes += chunk.length;
    if (this.#bytes > this.#limits.maxBytes) this.#overflow();
    else this.#chunks.push(chunk);
  }

  onResponseEnd(): void {
    if (this.#over) return;
    this.#finish();
    if (this.#stream !== null) this.#stream.push(null);
    else this.#answer(this.#chunks.length === 0 ? null : Buffer.concat(this.#chunks));
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#fail(error);
  }

  /** A body that is handed on as fast as it is read. */
  #open(): void {
    const stream = new Readable({
      read: () => this.#controller?.resume(),
      destroy: (error, done) => {
        // Who closes it early gives the socket up, too: the rest of the reply is on it.
        if (!this.#over) this.#fail(error ?? new Error('The reader closed the stream'));
        done(error);
      },
    });
    // Its reader may not have begun when it fails; for-await and pipeline() find the error afterwards, too.
    stream.on('error', () => {});
    this.#stream = stream;
    this.#answer(stream);
  }

  #overflow(): void {
    const { maxBytes } = this.#limits;
    this.#fail(unreadable(this.#order.place, `was answered with more than ${maxBytes} bytes (maxReplyBytes).`));
  }

  /** Once; the socket is closed where the request is on one, since the rest of the exchange is on it. */
  #fail(thrown: Error): void {
    if (this.#over) return;
    this.#finish();
    const error = explain(this.#order.place, thrown);
    this.#failure = error;
    this.#controller?.abort(error);
    if (this.#stream !== null) this.#stream.destroy(error);
    else if (this.#status > 0 && this.#fate === 'spare' && this.#limits.time.ended === null) this.#answer(null);
    else this.#reject(error);
  }

  #answer(body: Buffer | Readable | null): void {
    this.#resolve({ status: this.#status, headers: this.#headers, body });
  }

  #finish(): void {
    this.#over = true;
    clearTimeout(this.#headersTimer);
    this.#limits.time.onEnd = null;
  }
}
