import { expect } from 'chai';
import { defineService, GantryError, Type } from '../../../core/api.ts';
import { rest, type Served, serve } from '../fixtures/server.ts';
import { ask } from '../fixtures/wire.ts';

const any = { input: Type.Any(), output: Type.Any() };
const services = [
  defineService({ name: 'echo', ...any, create: () => (input) => input ?? null }),
  defineService({
    name: 'fails',
    ...any,
    create: () => () => {
      throw new GantryError('FORBIDDEN', 'Not you');
    },
  }),
  defineService({ name: 'large', ...any, create: () => () => 'x'.repeat(5000) }),
];
const APP = 'https://app.example';
const cors = (more: object) => ({ settings: { cors: { origins: [APP, 'http://localhost:3000'], ...more } } });
let served: Served;

describe('transport.rest: CORS', () => {
  before(async () => {
    served = await serve({
      services,
      channels: [
        rest('GET,POST /some', 'echo', cors({})),
        rest('PUT /some', 'echo', cors({ origins: ['https://other.example'] })),
        rest('DELETE /some', 'echo'),
        rest('POST /any', 'echo', cors({ origins: ['*'] })),
        rest('POST /mine', 'echo', cors({ credentials: true, headers: ['x-mine'], expose: [], maxAgeS: 5 })),
        rest('POST /fails', 'fails', cors({})),
        rest('GET /large', 'large', cors({})),
        rest('GET /plain', 'echo'),
      ],
    });
  });
  after(() => served.kernel.stop());

  const preflight = (at: string, origin: string | undefined, method: string | undefined) =>
    ask(served.url + at, {
      method: 'OPTIONS',
      headers: {
        ...(origin === undefined ? {} : { origin }),
        ...(method === undefined ? {} : { 'access-control-request-method': method }),
      },
    });
  const allowed = 'access-control-allow-origin';

  it('answers a preflight of an origin that is allowed', async () => {
    const { status, headers, bytes } = await preflight('/some', APP, 'POST');
    expect(status).to.equal(204);
    expect(bytes).to.have.length(0);
    expect(headers).to.include({
      [allowed]: APP,
      'access-control-allow-methods': 'GET, POST',
      'access-control-allow-headers': 'content-type, authorization, x-correlation-id',
      'access-control-max-age': '600',
      vary: 'origin',
    });
    expect(headers).not.to.have.property('access-control-allow-credentials');
    expect((await preflight('/some', 'http://localhost:3000', 'GET')).headers[allowed]).to.equal(
      'http://localhost:3000',
    );
  });
  it('answers for the channel that has the method', async () => {
    expect((await preflight('/some', APP, 'PUT')).headers).not.to.have.property(allowed);
    expect((await preflight('/some', 'https://other.example', 'PUT')).headers[allowed]).to.equal(
      'https://other.example',
    );
    expect((await preflight('/some', APP, 'HEAD')).headers[allowed]).to.equal(APP);
    for (const method of ['DELETE', 'PATCH', undefined]) {
      const { status, headers } = await preflight('/some', APP, method);
      expect(status).to.equal(204);
      expect(headers).not.to.have.property(allowed);
      expect(headers['allow']).to.equal('DELETE, GET, HEAD, OPTIONS, POST, PUT');
    }
    expect((await preflight('/plain', APP, 'GET')).headers).not.to.have.property(allowed);
  });
  it('allows nothing to an origin that is not listed, however alike', async () => {
    const alike = [
      'https://app.example.evil',
      'http://app.example',
      `${APP}:8443`,
      `${APP}/`,
      'null',
      'HTTPS://APP.EXAMPLE',
      '*',
      '',
    ];
    for (const origin of alike) {
      const { status, headers } = await preflight('/some', origin, 'POST');
      expect(status, origin).to.equal(204);
      expect(Object.keys(headers).filter((name) => name.startsWith('access-control'))).to.deep.equal([]);
      expect(headers['vary'], 'a cache must not give this to others').to.equal('origin');
      const get = await ask(`${served.url}/some`, { headers: { origin } });
      expect(get.status, 'the browser is who refuses').to.equal(200);
      expect(get.headers).not.to.have.property(allowed);
    }
  });
  it('allows every origin where it says so, without credentials', async () => {
    const { headers } = await preflight('/any', 'https://whoever.example', 'POST');
    expect(headers[allowed]).to.equal('*');
    expect(headers).not.to.have.any.keys('vary', 'access-control-allow-credentials');
    const failed = await serve({
      services,
      channels: [rest('POST /x', 'echo', cors({ origins: ['*'], credentials: true }))],
    }).catch((error: GantryError) => error);
    expect(String(JSON.stringify((failed as GantryError).problems))).to.contain('credentials to every origin');
  });
  it('has credentials, headers and an age of its own', async () => {
    const { headers } = await preflight('/mine', APP, 'POST');
    expect(headers).to.include({
      'access-control-allow-credentials': 'true',
      'access-control-allow-headers': 'x-mine',
      'access-control-max-age': '5',
    });
    expect(headers).not.to.have.property('access-control-expose-headers');
  });
  it('marks replies, errors, and what is compressed or known', async () => {
    const headers = { origin: APP };
    const good = await ask(`${served.url}/some?a=1`, { headers });
    expect(good.headers).to.include({
      [allowed]: APP,
      'access-control-expose-headers': 'x-correlation-id',
      vary: 'origin',
    });
    for (const [body, status] of [
      ['{}', 403],
      ['{"a":', 400],
      ['x'.repeat(2_000_000), 413],
    ] as const) {
      const bad = await ask(`${served.url}/fails`, { body, headers });
      expect(bad.status).to.equal(status);
      expect(bad.headers).to.include({ [allowed]: APP, vary: 'origin' });
      expect(bad.headers['content-type']).to.equal('application/problem+json');
    }
    const large = await ask(`${served.url}/large`, { headers: { ...headers, 'accept-encoding': 'gzip' } });
    expect(large.headers).to.include({ [allowed]: APP, vary: 'origin, accept-encoding' });
  });
  it('leaves alone who comes without an origin, and tells caches so', async () => {
    const { headers } = await ask(`${served.url}/some`);
    expect(headers).not.to.have.property(allowed);
    expect(headers['vary']).to.equal('origin');
    expect((await ask(`${served.url}/plain`)).headers).not.to.have.property('vary');
  });
});
