/** A real database server for the tests: its own data, its own port, gone with the process. */
import { randomBytes } from 'node:crypto';
import { accessSync, chownSync, constants, mkdtempSync, readdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Daemon, User, Warden } from './daemon.ts';
import { install } from './install.ts';

/** How a running engine is reached. */
export interface Access {
  readonly host: string;
  readonly port: number;
  /** Owns the databases that database() makes, and is no administrator. */
  readonly user: string;
  readonly password: string;
  /** Of the administrator, whom admin() runs as. */
  readonly adminPassword: string;
  /** PEM: the certificate by which it is known as 'localhost'; null where it has none. */
  readonly ca: string | null;
}

/** What is done with an engine by its access alone. */
export interface Client {
  /** Makes a fresh, empty database and gives its name. */
  database(): Promise<string>;
  /** Runs statements as the administrator, each by itself. Gives the rows of the last one. */
  admin(...statements: readonly string[]): Promise<readonly Readonly<Record<string, unknown>>[]>;
}

export interface Engine extends Client, Omit<Access, 'adminPassword'> {
  readonly name: string;
  readonly version: string;
  readonly pid: number | null;
  /** Again, on the same port with the same data. */
  start(): Promise<void>;
  /** In order; whoever is connected is sent away. */
  stop(): Promise<void>;
  /** As a crash would. What was committed is still there. */
  kill(): Promise<void>;
  /** Stands still with its connections open, until thaw(). */
  freeze(): void;
  thaw(): void;
}

/** What an engine is made of, and how it is made where its program is there. */
export interface EngineKind {
  readonly name: string;
  /** The package of Debian that brings it. */
  readonly debian: string;
  /** Its programs; a star in a folder stands for a version, of which the highest counts. */
  readonly programs: readonly string[];
  readonly folders: readonly string[];
  open(programs: readonly string[]): Promise<Running>;
  /** For an engine that another process has opened; absent where none is shared. */
  readonly client?: (access: Access) => Client;
}

export interface Running {
  readonly engine: Engine;
  readonly access: Access;
  readonly daemon: Daemon;
  readonly warden: Warden;
}

/** The programs' paths, installed first where that is asked for; else why there are none. */
export function programsOf(kind: EngineKind): readonly string[] | string {
  const found = search(kind);
  if (found !== null) return found;
  const why = install(kind.debian);
  return why === null ? (search(kind) ?? `the package '${kind.debian}' brought no ${kind.programs.join(', ')}`) : why;
}

function search({ programs, folders }: EngineKind): readonly string[] | null {
  const places = [...(process.env['PATH'] ?? '').split(path.delimiter), ...folders.flatMap(expand)].filter(Boolean);
  const found = programs.map((name) => places.map((place) => path.join(place, name)).find(isProgram));
  return found.every((file) => file !== undefined) ? found : null;
}

/** A folder with a star in it: those that are there, the newest first. */
function expand(folder: string): string[] {
  const [above = '', below = ''] = folder.split('/*');
  if (above === folder) return [folder];
  try {
    const versions = readdirSync(above).sort((a, b) => Number.parseFloat(b) - Number.parseFloat(a));
    return versions.map((version) => path.join(above, version, below));
  } catch {
    return [];
  }
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** A folder of its own, which its user may write. */
export function dataFolder(name: string, user: User | null): string {
  const folder = mkdtempSync(path.join(tmpdir(), `gantry-${name}-`));
  if (user !== null) chownSync(folder, user.uid, user.gid);
  return folder;
}

/** Of a database: no other process that uses the same engine makes one of this name. */
export function freshName(): string {
  return `gantry_${own}_${++last}`;
}
const own = randomBytes(4).toString('hex');
let last = 0;

/** A port of 127.0.0.1 that nobody listens on now. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
