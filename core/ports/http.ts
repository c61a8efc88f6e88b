import type { IncomingMessage } from 'node:http';
import type { Duplex, Readable } from 'node:stream';
import type { GantryError } from '../errors.ts';

/** The one HTTP listener that REST, SOAP, WebSocket and the console share. */
export interface HttpHost {
  /** Returns the undo. Throws CHANNEL_DUPLICATE where the method and path are taken, CHANNEL_INVALID for a bad path. */
  route(route: HttpRoute): () => void;
  /** Takes over connections that ask for a protocol change on exactly this path. Returns the undo. */
  upgrade(path: string, handle: (req: IncomingMessage, socket: Duplex, head: Buffer) => void): () => void;
  /** An error as HTTP has it: its status and an RFC 9457 document. */
  refuse(error: GantryError, cid: string): HttpReply;
  /** Who sent it; `X-Forwarded-*` counts only where the peer is a trusted proxy. */
  origin(req: IncomingMessage): HttpOrigin;
  /** Where it listens, e.g. `http://127.0.0.1:11223` or `https://...`; empty before start. */
  urls(): readonly string[];
}

export interface HttpRoute {
  /** For messages and for the middleware's choice: which channel or plugin this is. */
  readonly owner: string;
  /** Upper case. GET answers HEAD too. */
  readonly methods: readonly string[];
  /** `/orders/{id}` and, as the last segment only, `/files/{*rest}`. */
  readonly path: string;
  /** Gets node's own request and the decoded path parameters; the host sends the reply. Must not reject. */
  handle(req: IncomingMessage, params: Readonly<Record<string, string>>): Promise<HttpReply>;
  /** Answers an OPTIONS request that asks about this route (CORS preflight); without it, OPTIONS gets `Allow`. */
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
   * Who the caller proved to be in the TLS handshake. Null without a certificate, with one that no trusted authority
   * signed, and where a proxy stands between: the certificate would be the proxy's.
   */
  readonly client: HttpClient | null;
}

/** The verified certificate of a caller. No header can tell this. */
export interface HttpClient {
  /** The common name of its subject; '' where it has none, or several. */
  readonly name: string;
  /** The whole subject, the most special part first and escaped as RFC 4514 has it, e.g. `CN=agent,O=Example`. */
  readonly subject: string;
  /** SHA-256 of the certificate, as openssl writes it: `C1:06:1F:...`. */
  readonly fingerprint: string;
}
