/** `npm run chaos`: makes every fault that must do no harm, under load, and shows whether it did. */
import { cpSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { isDeepStrictEqual } from 'node:util';
import { close } from '../engines/index.ts';
import type { JobScenario, JobTerms } from './jobs/scenario.ts';
import { JOB_SCENARIOS } from './jobs/scenarios.ts';
import { JobsWorld, type WorldOptions } from './jobs/world.ts';
import { readOptions } from './options.ts';
import { asText, type Outcome } from './outcome.ts';
import type { Scenario, Terms } from './scenario.ts';
import { SCENARIOS } from './scenarios.ts';
import { World } from './world.ts';

const BROKEN = 'not carried out';

interface Found extends Outcome {
  readonly name: string;
}

/** One at a time: what runs beside it takes its time. */
let world: World | JobsWorld | null = null;
let ending: Promise<void> | null = null;

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.once(signal, () => void end().then(() => process.exit(130)));

try {
  process.exitCode = (await run()) ? 0 : 1;
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 2;
} finally {
  await end();
}
process.exit();

/** Whether all that was promised holds. */
async function run(): Promise<boolean> {
  const known = [...Object.keys(SCENARIOS), ...Object.keys(JOB_SCENARIOS)];
  const { names, terms, jobTerms, json, keep } = readOptions(process.argv.slice(2), known);
  const machine = `${cpus().length} core(s) of ${cpus()[0]?.model.trim()}, load before the run ${loadavg()[0]?.toFixed(1)}`;
  process.stdout.write(`${new Date().toISOString().slice(0, 16)}Z, ${machine}\n`);
  const found: Found[] = [];
  for (const name of names) {
    process.stderr.write(`\n${name} ...\n`);
    const outcome = await one(() => made(name, terms, jobTerms));
    process.stdout.write(asText(outcome));
    found.push({ name, ...outcome });
    if (keep !== null && world !== null) {
      cpSync(world.folder, keep, { recursive: true, filter: (file) => !file.endsWith('.sock') });
    }
    if (outcome.title === BROKEN) await renew();
  }
  if (json !== null) writeFileSync(json, `${JSON.stringify({ machine, terms, found }, null, 2)}\n`);
  const broken = found.flatMap(({ name, checks }) =>
    checks.filter(({ met }) => !met).map(({ text }) => `${name}: ${text}`),
  );
  process.stdout.write(
    broken.length === 0 ? '\nall met\n' : `\nnot met:\n${broken.map((one) => `  ${one}\n`).join('')}`,
  );
  return broken.length === 0;
}

/** One that cannot even be carried out is told, and the others go on. */
async function one(scenario: () => Promise<Outcome>): Promise<Outcome> {
  try {
    return await scenario();
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    const check = { text: 'it can be carried out', measured: why, met: false, strict: true };
    return { title: BROKEN, about: [], tables: [], checks: [check] };
  }
}

/** On the installation that there is, where that is the right one. */
async function made(name: string, terms: Terms, jobTerms: Partial<JobTerms>): Promise<Outcome> {
  const ofJobs = JOB_SCENARIOS[name] as JobScenario | undefined;
  if (ofJobs === undefined) return (SCENARIOS[name] as Scenario)(await clusterWorld(), terms);
  return ofJobs.run(await jobsWorld(ofJobs.world), { ...ofJobs.full, ...jobTerms });
}
async function clusterWorld(): Promise<World> {
  if (world instanceof World) return world;
  await renew();
  const opened = await World.open();
  world = opened;
  return opened;
}
async function jobsWorld(options: WorldOptions): Promise<JobsWorld> {
  if (world instanceof JobsWorld && isDeepStrictEqual(world.options, options)) return world;
  await renew();
  const opened = await JobsWorld.open(options);
  world = opened;
  return opened;
}

/** Nothing is left of it: after one that broke off, nobody knows what that would be. */
async function renew(): Promise<void> {
  await world?.close();
  await close();
  world = null;
}

function end(): Promise<void> {
  ending ??= (async () => {
    await world?.close();
    await close();
  })();
  return ending;
}
