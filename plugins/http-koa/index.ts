import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Duplex, pipeline } from 'node:stream';
import { definePlugin, GantryError, type HttpReply, type HttpRoute, Type, toGantryError } from '../../core/api.ts';
import { Middleware } from './middleware.ts';
import { problem } from './problem.ts';
import { Proxies } from './proxies.ts';
import { Router } from './router.ts';

const Config = Type.Object(
  {
    host: Type.String({ default: '127.0.0.1', description: 'Address to listen on' }),
    port: Type.Integer({ default: 11223, minimum: 0, maximum: 65535, description: '0 picks a free one' }),
    trustedProxies: Type.Array(Type.String(), {
      default: [],
      description: 'Addresses and networks whose X-Forwarded-* headers count',
    }),
    maxHeaderBytes: Type.Integer({ default: 16_384, minimum: 1024, description: 'All headers of a request' }),
    maxConnections: Type.Integer({ default: 0, minimum: 0, description: '0: no limit' }),
    headersTimeoutMs: Type.Integer({ default: 10_000, minimum: 100, description: 'From connect to the last header' }),
    requestTimeoutMs: Type.Integer({ default: 60_000, minimum: 100, description: 'To the last byte of the body' }),
    keepAliveMs: Type.Integer({ default: 72_000, minimum: 0, description: "Longer than the balancer's" }),
    middleware: Type.Array(
      Type.Object(
        {
          use: Type.String({ description: 'A Koa middleware: a package, or a path beside the config file' }),
          export: Type.Optional(Type.String({ description: 'Its name, where it is not the default export' })),
          options: Type.Optional(Type.Unknown({ description: 'What its factory is given' })),
          path: Type.Optional(Type.String({ pattern: '^/', description: 'Only below this path' })),
          channel: Type.Optional(Type.String({ description: 'Only for this channel' })),
        },
        { additionalProperties: false },
      ),
      { default: [], description: 'In this order; requests that none applies to do not pay for it' },
    ),
  },
  { additionalProperties: false },
);

export default definePlugin({
  id: 'http.koa',
  api: 1,
  config: Config,
  create({ config, log, load }) {
    const router = new Router();
    const proxies = new Proxies(config.trustedProxies);
    const middleware = new Middleware(log);
    const upgrades = new Map<string, (req: IncomingMessage, socket: Duplex, head: Buffer) => void>();
    let draining = false;

    /** Hot. */
    function serve(req: IncomingMessage, res: ServerResponse): void {
      const path = pathOf(req.url ?? '/');
      const method = req.method ?? 'GET';
      let route: HttpRoute | undefined;
      let params: Readonly<Record<string, string>> = {};
      let refused: HttpReply | null = null;
      try {
        const match = router.find(path);
        if (match === null) refused = notFound(req);
        else {
          const { routes } = match.place;
          route = routes.get(method) ?? (method === 'HEAD' ? routes.get('GET') : undefined);
          params = match.params;
          if (route === undefined) refused = otherMethod(req, method, routes);
        }
      } catch (thrown) {
        refused = problem(toGantryError(thrown), cidOf(req));
      }
      const koa = middleware.for(path, route?.owner ?? null);
      if (koa !== null) {
        const given = refused;
        koa(req, res, async (seen) => (given !== null ? given : (route as HttpRoute).handle(seen, params)));
      } else if (refused !== null) send(req, res, refused);
      else {
        (route as HttpRoute).handle(req, params).then(
          (reply) => send(req, res, reply),
          (error: unknown) => fail(req, res, error),
        );
      }
    }

    function send(req: IncomingMessage, res: ServerResponse, { status, headers, body }: HttpReply): void {
      try {
        if (draining) headers['connection'] = 'close';
        if (body === null || typeof body === 'string' || body instanceof Uint8Array) {
          if (status !== 204 && status !== 304) {
            headers['content-length'] = String(
              typeof body === 'string' ? Buffer.byteLength(body) : (body?.length ?? 0),
            );
          }
          res.writeHead(status, headers);
          if (body === null || req.method === 'HEAD') res.end();
          else res.end(body);
          return;
        }
        res.writeHead(status, headers);
        if (req.method === 'HEAD') {
          body.destroy();
          res.end();
        } else {
          pipeline(body, res, (error) => {
            if (error) log.warn({ error, cid: headers['x-correlation-id'] }, 'a streamed reply broke off');
          });
        }
      } catch (error) {
        fail(req, res, error);
      }
    }

    function fail(req: IncomingMessage, res: ServerResponse, error: unknown): void {
      log.error({ error }, 'a reply could not be sent');
      if (res.headersSent) return void res.destroy();
      const { status, headers, body } = problem(toGantryError(error), cidOf(req));
      res.writeHead(status, headers).end(body);
    }

    const server: Server = createServer({
      maxHeaderSize: config.maxHeaderBytes,
      headersTimeout: config.headersTimeoutMs,
      requestTimeout: config.requestTimeoutMs,
      keepAliveTimeout: config.keepAliveMs,
      connectionsCheckingInterval: Math.min(1000, config.headersTimeoutMs / 2),
      noDelay: true,
    });
    if (config.maxConnections > 0) server.maxConnections = config.maxConnections;
    server.on('request', serve);
    // The client is told to go on when, and only when, somebody begins to read.
    server.on('checkContinue', (req, res) => {
      req.once('resume', () => {
        if (!res.headersSent) res.writeContinue();
      });
      serve(req, res);
    });
    server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => answerBroken(error, socket));
    server.on('upgrade', (req, socket, head) => {
      const handle = upgrades.get(pathOf(req.url ?? '/'));
      if (handle !== undefined) return handle(req, socket, head);
      socket.end('HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n');
    });

    return {
      route: (route: HttpRoute) => router.add(route),
      upgrade(path, handle) {
        if (upgrades.has(path)) throw new GantryError('CHANNEL_DUPLICATE', `The path ${path} is taken`);
        upgrades.set(path, handle);
        return () => void upgrades.delete(path);
      },
      refuse: (error, cid) => problem(error, cid),
      origin: (req) => proxies.origin(req),
      urls() {
        const address = server.address() as AddressInfo | null;
        if (address === null) return [];
        const host = config.host.includes(':') ? `[${config.host}]` : config.host;
        return [`http://${host}:${address.port}`];
      },
      async start() {
        for (const listed of config.middleware) await middleware.add(listed, load);
        await new Promise<void>((resolve, reject) => {
          server.once('error', (error: NodeJS.ErrnoException) => reject(cannotListen(error, config)));
          server.listen(config.port, config.host, 1024, resolve);
        });
        server.on('error', (error) => log.error({ error }, 'the listener failed'));
      },
      pause() {
        draining = true;
        server.close();
        server.closeIdleConnections();
      },
      async stop() {
        draining = true;
        if (!server.listening) server.closeIdleConnections();
        await new Promise<void>((resolve) => {
          const giveUp = setTimeout(() => server.closeAllConnections(), 5000);
          server.close(() => {
            clearTimeout(giveUp);
            resolve();
          });
          server.closeIdleConnections();
        });
      },
    };
  },
});

/** The path of a request target: origin form, or absolute form as proxies send it (RFC 9112, 3.2). */
function pathOf(target: string): string {
  if (target.charCodeAt(0) !== 47) {
    const path = /^[a-z][a-z0-9+.-]*:\/\/[^/?#]*([^?#]*)/i.exec(target)?.[1];
    return path === undefined ? target : path === '' ? '/' : path;
  }
  const query = target.indexOf('?');
  return query === -1 ? target : target.slice(0, query);
}

const CID = /^[\x21-\x7e]{1,128}$/;
function cidOf({ headers }: IncomingMessage): string {
  const given = headers['x-correlation-id'];
  return typeof given === 'string' && CID.test(given) ? given : randomUUID();
}

function notFound(req: IncomingMessage): HttpReply {
  if (req.method === 'OPTIONS' && req.url === '*') return { status: 204, headers: {}, body: null };
  return problem(new GantryError('ADDRESS_NOT_FOUND', 'Nothing is at this address'), cidOf(req));
}

/** OPTIONS, or a method that the path does not have (RFC 9110, 9.3.7 and 15.5.6). */
function otherMethod(req: IncomingMessage, method: string, routes: ReadonlyMap<string, HttpRoute>): HttpReply {
  const methods = new Set([...routes.keys(), ...(routes.has('GET') ? ['HEAD'] : []), 'OPTIONS']);
  const allow = [...methods].sort().join(', ');
  if (method !== 'OPTIONS') {
    const reply = problem(new GantryError('METHOD_UNSUPPORTED', `This address does not take ${method}`), cidOf(req));
    reply.headers['allow'] = allow;
    return reply;
  }
  const asked = String(req.headers['access-control-request-method'] ?? '');
  const reply = (routes.get(asked) ?? (asked === 'HEAD' ? routes.get('GET') : undefined))?.preflight?.(req);
  return reply ?? { status: 204, headers: { allow }, body: null };
}

const BROKEN: Readonly<Record<string, readonly [number, 'INPUT_TOO_LARGE' | 'INPUT_MALFORMED', string]>> = {
  HPE_HEADER_OVERFLOW: [431, 'INPUT_TOO_LARGE', 'The headers of the request are too large'],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'INPUT_MALFORMED', 'The request did not arrive in time'],
};
const NOT_HTTP = [400, 'INPUT_MALFORMED', 'The request is not valid HTTP'] as const;

/** What is not HTTP, or came too slowly, gets an answer where it still can; then the connection ends. */
function answerBroken(error: NodeJS.ErrnoException, socket: Duplex): void {
  // Node keeps the reply that is being written here; another one in the middle of it would be garbage.
  const { _httpMessage: current } = socket as { _httpMessage?: ServerResponse | null };
  if (error.code === 'ECONNRESET' || !socket.writable || current?.headersSent === true) {
    socket.destroy();
    return;
  }
  const [status, code, text] = BROKEN[error.code ?? ''] ?? NOT_HTTP;
  const { headers, body } = problem(new GantryError(code, text), randomUUID(), status);
  const length = Buffer.byteLength(body as string);
  const lines = Object.entries({ ...headers, connection: 'close', 'content-length': length });
  const head = [`HTTP/1.1 ${status} ${STATUS_CODES[status]}`, ...lines.map(([name, value]) => `${name}: ${value}`)];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
}

function cannotListen(error: NodeJS.ErrnoException, { host, port }: { host: string; port: number }): GantryError {
  if (error.code === 'EADDRINUSE') {
    return new GantryError('ADDRESS_IN_USE', `http.koa cannot listen on ${host}:${port}: another process does`, {
      hint: `Stop it, or choose another port: GANTRY_PORT=${port + 1} npm start, or plugins.http.koa.port in the config.`,
      cause: error,
    });
  }
  const hint =
    error.code === 'EACCES'
      ? 'Ports below 1024 need a right that this process does not have.'
      : 'plugins.http.koa.host must be an address of this machine.';
  return new GantryError('PLUGIN_START_FAILED', `http.koa cannot listen on ${host}:${port} (${error.code})`, {
    hint,
    cause: error,
  });
}
