import { SourceMap } from 'node:module';
import path from 'node:path';

/**
 * The maps of operators' files, the newest of each. Ours and not Node's: Node 24 keeps the map of every version of a
 * file that was ever loaded.
 */
const maps = new Map<string, { readonly json: string; readonly base: string; parsed: SourceMap | null }>();

/** From now on the lines of this file are told as they stand in its source; `base` is what its paths are relative to. */
export function keepSourceMap(file: string, json: string, base: string): void {
  maps.set(file, { json, base, parsed: null });
}

/** A stack with the places of operators' files as they wrote them. */
export function original(stack: string): string {
  if (maps.size === 0) return stack;
  return stack.replace(/(\/[^\s():]+):(\d+):(\d+)/g, (whole, file: string, line: string, column: string) => {
    const kept = maps.get(file);
    if (kept === undefined) return whole;
    kept.parsed ??= new SourceMap(JSON.parse(kept.json));
    const entry = kept.parsed.findEntry(Number(line) - 1, Number(column) - 1);
    if (!('originalSource' in entry)) return whole;
    return `${path.resolve(kept.base, entry.originalSource)}:${entry.originalLine + 1}:${entry.originalColumn + 1}`;
  });
}
