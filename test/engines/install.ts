/** Installs a package of Debian, where that is asked for: on CI, or with GANTRY_TEST_INSTALL=1. Starts no service. */
import { spawnSync } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';

/** Whoever installs a service asks this file first whether it may be started, stopped or restarted. */
const POLICY = '/usr/sbin/policy-rc.d';
const FORBIDDEN = 101;

/** Why it is not installed; null where it is now. */
export function install(debian: string): string | null {
  if (process.env['CI'] !== 'true' && process.env['GANTRY_TEST_INSTALL'] !== '1') {
    return 'GANTRY_TEST_INSTALL=1 is not set';
  }
  if (process.getuid?.() !== 0) return 'only root can install it';
  process.stderr.write(`\ninstalling ${debian} (apt-get) ...\n`);
  const ours = !existsSync(POLICY);
  if (ours) writeFileSync(POLICY, `#!/bin/sh\nexit ${FORBIDDEN}\n`, { mode: 0o755 });
  try {
    apt('update', '-qq');
    return apt('install', '-y', '-qq', '--no-install-recommends', '--no-upgrade', debian);
  } finally {
    if (ours) rmSync(POLICY, { force: true });
  }
}

function apt(...args: string[]): string | null {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', NEEDRESTART_SUSPEND: '1' };
  const { status, error, stderr } = spawnSync('apt-get', ['-o', 'DPkg::Lock::Timeout=120', ...args], {
    env,
    encoding: 'utf8',
    timeout: 600_000,
  });
  return status === 0 ? null : `apt-get ${args[0]} failed: ${error?.message ?? stderr.trim().slice(-500)}`;
}
