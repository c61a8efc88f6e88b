/** The program `haproxy`: where it is, which one it is, and what it thinks of a configuration. */
import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import path from 'node:path';
import { GantryError } from 'gantry/api';

/** A plain user's PATH lacks these, where packages put it. */
const PLACES = ['/usr/sbin', '/usr/local/sbin', '/usr/local/bin', '/opt/homebrew/bin'];
const OLDEST = 2.6;
const CHECK_MS = 60_000;

/** What HAProxy said about a configuration. */
export interface Alert {
  /** Of the file, from 1; null where it is about none. */
  readonly line: number | null;
  readonly message: string;
}

/** Throws PLUGIN_START_FAILED where there is none, or only a too old one. */
export async function findProgram(name: string): Promise<{ readonly program: string; readonly version: string }> {
  const program = await locate(name);
  const { output } = await run(program, ['-v']);
  const [, version = ''] = /version (\d+\.\d+\S*)/.exec(output) ?? [];
  if (Number.parseFloat(version) >= OLDEST) return { program, version };
  throw new GantryError('PLUGIN_START_FAILED', `${program} is no HAProxy of ${OLDEST} or newer`, {
    hint: `It says: ${output.trim().slice(0, 200) || 'nothing'}`,
  });
}

async function locate(name: string): Promise<string> {
  const folders = [...(process.env['PATH'] ?? '').split(path.delimiter), ...PLACES].filter((folder) => folder !== '');
  const files = name.includes('/') ? [path.resolve(name)] : folders.map((folder) => path.join(folder, name));
  for (const file of files) {
    const isProgram = await access(file, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (isProgram) return file;
  }
  throw new GantryError('PLUGIN_START_FAILED', `The program '${name}' is not there`, {
    hint:
      'Install HAProxy: "apt-get install haproxy" on Debian and Ubuntu, "dnf install haproxy" on Fedora, ' +
      '"brew install haproxy" on macOS; or name its path in the config as "program".',
  });
}

/** Whether HAProxy would take a file; empty: it would. */
export async function examine(program: string, file: string): Promise<readonly Alert[]> {
  const { isGood, output } = await run(program, ['-c', '-f', file]);
  if (isGood) return [];
  const alerts = alertsOf(output);
  return alerts.length > 0 ? alerts : [{ line: null, message: output.trim().slice(-500) || 'it says nothing' }];
}

/** These say only that there are others. */
const EMPTY = /^(Error\(s\) found in configuration file|Fatal errors found in configuration)/;

/** The alerts of what HAProxy wrote to stderr; those of one process, where its id is given. */
export function alertsOf(output: string, pid: number | null = null): Alert[] {
  const alerts: Alert[] = [];
  for (const line of output.split('\n')) {
    const [, by, told] = /^\[ALERT\]\s+\((\d+)\) : (.*)$/.exec(line) ?? [];
    if (told === undefined || (pid !== null && Number(by) !== pid)) continue;
    const [, at] = /\[[^\]]*:(\d+)\]/.exec(told) ?? [];
    const message = told
      .replace(/^config : /, '')
      .replace(/^(parsing \[[^\]]*\] : )+/, '')
      .trim();
    if (!EMPTY.test(message)) alerts.push({ line: at === undefined ? null : Number(at), message });
  }
  return alerts;
}

/** What a process of HAProxy needs of our environment, in which there may be passwords. */
export function environment(): NodeJS.ProcessEnv {
  const names = ['PATH', 'TZ', 'LANG', 'LC_ALL', 'OPENSSL_CONF', 'SSL_CERT_FILE', 'SSL_CERT_DIR'];
  return Object.fromEntries(
    names.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])),
  );
}

function run(program: string, args: readonly string[]): Promise<{ readonly isGood: boolean; readonly output: string }> {
  const options = { env: environment(), timeout: CHECK_MS, maxBuffer: 8 * 1024 * 1024 };
  return new Promise((resolve) => {
    execFile(program, args, options, (error, stdout, stderr) => {
      const failure = error === null || stderr !== '' ? '' : error.message;
      resolve({ isGood: error === null, output: `${stdout}${stderr}${failure}` });
    });
  });
}
