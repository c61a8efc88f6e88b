import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { type Duplex, pipeline, type Readable } from 'node:stream';
import { definePlugin, GantryError, Type, toGantryError } from '../../core/api.ts';
import type { HttpReply, HttpRoute } from '../../core/ports/index.ts';
import { Middleware } from './middleware.ts';
import { cidOf, problem } from './problem.ts';
import { Proxies } from './proxies.ts';
import { Router } from './router.ts';
import { Tls, TlsSettings } from './tls.ts';

const Config = Type.Object(
  {
    host: Type.String({ default: '127.0.0.1', description: 'Address to listen on' }),
    port: Type.Integer({ default: 11223, minimum: 0, maximum: 65535, description: '0 picks a free one' }),
    tls: Type.Optional(TlsSettings),
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
  needs: ['server'],
  create({ config, log, load, server: info }) {
    const router = new Router();
    const proxies = new Proxies(config.trustedProxies);
    const middleware = new Middleware(log, () => draining);
    const sockets = new Set<Socket>();
    const upgrades = new Map<string, (req: IncomingMessage, socket: Duplex, head: Buffer) => void>();
    let draining = false;

    /** Hot. */
    function serve(req: IncomingMessage, res: ServerResponse): void {
      const behind = info.behind();
      if (behind === null) route(req, res);
      else void behind.then(() => route(req, res));
    }

    /** Hot. */
    function route(req: IncomingMessage, res: ServerResponse): void {
      const path = pathOf(req.url ?? '/');
      const method = req.method ?? 'GET';
      let found: HttpRoute | undefined;
      let params: Readonly<Record<string, string>> = {};
      let refused: HttpReply | null = null;
      try {
        const match = router.find(path);
        if (match === null) refused = notFound(req);
        else {
          const { routes } = match.place;
          found = routes.get(method) ?? (method === 'HEAD' ? routes.get('GET') : undefined);
          params = match.params;
          if (found === undefined) refused = otherMethod(req, method, routes);
        }
      } catch (thrown) {
        refused = problem(toGantryError(thrown), cidOf(req));
      }
      const koa = middleware.for(path, found?.owner ?? null);
      if (koa !== null) {
        const given = refused;
        koa(req, res, async (seen) => final(given ?? (await (found as HttpRoute).handle(seen, params))));
      } else if (refused !== null) send(req, res, refused);
      else {
        (found as HttpRoute).handle(req, params).then(
          (reply) => send(req, res, reply),
          (error: unknown) => fail(req, res, error),
        );
      }
    }

    function send(req: IncomingMessage, res: ServerResponse, reply: HttpReply): void {
      const { status, headers, body } = reply;
      try {
        final(reply);
        if (draining) headers['connection'] = 'close';
        if (body === null || typeof body === 'string' || body instanceof Uint8Array) {
          const bytes = typeof body === 'string' ? Buffer.byteLength(body) : (body?.length ?? 0);
          res.writeHead(status, headOf(headers, status === 204 || status === 304 ? null : bytes));
          if (body === null || req.method === 'HEAD') res.end();
          else finish(res, body);
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
        if (isStream(body)) body.destroy();
        fail(req, res, error, String(headers['x-correlation-id'] ?? cidOf(req)));
      }
    }

    function fail(req: IncomingMessage, res: ServerResponse, error: unknown, cid = cidOf(req)): void {
      log.error({ error, cid }, 'a reply could not be sent');
      if (res.headersSent) return void res.destroy();
      const { status, headers, body } = problem(toGantryError(error), cid);
      headers['content-length'] = String(Buffer.byteLength(body as string));
      res.writeHead(status, headers).end(req.method === 'HEAD' ? null : body);
    }

    const options = {
      maxHeaderSize: config.maxHeaderBytes,
      // Node refuses to wait longer for the headers than for all of the request.
      headersTimeout: Math.min(config.headersTimeoutMs, config.requestTimeoutMs),
      requestTimeout: config.requestTimeoutMs,
      keepAliveTimeout: config.keepAliveMs,
      connectionsCheckingInterval: Math.min(1000, Math.floor(config.headersTimeoutMs / 2)),
      noDelay: true,
    };
    const tls = config.tls === undefined ? null : new Tls(config.tls, info.data, options, log);
    const server: Server = tls?.server ?? createServer(options);
    /** Emitted when a connection is ready for HTTP. */
    const connected = tls === null ? 'connection' : 'secureConnection';
    if (config.maxConnections > 0) server.maxConnections = config.maxConnections;
    server.on(connected, (socket: Socket) => {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
    });
    server.on('request', serve);
    // The client is told to go on when, and only when, somebody begins to read: by events, pipe or iterator.
    server.on('checkContinue', (req: IncomingMessage, res: ServerResponse) => {
      const goOn = (event: string) => {
        if (event !== 'data' && event !== 'readable') return;
        req.off('newListener', goOn);
        if (!res.headersSent) res.writeContinue();
      };
      req.on('newListener', goOn);
      serve(req, res);
    });
    server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => {
      // Before the end of its handshake nobody can be answered.
      if (tls !== null && !sockets.has(socket as Socket)) socket.destroy();
      else answerBroken(error, socket);
    });
    server.on('connect', (req: IncomingMessage, socket: Duplex) => {
      socket.on('error', () => socket.destroy());
      endWith(socket, problem(new GantryError('METHOD_UNSUPPORTED', 'This is no proxy'), cidOf(req), 501));
    });
    server.on('upgrade', (req, socket, head) => {
      // Node has taken its own listener away, and an error that nobody hears would end the process.
      socket.on('error', () => socket.destroy());
      const handle = upgrades.get(pathOf(req.url ?? '/'));
      if (handle !== undefined) handle(req, socket, head);
      else serveAsItIs(req, socket, head, () => void server.emit(connected, socket));
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
        return [`${tls === null ? 'http' : 'https'}://${host}:${address.port}`];
      },
      async start() {
        for (const listed of config.middleware) await middleware.add(listed, load);
        if (tls !== null) await tls.start();
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
        await new Promise<void>((resolve) => {
          const giveUp = setTimeout(() => {
            for (const socket of sockets) socket.destroy();
          }, 5000);
          server.close(() => {
            clearTimeout(giveUp);
            resolve();
          });
          tls?.stop();
          // Those that never sent a request count as busy for Node.
          for (const socket of sockets) if (replyOn(socket) === null) socket.destroySoon();
        });
      },
    };
  },
});

/** Hot. Names and values in one list, as writeHead takes them at the least cost; null: no length. */
function headOf(headers: HttpReply['headers'], bytes: number | null): (string | string[])[] {
  const head: (string | string[])[] = [];
  for (const name in headers) {
    if (bytes === null || name !== 'content-length') head.push(name, headers[name] as string | string[]);
  }
  if (bytes !== null) head.push('content-length', `${bytes}`);
  return head;
}

/**
 * Hot. Like end(body), which hands the socket two pieces: that is a writev. As one piece it is a plain write, which
 * costs 1 to 2 us less.
 */
function finish(res: ServerResponse, body: string | Uint8Array): void {
  const { socket } = res;
  if (socket === null || typeof body !== 'string') {
    res.end(body);
    return;
  }
  socket.cork();
  res.write(body);
  socket.uncork();
  res.end();
}

/** The path of a request target: origin form, or absolute form as proxies send it (RFC 9112, 3.2). */
function pathOf(target: string): string {
  if (target.charCodeAt(0) !== 47) {
    const path = /^[a-z][a-z0-9+.-]*:\/\/[^/?#]*([^?#]*)/i.exec(target)?.[1];
    return path === undefined ? target : path === '' ? '/' : path;
  }
  const query = target.indexOf('?');
  return query === -1 ? target : target.slice(0, query);
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

/** Connections that have, or wait for, their last answer. */
const ending = new WeakSet<Duplex>();
/** How long a caller may take to fetch it. */
const LINGER_MS = 1000;

/** What is not HTTP, or came too slowly, gets an answer where it still can; then the connection ends. */
function answerBroken(error: NodeJS.ErrnoException, socket: Duplex): void {
  // The parser complains again of all that still comes. To cut it off would take the answer away from the caller;
  // and what comes after the close that the caller asked for is not looked at (RFC 9112, 9.6).
  if (ending.has(socket) || error.code === 'HPE_CLOSED_CONNECTION') return;
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy();
  ending.add(socket);
  const [status, code, text] = BROKEN[error.code ?? ''] ?? NOT_HTTP;
  endInTurn(socket, problem(new GantryError(code, text), randomUUID(), status));
}

/** After the replies to what came before it on the connection (RFC 9112, 9.3.2). */
function endInTurn(socket: Duplex, reply: HttpReply): void {
  const current = replyOn(socket);
  if (current?.req.complete === true) return void current.once('close', () => endInTurn(socket, reply));
  // Another reply in the middle of one that is being written would be garbage.
  if (!socket.writable || current?.headersSent === true) socket.destroy();
  else endWith(socket, reply);
}

function endWith(socket: Duplex, { status, headers, body }: HttpReply): void {
  const length = Buffer.byteLength(body as string);
  const lines = Object.entries({ ...headers, connection: 'close', 'content-length': length });
  const head = [`HTTP/1.1 ${status} ${STATUS_CODES[status]}`, ...lines.map(([name, value]) => `${name}: ${value}`)];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
  const cut = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once('close', () => clearTimeout(cut));
}

/** The reply that is being written; Node keeps it here. */
function replyOn(socket: Duplex): ServerResponse | null {
  return (socket as { _httpMessage?: ServerResponse | null })._httpMessage ?? null;
}

/**
 * An upgrade that nobody gives is served as if it had not been asked for (RFC 9110, 7.8): some clients offer HTTP/2 with
 * every first request. Node has let go of the connection by then, so the request goes in again, without its offer.
 */
function serveAsItIs(req: IncomingMessage, socket: Duplex, head: Buffer, connect: () => void): void {
  // Behind requests that wait for their replies it would overtake them.
  if (replyOn(socket) !== null) return void socket.destroy();
  const lines = [`${req.method} ${req.url} HTTP/${req.httpVersion}`];
  for (let i = 0; i < req.rawHeaders.length; i += 2) {
    const name = req.rawHeaders[i] as string;
    if (name.toLowerCase() !== 'upgrade') lines.push(`${name}: ${req.rawHeaders[i + 1]}`);
  }
  socket.unshift(Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), head]));
  connect();
}

/** 1xx would leave the caller waiting for the reply proper (RFC 9110, 15.2). */
function final(reply: HttpReply): HttpReply {
  if (reply.status >= 200) return reply;
  throw new GantryError('OUTPUT_INVALID', 'The service gave a status that ends no call');
}

function isStream(body: HttpReply['body']): body is Readable {
  return body !== null && typeof body !== 'string' && !(body instanceof Uint8Array);
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
