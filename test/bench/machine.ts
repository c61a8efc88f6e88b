import { execFileSync } from 'node:child_process';
import { cpus, loadavg, release, totalmem, type } from 'node:os';
import { CLIENT_CPU, pinned, SERVER_CPU } from './child.ts';
import { root } from './scripts.ts';

/** What the figures depend on. */
const MEASURED = ['core', 'plugins', 'services', 'config', 'test/bench', 'package-lock.json'];

/** Where and when this was measured: one line per fact. */
export function describeMachine(): string[] {
  const [cpu] = cpus();
  return [
    `date: ${new Date().toISOString().slice(0, 16).replace('T', ' ')} UTC`,
    `commit: ${commit()}`,
    `node: ${process.version}, V8 ${process.versions.v8}`,
    `system: ${type()} ${release()}, ${process.arch}`,
    `processor: ${cpu?.model.trim() ?? 'unknown'}, ${cpus().length} core(s)`,
    `memory: ${(totalmem() / 2 ** 30).toFixed(1)} GiB`,
    `load before the run: ${loadavg()[0]?.toFixed(1)} (above 0.5 other work disturbs the figures)`,
    pinned
      ? `placement: the measured server on core ${SERVER_CPU}, the client on core ${CLIENT_CPU} (taskset)`
      : 'placement: left to the system (no taskset, or one core)',
  ];
}

function commit(): string {
  const git = (...args: string[]) =>
    execFileSync('git', ['-C', root, ...args], { stdio: 'pipe' })
      .toString()
      .trim();
  try {
    const changed = git('status', '--porcelain', '--', ...MEASURED) !== '';
    return `${git('rev-parse', '--short', 'HEAD')}${changed ? ' with changes that are not committed' : ''}`;
  } catch {
    return 'unknown';
  }
}
