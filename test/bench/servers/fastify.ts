/** Fastify 5 as its manual has it: schemas for body and response, hooks for the key and the counts. */
import { randomUUID } from 'node:crypto';
import { fastify } from 'fastify';
import { accept, CID_HEADER, KEY_HEADER, MAX_BODY_BYTES, Order, paths, Receipt, ROUTES } from '../work.ts';
import { AJV_OPTIONS, plainSchema } from './checks.ts';
import { Counts } from './counts.ts';
import { isKey } from './key.ts';

const app = fastify({
  logger: false,
  bodyLimit: MAX_BODY_BYTES,
  requestIdHeader: CID_HEADER,
  genReqId: () => randomUUID(),
  // The same checks as the others: nothing is coerced, and an unknown property is an error.
  ajv: { customOptions: { ...AJV_OPTIONS, coerceTypes: false, removeAdditional: false } },
});
const counts = new Map<string, Counts>();

app.addHook('onRequest', (request, reply, done) => {
  reply.header(CID_HEADER, request.id);
  if (!isKey(request.headers[KEY_HEADER])) reply.code(401).send({ error: 'no valid key' });
  else done();
});
app.addHook('onResponse', (request, reply, done) => {
  counts.get(request.routeOptions.url ?? '')?.record(reply.elapsedTime, reply.statusCode !== 200);
  done();
});
const schema = { body: plainSchema(Order), response: { 200: plainSchema(Receipt) } };
for (const path of paths(ROUTES)) {
  counts.set(path, new Counts());
  app.post<{ Body: Order }>(path, { schema }, async (request) => accept(request.body));
}

await app.listen({ port: Number(process.argv[2]), host: '127.0.0.1' });
process.once('disconnect', () => process.exit());
