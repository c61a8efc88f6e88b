/**
 * A connection to Redis that mends itself. While it is known to be lost, commands fail at once; where nothing is answered,
 * each fails after its limit, and after a few of those the connection counts as lost. One line in the log for each loss
 * and each return. The plugins that use Redis cannot import each other: each has this file, and a test holds them alike.
 */
import { Cluster, type Redis } from 'ioredis';
import { backoffMs, GantryError, isGantryError, type Logger, pause } from '../../core/api.ts';
import { type Client, CONNECT_MS } from './connection.ts';
import { adviceFor } from './trouble.ts';

export interface LinkParts {
  readonly log: Logger;
  /** For messages: 'The key-value store'. */
  readonly what: string;
  /** For hints: the addresses. */
  readonly where: string;
  readonly code: 'KV_UNAVAILABLE' | 'UNAVAILABLE';
  readonly commandTimeoutMs: number;
  open(attempt: number): Client;
  /** On each new connection, before it counts as there. */
  prepare?(client: Client): Promise<unknown>;
  /** After that. */
  up?(): void;
}

/** How often a connection that is there is asked whether it is. */
const BEAT_MS = 1000;
/** Commands in a row that were not answered in time, from which on the connection counts as lost. */
const SILENT = 3;
/** How long a server's start waits for Redis. Then it starts without it. */
const START_MS = 5000;

export class Link {
  readonly #parts: LinkParts;
  readonly #stopping = new AbortController();
  #running: Promise<void> | null = null;
  #client: Client | null = null;
  #drop: (why: unknown) => void = () => {};
  #silent = 0;
  #problem: GantryError | null;
  #told = false;

  constructor(parts: LinkParts) {
    this.#parts = parts;
    this.#problem = new GantryError(parts.code, `${parts.what} is not connected`);
  }

  /** Null while Redis answers, all of it where it is a cluster. */
  get problem(): GantryError | null {
    return this.#problem;
  }
  get isUp(): boolean {
    return this.#client?.status === 'ready';
  }

  /** Resolves when it is known whether Redis is there, and soon in any case. */
  async start(): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, START_MS);
      this.#running = this.#run(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new Error('The server stops'));
    await this.#running;
    this.#problem ??= new GantryError(this.#parts.code, `${this.#parts.what} is closed`);
  }

  /** Rejects with the code of this link where Redis is away, and with Redis' own error where it refused the command. */
  async run<T>(work: (client: Client) => Promise<T>): Promise<T> {
    const client = this.#client;
    if (client === null || client.status !== 'ready') {
      const { code, message, hint, cause } = this.#problem ?? this.#unavailable(new Error('the connection was closed'));
      throw new GantryError(code as LinkParts['code'], message, { cause, ...(hint === undefined ? {} : { hint }) });
    }
    try {
      return await this.#inTime(client, work(client));
    } catch (thrown) {
      const text = thrown instanceof Error ? thrown.message : '';
      // It was the master, and is not any more.
      if (/^(READONLY|MASTERDOWN)/.test(text)) this.#lose(client, thrown);
      if (isGantryError(thrown) || isRefusal(text)) throw thrown;
      throw this.#unavailable(thrown);
    }
  }

  async #run(looked: () => void): Promise<void> {
    const { signal } = this.#stopping;
    for (let attempt = 0, failures = 0; !signal.aborted; attempt++) {
      const over = new AbortController();
      const stop = () => over.abort(signal.reason);
      signal.addEventListener('abort', stop, { once: true });
      let client: Client | null = null;
      try {
        client = this.#parts.open(attempt);
        await this.#connect(client, over);
        // One that takes no writes, e.g. with a full disk, lets itself be connected to.
        const first = await this.#beat(client, over.signal);
        failures = 0;
        this.#client = client;
        this.#tell(first);
        this.#parts.up?.();
        looked();
        for (;;) {
          await pause(BEAT_MS, over.signal);
          this.#tell(await this.#beat(client, over.signal));
        }
      } catch (error) {
        this.#client = null;
        if (!signal.aborted) this.#tell(this.#unavailable(error));
      } finally {
        signal.removeEventListener('abort', stop);
        over.abort();
        client?.disconnect();
        looked();
      }
      await pause(backoffMs(++failures, { backoffMs: 50, maxBackoffMs: 1000 }), signal).catch(() => {});
    }
  }

  async #connect(client: Client, over: AbortController): Promise<void> {
    let fault = null as Error | null;
    const note = (error: Error) => {
      fault = error;
    };
    // Without a listener an 'error' would end the process.
    client.on('error', note);
    client.on('node error', note);
    client.once('end', () => over.abort(fault ?? new Error('the connection was closed')));
    this.#silent = 0;
    this.#drop = (why) => over.abort(why);
    const late = setTimeout(() => over.abort(fault ?? new Error('it did not become ready in time')), CONNECT_MS * 5);
    try {
      await Promise.race([client.connect(), aborted(over.signal)]);
      // Where the database cannot be selected, the client would go on with another one.
      if (fault !== null && !(client instanceof Cluster)) throw fault;
      await Promise.race([this.#parts.prepare?.(client), aborted(over.signal)]);
      fault = null;
    } catch (error) {
      throw fault ?? error;
    } finally {
      clearTimeout(late);
    }
  }

  /** Null where it answers; else what is wrong with a part of it. Throws where nothing answers. */
  async #beat(client: Client, over: AbortSignal): Promise<GantryError | null> {
    for (;;) {
      over.throwIfAborted();
      try {
        const wrong = client instanceof Cluster ? await this.#nodes(client) : await this.#ping(client);
        over.throwIfAborted();
        return wrong === null ? null : this.#unavailable(wrong);
      } catch (error) {
        // A single late answer is none: Redis may have been busy.
        if (client instanceof Cluster || !isGantryError(error)) throw error;
      }
    }
  }

  async #ping(client: Redis): Promise<null> {
    await this.#inTime(client, client.ping());
    return null;
  }

  async #nodes(client: Cluster): Promise<Error | null> {
    await new Promise<void>((resolve, reject) => {
      client.refreshSlotsCache((error) => (error ? reject(error) : resolve()));
    });
    const nodes = client.nodes('master');
    const answers = await Promise.allSettled(
      nodes.map((node) =>
        this.#inTime(client, node.ping()).catch((error: unknown) => {
          // Its connection may be a dead one. Another is made when it is asked again.
          node.disconnect();
          const { message, cause } = error as Error;
          const why = cause instanceof Error ? cause.message : message;
          throw new Error(`${node.options.host}:${node.options.port}: ${why}`);
        }),
      ),
    );
    const failed = answers.filter((answer) => answer.status === 'rejected');
    if (failed.length === nodes.length) throw failed[0]?.reason ?? new Error('the cluster has no master');
    return (failed[0]?.reason as Error | undefined) ?? null;
  }

  #inTime<T>(client: Client, work: Promise<T>): Promise<T> {
    const ms = this.#parts.commandTimeoutMs;
    return new Promise((resolve, reject) => {
      let settled = false;
      const late = () => {
        if (settled) return;
        settled = true;
        const error = this.#unavailable(new Error(`it did not answer in ${ms} ms`));
        // Of a cluster it may be one node: whether all of it is lost, the beat finds out.
        if (!(client instanceof Cluster) && ++this.#silent >= SILENT) this.#lose(client, error.cause);
        reject(error);
      };
      // Where this process stood still, the answer may be there and unread: sockets are read before an immediate runs.
      const timer = setTimeout(() => setImmediate(late), ms);
      const settle = (then: () => void) => {
        clearTimeout(timer);
        if (client === this.#client) this.#silent = 0;
        if (settled) return;
        settled = true;
        then();
      };
      work.then(
        (value) => settle(() => resolve(value)),
        (error: unknown) => settle(() => reject(error)),
      );
    });
  }

  #lose(client: Client, why: unknown): void {
    if (client !== this.#client) return;
    this.#client = null;
    this.#problem = this.#unavailable(why);
    this.#drop(why);
  }

  #tell(problem: GantryError | null): void {
    const { log, what, where } = this.#parts;
    this.#problem = problem;
    if (problem !== null && !this.#told)
      log.warn({ error: problem }, `${what} is not available; it is tried again and again`);
    if (problem === null && this.#told) log.info({ where }, `${what} is back`);
    this.#told = problem !== null;
  }

  #unavailable(thrown: unknown): GantryError {
    if (isGantryError(thrown)) return thrown;
    // That all nodes failed says nothing; what the last of them said does.
    const cause = (thrown as { lastNodeError?: unknown } | null)?.lastNodeError ?? thrown;
    const { code, what, where } = this.#parts;
    const reason = cause instanceof Error ? cause.message : String(cause);
    return new GantryError(code, `${what} is not available`, {
      cause,
      hint: `Redis at ${where}: ${reason}. ${adviceFor(cause)}`.trim(),
    });
  }
}

/** Whether Redis understood the command and refuses it for what is in it: it is not away. */
function isRefusal(text: string): boolean {
  return /^(WRONGTYPE|CONFLICT)\b/.test(text);
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    else signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}
