import { execFile } from 'node:child_process';
import { accessSync, constants, existsSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { GantryError, type Logger } from '../../core/api.ts';

const run = promisify(execFile);

interface Program {
  readonly name: string;
  readonly debian: string;
  readonly fedora: string;
  readonly brew: string;
}
export const PROGRAMS = {
  haproxy: { name: 'haproxy', debian: 'haproxy', fedora: 'haproxy', brew: 'haproxy' },
  redis: { name: 'redis-server', debian: 'redis-server', fedora: 'redis', brew: 'redis' },
} as const satisfies Readonly<Record<string, Program>>;

/** Whoever installs a service asks this file first whether it may be started; 101: it may not. */
const POLICY = '/usr/sbin/policy-rc.d';
const APT_MS = 240_000;

interface Options {
  readonly searchIn: readonly string[];
  readonly install: boolean;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** The path of each, in the same order. Rejects with PLUGIN_START_FAILED, telling how they are installed. */
export async function programsOf(wanted: readonly Program[], options: Options): Promise<readonly string[]> {
  const { searchIn, install, log, signal } = options;
  const missing = wanted.filter(({ name }) => find(name, searchIn) === null);
  if (missing.length > 0 && !install) throw notThere(missing);
  if (missing.length > 0) await installed(missing, log, signal);
  const found = wanted.map(({ name }) => find(name, searchIn));
  const still = wanted.filter((_, i) => found[i] === null);
  if (still.length > 0) throw notThere(still, 'Installed, and still not on the PATH');
  return found as string[];
}

function find(name: string, searchIn: readonly string[]): string | null {
  const folders = [...(process.env['PATH'] ?? '').split(path.delimiter), ...searchIn].filter((one) => one !== '');
  return folders.map((folder) => path.join(folder, name)).find(isProgram) ?? null;
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}

function notThere(missing: readonly Program[], what = 'Needed on the PATH'): GantryError {
  const names = missing.map(({ name }) => name).join(' and ');
  const all = (of: 'debian' | 'fedora' | 'brew') => missing.map((one) => one[of]).join(' ');
  return new GantryError('PLUGIN_START_FAILED', `${names}: not found`, {
    hint: [
      `${what}. To install:`,
      `  Debian, Ubuntu   sudo apt-get install ${all('debian')}`,
      `  Fedora           sudo dnf install ${all('fedora')}`,
      `  macOS            brew install ${all('brew')}`,
      'As root on Debian or Ubuntu, this does it:  npm run cluster -- --install',
    ].join('\n'),
  });
}

/** With apt-get. No service of theirs is started: we run our own. */
async function installed(missing: readonly Program[], log: Logger, signal: AbortSignal): Promise<void> {
  const why = find('apt-get', []) === null ? 'there is no apt-get' : process.getuid?.() === 0 ? null : 'only root can';
  if (why !== null) throw notThere(missing, `--install cannot do it here: ${why}`);
  const packages = missing.map(({ debian }) => debian);
  log.info({ packages }, 'installing with apt-get; this takes a minute');
  const ours = !existsSync(POLICY);
  if (ours) writeFileSync(POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    // Without the newest list what is known may still be there.
    await apt(['update', '-qq'], signal).catch((error: unknown) => log.warn({ error }, 'apt-get update failed'));
    await apt(['install', '-y', '-qq', '--no-install-recommends', '--no-upgrade', ...packages], signal);
  } catch (cause) {
    const said = String((cause as { stderr?: string }).stderr ?? (cause as Error).message).trim();
    throw new GantryError('PLUGIN_START_FAILED', `${packages.join(' and ')} could not be installed`, {
      cause,
      hint: `apt-get said: ${said.slice(-500)}`,
    });
  } finally {
    if (ours) rmSync(POLICY, { force: true });
  }
}

async function apt(args: readonly string[], signal: AbortSignal): Promise<void> {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', NEEDRESTART_SUSPEND: '1' };
  await run('apt-get', ['-o', 'DPkg::Lock::Timeout=60', ...args], { env, timeout: APT_MS, signal });
}
