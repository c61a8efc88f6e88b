import { once } from 'node:events';
import type http from 'node:http';
import net from 'node:net';
import { expect } from 'chai';
import { defineService, Type } from '../../../core/api.ts';
import type { Call } from '../../../core/call.ts';
import { Proxies } from '../../../plugins/http-koa/proxies.ts';
import { rest, type Served, serve, until } from '../fixtures/server.ts';
import { ask, parse, postJson, request, Wire } from '../fixtures/wire.ts';

const any = { input: Type.Any(), output: Type.Any() };
const echo = defineService({ name: 'echo', ...any, create: () => (input) => input ?? null });
const about = defineService({
  name: 'about',
  ...any,
  create: () => (_, call) => ({ method: call.method, path: call.path, params: call.params, remote: call.remote }),
});

describe('http.koa: methods', () => {
  let served: Served;
  before(async () => {
    const verbs = defineService({
      name: 'verbs',
      ...any,
      create: () => ({ get: () => ({ did: 'get' }), put: () => ({ did: 'put' }), delete: () => undefined }),
    });
    served = await serve({
      services: [echo, about, verbs],
      channels: [
        { name: 'verbs', transport: 'rest', address: { path: '/verbs' }, service: 'verbs' },
        rest('POST /verbs', 'echo'),
        rest('POST,PATCH /both', 'about'),
        rest('PROPFIND /dav', 'about'),
        rest('GET /', 'about'),
        rest('OPTIONS,GET /own', 'about'),
        { name: 'post', transport: 'rest', address: { path: '/plain' }, service: 'about' },
      ],
    });
  });
  after(() => served.kernel.stop());

  it('tells the methods of an address with 405, sorted, HEAD and OPTIONS among them', async () => {
    const { status, headers, json } = await ask(`${served.url}/verbs`, { method: 'PATCH' });
    expect(status).to.equal(405);
    expect(headers['allow']).to.equal('DELETE, GET, HEAD, OPTIONS, POST, PUT');
    expect(headers['content-type']).to.equal('application/problem+json');
    expect(json).to.include({ code: 'METHOD_UNSUPPORTED', status: 405, title: 'Method Not Allowed' });
    expect((await ask(`${served.url}/both`)).headers['allow']).to.equal('OPTIONS, PATCH, POST');
  });
  it('answers HEAD as GET, without the body', async () => {
    const get = await ask(`${served.url}/verbs`, { headers: { 'x-correlation-id': 'same' } });
    const head = await ask(`${served.url}/verbs`, { method: 'HEAD', headers: { 'x-correlation-id': 'same' } });
    expect(head.status).to.equal(200);
    expect(head.bytes).to.have.length(0);
    expect({ ...head.headers, date: '' }).to.deep.equal({ ...get.headers, date: '' });
    expect(head.headers['content-length']).to.equal('13');
  });
  it('answers HEAD with 404 and 405, without a body', async () => {
    for (const [path, status] of [
      ['/nothing', 404],
      ['/both', 405],
    ] as const) {
      const head = await ask(served.url + path, { method: 'HEAD' });
      expect(head.status).to.equal(status);
      expect(head.bytes).to.have.length(0);
      expect(Number(head.headers['content-length'])).to.be.greaterThan(0);
    }
  });
  it('answers OPTIONS with the methods, and leaves it to a channel that takes it', async () => {
    const { status, headers } = await ask(`${served.url}/both`, { method: 'OPTIONS' });
    expect(status).to.equal(204);
    expect(headers['allow']).to.equal('OPTIONS, PATCH, POST');
    expect((await ask(`${served.url}/own`, { method: 'OPTIONS' })).json).to.include({ method: 'OPTIONS' });
    expect((await ask(`${served.url}/nothing`, { method: 'OPTIONS' })).status).to.equal(404);
  });
  it('answers OPTIONS * for the server, though a channel is at /', async () => {
    const wire = await Wire.open(served.port);
    const [options] = await wire.send(request('OPTIONS *')).replies(1);
    expect(options?.status).to.equal(204);
    const [, get] = await wire.send(request('GET *')).replies(2);
    expect(get?.status).to.equal(404);
    wire.close();
  });
  it('gives a service its method, and each verb to its handler', async () => {
    expect((await ask(`${served.url}/verbs`, { method: 'PUT' })).json).to.deep.equal({ did: 'put' });
    const gone = await ask(`${served.url}/verbs`, { method: 'DELETE' });
    expect(gone.status).to.equal(204);
    expect(gone.headers).not.to.have.any.keys('content-length', 'content-type', 'transfer-encoding');
    expect((await ask(`${served.url}/both`, { method: 'PATCH' })).json).to.include({ method: 'PATCH' });
    expect((await ask(`${served.url}/dav`, { method: 'PROPFIND' })).json).to.include({ method: 'PROPFIND' });
    expect((await ask(`${served.url}/plain`, { method: 'POST' })).json).to.include({ method: 'POST' });
  });
  it('refuses a method that HTTP does not know, and lower case', async () => {
    for (const method of ['FROB', 'get']) {
      const wire = await Wire.open(served.port);
      const [reply] = parse(await wire.send(request(`${method} /verbs`)).end());
      expect(reply?.status, method).to.equal(400);
    }
    expect((await ask(`${served.url}/verbs`, { method: 'TRACE' })).status).to.equal(405);
  });
  it('refuses a channel for methods that its service has no handler for', () => {
    expect(() => served.kernel.cradle.channels.bind(rest('PATCH /more', 'verbs')))
      .to.throw(/takes PATCH, its service does not/)
      .with.property('code', 'CHANNEL_INVALID');
  });
  it('tells the methods where a redeployed service dropped one', async () => {
    const fewer = defineService({ name: 'verbs', ...any, create: () => ({ get: () => 1 }) });
    served.kernel.cradle.services.deploy(fewer);
    const { status, headers } = await ask(`${served.url}/verbs`, { method: 'PUT' });
    expect(status).to.equal(405);
    expect(headers['allow']).to.match(/GET/);
  });
});

describe('http.koa: what arrives on a socket', () => {
  let served: Served;
  before(async () => {
    const header = defineService({
      name: 'header',
      ...any,
      create: () => (input, call) => {
        call.reply.headers = { 'x-from': (input as { from: string }).from };
        return { done: true };
      },
    });
    const status = defineService({
      name: 'status',
      ...any,
      create: () => (input, call) => {
        call.reply.status = (input as { status: number }).status;
        call.reply.headers = { 'Transfer-Encoding': 'chunked', 'X-Kept': 'yes' };
        return { done: true };
      },
    });
    served = await serve({
      services: [echo, about, header, status],
      channels: [
        rest('POST /echo', 'echo'),
        rest('GET /about', 'about'),
        rest('GET /at/{id}', 'about'),
        rest('GET /', 'about'),
        rest('POST /header', 'header'),
        rest('POST /status', 'status'),
      ],
    });
  });
  after(() => served.kernel.stop());

  const POST = ['Content-Type: application/json'];
  /** Sends bytes on a connection of their own; gives all replies, and proves that the next caller is served. */
  const attack = async (bytes: string | Uint8Array): Promise<ReturnType<typeof parse>> => {
    const wire = await Wire.open(served.port);
    const text = await wire.send(bytes).end();
    expect(wire.reset, 'the answer must not be cut off').to.equal(false);
    expect((await ask(`${served.url}/about`)).status).to.equal(200);
    await until('nothing is in hand', () => served.inHand() === 0);
    return parse(text);
  };

  const refused: Record<string, string | Uint8Array> = {
    'a length and chunks': request(
      'POST /echo',
      [...POST, 'Content-Length: 5', 'Transfer-Encoding: chunked'],
      '0\r\n\r\n',
    ),
    'chunks and a length': request(
      'POST /echo',
      [...POST, 'Transfer-Encoding: chunked', 'Content-Length: 5'],
      '0\r\n\r\n',
    ),
    'two lengths that differ': request('POST /echo', [...POST, 'Content-Length: 2', 'Content-Length: 3'], '{}'),
    'a negative length': request('POST /echo', [...POST, 'Content-Length: -1']),
    'a length that is no number': request('POST /echo', [...POST, 'Content-Length: 1e3'], '{}'),
    'a length with a plus': request('POST /echo', [...POST, 'Content-Length: +2'], '{}'),
    'an encoding that is not chunked': request('POST /echo', [...POST, 'Transfer-Encoding: gzip']),
    'chunked that is not the last encoding': request('POST /echo', [...POST, 'Transfer-Encoding: chunked, gzip']),
    'a chunk of no size': request('POST /echo', [...POST, 'Transfer-Encoding: chunked'], 'zz\r\n{}\r\n0\r\n\r\n'),
    'a chunk longer than it says': request(
      'POST /echo',
      [...POST, 'Transfer-Encoding: chunked'],
      '1\r\n{}}\r\n0\r\n\r\n',
    ),
    'a space before the colon': request('GET /about', ['X-A : 1']),
    'a bare line feed between headers': 'GET /about HTTP/1.1\nHost: x\n\n',
    'a bare carriage return': 'GET /about HTTP/1.1\r\nHost: x\rX-A: 1\r\n\r\n',
    'a NUL in a header': request('GET /about', ['X-A: a\u0000b']),
    'a control character in a header name': request('GET /about', ['X\u0001A: b']),
    'a header without a name': request('GET /about', [': b']),
    'a space in the target': request('GET /ab out'),
    'a target that is no path': request('GET about'),
    'another version': 'GET /about HTTP/9.9\r\nHost: x\r\n\r\n',
    'another protocol': 'SSH-2.0-OpenSSH_9.0\r\n',
    'the hello of TLS': Buffer.from('16030100c8010000c40303', 'hex'),
    'the preface of HTTP/2': 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  };
  for (const [what, bytes] of Object.entries(refused)) {
    it(`refuses ${what}`, async () => {
      const replies = await attack(bytes);
      expect(replies.map((r) => r.status)).to.deep.equal([400]);
      expect(replies[0]?.headers['connection']).to.equal('close');
      expect(replies[0]?.headers['content-type']).to.equal('application/problem+json');
      const { code, cid, status } = JSON.parse(replies[0]?.body ?? '');
      expect({ code, status }).to.deep.equal({ code: 'INPUT_MALFORMED', status: 400 });
      expect(cid).to.equal(replies[0]?.headers['x-correlation-id']);
    });
  }

  it('refuses HTTP/1.1 without a host', async () => {
    const [reply] = await attack('GET /about HTTP/1.1\r\n\r\n');
    expect(reply?.status).to.equal(400);
  });
  it('never takes a folded line for a header of its own', async () => {
    const [reply] = await attack(request('GET /about', ['X-A: 1', '\tX-Correlation-Id: folded', 'Connection: close']));
    expect(reply?.headers['x-correlation-id']).not.to.equal('folded');
  });
  it('takes HTTP/1.0 and what came before it, and ends the connection with the answer', async () => {
    for (const line of ['GET /about HTTP/1.0', 'GET /about']) {
      const replies = await attack(`${line}\r\n\r\n`);
      expect(replies.map((r) => r.status)).to.deep.equal([200]);
      expect(replies[0]?.headers['connection']).to.equal('close');
    }
  });
  it('takes the absolute form of a target', async () => {
    const [reply] = await attack(request('GET http://example.com/at/7?x=1', ['Connection: close']));
    expect(JSON.parse(reply?.body ?? '')).to.deep.include({ path: '/at/7', params: { id: '7' } });
    const [root] = await attack(request('GET http://example.com', ['Connection: close']));
    expect(JSON.parse(root?.body ?? '')).to.include({ path: '/' });
  });
  it('does not take //evil for an address elsewhere', async () => {
    const [reply] = await attack(request('GET //evil/about', ['Connection: close']));
    expect(reply?.status).to.equal(404);
    expect(reply?.body).not.to.contain('evil');
  });
  it('refuses CONNECT', async () => {
    const wire = await Wire.open(served.port);
    await wire.send('CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n').end();
    expect(parse(wire.received).map((r) => r.status)).to.deep.equal([501]);
  });
  it('answers headers that are too large with 431, though more of them still comes', async () => {
    for (const kB of [20, 2000]) {
      const [reply] = await attack(request('GET /about', [`X-Big: ${'x'.repeat(kB * 1024)}`]));
      expect(reply?.status).to.equal(431);
      expect(JSON.parse(reply?.body ?? '')).to.include({ status: 431, code: 'INPUT_TOO_LARGE' });
    }
    const [long] = await attack(request(`GET /${'/'.repeat(100_000)}`));
    expect(long?.status).to.equal(431);
  });
  it('answers requests on one connection in their order', async () => {
    const wire = await Wire.open(served.port);
    const ids = Array.from({ length: 50 }, (_, i) => i);
    const replies = await wire.send(ids.map((i) => request(`GET /at/${i}`)).join('')).replies(50);
    expect(replies.map((r) => JSON.parse(r.body).params.id)).to.deep.equal(ids.map(String));
    wire.close();
  });
  it('answers nothing that comes after the close that the caller asked for', async () => {
    const replies = await attack(request('GET /at/1', ['Connection: close']) + request('GET /at/2'));
    expect(replies.map((r) => JSON.parse(r.body).params.id)).to.deep.equal(['1']);
  });
  it('answers a broken request after the good ones before it', async () => {
    const broken = request('GET /about', ['X-A : 1']);
    const replies = await attack(request('GET /at/1') + request('GET /at/2') + broken);
    expect(replies.map((r) => r.status)).to.deep.equal([200, 200, 400]);
    const chunked = request('POST /echo', [...POST, 'Transfer-Encoding: chunked'], 'zz\r\n');
    const half = await attack(request('GET /at/1') + chunked);
    expect(half.map((r) => r.status)).to.deep.equal([200, 400]);
  });
  it('keeps a refused body apart from the next request', async () => {
    const wire = await Wire.open(served.port);
    const inner = request('GET /at/smuggled');
    const replies = await wire.send(request('POST /nothing', POST, inner) + request('GET /at/2')).replies(2);
    expect(replies.map((r) => r.status)).to.deep.equal([404, 200]);
    expect(replies[1]?.body).to.contain('"2"');
    wire.close();
  });
  it('never lets what a service puts into a header become a header of its own', async () => {
    for (const from of ['a\r\nset-cookie: evil=1', 'a\nb', 'a\u0000b', 'zażółć \u{1f600}']) {
      const { status, headers, json, text } = await postJson(`${served.url}/header`, { from });
      expect(status, JSON.stringify(from)).to.equal(500);
      expect(headers).not.to.have.property('set-cookie');
      expect(json['cid']).to.equal(headers['x-correlation-id']);
      expect(text).not.to.contain('evil');
    }
    expect((await postJson(`${served.url}/header`, { from: 'fine' })).headers['x-from']).to.equal('fine');
  });
  it('says the same id to the caller and in the log when a reply cannot be sent', async () => {
    const { json } = await postJson(`${served.url}/header`, { from: 'a\nb' });
    expect(served.lines.find((line) => line['cid'] === json['cid'])?.['msg']).to.equal('a reply could not be sent');
  });
  it('sends one length only, whatever headers a service sets', async () => {
    const { status, headers, json } = await postJson(`${served.url}/status`, { status: 201 });
    expect(status).to.equal(201);
    expect(headers).to.include({ 'content-length': '13', 'x-kept': 'yes' });
    expect(headers).not.to.have.property('transfer-encoding');
    expect(json).to.deep.equal({ done: true });
  });
  it('answers with 500 for a status that would leave the caller waiting, or is none', async () => {
    for (const status of [100, 101, 0, -1, 1000, 'abc']) {
      expect((await postJson(`${served.url}/status`, { status })).status, String(status)).to.equal(500);
    }
  });
});

describe('http.koa: protocol changes', () => {
  let served: Served;
  before(async () => {
    served = await serve({ services: [echo], channels: [rest('POST /echo', 'echo')] });
  });
  after(() => served.kernel.stop());
  const WEBSOCKET = ['Connection: Upgrade', 'Upgrade: websocket'];
  const OFFER = ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA'];
  const POST = ['Content-Type: application/json'];

  it('gives a connection to who asked for its path, and takes a path only once', async () => {
    const undo = served.host.upgrade('/ws', (_, socket, head) => {
      socket.end(`HTTP/1.1 101 Switching Protocols\r\n\r\n${head.toString()}`);
    });
    expect(() => served.host.upgrade('/ws', () => {})).to.throw(/taken/);
    const wire = await Wire.open(served.port);
    const text = await wire.send(`${request('GET /ws?a=1', WEBSOCKET)}head`).end();
    expect(text).to.match(/^HTTP\/1.1 101 .*head$/s);
    undo();
    const [reply] = await (await Wire.open(served.port)).send(request('GET /ws', WEBSOCKET)).replies(1);
    expect(reply?.status).to.equal(404);
    expect(JSON.parse(reply?.body ?? '')).to.include({ code: 'ADDRESS_NOT_FOUND' });
  });
  it('serves a request that offers HTTP/2 beside as if it had not, and the next one too', async () => {
    const wire = await Wire.open(served.port);
    const first = await wire.send(request('POST /echo', [...POST, ...OFFER], '{"n":1}')).replies(1);
    expect(first[0]?.status).to.equal(200);
    expect(first[0]?.body).to.equal('{"n":1}');
    const both = await wire.send(request('POST /echo', POST, '{"n":2}')).replies(2);
    expect(both[1]?.body).to.equal('{"n":2}');
    const third = await wire.send(request('POST /echo', [...POST, ...OFFER], '{"n":3}')).replies(3);
    expect(third[2]?.body).to.equal('{"n":3}');
    wire.close();
  });
  it('serves such a request whose body comes later, in parts', async () => {
    const body = JSON.stringify({ text: 'x'.repeat(300_000) });
    const wire = await Wire.open(served.port);
    wire.send(request('POST /echo', [...POST, ...OFFER, `Content-Length: ${body.length}`]));
    for (let at = 0; at < body.length; at += 50_000) {
      wire.send(body.slice(at, at + 50_000));
      await new Promise((resolve) => setImmediate(resolve));
    }
    const [reply] = await wire.replies(1);
    expect(reply?.body).to.equal(body);
    wire.close();
  });
  it('survives a caller that is gone at once', async () => {
    for (let i = 0; i < 20; i++) {
      const socket = net.connect(served.port, '127.0.0.1');
      await once(socket, 'connect');
      socket.write(request('GET /nothing', WEBSOCKET));
      socket.resetAndDestroy();
    }
    expect((await postJson(`${served.url}/echo`, 1)).status).to.equal(200);
  });
});

describe('http.koa: time', () => {
  let served: Served;
  const calls: Call[] = [];
  before(async () => {
    const slow = defineService({
      name: 'slow',
      ...any,
      create: () => (_, call) => {
        calls.push(call);
        return new Promise((_resolve, reject) => {
          call.signal.addEventListener('abort', () => reject(call.signal.reason as Error));
        });
      },
    });
    served = await serve({
      services: [echo, slow],
      channels: [
        rest('POST /echo', 'echo'),
        rest('GET,POST /slow', 'slow'),
        rest('GET /late', 'slow', { timeoutMs: 100 }),
      ],
      http: { headersTimeoutMs: 300, requestTimeoutMs: 600, keepAliveMs: 300 },
    });
  });
  after(() => served.kernel.stop());
  beforeEach(() => {
    calls.length = 0;
  });
  const isFree = () => until('nothing is in hand', () => served.inHand() === 0);

  it('answers 408 where the headers come too slowly, and serves others meanwhile', async () => {
    const wires = await Promise.all(Array.from({ length: 20 }, () => Wire.open(served.port)));
    const drip = setInterval(() => {
      for (const wire of wires) if (!wire.ended) wire.send('X-A: 1\r\n');
    }, 50);
    for (const wire of wires) wire.send('GET /echo HTTP/1.1\r\nHost: x\r\n');
    for (let i = 0; i < 10; i++) expect((await postJson(`${served.url}/echo`, i)).status).to.equal(200);
    const texts = await Promise.all(wires.map((wire) => wire.end()));
    clearInterval(drip);
    for (const text of texts) {
      const [reply] = parse(text);
      expect(reply?.status).to.equal(408);
      expect(JSON.parse(reply?.body ?? '')).to.include({ status: 408, title: 'Request Timeout' });
    }
  });
  it('lets go of a connection whose caller got his 408 and does not close it', async () => {
    const wire = await Wire.open(served.port, { allowHalfOpen: true });
    wire.send('GET /echo HTTP/1.1\r\n');
    const drip = setInterval(() => wire.send('X-A: 1\r\n'), 50);
    await wire.until((text) => text.includes(' 408 '));
    await until('it is closed', () => wire.socket.destroyed);
    clearInterval(drip);
  });
  it('answers 408 where the body comes too slowly, and nothing stays in hand', async () => {
    const wire = await Wire.open(served.port);
    wire.send(request('POST /echo', ['Content-Type: application/json', 'Content-Length: 100']));
    const drip = setInterval(() => wire.ended || wire.send(' '), 50);
    const [reply] = parse(await wire.end());
    clearInterval(drip);
    expect(reply?.status).to.equal(408);
    await isFree();
  });
  it('answers 504 for a service that takes too long, which hears of it', async () => {
    const { status, json } = await ask(`${served.url}/late`);
    expect(status).to.equal(504);
    expect(json).to.include({ code: 'CALL_TIMEOUT' });
    expect(calls[0]?.signal.aborted).to.equal(true);
    await isFree();
  });
  it('serves many requests on one connection, and closes it when it was idle for long', async () => {
    const wire = await Wire.open(served.port);
    for (let i = 1; i <= 5; i++) {
      const replies = await wire.send(request('POST /echo', ['Content-Type: application/json'], String(i))).replies(i);
      expect(replies[i - 1]?.body).to.equal(String(i));
      expect(replies[i - 1]?.headers['connection']).to.equal('keep-alive');
    }
    const idleAt = performance.now();
    await wire.end();
    expect(performance.now() - idleAt).to.be.within(200, 2500);
  });
  it('tells a service whose caller went away', async () => {
    const wire = await Wire.open(served.port);
    wire.send(request('GET /slow'));
    await until('the service runs', () => calls.length === 1);
    wire.close();
    await once((calls[0] as Call).signal, 'abort');
    expect((calls[0] as Call).signal.reason).to.include({ code: 'CALL_ABORTED' });
    await isFree();
  });
  it('tells the services of all requests of a connection, and of no other', async () => {
    const [wire, other] = [await Wire.open(served.port), await Wire.open(served.port)];
    other.send(request('GET /slow', ['X-Correlation-Id: other']));
    wire.send(request('GET /slow') + request('GET /slow'));
    await until('the services run', () => calls.length === 3);
    wire.close();
    await until('one is left', () => served.inHand() === 1);
    expect(calls.filter((call) => !call.signal.aborted).map((call) => call.cid)).to.deep.equal(['other']);
    other.close();
    await isFree();
  });
  it('ends a call whose caller went away in the middle of the upload', async () => {
    const wire = await Wire.open(served.port);
    wire.send(request('POST /echo', ['Content-Type: application/json', 'Content-Length: 1000'], '{"half":'));
    await until('it is in hand', () => served.inHand() === 1);
    wire.close();
    await isFree();
  });
  it('takes a request that is allowed less time than its headers', async () => {
    const odd = await serve({
      services: [echo],
      channels: [rest('POST /echo', 'echo')],
      http: { headersTimeoutMs: 501, requestTimeoutMs: 301 },
    });
    expect((await postJson(`${odd.url}/echo`, 1)).status).to.equal(200);
    await odd.kernel.stop();
  });
});

describe('http.koa: Expect: 100-continue', () => {
  let served: Served;
  before(async () => {
    const read = defineService({
      name: 'read',
      input: (await import('../../../core/api.ts')).Stream,
      output: Type.Any(),
      create: () => async (input) => {
        let size = 0;
        for await (const chunk of input) size += (chunk as Buffer).length;
        return { size };
      },
    });
    const ignore = defineService({
      name: 'ignore',
      input: (await import('../../../core/api.ts')).Stream,
      output: Type.Any(),
      create: () => () => ({ ignored: true }),
    });
    const keyed = { security: { guard: 'apikey', keys: [{ name: 'me', key: 'correct-key' }] } };
    served = await serve({
      services: [echo, read, ignore],
      channels: [
        rest('POST /echo', 'echo', { settings: { maxBodyBytes: 100 } }),
        rest('POST /keyed', 'echo', keyed),
        rest('POST /read', 'read'),
        rest('POST /ignore', 'ignore'),
      ],
      plugins: { 'guard.apikey': {} },
    });
  });
  after(() => served.kernel.stop());
  const JSON_BODY = ['Content-Type: application/json', 'Content-Length: 7', 'Expect: 100-continue'];

  const said = async (path: string, headers: readonly string[]): Promise<{ wire: Wire; text: string }> => {
    const wire = await Wire.open(served.port);
    wire.send(request(`POST ${path}`, headers));
    return { wire, text: await wire.until((text) => text.includes('\r\n\r\n')) };
  };

  it('asks for the body that somebody wants to read', async () => {
    for (const path of ['/echo', '/read']) {
      const { wire, text } = await said(path, JSON_BODY);
      expect(text, path).to.equal('HTTP/1.1 100 Continue\r\n\r\n');
      const all = await wire.send('{"a":1}').until((t) => /200 OK.*\}$/s.test(t));
      expect(all).to.match(path === '/echo' ? /\{"a":1\}$/ : /\{"size":7\}$/);
      wire.close();
    }
  });
  it('asks once, also where the service is guarded and lets the caller in', async () => {
    const { wire, text } = await said('/keyed', [...JSON_BODY, 'X-Api-Key: correct-key']);
    expect(text).to.equal('HTTP/1.1 100 Continue\r\n\r\n');
    const all = await wire.send('{"a":1}').until((t) => t.endsWith('{"a":1}'));
    expect(all.split('100 Continue')).to.have.length(2);
    wire.close();
  });
  const early: [string, number, string, readonly string[]][] = [
    ['a caller that is not let in', 401, '/keyed', JSON_BODY],
    ['a wrong key', 401, '/keyed', [...JSON_BODY, 'X-Api-Key: wrong-key']],
    ['an address that is not there', 404, '/nothing', JSON_BODY],
    ['a content type that nobody reads', 415, '/echo', ['Content-Type: a/b', ...JSON_BODY.slice(1)]],
    ['an encoding that nobody reads', 415, '/echo', [...JSON_BODY, 'Content-Encoding: rot13']],
    [
      'a body that is too large',
      413,
      '/echo',
      ['Content-Length: 101', ...JSON_BODY.filter((h) => !h.includes('Length'))],
    ],
    ['a reply that nobody could read', 406, '/echo', [...JSON_BODY, 'Accept: image/png']],
    ['a service that does not read', 200, '/ignore', JSON_BODY],
  ];
  for (const [what, status, path, headers] of early) {
    it(`does not ask for the body of ${what}`, async () => {
      const { wire, text } = await said(path, headers);
      expect(text).to.match(new RegExp(`^HTTP/1.1 ${status} `));
      wire.close();
    });
  }
  it('refuses an expectation that it does not know', async () => {
    const { wire, text } = await said('/echo', ['Expect: 200-maybe', 'Content-Length: 7']);
    expect(text).to.match(/^HTTP\/1.1 417 /);
    wire.close();
  });
});

describe('http.koa: who calls, behind proxies', () => {
  const origin = (trusted: string[], peer: string, headers: http.IncomingHttpHeaders) =>
    new Proxies(trusted).origin({ socket: { remoteAddress: peer }, headers } as http.IncomingMessage);
  const from = (trusted: string[], peer: string, forwarded: string) =>
    origin(trusted, peer, { 'x-forwarded-for': forwarded }).address;

  it('believes nobody that is not trusted', () => {
    const headers = { 'x-forwarded-for': '1.2.3.4', 'x-forwarded-proto': 'https', 'x-forwarded-host': 'a', host: 'b' };
    const direct = { address: '9.9.9.9', scheme: 'http', host: 'b', client: null };
    expect(origin([], '9.9.9.9', headers)).to.deep.equal(direct);
    expect(origin(['10.0.0.0/8'], '9.9.9.9', headers)).to.deep.equal(direct);
    expect(origin(['9.9.9.9'], '9.9.9.9', headers)).to.deep.equal({
      address: '1.2.3.4',
      scheme: 'https',
      host: 'a',
      client: null,
    });
  });
  it('reads from the right, as far as it trusts', () => {
    const trusted = ['10.0.0.0/8', '192.168.1.1'];
    expect(from(trusted, '10.0.0.1', '1.1.1.1')).to.equal('1.1.1.1');
    expect(from(trusted, '10.0.0.1', '6.6.6.6, 1.1.1.1, 192.168.1.1'), 'the left one is made up').to.equal('1.1.1.1');
    expect(from(trusted, '10.0.0.1', '10.1.1.1, 10.2.2.2'), 'proxies only').to.equal('10.1.1.1');
    expect(from(trusted, '10.0.0.1', '')).to.equal('10.0.0.1');
    expect(from(trusted, '10.0.0.1', '1.1.1.1, unknown'), 'nothing beyond what is no address').to.equal('10.0.0.1');
    expect(from(trusted, '10.0.0.1', '1.1.1.1, 10.3.3.3, <script>, 10.2.2.2')).to.equal('10.2.2.2');
    expect(from(trusted, '10.0.0.1', '1.1.1.1:5555,')).to.equal('1.1.1.1');
  });
  it('knows IPv6, with brackets, and IPv4 within', () => {
    const trusted = ['fd00::/8', '10.0.0.0/8'];
    expect(from(trusted, 'fd12::1', '2001:db8::7')).to.equal('2001:db8::7');
    expect(from(trusted, 'fd12::1', '2001:db8::7, [fd00::2]:443')).to.equal('2001:db8::7');
    expect(from(trusted, '::ffff:10.0.0.1', '1.1.1.1')).to.equal('1.1.1.1');
    expect(from(trusted, 'fe80::1', '2001:db8::7')).to.equal('fe80::1');
    expect(origin([], '::ffff:127.0.0.1', {}).address).to.equal('127.0.0.1');
  });
  it('refuses what is neither an address nor a network', () => {
    for (const entry of [
      '',
      'localhost',
      '10.0.0.0/33',
      '10.0.0.0/-1',
      '10.0.0.0/x',
      '10.0.0/8',
      '10.0.0.0/',
      '1.1.1.1/8/9',
    ]) {
      expect(() => new Proxies([entry]), entry)
        .to.throw(/trustedProxies/)
        .with.property('code', 'CONFIG_INVALID');
    }
    expect(() => new Proxies(['10.0.0.0/0', '::/0', '::1', '10.0.0.0/8'])).not.to.throw();
  });
  it('tells the service', async () => {
    for (const [trustedProxies, expected] of [
      [['127.0.0.0/8'], '7.7.7.7'],
      [['10.0.0.0/8'], '127.0.0.1'],
    ] as const) {
      const served = await serve({ services: [about], channels: [rest('GET /a', 'about')], http: { trustedProxies } });
      const { json } = await ask(`${served.url}/a`, { headers: { 'x-forwarded-for': '6.6.6.6, 7.7.7.7' } });
      expect(json['remote']).to.equal(expected);
      await served.kernel.stop();
    }
  });
});

describe('http.koa: stopping', () => {
  const open: (() => void)[] = [];
  const wait = defineService({
    name: 'wait',
    ...any,
    create: () => () => new Promise((resolve) => open.push(() => resolve({ waited: true }))),
  });
  const made = () =>
    serve({ services: [echo, wait], channels: [rest('POST /echo', 'echo'), rest('GET /wait', 'wait')] });

  it('answers what is in hand with connection: close, and takes no new connection', async () => {
    const served = await made();
    const wire = await Wire.open(served.port);
    wire.send(request('GET /wait'));
    await until('it is in hand', () => served.inHand() === 1);
    const stopping = served.kernel.stop();
    await until('it drains', () => served.host.urls().length === 0);
    expect(await Wire.open(served.port).catch((e: NodeJS.ErrnoException) => e.code)).to.equal('ECONNREFUSED');
    open.pop()?.();
    const [reply] = parse(await wire.end());
    expect(reply?.headers['connection']).to.equal('close');
    expect(reply?.body).to.equal('{"waited":true}');
    await stopping;
  });
  it('tells a request on an open connection to go elsewhere', async () => {
    const served = await made();
    const [busy, wire] = [await Wire.open(served.port), await Wire.open(served.port)];
    busy.send(request('GET /wait'));
    wire.send('POST /echo HTTP/1.1\r\n');
    await until('it is in hand', () => served.inHand() === 1);
    const stopping = served.kernel.stop();
    await until('it drains', () => served.host.urls().length === 0);
    wire.send('Host: x\r\nContent-Length: 0\r\n\r\n');
    const [reply] = parse(await wire.end());
    expect(reply?.status).to.equal(503);
    expect(reply?.headers).to.include({ connection: 'close', 'retry-after': '1' });
    open.pop()?.();
    await stopping;
    busy.close();
  });
  it('does not wait for connections that are idle, new, or in the middle of their headers', async () => {
    const served = await made();
    const wires = await Promise.all(Array.from({ length: 9 }, () => Wire.open(served.port)));
    for (const wire of wires.slice(0, 3)) await wire.send(request('POST /echo')).replies(1);
    for (const wire of wires.slice(3, 6)) wire.send('POST /echo HTTP/1.1\r\nHost:');
    await postJson(`${served.url}/echo`, 1);
    const startedAt = performance.now();
    await served.kernel.stop();
    expect(performance.now() - startedAt, 'ms').to.be.lessThan(1000);
    await Promise.all(wires.map((wire) => wire.end()));
  });
  it('reports an address that is taken, and one that is not of this machine', async () => {
    const first = await made();
    const second = (http: object) => serve({ services: [], channels: [], http: { ...http } });
    const taken = await second({ port: first.port }).catch((e: Error) => e);
    expect(taken).to.include({ code: 'ADDRESS_IN_USE' });
    expect(String(taken)).to.contain(String(first.port));
    const foreign = await second({ host: '203.0.113.7' }).catch((e: Error) => e);
    expect(foreign).to.include({ code: 'PLUGIN_START_FAILED' });
    await first.kernel.stop();
  });
});
