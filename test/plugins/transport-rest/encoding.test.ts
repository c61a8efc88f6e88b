import { once } from 'node:events';
import http from 'node:http';
import { PassThrough, Readable } from 'node:stream';
import { brotliCompressSync, brotliDecompressSync, constants, deflateSync, gunzipSync, gzipSync } from 'node:zlib';
import { expect } from 'chai';
import { defineService, Stream, Type } from '../../../core/api.ts';
import { rest, type Served, serve, until } from '../fixtures/server.ts';
import { ask, request, Wire } from '../fixtures/wire.ts';

const any = { input: Type.Any(), output: Type.Any() };
const feeds: PassThrough[] = [];
const services = [
  defineService({ name: 'echo', ...any, create: () => (input) => input ?? null }),
  defineService({
    name: 'sized',
    input: Type.Object({ bytes: Type.Integer() }),
    output: Type.Any(),
    create:
      () =>
      ({ bytes }) =>
        'x'.repeat(Math.max(0, bytes - 2)),
  }),
  defineService({
    name: 'feed',
    ...any,
    output: Stream,
    create: () => (input, call) => {
      const type = (input as { type?: string } | undefined)?.type;
      if (type !== undefined) call.reply.contentType = type;
      const feed = new PassThrough();
      feeds.push(feed);
      return feed;
    },
  }),
  defineService({
    name: 'many',
    input: Type.Any(),
    output: Stream,
    create: () => (_, call) => {
      call.reply.contentType = 'text/plain';
      call.reply.headers = { 'content-length': '300000' };
      return Readable.from(Array.from({ length: 3000 }, () => 'line '.repeat(20)));
    },
  }),
  defineService({
    name: 'count',
    input: Stream,
    output: Type.Any(),
    create: () => async (input) => {
      let bytes = 0;
      for await (const chunk of input) bytes += (chunk as Buffer).length;
      return { bytes };
    },
  }),
  defineService({
    name: 'packed',
    ...any,
    output: Type.Any(),
    create: () => (_, call) => {
      call.reply.headers = { 'content-encoding': 'gzip' };
      call.reply.contentType = 'application/json';
      return gzipSync(JSON.stringify('y'.repeat(100_000)));
    },
  }),
];

let served: Served;
const isFree = () => until('nothing is in hand', () => served.inHand() === 0);

describe('transport.rest: compression', () => {
  before(async () => {
    served = await serve({
      services,
      channels: [
        rest('POST /echo', 'echo'),
        rest('GET /sized', 'sized', { settings: { etag: true } }),
        rest('GET /off', 'sized', { settings: { compress: false } }),
        rest('GET /feed', 'feed'),
        rest('GET /many', 'many'),
        rest('POST /count', 'count'),
        rest('POST /limited', 'count', { settings: { maxBodyBytes: 1_048_576 } }),
        rest('GET /packed', 'packed'),
      ],
    });
  });
  after(() => served.kernel.stop());

  const post = (at: string, encoding: string, body: Uint8Array) =>
    ask(served.url + at, { body, headers: { 'content-type': 'application/json', 'content-encoding': encoding } });
  const value = { text: 'zażółć '.repeat(1000) };
  const text = JSON.stringify(value);

  describe('of requests', () => {
    for (const [encoding, pack] of Object.entries({
      gzip: gzipSync,
      'x-gzip': gzipSync,
      GZIP: gzipSync,
      br: brotliCompressSync,
      deflate: deflateSync,
      identity: (s: string) => Buffer.from(s),
      Identity: (s: string) => Buffer.from(s),
      '': (s: string) => Buffer.from(s),
    })) {
      it(`'${encoding}' is read`, async () => {
        expect((await post('/echo', encoding, pack(text))).json).to.deep.equal(value);
        const { json } = await post('/count', encoding, pack(text));
        expect(json).to.deep.equal({ bytes: Buffer.byteLength(text) });
      });
    }
    it('that is not known is refused with 415', async () => {
      for (const encoding of ['zstd', 'compress', 'gzip, br', 'rot13']) {
        for (const at of ['/echo', '/count']) {
          const { status, json } = await post(at, encoding, Buffer.from(text));
          expect(status, encoding).to.equal(415);
          expect(json.errors?.[0]).to.include({ path: 'content-encoding' });
        }
      }
    });
    it('that is cut off or damaged is refused with 400, also where more of it would come', async () => {
      const whole = gzipSync(text);
      const damaged = Buffer.from(whole);
      damaged.writeUInt32LE(7, whole.length - 8);
      const noise = Buffer.alloc(600_000, 'not compressed at all ');
      const cases: [string, Buffer][] = [
        ['gzip', whole.subarray(0, whole.length - 20)],
        ['gzip', whole.subarray(0, 5)],
        ['gzip', damaged],
        ['gzip', Buffer.from(text)],
        ['gzip', noise],
        ['br', noise],
        ['br', brotliCompressSync(text).subarray(0, 20)],
        ['deflate', noise],
        ['deflate', gzipSync(text)],
      ];
      for (const at of ['/echo', '/count']) {
        for (const [encoding, body] of cases) {
          const { status, json } = await post(at, encoding, body);
          expect(status, `${at} ${encoding} ${body.length}`).to.equal(400);
          expect(json).to.include({ code: 'INPUT_MALFORMED' });
        }
      }
      await isFree();
    });
    it('leaves the connection usable where it was refused', async () => {
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
      const sockets = new Set<unknown>();
      agent.on('free', (socket) => sockets.add(socket));
      const headers = { 'content-type': 'application/json', 'content-encoding': 'gzip' };
      for (const body of [Buffer.alloc(300_000, 'noise'), gzipSync(Buffer.alloc(3_000_000, ' ')), gzipSync(text)]) {
        const { status } = await ask(`${served.url}/echo`, { body, headers, agent });
        expect(status).to.be.oneOf([400, 413, 200]);
      }
      expect(sockets.size).to.equal(1);
      agent.destroy();
    });
    for (const [encoding, at] of [
      ['gzip', '/echo'],
      ['br', '/echo'],
      ['deflate', '/echo'],
      ['gzip', '/limited'],
    ] as const) {
      it(`that makes much of little is refused with 413, and the memory stays flat: ${encoding} at ${at}`, async function () {
        this.timeout(20_000);
        const bomb = bombOf(encoding);
        expect(bomb.length, 'below the limit itself').to.be.lessThan(1_048_576);
        const before = process.memoryUsage().rss;
        const startedAt = performance.now();
        const answers = await Promise.all(Array.from({ length: 5 }, () => post(at, encoding, bomb)));
        expect(performance.now() - startedAt, 'ms').to.be.lessThan(2000);
        expect(answers.map((a) => a.status)).to.deep.equal([413, 413, 413, 413, 413]);
        expect(answers[0]?.json).to.include({ code: 'INPUT_TOO_LARGE' });
        expect(process.memoryUsage().rss - before, 'bytes').to.be.lessThan(150_000_000);
        await isFree();
      });
    }
  });

  describe('of replies', () => {
    const get = (at: string, accept?: string) =>
      ask(served.url + at, accept === undefined ? {} : { headers: { 'accept-encoding': accept } });

    it('is for those that are worth it', async () => {
      for (const [bytes, encoding] of [
        [1399, undefined],
        [1400, 'gzip'],
        [50_000, 'gzip'],
      ] as const) {
        const { headers, bytes: body } = await get(`/sized?bytes=${bytes}`, 'gzip');
        expect(headers['content-encoding'], String(bytes)).to.equal(encoding);
        expect(headers['content-length']).to.equal(String(body.length));
        expect(encoding === undefined ? body : gunzipSync(body)).to.have.length(bytes);
        if (encoding !== undefined) expect(headers['vary']).to.contain('accept-encoding');
      }
      expect((await get('/off?bytes=50000', 'gzip')).headers).not.to.have.property('content-encoding');
    });
    const chosen: [string | undefined, string | undefined][] = [
      [undefined, undefined],
      ['', undefined],
      ['gzip', 'gzip'],
      ['br', 'br'],
      ['x-gzip', 'gzip'],
      ['gzip, deflate, br', 'br'],
      ['gzip;q=1.0, br;q=0.5', 'gzip'],
      ['gzip;q=0', undefined],
      ['gzip;q=0, br;q=0', undefined],
      ['*', 'br'],
      ['*;q=0', undefined],
      ['br;q=0, *', 'gzip'],
      ['deflate, zstd', undefined],
      ['identity', undefined],
      ['identity;q=1, gzip;q=0.5', undefined],
      ['identity;q=0.5, gzip;q=0.5', 'gzip'],
      ['GZIP ; Q=0.8', 'gzip'],
      ['gzip;q=x', undefined],
    ];
    for (const [accept, expected] of chosen) {
      it(`'${accept}' gets ${expected ?? 'none'}`, async () => {
        const { headers, bytes } = await get('/sized?bytes=5000', accept);
        expect(headers['content-encoding']).to.equal(expected);
        expect(headers['vary']).to.contain('accept-encoding');
        const plain = expected === 'br' ? brotliDecompressSync(bytes) : expected === 'gzip' ? gunzipSync(bytes) : bytes;
        expect(plain).to.have.length(5000);
      });
    }
    it('tells HEAD the length that GET has', async () => {
      const headers = { 'accept-encoding': 'gzip' };
      const head = await ask(`${served.url}/sized?bytes=5000`, { method: 'HEAD', headers });
      const full = await ask(`${served.url}/sized?bytes=5000`, { headers });
      expect(head.headers['content-length']).to.equal(full.headers['content-length']);
      expect(head.headers['content-encoding']).to.equal('gzip');
    });
    it('leaves alone what the service packed itself', async () => {
      const { headers, bytes } = await get('/packed', 'gzip, br');
      expect(headers['content-encoding']).to.equal('gzip');
      expect(JSON.parse(gunzipSync(bytes).toString())).to.have.length(100_000);
    });
    it('packs a stream on its way, and drops the length that it had', async () => {
      const { headers, bytes } = await get('/many', 'gzip');
      expect(headers).to.include({ 'content-encoding': 'gzip', 'transfer-encoding': 'chunked' });
      expect(headers).not.to.have.property('content-length');
      expect(gunzipSync(bytes)).to.have.length(300_000);
      const plain = await get('/many');
      expect(plain.headers['content-length']).to.equal('300000');
      expect(plain.bytes).to.have.length(300_000);
    });
    it('is not for what is packed in itself, and not for events, which must not wait', async () => {
      for (const type of ['image/png', 'application/octet-stream', 'text/event-stream']) {
        const res = await new Promise<http.IncomingMessage>((resolve) => {
          http.get(
            `${served.url}/feed?type=${type}`,
            { agent: false, headers: { 'accept-encoding': 'gzip' } },
            resolve,
          );
          void until('the feed is there', () => feeds.length > 0).then(() => feeds[0]?.write('data: first\n\n'));
        });
        expect(res.headers['content-encoding'], type).to.equal(undefined);
        const [chunk] = (await once(res, 'data')) as [Buffer];
        expect(chunk.toString()).to.equal('data: first\n\n');
        feeds.pop()?.end();
        res.resume();
        await once(res, 'end');
      }
    });
    it('ends the source where the caller goes away in the middle', async () => {
      const wire = await Wire.open(served.port);
      wire.send(request('GET /feed?type=text/plain', ['Accept-Encoding: gzip']));
      await until('the feed is there', () => feeds.length > 0);
      const feed = feeds.pop() as PassThrough;
      feed.write('x'.repeat(10));
      await wire.until((received) => received.includes('\r\n\r\n'));
      wire.close();
      await until('the feed is closed', () => feed.destroyed);
    });
    it('cuts the connection where the source breaks', async () => {
      const wire = await Wire.open(served.port);
      wire.send(request('GET /feed?type=text/plain', ['Accept-Encoding: gzip']));
      await until('the feed is there', () => feeds.length > 0);
      const feed = feeds.pop() as PassThrough;
      feed.write('x'.repeat(10));
      await wire.until((received) => received.includes('\r\n\r\n'));
      feed.destroy(new Error('half way'));
      const received = await wire.end();
      expect(received.endsWith('0\r\n\r\n')).to.equal(false);
    });
  });

  describe('ETag', () => {
    const tagOf = async (bytes: number, headers = {}) =>
      (await ask(`${served.url}/sized?bytes=${bytes}`, { headers })).headers['etag'] as string;
    const known = (tags: string, bytes = 5000, method = 'GET') =>
      ask(`${served.url}/sized?bytes=${bytes}`, { method, headers: { 'if-none-match': tags } });

    it('is the same for the same content in each encoding, and another for another', async () => {
      const tag = await tagOf(5000);
      expect(tag).to.match(/^W\/"[\w-]+"$/);
      expect(await tagOf(5000)).to.equal(tag);
      expect(await tagOf(5000, { 'accept-encoding': 'gzip' })).to.equal(tag);
      expect(await tagOf(5001)).not.to.equal(tag);
    });
    it('answers 304 to who has it, with the headers that 200 would have', async () => {
      const tag = await tagOf(5000);
      const strong = tag.slice(2);
      for (const tags of [tag, strong, '*', ` ${tag} `, `"other", ${tag}`, `W/"x",${strong},"y"`]) {
        const { status, headers, bytes } = await known(tags);
        expect(status, tags).to.equal(304);
        expect(bytes).to.have.length(0);
        expect(headers).to.include({ etag: tag, vary: 'accept-encoding' });
        expect(headers).not.to.have.any.keys('content-type', 'content-length', 'content-encoding');
      }
      expect((await known(tag, 5000, 'HEAD')).status).to.equal(304);
    });
    it('answers in full to who has something else', async () => {
      const tag = await tagOf(5000);
      for (const tags of ['"other"', '', tag.slice(0, -2), tag.replaceAll('"', ''), '"*"']) {
        expect((await known(tags)).status, tags).to.equal(200);
      }
      expect((await known(tag, 6000)).status).to.equal(200);
    });
    it('leaves the connection in order after 304', async () => {
      const wire = await Wire.open(served.port);
      const one = request('GET /sized?bytes=10', ['If-None-Match: *']);
      const replies = await wire.send(one + one + request('GET /sized?bytes=10')).replies(3);
      expect(replies.map((r) => r.status)).to.deep.equal([304, 304, 200]);
      wire.close();
    });
    it('is not for what is sent with POST', async () => {
      const { status, headers } = await ask(`${served.url}/echo`, { body: '1', headers: { 'if-none-match': '*' } });
      expect(status).to.equal(200);
      expect(headers).not.to.have.property('etag');
    });
  });
});

/** 1 GB of zeros in 1 MB, and as much as other encodings make of as little. */
function bombOf(encoding: 'gzip' | 'br' | 'deflate'): Buffer {
  const zeros = Buffer.alloc(10 << 20);
  if (encoding === 'deflate') return deflateSync(Buffer.alloc(100 << 20));
  if (encoding === 'br') return brotliCompressSync(zeros, { params: { [constants.BROTLI_PARAM_QUALITY]: 5 } });
  // A file of gzip may have many members, one after the other (RFC 1952, 2.2).
  return Buffer.concat(Array.from({ length: 100 }, () => packedZeros));
}
const packedZeros = gzipSync(Buffer.alloc(10 << 20));
