// Makes a fresh clone runnable: installs packages and builds, when and only when that is due. Needs nothing but Node.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const home = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const NODE = [20, 20, 2];

refuseOldNode();
if (isInstallDue()) install();
const sources = fingerprint();
if (isBuildDue(sources)) await build(sources);

function refuseOldNode() {
  const [major, minor, patch] = process.versions.node.split('.').map(Number);
  const enough = major !== NODE[0] ? major > NODE[0] : minor !== NODE[1] ? minor > NODE[1] : patch >= NODE[2];
  if (!enough) fail(`Gantry needs Node ${NODE.join('.')} or newer; this is ${process.version}.`);
}

/** Packages are missing, or were installed before the lock file changed. */
function isInstallDue() {
  const lock = path.join(home, 'package-lock.json');
  const installed = path.join(home, 'node_modules/.package-lock.json');
  if (!existsSync(lock)) return false;
  return !existsSync(installed) || statSync(installed).mtimeMs < statSync(lock).mtimeMs;
}

function install() {
  say('Installing packages (npm ci). The first time takes about half a minute.');
  run(
    'npm',
    ['ci', '--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error', '--progress=true'],
    'npm ci failed',
  );
  say('Packages are installed.');
}

/** The sources are not those that dist was built from. An installed package has no sources to build. */
function isBuildDue(sources) {
  if (sources === null) return false;
  const marker = path.join(home, 'dist/.built');
  return !existsSync(marker) || readFileSync(marker, 'utf8') !== sources;
}

async function build(sources) {
  say('Building (TypeScript to dist/).');
  rmSync(path.join(home, 'dist'), { recursive: true, force: true });
  run(
    process.execPath,
    [path.join(home, 'node_modules/typescript/bin/tsc'), '-p', 'core/tsconfig.json'],
    'The build failed',
  );
  // Not before packages are installed.
  const { vendor } = await import('./vendor.mjs');
  await vendor(home);
  writeFileSync(path.join(home, 'dist/.built'), sources);
}

function fingerprint() {
  if (!existsSync(path.join(home, 'core/main.ts'))) return null;
  const hash = createHash('sha256');
  for (const folder of ['core', 'plugins', 'haproxy', 'test/kit']) {
    const base = path.join(home, folder);
    if (!existsSync(base)) continue;
    for (const name of readdirSync(base, { recursive: true }).map(String).sort()) {
      if (!/\.(ts|json)$/.test(name)) continue;
      const file = path.join(base, name);
      hash.update(`${folder}/${name}\n`).update(readFileSync(file));
    }
  }
  for (const file of ['tsconfig.json', 'package-lock.json', '.build/vendor.mjs']) {
    if (existsSync(path.join(home, file))) hash.update(readFileSync(path.join(home, file)));
  }
  return hash.digest('hex');
}

function run(command, args, failure) {
  const { status, error } = spawnSync(command, args, { cwd: home, stdio: ['ignore', 2, 2] });
  if (status === 0) return;
  fail(`${failure}${error === undefined ? '' : ` (${error.message})`}. What went wrong stands above.`);
}

function say(text) {
  process.stderr.write(`gantry: ${text}\n`);
}
function fail(text) {
  say(text);
  process.exit(1);
}
