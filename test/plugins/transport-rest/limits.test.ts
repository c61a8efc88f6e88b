import { expect } from 'chai';
import { defineService, Type } from '../../../core/api.ts';
import { rest, type Served, serve, until } from '../fixtures/server.ts';
import { ask, parse, postJson, request, Wire } from '../fixtures/wire.ts';
import { slowGuard } from './slow-guard.ts';

const any = { input: Type.Any(), output: Type.Any() };
const services = [
  defineService({ name: 'echo', ...any, create: () => (input) => input ?? null }),
  defineService({
    name: 'size',
    ...any,
    create: () => (input) => ({ size: JSON.stringify(input).length }),
  }),
];
let served: Served;
let ran = 0;
const { plugin: guardSlow, guarded } = slowGuard();

describe('transport.rest: limits', () => {
  before(async () => {
    const counts = defineService({ name: 'counts', ...any, create: () => () => ++ran });
    const keyed = { guard: 'apikey', keys: [{ name: 'me', key: 'correct-key' }] };
    served = await serve({
      services: [...services, counts],
      channels: [
        rest('POST /size', 'size'),
        rest('POST /tiny', 'size', { settings: { maxBodyBytes: 10 } }),
        rest('POST /none', 'counts', { settings: { maxBodyBytes: 0 } }),
        rest('POST /large', 'size', { settings: { maxBodyBytes: 8_000_000 } }),
        rest('POST /keyed', 'counts', { security: keyed }),
        rest('POST /slowly', 'size', { security: { guard: 'slow' } }),
        rest('POST /echo', 'echo'),
      ],
      rest: { maxBodyBytes: 1_000_000 },
      http: { requestTimeoutMs: 1500, headersTimeoutMs: 1000 },
      plugins: { 'guard.apikey': {} },
      loaded: [{ id: 'guard.slow', plugin: guardSlow, config: {} }],
    });
  });
  after(() => served.kernel.stop());
  const isFree = () => until('nothing is in hand', () => served.inHand() === 0);
  const text = (bytes: number) => JSON.stringify('x'.repeat(bytes - 2));

  it('let in what is as large as allowed, and not a byte more', async () => {
    for (const [at, limit] of [
      ['/tiny', 10],
      ['/size', 1_000_000],
      ['/large', 8_000_000],
    ] as const) {
      expect((await ask(served.url + at, { body: text(limit) })).json).to.deep.equal({ size: limit });
      const { status, headers, json } = await ask(served.url + at, { body: text(limit + 1) });
      expect(status).to.equal(413);
      expect(headers['content-type']).to.equal('application/problem+json');
      expect(json).to.include({ code: 'INPUT_TOO_LARGE', detail: `The body is larger than ${limit} bytes` });
    }
    expect((await ask(`${served.url}/none`, { method: 'POST' })).status).to.equal(200);
    expect((await ask(`${served.url}/none`, { body: '1' })).status).to.equal(413);
  });
  const eight = 'x'.repeat(8_000_000);
  for (const [how, sent] of Object.entries({
    'by its length': request('POST /size', [], eight),
    'by what came': request('POST /size', ['Transfer-Encoding: chunked'], `7A1200\r\n${eight}\r\n0\r\n\r\n`),
  })) {
    it(`refuse what is too large ${how}, and the connection stays usable`, async () => {
      const wire = await Wire.open(served.port);
      for (let i = 0; i < 3; i++) {
        const replies = await wire
          .send(sent)
          .send(request('POST /size', [], '123'))
          .replies(2 * i + 2);
        expect(replies.slice(2 * i).map((r) => r.status)).to.deep.equal([413, 200]);
      }
      wire.close();
      await isFree();
    });
  }
  it('give their answer to a caller that is still sending, and let go of one that never stops', async () => {
    const wire = await Wire.open(served.port);
    wire.send(request('POST /tiny', ['Transfer-Encoding: chunked']));
    const flood = setInterval(() => wire.ended || wire.send(`400\r\n${'x'.repeat(1024)}\r\n`), 5);
    const [reply] = await wire.replies(1);
    expect(reply?.status).to.equal(413);
    await wire.end(6000);
    clearInterval(flood);
    await until('the connection is gone', () => wire.socket.destroyed);
  });
  it('keep what is refused for another reason from being read as a request', async () => {
    const wire = await Wire.open(served.port);
    const inner = request('POST /echo', ['Content-Type: application/json'], '"smuggled"');
    const outer = request('POST /keyed', ['Content-Type: application/json'], inner);
    const replies = await wire.send(outer + request('POST /echo', [], '"next"')).replies(2);
    expect(replies.map((r) => r.status)).to.deep.equal([401, 200]);
    expect(replies[1]?.body).to.equal('"next"');
    wire.close();
  });
  it('are on the depth of JSON', async () => {
    const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);
    expect((await ask(`${served.url}/size`, { body: nested(64) })).status).to.equal(200);
    const { status, json } = await ask(`${served.url}/size`, { body: nested(65) });
    expect(status).to.equal(400);
    expect(json).to.include({ code: 'INPUT_TOO_DEEP' });
    expect((await ask(`${served.url}/size`, { body: '['.repeat(900_000) })).status).to.equal(400);
  });
  it('are not got round by a wrong length', async () => {
    const wire = await Wire.open(served.port);
    const chunk = 'x'.repeat(50);
    const [reply] = parse(
      await wire
        .send(request('POST /tiny', ['Transfer-Encoding: chunked', 'Connection: close'], `32\r\n${chunk}\r\n0\r\n\r\n`))
        .end(),
    );
    expect(reply?.status).to.equal(413);
  });
  it('do not run a service whose caller is not let in, whatever it sends', async () => {
    ran = 0;
    for (const body of ['1', '{"a":', 'x'.repeat(2_000_000)]) {
      expect((await ask(`${served.url}/keyed`, { body })).status).to.equal(401);
    }
    expect(ran).to.equal(0);
    const { status } = await postJson(`${served.url}/keyed`, 1, { 'x-api-key': 'correct-key' });
    expect(status).to.equal(200);
  });
  it('leave no call behind whose caller went away while the guard took its time', async () => {
    for (const body of ['{"half":', `"${'x'.repeat(4998)}"`]) {
      const wire = await Wire.open(served.port);
      const asked = guarded.length;
      wire.send(request('POST /slowly', ['Content-Length: 5000', 'Content-Type: application/json'], body));
      await until('the guard is asked', () => guarded.length > asked);
      wire.close();
      await until('the server heard of it', () => guarded.at(-1)?.call.aborted === true);
      guarded.at(-1)?.letIn();
      await isFree();
    }
  });
  it('hold for many callers at once that go away in the middle', async () => {
    const wires = await Promise.all(Array.from({ length: 50 }, () => Wire.open(served.port)));
    for (const [i, wire] of wires.entries()) {
      const at = ['/size', '/keyed', '/large', '/nothing'][i % 4];
      wire.send(request(`POST ${at}`, ['Content-Length: 5000', 'Content-Type: application/json'], '{"half":'));
      if (i % 3 === 0) wire.socket.resetAndDestroy();
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
    for (const wire of wires) wire.close();
    await isFree();
    expect((await postJson(`${served.url}/echo`, 1)).status).to.equal(200);
  });
});
