import path from 'node:path';
import { Readable } from 'node:stream';
import { expect } from 'chai';
import { Bytes, defineService, GantryError, Stream, Type } from '../../../core/api.ts';
import { rest, type Served, serve, until } from '../fixtures/server.ts';
import { ask, parse, postJson, request, Wire } from '../fixtures/wire.ts';

const dir = path.join(import.meta.dirname, 'middleware');
const any = { input: Type.Any(), output: Type.Any() };
const sources: Readable[] = [];
let aborted = 0;

const services = [
  defineService({ name: 'echo', ...any, create: () => (input) => input ?? null }),
  defineService({ name: 'nothing', ...any, create: () => () => undefined }),
  defineService({
    name: 'fails',
    ...any,
    create: () => () => {
      throw new GantryError('CONFLICT', 'Not now');
    },
  }),
  defineService({
    name: 'bytes',
    input: Type.Any(),
    output: Bytes,
    create: () => () => new Uint8Array(Buffer.from('..bytes..')).subarray(2, 7),
  }),
  defineService({
    name: 'stream',
    input: Type.Any(),
    output: Stream,
    create: () => () => {
      const source = Readable.from(['one ', 'two ', 'three']);
      sources.push(source);
      return source;
    },
  }),
  defineService({
    name: 'breaks',
    input: Type.Any(),
    output: Stream,
    create: () => () =>
      Readable.from(
        (async function* () {
          yield 'x'.repeat(100_000);
          await new Promise((resolve) => setTimeout(resolve, 20));
          throw new Error('half way');
        })(),
      ),
  }),
  defineService({
    name: 'waits',
    ...any,
    create: () => (_, call) =>
      new Promise((_resolve, reject) => {
        const end = () => {
          aborted++;
          reject(call.signal.reason as Error);
        };
        if (call.signal.aborted) end();
        else call.signal.addEventListener('abort', end);
      }),
  }),
];

const channels = [
  rest('GET,POST /k/echo', 'echo'),
  rest('POST /plain/echo', 'echo'),
  rest('GET /k/nothing', 'nothing'),
  rest('GET /k/empty', 'nothing', { settings: { status: 200 } }),
  rest('GET /k/fails', 'fails'),
  rest('GET /k/bytes', 'bytes'),
  rest('GET /k/stream', 'stream'),
  rest('GET /k/breaks', 'breaks'),
  rest('GET /k/waits', 'waits'),
  rest('GET /k/tagged', 'echo', { settings: { etag: true } }),
  rest('GET /k/{*rest}', 'echo'),
];

describe('http.koa: Koa middleware', () => {
  let served: Served;
  before(async () => {
    served = await serve({
      services,
      channels: [...channels, { ...rest('POST /named', 'echo'), name: 'named' }],
      dir,
      http: {
        middleware: [
          { use: './stamp.mjs', path: '/k' },
          { use: './stamp.mjs', export: 'trail', options: { mark: 'a' }, path: '/k' },
          { use: './stamp.mjs', export: 'trail', options: { mark: 'b' }, path: '/k' },
          { use: './stamp.mjs', options: { name: 'x-channel' }, channel: 'named' },
          { use: './answers.mjs', path: '/k/' },
          { use: './direct.cjs', path: '/k' },
          { use: './asynchronous.ts', options: { value: 'made' }, path: '/k/echo' },
        ],
      },
    });
  });
  after(() => served.kernel.stop());
  const get = (at: string, headers = {}) => ask(served.url + at, { headers });

  it('runs before and after the channel, in the order of the list', async () => {
    const { status, headers, text } = await postJson(`${served.url}/k/echo`, { a: 1 });
    expect(status).to.equal(200);
    expect(text).to.equal('{"a":1}');
    expect(headers['x-stamp']).to.equal('yes');
    expect(headers['x-stamp-after']).to.equal('200');
    expect(headers['x-trail']).to.equal('a-before, b-before, b-after, a-after');
    expect(headers['x-asynchronous']).to.equal('made');
    expect(headers['content-type']).to.match(/^application\/json/);
    expect(headers['x-correlation-id']).to.match(/\S/);
  });
  it('applies to its path and below, and to its channel, and to nothing else', async () => {
    expect((await postJson(`${served.url}/plain/echo`, 1)).headers).not.to.have.any.keys('x-stamp', 'x-channel');
    expect((await get('/kk')).headers).not.to.have.property('x-stamp');
    const { headers } = await postJson(`${served.url}/named`, 1);
    expect(headers['x-channel']).to.equal('yes');
    expect(headers).not.to.have.property('x-stamp');
  });
  it('cannot be gone round by another spelling of the path', async () => {
    for (const at of ['/%6B/echo', '/k/%65cho', '/%6b/anything', '/k%2Fecho']) {
      const { status, headers } = await get(at);
      if (status !== 404) expect(headers['x-stamp'], at).to.equal('yes');
      expect(status === 404 && !at.includes('%2F'), at).to.equal(false);
    }
  });
  it('sees the errors below its path, and addresses that are not there', async () => {
    const conflict = await get('/k/fails', { 'x-correlation-id': 'mine' });
    expect(conflict.status).to.equal(409);
    expect(conflict.json).to.include({ code: 'CONFLICT', cid: 'mine' });
    expect(conflict.headers['x-stamp-after']).to.equal('409');
    const other = await ask(`${served.url}/k/fails`, { method: 'PUT' });
    expect(other.status).to.equal(405);
    expect(other.headers).to.include({ allow: 'GET, HEAD, OPTIONS', 'x-stamp-after': '405' });
  });
  it('changes a reply', async () => {
    const { text, headers } = await get('/k/echo?wrap=1&a=2');
    expect(JSON.parse(text)).to.have.property('wrapped');
    expect(headers['content-length']).to.equal(String(text.length));
  });
  it('answers by itself', async () => {
    const { status, json, headers } = await get('/k/echo?do=answer');
    expect(status).to.equal(202);
    expect(json).to.deep.equal({ by: 'middleware' });
    expect(headers).not.to.have.property('x-correlation-id');
  });
  for (const [what, at] of Object.entries({
    throws: '?do=throw',
    'throws null': '?do=throw-null',
    'throws after the channel answered': '?do=late-throw',
  })) {
    it(`that ${what} is answered with 500, its id is in the log, and the reason is told to nobody`, async () => {
      const { status, headers, json, text } = await get(`/k/echo${at}`, { 'x-correlation-id': `c${at.length}` });
      expect(status).to.equal(500);
      expect(headers['content-type']).to.equal('application/problem+json');
      expect(json).to.include({ code: 'SERVICE_FAILED', cid: `c${at.length}` });
      expect(text).not.to.contain('secret');
      const line = served.lines.find((l) => l['cid'] === `c${at.length}`);
      expect(line).to.include({ msg: 'a middleware failed', plugin: 'http.koa', level: 'error' });
    });
  }
  it('that refuses gives its own status, words and headers, and none of before', async () => {
    const { status, headers, json } = await get('/k/echo?do=refuse');
    expect(status).to.equal(401);
    expect(headers['www-authenticate']).to.equal('Basic realm="x"');
    expect(headers).not.to.have.property('x-before');
    expect(json).to.include({ title: 'Unauthorized', detail: 'Who are you?', status: 401 });
  });
  it('that fails with a status of the server keeps its words to itself', async () => {
    const { status, json, text } = await get('/k/echo?do=unavailable');
    expect(status).to.equal(503);
    expect(json).to.include({ detail: 'Service Unavailable', code: 'UNAVAILABLE' });
    expect(text).not.to.contain('secret');
  });
  it('that has read the body leaves an answer and no call that hangs', async () => {
    const { status } = await postJson(`${served.url}/k/echo?do=read`, { a: 1 });
    expect(status).to.equal(500);
    expect(served.inHand()).to.equal(0);
    expect(JSON.stringify(served.lines)).to.contain('has read it');
  });
  it('passes on HEAD, nothing, an empty 200 and 304', async () => {
    const head = await ask(`${served.url}/k/echo?a=1`, { method: 'HEAD' });
    expect(head.status).to.equal(200);
    expect(head.headers['content-length']).to.equal('9');
    expect(head.bytes).to.have.length(0);
    const nothing = await get('/k/nothing');
    expect(nothing.status).to.equal(204);
    expect(nothing.headers).not.to.have.any.keys('content-type', 'content-length');
    const empty = await get('/k/empty');
    expect(empty.status).to.equal(200);
    expect(empty.headers['content-length']).to.equal('0');
    expect(empty.headers).not.to.have.property('content-type');
    const tag = (await get('/k/tagged?a=1')).headers['etag'] as string;
    const known = await get('/k/tagged?a=1', { 'if-none-match': tag });
    expect(known.status).to.equal(304);
    expect(known.headers['etag']).to.equal(tag);
    expect(known.bytes).to.have.length(0);
  });
  it('passes on bytes as they are', async () => {
    const { text, headers } = await get('/k/bytes');
    expect(text).to.equal('bytes');
    expect(headers).to.include({ 'content-type': 'application/octet-stream', 'content-length': '5' });
  });
  it('passes on a stream, and ends it where nobody wants its content', async () => {
    expect((await get('/k/stream')).text).to.equal('one two three');
    await ask(`${served.url}/k/stream`, { method: 'HEAD' });
    await until('the stream is closed', () => sources.every((source) => source.destroyed));
  });
  it('cuts off a stream that breaks, its own and the channel’s', async () => {
    for (const at of ['/k/breaks', '/k/echo?do=broken-stream']) {
      const wire = await Wire.open(served.port);
      const text = await wire.send(request(`GET ${at}`)).end();
      expect(text).to.match(/^HTTP\/1.1 200 /);
      expect(text.endsWith('0\r\n\r\n'), 'a well-formed end').to.equal(false);
    }
  });
  it('lets the channel hear of a caller that went away while a middleware took its time', async () => {
    const before = aborted;
    const wire = await Wire.open(served.port);
    wire.send(request('GET /k/waits?do=slow'));
    setTimeout(() => wire.close(), 20);
    await until('the service heard of it', () => aborted === before + 1);
    expect(served.inHand()).to.equal(0);
  }).timeout(5000);
  it('never mixes requests under load', async () => {
    const all = await Promise.all(Array.from({ length: 50 }, (_, i) => postJson(`${served.url}/k/echo`, { i })));
    expect(all.map((a) => a.json['i'])).to.deep.equal(Array.from({ length: 50 }, (_, i) => i));
  });
});

describe('http.koa: Koa middleware of everything', () => {
  it('sees what is at no address, what cannot be decoded, and OPTIONS', async () => {
    const served = await serve({ services, channels, dir, http: { middleware: [{ use: './stamp.mjs', path: '/' }] } });
    for (const [at, method, status] of [
      ['/nowhere', 'GET', 404],
      ['/k/%zz', 'GET', 400],
      ['/k/echo', 'OPTIONS', 204],
      ['/k/echo', 'DELETE', 405],
    ] as const) {
      const { headers, status: got } = await ask(served.url + at, { method });
      expect(got, at).to.equal(status);
      expect(headers['x-stamp-after'], at).to.equal(String(status));
      if (status >= 400) expect(headers['content-type']).to.equal('application/problem+json');
    }
    await served.kernel.stop();
  });
  it('closes its connections when the server stops', async () => {
    const served = await serve({ services, channels, dir, http: { middleware: [{ use: './answers.mjs' }] } });
    const wire = await Wire.open(served.port);
    wire.send(request('GET /k/waits?do=slow', ['Connection: keep-alive']));
    await new Promise((resolve) => setTimeout(resolve, 30));
    const stopping = served.kernel.stop();
    const [reply] = parse(await wire.end());
    expect(reply?.status).to.equal(503);
    expect(reply?.headers['connection']).to.equal('close');
    await stopping;
  });
});

describe('http.koa: middleware that cannot be had', () => {
  const failure = async (entry: object): Promise<GantryError> => {
    const http = { middleware: [{ use: './stamp.mjs' }, entry] };
    const made = await serve({ services, channels, dir, http }).catch((error: GantryError) => error);
    if ('kernel' in made) {
      await made.kernel.stop();
      throw new Error('it started');
    }
    return made;
  };
  const wrong: Record<string, [{ use: string }, RegExp]> = {
    'a file that is not there': [{ use: './missing.mjs' }, /cannot be loaded/],
    'a package that is not there': [{ use: '@nobody/has-this' }, /cannot be loaded/],
    'a file that throws': [{ use: './broken.mjs' }, /cannot be loaded: broken while loading/],
    'a module without a function': [{ use: './nothing.mjs' }, /exports no function/],
    'an export that is not there': [{ use: './stamp.mjs', export: 'other' } as { use: string }, /exports no function/],
    'a factory that throws': [{ use: './picky.mjs' }, /cannot be made: bad options/],
    'a middleware that takes no next': [{ use: './one-parameter.mjs' }, /cannot be made/],
  };
  for (const [what, [entry, message]] of Object.entries(wrong)) {
    it(`is a start error that names the entry and the module: ${what}`, async () => {
      const error = await failure(entry);
      expect(error).to.include({ code: 'CONFIG_INVALID' });
      expect(error.message).to.match(message).and.to.contain(entry.use);
      expect(error.problems?.[0]).to.include({ path: 'plugins.http.koa.middleware[1].use', plugin: 'http.koa' });
      expect(error.hint).to.match(/ctx, next/);
    });
  }
});
