/** The program `haproxy`, for the tests of the plugin that runs it. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Warden } from './daemon.ts';
import { programsOf } from './engine.ts';

const found = {
  name: 'HAProxy',
  debian: 'haproxy',
  programs: ['haproxy'],
  folders: ['/usr/sbin', '/usr/local/sbin', '/opt/homebrew/bin'],
};

/** Where the program is; it is the plugin that runs it. */
export interface HAProxyProgram {
  readonly program: string;
}

/** Installed first where that is asked for. Null where there is none, which has then been said; an error on CI. */
export function haproxy(): Promise<HAProxyProgram | null> {
  return (searched ??= search());
}

let searched: Promise<HAProxyProgram | null> | undefined;

async function search(): Promise<HAProxyProgram | null> {
  const programs = programsOf({ ...found, open: () => Promise.reject(new Error('It is a program, not a server')) });
  if (typeof programs !== 'string') return { program: programs[0] as string };
  const told = `HAProxy is not installed (${programs}). Its package in Debian: ${found.debian}`;
  if (process.env['CI'] === 'true') throw new Error(told);
  process.stderr.write(`\nSKIPPED: the tests on HAProxy do not run here. ${told}\n\n`);
  return null;
}

/** A folder for one HAProxy, which outlives its parent: it is ended, and the folder removed, however the tests end. */
export class Guarded {
  readonly folder: string;
  readonly #warden: Warden;

  constructor() {
    this.folder = mkdtempSync(path.join(tmpdir(), 'gantry-haproxy-'));
    this.#warden = new Warden(this.folder, 'SIGTERM');
  }
  /** Which process it is now. */
  watch(pid: number | null): void {
    this.#warden.watch(pid);
  }
  close(): Promise<void> {
    return this.#warden.close();
  }
}
