import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { workDir } from './scripts.ts';

/** What a process used from its start to its end. */
export interface Used {
  readonly seconds: number;
  /** User and system time of all its threads, without its children. */
  readonly cpuSeconds: number;
}

/** Runs Node with arguments to its end. Throws where it fails. */
export function ran(args: readonly string[]): Used {
  const startedAt = performance.now();
  const { status, output, error } = spawnSync(process.execPath, ['--require', teller(), ...args], {
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    encoding: 'utf8',
    env: { ...process.env, NODE_ENV: 'production' },
  });
  const seconds = (performance.now() - startedAt) / 1000;
  if (status !== 0) throw new Error(`node ${args.join(' ')} failed: ${error?.message ?? output[2]}`);
  return { seconds, cpuSeconds: Number(output[3]) / 1e6 };
}

/** A script that writes to file descriptor 3, when the process exits, the CPU time in microseconds. */
function teller(): string {
  const file = path.join(workDir, 'cpu-at-exit.cjs');
  writeFileSync(
    file,
    `process.on('exit', () => {
  const { user, system } = process.cpuUsage();
  require('node:fs').writeSync(3, String(user + system));
});
`,
  );
  return file;
}
