import { Readable } from 'node:stream';
import { expect } from 'chai';
import fc from 'fast-check';
import { Bytes, type Call, defineService, Stream, Type } from '../../../core/api.ts';
import { rest, type Served, serve } from '../fixtures/server.ts';
import { type Answer, ask, postJson } from '../fixtures/wire.ts';

const SOURCES = ['path', 'query', 'body'] as const;
type Source = (typeof SOURCES)[number];

/** Every order of every choice of sources. */
function orders(left: readonly Source[]): Source[][] {
  return left.flatMap((first) => [[first], ...orders(left.filter((s) => s !== first)).map((more) => [first, ...more])]);
}

const Typed = Type.Object(
  {
    id: Type.Integer(),
    flag: Type.Optional(Type.Boolean()),
    price: Type.Optional(Type.Number()),
    tags: Type.Optional(Type.Array(Type.Integer())),
    name: Type.Optional(Type.String()),
  },
  { additionalProperties: false },
);
const any = { input: Type.Any(), output: Type.Any() };
const all = Type.Object({ page: Type.Optional(Type.Integer()), size: Type.Integer({ default: 20 }) });
const services = [
  defineService({ name: 'echo', ...any, create: () => (input) => ({ given: input }) }),
  defineService({ name: 'typed', input: Typed, output: Type.Any(), create: () => (input) => input }),
  defineService({ name: 'list', input: all, output: Type.Any(), create: () => (input) => input }),
  defineService({ name: 'rows', input: Type.Array(Typed), output: Type.Any(), create: () => (input) => input }),
  defineService({
    name: 'bytes',
    input: Bytes,
    output: Type.Any(),
    create: () => (input) => ({ hex: Buffer.from(input).toString('hex') }),
  }),
  defineService({
    name: 'image',
    input: Type.Any(),
    output: Bytes,
    create: () => (_, call) => picture(call),
  }),
  defineService({
    name: 'flow',
    input: Type.Any(),
    output: Stream,
    create: () => (_, call) => Readable.from([picture(call)]),
  }),
  defineService({ name: 'open', input: Type.Any(), output: Type.Any(), create: () => (_, call) => picture(call) }),
  defineService({
    name: 'seen',
    ...any,
    create: () => (input, call) => ({ input: input ?? null, params: call.params, query: call.query, path: call.path }),
  }),
];

const PIXELS = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0xff]);
let pictures = 0;
function picture(call: Call): Uint8Array {
  pictures++;
  call.reply.contentType = 'image/png';
  return PIXELS;
}

let served: Served;
const precedences = orders(SOURCES);

describe('transport.rest: what a request carries', () => {
  before(async () => {
    served = await serve({
      services,
      channels: [
        rest('POST /echo', 'echo'),
        rest('GET,POST,PUT /typed', 'typed'),
        rest('GET,POST,PUT /typed/{id}', 'typed'),
        rest('GET,POST /list', 'list'),
        rest('POST /rows', 'rows'),
        rest('POST /bytes', 'bytes'),
        rest('GET,POST /seen/{a}', 'seen'),
        rest('GET,POST /image', 'image'),
        rest('GET,POST /flow', 'flow'),
        rest('GET /open', 'open'),
        rest('POST /json-only', 'echo', { formats: ['json'] }),
        rest('POST /xml-first', 'echo', { format: 'xml', formats: ['xml', 'json'] }),
        ...precedences.map((precedence, i) => rest(`POST /merge${i}/{p}/{q}`, 'echo', { settings: { precedence } })),
        ...precedences.map((precedence, i) => rest(`POST /bare${i}`, 'echo', { settings: { precedence } })),
      ],
      plugins: { 'codec.form': {}, 'codec.xml': {}, 'codec.csv': {} },
    });
  });
  after(() => served.kernel.stop());

  const post = (at: string, type: string, body: string | Uint8Array, headers = {}): Promise<Answer> =>
    ask(served.url + at, { body, headers: { 'content-type': type, ...headers } });
  const get = (at: string): Promise<Answer> => ask(served.url + at);

  describe('its content type', () => {
    it('chooses the format, whatever its case and parameters', async () => {
      for (const type of ['application/json', 'Application/JSON ; Charset=UTF-8', 'application/vnd.acme+json;v=1']) {
        expect((await post('/echo', type, '{"a":1}')).json, type).to.deep.equal({ given: { a: 1 } });
      }
      expect((await post('/echo', 'application/x-www-form-urlencoded', 'a=1&b=x+y')).json).to.deep.equal({
        given: { a: '1', b: 'x y' },
      });
      expect((await post('/echo', 'application/xml', '<r><a>1</a></r>')).json).to.deep.equal({ given: { a: '1' } });
      expect((await post('/echo', 'text/csv', 'a,b\n1,2\n')).json).to.deep.equal({ given: [{ a: '1', b: '2' }] });
    });
    it('may be absent: then the channel has its own', async () => {
      expect((await ask(`${served.url}/echo`, { body: '{"a":1}' })).json).to.deep.equal({ given: { a: 1 } });
      const xml = await ask(`${served.url}/xml-first`, { body: '<r><a>1</a></r>', headers: { accept: '*/*;q=0.1' } });
      expect(xml.headers['content-type']).to.match(/^application\/xml/);
      expect(xml.text).to.contain('<a>1</a>');
    });
    it('is refused with 415 where nobody reads it, saying what is read', async () => {
      for (const [at, type, expected] of [
        ['/echo', 'text/yaml', 'application/json, application/x-www-form-urlencoded, application/xml, text/csv'],
        ['/json-only', 'application/xml', 'application/json'],
        ['/xml-first', 'text/csv', 'application/xml, application/json'],
        ['/echo', 'application/jsonx', null],
        ['/echo', '*/*', null],
      ] as const) {
        const { status, headers, json } = await post(at, type, '{}');
        expect(status, type).to.equal(415);
        expect(headers['content-type']).to.equal('application/problem+json');
        expect(json).to.include({ code: 'MEDIA_UNSUPPORTED' });
        expect(json.errors?.[0]).to.include({ path: 'content-type', got: type });
        if (expected !== null) expect(json.errors?.[0]).to.include({ expected });
      }
    });
    it('is no matter where there is no body', async () => {
      const { status } = await ask(`${served.url}/list`, { headers: { 'content-type': 'a/b' } });
      expect(status).to.equal(200);
      expect((await post('/bytes', 'image/png', Buffer.from([0, 255, 10]))).json).to.deep.equal({ hex: '00ff0a' });
    });
  });

  describe('Accept', () => {
    const cases: [string, string][] = [
      ['application/json', 'application/json'],
      ['application/xml', 'application/xml'],
      ['text/xml', 'application/xml'],
      ['*/*', 'application/json'],
      ['application/*', 'application/json'],
      ['text/*', 'application/xml'],
      ['', 'application/json'],
      [' , ', 'application/json'],
      ['application/json;q=0.5, application/xml', 'application/xml'],
      ['application/json;q=0.5, application/xml;q=0.4', 'application/json'],
      ['application/json;q=0, */*;q=0.1', 'application/x-www-form-urlencoded'],
      ['text/html, application/xml;q=0.9, */*;q=0.8', 'application/xml'],
      ['text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2', 'application/json'],
      ['APPLICATION/XML;Q=1.0', 'application/xml'],
      ['application/json;q=abc, application/xml;q=0.1', 'application/xml'],
    ];
    for (const [accept, expected] of cases) {
      it(`'${accept}' gets ${expected}`, async () => {
        const { status, headers } = await postJson(`${served.url}/echo`, { a: '1' }, { accept });
        expect(status).to.be.oneOf([200, 500]);
        if (status === 200) expect(headers['content-type']).to.match(new RegExp(`^${expected}`));
        else expect(expected).to.equal('application/x-www-form-urlencoded');
      });
    }
    it('that names nothing there is gets 406, as problem+json, and the service is not run', async () => {
      for (const accept of ['image/png', 'application/json;q=0', 'text/html;q=1, image/*']) {
        const { status, headers, json } = await postJson(`${served.url}/echo`, {}, { accept });
        expect(status, accept).to.equal(406);
        expect(headers['content-type']).to.equal('application/problem+json');
        expect(json).to.include({ code: 'REPLY_UNACCEPTABLE' });
        expect(json.errors?.[0]).to.include({ path: 'accept', got: accept });
      }
      expect((await postJson(`${served.url}/json-only`, {}, { accept: 'application/xml' })).status).to.equal(406);
    });
    for (const at of ['/image', '/flow']) {
      it(`of whatever kind gets what there is, where the service gives bytes or a stream: ${at}`, async () => {
        const before = pictures;
        const accepts = ['image/png', 'image/*', 'text/html, image/webp, */*;q=0.1', 'text/plain', 'application/json'];
        for (const accept of accepts) {
          const { status, headers, bytes } = await ask(served.url + at, { headers: { accept } });
          expect(status, accept).to.equal(200);
          expect(headers['content-type'], accept).to.equal('image/png');
          expect(bytes.equals(PIXELS), accept).to.equal(true);
        }
        expect((await postJson(served.url + at, {}, { accept: 'image/png' })).status).to.equal(200);
        expect(pictures - before).to.equal(accepts.length + 1);
      });
    }
    it('is held to formats where a service gives bytes only as it happens', async () => {
      const before = pictures;
      expect((await ask(`${served.url}/open`, { headers: { accept: 'image/png' } })).status).to.equal(406);
      expect(pictures - before).to.equal(0);
      const { status, headers } = await ask(`${served.url}/open`, { headers: { accept: '*/*' } });
      expect([status, headers['content-type']]).to.deep.equal([200, 'image/png']);
    });
    it('is named in Vary where a cache might mix up formats', async () => {
      expect((await get('/list')).headers['vary']).to.equal('accept');
      expect((await postJson(`${served.url}/echo`, 1)).headers).not.to.have.property('vary');
    });
    it('is understood also when more different ones came than are remembered', async () => {
      for (let i = 100; i < 400; i++) {
        const { status } = await postJson(`${served.url}/echo`, 1, { accept: `a/b${i}, application/xml;q=0.${i}` });
        expect(status).to.equal(200);
      }
      expect((await postJson(`${served.url}/echo`, 1, { accept: 'application/xml' })).text).to.contain('<');
    });
  });

  describe('path, query and body', () => {
    const names = ['p', 'q', 'r', 's', 'constructor', 'toString'];
    const value = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 6 }).filter((s) => s.isWellFormed());
    // Any URL parser, that of a client too, takes these two out of a path, encoded or not.
    const segment = value.filter((s) => s !== '.' && s !== '..');
    const map = (values: fc.Arbitrary<unknown>) => fc.dictionary(fc.constantFrom(...names), values, { maxKeys: 5 });

    it('become one input, each precedence as it says', async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.nat(precedences.length - 1),
          fc.record({ p: segment, q: segment }),
          map(fc.oneof(value, fc.array(value, { minLength: 2, maxLength: 3 }))),
          fc.option(map(fc.oneof(fc.integer(), fc.constant(null), value))),
          async (i, params, query, body) => {
            const precedence = precedences[i] as Source[];
            const sources: Record<Source, Record<string, unknown>> = { path: params, query, body: body ?? {} };
            const expected: Record<string, unknown> = {};
            for (const name of names) {
              const first = precedence.find((source) => Object.hasOwn(sources[source], name));
              if (first !== undefined) expected[name] = sources[first][name];
            }
            const pairs = Object.entries(query).flatMap(([k, v]) => [v].flat().map((one) => [k, String(one)]));
            const search = pairs.map((pair) => pair.map(encodeURIComponent).join('=')).join('&');
            const at = `/merge${i}/${encodeURIComponent(params.p)}/${encodeURIComponent(params.q)}?${search}`;
            const answer =
              body === null ? await ask(served.url + at, { method: 'POST' }) : await postJson(served.url + at, body);
            expect(answer.status).to.equal(200);
            // Where nothing is read at all there is no input, and JSON has no word for that.
            expect(answer.json['given'] ?? {}).to.deep.equal(expected);
          },
        ),
        { numRuns: 300 },
      );
    });
    it('leave a body as it is that has no names, or that is alone', async () => {
      for (const [i, precedence] of precedences.entries()) {
        const reads = precedence.includes('body');
        for (const body of [[1, 2], 'text', 7, false, null, { a: 1 }]) {
          const { status, json } = await postJson(`${served.url}/bare${i}`, body);
          expect(status).to.equal(200);
          expect(json, JSON.stringify([precedence, body])).to.deep.equal(reads ? { given: body } : {});
        }
        const { json } = await postJson(`${served.url}/merge${i}/1/2?r=3`, [1, 2]);
        if (reads) expect(json).to.deep.equal({ given: [1, 2] });
      }
    });
    it('leave a body unread that the precedence does not name, malformed or not', async () => {
      const i = precedences.findIndex((p) => p.join() === 'path,query');
      expect((await post(`/merge${i}/1/2`, 'no/type', '{"p":')).json).to.deep.equal({ given: { p: '1', q: '2' } });
    });
    it('stay to be read each by itself', async () => {
      const { json } = await postJson(`${served.url}/seen/x%2Fy?b=1&b=2&c=&d`, [1]);
      expect(json).to.deep.equal({
        input: [1],
        params: { a: 'x/y' },
        query: { b: ['1', '2'], c: '', d: '' },
        path: '/seen/x%2Fy',
      });
    });
    it('make an empty object of nothing at all, where an object is declared', async () => {
      expect((await get('/list')).json).to.deep.equal({ size: 20 });
      expect((await get('/list?')).json).to.deep.equal({ size: 20 });
      expect((await get('/list?page=2')).json).to.deep.equal({ size: 20, page: 2 });
      expect((await ask(`${served.url}/list`, { method: 'POST' })).json).to.deep.equal({ size: 20 });
      const { status, json } = await get('/typed');
      expect(status).to.equal(400);
      expect(json.errors?.[0]).to.include({ path: '/id', message: 'is required' });
    });
  });

  describe('declared types', () => {
    it('are made of what is text: path, query, form, XML, CSV', async () => {
      const made = { id: 7, flag: true, price: 1.5, tags: [1] };
      expect((await get('/typed/7?flag=true&price=1.5&tags=1')).json).to.deep.equal(made);
      const form = await post('/typed', 'application/x-www-form-urlencoded', 'id=7&flag=true&price=1.5&tags=1');
      expect(form.json).to.deep.equal(made);
      const xml = '<r><id>7</id><flag>true</flag><price>1.5</price><tags>1</tags></r>';
      expect((await post('/typed', 'application/xml', xml)).json).to.deep.equal(made);
      expect((await post('/rows', 'text/csv', 'id,flag,price\n7,true,1.5\n')).json).to.deep.equal([
        { id: 7, flag: true, price: 1.5 },
      ]);
      expect((await get('/typed?id=7&tags=1&tags=2&name=007')).json).to.deep.equal({
        id: 7,
        tags: [1, 2],
        name: '007',
      });
    });
    it('are never made of JSON', async () => {
      for (const [body, path] of [
        [{ id: '7' }, '/id'],
        [{ id: 7, flag: 'true' }, '/flag'],
        [{ id: 7, tags: 1 }, '/tags'],
        [{ id: 7, price: '1.5' }, '/price'],
      ] as const) {
        const { status, json } = await postJson(`${served.url}/typed`, body);
        expect(status, path).to.equal(400);
        expect(json.errors?.[0]?.path).to.equal(path);
      }
      const mixed = await postJson(`${served.url}/typed/7?flag=true`, { price: '1.5' });
      expect(mixed.status, 'JSON beside a path').to.equal(400);
      expect(mixed.json.errors?.[0]?.path).to.equal('/price');
      expect((await postJson(`${served.url}/typed/7?flag=true`, { price: 1.5 })).json).to.deep.equal({
        id: 7,
        flag: true,
        price: 1.5,
      });
    });
    const bad: [string, string, string][] = [
      ['twice where once is declared', '/typed?id=1&id=2', '/id'],
      ['no number', '/typed?id=x', '/id'],
      ['a fraction where a whole number is declared', '/typed?id=1.5', '/id'],
      ['an empty number', '/typed?id=', '/id'],
      ['a number that is not exact', '/typed?id=99999999999999999', '/id'],
      ['a hexadecimal number', '/typed?id=0x10', '/id'],
      ['a boolean that is none', '/typed?id=1&flag=yes', '/flag'],
      ['one of a list that does not fit', '/typed?id=1&tags=1&tags=x', '/tags/1'],
      ['an unknown name', '/typed?id=1&other=1', '/other'],
      ['a name like what every object has', '/typed?id=1&constructor=1', '/constructor'],
      ['nothing where something is required', '/typed?flag=true', '/id'],
      ['a path that is no number', '/typed/seven', '/id'],
    ];
    for (const [what, at, path] of bad) {
      it(`refuse ${what}, naming ${path}`, async () => {
        const { status, headers, json } = await get(at);
        expect(status).to.equal(400);
        expect(headers['content-type']).to.equal('application/problem+json');
        expect(json).to.include({ code: 'INPUT_INVALID' });
        expect(json.errors?.map((e) => e.path)).to.deep.equal([path]);
      });
    }
  });

  describe('malformed input', () => {
    const bad: [string, () => Promise<Answer>][] = [
      ['JSON that ends too early', () => post('/echo', 'application/json', '{"a":')],
      ['JSON that is not UTF-8', () => post('/echo', 'application/json', Buffer.from([0x22, 0xff, 0x22]))],
      ['JSON that is nested too deeply', () => post('/echo', 'application/json', '['.repeat(100_000))],
      ['JSON with a prototype in it', () => post('/echo', 'application/json', '{"__proto__":{"a":1}}')],
      ['a form with invalid percent-encoding', () => post('/echo', 'application/x-www-form-urlencoded', 'a=%zz')],
      ['XML that is not closed', () => post('/echo', 'application/xml', '<a><b></a>')],
      ['a query with invalid percent-encoding', () => get('/list?a=%zz')],
      ['a query with a prototype in it', () => get('/list?__proto__=1')],
      ['an encoded prototype in the query', () => get('/list?__%70roto__=1')],
      ['a path with invalid percent-encoding', () => get('/seen/%E0%A4%A')],
    ];
    for (const [what, send] of bad) {
      it(`is refused with 400: ${what}`, async () => {
        const { status, headers, json } = await send();
        expect(status).to.equal(400);
        expect(headers['content-type']).to.equal('application/problem+json');
        expect(json['code']).to.be.oneOf(['INPUT_MALFORMED', 'INPUT_TOO_DEEP']);
        expect(({} as { a?: number }).a).to.equal(undefined);
      });
    }
    it('with more than 1,000 query parameters is refused as too large', async () => {
      const { status, json } = await get(`/list?${'a&'.repeat(1001)}`);
      expect(status).to.equal(413);
      expect(json).to.include({ code: 'INPUT_TOO_LARGE' });
      expect((await get(`/seen/1?${'a&'.repeat(1000)}`)).status).to.equal(200);
    });
    it('of any kind gets an answer', async () => {
      const types = ['application/json', 'application/xml', 'text/csv', 'application/x-www-form-urlencoded', 'x/y'];
      await fc.assert(
        fc.asyncProperty(fc.constantFrom(...types), fc.uint8Array({ maxLength: 60 }), async (type, body) => {
          const { status } = await post('/echo', type, body);
          expect(status).to.be.oneOf([200, 400, 415]);
        }),
        { numRuns: 200 },
      );
      expect(served.inHand()).to.equal(0);
    });
  });
});
