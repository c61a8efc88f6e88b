import type { IncomingMessage } from 'node:http';
import { Readable, type Transform } from 'node:stream';
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';
import { GantryError, isGantryError } from '../../core/api.ts';

/** Whether a body follows the headers (RFC 9112, 6.3). */
export function hasBody({ headers }: IncomingMessage): boolean {
  if (headers['transfer-encoding'] !== undefined) return true;
  const length = headers['content-length'];
  return length !== undefined && length !== '0';
}

/**
 * Hot. What `use` makes of the whole body, decompressed. Rejects with INPUT_TOO_LARGE, MEDIA_UNSUPPORTED,
 * INPUT_MALFORMED or CALL_ABORTED, and with what `use` throws.
 */
export function readBody<T>(req: IncomingMessage, limit: number, use: (raw: Buffer) => T): Promise<T> {
  const encoding = req.headers['content-encoding'];
  if (Number(req.headers['content-length'] ?? 0) > limit) return Promise.reject(tooLarge(limit));
  // No event would come any more.
  if (req.destroyed || req.readableEnded) return Promise.reject(past(req));
  const unpack = encoding === undefined ? null : unpacker(encoding);
  const source = unpack === null ? req : unpacked(req, unpack);
  return new Promise((resolve, reject) => {
    let first: Buffer | null = null;
    let more: Buffer[] | null = null;
    let size = 0;
    source.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > limit) {
        leave(req, unpack);
        reject(tooLarge(limit));
      } else if (first === null) first = chunk;
      else (more ??= [first]).push(chunk);
    });
    source.on('end', () => {
      try {
        resolve(use(more !== null ? Buffer.concat(more, size) : (first ?? EMPTY)));
      } catch (error) {
        reject(error);
      }
    });
    source.on('error', (cause) => {
      leave(req, unpack);
      reject(broken(req, cause));
    });
    source.on('close', () => {
      if (!source.readableEnded) reject(gone());
    });
  });
}

/**
 * The body as it comes, decompressed. With a limit it breaks off with INPUT_TOO_LARGE. It is not the request itself:
 * whoever destroys it, or lets it lie, has not cut off the connection that the reply is to go out on.
 */
export function streamBody(req: IncomingMessage, limit: number): Readable {
  if (Number(req.headers['content-length'] ?? 0) > limit) throw tooLarge(limit);
  const encoding = req.headers['content-encoding'];
  const unpack = encoding === undefined ? null : unpacker(encoding);
  let source: Readable | null = null;
  const body = new Readable({
    read() {
      if (source === null) source = open();
      source?.resume();
    },
    destroy(error, done) {
      leave(req, unpack);
      done(error);
    },
  });
  return body;

  /** At the first read: until somebody wants it, nothing is asked of the caller. */
  function open(): Readable | null {
    if (req.destroyed || req.readableEnded) {
      fail(past(req));
      return null;
    }
    let size = 0;
    const from = unpack === null ? req : unpacked(req, unpack);
    from.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > limit) fail(tooLarge(limit));
      else if (!body.push(chunk)) from.pause();
    });
    from.on('end', () => body.push(null));
    from.on('error', (cause) => fail(broken(req, cause)));
    from.on('close', () => {
      if (!from.readableEnded) fail(gone());
    });
    return from;
  }

  /** Where nobody listens the error would end the process. */
  function fail(error: GantryError): void {
    if (!body.destroyed) body.destroy(body.listenerCount('error') > 0 ? error : undefined);
  }
}

const EMPTY = Buffer.alloc(0);

/** Not with pipeline: that would destroy the request with the unpacker, and the connection with the request. */
function unpacked(req: IncomingMessage, unpack: Transform): Readable {
  req.once('close', () => {
    if (!req.readableEnded) unpack.destroy(gone());
  });
  return req.pipe(unpack);
}

/** What still comes is read and thrown away, so that the caller can read the answer. */
function leave(req: IncomingMessage, unpack: Transform | null): void {
  if (unpack !== null) {
    req.unpipe(unpack);
    unpack.destroy();
  }
  req.removeAllListeners('data');
  if (!req.destroyed) req.resume();
}

/** Null where nothing is to be unpacked. Throws MEDIA_UNSUPPORTED. */
function unpacker(encoding: string): Transform | null {
  switch (encoding.trim().toLowerCase()) {
    case '':
    case 'identity':
      return null;
    case 'gzip':
    case 'x-gzip':
      return createGunzip();
    case 'br':
      return createBrotliDecompress();
    case 'deflate':
      return createInflate();
    default:
      throw new GantryError('MEDIA_UNSUPPORTED', `The content encoding '${encoding.slice(0, 40)}' is not supported`, {
        problems: [{ path: 'content-encoding', message: 'is not supported', expected: 'gzip, br, deflate or none' }],
      });
  }
}

function tooLarge(limit: number): GantryError {
  return new GantryError('INPUT_TOO_LARGE', `The body is larger than ${limit} bytes`, {
    hint: "The limit is the channel's settings.maxBodyBytes, or that of transport.rest.",
  });
}
function gone(): GantryError {
  return new GantryError('CALL_ABORTED', 'The caller went away before its request was complete');
}
function past(req: IncomingMessage): GantryError {
  if (!req.readableEnded) return gone();
  return new GantryError('SERVICE_FAILED', 'The body is not there any more', {
    hint: 'A middleware of http.koa has read it; a channel reads its body itself.',
  });
}
function broken(req: IncomingMessage, cause: Error): GantryError {
  if (isGantryError(cause)) return cause;
  if (req.destroyed && !req.complete) return gone();
  return new GantryError('INPUT_MALFORMED', 'The body is not what its content encoding says', { cause });
}
