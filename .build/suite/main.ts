/** `npm test`: the files of tests in several processes, the longest first, with engines that they share. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { SharedEngines } from '../../test/engines/shared.ts';
import { type Options, optionsOf, USAGE } from './options.ts';
import { type Durations, isQuick, plan } from './plan.ts';
import { Run } from './run.ts';

const HOME = path.resolve(import.meta.dirname, '../..');
const DURATIONS = path.join(import.meta.dirname, 'durations.json');
const ALL = ['test/**/*.test.ts', 'docs/examples/**/*.test.ts'];
/** No test sets itself a limit of more than 400 s. */
const SILENCE_MS = 450_000;

process.exitCode = await main();

async function main(): Promise<number> {
  let options: Options;
  try {
    options = optionsOf(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${USAGE}`);
    return 2;
  }
  process.chdir(HOME);
  const durations: Durations = existsSync(DURATIONS) ? JSON.parse(readFileSync(DURATIONS, 'utf8')) : {};
  const files = filesOf(options).filter(
    (file) => !options.quick || isQuick(file, readFileSync(file, 'utf8'), durations),
  );
  if (files.length === 0) {
    process.stderr.write('No file of tests is named so.\n');
    return 2;
  }
  const cores = availableParallelism();
  // One more than cores, since tests wait for processes, sockets and leases.
  const processes = options.processes ?? cores + 1;
  const began = performance.now();
  const engines = await SharedEngines.open();
  const run = new Run(plan(files, durations), {
    cwd: HOME,
    mocha: options.mocha,
    env: engines.env,
    silenceMs: SILENCE_MS,
    cores,
    processes,
    mustRun: !options.picks,
    print: (text) => void process.stdout.write(text),
  });
  let interrupted = false;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (interrupted) return;
      interrupted = true;
      process.stdout.write(`\n${signal}: ending what runs\n`);
      void run.end();
    });
  }
  process.stdout.write(`${files.length} files in up to ${processes} processes at a time\n\n`);
  try {
    const report = await run.go();
    report.end(performance.now() - began);
    const { GANTRY_TEST_REPORT: to } = process.env;
    if (to !== undefined) writeFileSync(to, JSON.stringify(report));
    if (options.record && !interrupted) record(report.durations(durations, filesOf({ specs: [], ignore: [] })));
    return interrupted ? 130 : report.failed === 0 ? 0 : 1;
  } finally {
    await engines.close();
  }
}

/** As mocha finds them, relative to the project. */
function filesOf({ specs, ignore }: Pick<Options, 'specs' | 'ignore'>): string[] {
  const collect = createRequire(import.meta.url)(path.join(HOME, 'node_modules/mocha/lib/cli/collect-files.cjs')) as (
    options: object,
  ) => { files: string[]; unmatchedFiles?: string[] };
  const { files } = collect({
    ...{ extension: ['.test.ts'], file: [], recursive: true, sort: true, allowEmpty: true },
    spec: specs.length === 0 ? ALL : specs,
    ignore: ['test/**/fixtures/**', ...ignore],
  });
  return files.map((file) => path.relative(HOME, file));
}

function record(durations: Durations): void {
  const lines = Object.entries(durations).map(
    ([file, { ms, cpuMs }]) => `  "${file}": { "ms": ${ms}, "cpuMs": ${cpuMs} }`,
  );
  writeFileSync(DURATIONS, `{\n${lines.join(',\n')}\n}\n`);
}
