import { type ErrorKind, GantryError, type Problem } from '../errors.ts';
import type { Credentials } from './credentials.ts';
import { usage } from './failure.ts';
import type { Answer } from './screen.ts';

/** Where the admin API is, unless the URL says so. */
const PATH = '/gantry/admin';
/** What the server allows itself for a whole configuration is less. */
export const LONG_MS = 310_000;

export interface ClientOptions {
  readonly url: string;
  readonly credentials: Credentials;
  /** How long an answer is waited for. */
  readonly timeoutMs: number | null;
  readonly version: string;
}

export interface Asking {
  /** Where no time is given with the command. */
  readonly timeoutMs?: number;
  /** Whether it changes nothing: after a lost answer it can be repeated without a look. */
  readonly reads?: boolean;
  /** By name and password, even where there is a session. */
  readonly password?: boolean;
}

/** The admin API over HTTP. Each call is made once, whatever comes of it. */
export class AdminClient {
  readonly #url: URL;
  readonly #options: ClientOptions;

  /** Throws USAGE for a URL that is none, or that carries a password. */
  constructor(options: ClientOptions) {
    this.#options = options;
    this.#url = addressOf(options.url);
  }

  /** The time given with the command, if there is one. */
  get timeoutMs(): number | null {
    return this.#options.timeoutMs;
  }

  /**
   * One call: `channel.list`, e.g. Rejects with what the server refused, its problems and its document as `answer`, or
   * with UNREACHABLE where there is no answer of a Gantry server.
   */
  async call<T>(operation: string, input: object, asking: Asking = {}): Promise<Answer<T>> {
    const authorization = await this.#options.credentials.header(asking.password === true);
    const timeoutMs = this.#options.timeoutMs ?? asking.timeoutMs ?? 60_000;
    const url = `${this.#url.href.replace(/\/$/, '')}/gantry.${operation}`;
    let status: number;
    let text: string;
    let type: string;
    try {
      const response = await fetch(url, {
        method: 'POST',
        // Credentials are for this address only.
        redirect: 'manual',
        headers: {
          'content-type': 'application/json',
          accept: 'application/json, application/problem+json',
          'user-agent': `gantry/${this.#options.version}`,
          authorization,
        },
        body: JSON.stringify(input),
        signal: AbortSignal.timeout(timeoutMs),
      });
      status = response.status;
      type = response.headers.get('content-type') ?? '';
      if (status >= 300 && status < 400) throw redirected(this.#told(), response.headers.get('location'));
      text = await response.text();
    } catch (thrown) {
      throw thrown instanceof GantryError ? thrown : this.#unreachable(thrown, timeoutMs, asking);
    }
    const value = /json/i.test(type) ? parsed(text) : undefined;
    if (status === 200 && value !== undefined) return { value: value as T, text };
    throw this.#refused(status, value, operation);
  }

  #refused(status: number, value: unknown, operation: string): GantryError {
    if (!isProblem(value) || value.code === 'ADDRESS_NOT_FOUND') return this.#noApi(status, value, operation);
    const { code, detail, errors = [] } = value;
    const kind = kindOf(status);
    const hint = this.#hintOf(code, kind);
    return new GantryError(code, detail, {
      kind,
      answer: value,
      ...(errors.length === 0 ? {} : { problems: errors }),
      ...(hint === undefined ? {} : { hint }),
    });
  }

  /** What stands before the server refuses in its own words; a server with another API tells nothing. */
  #noApi(status: number, value: unknown, operation: string): GantryError {
    const away = status === 429 || status >= 500;
    const what = away ? 'is not available' : `has no admin API that knows ${operation}`;
    const message = `The server at ${this.#told()} ${what} (HTTP ${status})`;
    const hint = away
      ? 'Try again in a moment; a load balancer answers so while no server is up.'
      : operation.startsWith('balancer.')
        ? 'It is the agent of the balancer that knows it, e.g. --url http://127.0.0.1:20151 (or GANTRY_URL).'
        : 'Check --url (or GANTRY_URL), and that the server loads feature.admin and services/admin. A URL with a path is that of the admin API itself.';
    return new GantryError('UNREACHABLE', message, { kind: 'unavailable', hint, answer: value });
  }

  #hintOf(code: string, kind: ErrorKind): string | undefined {
    if (kind === 'unauthorized') return this.#options.credentials.hint();
    if (code === 'RECORD_STALE') return 'Nothing was changed. Look at what is there now before the change is repeated.';
    if (code === 'METHOD_UNSUPPORTED') return 'The server has another version of the admin API.';
    if (kind === 'busy' || kind === 'unavailable') return `Asked: ${this.#told()}. Try again in a moment.`;
    if (kind === 'timeout') return `Asked: ${this.#told()}. Give it longer with --timeout SECONDS.`;
    return undefined;
  }

  #unreachable(thrown: unknown, timeoutMs: number, { reads = false }: Asking): GantryError {
    const at = this.#told();
    const unsure = reads ? '' : ' It may have been done all the same: look before it is repeated.';
    if ((thrown as Error).name === 'TimeoutError') {
      return new GantryError(
        'UNREACHABLE',
        `The server at ${at} did not answer within ${timeoutMs / 1000} s.${unsure}`,
        {
          kind: 'timeout',
          hint: 'Give it longer with --timeout SECONDS, or check --url (GANTRY_URL).',
          cause: thrown,
        },
      );
    }
    const code = codeOf(thrown);
    const [reason, hint] = reasonOf(code, thrown);
    const before = BEFORE.has(code) || isCertificate(code);
    const message = `The server at ${at} cannot be reached: ${reason}.${before ? '' : unsure}`;
    return new GantryError('UNREACHABLE', message, { kind: 'unavailable', hint, cause: thrown });
  }

  /** Without what may be secret in it. */
  #told(): string {
    return this.#url.origin + (this.#url.pathname === PATH ? '' : this.#url.pathname);
  }
}

function addressOf(text: string): URL {
  const hint = 'E.g. --url https://gantry.example:17010, or GANTRY_URL.';
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    // The text is not shown: what is malformed may hold a password, too.
    throw usage('The URL of the server is no URL', hint);
  }
  if (url.username !== '' || url.password !== '') {
    const how = 'Take it out of the URL, where others can read it: use --user, and GANTRY_PASSWORD or --password-file.';
    throw usage('The URL of the server carries a user or password', how);
  }
  if (!/^https?:$/.test(url.protocol))
    throw usage(`The URL of the server is one of ${url.protocol}//, not of http`, hint);
  if (url.search !== '' || url.hash !== '') throw usage('The URL of the server has a ? or # in it', hint);
  if (/^\/*$/.test(url.pathname)) url.pathname = PATH;
  else url.pathname = url.pathname.replace(/\/+$/, '');
  return url;
}

function redirected(at: string, location: string | null): GantryError {
  const to = location === null ? 'elsewhere' : `to ${location}`;
  return new GantryError('UNREACHABLE', `The server at ${at} redirects ${to}, and a password is not taken there`, {
    kind: 'unavailable',
    hint: 'Give the address that it leads to with --url, if you trust it.',
  });
}

interface ProblemDocument {
  readonly code: string;
  readonly detail: string;
  readonly cid?: string;
  readonly errors?: readonly Problem[];
}

function isProblem(value: unknown): value is ProblemDocument {
  const { code, detail } = (value ?? {}) as Partial<ProblemDocument>;
  return typeof code === 'string' && typeof detail === 'string';
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function kindOf(status: number): ErrorKind {
  switch (status) {
    case 401:
      return 'unauthorized';
    case 403:
      return 'forbidden';
    case 404:
    case 405:
      return 'missing';
    case 409:
      return 'conflict';
    case 429:
      return 'busy';
    case 503:
      return 'unavailable';
    case 504:
      return 'timeout';
    default:
      return status >= 500 ? 'bug' : 'invalid';
  }
}

/** Of the system or of node; '' where there is none. */
function codeOf(thrown: unknown): string {
  const { cause = thrown } = thrown as { cause?: unknown };
  const { code, errors, name } = (cause ?? {}) as {
    code?: unknown;
    errors?: readonly { code?: unknown }[];
    name?: string;
  };
  // Its parser has no code for some of what is no HTTP since Node 24.
  const unnamed = name === 'HTTPParserError' ? 'HPE_INVALID' : '';
  return String(code ?? errors?.[0]?.code ?? unnamed);
}

/** Nothing was sent then. */
const BEFORE = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
]);

function isCertificate(code: string): boolean {
  return /CERT|SELF_SIGNED|LEAF_SIGNATURE|CERT_ALTNAME/.test(code);
}

function reasonOf(code: string, thrown: unknown): readonly [reason: string, hint: string] {
  const url = 'check --url (or GANTRY_URL)';
  if (code === 'ECONNREFUSED') return ['nobody listens there', `Start it with npm start, or ${url}.`];
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return ['its name cannot be resolved', `Please ${url}.`];
  if (isCertificate(code)) {
    const hint =
      'Name the file of your certificate authority in NODE_EXTRA_CA_CERTS, and the host as its certificate does.';
    return [`its certificate is not trusted (${code})`, hint];
  }
  if (/^(ERR_SSL|EPROTO)/.test(code)) return ['it speaks no TLS there', `Is it http rather than https? Please ${url}.`];
  if (/^(ECONNRESET|EPIPE|UND_ERR_SOCKET)$/.test(code)) return ['it closed the connection', 'Try again in a moment.'];
  if (code.startsWith('HPE_')) return ['it speaks no HTTP there', `Is it https rather than http? Please ${url}.`];
  const { cause } = thrown as { cause?: { message?: string } };
  return [code || cause?.message || 'no connection came about', `Please ${url}.`];
}
