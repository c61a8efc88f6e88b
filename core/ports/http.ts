import type { IncomingMessage } from 'node:http';
import type { Duplex, Readable } from 'node:stream';
import type { GantryError } from '../errors.ts';

/** The one HTTP listener that REST, SOAP, WebSocket and the console share. */
export interface HttpHost {
  /**
   * Adds a route; returns a function that removes it. Throws CHANNEL_DUPLICATE if the method and path are taken, and
   * CHANNEL_INVALID for a bad path.
   */
  route(route: HttpRoute): () => void;
  /** Handles connections that ask for a protocol upgrade on exactly this path. Returns a function that undoes it. */
  upgrade(path: string, handle: (req: IncomingMessage, socket: Duplex, head: Buffer) => void): () => void;
  /** Turns an error into a reply: its status and a problem document (RFC 9457). */
  refuse(error: GantryError, cid: string): HttpReply;
  /** The sender of a request. `X-Forwarded-*` counts only if the peer is a trusted proxy. */
  origin(req: IncomingMessage): HttpOrigin;
  /** The addresses on which it listens, e.g. `http://127.0.0.1:11223` or `https://...`; empty before start. */
  urls(): readonly string[];
}

export interface HttpRoute {
  /** The channel or plugin that the route belongs to. Messages show it, and middleware is chosen by it. */
  readonly owner: string;
  /** Upper case. GET answers HEAD too. */
  readonly methods: readonly string[];
  /** `/orders/{id}` and, as the last segment only, `/files/{*rest}`. */
  readonly path: string;
  /** Receives node's request and the decoded path parameters; the host sends the reply. Must not reject. */
  handle(req: IncomingMessage, params: Readonly<Record<string, string>>): Promise<HttpReply>;
  /** Answers a CORS preflight for this route. Absent: an OPTIONS request is answered with `Allow`. */
  preflight?(req: IncomingMessage): HttpReply;
}

export interface HttpReply {
  readonly status: number;
  /** Lower-case names. The host adds content-length. */
  readonly headers: Record<string, string | string[]>;
  readonly body: string | Uint8Array | Readable | null;
}

export interface HttpOrigin {
  /** The caller's IP address. */
  readonly address: string;
  readonly scheme: 'http' | 'https';
  /** The authority that the caller asked for, e.g. `api.example.com:8443`. */
  readonly host: string;
  /**
   * The caller's certificate from the TLS handshake. Null without a certificate, with one that no trusted authority
   * signed, and behind a proxy, since the certificate would be the proxy's.
   */
  readonly client: HttpClient | null;
}

/** The verified certificate of a caller. It never comes from a header. */
export interface HttpClient {
  /** The common name of its subject; '' if it has none, or several. */
  readonly name: string;
  /** The whole subject in the form of RFC 4514, most specific part first, e.g. `CN=agent,O=Example`. */
  readonly subject: string;
  /** SHA-256 of the certificate, as openssl writes it: `C1:06:1F:...`. */
  readonly fingerprint: string;
}
