import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Child, freePort, untilAnswers, usage } from './child.ts';
import { type Spread, shown, spread } from './figures.ts';
import { gantryCommand, PING, writeConfig } from './gantry.ts';
import type { Options } from './options.ts';
import { here, root, workDir } from './scripts.ts';
import { ran, type Used } from './start-floor.ts';
import { type Prepared, prepareRecords } from './start-records.ts';
import type { Goal, Section } from './table.ts';
import { BODY, KEY, KEY_HEADER, paths } from './work.ts';

const SERVICES = 10;

interface Case {
  readonly title: string;
  /** The most CPU time that it may take, as a multiple of an empty Node's; null where that is only shown. */
  readonly most: number | null;
  /** Gives what is measured once. */
  prepare(services: string): Promise<() => Promise<Started>>;
}

const FLOOR = 'node -e 0';

const CASES: readonly Case[] = [
  { title: FLOOR, most: null, prepare: async () => toItsEnd(['-e', '0']) },
  { title: 'gantry --help', most: 3, prepare: async () => toItsEnd([gantry(), '--help']) },
  { title: 'gantry help', most: null, prepare: async () => toItsEnd([gantry(), 'help']) },
  { title: 'gantry check', most: null, prepare: async () => toItsEnd([gantry(), 'check']) },
  { ...inConfig(10), most: 12 },
  { ...inConfig(10_000), most: 30 },
  { ...inRecords(10_000, { shared: true }), most: 30 },
  { ...inRecords(10_000, { shared: false }), most: 30 },
];

interface Started extends Used {
  /** Null for what has ended. */
  readonly rssMb: number | null;
}

/** From the start of the process to its first 200, or to its end, beside an empty Node's. */
export async function start({ quick, rounds }: Options): Promise<Section> {
  const services = writeServices();
  const all: { readonly of: Case; readonly next: () => Promise<Started>; readonly runs: Started[] }[] = [];
  for (const of of CASES) all.push({ of, next: await of.prepare(services), runs: [] });
  for (let round = 0; round < (quick ? 1 : rounds); round++) {
    for (const { next, runs } of all) runs.push(await next());
  }
  const over = (runs: readonly Started[], what: (one: Started) => number): Spread => spread(runs.map(what));
  const cpu = (runs: readonly Started[]) => over(runs, (one) => one.cpuSeconds);
  const wall = (runs: readonly Started[]) => over(runs, (one) => one.seconds);
  const floor = all.find(({ of }) => of.title === FLOOR)?.runs ?? [];
  return {
    title: 'Start: from nothing to the first answer',
    about: [
      `From the start of the process to the first 200 of GET ${PING}, asked every 5 ms; a command runs to its end. A ratio`,
      `is one median by the median of '${FLOOR}' in the same run: of CPU time, which other work on the machine disturbs`,
      'least, and of the time that passed. CPU time is that of the process without its children. The plugins of',
      `config/base.yaml, ${SERVICES + 1} service files in TypeScript beside those of services/health and services/admin. The channels`,
      'are in one YAML file, an API key on each, and the database is new; or they are records in SQLite, put there before',
      'by configuration.apply. The server is not bound to a core here.',
    ],
    tables: [
      {
        title: 'Median (least..most)',
        head: ['what starts', 'CPU seconds', 'CPU ratio', 'seconds', 'ratio', 'RSS MB'],
        rows: all.map(({ of, runs }) => [
          of.title,
          shown(cpu(runs)),
          (cpu(runs).median / cpu(floor).median).toFixed(1),
          shown(wall(runs)),
          (wall(runs).median / wall(floor).median).toFixed(1),
          runs.some(({ rssMb }) => rssMb === null) ? '' : over(runs, (one) => one.rssMb ?? 0).median.toFixed(0),
        ]),
      },
    ],
    goals: all.flatMap(({ of: { title, most }, runs }): Goal[] => {
      if (most === null) return [];
      const measured = cpu(runs).median / cpu(floor).median;
      const text = `${title}: at most ${most} x the CPU time of '${FLOOR}'`;
      return [{ text, measured: `${measured.toFixed(1)} x`, met: measured <= most }];
    }),
  };
}

/** In one measurement, since an empty Node takes little: the mean of these. */
const TIMES = 4;

function toItsEnd(args: readonly string[]): () => Promise<Started> {
  return async () => {
    const all = Array.from({ length: TIMES }, () => ran(args));
    const mean = (what: (one: Used) => number) => all.reduce((sum, one) => sum + what(one), 0) / TIMES;
    return { seconds: mean((one) => one.seconds), cpuSeconds: mean((one) => one.cpuSeconds), rssMb: null };
  };
}

function gantry(): string {
  return path.join(root, 'dist/core/main.js');
}

function titled(channels: number, where: string): string {
  return `${channels.toLocaleString('en')} channels in ${where}`;
}

function inConfig(channels: number): Omit<Case, 'most'> {
  const all = paths(channels);
  const prepare = async (services: string) => async () => {
    const port = await freePort();
    const options = { name: `start-${channels}`, paths: all, whole: true, services: [services] };
    return once({ config: writeConfig(options, port), port, lastPath: all.at(-1) as string });
  };
  return { title: titled(channels, 'the config'), prepare };
}

function inRecords(channels: number, { shared }: { shared: boolean }): Omit<Case, 'most'> {
  const prepare = async (services: string) => {
    const prepared = await prepareRecords({ count: channels, shared, services });
    return () => once(prepared);
  };
  return { title: titled(channels, `records, ${shared ? 'one key for all' : 'a key on each'}`), prepare };
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
