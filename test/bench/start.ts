import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Child, freePort, untilAnswers, usage } from './child.ts';
import { type Spread, shown, spread } from './figures.ts';
import { gantryCommand, writeConfig } from './gantry.ts';
import type { Options } from './options.ts';
import { here, root, workDir } from './scripts.ts';
import type { Goal, Section } from './table.ts';
import { paths } from './work.ts';

const CASES = [
  { channels: 10, leastSeconds: 1.5 },
  { channels: 10_000, leastSeconds: 3 },
] as const;
const SERVICES = 10;
const PING = '/gantry/ping';

interface Started {
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly rssMb: number;
}

/** From the start of the process to its first 200. */
export async function start({ quick, rounds }: Options): Promise<Section> {
  const services = writeServices();
  const all: { readonly channels: number; readonly runs: Started[] }[] = [];
  for (const { channels } of CASES) all.push({ channels, runs: [] });
  for (let round = 0; round < (quick ? 1 : rounds); round++) {
    for (const { channels, runs } of all) runs.push(await once(channels, services));
  }
  const over = (runs: readonly Started[], what: (one: Started) => number): Spread => spread(runs.map(what));
  return {
    title: 'Start: from nothing to the first answer',
    about: [
      `From the start of the process to the first 200 of GET ${PING}, asked every 5 ms. The plugins of config/base.yaml,`,
      `${SERVICES + 1} service files in TypeScript beside those of services/health, the channels in one YAML file, an API key on each.`,
      'The server is not bound to a core here.',
    ],
    tables: [
      {
        title: 'Median (least..most)',
        head: ['channels', 'seconds', 'CPU seconds', 'RSS MB'],
        rows: all.map(({ channels, runs }) => [
          channels.toLocaleString('en'),
          shown(over(runs, (one) => one.seconds)),
          shown(over(runs, (one) => one.cpuSeconds)),
          over(runs, (one) => one.rssMb).median.toFixed(0),
        ]),
      },
    ],
    goals: all.map(({ channels, runs }, i): Goal => {
      const measured = over(runs, (one) => one.seconds);
      const least = (CASES[i] as (typeof CASES)[number]).leastSeconds;
      const text = `With ${channels.toLocaleString('en')} channels the server answers within ${least} s`;
      return { text, measured: `${shown(measured)} s`, met: measured.median < least };
    }),
  };
}

async function once(channels: number, services: string): Promise<Started> {
  const port = await freePort();
  const folders = [path.join(root, 'services/health'), services];
  const config = writeConfig(
    { name: `start-${channels}`, paths: paths(channels), whole: true, services: folders },
    port,
  );
  const startedAt = performance.now();
  const child = new Child(`gantry with ${channels} channels`, gantryCommand(config), {});
  await untilAnswers(child, { port, path: PING, everyMs: 5 });
  const seconds = (performance.now() - startedAt) / 1000;
  const { cpuMs, rssMb } = usage(child.pid);
  await child.stop();
  return { seconds, cpuSeconds: cpuMs / 1000, rssMb };
}

/** A folder of services beside the one that is called. */
function writeServices(): string {
  const dir = path.join(workDir, 'services');
  mkdirSync(dir, { recursive: true });
  for (let i = 0; i < SERVICES; i++) {
    writeFileSync(
      path.join(dir, `order-${i}.ts`),
      `import { defineService } from 'gantry/api';
import { accept, Order, Receipt } from '${path.join(here, 'work.ts')}';

export default defineService({ name: 'bench.order${i}', input: Order, output: Receipt, create: () => accept });
`,
    );
  }
  return dir;
}
