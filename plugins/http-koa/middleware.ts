import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http';
import type Koa from 'koa';
import { type ErrorCode, GantryError, isGantryError, type Logger } from '../../core/api.ts';
import type { HttpReply } from '../../core/ports/index.ts';
import { cidOf, problem } from './problem.ts';

/** One entry of the operator's list. */
export interface Listed {
  readonly use: string;
  readonly export?: string;
  readonly options?: unknown;
  readonly path?: string;
  readonly channel?: string;
}

export type Answer = (req: IncomingMessage) => Promise<HttpReply>;

/** On the request itself: a WeakMap of them costs the collector 14 us a request. */
const ANSWER = Symbol('answer');
interface Answered extends IncomingMessage {
  [ANSWER]?: Answer;
}

/** Runs Koa for the requests that have middleware, and for no other. */
export class Middleware {
  readonly #entries: { readonly listed: Listed; readonly run: Koa.Middleware }[] = [];
  readonly #apps = new Map<string, (req: IncomingMessage, res: ServerResponse) => Promise<void>>();
  /** Loaded with the first entry. */
  #koa: typeof Koa | null = null;
  readonly #log: Logger;
  readonly #isDraining: () => boolean;

  constructor(log: Logger, isDraining: () => boolean) {
    this.#log = log;
    this.#isDraining = isDraining;
  }

  /**
   * Imports a middleware: a factory is called with its options, a middleware is taken as it is. Rejects with
   * CONFIG_INVALID, naming the entry and the module.
   */
  async add(listed: Listed, load: (specifier: string) => Promise<unknown>): Promise<void> {
    const wrong = (message: string, cause?: unknown) => {
      const hint = 'It must export (options) => (ctx, next) => ..., by default or under the name given in "export".';
      const path = `plugins.http.koa.middleware[${this.#entries.length}].use`;
      const problems = [{ path, message, got: listed.use, hint, plugin: 'http.koa' }];
      return new GantryError('CONFIG_INVALID', `The middleware '${listed.use}' ${message}`, { hint, problems, cause });
    };
    const module = (await load(listed.use).catch((cause: unknown) => {
      throw wrong(`cannot be loaded: ${reason(cause)}`, cause);
    })) as Record<string, unknown> & { default?: unknown };
    const named =
      listed.export === undefined ? unwrap(module) : (module[listed.export] ?? unwrap(module, listed.export));
    if (typeof named !== 'function') throw wrong('exports no function');
    let run: unknown = named;
    if (named.length !== 2 || listed.options !== undefined) {
      try {
        run = await named(listed.options);
      } catch (cause) {
        throw wrong(`cannot be made: ${reason(cause)}`, cause);
      }
    }
    if (typeof run !== 'function') throw wrong('makes no middleware');
    this.#koa ??= (await import('koa')).default;
    this.#entries.push({ listed, run: run as Koa.Middleware });
  }

  /** Null: nothing applies, and the request goes past Koa. */
  for(
    path: string,
    owner: string | null,
  ): ((req: IncomingMessage, res: ServerResponse, answer: Answer) => void) | null {
    if (this.#entries.length === 0) return null;
    const plain = path.includes('%') ? decoded(path) : path;
    let key = '';
    for (let i = 0; i < this.#entries.length; i++) {
      if (applies((this.#entries[i] as { listed: Listed }).listed, plain, owner)) key += `${i},`;
    }
    if (key === '') return null;
    const handle = this.#apps.get(key) ?? this.#compose(key);
    return (req, res, answer) => {
      (req as Answered)[ANSWER] = answer;
      void handle(req, res);
    };
  }

  #compose(key: string): (req: IncomingMessage, res: ServerResponse) => Promise<void> {
    const app = new (this.#koa as typeof Koa)();
    app.on('error', (error: unknown) => this.#log.error({ error }, 'a middleware failed'));
    app.use(async (ctx, next) => {
      try {
        await next();
      } catch (thrown) {
        this.#refuse(ctx, thrown);
      }
      if (this.#isDraining() && !ctx.headerSent) ctx.set('connection', 'close');
    });
    for (const i of key.split(',').slice(0, -1)) app.use((this.#entries[Number(i)] as { run: Koa.Middleware }).run);
    app.use(async (ctx) => answer(ctx, await ((ctx.req as Answered)[ANSWER] as Answer)(ctx.req)));
    const handle = app.callback();
    this.#apps.set(key, handle);
    return handle;
  }

  /** What a middleware threw, as every other error is told: its status and words only where it lets them out. */
  #refuse(ctx: Koa.Context, thrown: unknown): void {
    const cid = cidOf(ctx.req);
    const { error, status, headers = {} } = refusal(thrown);
    if (error.kind === 'bug') this.#log.error({ error: thrown, cid }, 'a middleware failed');
    if (ctx.headerSent) return void ctx.res.destroy();
    for (const name of ctx.res.getHeaderNames()) ctx.remove(name);
    const reply = problem(error, cid, status);
    Object.assign(reply.headers, headers);
    answer(ctx, reply);
  }
}

function answer(ctx: Koa.Context, { status, headers, body }: HttpReply): void {
  // First, or Koa guesses a content type from the body.
  ctx.set(headers as Record<string, string>);
  ctx.status = status;
  // Koa would write other bytes than a Buffer as JSON, and take null for 204.
  if (body instanceof Uint8Array) ctx.body = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  else ctx.body = body === null && status !== 204 && status !== 304 ? '' : body;
  ctx.status = status;
  if (headers['content-type'] === undefined) ctx.remove('content-type');
}

const CODE: Readonly<Record<number, ErrorCode>> = {
  401: 'AUTH_REJECTED',
  403: 'FORBIDDEN',
  404: 'NOT_FOUND',
  409: 'CONFLICT',
  413: 'INPUT_TOO_LARGE',
  429: 'BUSY',
  503: 'UNAVAILABLE',
  504: 'TIMEOUT',
};

/** Koa's own errors carry a status, headers, and whether their message is for the caller (`ctx.throw`). */
function refusal(thrown: unknown): { error: GantryError; status?: number; headers?: Record<string, string> } {
  if (isGantryError(thrown)) return { error: thrown };
  const { status, expose, message, headers } = (thrown ?? {}) as Record<string, unknown>;
  if (typeof status !== 'number' || !(status >= 400 && status < 600) || STATUS_CODES[status] === undefined) {
    return { error: new GantryError('SERVICE_FAILED', 'The server failed') };
  }
  const code = CODE[status] ?? (status < 500 ? 'INVALID' : 'SERVICE_FAILED');
  const text = expose === true ? String(message) : (STATUS_CODES[status] as string);
  const own = typeof headers === 'object' && headers !== null ? (headers as Record<string, string>) : {};
  return { error: new GantryError(code, text), status, headers: own };
}

function reason(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/** As the router compares: what middleware guards must not be reached by another spelling of its path. */
function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

function applies({ path, channel }: Listed, requested: string, owner: string | null): boolean {
  if (channel !== undefined && channel !== owner) return false;
  if (path === undefined || path === '/') return true;
  return requested === path || requested.startsWith(path.endsWith('/') ? path : `${path}/`);
}

/** CommonJS modules arrive as `default`, some of them twice. */
function unwrap(module: Record<string, unknown>, name?: string): unknown {
  let at: unknown = module;
  for (let depth = 0; depth < 3 && typeof at === 'object' && at !== null && 'default' in at; depth++) at = at.default;
  return name === undefined ? at : (at as Record<string, unknown> | undefined)?.[name];
}
