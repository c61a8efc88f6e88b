import http from 'node:http';
import type { HttpHost } from '../../core/ports/http.ts';
import rest from '../../plugins/transport-rest/index.ts';
import { testTransport } from '../kit/transport.ts';

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
