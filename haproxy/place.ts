/** Where HAProxy's files and sockets are. */
import { createHash } from 'node:crypto';
import { constants, openSync } from 'node:fs';
import { chmod, link, lstat, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
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
  /** HAProxy's stdout: its log; and that of the HAProxy before this one. */
  readonly log: string;
  readonly formerLog: string;
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
    formerLog: path.join(folder, 'haproxy.log.1'),
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

/** All or nothing, readable by us alone: passwords are in it. Rejects with BALANCER_FAILED, e.g. on a full disk. */
export async function writeWhole(file: string, text: string): Promise<void> {
  const next = `${file}.next`;
  try {
    await rm(next, { force: true });
    await writeSynced(next, text);
    await rename(next, file);
  } catch (error) {
    // Half a file would take the room that is lacking.
    await rm(next, { force: true }).catch(() => {});
    throw unwritten(file, error as NodeJS.ErrnoException);
  }
}

async function writeSynced(file: string, text: string): Promise<void> {
  const handle = await open(file, 'wx', 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Without the name of the file: the same cause is to be the same message. */
function unwritten(file: string, cause: NodeJS.ErrnoException): GantryError {
  const isFull = cause.code === 'ENOSPC' || cause.code === 'EDQUOT';
  const why = `${isFull ? 'there is no room on the disk' : 'the system refuses it'} (${cause.code ?? 'unknown'})`;
  return new GantryError('BALANCER_FAILED', `A file of HAProxy cannot be written: ${why}`, {
    cause,
    hint: `${isFull ? 'Make room on the disk of' : 'Look at the folder of'} ${file}. What ran before goes on.`,
  });
}

/** Writes what stands in another file, too; where there is no room, both become one file. */
export async function writeSame(file: string, from: string, text: string): Promise<void> {
  await writeWhole(file, text).catch(async (error: unknown) => {
    const next = `${file}.next`;
    await link(from, next)
      .then(() => rename(next, file))
      .catch(() => Promise.reject(error));
    // Where they were one file already, it is left.
    await rm(next, { force: true });
  });
}

/** What a new worker reads where there is no former one. */
const NO_STATES = '1\n';

/** The next worker is to know of no former one. Where there is no room, no file says the same. */
export async function forgetStates({ states }: Place): Promise<void> {
  if ((await readWhole(states)) === NO_STATES) return;
  await writeWhole(states, NO_STATES).catch(() => rm(states, { force: true }));
}

/** For what a process of ours writes: empty, to append to, for us alone. To be closed by who asked. */
export async function freshFile(file: string): Promise<number> {
  return openSync(file, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_APPEND, 0o600);
}

/** 0 where there is none. */
export async function sizeOf(file: string): Promise<number> {
  return stat(file).then(
    ({ size }) => size,
    () => 0,
  );
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
