/** `npm run bench`: measures the built product against what it is compared with. Not a test: figures are not asserted. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { admin } from './admin.ts';
import { killAll } from './child.ts';
import { dispatch } from './dispatch.ts';
import { live } from './live.ts';
import { describeMachine } from './machine.ts';
import { memory } from './memory.ts';
import { type Options, readOptions, USAGE } from './options.ts';
import { rebind } from './rebind.ts';
import { rest } from './rest.ts';
import { here, makeWorkDir, removeWorkDir } from './scripts.ts';
import { start } from './start.ts';
import { asMarkdown, asText, type Section } from './table.ts';

const BENCHES: Readonly<Record<string, (options: Options) => Promise<Section>>> = {
  rest,
  start,
  dispatch,
  rebind,
  live,
  admin,
  memory,
};

process.once('exit', () => {
  killAll();
  removeWorkDir();
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130));

try {
  const options = readOptions(process.argv.slice(2));
  const names = options.names.length === 0 ? Object.keys(BENCHES) : options.names;
  const unknown = names.find((name) => !Object.hasOwn(BENCHES, name));
  if (unknown !== undefined) throw new Error(`There is no bench '${unknown}'\n\n${USAGE}`);
  makeWorkDir();
  const machine = describeMachine();
  process.stdout.write(`${machine.join('\n')}\n`);
  const sections: Section[] = [];
  for (const name of names) {
    process.stderr.write(`\n${name} ...\n`);
    const section = await (BENCHES[name] as (options: Options) => Promise<Section>)(options);
    process.stdout.write(asText(section));
    sections.push(section);
  }
  if (options.write) writeResults(machine, sections, options);
  process.exit(0);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}

function writeResults(machine: readonly string[], sections: readonly Section[], { quick }: Options): void {
  const file = path.join(here, 'results.md');
  const intro = [
    '# Measured',
    '',
    'Written by `npm run bench -- --write`; do not edit. Ratios of one run are comparable, absolute figures of two',
    'machines or two runs are not.',
    ...(quick ? ['', '**A quick run: it shows that everything runs, and its figures mean little.**'] : []),
    '',
    ...machine.map((line) => `- ${line}`),
    '',
  ];
  writeFileSync(file, [intro.join('\n'), ...sections.map(asMarkdown)].join('\n'));
  process.stdout.write(`\nwritten: ${file}\n`);
}
