import { constants } from 'node:fs';
import { access, mkdir, open } from 'node:fs/promises';
import path from 'node:path';
import { GantryError } from '../../core/api.ts';

/** The first bytes of every database file (https://www.sqlite.org/fileformat.html, 1.3). */
const MAGIC = Buffer.from('SQLite format 3\0');

/** Makes the file of a database, and its folder. Rejects with PLUGIN_START_FAILED where the file cannot be one, and tells why. */
export async function prepareFile(file: string): Promise<void> {
  const folder = path.dirname(file);
  await step(`The folder ${folder} cannot be made`, mkdir(folder, { recursive: true }));
  const write = constants.R_OK | constants.W_OK | constants.X_OK;
  await step(`The folder ${folder} cannot be written to`, access(folder, write), FOLDER);
  const found = await beginning(file);
  await step(
    `The file ${file} cannot be written to`,
    // For us alone: it has hashes of passwords. What SQLite makes beside it has the same rights.
    open(file, 'a', 0o600).then((handle) => handle.close()),
  );
  // An empty file is an empty database.
  if (found.length === 0) return;
  if (found.equals(MAGIC.subarray(0, found.length)) && found.length === MAGIC.length) return;
  throw new GantryError('PLUGIN_START_FAILED', `The file ${file} is not an SQLite database`, {
    hint: "Name another file in 'file' of dialect.sqlite, or move this one away.",
  });
}

const FOLDER = 'SQLite makes two more files beside the database: the user of this process must be able to write there.';
const RIGHTS = 'The user of this process needs the right to do so; or name another file in the config.';

/** Nothing, where there is no file. */
async function beginning(file: string): Promise<Buffer> {
  try {
    const handle = await open(file, 'r');
    try {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(MAGIC.length), 0, MAGIC.length, 0);
      return buffer.subarray(0, bytesRead);
    } finally {
      await handle.close();
    }
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return Buffer.alloc(0);
    return step(`The file ${file} cannot be read`, Promise.reject(cause));
  }
}

async function step<T>(text: string, work: Promise<T>, hint = RIGHTS): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    const { code = '' } = cause as NodeJS.ErrnoException;
    throw new GantryError('PLUGIN_START_FAILED', `${text} (${code})`, { hint, cause });
  }
}
