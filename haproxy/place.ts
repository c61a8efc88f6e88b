/** Where HAProxy's files and sockets are. */
import { createHash } from 'node:crypto';
import { chmod, lstat, mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { GantryError } from 'gantry/api';

export interface Place {
  readonly folder: string;
  /** What HAProxy reads. */
  readonly config: string;
  /** The last that worked. */
  readonly good: string;
  /** What we know besides. */
  readonly kept: string;
  /** The servers' state for the next worker. */
  readonly states: string;
  /** HAProxy's stdout: its log. */
  readonly log: string;
  /** Its stderr: what was wrong when it started. */
  readonly errors: string;
  /** For commands to the worker, and for those to the master. */
  readonly socket: string;
  readonly master: string;
}

/** HAProxy takes 97 characters at most, since it makes a socket with a longer name first; macOS takes four less. */
const LONGEST_SOCKET = 92;

export function placeOf(folder: string, sockets: string | undefined, config: string | null): Place {
  const near = sockets ?? folder;
  const short = near.length + '/master.sock'.length <= LONGEST_SOCKET ? near : shortFolder(near);
  return {
    folder,
    config: config ?? path.join(folder, 'haproxy.cfg'),
    good: path.join(folder, 'haproxy.good.cfg'),
    kept: path.join(folder, 'kept.json'),
    states: path.join(folder, 'servers.state'),
    log: path.join(folder, 'haproxy.log'),
    errors: path.join(folder, 'haproxy.errors'),
    socket: path.join(short, 'admin.sock'),
    master: path.join(short, 'master.sock'),
  };
}

/** The same for the same folder, so that another process of ours finds it. */
function shortFolder(folder: string): string {
  const name = createHash('sha256').update(folder).digest('hex').slice(0, 16);
  return path.join(tmpdir(), `gantry-haproxy-${process.getuid?.() ?? 0}-${name}`);
}

/** Makes the folders, for us alone. */
export async function makePlace({ folder, socket }: Place): Promise<void> {
  for (const one of new Set([folder, path.dirname(socket)])) {
    await mkdir(one, { recursive: true, mode: 0o700 });
    const about = await lstat(one);
    // In a folder that all may write, someone else could have made it first.
    if (!about.isDirectory() || (process.getuid !== undefined && about.uid !== process.getuid())) {
      throw new GantryError('PLUGIN_START_FAILED', `${one} is not a folder of ours`, {
        hint: 'Remove it, or name another one in the config ("folder", "sockets").',
      });
    }
    await chmod(one, 0o700);
  }
}

/** All or nothing, readable by us alone: passwords are in it. */
export async function writeWhole(file: string, text: string): Promise<void> {
  const next = `${file}.next`;
  await rm(next, { force: true });
  const handle = await open(next, 'wx', 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(next, file);
}

/** Null where there is none. */
export async function readWhole(file: string): Promise<string | null> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}
