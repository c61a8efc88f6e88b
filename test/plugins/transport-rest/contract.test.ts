import http from 'node:http';
import { expect } from 'chai';
import type { HttpHost } from '../../../core/ports/http.ts';
import rest from '../../../plugins/transport-rest/index.ts';
import { testTransport } from '../../kit/transport.ts';

const OUTCOME: Readonly<Record<number, string>> = {
  200: 'ok',
  204: 'ok',
  400: 'invalid',
  401: 'unauthorized',
  403: 'forbidden',
  404: 'missing',
  409: 'conflict',
  500: 'bug',
  503: 'unavailable',
  504: 'timeout',
};

testTransport({
  plugin: rest,
  config: {},
  with: { 'http.koa': { port: 0 } },
  address: (n) => ({ method: 'POST', path: n % 3 === 0 ? `/kit/${n}/{id}` : `/kit/${n}` }),
  async connect(_, kernel) {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 16 });
    const [url = ''] = (kernel.cradle.http as HttpHost).urls();
    return {
      send: (address, body, headers = {}) =>
        new Promise((resolve, reject) => {
          const path = String(address['path']).replace('{id}', '7');
          const length = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
          const req = http.request(url + path, { agent, method: 'POST', headers: { ...headers, ...length } }, (res) => {
            const chunks: Buffer[] = [];
            res.on('data', (chunk: Buffer) => chunks.push(chunk));
            res.on('end', () => {
              const outcome = OUTCOME[res.statusCode ?? 0] ?? String(res.statusCode);
              resolve({ outcome, body: Buffer.concat(chunks).toString() });
            });
          });
          req.on('error', reject).end(body);
        }),
      close: async () => agent.destroy(),
    };
  },
});

describe('transport.rest: claims', () => {
  const { claims } = rest.create({ config: { maxBodyBytes: 1 } } as unknown as Parameters<typeof rest.create>[0]);
  const of = (path: string, method?: string | string[], verbs: string[] | null = null) =>
    claims?.({ path, ...(method === undefined ? {} : { method }) }, verbs);

  it('are one for each method', () => {
    expect(of('/a', ['GET', 'PUT'])).to.deep.equal(['GET /a', 'PUT /a']);
    expect(of('/a')).to.deep.equal(['POST /a']);
    expect(of('/a', undefined, ['get', 'delete'])).to.deep.equal(['GET /a', 'DELETE /a']);
  });
  it('are the same for paths that the router takes for one, and others for others', () => {
    for (const [one, other] of [
      ['/o/{id}', '/o/{no}'],
      ['/o/{*rest}', '/o/{*all}'],
      ['/%61bc', '/abc'],
      ['/a%2fb', '/a%2Fb'],
      ['/ä', '/%C3%A4'],
    ] as const) {
      expect(of(one), one).to.deep.equal(of(other));
    }
    const different = ['/o/{id}', '/o/{*id}', '/o/id', '/o/id/', '/O/id', '/a%2Fb', '/a/b', '/%7Bid%7D/x', '/{id}/x'];
    expect(new Set(different.flatMap((path) => of(path))).size).to.equal(different.length);
  });
});
