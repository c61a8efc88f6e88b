import path from 'node:path';
import { backoffMs, type GantryError, pause, type Records, toGantryError } from '../../core/api.ts';

/** What became of a file. */
export interface Deployed {
  readonly version: number;
  /** False: the module says so already, and nothing was done. */
  readonly changed: boolean;
  /** Why this server does not run with it, though it is kept; null where it does. */
  readonly problem: string | null;
}

/** Another server was quicker: what it made of the module is read again. */
const RACES = new Set(['RECORD_STALE', 'RECORD_DUPLICATE', 'RECORD_NOT_FOUND']);
const TRIES = 20;

/** Makes the module of a file's name, or a new version of it. Of two at once both are kept, one after the other. */
export async function deploy(records: Records, file: string, source: string, by: string): Promise<Deployed> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await once(records, file, source, by);
    } catch (thrown) {
      if (!RACES.has(toGantryError(thrown).code) || attempt >= TRIES) throw thrown;
      await pause(backoffMs(attempt, { backoffMs: 20, maxBackoffMs: 500 }));
    }
  }
}

async function once(records: Records, file: string, source: string, by: string): Promise<Deployed> {
  const { name, ext } = path.parse(file);
  const language = ext === '.js' ? 'javascript' : 'typescript';
  const known = await records.get('module', name).catch((thrown: unknown) => {
    if (toGantryError(thrown).kind === 'missing') return null;
    throw thrown;
  });
  if (known === null) {
    const saved = await records.create('module', { name, language, source }, { name: by });
    return { version: saved.version, changed: true, problem: saved.problem ?? null };
  }
  const { definition, version } = known;
  const isSame = definition['source'] === source && (definition['language'] ?? 'typescript') === language;
  if (isSame && definition['active'] !== false) return { version, changed: false, problem: null };
  // Who drops a file wants it to run.
  const saved = await records.update('module', name, version, { language, source, active: true }, { name: by });
  return { version: saved.version, changed: true, problem: saved.problem ?? null };
}

/** For the person who dropped it: one thing that is wrong a line. */
export function reasonsOf(error: GantryError, file: string, server: string, at: Date): string {
  const problems = error.problems ?? [];
  const lines = problems.flatMap(({ path: where, message, expected, got, hint }) => [
    where === '/source' ? placed(file, message) : `${where}: ${message}`,
    ...(expected === undefined ? [] : [`    expected: ${expected}`]),
    ...(got === undefined ? [] : [`    got:      ${got}`]),
    ...(hint === undefined ? [] : [`    hint:     ${hint}`]),
  ]);
  const own = [error.message, ...(error.hint === undefined ? [] : [`    hint:     ${error.hint}`])];
  const head = `${file} was refused by ${server} at ${at.toISOString()}. Nothing was changed.`;
  const tail = 'Mend it, and drop it again.';
  return `${[head, '', ...(lines.length > 0 ? lines : own), '', tail].join('\n')}\n`;
}

/** What is said of a place begins with its line and column, and a compiler's with the file, too. */
function placed(file: string, message: string): string {
  if (message.startsWith(`${file}:`)) return message;
  return /^\d+:\d+ /.test(message) ? `${file}:${message}` : `${file}: ${message}`;
}
