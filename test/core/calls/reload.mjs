// Loads 600 versions of a service file as the built server does, and tells by how much the heap grows for each of
// the last 300. The first 300 are to let the engine come to rest.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { loader } from '../../../dist/core/doors.js';
import { compileCheck, compileOutput } from '../../../dist/core/schema/check.js';

process.setSourceMapsEnabled(true);
const place = mkdtempSync(path.join(tmpdir(), 'gantry-reload-'));
const source = (i) => `
import { defineService, Type } from 'gantry/api';
const table = Array.from({ length: 5000 }, (_, k) => k + ${i});
const Order = Type.Object({ id: Type.Integer({ minimum: ${i} }), lines: Type.Array(Type.Object({ sku: Type.String() })) });
export default defineService({ name: 'order', input: Order, output: Order, create: () => () => table[0] });`;

async function load(i) {
  writeFileSync(path.join(place, 'order.ts'), source(i));
  const [{ service }] = await loader.services([place]);
  compileCheck(service.input, 'order');
  compileOutput(service.output, 'order');
}
async function heap() {
  for (let i = 0; i < 8; i++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    globalThis.gc();
  }
  return process.memoryUsage().heapUsed;
}

for (let i = 0; i < 300; i++) {
  await load(i);
  if (i % 100 === 0) await heap();
}
const before = await heap();
for (let i = 300; i < 600; i++) {
  await load(i);
  if (i % 100 === 0) await heap();
}
process.stdout.write(String(Math.round(((await heap()) - before) / 300)));
rmSync(place, { recursive: true });
process.exit(0);
