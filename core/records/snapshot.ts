import { randomBytes } from 'node:crypto';
import { type FileHandle, link, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { GantryError, isGantryError } from '../errors.ts';
import type { Logger } from '../log/log.ts';
import type { Stored } from '../ports/odb.ts';
import type { Keyring, Signer } from '../secrets/keyring.ts';
import { pause } from '../time/retry.ts';

/** The records as they were at one revision: what a server starts with while its database cannot be reached. */
export interface Snapshot {
  readonly revision: number;
  readonly savedAt: Date;
  /** The name of the server that wrote it. */
  readonly server: string;
  readonly records: readonly Stored[];
}

/** What to write. */
export interface State extends Omit<Snapshot, 'records'> {
  /** As they are stored: their secrets are sealed. */
  readonly records: Iterable<Stored>;
}

const FORMAT = 1;
const PURPOSE = 'snapshot';
/** Of one piece: other work gets its turn after it. */
const MOST_RECORDS = 500;
const MOST_CHARACTERS = 131_072;
const SLICE_BYTES = 1_048_576;
const LONGEST_HEAD_BYTES = 65_536;
/** A draft that is older was left by a process that died. */
const STALE_MS = 3_600_000;
const INTERVAL_MS = 1000;
const NEWLINE = 10;
const REMOVE = 'Remove the file: the server starts without it as soon as its database answers, and writes it anew.';

/**
 * Writes JSON lines: a head, a record a line, and a signature of all bytes before it (HMAC-SHA-256, by the current key).
 * The file is replaced at once and is on the disk when this resolves; only its owner can read it. Rejects with what the
 * system said, e.g. ENOSPC; the file is as it was then. The records are taken before the first wait, and must not be
 * changed.
 */
export async function writeSnapshot(file: string, state: State, keyring: Keyring): Promise<void> {
  const records = [...state.records];
  await removeStale(file);
  const draft = `${file}.${randomBytes(6).toString('hex')}.draft`;
  try {
    const handle = await open(draft, 'wx', 0o600);
    try {
      await writeLines(handle, state, records, keyring.signer(PURPOSE));
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(draft, file);
  } catch (error) {
    // A full disk needs the room. A draft that cannot be removed is found stale later.
    await rm(draft, { force: true }).catch(() => undefined);
    throw error;
  }
  await syncFolder(path.dirname(file));
}

async function writeLines(
  handle: FileHandle,
  { revision, savedAt, server }: State,
  records: readonly Stored[],
  signer: Signer,
): Promise<void> {
  const write = async (text: string) => {
    const bytes = Buffer.from(text);
    signer.add(bytes);
    await handle.writeFile(bytes);
  };
  const head = { gantry: PURPOSE, format: FORMAT, revision, count: records.length, savedAt, server };
  let piece = `${JSON.stringify(head)}\n`;
  let taken = 0;
  for (const { kind, name, version, body, changedAt, changedBy, revision: last } of records) {
    piece += `${JSON.stringify({ kind, name, version, revision: last, changedAt, changedBy, body })}\n`;
    if (++taken < MOST_RECORDS && piece.length < MOST_CHARACTERS) continue;
    // Waiting for the disk is the turn that other work gets.
    await write(piece);
    piece = '';
    taken = 0;
  }
  if (piece !== '') await write(piece);
  await handle.writeFile(tailOf(signer.end()));
}

function tailOf(signature: string): string {
  return `{"signature":"${signature}"}\n`;
}

/** A loss of power must not bring the old name back; Windows cannot do it and needs not. */
async function syncFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } catch (error) {
    // Some network file systems have no such thing.
    if (!['EINVAL', 'ENOTSUP', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  } finally {
    await handle.close();
  }
}

async function removeStale(file: string): Promise<void> {
  const folder = path.dirname(file);
  const prefix = `${path.basename(file)}.`;
  // What is wrong with the folder is told by the writing itself.
  const names = await readdir(folder).catch(() => []);
  for (const name of names.filter((one) => one.startsWith(prefix) && one.endsWith('.draft'))) {
    const draft = path.join(folder, name);
    const { mtimeMs } = (await stat(draft).catch(() => null)) ?? { mtimeMs: Date.now() };
    if (Date.now() - mtimeMs > STALE_MS) await rm(draft, { force: true }).catch(() => undefined);
  }
}

/**
 * What was written last; null where there is no file. Throws SNAPSHOT_INVALID for a file of which a byte was changed,
 * added or is missing, that was signed with a key that is not there, or is of a newer Gantry. Nothing of it is used then.
 */
export async function readSnapshot(file: string, keyring: Keyring): Promise<Snapshot | null> {
  const bytes = await content(file);
  if (bytes === null) return null;
  const head = headOf(bytes, file);
  const end = bytes.lastIndexOf(NEWLINE, bytes.length - 2) + 1;
  await verify(bytes, end, keyring, file);
  const records = await recordsOf(bytes.subarray(0, end));
  if (records.length !== head.count) throw invalid(file, `has ${records.length} records instead of ${head.count}`);
  return { revision: head.revision, savedAt: new Date(head.savedAt), server: head.server, records };
}

async function content(file: string): Promise<Buffer | null> {
  try {
    return await readFile(file);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT') return null;
    throw invalid(file, `cannot be read (${code})`, 'It must be a file that this process can read.', cause);
  }
}

interface Head {
  readonly format: number;
  readonly revision: number;
  readonly count: number;
  readonly savedAt: string;
  readonly server: string;
}

/** Read before it is verified, since a newer format may be signed in another way: only the format is used by then. */
function headOf(bytes: Buffer, file: string): Head {
  if (bytes.length === 0) throw invalid(file, 'is empty');
  const end = bytes.subarray(0, LONGEST_HEAD_BYTES).indexOf(NEWLINE);
  const { gantry, format, ...head } = parsed(bytes.toString('utf8', 0, Math.max(0, end)));
  if (gantry !== PURPOSE || typeof format !== 'number')
    throw invalid(file, 'is no snapshot, or its first line was changed');
  if (format === FORMAT) return { format, ...head } as unknown as Head;
  const newer = format > FORMAT ? 'Start a newer version of Gantry. Or: ' : '';
  throw invalid(file, `has format ${format}, and this version reads format ${FORMAT}`, newer + REMOVE);
}

function parsed(line: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

async function verify(bytes: Buffer, end: number, keyring: Keyring, file: string): Promise<void> {
  const last = bytes.toString('utf8', end);
  const { signature } = parsed(last);
  if (typeof signature !== 'string' || last !== tailOf(signature)) {
    throw invalid(file, 'does not end with its signature: it was cut, or something was added');
  }
  const verifier = verifierOf(signature, keyring, file);
  for (let at = 0; at < end; at += SLICE_BYTES) {
    verifier.add(bytes.subarray(at, Math.min(end, at + SLICE_BYTES)));
    await turn();
  }
  if (!verifier.end()) throw invalid(file, 'was changed after it was written');
}

function verifierOf(signature: string, keyring: Keyring, file: string) {
  try {
    return keyring.verifier(PURPOSE, signature);
  } catch (error) {
    if (!isGantryError(error)) throw error;
    throw invalid(file, 'is signed with a key that is not there', `${error.hint} Or: ${REMOVE}`, error);
  }
}

async function recordsOf(bytes: Buffer): Promise<Stored[]> {
  const records: Stored[] = [];
  let pieceEnd = MOST_CHARACTERS;
  for (let at = bytes.indexOf(NEWLINE) + 1; at < bytes.length; ) {
    const end = bytes.indexOf(NEWLINE, at);
    const { changedAt, ...record } = JSON.parse(bytes.toString('utf8', at, end)) as Stored;
    records.push({ ...record, changedAt: new Date(changedAt) });
    at = end + 1;
    if (at < pieceEnd) continue;
    pieceEnd = at + MOST_CHARACTERS;
    await turn();
  }
  return records;
}

function invalid(file: string, what: string, hint = REMOVE, cause?: unknown): GantryError {
  return new GantryError('SNAPSHOT_INVALID', `The snapshot ${file} ${what}`, { hint, cause });
}

export interface SnapshotsOptions {
  readonly file: string;
  readonly keyring: Keyring;
  readonly log: Logger;
  /** Between the end of a write and the start of the next one; a second, unless told. */
  readonly intervalMs?: number;
}

/**
 * Keeps the newest state on disk: one write at a time, at most one each interval, and of what comes meanwhile only the
 * newest. A write that fails is logged, never thrown, and is made up for by the next state.
 */
export class Snapshots {
  readonly #options: SnapshotsOptions;
  /** What is not written yet. */
  #newest: Waiting | null = null;
  #running: Promise<void> | null = null;
  /** Ends the wait between two writes. */
  #hurry = new AbortController();
  #problem: Error | null = null;
  /** That of the file; null before it was looked at. */
  #revision: number | null = null;

  constructor(options: SnapshotsOptions) {
    this.#options = options;
  }

  /** Why the last write failed; null where it did not. */
  get problem(): Error | null {
    return this.#problem;
  }

  /** Tells that there is a new state. It is taken when it is written, so that one which is left out costs nothing. */
  save(take: () => State): void {
    this.#newest = { take };
    this.#running ??= this.#run();
  }

  /** Writes what is not written yet, without waiting for the interval; what failed is tried once more. Never rejects. */
  async settle(): Promise<void> {
    this.#hurry.abort();
    await this.#running;
    if (this.#newest !== null) await (this.#running ??= this.#run());
    this.#hurry = new AbortController();
  }

  async #run(): Promise<void> {
    for (let next = this.#newest; next !== null; ) {
      await this.#write(next);
      await pause(this.#options.intervalMs ?? INTERVAL_MS, this.#hurry.signal).catch(() => undefined);
      // One that failed waits for a newer one.
      next = this.#newest === next ? null : this.#newest;
    }
    this.#running = null;
  }

  /**
   * A database that was lost, or restored, has less than this server knew last: that stays in a file of its own, from
   * which it can be had back.
   */
  async #keepLater(revision: number): Promise<void> {
    const { file, log } = this.#options;
    this.#revision ??= await revisionOf(file);
    if (revision >= this.#revision) return;
    const kept = `${file}.${this.#revision}`;
    try {
      await rm(kept, { force: true });
      await link(file, kept);
    } catch (error) {
      log.warn({ file, error }, 'the last state of a database that is there no more could not be kept');
      return;
    }
    const told = 'the database has less than this server knew last: was it restored, or is it another one?';
    log.warn({ revision, earlier: this.#revision, kept }, told);
  }

  async #write(waiting: Waiting): Promise<void> {
    const { file, keyring, log } = this.#options;
    const before = this.#problem;
    try {
      const { records, ...state } = waiting.take();
      const whole = { ...state, records: [...records] };
      await this.#keepLater(whole.revision);
      await writeSnapshot(file, whole, keyring);
      this.#revision = whole.revision;
      if (this.#newest === waiting) this.#newest = null;
      this.#problem = null;
      if (before !== null) log.info({ file }, 'the snapshot is written again');
    } catch (thrown) {
      const problem = thrown instanceof Error ? thrown : new Error(String(thrown));
      this.#problem = problem;
      // Once, not with each state.
      if (before === null || reason(before) !== reason(problem)) {
        log.warn({ file, error: problem }, 'the snapshot could not be written; the earlier one stays');
      }
    }
  }
}

interface Waiting {
  readonly take: () => State;
}

/** What the first line says; 0 where that cannot be told. What it is used for needs no proof. */
async function revisionOf(file: string): Promise<number> {
  try {
    const { revision } = headOf(await readFile(file), file);
    return Number.isSafeInteger(revision) ? revision : 0;
  } catch {
    return 0;
  }
}

/** The message of a system's error has the name of the draft, which is another each time. */
function reason(error: Error): string {
  return (error as NodeJS.ErrnoException).code ?? error.message;
}
