import { expect } from 'chai';
import { defineService, type ErrorKind, GantryError, Type } from '../../../core/api.ts';
import { CODES } from '../../../core/errors.ts';
import { rest, type Served, serve } from '../fixtures/server.ts';
import { ask, parse, postJson, request, Wire } from '../fixtures/wire.ts';

const STATUS: Readonly<Record<ErrorKind, number>> = {
  invalid: 400,
  unauthorized: 401,
  forbidden: 403,
  missing: 404,
  conflict: 409,
  busy: 429,
  unavailable: 503,
  timeout: 504,
  bug: 500,
  setup: 500,
};
const FINER: Readonly<Record<string, number>> = {
  IDEMPOTENCY_KEY_REUSED: 422,
  METHOD_UNSUPPORTED: 405,
  REPLY_UNACCEPTABLE: 406,
  INPUT_TOO_LARGE: 413,
  MEDIA_UNSUPPORTED: 415,
  OUTGOING_REJECTED: 502,
  OUTGOING_MALFORMED: 502,
};

class Hostile extends Error {
  override get message(): string {
    throw new Error('no message for you');
  }
}
const circular: Record<string, unknown> = { hidden: 'hidden-word' };
circular['self'] = circular;

const odd: Readonly<Record<string, () => unknown>> = {
  string: () => 'a hidden-word',
  null: () => null,
  undefined: () => undefined,
  number: () => 42,
  symbol: () => Symbol('hidden-word'),
  function: () => () => 'hidden-word',
  frozen: () => Object.freeze({ message: 'hidden-word' }),
  'frozen error': () => Object.freeze(new Error('hidden-word')),
  circular: () => circular,
  'getter that throws': () => new Hostile(),
  'code that throws': () =>
    Object.defineProperty(new Error('hidden-word'), 'code', {
      get() {
        throw new Error('no code for you');
      },
    }),
  'proxy that throws': () =>
    new Proxy(
      {},
      {
        get() {
          throw new Error('nothing for you');
        },
      },
    ),
  'error of another library': () =>
    Object.assign(new Error('hidden-word'), { status: 404, expose: true, statusCode: 404 }),
  'endless cause': () => {
    const error = new Error('hidden-word');
    error.cause = error;
    return error;
  },
};

const any = { input: Type.Any(), output: Type.Any() };
const services = [
  defineService({
    name: 'raise',
    ...any,
    create: () => (input) => {
      const { code, kind } = input as { code: string; kind?: ErrorKind };
      const told = {
        hint: 'a hidden-word hint',
        cause: new Error('a hidden-word cause', { cause: 'a hidden-word below' }),
      };
      throw kind === undefined
        ? new GantryError(code as 'CONFLICT', `It is ${code}`, told)
        : new GantryError(code, `It is ${code}`, { ...told, kind });
    },
  }),
  defineService({
    name: 'odd',
    ...any,
    create: () => (input) => {
      const { what, later } = input as { what: string; later?: boolean };
      const thrown = odd[what]?.();
      if (later === true) return Promise.reject(thrown);
      throw thrown;
    },
  }),
  defineService({
    name: 'declared',
    ...any,
    errors: { OUT_OF_STOCK: { kind: 'conflict', description: 'Nothing is left' } },
    create:
      ({ errors }) =>
      () => {
        throw errors.OUT_OF_STOCK('Nothing is left of it', {
          problems: [{ path: '/items/0', message: 'is sold out', got: '7' }],
          retryAfterMs: 1500,
          hint: 'a hidden-word hint',
        });
      },
  }),
  defineService({
    name: 'output',
    input: Type.Any(),
    output: Type.Object({ n: Type.Integer() }),
    create: () => () => ({ n: 'a hidden-word' }) as unknown as { n: number },
  }),
  defineService({
    name: 'unwritable',
    ...any,
    create: () => (input) => ((input as { big?: boolean }).big === true ? { n: 1n } : circular),
  }),
  defineService({
    name: 'challenge',
    ...any,
    create: () => () => {
      throw new GantryError('AUTH_REJECTED', 'No', { challenge: 'Bearer error="x"\r\nset-cookie: a=b' });
    },
  }),
  defineService({
    name: 'ids',
    ...any,
    create: () => (_, call) => ({
      cid: call.cid,
      traceparent: call.message.traceparent ?? null,
      tracestate: call.message.tracestate ?? null,
    }),
  }),
];

let served: Served;

describe('transport.rest: errors', () => {
  before(async () => {
    served = await serve({
      services,
      channels: [
        ...['raise', 'odd', 'declared', 'output', 'unwritable', 'challenge', 'ids'].map((n) => rest(`POST /${n}`, n)),
        rest('GET /id/{n}', 'ids'),
        rest('POST /fixed', 'raise', { settings: { headers: { 'X-Frame-Options': 'DENY' } } }),
      ],
    });
  });
  after(() => served.kernel.stop());

  for (const [code, kind] of Object.entries(CODES)) {
    const status = FINER[code] ?? STATUS[kind];
    it(`${code} is ${status}`, async () => {
      const { status: got, headers, json, text } = await postJson(`${served.url}/raise`, { code });
      expect(got).to.equal(status);
      expect(headers['content-type']).to.equal('application/problem+json');
      expect(headers['cache-control']).to.equal('no-store');
      expect(Object.keys(json)).to.have.members(['type', 'title', 'status', 'detail', 'code', 'cid']);
      expect(json).to.include({ status, code, detail: `It is ${code}`, cid: headers['x-correlation-id'] });
      expect(json['type']).to.equal(`urn:gantry:problem:${code.toLowerCase().replaceAll('_', '-')}`);
      expect(json['title']).to.be.a('string').and.not.equal('');
      expect(text + JSON.stringify(headers)).not.to.contain('hidden-word');
    });
  }
  for (const [kind, status] of Object.entries(STATUS)) {
    it(`an error of a service's own of the kind ${kind} is ${status}`, async () => {
      const { status: got, json } = await postJson(`${served.url}/raise`, { code: 'OWN_CODE', kind });
      expect(got).to.equal(status);
      expect(json).to.include({ code: 'OWN_CODE', type: 'urn:gantry:problem:own-code' });
    });
  }
  it('that a service declared say where, and when to try again', async () => {
    const { status, headers, json, text } = await postJson(`${served.url}/declared`, {});
    expect(status).to.equal(409);
    expect(headers['retry-after']).to.equal('2');
    expect(json).to.deep.include({
      code: 'OUT_OF_STOCK',
      detail: 'Nothing is left of it',
      errors: [{ path: '/items/0', message: 'is sold out', got: '7' }],
    });
    expect(text).not.to.contain('hidden-word');
  });
  it('have the headers that the channel adds to every reply', async () => {
    const { status, headers } = await postJson(`${served.url}/fixed`, { code: 'CONFLICT' });
    expect(status).to.equal(409);
    expect(headers).to.include({ 'x-frame-options': 'DENY', 'content-type': 'application/problem+json' });
  });
  it('are no way to write headers', async () => {
    const { status, headers } = await postJson(`${served.url}/challenge`, {});
    expect(status).to.be.oneOf([401, 500]);
    expect(headers).not.to.have.property('set-cookie');
  });
  it('of the output are 500, and tell nothing of it', async () => {
    for (const [at, body] of [
      ['output', {}],
      ['unwritable', {}],
      ['unwritable', { big: true }],
    ] as const) {
      const { status, json, text } = await postJson(`${served.url}/${at}`, body);
      expect(status).to.equal(500);
      expect(json).to.include({ code: 'OUTPUT_INVALID' });
      expect(text).not.to.contain('hidden-word');
    }
  });
  for (const what of Object.keys(odd)) {
    for (const later of [false, true]) {
      it(`of a service that ${later ? 'rejects with' : 'throws'} an odd thing are 500: ${what}`, async () => {
        const before = served.inHand();
        const { status, json, text } = await postJson(`${served.url}/odd`, { what, later });
        expect(status).to.equal(500);
        expect(json).to.include({ code: 'SERVICE_FAILED', status: 500, title: 'Internal Server Error' });
        expect(text).not.to.contain('hidden-word').and.not.to.contain('for you');
        expect(served.inHand(), 'calls in hand').to.equal(before);
      });
    }
  }
});

describe('transport.rest: a header that HTTP does not allow', () => {
  it('is refused when the channel is bound', async () => {
    for (const [headers, at] of [
      [{ 'x bad': '1' }, 'channels[0] (POST /x ids).settings.headers["x bad"]'],
      [{ 'x-bad': 'a\nb' }, 'channels[0] (POST /x ids).settings.headers.x-bad'],
      [{ 'x.bad': 'ł' }, 'channels[0] (POST /x ids).settings.headers["x.bad"]'],
    ] as const) {
      const failed = await serve({ services, channels: [rest('POST /x', 'ids', { settings: { headers } })] }).catch(
        (error: GantryError) => error,
      );
      expect(failed).to.be.instanceOf(Error);
      expect((failed as GantryError).problems?.[0]?.path).to.equal(at);
    }
  });
});

describe('transport.rest: ids', () => {
  before(async () => {
    served = await serve({
      services,
      channels: [rest('POST /ids', 'ids'), rest('GET /id/{n}', 'ids'), rest('POST /raise', 'raise')],
    });
  });
  after(() => served.kernel.stop());
  const UUID = /^[0-9a-f-]{36}$/;

  it('are the caller’s where they are valid, on every reply', async () => {
    for (const id of ['a', 'order-7/2', '~!"{}', 'x'.repeat(128)]) {
      const headers = { 'x-correlation-id': id };
      const good = await postJson(`${served.url}/ids`, {}, headers);
      expect(good.json['cid']).to.equal(id);
      const answers = [
        good,
        await postJson(`${served.url}/raise`, { code: 'CONFLICT' }, headers),
        await ask(`${served.url}/nothing`, { headers }),
        await ask(`${served.url}/ids`, { headers }),
        await ask(`${served.url}/id/%zz`, { headers }),
        await ask(`${served.url}/ids`, { body: '{', headers }),
      ];
      expect(answers.map((a) => a.status)).to.deep.equal([200, 409, 404, 405, 400, 400]);
      for (const answer of answers) expect(answer.headers['x-correlation-id']).to.equal(id);
      for (const answer of answers.slice(1)) expect(answer.json['cid']).to.equal(id);
    }
  });
  it('are new where they are not valid, or not there', async () => {
    const given = ['', 'a b', 'x'.repeat(129), 'a\tb', 'zażółć', 'a\u007fb', 'a, b'];
    const seen = new Set<string>();
    for (const id of [undefined, ...given]) {
      const header = id === undefined ? [] : [`X-Correlation-Id: ${id}`];
      for (const line of ['GET /id/1', 'GET /nothing']) {
        const wire = await Wire.open(served.port);
        const [reply] = parse(await wire.send(request(line, [...header, 'Connection: close'])).end());
        expect(reply?.headers['x-correlation-id'], JSON.stringify(id)).to.match(UUID);
        expect(JSON.parse(reply?.body ?? '').cid).to.equal(reply?.headers['x-correlation-id']);
        seen.add(reply?.headers['x-correlation-id'] ?? '');
      }
    }
    expect(seen.size).to.equal(2 * (given.length + 1));
  });
  it('that come twice are not joined into one', async () => {
    const wire = await Wire.open(served.port);
    const twice = request('GET /id/1', ['X-Correlation-Id: a', 'X-Correlation-Id: b', 'Connection: close']);
    const [reply] = parse(await wire.send(twice).end());
    expect(reply?.headers['x-correlation-id']).to.match(UUID);
  });

  const A = 'a'.repeat(32);
  const B = 'b'.repeat(16);
  it('of a trace reach the call where they are valid', async () => {
    for (const traceparent of [`00-${A}-${B}-01`, `00-${A}-${B}-00`, `01-${A}-${B}-01`, `cc-${A}-${B}-01-more`]) {
      const { json } = await postJson(`${served.url}/ids`, {}, { traceparent, tracestate: 'v=1' });
      expect(json).to.include({ traceparent, tracestate: 'v=1' });
    }
  });
  it('of a trace are left out where they are not', async () => {
    const wrong = [
      '',
      'x',
      `00-${A}-${B}`,
      `ff-${A}-${B}-01`,
      `00-${'0'.repeat(32)}-${B}-01`,
      `00-${A}-${'0'.repeat(16)}-01`,
      `00-${A.toUpperCase()}-${B}-01`,
      `00-${A}a-${B}-01`,
      `00-${A}-${B}-01-more`,
      `00-${A}-${B}-012`,
      `01-${A}-${B}-01more`,
      `00-${A}-${B}-01, 00-${A}-${B}-01`,
    ];
    for (const traceparent of wrong) {
      const { json } = await postJson(`${served.url}/ids`, {}, { traceparent, tracestate: 'v=1' });
      expect(json, traceparent).to.include({ traceparent: null, tracestate: null });
    }
  });
});
