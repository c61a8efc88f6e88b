import { Client } from './client-process.ts';
import { slope } from './figures.ts';
import { startGantry } from './gantry.ts';
import type { Options } from './options.ts';
import type { Heap } from './plugins/control.ts';
import type { Section } from './table.ts';
import { paths, ROUTES } from './work.ts';

const STEPS = 10;
/** Steps that are not judged: caches fill and code is compiled. */
const WARM = 2;
const MOST_BYTES = 1;

/** The heap after a forced collection, over a million calls. */
export async function memory({ quick, connections }: Options): Promise<Section> {
  const step = quick ? 10_000 : 100_000;
  const server = await startGantry({
    name: 'gantry-memory',
    paths: paths(ROUTES),
    control: true,
    nodeOptions: ['--expose-gc'],
  });
  const client = await Client.start();
  const heaps = [await server.child.ask<Heap>({ heap: true })];
  for (let i = 0; i < STEPS; i++) {
    await client.drive({ port: server.port, paths: server.paths, connections, requests: step });
    heaps.push(await server.child.ask<Heap>({ heap: true }));
    process.stderr.write(`   ${((i + 1) * step).toLocaleString('en')} calls\n`);
  }
  await Promise.all([client.stop(), server.child.stop()]);
  const bytesPerCall = slope(heaps.slice(WARM).map(({ heapBytes }, i) => [i * step, heapBytes] as const));
  return {
    title: `Memory: ${(STEPS * step).toLocaleString('en')} calls`,
    about: [
      'The calls of the REST bench over HTTP; after every step the collector is forced three times and the heap is read.',
      `The growth is the slope of the line through the steps from ${(WARM * step).toLocaleString('en')} calls on. RSS holds what the collector keeps in reserve.`,
    ],
    tables: [
      {
        title: 'After a forced collection',
        head: ['calls', 'heap MB', 'RSS MB'],
        rows: heaps.map(({ heapBytes, rssBytes }, i) => [
          (i * step).toLocaleString('en'),
          (heapBytes / 2 ** 20).toFixed(2),
          (rssBytes / 2 ** 20).toFixed(1),
        ]),
      },
    ],
    // Ten steps of a short run are too near to each other to tell growth from noise.
    goals: quick
      ? []
      : [
          {
            text: `The heap grows by less than ${MOST_BYTES} byte per call`,
            measured: `${bytesPerCall.toFixed(3)} bytes per call`,
            met: bytesPerCall < MOST_BYTES,
          },
        ],
  };
}
