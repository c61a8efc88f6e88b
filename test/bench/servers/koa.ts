/** Koa 3 with find-my-way; its own body reading, since a parser from npm would cost more. */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import findMyWay from 'find-my-way';
import Koa from 'koa';
import { accept, CID_HEADER, KEY_HEADER, paths, ROUTES } from '../work.ts';
import { readBody } from './body.ts';
import { isOrder, isReceipt } from './checks.ts';
import { Counts } from './counts.ts';
import { isKey } from './key.ts';

const app = new Koa();
const router = findMyWay();
for (const path of paths(ROUTES)) router.on('POST', path, () => {}, new Counts());

app.use(async (ctx, next) => {
  ctx.state['cid'] = ctx.get(CID_HEADER) || randomUUID();
  ctx.set(CID_HEADER, ctx.state['cid']);
  await next();
});
app.use(async (ctx, next) => {
  const startedAt = performance.now();
  const found = router.find(ctx.method as 'POST', ctx.path);
  if (found === null) return;
  await next();
  (found.store as Counts).record(performance.now() - startedAt, ctx.status !== 200);
});
app.use(async (ctx, next) => {
  if (!isKey(ctx.get(KEY_HEADER))) ctx.throw(401, 'no valid key');
  await next();
});
app.use(async (ctx) => {
  const text = await body(ctx.req);
  if (text === null) return ctx.throw(413, 'too long');
  const order: unknown = parse(text);
  if (!isOrder(order)) return ctx.throw(400, JSON.stringify(isOrder.errors));
  const receipt = accept(order);
  if (!isReceipt(receipt)) return ctx.throw(500, 'bad output');
  ctx.body = receipt;
});

function body(req: IncomingMessage): Promise<string | null> {
  return new Promise((resolve) => readBody(req, resolve));
}
function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

app.listen(Number(process.argv[2]), '127.0.0.1');
process.once('disconnect', () => process.exit());
