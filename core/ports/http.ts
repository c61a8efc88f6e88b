import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

/** The one HTTP listener that REST, SOAP, WebSocket and the console share. */
export interface HttpHost {
  /** Returns the undo. Throws CHANNEL_DUPLICATE where the method and path are taken, CHANNEL_INVALID for a bad path. */
  route(route: HttpRoute): () => void;
  /** Takes over connections that ask for a protocol change on exactly this path. Returns the undo. */
  upgrade(path: string, handle: (req: IncomingMessage, socket: Duplex, head: Buffer) => void): () => void;
  /** Who sent it; `X-Forwarded-*` counts only where the peer is a trusted proxy. */
  origin(req: IncomingMessage): HttpOrigin;
  /** Where it listens, e.g. `http://127.0.0.1:11223`; empty before start. */
  urls(): readonly string[];
}

export interface HttpRoute {
  /** For messages: which channel or plugin this is. */
  readonly owner: string;
  readonly methods: readonly string[];
  /** `/orders/{id}` and, as the last segment only, `/files/{*rest}`. */
  readonly path: string;
  /** Gets node's own objects and the decoded path parameters; answers by itself, and never throws or rejects. */
  handle(req: IncomingMessage, res: ServerResponse, params: Readonly<Record<string, string>>): void;
  /** Answers an OPTIONS request that asks about this route (CORS preflight); without it, OPTIONS gets `Allow`. */
  preflight?(req: IncomingMessage, res: ServerResponse): void;
}

export interface HttpOrigin {
  /** The caller's IP address. */
  readonly address: string;
  readonly scheme: 'http' | 'https';
  /** The authority that the caller asked for, e.g. `api.example.com:8443`. */
  readonly host: string;
}
