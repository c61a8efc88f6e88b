import type { IncomingMessage } from 'node:http';
import { BlockList, isIP } from 'node:net';
import { GantryError } from '../../core/api.ts';
import type { HttpOrigin } from '../../core/ports/index.ts';
import { clientOf, isSecured } from './client.ts';

/** Tells the caller from the proxies in front, by what trusted ones wrote and nobody else. */
export class Proxies {
  readonly #trusted = new BlockList();
  readonly #any: boolean;

  /** `trusted`: addresses and networks (`10.0.0.0/8`). Throws CONFIG_INVALID for what is neither. */
  constructor(trusted: readonly string[]) {
    for (const entry of trusted) this.#add(entry);
    this.#any = trusted.length > 0;
  }

  /** `X-Forwarded-For` is read from the right: the first address that is no proxy of ours is the caller. */
  origin(req: IncomingMessage): HttpOrigin {
    const { socket } = req;
    const peer = bare(socket.remoteAddress ?? '');
    const host = req.headers.host ?? '';
    const direct: HttpOrigin = isSecured(socket)
      ? { address: peer, scheme: 'https', host, client: clientOf(socket) }
      : { address: peer, scheme: 'http', host, client: null };
    if (!this.#any || !this.#trusts(peer)) return direct;
    const hops = list(req.headers['x-forwarded-for']);
    let address = peer;
    for (let hop = hops.pop(); hop !== undefined && isIP(bare(hop)) !== 0; hop = hops.pop()) {
      address = bare(hop);
      if (!this.#trusts(address)) break;
    }
    const scheme = list(req.headers['x-forwarded-proto']).at(-1);
    return {
      address,
      scheme: scheme === undefined ? direct.scheme : scheme === 'https' ? 'https' : 'http',
      host: list(req.headers['x-forwarded-host']).at(-1) ?? host,
      client: address === peer ? direct.client : null,
    };
  }

  #trusts(address: string): boolean {
    const version = isIP(address);
    return version !== 0 && this.#trusted.check(address, version === 4 ? 'ipv4' : 'ipv6');
  }

  #add(entry: string): void {
    const [, address = '', bits] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(entry) ?? [];
    const version = isIP(address);
    const most = version === 4 ? 32 : 128;
    const prefix = bits === undefined ? most : Number(bits);
    if (version === 0 || prefix > most) {
      throw new GantryError('CONFIG_INVALID', `trustedProxies has '${entry}'`, {
        problems: [
          {
            path: 'plugins.http.koa.trustedProxies',
            message: 'has an entry that is no address and no network',
            expected: "an IP address or a network such as '10.0.0.0/8'",
            got: entry,
            plugin: 'http.koa',
          },
        ],
      });
    }
    this.#trusted.addSubnet(address, prefix, version === 4 ? 'ipv4' : 'ipv6');
  }
}

function list(value: string | string[] | undefined): string[] {
  const text = Array.isArray(value) ? value.join(',') : (value ?? '');
  return text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
}

/** IPv4 as itself where a dual-stack socket writes it as IPv6; without a port and brackets. */
function bare(address: string): string {
  const unmapped = address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address;
  const bracketed = /^\[([^\]]+)\](?::\d+)?$/.exec(unmapped);
  if (bracketed !== null) return bracketed[1] as string;
  const [host = '', port] = unmapped.split(':');
  return port !== undefined && isIP(host) === 4 ? host : unmapped;
}
