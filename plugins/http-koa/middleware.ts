import type { IncomingMessage, ServerResponse } from 'node:http';
import Koa from 'koa';
import { GantryError, type HttpReply, type Logger } from '../../core/api.ts';

/** One entry of the operator's list. */
export interface Listed {
  readonly use: string;
  readonly export?: string;
  readonly options?: unknown;
  readonly path?: string;
  readonly channel?: string;
}

export type Answer = (req: IncomingMessage) => Promise<HttpReply>;

/** Runs Koa for the requests that have middleware, and for no other. */
export class Middleware {
  readonly #entries: { readonly listed: Listed; readonly run: Koa.Middleware }[] = [];
  readonly #apps = new Map<string, (req: IncomingMessage, res: ServerResponse) => Promise<void>>();
  readonly #answers = new WeakMap<IncomingMessage, Answer>();
  readonly #log: Logger;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Imports a middleware: a factory is called with its options, a middleware is taken as it is. */
  async add(listed: Listed, load: (specifier: string) => Promise<unknown>): Promise<void> {
    const module = (await load(listed.use)) as Record<string, unknown> & { default?: unknown };
    const named =
      listed.export === undefined ? unwrap(module) : (module[listed.export] ?? unwrap(module, listed.export));
    const wrong = (message: string) =>
      new GantryError('CONFIG_INVALID', `The middleware '${listed.use}' ${message}`, {
        hint: 'It must export (options) => (ctx, next) => ..., by default or under the name given in "export".',
      });
    if (typeof named !== 'function') throw wrong('exports no function');
    const run: unknown = named.length === 2 && listed.options === undefined ? named : named(listed.options);
    if (typeof run !== 'function') throw wrong('makes no middleware');
    this.#entries.push({ listed, run: run as Koa.Middleware });
  }

  /** Null: nothing applies, and the request goes past Koa. */
  for(
    path: string,
    owner: string | null,
  ): ((req: IncomingMessage, res: ServerResponse, answer: Answer) => void) | null {
    if (this.#entries.length === 0) return null;
    let key = '';
    for (let i = 0; i < this.#entries.length; i++) {
      if (applies((this.#entries[i] as { listed: Listed }).listed, path, owner)) key += `${i},`;
    }
    if (key === '') return null;
    const handle = this.#apps.get(key) ?? this.#compose(key);
    return (req, res, answer) => {
      this.#answers.set(req, answer);
      void handle(req, res);
    };
  }

  #compose(key: string): (req: IncomingMessage, res: ServerResponse) => Promise<void> {
    const app = new Koa();
    app.on('error', (error: unknown) => this.#log.error({ error }, 'a middleware failed'));
    for (const i of key.split(',').slice(0, -1)) app.use((this.#entries[Number(i)] as { run: Koa.Middleware }).run);
    app.use(async (ctx) => {
      const { status, headers, body } = await (this.#answers.get(ctx.req) as Answer)(ctx.req);
      ctx.status = status;
      ctx.body = body;
      if (body === null && status !== 204 && status !== 304) ctx.body = '';
      ctx.status = status;
      ctx.set(headers as Record<string, string>);
    });
    const handle = app.callback();
    this.#apps.set(key, handle);
    return handle;
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
