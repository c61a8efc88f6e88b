/** A way between a program and a server that can be made slow, stand still, or break: what a network does to both. */
import { once } from 'node:events';
import { createConnection, createServer, type Server, type Socket } from 'node:net';

export interface Delays {
  /** What the program sends comes so much later. */
  readonly toServerMs?: number;
  /** What the server sends comes so much later. */
  readonly toClientMs?: number;
}

export interface ProxyOptions {
  readonly host: string;
  readonly port: number;
  /** Hears what each connection's program sends, in order: which connection, and the bytes. */
  readonly hear?: (connection: number, bytes: Buffer) => void;
}

/** More than that is not read before some of it has gone on. */
const MOST_WAITING_BYTES = 8 * 1024 * 1024;

export class DelayProxy {
  readonly host = '127.0.0.1';
  readonly #options: ProxyOptions;
  readonly #server: Server;
  readonly #pairs = new Set<readonly [Lane, Lane]>();
  #delays: Required<Delays> = { toServerMs: 0, toClientMs: 0 };
  #stalled = false;
  #connections = 0;

  private constructor(options: ProxyOptions) {
    this.#options = options;
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.#join(socket));
  }

  /** Listens on a free port of 127.0.0.1. */
  static async open(options: ProxyOptions): Promise<DelayProxy> {
    const proxy = new DelayProxy(options);
    proxy.#server.listen(0, proxy.host);
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }
  /** Connections that are open now. */
  get size(): number {
    return this.#pairs.size;
  }

  /** What comes from now on waits for so long; what waits already keeps its time. Without a number: not at all. */
  delay({ toServerMs = 0, toClientMs = 0 }: Delays): void {
    this.#delays = { toServerMs, toClientMs };
  }
  /** Nothing passes, and nobody is told: connections stay open, and new ones are taken. */
  stall(): void {
    this.#stalled = true;
  }
  /** All that waited goes on, in order. */
  flow(): void {
    this.#stalled = false;
    for (const lanes of this.#pairs) for (const lane of lanes) lane.pass();
  }
  /** Every connection breaks; new ones are taken. */
  cut(): void {
    for (const lanes of this.#pairs) for (const lane of lanes) lane.end();
    this.#pairs.clear();
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.cut();
    await closed;
  }

  #join(client: Socket): void {
    const { host, port, hear } = this.#options;
    const connection = ++this.#connections;
    const server = createConnection({ host, port, allowHalfOpen: true, noDelay: true });
    const isStalled = () => this.#stalled;
    const to = new Lane(client, server, { isStalled, delayMs: () => this.#delays.toServerMs });
    const back = new Lane(server, client, { isStalled, delayMs: () => this.#delays.toClientMs });
    const pair = [to, back] as const;
    this.#pairs.add(pair);
    if (hear !== undefined) client.on('data', (bytes: Buffer) => hear(connection, bytes));
    let open = 2;
    for (const socket of [client, server]) {
      socket.on('error', () => {});
      socket.once('close', (broke) => {
        // What was said before an orderly end still has to arrive; of a break the other side hears at once.
        if (--open === 0 || broke) this.#pairs.delete(pair);
        if (broke) for (const lane of pair) lane.end();
      });
    }
  }
}

interface LaneParts {
  isStalled(): boolean;
  delayMs(): number;
}

/** One direction of one connection. */
class Lane {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #parts: LaneParts;
  /** Null: the end. */
  readonly #waiting: { readonly at: number; readonly bytes: Buffer | null }[] = [];
  #waitingBytes = 0;
  #timer: NodeJS.Timeout | null = null;
  #lastAt = 0;

  constructor(from: Socket, to: Socket, parts: LaneParts) {
    this.#from = from;
    this.#to = to;
    this.#parts = parts;
    from.on('data', (bytes: Buffer) => this.#take(bytes));
    from.on('end', () => this.#take(null));
  }

  #take(bytes: Buffer | null): void {
    // Never before what came earlier, though the delay has become less.
    this.#lastAt = Math.max(this.#lastAt, performance.now() + this.#parts.delayMs());
    this.#waiting.push({ at: this.#lastAt, bytes });
    this.#waitingBytes += bytes?.length ?? 0;
    if (this.#waitingBytes > MOST_WAITING_BYTES) this.#from.pause();
    this.pass();
  }

  /** Hands on what has waited long enough. */
  pass(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    while (!this.#parts.isStalled()) {
      const [first] = this.#waiting;
      if (first === undefined) break;
      const early = first.at - performance.now();
      if (early > 0) {
        this.#timer = setTimeout(() => this.pass(), early);
        return;
      }
      this.#waiting.shift();
      this.#waitingBytes -= first.bytes?.length ?? 0;
      if (first.bytes === null) this.#to.end();
      else this.#to.write(first.bytes);
    }
    if (this.#waitingBytes <= MOST_WAITING_BYTES) this.#from.resume();
  }

  end(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#waiting.length = 0;
    this.#from.destroy();
    this.#to.destroy();
  }
}
