import http from 'node:http';
import { KINDS, type Kind, type LoadOrder, type Progress, type Sent, SLOW_EACH, SLOW_MS } from './traffic.ts';

interface Answer {
  readonly status: number;
  readonly failure: string;
  readonly by: string;
  readonly version: string;
}

/** Makes requests of the wanted kinds in turn and remembers what came of each. None is ever sent a second time. */
export class Requests {
  readonly all: Sent[] = [];
  readonly #order: LoadOrder;
  readonly #agent: http.Agent;
  readonly #kinds: readonly Kind[];
  /** How much of its share each kind has not had yet. */
  readonly #owed: number[];
  readonly #counts: number[];
  readonly #url: URL;
  readonly #by: Record<string, number> = {};
  #sent = 0;
  #ok = 0;
  #open = 0;
  #settled: () => void = () => {};

  constructor(order: LoadOrder, agent: http.Agent) {
    this.#order = order;
    this.#agent = agent;
    this.#url = new URL(order.url);
    this.#kinds = KINDS.filter(({ name }) => order.kinds.includes(name));
    this.#owed = this.#kinds.map(() => 0);
    this.#counts = this.#kinds.map(() => 0);
  }

  progress(): Progress {
    return { sent: this.#sent, ok: this.#ok, failed: this.all.length - this.#ok, by: this.#by };
  }

  /** `due`, on the clock of `performance.now()`. */
  async send(due: number): Promise<void> {
    const at = this.#turn();
    const kind = this.#kinds[at] as Kind;
    const count = (this.#counts[at] = (this.#counts[at] as number) + 1);
    const id = `${this.#order.run}-${++this.#sent}`;
    const sentAt = performance.now();
    this.#open++;
    const slowMs = this.#slowMs(count);
    const answer = await this.#exchange(kind, id, contentOf(kind, count, slowMs));
    const epoch = performance.timeOrigin;
    const times = { dueAt: epoch + due, sentAt: epoch + sentAt, endedAt: epoch + performance.now() };
    this.all.push({ id, kind: kind.name, isSlow: slowMs > 0, ...times, ...answer });
    if (answer.failure === '') {
      this.#ok++;
      this.#by[answer.by] = (this.#by[answer.by] ?? 0) + 1;
    }
    if (--this.#open === 0) this.#settled();
  }

  async settled(): Promise<void> {
    if (this.#open > 0) await new Promise<void>((resolve) => (this.#settled = resolve));
  }

  /** Spreads the kinds evenly, by their shares. */
  #turn(): number {
    let best = 0;
    let sum = 0;
    for (const [i, { share }] of this.#kinds.entries()) {
      this.#owed[i] = (this.#owed[i] as number) + share;
      sum += share;
      if ((this.#owed[i] as number) > (this.#owed[best] as number)) best = i;
    }
    this.#owed[best] = (this.#owed[best] as number) - sum;
    return best;
  }

  #slowMs(count: number): number {
    const [least, most] = SLOW_MS;
    if (this.#order.slow === false || count % SLOW_EACH !== 0) return 0;
    return Math.round(least + Math.random() * (most - least));
  }

  #exchange(kind: Kind, id: string, { query, body }: Content): Promise<Answer> {
    return new Promise((resolve) => {
      const failed = (failure: string, status = 0) => resolve({ status, failure, by: '', version: '' });
      const request = http.request({
        agent: this.#agent,
        host: this.#url.hostname,
        port: this.#url.port,
        method: kind.method,
        path: `${kind.path}${query}`,
        headers: {
          'x-correlation-id': id,
          ...(kind.keyed ? { 'idempotency-key': id } : {}),
          ...(body === '' ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
        },
      });
      const late = setTimeout(() => request.destroy(new Error('timeout')), this.#order.timeoutMs);
      request.once('close', () => clearTimeout(late));
      request.once('error', (error: NodeJS.ErrnoException) => failed(error.code ?? error.message));
      request.once('response', (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => (text += chunk));
        response.once('error', () => failed('cut off', response.statusCode));
        response.once('end', () => resolve(read(response.statusCode ?? 0, text)));
      });
      request.end(body);
    });
  }
}

interface Content {
  readonly query: string;
  readonly body: string;
}

/** How slow it is to be stands in the body, or in the query. */
function contentOf(kind: Kind, count: number, slowMs: number): Content {
  if (kind.method === 'GET') return { query: slowMs === 0 ? '' : `?slowMs=${slowMs}`, body: '' };
  const bytes = kind.bytes[count % kind.bytes.length] as number;
  return { query: '', body: JSON.stringify({ slowMs, padding: 'x'.repeat(bytes) }) };
}

function read(status: number, text: string): Answer {
  let said: { server?: string; version?: string; code?: string } = {};
  try {
    said = JSON.parse(text) as typeof said;
  } catch {
    // Told below, as an answer that is none of ours.
  }
  const { server = '', version = '', code = '' } = said;
  const failure = status === 200 && server !== '' ? '' : `${status} ${code}`.trim();
  return { status, failure, by: server, version };
}
