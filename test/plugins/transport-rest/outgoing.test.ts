import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import https from 'node:https';
import net, { type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import type { TLSSocket } from 'node:tls';
import { inspect } from 'node:util';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { expect } from 'chai';
import fc from 'fast-check';
import { Call } from '../../../core/call.ts';
import { Connections } from '../../../core/calls/connections.ts';
import { GantryError } from '../../../core/errors.ts';
import { createHooks, type Sent } from '../../../core/hooks.ts';
import { quiet } from '../../../core/log/log.ts';
import type { Codec } from '../../../core/ports/codec.ts';
import type { Connection, Outgoing, Transport } from '../../../core/ports/transport.ts';
import { compileConfig } from '../../../core/schema/check.ts';
import { wrapSecrets } from '../../../core/schema/secret.ts';
import json from '../../../plugins/codec-json/index.ts';
import { connect, type RestAnswer, RestOptions } from '../../../plugins/transport-rest/outgoing.ts';
import { failure, type Peer, testConnection } from '../../kit/connection.ts';

/** A second format, so that choosing one can be seen: lines of `key=value`. */
const lines: Codec = {
  contentTypes: ['text/x-lines'],
  typed: false,
  decode: (raw, parameters = '') => ({
    ...Object.fromEntries(
      Buffer.from(raw as Uint8Array)
        .toString()
        .split('\n')
        .map((l) => l.split('=')),
    ),
    ...(parameters === '' ? {} : { parameters }),
  }),
  encode(value) {
    if (typeof value !== 'object') throw new GantryError('OUTPUT_INVALID', 'Lines hold objects');
    return Object.entries(value as object)
      .map((pair) => pair.join('='))
      .join('\n');
  },
};
const codecs = new Map<string, Codec>([
  ['json', json.create({ config: { maxDepth: 64 } } as Parameters<typeof json.create>[0])],
  ['lines', lines],
]);
const validate = compileConfig(RestOptions);

/** As the core does it: checked, defaults filled in, secrets wrapped. */
function settle(options: object): RestOptions {
  const copy = structuredClone(options);
  expect(validate(copy, 'options')).to.deep.equal([]);
  return wrapSecrets(RestOptions, copy) as RestOptions;
}

const cleanUp: (() => unknown)[] = [];
afterEach(async () => {
  for (const undo of cleanUp.splice(0).reverse()) await undo();
});

async function open(url: string, options: object = {}): Promise<Connection> {
  const connection = await connect('crm', settle({ url, retry: { backoffMs: 1 }, ...options }), { codecs, log: quiet });
  cleanUp.push(() => connection.close());
  return connection;
}

/** A message whose answer is typed. */
const ask = async <T = unknown>(connection: Connection, message: Outgoing, call?: Call) =>
  (await connection.send(message, call)) as RestAnswer<T>;

type Handle = (req: IncomingMessage, res: ServerResponse, nth: number) => unknown;

/** A real server; `hits` are the requests that it was entered with. */
async function serve(handle: Handle, server: http.Server | https.Server = http.createServer()) {
  const hits: IncomingMessage[] = [];
  server.on('request', (req: IncomingMessage, res: ServerResponse) => {
    hits.push(req);
    handle(req, res, hits.length);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanUp.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  const { port } = server.address() as AddressInfo;
  return { url: `${server instanceof https.Server ? 'https' : 'http'}://127.0.0.1:${port}`, port, hits, server };
}

/** A real socket that does what no HTTP server would. `entered` counts requests, not sockets. */
async function rawServer(handle: (socket: Socket, request: string, nth: number) => void) {
  const sockets = new Set<Socket>();
  const state = { url: '', entered: 0 };
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('data', (chunk) => handle(socket, chunk.toString('latin1'), ++state.entered));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanUp.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  state.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return state;
}

/** An address where nobody listens. */
async function nowhere(): Promise<string> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return `http://127.0.0.1:${port}`;
}

const echo: Handle = async (req, res) => {
  const body = await text(req);
  const { method, url, headers } = req;
  res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ method, url, headers, body }));
};
interface Echo {
  method: string;
  url: string;
  headers: Record<string, string>;
  body: string;
}
const reply = (res: ServerResponse, status: number, body: unknown = {}, headers: http.OutgoingHttpHeaders = {}) =>
  res.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));

/** The peer of the kit: an HTTP server that can die and come back at the same port. */
class HttpPeer implements Peer {
  readonly #received: number[] = [];
  #port = 0;
  #server: http.Server | null = null;
  #held: (() => void)[] | null = null;
  #waiting: { count: number; tell: () => void }[] = [];

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }
  received() {
    return this.#received;
  }
  arrived(count: number) {
    return new Promise<void>((tell) => {
      this.#waiting.push({ count, tell });
      this.#tell();
    });
  }
  hold() {
    this.#held ??= [];
  }
  release() {
    const held = this.#held ?? [];
    this.#held = null;
    for (const answer of held) answer();
  }
  async die() {
    const server = this.#server;
    this.#server = null;
    if (server === null) return;
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  }
  async revive() {
    const server = http.createServer(async (req, res) => {
      if (req.method === 'HEAD') return res.end();
      const { n } = JSON.parse(await text(req)) as { n: number };
      this.#received.push(n);
      const answer = () => reply(res, 200, { n });
      if (this.#held === null) answer();
      else this.#held.push(answer);
      this.#tell();
      return undefined;
    });
    this.#server = server.listen(this.#port, '127.0.0.1');
    await once(server, 'listening');
    this.#port = (server.address() as AddressInfo).port;
  }
  stop() {
    return this.die();
  }
  #tell() {
    this.#waiting = this.#waiting.filter(({ count, tell }) => {
      if (this.#received.length < count) return true;
      tell();
      return false;
    });
  }
}

testConnection({
  name: 'transport.rest',
  async peer() {
    const peer = new HttpPeer();
    await peer.revive();
    return peer;
  },
  connect: (peer) => {
    const options = { url: (peer as HttpPeer).url, timeoutMs: 5000, retry: { attempts: 2, backoffMs: 5 } };
    return connect('kit', settle(options), { codecs, log: quiet });
  },
  message: (n) => ({ to: { method: 'PUT', path: '/n' }, body: { n } }),
  numberIn: (answer) => (answer as RestAnswer<{ n: number }>).body.n,
  unsendable: { to: { method: 'PUT', pth: '/n' } },
  giveUpMs: 3000,
  supports: { heals: true },
});

describe('transport.rest, outgoing', () => {
  describe('the address', () => {
    it('is the URL with its prefix, the path with its parameters, and the query', async () => {
      const { url } = await serve(echo);
      const crm = await open(`${url}/api/v1/`, { query: { key: 'a&b' } });
      const to = {
        path: '/customers/{id}/orders',
        params: { id: 7 },
        query: { expand: ['a', 'b c'], none: null, x: false },
      };
      const { body } = await ask<Echo>(crm, { to });
      expect(body.url).to.equal('/api/v1/customers/7/orders?key=a%26b&expand=a&expand=b%20c&x=false');
      expect(body.method).to.equal('GET');
    });

    it('falls back to path and method of the options, and may replace their query', async () => {
      const { url } = await serve(echo);
      const crm = await open(url, { path: '/things/{id}', method: 'DELETE', query: { v: '1' } });
      const { body } = await ask<Echo>(crm, { to: { params: { id: 'ü' }, query: { v: 2 } } });
      expect([body.method, body.url]).to.deep.equal(['DELETE', '/things/%C3%BC?v=2']);
    });

    it('needs nothing in the message: GET without a body, POST with one', async () => {
      const { url } = await serve(echo);
      const crm = await open(`${url}/only`);
      expect((await ask<Echo>(crm, {})).body).to.include({ method: 'GET', url: '/only' });
      expect((await ask<Echo>(crm, { body: { a: 1 } })).body).to.include({ method: 'POST', url: '/only' });
    });

    it('keeps what is encoded in the path, and encodes the rest', async () => {
      const { url } = await serve(echo);
      const crm = await open(url);
      expect((await ask<Echo>(crm, { to: { path: 'a b/%2F/ż"' } })).body.url).to.equal('/a%20b/%2F/%C5%BC%22');
    });

    it('cannot be changed by a value of a parameter, whatever is in it', async () => {
      const { url } = await serve(echo);
      const crm = await open(`${url}/p`);
      const value = fc.string({ minLength: 1, unit: 'grapheme' }).filter((s) => s !== '.' && s !== '..');
      await fc.assert(
        fc.asyncProperty(value, value, async (id, q) => {
          const { body } = await ask<Echo>(crm, { to: { path: '/c/{id}/end', params: { id }, query: { q } } });
          const [path = '', query = ''] = body.url.split('?');
          const parts = path.split('/');
          expect(parts.map((p) => decodeURIComponent(p))).to.deep.equal(['', 'p', 'c', id, 'end']);
          expect([...new URLSearchParams(query.replaceAll('+', '%2B'))]).to.deep.equal([['q', q]]);
        }),
        {
          numRuns: 200,
          examples: [
            ['../../admin', '&x=1'],
            ['a?b#c', '%00'],
            ['%2e%2e', '+'],
            ['a/b\\c', '\r\n'],
          ],
        },
      );
    });

    const wrong: readonly (readonly [title: string, to: Record<string, unknown>, hint: RegExp])[] = [
      ['an unknown key', { pth: '/x' }, /'to\.pth' is not known\. Did you mean 'path'/],
      ['a parameter without a value', { path: '/c/{id}' }, /'to\.params\.id' is missing/],
      ['an inherited property as a value', { path: '/c/{toString}', params: {} }, /toString' is missing/],
      ['an empty value', { path: '/c/{id}', params: { id: '' } }, /'to\.params\.id' is empty/],
      ['an object as a value', { path: '/c/{id}', params: { id: {} } }, /'to\.params\.id' must be/],
      ['a value without a place', { path: '/c', params: { id: 1 } }, /'to\.params\.id' has no place/],
      ["'..' as a value", { path: '/c/{id}/x', params: { id: '..' } }, /segment/],
      ["'.' as a value", { path: '/c/{id}', params: { id: '.' } }, /segment/],
      ["'..' out of two values", { path: '/c/{a}{b}', params: { a: '.', b: '.' } }, /segment/],
      ["'..' in the path", { path: '/c/../x' }, /segment/],
      ["'..' in the path, encoded", { path: '/c/%2E%2e/x' }, /segment/],
      ['a query in the path', { path: '/c?x=1' }, /to\.query/],
      ['a line break in the path', { path: '/c\r\nx: y' }, /to\.path/],
      ['half a brace', { path: '/c/{id' }, /\{ or \}/],
      ['half a character', { path: '/c/{id}', params: { id: '\ud800' } }, /surrogate/],
      ['a path that is no string', { path: 7 }, /to\.path/],
      ['an object in the query', { query: { a: { b: 1 } } }, /'to\.query\.a' must be/],
      ['a query that is a list', { query: ['a'] }, /'to\.query' must be/],
      ['a method that is none', { method: 'GET / HTTP/1.1\r\n' }, /to\.method/],
      ['CONNECT', { method: 'connect' }, /to\.method/],
      ['a status that is none', { accept: ['404'] }, /to\.accept/],
    ];
    for (const [title, to, hint] of wrong) {
      it(`is refused before anything is sent: ${title}`, async () => {
        const { url, hits } = await serve(echo);
        const error = await failure((await open(url)).send({ to }));
        expect(error.code).to.equal('OUTGOING_MALFORMED');
        expect(error.hint)
          .to.match(/^Connection 'crm': /)
          .and.match(hint);
        expect(hits.length).to.equal(0);
      });
    }
  });

  describe('headers', () => {
    it('are those of the connection, replaced by those of the message', async () => {
      const { url } = await serve(echo);
      const crm = await open(url, { headers: { 'X-Tenant': 't1', Accept: 'text/x-lines', 'X-Other': 'o' } });
      const { body } = await ask<Echo>(crm, { headers: { 'x-tenant': 't2' } });
      expect(body.headers).to.include({
        'x-tenant': 't2',
        accept: 'text/x-lines',
        'x-other': 'o',
        'user-agent': 'gantry',
      });
    });

    it("carry the call's id and trace, and nothing else of its caller", async () => {
      const { url } = await serve(echo);
      const crm = await open(url);
      const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
      const headers = {
        authorization: 'Bearer caller',
        cookie: 'sid=1',
        'x-api-key': 'k',
        'x-forwarded-for': '1.2.3.4',
      };
      const call = new Call('c', { cid: 'cid-1', traceparent, tracestate: 'a=b', headers });
      const sent = (await ask<Echo>(crm, {}, call)).body.headers;
      expect(sent).to.include({ 'x-correlation-id': 'cid-1', traceparent, tracestate: 'a=b' });
      expect(Object.keys(sent).sort()).to.deep.equal(
        [
          'accept',
          'accept-encoding',
          'connection',
          'host',
          'tracestate',
          'traceparent',
          'user-agent',
          'x-correlation-id',
        ].sort(),
      );
    });

    it('cannot be injected through the id of a call', async () => {
      const { url } = await serve(echo);
      const call = new Call('c', { cid: 'a\r\nx-evil: 1', traceparent: 'x\r\ny: z' });
      const { headers } = (await ask<Echo>(await open(url), {}, call)).body;
      expect(headers['x-correlation-id']).to.equal('a??x-evil: 1');
      expect(headers).not.to.have.any.keys('x-evil', 'traceparent', 'y');
    });

    const wrong: readonly (readonly [title: string, headers: Record<string, unknown>, hint: RegExp])[] = [
      ['a line break in a value', { 'x-a': 'b\r\nx-evil: 1' }, /'x-a'/],
      ['a lone line feed', { 'x-a': 'b\nc' }, /'x-a'/],
      ['a NUL', { 'x-a': 'b\0' }, /'x-a'/],
      ['a character beyond latin-1', { 'x-a': '€' }, /'x-a'/],
      ['a name with a line break', { 'x-a\r\nx-b': '1' }, /header name/],
      ['a number', { 'x-a': 1 }, /must be a string/],
      ['transfer-encoding', { 'Transfer-Encoding': 'chunked' }, /not for a message/],
      ['host', { host: 'other' }, /not for a message/],
      ['a length that is not ours', { 'content-length': '3' }, /not for a message/],
    ];
    for (const [title, headers, hint] of wrong) {
      it(`are refused: ${title}`, async () => {
        const { url, hits } = await serve(echo);
        const message = { headers, body: { a: 1 } } as unknown as Outgoing;
        const error = await failure((await open(url)).send(message));
        expect(error.code).to.equal('OUTGOING_MALFORMED');
        expect(error.hint).to.match(hint);
        expect(error.hint).not.to.contain('x-evil: 1');
        expect(hits.length).to.equal(0);
      });
    }

    const secured: readonly (readonly [security: object, header: string, value: string])[] = [
      [
        { kind: 'basic', username: 'ü', password: 'p:w' },
        'authorization',
        `Basic ${Buffer.from('ü:p:w').toString('base64')}`,
      ],
      [{ kind: 'bearer', token: 'tok' }, 'authorization', 'Bearer tok'],
      [{ kind: 'apikey', header: 'X-Key', key: 'k1' }, 'x-key', 'k1'],
    ];
    for (const [security, header, value] of secured) {
      it(`carry the credentials, and no message can replace them: ${JSON.stringify(security)}`, async () => {
        const { url } = await serve(echo);
        const crm = await open(url, { security });
        const { headers } = (await ask<Echo>(crm, { headers: { [header.toUpperCase()]: 'mine' } })).body;
        expect(headers[header]).to.equal(value);
      });
    }
    it('carry no credentials with kind none', async () => {
      const { url } = await serve(echo);
      const { headers } = (await ask<Echo>(await open(url, { security: { kind: 'none' } }), {})).body;
      expect(headers).not.to.have.property('authorization');
    });
  });

  describe('the body of a request', () => {
    const sent: readonly (readonly [title: string, message: Outgoing, type: string | undefined, body: string])[] = [
      ['a value is written by the format of the connection', { body: { a: 'ż' } }, 'application/json', '{"a":"ż"}'],
      ['a list, too', { body: [1] }, 'application/json', '[1]'],
      ['false and 0 are values', { body: 0 }, 'application/json', '0'],
      [
        'a content type chooses the codec',
        { body: { a: 1 }, headers: { 'Content-Type': 'text/x-lines' } },
        'text/x-lines',
        'a=1',
      ],
      [
        'a +json type is JSON',
        { body: { a: 1 }, headers: { 'content-type': 'application/merge-patch+json' } },
        'application/merge-patch+json',
        '{"a":1}',
      ],
      ['text is sent as it is', { body: 'a=b' }, 'text/plain; charset=utf-8', 'a=b'],
      ['bytes are sent as they are', { body: Buffer.from('xy') }, 'application/octet-stream', 'xy'],
      [
        'bytes may have a type',
        { body: Buffer.from('<a/>'), headers: { 'content-type': 'text/xml' } },
        'text/xml',
        '<a/>',
      ],
      ['a stream is sent as it comes', { body: Readable.from(['a', 'b']) }, 'application/octet-stream', 'ab'],
      ['null is no body', { to: { method: 'POST' }, body: null }, undefined, ''],
    ];
    for (const [title, message, type, body] of sent) {
      it(title, async () => {
        const { url } = await serve(echo);
        const got = (await ask<Echo>(await open(url), message)).body;
        expect([got.headers['content-type'], got.body]).to.deep.equal([type, body]);
      });
    }

    it('of a stream may name its length', async () => {
      const { url } = await serve(echo);
      const message = { body: Readable.from([Buffer.from('abc')]), headers: { 'content-length': '3' } };
      const { headers, body } = (await ask<Echo>(await open(url), message)).body;
      expect([headers['content-length'], headers['transfer-encoding'], body]).to.deep.equal(['3', undefined, 'abc']);
    });

    it('is refused where no codec writes its type', async () => {
      const { url, hits } = await serve(echo);
      const message = { body: { a: 1 }, headers: { 'content-type': 'image/png' } };
      expect((await failure((await open(url)).send(message))).hint).to.match(/content-type/);
      expect(hits.length).to.equal(0);
    });

    it('is refused where the codec cannot write it', async () => {
      const { url, hits } = await serve(echo);
      const error = await failure((await open(url, { format: 'lines' })).send({ body: 5 }));
      expect(error.code).to.equal('OUTGOING_MALFORMED');
      expect((error.cause as GantryError).code).to.equal('OUTPUT_INVALID');
      expect(hits.length).to.equal(0);
    });

    it('that fails while it is streamed is the failure of the service, not of the other side', async () => {
      const { url, hits } = await serve(echo);
      const broken = new Error('disk');
      const body = Readable.from(
        (async function* () {
          yield 'a';
          await once(process, 'restTestGo');
          throw broken;
        })(),
      );
      const outcome = failure((await open(url)).send({ body }));
      while (hits.length === 0) await new Promise(setImmediate);
      process.emit('restTestGo' as never);
      const error = await outcome;
      expect([error.code, error.cause]).to.deep.equal(['OUTGOING_MALFORMED', broken]);
    });

    it('that failed before is told at once', async () => {
      const { url, hits } = await serve(echo);
      const body = new PassThrough();
      body.on('error', () => {});
      body.destroy(new Error('gone'));
      await new Promise((resolve) => body.once('close', resolve));
      expect((await failure((await open(url)).send({ body }))).code).to.equal('OUTGOING_MALFORMED');
      expect(hits.length).to.equal(0);
    });

    it('that is a stream is destroyed when it is not sent', async () => {
      const crm = await open(await nowhere());
      const [refused, unreached] = [new PassThrough(), new PassThrough()];
      await failure(crm.send({ to: { nonsense: 1 }, body: refused }));
      await failure(crm.send({ body: unreached }));
      expect([refused.destroyed, unreached.destroyed]).to.deep.equal([true, true]);
    });

    it('that is a stream cannot end the process by failing late', async () => {
      const { url } = await serve((_, res) => reply(res, 200));
      const body = new PassThrough();
      body.write('a');
      await (await open(url)).send({ body });
      body.emit('error', new Error('late'));
    });
  });

  describe('an answer', () => {
    it('has status, headers and the decoded body', async () => {
      const { url } = await serve((_, res) =>
        reply(res, 201, { a: 1 }, { 'X-One': '1', 'Set-Cookie': ['a=1', 'b=2'] }),
      );
      const { status, headers, body } = await ask(await open(url), {});
      expect([status, body]).to.deep.equal([201, { a: 1 }]);
      expect(headers).to.include({ 'x-one': '1' });
      expect(headers['set-cookie']).to.deep.equal(['a=1', 'b=2']);
    });

    it('is decoded by its own content type, with its parameters', async () => {
      const { url } = await serve((_, res) =>
        res.writeHead(200, { 'content-type': 'Text/X-Lines ; charset=utf-8' }).end('a=1'),
      );
      expect((await ask(await open(url), {})).body).to.deep.equal({ a: '1', parameters: 'charset=utf-8' });
    });

    it('is decoded by the format of the connection where its type is missing or unknown', async () => {
      const { url } = await serve((req, res) => {
        if (req.url === '/unknown') res.setHeader('content-type', 'image/x-what');
        res.end('{"a":1}');
      });
      const crm = await open(url);
      expect((await ask(crm, { to: { path: '/unknown' } })).body).to.deep.equal({ a: 1 });
      expect((await ask(crm, { to: { path: '/missing' } })).body).to.deep.equal({ a: 1 });
    });

    const empty: readonly (readonly [method: string, status: number, headers: http.OutgoingHttpHeaders])[] = [
      ['GET', 204, {}],
      ['GET', 304, { etag: '"1"' }],
      ['GET', 200, { 'content-length': '0' }],
      ['HEAD', 200, { 'content-length': '99999999', 'content-encoding': 'gzip' }],
      ['GET', 302, { location: '/elsewhere' }],
    ];
    for (const [method, status, headers] of empty) {
      it(`may have no body: ${status} to ${method} ${JSON.stringify(headers)}`, async () => {
        const { url, hits } = await serve((_, res) => res.writeHead(status, headers).end());
        const answer = await ask(await open(url), { to: { method } });
        expect([answer.status, answer.body]).to.deep.equal([status, null]);
        expect(answer.headers).to.include(headers);
        expect(hits.length).to.equal(1);
      });
    }

    it('comes after informational ones', async () => {
      const { url } = await serve((_, res) => {
        res.writeEarlyHints({ link: '</a.css>; rel=preload' });
        reply(res, 200, { a: 1 });
      });
      const crm = await open(url);
      expect(await ask(crm, {})).to.deep.include({ status: 200, body: { a: 1 } });
      const streamed = await ask<Readable>(crm, { to: { stream: true } });
      expect([streamed.status, await text(streamed.body)]).to.deep.equal([200, '{"a":1}']);
    });

    const packed: readonly (readonly [encoding: string, pack: (plain: Buffer) => Buffer])[] = [
      ['gzip', (b) => gzipSync(b)],
      ['BR', (b) => brotliCompressSync(b)],
      ['deflate', (b) => deflateSync(b)],
      ['gzip, br', (b) => brotliCompressSync(gzipSync(b))],
      ['identity', (b) => b],
    ];
    for (const [encoding, pack] of packed) {
      it(`is unpacked: ${encoding}`, async () => {
        const { url, hits } = await serve((_, res) => {
          const headers = { 'content-type': 'application/json', 'content-encoding': encoding };
          res.writeHead(200, headers).end(pack(Buffer.from('{"a":1}')));
        });
        expect((await ask(await open(url), {})).body).to.deep.equal({ a: 1 });
        expect(hits[0]?.headers['accept-encoding']).to.equal('gzip, br');
      });
    }
    it('is not asked for in packed form with compress: false', async () => {
      const { url, hits } = await serve((_, res) => reply(res, 200));
      await (await open(url, { compress: false })).send({});
      expect(hits[0]?.headers).not.to.have.property('accept-encoding');
    });

    const unreadable: readonly (readonly [title: string, handle: (res: ServerResponse) => void, hint: RegExp])[] = [
      [
        'malformed JSON',
        (res) => res.writeHead(200, { 'content-type': 'application/json' }).end('{"secret":"s3'),
        /INPUT_MALFORMED/,
      ],
      ['JSON too deep', (res) => res.end('['.repeat(1000)), /INPUT_TOO_DEEP/],
      ['HTML', (res) => res.writeHead(200, { 'content-type': 'text/html' }).end('<p>s3'), /to\.stream/],
      ['a length over the limit', (res) => res.end(Buffer.alloc(2000, 's3')), /more than 1000 bytes/],
      [
        'chunks over the limit',
        (res) => {
          res.write(Buffer.alloc(900));
          res.end(Buffer.alloc(101));
        },
        /more than 1000 bytes/,
      ],
      [
        'a gzip bomb',
        (res) => res.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(Buffer.alloc(1_000_00))),
        /more than 1000 bytes/,
      ],
      [
        'a brotli bomb',
        (res) => res.writeHead(200, { 'content-encoding': 'br' }).end(brotliCompressSync(Buffer.alloc(50_000_000))),
        /more than 1000 bytes/,
      ],
      [
        'a bomb in a bomb',
        (res) => res.writeHead(200, { 'content-encoding': 'gzip, gzip' }).end(gzipSync(gzipSync(Buffer.alloc(50_000)))),
        /more than 1000 bytes/,
      ],
      ['gzip that is none', (res) => res.writeHead(200, { 'content-encoding': 'gzip' }).end('s3'), /broken/],
      [
        'half a gzip',
        (res) => res.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync('{"a":1}').subarray(0, 15)),
        /broken/,
      ],
      ['an encoding that nobody knows', (res) => res.writeHead(200, { 'content-encoding': 'zz' }).end('s3'), /"zz"/],
      ['packed too often', (res) => res.writeHead(200, { 'content-encoding': 'br,br,br,br' }).end('s3'), /4 times/],
      ['headers over undici’s limit', (res) => res.writeHead(200, { 'x-big': 's3'.repeat(10_000) }).end(), /headers/],
    ];
    for (const [title, handle, hint] of unreadable) {
      it(`that cannot be read rejects, and leaves the connection usable: ${title}`, async () => {
        const { url, hits } = await serve((req, res) => (req.url === '/fine' ? reply(res, 200, 'fine') : handle(res)));
        const crm = await open(url, { maxReplyBytes: 1000, pool: { connections: 1 } });
        const error = await failure(crm.send({ to: { path: '/{id}', params: { id: 'personal' } } }));
        expect([error.code, error.retryable]).to.deep.equal(['OUTGOING_MALFORMED', false]);
        expect(error.hint)
          .to.match(/^Connection 'crm': GET \/\{id\} /)
          .and.match(hint);
        expect(error.message).not.to.match(/s3|crm|personal/);
        expect(error.hint).not.to.match(/s3|personal/);
        expect(hits.length).to.equal(1);
        expect((await ask(crm, { to: { path: '/fine' } })).body).to.equal('fine');
      });
    }

    it('just within the limit is taken', async () => {
      const { url } = await serve((_, res) => res.end(`"${'x'.repeat(998)}"`));
      expect((await ask<string>(await open(url, { maxReplyBytes: 1000 }), {})).body.length).to.equal(998);
    });

    it('that is larger than the limit is cut off on the wire', async () => {
      let wrote = 0;
      const { url } = await serve((_, res) => {
        const more = () => {
          while (wrote < 1e9 && res.write(Buffer.alloc(65_536))) wrote += 65_536;
          res.once('drain', more);
        };
        more();
      });
      const error = await failure((await open(url, { maxReplyBytes: 100_000 })).send({}));
      expect(error.hint).to.match(/100000 bytes/);
      expect(wrote).to.be.below(50_000_000);
    });
  });

  describe('a status', () => {
    const table: readonly (readonly [status: number, code: string, retryable: boolean])[] = [
      [400, 'OUTGOING_REJECTED', false],
      [401, 'OUTGOING_REJECTED', false],
      [404, 'OUTGOING_REJECTED', false],
      [422, 'OUTGOING_REJECTED', false],
      [429, 'OUTGOING_UNAVAILABLE', true],
      [500, 'OUTGOING_REJECTED', false],
      [501, 'OUTGOING_REJECTED', false],
      [502, 'OUTGOING_UNAVAILABLE', true],
      [503, 'OUTGOING_UNAVAILABLE', true],
      [504, 'OUTGOING_UNAVAILABLE', true],
    ];
    for (const [status, code, retryable] of table) {
      it(`${status} rejects with ${code}, with the answer beside it`, async () => {
        const { url } = await serve((_, res) => reply(res, status, { why: 's3' }, { 'x-a': '1' }));
        const error = await failure((await open(url, { retry: { attempts: 1 } })).send({}));
        expect([error.code, error.retryable]).to.deep.equal([code, retryable]);
        const answer = error.answer as RestAnswer;
        expect([answer.status, answer.body, answer.headers['x-a']]).to.deep.equal([status, { why: 's3' }, '1']);
        expect(error.hint).to.equal(`Connection 'crm': GET / was answered ${status}.`);
        expect(error.message).not.to.contain('s3');
      });
      it(`${status} resolves where the message accepts it, and is not tried again`, async () => {
        const { url, hits } = await serve((_, res) => reply(res, status, { why: 1 }));
        const answer = await ask(await open(url), { to: { accept: [status] } });
        expect([answer.status, answer.body, hits.length]).to.deep.equal([status, { why: 1 }, 1]);
      });
    }

    const bodies: readonly (readonly [title: string, handle: (res: ServerResponse) => void, body: unknown])[] = [
      ['a page of HTML is text', (res) => res.writeHead(400, { 'content-type': 'text/html' }).end('<p>no'), '<p>no'],
      [
        'packed HTML, too',
        (res) => res.writeHead(400, { 'content-type': 'text/html', 'content-encoding': 'gzip' }).end(gzipSync('<p>')),
        '<p>',
      ],
      ['malformed JSON is nothing', (res) => res.writeHead(400, { 'content-type': 'application/json' }).end('{'), null],
      ['one over the limit is nothing', (res) => res.writeHead(400).end(Buffer.alloc(2000)), null],
      [
        'a bomb is nothing',
        (res) => res.writeHead(400, { 'content-encoding': 'gzip' }).end(gzipSync(Buffer.alloc(100_000))),
        null,
      ],
      [
        'half a body is nothing',
        (res) => {
          res.writeHead(400, { 'content-length': 100 }).write('a');
          setTimeout(() => res.destroy(), 20);
        },
        null,
      ],
      ['no body is nothing', (res) => res.writeHead(400).end(), null],
    ];
    for (const [title, handle, body] of bodies) {
      it(`that rejects keeps what can be read of its body: ${title}`, async () => {
        const { url } = await serve((_, res) => handle(res));
        const error = await failure((await open(url, { maxReplyBytes: 1000 })).send({}));
        expect(error.code).to.equal('OUTGOING_REJECTED');
        expect((error.answer as RestAnswer).body).to.deep.equal(body);
      });
    }

    const inMs = (ms: number) => () => new Date(Date.now() + ms).toUTCString();
    const waits: readonly (readonly [title: string, value: () => string, least: number | undefined, most: number])[] = [
      ['7', () => '7', 7000, 7000],
      ['0', () => '0', 0, 0],
      ['a date to come', inMs(60_000), 50_000, 60_000],
      ['a date that is over', inMs(-60_000), 0, 0],
      ['an age', () => '99999999999999999999', 86_400_000, 86_400_000],
      ['-5', () => '-5', undefined, 0],
      ['soon', () => 'soon', undefined, 0],
    ];
    for (const [title, value, least, most] of waits) {
      it(`503 with Retry-After: ${title} tells the time`, async () => {
        const { url } = await serve((_, res) => reply(res, 503, {}, { 'retry-after': value() }));
        const { retryAfterMs } = await failure((await open(url, { retry: { attempts: 1 } })).send({}));
        if (least === undefined) expect(retryAfterMs).to.equal(undefined);
        else expect(retryAfterMs).to.be.within(least, most);
      });
    }
  });

  describe('trying again', () => {
    const methods: readonly (readonly [method: string, headers: Record<string, string>, times: number])[] = [
      ['GET', {}, 3],
      ['HEAD', {}, 3],
      ['PUT', {}, 3],
      ['DELETE', {}, 3],
      ['OPTIONS', {}, 3],
      ['POST', {}, 1],
      ['PATCH', {}, 1],
      ['POST', { 'Idempotency-Key': 'k1' }, 3],
      ['PATCH', { 'idempotency-key': 'k1' }, 3],
    ];
    for (const [method, headers, times] of methods) {
      const title = `${method} ${JSON.stringify(headers)} is sent ${times} times`;
      const to = { method };
      const body = method === 'POST' || method === 'PUT' ? { a: 1 } : null;

      it(`${title} to a server that answers 502`, async () => {
        const { url, hits } = await serve((_, res) => reply(res, 502));
        const error = await failure((await open(url)).send({ to, headers, body }));
        expect([error.code, hits.length]).to.deep.equal(['OUTGOING_UNAVAILABLE', times]);
      });
      it(`${title} to one that answers 503 without a time`, async () => {
        const { url, hits } = await serve((_, res) => reply(res, 503));
        await failure((await open(url)).send({ to, headers, body }));
        expect(hits.length).to.equal(times);
      });
      it(`${title} to a socket that resets once it has the request`, async () => {
        const server = await rawServer((socket) => socket.resetAndDestroy());
        const error = await failure((await open(server.url)).send({ to, headers, body: null }));
        expect([error.code, server.entered]).to.deep.equal(['OUTGOING_UNAVAILABLE', times]);
      });
      it(`${title} to one that closes in the middle of the reply`, async () => {
        const half = 'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf';
        const server = await rawServer((socket) => socket.end(method === 'HEAD' ? 'HTTP/1.1 200' : half));
        const error = await failure((await open(server.url)).send({ to, headers, body: null }));
        expect([error.code, server.entered]).to.deep.equal(['OUTGOING_UNAVAILABLE', times]);
      });
      it(`${title} to one that does not answer within headersTimeoutMs`, async () => {
        const server = await rawServer(() => {});
        const error = await failure(
          (await open(server.url, { headersTimeoutMs: 30 })).send({ to, headers, body: null }),
        );
        expect([error.code, server.entered]).to.deep.equal(['OUTGOING_TIMEOUT', times]);
      });
      it(`${method} ${JSON.stringify(headers)} is sent 3 times to a server that says when to come back`, async () => {
        const { url, hits } = await serve((_, res) => reply(res, 429, {}, { 'retry-after': '0' }));
        await failure((await open(url)).send({ to, headers, body }));
        expect(hits.length).to.equal(3);
      });
    }

    it('ends with the first good answer', async () => {
      const { url, hits } = await serve((_, res, nth) => reply(res, nth < 3 ? 503 : 200, { nth }));
      expect((await ask(await open(url), {})).body).to.deep.equal({ nth: 3 });
      expect(hits.length).to.equal(3);
    });

    it('sends the same again: method, path, headers, body', async () => {
      const seen: string[] = [];
      const { url } = await serve(async (req, res, nth) => {
        const { method, url: path, headers } = req;
        seen.push(JSON.stringify([method, path, headers, await text(req)]));
        reply(res, nth < 3 ? 502 : 200);
      });
      const message = { to: { path: '/a', query: { q: 1 } }, headers: { 'idempotency-key': 'k' }, body: { a: 1 } };
      await (await open(url)).send(message, new Call('c', {}));
      expect(seen.length).to.equal(3);
      expect(new Set(seen).size).to.equal(1);
    });

    it('does not happen for what a retry does not mend', async () => {
      const { url, hits } = await serve((_, res) => reply(res, 500));
      await failure((await open(url)).send({}));
      expect(hits.length).to.equal(1);
    });

    it('does not happen with attempts: 1, and happens for the statuses of the options', async () => {
      const { url, hits } = await serve((req, res) => reply(res, Number(req.url?.slice(1))));
      await failure((await open(url, { retry: { attempts: 1 } })).send({ to: { path: '/503' } }));
      expect(hits.length).to.equal(1);
      const crm = await open(url, { retry: { attempts: 5, statuses: [500], backoffMs: 1 } });
      expect((await failure(crm.send({ to: { path: '/500' } }))).code).to.equal('OUTGOING_REJECTED');
      expect(hits.length).to.equal(6);
      await failure(crm.send({ to: { path: '/503' } }));
      expect(hits.length).to.equal(7);
    });

    it('never happens with a streamed body', async () => {
      const { url, hits } = await serve((req, res) =>
        req.resume().on('end', () => reply(res, 503, {}, { 'retry-after': '0' })),
      );
      await failure((await open(url)).send({ to: { method: 'PUT' }, body: Readable.from(['a']) }));
      expect(hits.length).to.equal(1);
    });

    it('happens for a POST that cannot have arrived', async () => {
      const url = await nowhere();
      const late = http.createServer((_, res) => reply(res, 200, 'late'));
      cleanUp.push(() => late.closeAllConnections());
      cleanUp.push(() => late.close());
      const tries: number[] = [];
      const log = { ...quiet, debug: (fields: object) => void tries.push((fields as { attempt: number }).attempt) };
      const crm = await connect('crm', settle({ url, retry: { attempts: 50, backoffMs: 20, maxBackoffMs: 20 } }), {
        codecs,
        log,
      });
      cleanUp.push(() => crm.close());
      const answer = ask(crm, { body: { a: 1 } });
      while (tries.length < 2) await new Promise(setImmediate);
      late.listen(Number(new URL(url).port), '127.0.0.1');
      expect((await answer).body).to.equal('late');
    });

    it('waits as long as Retry-After says', async () => {
      const times: number[] = [];
      const { url } = await serve((_, res, nth) => {
        times.push(performance.now());
        if (nth === 1) reply(res, 503, {}, { 'retry-after': '1' });
        else reply(res, 200);
      });
      await (await open(url)).send({ body: {} });
      const [first = 0, second = 0] = times;
      expect(second - first).to.be.within(980, 1800);
    });

    it('does not happen where Retry-After does not fit the deadline: the caller is told at once', async () => {
      const { url, hits } = await serve((_, res) => reply(res, 503, {}, { 'retry-after': '60' }));
      const startedAt = performance.now();
      const error = await failure((await open(url, { timeoutMs: 3000 })).send({}));
      expect([error.code, error.retryAfterMs, hits.length]).to.deep.equal(['OUTGOING_UNAVAILABLE', 60_000, 1]);
      expect(performance.now() - startedAt).to.be.below(2500);
    });

    it('never goes past the deadline', async () => {
      const { url } = await serve((_, res) => reply(res, 503));
      const crm = await open(url, { timeoutMs: 200, retry: { attempts: 100, backoffMs: 30, maxBackoffMs: 30 } });
      const startedAt = performance.now();
      expect((await failure(crm.send({}))).retryable).to.equal(true);
      expect(performance.now() - startedAt).to.be.below(2500);
    });

    for (const when of ['before', 'during'] as const) {
      it(`is interrupted by the end of the call, ${when} the wait`, async () => {
        const { url, hits } = await serve((_, res) => reply(res, 503, {}, { 'retry-after': '5' }));
        const call = new Call('c', {});
        const abort = () => call.abort(undefined);
        const log = { ...quiet, debug: () => void (when === 'before' ? abort() : setImmediate(abort)) };
        const crm = await connect('crm', settle({ url }), { codecs, log });
        cleanUp.push(() => crm.close());
        const startedAt = performance.now();
        expect((await failure(crm.send({}, call))).code).to.equal('CALL_ABORTED');
        expect(performance.now() - startedAt).to.be.below(3000);
        expect(hits.length).to.equal(1);
      });
    }

    it('holds for a whole burst: 200 at once through a server that fails each first time', async () => {
      const first = new Set<string>();
      const { url, hits } = await serve((req, res) => {
        const key = req.url ?? '';
        if (first.has(key)) reply(res, 200, key);
        else {
          first.add(key);
          reply(res, 503);
        }
      });
      const crm = await open(url);
      const all = Array.from({ length: 200 }, (_, n) => ask(crm, { to: { path: `/${n}` } }));
      for (const [n, { body }] of (await Promise.all(all)).entries()) expect(body).to.equal(`/${n}`);
      expect(hits.length).to.equal(400);
    });
  });

  describe('a socket', () => {
    it('that speaks no HTTP is an answer that cannot be read', async () => {
      const server = await rawServer((socket) => socket.end('220 mail.example ESMTP\r\n'));
      const error = await failure((await open(server.url)).send({}));
      expect([error.code, server.entered]).to.deep.equal(['OUTGOING_MALFORMED', 1]);
    });

    const cut: readonly (readonly [title: string, sent: string, code: string])[] = [
      ['nothing', '', 'OUTGOING_UNAVAILABLE'],
      ['half a status line', 'HTTP/1.1 2', 'OUTGOING_UNAVAILABLE'],
      ['half of its headers', 'HTTP/1.1 200 OK\r\nconnection: close\r\ncont', 'OUTGOING_UNAVAILABLE'],
      [
        'less than it promised',
        'HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 9\r\n\r\nhalf',
        'OUTGOING_UNAVAILABLE',
      ],
      ['half a chunk', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10\r\nhalf', 'OUTGOING_UNAVAILABLE'],
      [
        'half a chunk, and says close',
        'HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n10\r\nhalf',
        'OUTGOING_UNAVAILABLE',
      ],
      [
        'a chunk without a size',
        'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhalf',
        'OUTGOING_MALFORMED',
      ],
    ];
    for (const [title, sent, code] of cut) {
      it(`that ends after ${title} rejects with ${code}`, async () => {
        const server = await rawServer((socket) => socket.end(sent));
        const error = await failure((await open(server.url)).send({ to: { method: 'POST' } }));
        expect([error.code, server.entered]).to.deep.equal([code, 1]);
      });
    }

    it('to a host without a name says so', async () => {
      const error = await failure((await open('http://no-such-host.invalid', { retry: { attempts: 1 } })).send({}));
      expect(error.code).to.equal('OUTGOING_UNAVAILABLE');
      expect(error.hint).to.match(/Connection 'crm': GET \/ (found no address|got no answer from the name server)/);
    });

    it('that nobody answers says so', async () => {
      const error = await failure((await open(await nowhere())).send({}));
      expect(error.hint).to.match(/nobody listening/);
    });

    it('that is not opened in time is given up after connectTimeoutMs', async () => {
      const server = await rawServer(() => {});
      const crm = await open(server.url.replace('http', 'https'), {
        connectTimeoutMs: 100,
        retry: { attempts: 2, backoffMs: 1 },
      });
      const startedAt = performance.now();
      const error = await failure(crm.send({ body: {} }));
      expect(error.code).to.equal('OUTGOING_UNAVAILABLE');
      expect(error.hint).to.match(/connectTimeoutMs/);
      expect(performance.now() - startedAt).to.be.within(190, 6000);
    });

    it('is kept for the next message', async () => {
      const { url, hits } = await serve((_, res) => reply(res, 200));
      const crm = await open(url);
      for (let n = 0; n < 20; n++) await crm.send({});
      // Two, since undici frees a socket a turn after it answered.
      expect(new Set(hits.map((hit) => hit.socket)).size).to.be.at.most(2);
    });

    it('is one of at most so many', async () => {
      let now = 0;
      let most = 0;
      const { url } = await serve((_, res) => {
        most = Math.max(most, ++now);
        setTimeout(() => {
          now--;
          reply(res, 200);
        }, 5);
      });
      const crm = await open(url, { pool: { connections: 3 } });
      await Promise.all(Array.from({ length: 30 }, () => crm.send({})));
      expect(most).to.equal(3);
    });

    it('that is busy does not keep a waiting message past its time, nor send it afterwards', async () => {
      const { url, hits } = await serve((req, res) => (req.url === '/third' ? reply(res, 200) : undefined));
      const crm = await open(url, { pool: { connections: 1 } });
      const first = failure(crm.send({ timeoutMs: 3000 }));
      const startedAt = performance.now();
      expect((await failure(crm.send({ timeoutMs: 50, to: { path: '/second' } }))).code).to.equal('OUTGOING_TIMEOUT');
      expect(performance.now() - startedAt).to.be.below(2500);
      await first;
      await crm.send({ to: { path: '/third' } });
      expect(hits.map((hit) => hit.url)).to.deep.equal(['/', '/third']);
    });

    it('that stalls in the middle of the reply ends with the deadline', async () => {
      const { url } = await serve((_, res) => res.writeHead(200, { 'content-length': 10 }).write('a'));
      const error = await failure((await open(url, { timeoutMs: 100 })).send({}));
      expect(error.code).to.equal('OUTGOING_TIMEOUT');
    });

    it('that trickles ends with the deadline, too', async () => {
      const { url } = await serve((_, res) => {
        const timer = setInterval(() => res.write(' '), 10);
        res.on('close', () => clearInterval(timer));
      });
      const startedAt = performance.now();
      expect((await failure((await open(url, { timeoutMs: 150 })).send({}))).code).to.equal('OUTGOING_TIMEOUT');
      expect(performance.now() - startedAt).to.be.below(5000);
    });

    it('is not reused after an answer that never ended', async () => {
      const { url } = await serve((req, res) => (req.url === '/fine' ? reply(res, 200, 'fine') : res.write('{"a":')));
      const crm = await open(url, { pool: { connections: 1 } });
      await failure(crm.send({ timeoutMs: 50 }));
      expect((await ask(crm, { to: { path: '/fine' } })).body).to.equal('fine');
    });
  });

  describe('the time of a message', () => {
    it('is at most that of the options, whatever the message says', async () => {
      const { url } = await serve(() => {});
      const startedAt = performance.now();
      const error = await failure((await open(url, { timeoutMs: 80 })).send({ timeoutMs: 60_000 }));
      expect(error.code).to.equal('OUTGOING_TIMEOUT');
      expect(performance.now() - startedAt).to.be.below(5000);
    });
    for (const timeoutMs of [0, -1, Number.NaN, 'soon' as unknown as number]) {
      it(`must be one: ${timeoutMs}`, async () => {
        const { url } = await serve(echo);
        expect((await failure((await open(url)).send({ timeoutMs }))).code).to.equal('OUTGOING_MALFORMED');
      });
    }
  });

  describe('a streamed reply', () => {
    const body = Buffer.alloc(3_000_000, 'abcdefghij');
    it('is handed on as it comes, beyond the limit', async () => {
      const { url } = await serve((_, res) => res.end(body));
      const answer = await ask<Readable>(await open(url, { maxReplyBytes: 1000 }), { to: { stream: true } });
      expect((await buffer(answer.body)).equals(body)).to.equal(true);
    });

    for (const [encoding, pack] of [['gzip', gzipSync] as const, ['br', brotliCompressSync] as const]) {
      it(`is unpacked: ${encoding}`, async () => {
        const { url } = await serve((_, res) => res.writeHead(200, { 'content-encoding': encoding }).end(pack(body)));
        const answer = await ask<Readable>(await open(url), { to: { stream: true } });
        expect((await buffer(answer.body)).equals(body)).to.equal(true);
      });
    }

    it('is not read faster than its reader', async () => {
      let wrote = 0;
      const { url } = await serve((_, res) => {
        const more = () => {
          while (wrote < 200_000_000 && !res.destroyed && res.write(Buffer.alloc(65_536))) wrote += 65_536;
          if (wrote < 200_000_000) res.once('drain', more);
        };
        more();
      });
      const answer = await ask<Readable>(await open(url), { to: { stream: true } });
      await once(answer.body, 'readable');
      await new Promise((resolve) => setTimeout(resolve, 200));
      expect(answer.body.readableLength).to.be.below(1_000_000);
      expect(wrote).to.be.below(30_000_000);
      answer.body.destroy();
    });

    it('of a status that is not wanted rejects, with its body read', async () => {
      const { url } = await serve((_, res) => reply(res, 404, { why: 1 }));
      const error = await failure((await open(url)).send({ to: { stream: true } }));
      expect((error.answer as RestAnswer).body).to.deep.equal({ why: 1 });
    });

    it('of a status that is accepted is a stream', async () => {
      const { url } = await serve((_, res) => reply(res, 404, { why: 1 }));
      const answer = await ask<Readable>(await open(url), { to: { stream: true, accept: [404] } });
      expect(await text(answer.body)).to.equal('{"why":1}');
    });

    it('that nobody reads is destroyed when the time is up, and harms nobody', async () => {
      const { url } = await serve((_, res) => res.write('a'));
      const answer = await ask<Readable>(await open(url, { timeoutMs: 80 }), { to: { stream: true } });
      await new Promise((resolve) => answer.body.once('close', resolve));
      expect(answer.body.errored).to.have.property('code', 'OUTGOING_TIMEOUT');
      expect((await failure(text(answer.body))).code).to.equal('OUTGOING_TIMEOUT');
    });

    it('ends with the call', async () => {
      const { url } = await serve((_, res) =>
        res.writeHead(200, { 'content-encoding': 'gzip' }).write(gzipSync('abc').subarray(0, 12)),
      );
      const call = new Call('c', {});
      const answer = await ask<Readable>(await open(url), { to: { stream: true } }, call);
      const read = failure(text(answer.body));
      call.abort(new GantryError('CALL_TIMEOUT', 'late'));
      expect((await read).code).to.equal('CALL_TIMEOUT');
    });

    it('that is cut off fails, and does not just end', async () => {
      const server = await rawServer((socket) => {
        socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf');
        setTimeout(() => socket.destroy(), 20);
      });
      const answer = await ask<Readable>(await open(server.url), { to: { stream: true } });
      expect((await failure(text(answer.body))).code).to.equal('OUTGOING_UNAVAILABLE');
      expect(server.entered).to.equal(1);
    });

    it('that is packed and broken fails with OUTGOING_MALFORMED', async () => {
      const { url } = await serve((_, res) => res.writeHead(200, { 'content-encoding': 'gzip' }).end('no gzip at all'));
      const answer = await ask<Readable>(await open(url), { to: { stream: true } });
      expect((await failure(text(answer.body))).code).to.equal('OUTGOING_MALFORMED');
    });

    it('whose encoding nobody knows rejects, and gives the socket up', async () => {
      const { url, hits } = await serve((_, res) => res.writeHead(200, { 'content-encoding': 'zz' }).write('a'));
      const crm = await open(url, { pool: { connections: 1 } });
      expect((await failure(crm.send({ to: { stream: true } }))).code).to.equal('OUTGOING_MALFORMED');
      await crm.close();
      expect(hits.length).to.equal(1);
    });

    for (const encoding of ['identity', 'gzip']) {
      it(`that its reader closes gives the socket up (${encoding})`, async () => {
        const closed = new PassThrough();
        const { url } = await serve((_, res) => {
          res.on('close', () => closed.end());
          res
            .writeHead(200, { 'content-encoding': encoding })
            .write(encoding === 'gzip' ? gzipSync(body).subarray(0, 100) : 'a');
        });
        const crm = await open(url, { timeoutMs: 60_000 });
        const answer = await ask<Readable>(crm, { to: { stream: true } });
        answer.body.destroy();
        await buffer(closed);
        await crm.close();
      });
    }

    it('is in hand until it is read: close() waits for it', async () => {
      let finish = () => {};
      const { url } = await serve((_, res) => {
        res.write('first,');
        finish = () => res.end('last');
      });
      const crm = await open(url);
      const answer = await ask<Readable>(crm, { to: { stream: true } });
      let closed = false;
      const closing = crm.close().then(() => {
        closed = true;
      });
      await new Promise(setImmediate);
      expect(closed).to.equal(false);
      finish();
      expect(await text(answer.body)).to.equal('first,last');
      await closing;
    });
  });

  describe('a redirect', () => {
    const hop =
      (status: number, location: string): Handle =>
      (req, res) => {
        if (req.url === '/to' || req.url === '/api/to') return echo(req, res, 0);
        return res.writeHead(status, { location }).end('moved');
      };
    const table: readonly (readonly [status: number, method: string, then: string, body: string])[] = [
      [301, 'GET', 'GET', ''],
      [301, 'POST', 'GET', ''],
      [302, 'POST', 'GET', ''],
      [302, 'PUT', 'PUT', '{"a":1}'],
      [303, 'POST', 'GET', ''],
      [303, 'DELETE', 'GET', ''],
      [307, 'POST', 'POST', '{"a":1}'],
      [308, 'PUT', 'PUT', '{"a":1}'],
    ];
    for (const [status, method, then, body] of table) {
      it(`${status} to ${method} is followed with ${then}`, async () => {
        const { url } = await serve(hop(status, '/to#part'));
        const crm = await open(url, { followRedirects: 1, security: { kind: 'bearer', token: 't' } });
        const message = { to: { method }, ...(method === 'GET' ? {} : { body: { a: 1 } }) };
        const got = (await ask<Echo>(crm, message)).body;
        expect([got.method, got.url, got.body]).to.deep.equal([then, '/to', body]);
        expect(got.headers['content-type']).to.equal(body === '' ? undefined : 'application/json');
        expect(got.headers['authorization'], 'the same origin').to.equal('Bearer t');
      });
    }

    it('is an answer like others where none may be followed', async () => {
      const { url, hits } = await serve(hop(302, '/to'));
      const answer = await ask(await open(url), { to: { accept: [] } });
      // 'moved' is no JSON: the page that comes with a redirect is nice to have, and its place is in a header.
      expect([answer.status, answer.headers['location'], answer.body]).to.deep.equal([302, '/to', null]);
      const streamed = await ask<Readable>(await open(url), { to: { stream: true } });
      expect([streamed.status, streamed.headers['location'], await text(streamed.body)]).to.deep.equal([
        302,
        '/to',
        'moved',
      ]);
      expect(hits.length).to.equal(2);
    });

    it('is resolved against where it came from, not against the connection', async () => {
      const { url } = await serve(hop(302, 'to'));
      expect(
        (await ask<Echo>(await open(`${url}/api`, { followRedirects: 1 }), { to: { path: '/from' } })).body.url,
      ).to.equal('/api/to');
    });

    it('that leads in a loop ends', async () => {
      const { url, hits } = await serve((_, res) => res.writeHead(302, { location: '/again' }).end());
      const error = await failure((await open(url, { followRedirects: 4 })).send({}));
      expect([error.code, hits.length]).to.deep.equal(['OUTGOING_REJECTED', 5]);
      expect(error.hint).to.match(/more than 4 times/);
    });

    it('to another origin takes no credentials, no headers of the connection, no cookies along, and back neither', async () => {
      const other = await serve((req, res) =>
        req.url === '/bounce' ? res.writeHead(307, { location: `${home.url}/back` }).end() : echo(req, res, 0),
      );
      const home = await serve((req, res) =>
        req.url === '/back' ? echo(req, res, 0) : res.writeHead(307, { location: `${other.url}${req.url}` }).end(),
      );
      const crm = await open(home.url, {
        followRedirects: 3,
        headers: { 'x-tenant': 't', 'x-token': 's3' },
        security: { kind: 'apikey', header: 'x-key', key: 's3' },
        query: { secret: 's3' },
      });
      for (const path of ['/plain', '/bounce']) {
        const headers = { authorization: 's3', cookie: 's3', 'x-auth': 's3', 'accept-language': 'pl' };
        const message = { to: { path, query: { secret: null } }, headers, body: { a: 1 } };
        const got = (await ask<Echo>(crm, message, new Call('c', { cid: 'cid-1' }))).body;
        expect(JSON.stringify(got)).not.to.contain('s3');
        expect(got.headers).not.to.have.any.keys('x-tenant', 'x-key', 'authorization', 'cookie', 'x-auth');
        expect(got.headers).to.include({
          'accept-language': 'pl',
          'x-correlation-id': 'cid-1',
          'content-type': 'application/json',
        });
        expect([got.method, got.body]).to.deep.equal(['POST', '{"a":1}']);
      }
    });

    for (const location of ['file:///etc/passwd', 'http://', 'ftp://127.0.0.1/']) {
      it(`to ${location} is not followed`, async () => {
        const { url } = await serve((_, res) => res.writeHead(302, { location }).end());
        const error = await failure((await open(url, { followRedirects: 3 })).send({}));
        expect(error.code).to.be.oneOf(['OUTGOING_REJECTED', 'OUTGOING_MALFORMED']);
      });
    }

    it('of a streamed body is not followed', async () => {
      const { url, hits } = await serve((req, res) => req.resume().on('end', () => hop(307, '/to')(req, res, 0)));
      const error = await failure((await open(url, { followRedirects: 3 })).send({ body: Readable.from(['a']) }));
      expect([error.code, hits.length]).to.deep.equal(['OUTGOING_REJECTED', 1]);
    });

    it('ends in a stream where one is asked for', async () => {
      const { url } = await serve(hop(302, '/to'));
      const answer = await ask<Readable>(await open(url, { followRedirects: 1 }), { to: { stream: true } });
      expect(JSON.parse(await text(answer.body))).to.include({ url: '/to' });
    });
  });

  describe('ping', () => {
    it('asks with HEAD, below the prefix, with the credentials', async () => {
      const { url, hits } = await serve((_, res) => res.end());
      await (await open(`${url}/api`, { security: { kind: 'bearer', token: 't' } })).ping();
      expect(hits.map(({ method, url: path, headers }) => [method, path, headers.authorization])).to.deep.equal([
        ['HEAD', '/api/', 'Bearer t'],
      ]);
    });

    const table: readonly (readonly [status: number, statuses: number[] | undefined, well: boolean])[] = [
      [200, undefined, true],
      [401, undefined, true],
      [404, undefined, true],
      [500, undefined, false],
      [503, undefined, false],
      [204, [204], true],
      [200, [204], false],
      [503, [503], true],
    ];
    for (const [status, statuses, well] of table) {
      it(`takes ${status} for ${well ? 'well' : 'bad'}, with statuses ${statuses ?? 'not given'}`, async () => {
        const { url, hits } = await serve((_, res) => res.writeHead(status).end());
        const ping = { method: 'GET', path: '/health', ...(statuses === undefined ? {} : { statuses }) };
        const answer = (await open(url, { ping })).ping();
        if (well) await answer;
        else expect((await failure(answer)).code).to.equal('OUTGOING_UNAVAILABLE');
        expect(hits.map(({ method, url: path }) => [method, path])).to.deep.equal([['GET', '/health']]);
      });
    }

    it('takes an answer with a body that is too large for well', async () => {
      const { url } = await serve((_, res) => res.end(Buffer.alloc(5000)));
      await (await open(url, { maxReplyBytes: 1000, ping: { method: 'GET' } })).ping();
    });

    it('rejects with OUTGOING_UNAVAILABLE when nothing is answered in time', async () => {
      const { url } = await serve(() => {});
      const error = await failure((await open(url, { timeoutMs: 50 })).ping());
      expect(error.code).to.equal('OUTGOING_UNAVAILABLE');
      expect((error.cause as GantryError).code).to.equal('OUTGOING_TIMEOUT');
    });
  });

  describe('TLS', () => {
    let folder: string;
    let pem: (name: string) => string;

    before(function () {
      folder = mkdtempSync(join(tmpdir(), 'gantry-tls-'));
      pem = (name) => readFileSync(join(folder, name), 'utf8');
      const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
      try {
        openssl('version');
      } catch {
        if (process.env['CI'] === 'true') throw new Error('openssl is missing, and CI=true asks for these tests');
        console.log('      SKIPPED: the tests of TLS need the openssl program, which is not here');
        this.skip();
      }
      for (const [name, subject] of [
        ['server', 'subjectAltName=DNS:crm.test,IP:127.0.0.1'],
        ['client', 'subjectAltName=DNS:gantry'],
        ['named', 'subjectAltName=DNS:crm.test'],
      ] as const) {
        const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'];
        openssl(
          'req',
          '-x509',
          '-nodes',
          ...curve,
          '-keyout',
          `${name}.key`,
          '-out',
          `${name}.pem`,
          '-days',
          '2',
          '-subj',
          `/CN=${name}`,
          '-addext',
          subject,
        );
      }
    });
    after(() => rmSync(folder, { recursive: true, force: true }));

    const secure = (handle: Handle, name = 'server', more: https.ServerOptions = {}) =>
      serve(handle, https.createServer({ key: pem(`${name}.key`), cert: pem(`${name}.pem`), ...more }));

    it('trusts the certificates of tls.ca', async () => {
      const { url } = await secure((_, res) => reply(res, 200, 'secure'));
      expect((await ask(await open(url, { tls: { ca: pem('server.pem') } }), {})).body).to.equal('secure');
    });

    it('does not trust another, and does not try again', async () => {
      const { url, hits, server } = await secure((_, res) => reply(res, 200));
      let sockets = 0;
      server.on('connection', () => sockets++);
      for (const tls of [undefined, { ca: pem('client.pem') }]) {
        sockets = 0;
        const error = await failure((await open(url, tls === undefined ? {} : { tls })).send({}));
        expect(error.code).to.equal('OUTGOING_UNAVAILABLE');
        expect(error.hint).to.match(/tls\.ca/);
        expect(sockets).to.equal(1);
      }
      expect(hits.length).to.equal(0);
    });

    it('does not trust a certificate for another name, unless tls.servername says that name', async () => {
      const { url, hits } = await secure((_, res) => reply(res, 200), 'named');
      const ca = pem('named.pem');
      expect((await failure((await open(url, { tls: { ca } })).send({}))).hint).to.match(
        /ERR_TLS_CERT_ALTNAME_INVALID/,
      );
      expect(hits.length).to.equal(0);
      expect((await ask(await open(url, { tls: { ca, servername: 'crm.test' } }), {})).status).to.equal(200);
    });

    it('trusts anybody only where the operator says so, with a warning', async () => {
      const { url } = await secure((_, res) => reply(res, 200));
      const warnings: object[] = [];
      const log = { ...quiet, warn: (fields: object) => void warnings.push(fields) };
      const crm = await connect('crm', settle({ url, tls: { rejectUnauthorized: false } }), { codecs, log });
      cleanUp.push(() => crm.close());
      expect((await ask(crm, {})).status).to.equal(200);
      expect(warnings).to.have.lengthOf(1);
    });

    it('shows its own certificate, but never to another origin, nor where that leads', async () => {
      const name = (req: IncomingMessage) => (req.socket as TLSSocket).getPeerCertificate().subject?.CN ?? null;
      const asking = { requestCert: true, rejectUnauthorized: false, ca: pem('client.pem') };
      const seen: unknown[] = [];
      const send = (req: IncomingMessage, res: ServerResponse, away: string, location: string) => {
        seen.push(name(req));
        return req.url === away ? res.writeHead(302, { location }).end() : reply(res, 200);
      };
      const other = await secure((req, res) => send(req, res, '/away', `${home.url}/back`), 'server', asking);
      const home = await secure((req, res) => send(req, res, '/away', `${other.url}/away`), 'server', asking);
      const tls = { ca: pem('server.pem'), cert: pem('client.pem'), key: pem('client.key') };
      const crm = await open(home.url, { tls, followRedirects: 2 });
      await crm.send({});
      await crm.send({ to: { path: '/away' } });
      expect(seen).to.deep.equal(['client', 'client', null, null]);
    });

    it('is not given up for a redirect to plain http', async () => {
      const plain = await serve((_, res) => reply(res, 200));
      const { url } = await secure((_, res) => res.writeHead(302, { location: plain.url }).end());
      const error = await failure((await open(url, { tls: { ca: pem('server.pem') }, followRedirects: 3 })).send({}));
      expect([error.code, plain.hits.length]).to.deep.equal(['OUTGOING_REJECTED', 0]);
    });

    it('material that is of no use is told when the connection is opened', async () => {
      const url = 'https://127.0.0.1:1';
      const [ca, cert, key] = [pem('server.pem'), pem('client.pem'), pem('client.key')];
      const broken = ca.replace(/\n[A-Za-z0-9+/]{20}/, '\nAAAAAAAAAAAAAAAAAAAA');
      const wrong: readonly (readonly [tls: object, path: RegExp])[] = [
        [{ ca: 'hello' }, /options\.tls\.ca holds no certificate/],
        [{ ca: broken }, /options\.tls\.ca cannot be read/],
        [{ cert }, /options\.tls needs cert and key together/],
        [{ key }, /options\.tls needs cert and key together/],
        [{ cert, key: 'hello' }, /options\.tls cannot be read/],
        [{ cert, key: pem('server.key') }, /options\.tls cannot be read/],
      ];
      for (const [tls, message] of wrong) {
        const error = await failure(connect('crm', settle({ url, tls }), { codecs, log: quiet }));
        expect(error.code).to.equal('CONNECTION_INVALID');
        expect(error.message).to.match(message);
        expect(inspect(error)).not.to.contain('PRIVATE KEY');
      }
    });
  });

  describe('options', () => {
    it('have a description each', () => {
      const missing: string[] = [];
      const walk = (node: Record<string, unknown>, at: string): void => {
        for (const branch of (node['anyOf'] ?? []) as Record<string, unknown>[]) walk(branch, at);
        for (const [key, field] of Object.entries(
          (node['properties'] ?? {}) as Record<string, Record<string, unknown>>,
        )) {
          if (typeof field['description'] !== 'string') missing.push(`${at}.${key}`);
          walk(field, `${at}.${key}`);
        }
      };
      walk(RestOptions as unknown as Record<string, unknown>, 'options');
      expect(missing).to.deep.equal([]);
    });

    it('have the defaults that are documented', () => {
      const { pool, retry, timeoutMs, maxReplyBytes, format, followRedirects, ping } = settle({ url: 'http://x' });
      expect({ pool, retry, timeoutMs, maxReplyBytes, format, followRedirects, ping }).to.deep.equal({
        pool: { connections: 32, keepAliveMs: 4000 },
        retry: { attempts: 3, backoffMs: 100, maxBackoffMs: 10_000, statuses: [429, 502, 503, 504] },
        timeoutMs: 30_000,
        maxReplyBytes: 10_485_760,
        format: 'json',
        followRedirects: 0,
        ping: { method: 'HEAD', path: '/' },
      });
    });

    const refused: readonly (readonly [options: object, path: string])[] = [
      [{ url: 'ftp://x' }, 'options.url'],
      [{ url: 'http://x', unknown: 1 }, 'options.unknown'],
      [{ url: 'http://x', pool: { pipelining: 4 } }, 'options.pool.pipelining'],
      [{ url: 'http://x', retry: { attempts: 0 } }, 'options.retry.attempts'],
      [{ url: 'http://x', tls: { rejectUnauthorized: 'no' } }, 'options.tls.rejectUnauthorized'],
      [{}, 'options.url'],
    ];
    for (const [options, path] of refused) {
      it(`are refused by the schema: ${JSON.stringify(options)}`, () => {
        expect(validate(structuredClone(options), 'options').map((problem) => problem.path)).to.include(path);
      });
    }

    const invalid: readonly (readonly [options: object, message: RegExp])[] = [
      [{ url: 'http://' }, /options\.url is not a URL/],
      [{ url: 'http://user:s3@x/' }, /options\.url carries a user name/],
      [{ url: 'http://x/?a=1' }, /options\.url carries a query/],
      [{ url: 'http://x', format: 'jsn' }, /options\.format names a codec/],
      [{ url: 'http://x', headers: { 'a b': '1' } }, /options\.headers\["a b"\] is not a header name/],
      [{ url: 'http://x', headers: { a: 's3\n' } }, /options\.headers\.a has a value/],
      [{ url: 'http://x', security: { kind: 'apikey', header: 'a:b', key: 's3' } }, /options\.security\.header/],
      [{ url: 'http://x', security: { kind: 'apikey', header: 'a', key: 's3\n' } }, /options\.security\.key/],
      [{ url: 'http://x', security: { kind: 'bearer', token: 's3\n' } }, /options\.security\.token/],
      [{ url: 'http://x', tls: {} }, /options\.tls is for https/],
      [{ url: 'http://x', ping: { path: '/{id}' } }, /options\.ping cannot be sent/],
    ];
    for (const [options, message] of invalid) {
      it(`are refused when the connection is opened: ${JSON.stringify(options)}`, async () => {
        const error = await failure(connect('crm', settle(options), { codecs, log: quiet }));
        expect([error.code, error.kind]).to.deep.equal(['CONNECTION_INVALID', 'invalid']);
        expect(error.message).to.match(message);
        expect(error.hint).to.match(/\S/);
        expect(inspect(error)).not.to.contain('s3');
      });
    }

    it('need nobody at the other end', async () => {
      await (await open(await nowhere())).close();
    });

    it('keep their secrets out of errors and of what is printed', async () => {
      const { url } = await serve((_, res) => reply(res, 401));
      const crm = await open(url, { security: { kind: 'basic', username: 'u', password: 's3cret-pw' } });
      const error = await failure(crm.send({}));
      const dead = await failure(
        (await open(await nowhere(), { security: { kind: 'bearer', token: 's3cret-pw' } })).send({}),
      );
      const encoded = Buffer.from('u:s3cret-pw').toString('base64');
      for (const shown of [
        inspect(error, { depth: 9 }),
        inspect(dead, { depth: 9 }),
        inspect(crm, { depth: 9, showHidden: true }),
      ]) {
        expect(shown).not.to.contain('s3cret-pw').and.not.to.contain(encoded);
      }
    });
  });

  describe('behind the core', () => {
    it('is what a service gets from connections.get(): checked, with defaults and secrets, observed', async () => {
      const { url } = await serve(echo);
      const hooks = createHooks();
      const sent: Sent[] = [];
      hooks.sent.tap('test', (one) => void sent.push(one));
      const supports = { reply: true, headers: true, largeBody: true };
      const rest: Transport = {
        supports,
        options: RestOptions,
        connect: (name, options) => connect(name, options as RestOptions, { codecs, log: quiet }),
      };
      const connections = new Connections({ hooks, log: quiet, transports: new Map([['rest', rest]]) });
      const security = { kind: 'basic', username: 'u', password: 'p' };
      await connections.open({ name: 'crm', transport: 'rest', options: { url, security } });
      const message = {
        to: { method: 'GET', path: '/customers/{id}', params: { id: '7' }, query: { expand: ['a', 'b'] } },
      };
      const { body } = await connections.get('crm').send<RestAnswer<Echo>>(message);
      expect(body.url).to.equal('/customers/7?expand=a&expand=b');
      expect(body.headers['authorization']).to.equal(`Basic ${Buffer.from('u:p').toString('base64')}`);
      expect(sent.map(({ connection, error }) => [connection, error])).to.deep.equal([['crm', null]]);
      const wrong = { name: 'x', transport: 'rest', options: { url, securty: {} } };
      expect((await failure(connections.open(wrong))).code).to.equal('CONNECTION_INVALID');
      await connections.closeAll();
      expect(connections.find('crm')).to.equal(null);
    });
  });
});
