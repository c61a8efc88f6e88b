import { createHash } from 'node:crypto';
import http from 'node:http';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { expect } from 'chai';
import { Bytes, defineService, Stream, Type } from '../../../core/api.ts';
import type { Call } from '../../../core/call.ts';
import { rest, type Served, serve, until } from '../fixtures/server.ts';
import { type Answer, ask, postJson, request, Wire } from '../fixtures/wire.ts';

const MB = 1 << 20;
const any = { input: Type.Any(), output: Type.Any() };
const inputs: Readable[] = [];
const calls: Call[] = [];
const failures: unknown[] = [];
const sources: { stream: Readable; produced: number }[] = [];
let gate: Promise<void> = Promise.resolve();

async function digest(stream: AsyncIterable<unknown>): Promise<{ bytes: number; sha: string }> {
  const hash = createHash('sha1');
  let bytes = 0;
  for await (const chunk of stream) {
    bytes += (chunk as Buffer).length;
    hash.update(chunk as Buffer);
  }
  return { bytes, sha: hash.digest('hex') };
}

/** So many MB, each another, made when they are asked for. */
function content(megabytes: number): { stream: Readable; produced: number } {
  const made = { produced: 0, stream: Readable.from(pieces()) };
  return made;

  function* pieces(): Generator<Buffer> {
    for (let i = 0; i < megabytes * 16; i++) {
      made.produced += MB / 16;
      yield Buffer.alloc(MB / 16, i % 251);
    }
  }
}

const services = [
  defineService({ name: 'echo', ...any, create: () => (input) => input ?? null }),
  defineService({
    name: 'sink',
    input: Stream,
    output: Type.Any(),
    create: () => async (input, call) => {
      calls.push(call);
      await gate;
      return digest(input).catch((error: unknown) => {
        failures.push(error);
        throw error;
      });
    },
  }),
  defineService({
    name: 'events',
    input: Stream,
    output: Type.Any(),
    create: () => (input) =>
      new Promise((resolve, reject) => {
        let bytes = 0;
        input.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
        });
        input.on('end', () => resolve({ bytes }));
        input.on('error', reject);
      }),
  }),
  defineService({
    name: 'ignores',
    input: Stream,
    output: Type.Any(),
    create: () => (input) => {
      inputs.push(input);
      return { ignored: true };
    },
  }),
  defineService({
    name: 'first',
    input: Stream,
    output: Type.Any(),
    create: () => async (input) => {
      for await (const chunk of input) return { first: (chunk as Buffer).length > 0 };
      return { first: false };
    },
  }),
  defineService({
    name: 'peeks',
    input: Stream,
    output: Type.Any(),
    create: () => async (input) => {
      inputs.push(input);
      await new Promise((resolve) => input.once('readable', resolve));
      return { peeked: (input.read(1) as Buffer).length };
    },
  }),
  defineService({
    name: 'throws',
    input: Stream,
    output: Type.Any(),
    create: () => async (input) => {
      for await (const _ of input) throw new Error('the disk is full');
    },
  }),
  defineService({
    name: 'pipes',
    input: Stream,
    output: Type.Any(),
    create: () => async (input) => {
      const full = new Transform({ transform: (_chunk, _encoding, done) => done(new Error('the disk is full')) });
      await pipeline(input, full);
    },
  }),
  defineService({
    name: 'mirror',
    input: Stream,
    output: Stream,
    create: () => (input) => input,
  }),
  defineService({
    name: 'download',
    input: Type.Any(),
    output: Stream,
    create: () => () => {
      const source = content(64);
      sources.push(source);
      return source.stream;
    },
  }),
  defineService({
    name: 'breaks',
    input: Type.Any(),
    output: Stream,
    create: () => (input, call) => {
      if ((input as { sized?: string })?.sized !== undefined) call.reply.headers = { 'content-length': '1000000' };
      return Readable.from(
        (async function* () {
          yield Buffer.alloc(1000, 'x');
          await new Promise((resolve) => setTimeout(resolve, 10));
          throw new Error('a secret detail');
        })(),
      );
    },
  }),
  defineService({
    name: 'header',
    input: Type.Any(),
    output: Stream,
    create: () => (_, call) => {
      call.reply.headers = { 'x-bad': 'a\r\nb' };
      const source = content(1);
      sources.push(source);
      return source.stream;
    },
  }),
  defineService({ name: 'bytes', input: Bytes, output: Bytes, create: () => (input) => Buffer.from(input).reverse() }),
];

let served: Served;
const isFree = () => until('nothing is in hand', () => served.inHand() === 0);

describe('transport.rest: streams', () => {
  before(async () => {
    served = await serve({
      services,
      channels: [
        ...['echo', 'sink', 'events', 'ignores', 'first', 'peeks', 'throws', 'pipes', 'mirror', 'bytes'].map((name) =>
          rest(`POST /${name}`, name),
        ),
        ...['download', 'breaks', 'header'].map((name) => rest(`GET /${name}`, name)),
        rest('POST /small', 'sink', { settings: { maxBodyBytes: 100_000 } }),
        rest('POST /small-bytes', 'bytes', { settings: { maxBodyBytes: 1000 } }),
      ],
    });
  });
  after(() => served.kernel.stop());
  beforeEach(() => {
    for (const list of [inputs, calls, failures, sources]) list.length = 0;
    gate = Promise.resolve();
  });

  /** Sends what a stream gives, and goes on sending whatever is answered. */
  const upload = (at: string, body: Readable, options: http.RequestOptions = {}): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const req = http.request(served.url + at, { method: 'POST', agent: false, ...options }, (res) => {
        const chunks: Buffer[] = [];
        res.on('data', (chunk: Buffer) => chunks.push(chunk));
        res.on('error', reject);
        res.on('end', () => {
          const text = Buffer.concat(chunks).toString();
          const answer = { status: res.statusCode ?? 0, headers: res.headers, bytes: Buffer.concat(chunks), text };
          resolve({ ...answer, json: text === '' ? {} : JSON.parse(text) });
        });
      });
      req.on('error', reject);
      body.pipe(req);
    });

  describe('upwards', () => {
    it('carry 192 MB through flat memory', async function () {
      this.timeout(30_000);
      await upload('/sink', content(16).stream);
      const before = process.memoryUsage().rss;
      let most = 0;
      const watch = setInterval(() => {
        most = Math.max(most, process.memoryUsage().rss - before);
      }, 10);
      const { json } = await upload('/sink', content(192).stream);
      clearInterval(watch);
      expect(json['bytes']).to.equal(192 * MB);
      expect(json['sha']).to.equal((await digest(content(192).stream)).sha);
      expect(most, 'bytes that the process grew by').to.be.lessThan(96 * MB);
    });
    it('come as events as well', async () => {
      expect((await upload('/events', content(4).stream)).json).to.deep.equal({ bytes: 4 * MB });
      expect((await ask(`${served.url}/events`, { method: 'POST' })).json, 'no body').to.deep.equal({ bytes: 0 });
      expect((await ask(`${served.url}/sink`, { method: 'POST' })).json).to.include({ bytes: 0 });
    });
    it('wait for a service that does not read yet', async () => {
      let open = () => {};
      gate = new Promise((resolve) => {
        open = resolve;
      });
      const source = content(64);
      const answer = upload('/sink', source.stream);
      await until('the service runs', () => calls.length === 1);
      // Nothing tells that nothing more will come: the kernel's buffers are what may still fill.
      await new Promise((resolve) => setTimeout(resolve, 150));
      expect(source.produced, 'bytes sent to nobody').to.be.lessThan(24 * MB);
      open();
      expect((await answer).json['bytes']).to.equal(64 * MB);
    });
    for (const [name, status, what] of [
      ['ignores', 200, 'does not read'],
      ['first', 200, 'reads the beginning'],
      ['peeks', 200, 'reads a byte and lets the rest lie'],
      ['throws', 500, 'fails while it reads'],
      ['pipes', 500, 'fails while it pipes'],
    ] as const) {
      it(`answer though the service ${what}, and leave the connection in order`, async () => {
        const wire = await Wire.open(served.port);
        const chunk = Buffer.concat([Buffer.from('10000\r\n'), Buffer.alloc(MB / 16, 'x'), Buffer.from('\r\n')]);
        for (let i = 0; i < 3; i++) {
          wire.send(request(`POST /${name}`, ['Transfer-Encoding: chunked']));
          for (let sent = 0; sent < 64; sent++) wire.send(chunk);
          wire.send('0\r\n\r\n').send(request('POST /echo', ['Content-Type: application/json'], String(i)));
          const replies = (await wire.replies(2 * i + 2)).slice(2 * i);
          expect(replies.map((r) => r.status)).to.deep.equal([status, 200]);
          expect(replies[0]?.body).not.to.contain('disk');
          expect(replies[1]?.body).to.equal(String(i));
        }
        wire.close();
        await isFree();
        for (const input of inputs) expect(input.destroyed).to.equal(true);
      });
    }
    it('break off at the limit with 413, by length and by count, the caller still sending', async () => {
      const length = { headers: { 'content-length': 8 * MB } };
      for (const options of [{}, length]) {
        const { status, json } = await upload('/small', content(8).stream, options);
        expect(status).to.equal(413);
        expect(json).to.include({ code: 'INPUT_TOO_LARGE', detail: 'The body is larger than 100000 bytes' });
      }
      const just = await ask(`${served.url}/small`, { body: Buffer.alloc(100_000) });
      expect(just.json).to.include({ bytes: 100_000 });
      expect((await ask(`${served.url}/small`, { body: Buffer.alloc(100_001) })).status).to.equal(413);
    });
    it('tell the service where the caller goes away in the middle', async () => {
      const wire = await Wire.open(served.port);
      wire.send(request('POST /sink', ['Content-Length: 1000'], 'x'.repeat(500)));
      await until('the service runs', () => calls.length === 1);
      wire.close();
      await until('the service heard of it', () => failures.length === 1);
      expect(failures[0]).to.include({ code: 'CALL_ABORTED' });
      expect(calls[0]?.signal.aborted).to.equal(true);
      await isFree();
    });
    it('do no harm where the caller goes away and nobody listens', async () => {
      for (let i = 0; i < 5; i++) {
        const wire = await Wire.open(served.port);
        wire.send(request('POST /ignores', ['Content-Length: 1000'], 'x'.repeat(500)));
        await until('the service ran', () => inputs.length === i + 1);
        wire.close();
      }
      await isFree();
      expect((await postJson(`${served.url}/echo`, 1)).status).to.equal(200);
    });
  });

  describe('downwards', () => {
    it('carry 64 MB as they are', async () => {
      const { bytes } = await ask(`${served.url}/download`);
      const expected = await digest(content(64).stream);
      expect(createHash('sha1').update(bytes).digest('hex')).to.equal(expected.sha);
    });
    it('wait for a caller that does not read, and end with one that goes away', async () => {
      const wire = await Wire.open(served.port);
      wire.socket.pause();
      wire.send(request('GET /download'));
      await until('it runs', () => (sources[0]?.produced ?? 0) > 0);
      await new Promise((resolve) => setTimeout(resolve, 150));
      const source = sources[0] as (typeof sources)[0];
      expect(source.produced, 'bytes sent to nobody').to.be.lessThan(24 * MB);
      wire.close();
      await until('the source is closed', () => source.stream.destroyed);
      expect(source.produced).to.be.lessThan(64 * MB);
    });
    it('are cut, not ended, where they break', async () => {
      for (const at of ['/breaks', '/breaks?sized=1']) {
        const wire = await Wire.open(served.port);
        const text = await wire.send(request(`GET ${at}`)).end();
        expect(text).to.match(/^HTTP\/1.1 200 OK/);
        expect(text.endsWith('0\r\n\r\n'), 'a well-formed end').to.equal(false);
        expect(text).not.to.contain('secret');
        const failure = await ask(served.url + at).catch((error: NodeJS.ErrnoException) => error);
        expect(failure).to.include({ code: 'ECONNRESET' });
      }
      expect(JSON.stringify(served.lines)).to.contain('a streamed reply broke off');
    });
    it('are closed where their headers cannot be sent, and where nobody wants them', async () => {
      expect((await ask(`${served.url}/header`)).status).to.equal(500);
      expect((await ask(`${served.url}/download`, { method: 'HEAD' })).status).to.equal(200);
      await until('the sources are closed', () => sources.every(({ stream }) => stream.destroyed));
      expect(sources.map((s) => s.produced < 64 * MB)).to.deep.equal([true, true]);
    });
  });

  it('go through both ways at once', async () => {
    const req = http.request(`${served.url}/mirror`, { method: 'POST', agent: false });
    content(16).stream.pipe(req);
    const res = await new Promise<http.IncomingMessage>((resolve, reject) => {
      req.on('response', resolve).on('error', reject);
    });
    expect(await digest(res)).to.deep.equal(await digest(content(16).stream));
  });

  describe('bytes', () => {
    it('come and go undecoded', async () => {
      const body = Buffer.from([0, 1, 2, 255, 254]);
      const { bytes, headers } = await ask(`${served.url}/bytes`, { body, headers: { 'content-type': 'image/png' } });
      expect([...bytes]).to.deep.equal([254, 255, 2, 1, 0]);
      expect(headers).to.include({ 'content-type': 'application/octet-stream', 'content-length': '5' });
    });
    it('may be none', async () => {
      for (const options of [{ method: 'POST' }, { body: '' }]) {
        const { status, headers, bytes } = await ask(`${served.url}/bytes`, options);
        expect(status).to.equal(200);
        expect(headers['content-length']).to.equal('0');
        expect(bytes).to.have.length(0);
      }
    });
    it('have a limit', async () => {
      expect((await ask(`${served.url}/small-bytes`, { body: Buffer.alloc(1000) })).status).to.equal(200);
      expect((await ask(`${served.url}/small-bytes`, { body: Buffer.alloc(1001) })).status).to.equal(413);
    });
  });
});
