import type { Problem } from '../../core/api.ts';

/** Not in the trace: it adds the file itself to what is compiled. */
const REFERENCE = /\/\/\/\s*<\s*reference\b[^\r\n]*?\bpath\s*=\s*["']?([^"'\r\n]*)/gi;
const HINT = 'Import gantry/api, types of gantry/ports, modules of Node and installed packages.';

/**
 * The imports that lead to files of this machine. They are refused whether the file is there or not, so that nobody
 * learns from a message what there is, and what is in it.
 */
export function importsOutside(source: string, imported: readonly (string | null)[]): Problem[] {
  const named = new Set(imported.filter((name) => name === null || leadsOutside(name)));
  const references = [...source.matchAll(REFERENCE)].map((match) => ({
    path: position(source, match.index),
    message: `The reference to the file '${match[1]}' is not allowed`,
    hint: HINT,
  }));
  const imports = [...named].map((name) => ({
    path: position(source, name === null ? 0 : Math.max(0, source.indexOf(name))),
    message: name === null ? 'An import is no name' : `The import of '${name}' leads to files of this machine`,
    hint: HINT,
  }));
  return [...references, ...imports];
}

/** `/etc/x`, `C:/x`, `file:///x`, `../x` and `package/../../x`. */
function leadsOutside(name: string): boolean {
  const plain = name.replaceAll('\\', '/');
  const isRooted = plain.startsWith('/') || /^[a-z]:/i.test(plain) || plain.includes('://');
  return isRooted || plain.split('/').includes('..');
}

/** `line:column`, both from 1. */
function position(source: string, index: number): string {
  const before = source.slice(0, index).split(/\r\n|[\n\r\u2028\u2029]/);
  return `${before.length}:${(before.at(-1) as string).length + 1}`;
}
