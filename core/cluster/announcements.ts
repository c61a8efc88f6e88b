import { createHmac, timingSafeEqual } from 'node:crypto';
import { networkInterfaces } from 'node:os';
import { GantryError, type Problem } from '../errors.ts';
import type { Secret } from '../schema/secret.ts';
import type { Member } from './cluster.ts';

/** What is kept of a server. One that is starting has its name, and is not there yet. */
export type Announced = Omit<Member, 'state'> & { readonly state: Member['state'] | 'starting' };
/** Where a server is reached. */
export type Place = Pick<Member, 'host' | 'port' | 'tls'>;

const HIGHEST_PORT = 65_535;

/** What servers of one cluster say to each other in the store: texts signed with their token, under keys of their own. */
export class Announcements {
  /** The fields of those that are there; of all clusters on this store. */
  readonly index = 'members';
  readonly #token: Secret;
  /** A part of the token's hash, which does not reveal the token. */
  readonly #mark: string;

  constructor(token: Secret) {
    this.#token = token;
    this.#mark = this.#mac('cluster').slice(0, 12);
  }

  /** A server's field in the index, and the end of its keys: not that of a server of that name in another cluster. */
  entryOf(name: string): string {
    return `${this.#mark}:${name}`;
  }
  keyOf(entry: string): string {
    return `member:${entry}`;
  }
  /** Of an order for it. */
  orderOf(entry: string): string {
    return `command:${entry}`;
  }

  sign(text: string): string {
    return `${this.#mac(text)} ${text}`;
  }
  /** Null for what was not signed with this token. */
  open(signed: string): unknown {
    const at = signed.indexOf(' ');
    const [mac, text] = [Buffer.from(signed.slice(0, Math.max(0, at))), signed.slice(at + 1)];
    const own = Buffer.from(this.#mac(text));
    if (mac.length !== own.length || !timingSafeEqual(mac, own)) return null;
    try {
      return JSON.parse(text);
    } catch {
      return null;
    }
  }
  /** Null for what a server of this cluster did not say of itself under that entry. */
  read(signed: string, entry: string): Announced | null {
    const said = this.open(signed) as Announced | null;
    return said !== null && this.entryOf(said.name) === entry ? said : null;
  }

  #mac(text: string): string {
    return createHmac('sha256', this.#token.reveal()).update(text).digest('hex');
  }
}

export function isThere(one: Announced): one is Member {
  return one.state !== 'starting';
}
export function isReachable({ port }: Pick<Place, 'port'>): boolean {
  return port >= 1 && port <= HIGHEST_PORT;
}
export function addressOf({ host, port }: Pick<Place, 'host' | 'port'>): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}
/** As a person finds it in the index. */
export function nameIn(entry: string): string {
  return entry.slice(entry.indexOf(':') + 1);
}

/** Of several URLs the first; one that listens everywhere is reached by the machine's own address. Port 0: nowhere. */
export function placeOf(urls: readonly string[], address: string | undefined): Place {
  const url = new URL(urls[0] ?? 'http://127.0.0.1:0');
  const tls = url.protocol === 'https:';
  if (address !== undefined) return { ...parsedAddress(address), tls };
  const listens = bare(url.hostname);
  const host = listens === '0.0.0.0' || listens === '::' ? machineAddress() : listens;
  return { host, port: Number(url.port || (tls ? 443 : 80)), tls };
}

export function addressProblems(address: string | undefined): readonly Problem[] {
  if (address === undefined || isReachable(parsedAddress(address))) return [];
  const expected = `host:port with a port from 1 to ${HIGHEST_PORT}`;
  return [{ path: 'cluster.address', message: `must be ${expected}`, expected, got: JSON.stringify(address) }];
}

export function nameTaken({ name, host, port }: Announced): GantryError {
  const text = `Another server of this cluster is named '${name}', at ${addressOf({ host, port })}`;
  return new GantryError('CLUSTER_REFUSED', text, {
    hint: 'Give this one another "name" in its config (GANTRY_NAME), or end the other.',
  });
}

export function placeMissing(name: string): GantryError {
  return new GantryError('CLUSTER_REFUSED', `'${name}' has no address at which the cluster could reach it`, {
    hint: 'Load an http plugin, or set "cluster.address" to host:port. With "cluster.announce: false" it takes part without being given calls.',
  });
}

function parsedAddress(address: string): Pick<Place, 'host' | 'port'> {
  const at = address.lastIndexOf(':');
  return { host: bare(address.slice(0, at)), port: Number(address.slice(at + 1)) };
}
/** An IPv6 address without its brackets. */
function bare(host: string): string {
  return host.replace(/^\[|\]$/g, '');
}
function machineAddress(): string {
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return all.find(({ family, internal }) => family === 'IPv4' && !internal)?.address ?? '127.0.0.1';
}
