import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** The repository, and the built program that `npm start` runs. */
export const home = path.resolve(import.meta.dirname, '../..');
export const main = path.join(home, 'dist/core/main.js');

/** A running `gantry`, and all that it said. */
export interface Running {
  readonly child: ChildProcess;
  readonly pid: number;
  out(): string;
  err(): string;
  /** Resolves when stdout has a line that matches; rejects when the process ends before that. */
  says(pattern: RegExp): Promise<RegExpMatchArray>;
  /** The exit code, or the signal's name. */
  readonly ended: Promise<number | string>;
  /** Ends it, whatever state it is in. */
  kill(signal?: NodeJS.Signals): Promise<number | string>;
}

/** Where a process keeps its data that is told of no other place: gone with this one. */
const scratch = mkdtempSync(path.join(tmpdir(), 'gantry-data-'));
process.once('exit', () => rmSync(scratch, { recursive: true, force: true }));
let started = 0;

/** Starts the built program with its own arguments and environment, and a new data folder unless one is named. */
export function gantry(args: readonly string[], env: Record<string, string> = {}, cwd = home): Running {
  return follow(
    spawn(process.execPath, [main, ...args], {
      cwd,
      env: { ...process.env, GANTRY_DATA: path.join(scratch, String(++started)), ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    }),
  );
}

export function follow(child: ChildProcess): Running {
  let out = '';
  let err = '';
  const listeners = new Set<() => void>();
  const heard = () => {
    for (const listener of listeners) listener();
  };
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    out += text;
    heard();
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    err += text;
    heard();
  });
  const ended = once(child, 'close').then(([code, signal]) => (code ?? signal) as number | string);
  return {
    child,
    pid: child.pid as number,
    out: () => out,
    err: () => err,
    ended,
    says: (pattern) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const found = pattern.exec(out) ?? pattern.exec(err);
          if (found === null) return;
          listeners.delete(look);
          resolve(found);
        };
        listeners.add(look);
        ended.then((code) => reject(new Error(`ended with ${code} before it said ${pattern}\n${out}\n${err}`)));
        look();
      }),
    async kill(signal = 'SIGKILL') {
      child.kill(signal);
      return ended;
    },
  };
}

/** A port that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

/** A temporary folder with some files, and its removal. */
export function folder(files: Readonly<Record<string, string>> = {}): { readonly dir: string; remove(): void } {
  const dir = mkdtempSync(path.join(tmpdir(), 'gantry-test-'));
  for (const [name, text] of Object.entries(files)) writeFileSync(path.join(dir, name), text);
  return { dir, remove: () => rmSync(dir, { recursive: true, force: true }) };
}
