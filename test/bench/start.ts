import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Child, freePort, untilAnswers, usage } from './child.ts';
import { type Spread, shown, spread } from './figures.ts';
import { gantryCommand, PING, writeConfig } from './gantry.ts';
import type { Options } from './options.ts';
import { here, workDir } from './scripts.ts';
import { type Prepared, prepareRecords } from './start-records.ts';
import type { Goal, Section } from './table.ts';
import { BODY, KEY, KEY_HEADER, paths } from './work.ts';

const SERVICES = 10;

interface Case {
  readonly channels: number;
  readonly where: string;
  readonly leastSeconds: number;
  /** What to start; a config that is new each time, or one with its data. */
  prepare(services: string): Promise<() => Promise<Prepared>>;
}

const CASES: readonly Case[] = [
  { ...inConfig(10), leastSeconds: 1.5 },
  { ...inConfig(10_000), leastSeconds: 3 },
  { ...inRecords(10_000, { shared: true }), leastSeconds: 3 },
  { ...inRecords(10_000, { shared: false }), leastSeconds: 3 },
];

interface Started {
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly rssMb: number;
}

/** From the start of the process to its first 200. */
export async function start({ quick, rounds }: Options): Promise<Section> {
  const services = writeServices();
  const all: { readonly of: Case; readonly next: () => Promise<Prepared>; readonly runs: Started[] }[] = [];
  for (const of of CASES) all.push({ of, next: await of.prepare(services), runs: [] });
  for (let round = 0; round < (quick ? 1 : rounds); round++) {
    for (const { next, runs } of all) runs.push(await once(await next()));
  }
  const over = (runs: readonly Started[], what: (one: Started) => number): Spread => spread(runs.map(what));
  return {
    title: 'Start: from nothing to the first answer',
    about: [
      `From the start of the process to the first 200 of GET ${PING}, asked every 5 ms. The plugins of config/base.yaml,`,
      `${SERVICES + 1} service files in TypeScript beside those of services/health and services/admin. The channels are in one YAML`,
      'file, an API key on each, and the database is new; or they are records in SQLite, put there before by',
      'configuration.apply. The server is not bound to a core here.',
    ],
    tables: [
      {
        title: 'Median (least..most)',
        head: ['channels', 'seconds', 'CPU seconds', 'RSS MB'],
        rows: all.map(({ of, runs }) => [
          titleOf(of),
          shown(over(runs, (one) => one.seconds)),
          shown(over(runs, (one) => one.cpuSeconds)),
          over(runs, (one) => one.rssMb).median.toFixed(0),
        ]),
      },
    ],
    goals: all.map(({ of, runs }): Goal => {
      const measured = over(runs, (one) => one.seconds);
      const text = `With ${titleOf(of)} the server answers within ${of.leastSeconds} s`;
      return { text, measured: `${shown(measured)} s`, met: measured.median < of.leastSeconds };
    }),
  };
}

function titleOf({ channels, where }: Case): string {
  return `${channels.toLocaleString('en')} channels in ${where}`;
}

function inConfig(channels: number): Omit<Case, 'leastSeconds'> {
  const all = paths(channels);
  const prepare = async (services: string) => async () => {
    const port = await freePort();
    const options = { name: `start-${channels}`, paths: all, whole: true, services: [services] };
    return { config: writeConfig(options, port), port, lastPath: all.at(-1) as string };
  };
  return { channels, where: 'the config', prepare };
}

function inRecords(channels: number, { shared }: { shared: boolean }): Omit<Case, 'leastSeconds'> {
  const prepare = async (services: string) => {
    const prepared = await prepareRecords({ count: channels, shared, services });
    return async () => prepared;
  };
  return { channels, where: `records, ${shared ? 'one key for all' : 'a key on each'}`, prepare };
}

async function once({ config, port, lastPath }: Prepared): Promise<Started> {
  const startedAt = performance.now();
  const child = new Child('gantry', gantryCommand(config), {});
  await untilAnswers(child, { port, path: PING, everyMs: 5 });
  const seconds = (performance.now() - startedAt) / 1000;
  const { cpuMs, rssMb } = usage(child.pid);
  // A ping alone would not tell that the channels are there.
  const headers = { [KEY_HEADER]: KEY, 'content-type': 'application/json' };
  await untilAnswers(child, { port, path: lastPath, method: 'POST', headers, body: BODY, timeoutMs: 1 });
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
