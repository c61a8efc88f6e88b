import { createHash } from 'node:crypto';

/** HAProxy's own lines have these names in its statistics. */
const TAKEN = new Set(['FRONTEND', 'BACKEND']);

/**
 * How HAProxy names a server. A plain name stays; of any other there is what can be read of it and, behind a dot, which
 * no plain name has, a hash of the whole.
 */
export function serverId(name: string): string {
  if (/^[A-Za-z0-9_-]{1,40}$/.test(name) && !TAKEN.has(name)) return name;
  const readable = name.replace(/[^A-Za-z0-9_-]+/g, '-').slice(0, 24) || 'server';
  return `${readable}.${digest(name).toString('hex').slice(0, 16)}`;
}

/**
 * HAProxy's number for each name. By 'source' and 'uri' it says which calls a server gets, so it must not depend on
 * which others there are, nor on which balancer it is.
 */
export function serverNumbers(names: readonly string[]): Map<string, number> {
  const taken = new Set<number>();
  const numbers = new Map<string, number>();
  for (const name of [...names].sort()) {
    let number = 1 + (digest(name).readUInt32BE(0) >>> 1);
    while (taken.has(number)) number = (number % 0x7fff_fffe) + 1;
    taken.add(number);
    numbers.set(name, number);
  }
  return numbers;
}

function digest(name: string): Buffer {
  return createHash('sha256').update(name).digest();
}
