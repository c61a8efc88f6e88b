/** The floor: node:http and nothing else, written by hand for this one job. */
import { randomUUID } from 'node:crypto';
import { createServer, type ServerResponse } from 'node:http';
import { accept, CID_HEADER, KEY_HEADER, paths, ROUTES } from '../work.ts';
import { readBody } from './body.ts';
import { isOrder, isReceipt } from './checks.ts';
import { Counts } from './counts.ts';
import { isKey } from './key.ts';

const routes = new Map(paths(ROUTES).map((path) => [`POST ${path}`, new Counts()]));

const server = createServer((req, res) => {
  const startedAt = performance.now();
  const url = req.url ?? '';
  const query = url.indexOf('?');
  const counts = routes.get(`${req.method} ${query === -1 ? url : url.slice(0, query)}`);
  const given = req.headers[CID_HEADER];
  const cid = typeof given === 'string' ? given : randomUUID();
  if (counts === undefined) return answer(res, 404, '{"error":"no such route"}', cid);
  const end = (status: number, body: string) => {
    answer(res, status, body, cid);
    counts.record(performance.now() - startedAt, status !== 200);
  };
  if (!isKey(req.headers[KEY_HEADER])) return end(401, '{"error":"no valid key"}');
  readBody(req, (text) => {
    if (text === null) return end(413, '{"error":"too long"}');
    let order: unknown;
    try {
      order = JSON.parse(text);
    } catch {
      return end(400, '{"error":"no JSON"}');
    }
    if (!isOrder(order)) return end(400, JSON.stringify({ error: isOrder.errors }));
    const receipt = accept(order);
    if (!isReceipt(receipt)) return end(500, '{"error":"bad output"}');
    end(200, JSON.stringify(receipt));
  });
});

function answer(res: ServerResponse, status: number, body: string, cid: string): void {
  res.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(body),
    [CID_HEADER]: cid,
  });
  res.end(body);
}

server.listen(Number(process.argv[2]), '127.0.0.1');
process.once('disconnect', () => process.exit());
