import type { IncomingMessage } from 'node:http';
import { pipeline, type Readable, Transform } from 'node:stream';
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';
import { GantryError } from '../../core/api.ts';

/** Whether a body follows the headers (RFC 9112, 6.3). */
export function hasBody({ headers }: IncomingMessage): boolean {
  if (headers['transfer-encoding'] !== undefined) return true;
  const length = headers['content-length'];
  return length !== undefined && length !== '0';
}

/** Hot. The whole body, decompressed. Rejects with INPUT_TOO_LARGE, MEDIA_UNSUPPORTED, INPUT_MALFORMED or CALL_ABORTED. */
export function readBody(req: IncomingMessage, limit: number): Promise<Buffer> {
  const encoding = req.headers['content-encoding'];
  if (Number(req.headers['content-length'] ?? 0) > limit) return Promise.reject(tooLarge(limit));
  const source = encoding === undefined || encoding === 'identity' ? req : decompressed(req, encoding);
  return new Promise((resolve, reject) => {
    let first: Buffer | null = null;
    let more: Buffer[] | null = null;
    let size = 0;
    source.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > limit) {
        // What still comes is read and thrown away, so that the caller can read the answer.
        source.removeAllListeners('data');
        if (source === req) req.resume();
        else source.destroy();
        reject(tooLarge(limit));
      } else if (first === null) first = chunk;
      else (more ??= [first]).push(chunk);
    });
    source.on('end', () => resolve(more !== null ? Buffer.concat(more, size) : (first ?? EMPTY)));
    source.on('error', (cause) => reject(broken(req, cause)));
    source.on('close', () => {
      if (!req.complete) reject(gone());
    });
  });
}

/** The body as it comes, decompressed. With a limit it breaks off with INPUT_TOO_LARGE. */
export function streamBody(req: IncomingMessage, limit: number): Readable {
  const encoding = req.headers['content-encoding'];
  const source = encoding === undefined || encoding === 'identity' ? req : decompressed(req, encoding);
  if (limit === Number.POSITIVE_INFINITY) return source;
  let size = 0;
  const counted = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      size += chunk.length;
      if (size > limit) done(tooLarge(limit));
      else done(null, chunk);
    },
  });
  pipeline(source, counted, () => {});
  return counted;
}

const EMPTY = Buffer.alloc(0);

function decompressed(req: IncomingMessage, encoding: string): Readable {
  const inflate = inflater(encoding.trim().toLowerCase());
  // Errors reach the reader through `inflate`, which pipeline destroys with them.
  pipeline(req, inflate, () => {});
  return inflate;
}

function inflater(encoding: string): Transform {
  switch (encoding) {
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
function broken(req: IncomingMessage, cause: Error): GantryError {
  if (req.destroyed && !req.complete) return gone();
  return new GantryError('INPUT_MALFORMED', 'The body is not what its content encoding says', { cause });
}
