import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { BalancerSettings } from '../../core/ports/index.ts';
import type { Known } from './fleet.ts';

/** The last state that the balancer took: what an agent starts with while the store and the database are away. */
export interface Kept {
  /** As an administrator wanted them; secrets in the clear. */
  readonly settings: BalancerSettings;
  readonly servers: readonly Known[];
}

const FORMAT = 1;

/** Where it is kept, in the data folder. */
export function fileIn(data: string): string {
  return path.join(data, 'agent-state.json');
}

/** Null where there is none. Rejects where it cannot be read, or is none of ours. */
export async function readKept(file: string): Promise<Kept | null> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw thrown;
  }
  const { format, settings, servers } = JSON.parse(text) as Partial<Kept> & { format?: number };
  if (format !== FORMAT || settings === undefined || !Array.isArray(servers)) {
    throw new Error(`it is not of format ${FORMAT}`);
  }
  return { settings, servers };
}

/** All of it or nothing; nobody else can read it, for it has passwords in it. */
export async function writeKept(file: string, { settings, servers }: Kept): Promise<void> {
  const draft = `${file}.${process.pid}.part`;
  try {
    await writeFile(draft, `${JSON.stringify({ format: FORMAT, settings, servers })}\n`, { mode: 0o600, flush: true });
    await rename(draft, file);
  } catch (error) {
    await rm(draft, { force: true }).catch(() => {});
    throw error;
  }
}
