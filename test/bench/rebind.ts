import { Client } from './client-process.ts';
import { shown, spread } from './figures.ts';
import { channelOf, startGantry } from './gantry.ts';
import type { Options } from './options.ts';
import type { Command, Rebound } from './plugins/control.ts';
import type { Section } from './table.ts';
import { paths, ROUTES } from './work.ts';

const REBOUND = 5000;
const BATCH = 10;
const MOST = 1.5;

/** Latency while other channels are unbound and bound again, against latency when nothing changes. */
export async function rebind({ rounds, seconds, connections }: Options): Promise<Section> {
  const server = await startGantry({ name: 'gantry-rebind', paths: paths(ROUTES), control: true });
  const client = await Client.start();
  const load = { port: server.port, paths: server.paths, connections, seconds };
  const definitions = paths(REBOUND, 'moving').map((path, i) => channelOf(`moving${i}`, path));
  const command = (say: Command) => server.child.ask<Rebound>(say);
  // The channels are there in the quiet windows too: what is compared is changing them, not having them.
  await command({ rebind: { definitions, batch: BATCH } });
  await client.drive(load);
  await command({ stop: true });
  const quiet: { p50Ms: number; p99Ms: number; perSecond: number }[] = [];
  const busy: typeof quiet = [];
  const perSecond: number[] = [];
  const shares: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const still = await client.drive(load);
    quiet.push({ ...still, perSecond: still.requests / still.seconds });
    await command({ rebind: { definitions, batch: BATCH } });
    const moved = await client.drive(load);
    const { channels, busyMs } = await command({ stop: true });
    busy.push({ ...moved, perSecond: moved.requests / moved.seconds });
    perSecond.push(channels / moved.seconds);
    shares.push((busyMs / 1000 / moved.seconds) * 100);
  }
  await Promise.all([client.stop(), server.child.stop()]);
  const row = (name: string, windows: typeof quiet) => [
    name,
    shown(spread(windows.map((w) => w.perSecond)), 0),
    shown(spread(windows.map((w) => w.p50Ms))),
    shown(spread(windows.map((w) => w.p99Ms))),
  ];
  const ratio = spread(busy.map((w, i) => w.p99Ms / (quiet[i]?.p99Ms ?? Number.NaN)));
  return {
    title: 'Rebind: latency while channels change',
    about: [
      `The load of the REST bench on ${ROUTES} channels of a server that has ${REBOUND.toLocaleString('en')} more. In every other window those are`,
      `unbound and bound again over and over, ${BATCH} in each turn of the event loop: far faster than any reload would be.`,
      'Both kinds of window alternate, and the ratio is taken of neighbours.',
    ],
    tables: [
      {
        title: 'Median (least..most)',
        head: ['window', 'requests/s', 'p50 ms', 'p99 ms'],
        rows: [row('quiet', quiet), row('rebinding', busy)],
      },
      {
        title: 'What was rebound',
        head: ['', 'median (least..most)'],
        rows: [
          ['channels/s', shown(spread(perSecond), 0)],
          ['% of the time spent on it', shown(spread(shares), 1)],
        ],
      },
    ],
    goals: [
      {
        text: `p99 while ${REBOUND.toLocaleString('en')} channels are rebound is at most ${MOST} x the quiet one`,
        measured: shown(ratio),
        met: ratio.median <= MOST,
      },
    ],
  };
}
