/** `npm run chaos`: makes every fault that must do no harm, under load, and shows whether it did. */
import { cpSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { close } from '../engines/index.ts';
import { readOptions } from './options.ts';
import { asText, type Outcome } from './outcome.ts';
import type { Scenario } from './scenario.ts';
import { SCENARIOS } from './scenarios.ts';
import { World } from './world.ts';

interface Found extends Outcome {
  readonly name: string;
}

let world: World | null = null;
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
  const { names, terms, json, keep } = readOptions(process.argv.slice(2), Object.keys(SCENARIOS));
  const machine = `${cpus().length} core(s) of ${cpus()[0]?.model.trim()}, load before the run ${loadavg()[0]?.toFixed(1)}`;
  process.stdout.write(`${new Date().toISOString().slice(0, 16)}Z, ${machine}\n`);
  const found: Found[] = [];
  for (const name of names) {
    world ??= await World.open();
    process.stderr.write(`\n${name} ...\n`);
    const outcome = await one(world, SCENARIOS[name] as Scenario, terms);
    process.stdout.write(asText(outcome));
    found.push({ name, ...outcome });
    if (keep !== null) cpSync(world.folder, keep, { recursive: true, filter: (file) => !file.endsWith('.sock') });
    if (outcome.tables.length === 0) await renew();
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
async function one(on: World, scenario: Scenario, terms: Parameters<Scenario>[1]): Promise<Outcome> {
  try {
    return await scenario(on, terms);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    const check = { text: 'it can be carried out', measured: why, met: false, strict: true };
    return { title: 'not carried out', about: [], tables: [], checks: [check] };
  }
}

/** After one that broke off, nobody knows what is left of the installation. */
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
