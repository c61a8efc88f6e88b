import { openSync, writeSync } from 'node:fs';

/** What was entered in this process: a line for each entry of a handler, on disk before the handler goes on. */
const file = process.env['CHAOS_ENTRIES'];
let opened: number | null = null;

/** Survives any end of this process. */
export function entered(id: string): void {
  if (file === undefined) return;
  opened ??= openSync(file, 'a');
  writeSync(opened, `${id}\n`);
}
