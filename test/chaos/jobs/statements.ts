/** What a program says to PostgreSQL, by the messages of its protocol (version 3, chapter 55.7 of its manual). */

const HEADER_BYTES = 5;
const INT_BYTES = 4;
/** The first message has no type; nor has what asks for TLS before it. */
const SSL_REQUEST = 80_877_103;

interface Awaited {
  readonly first: RegExp;
  readonly then: RegExp;
  /** Connections that have said the first one. */
  readonly begun: Set<number>;
  resolve(): void;
}

/** Counts statements by their text. Values are not in it: they are sent apart from it. */
export class Statements {
  readonly #counts = new Map<string, number>();
  readonly #readers = new Map<number, Reader>();
  readonly #awaited = new Set<Awaited>();

  /** What the program sent on one of its connections, in order. */
  hear(connection: number, bytes: Buffer): void {
    let reader = this.#readers.get(connection);
    if (reader === undefined) {
      reader = new Reader((text) => this.#said(connection, text));
      this.#readers.set(connection, reader);
    }
    reader.take(bytes);
  }

  /** From now on. */
  clear(): void {
    this.#counts.clear();
  }
  get counts(): ReadonlyMap<string, number> {
    return this.#counts;
  }
  get total(): number {
    return [...this.#counts.values()].reduce((sum, count) => sum + count, 0);
  }
  /** Of those whose text has this in it. */
  of(pattern: RegExp): number {
    return [...this.#counts].reduce((sum, [text, count]) => sum + (pattern.test(text) ? count : 0), 0);
  }

  /** Resolves when the second is said on a connection after the first: it is on its way then, and not answered. */
  saidAfter(first: RegExp, then: RegExp): Promise<void> {
    return new Promise((resolve) => this.#awaited.add({ first, then, begun: new Set(), resolve }));
  }

  #said(connection: number, text: string): void {
    this.#counts.set(text, (this.#counts.get(text) ?? 0) + 1);
    for (const one of this.#awaited) {
      if (one.first.test(text)) one.begun.add(connection);
      else if (one.begun.has(connection) && one.then.test(text)) {
        this.#awaited.delete(one);
        one.resolve();
      }
    }
  }
}

/** One connection: puts its messages together from what comes. */
class Reader {
  readonly #onStatement: (text: string) => void;
  #rest: Buffer = Buffer.alloc(0);
  #begun = false;

  constructor(onStatement: (text: string) => void) {
    this.#onStatement = onStatement;
  }

  take(bytes: Buffer): void {
    this.#rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    while (this.#begun ? this.#message() : this.#opening());
  }

  #opening(): boolean {
    if (this.#rest.length < 2 * INT_BYTES) return false;
    const length = this.#rest.readInt32BE(0);
    if (this.#rest.length < length) return false;
    this.#begun = this.#rest.readInt32BE(INT_BYTES) !== SSL_REQUEST;
    this.#rest = this.#rest.subarray(length);
    return true;
  }

  #message(): boolean {
    if (this.#rest.length < HEADER_BYTES) return false;
    const length = 1 + this.#rest.readInt32BE(1);
    if (this.#rest.length < length) return false;
    const type = String.fromCharCode(this.#rest[0] as number);
    const body = this.#rest.subarray(HEADER_BYTES, length);
    // A simple query, or one that is parsed first: the driver does that anew each time.
    if (type === 'Q') this.#onStatement(textAt(body, 0));
    if (type === 'P') this.#onStatement(textAt(body, body.indexOf(0) + 1));
    this.#rest = this.#rest.subarray(length);
    return true;
  }
}

/** Up to the NUL that ends it. */
function textAt(body: Buffer, from: number): string {
  return body.toString('utf8', from, body.indexOf(0, from));
}
