import { CALLERS, callers } from './admin-server.ts';
import type { AdminCall } from './administrator.ts';
import { channelOf } from './gantry.ts';
import { KEY, KEY_HEADER } from './work.ts';

/** A connection that no service of the bench uses. */
export const CONNECTION = 'partner';
export const connection = { name: CONNECTION, transport: 'rest', options: { url: 'http://127.0.0.1:9' } } as const;

/** Administrators at once: one for the security definition, one for the connection, the rest for channels. */
export const LANES = 8;
/** What a channel goes through: made, moved, off, on, removed. */
const LIFE = 5;

/** The least number of changes that can be shared out, and its multiples are what there can be. */
export const LEAST = LANES * LIFE;

export interface From {
  /** Distinguishes the channels of one window from those of another. */
  readonly window: string;
  readonly security: number;
  readonly connection: number;
}

/** A mix of changes; `from` has the versions to begin with. */
export function mix(changes: number, from: From): AdminCall[][] {
  const each = changes / LANES;
  return [
    updates(each, 'security', CALLERS, from.security, definitionOf),
    updates(each, 'connection', CONNECTION, from.connection, optionsOf),
    ...Array.from({ length: LANES - 2 }, (_, lane) => lives(each / LIFE, `${from.window}-${lane}`)),
  ];
}

function updates(
  count: number,
  kind: string,
  name: string,
  from: number,
  changesOf: (i: number) => object,
): AdminCall[] {
  return Array.from({ length: count }, (_, i) => ({
    service: `${kind}.update`,
    input: { name, version: from + i, changes: changesOf(i) },
  }));
}

/** The key of the load stays good; another one comes and goes. */
function definitionOf(i: number): object {
  const other = { name: 'other', key: '3d8c7a52-1f0b-4e69-a7d4-b2c95e60f817' };
  const keys = [{ name: 'bench', key: KEY }, ...(i % 2 === 0 ? [other] : [])];
  return { definition: { ...callers.definition, header: KEY_HEADER, keys } };
}

function optionsOf(i: number): object {
  return { options: { ...connection.options, timeoutMs: 10_000 + (i % 2) } };
}

function lives(count: number, lane: string): AdminCall[] {
  return Array.from({ length: count }, (_, i) => {
    const name = `live-${lane}-${i}`;
    const at = `/live/${lane}/${i}`;
    const moved = { address: { method: 'POST', path: `${at}/moved` } };
    return [
      { service: 'channel.create', input: { ...channelOf(name, at), security: CALLERS } },
      { service: 'channel.update', input: { name, version: 1, changes: moved } },
      { service: 'channel.toggle', input: { name, version: 2, active: false } },
      { service: 'channel.toggle', input: { name, version: 3, active: true } },
      { service: 'channel.remove', input: { name, version: 4 } },
    ];
  }).flat();
}
