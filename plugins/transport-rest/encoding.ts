import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream';
import { promisify } from 'node:util';
import { brotliCompress, constants, createBrotliCompress, createGzip, gzip } from 'node:zlib';

const WORTH_BYTES = 1400;
/** Not a stream of events: each would wait for the next ones, until a block is full. */
const COMPRESSIBLE = /^(text\/(?!event-stream)|application\/(json|xml|problem\+json|javascript|[\w.-]+\+(json|xml)))/;
const brotli = { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } };
const asGzip = promisify(gzip);
const asBrotli = promisify<Buffer | string, object, Buffer>(brotliCompress);

/** The encoding that a caller prefers of those that we have; null for none (RFC 9110, 12.5.3). */
export function encodingFor(accept: string | undefined, contentType: string): 'br' | 'gzip' | null {
  if (accept === undefined || !COMPRESSIBLE.test(contentType)) return null;
  const quality = new Map<string, number>();
  for (const part of accept.toLowerCase().split(',')) {
    const [name = '', ...parameters] = part.split(';').map((p) => p.trim());
    const q = parameters.find((p) => p.startsWith('q='));
    quality.set(name, q === undefined ? 1 : Number(q.slice(2)) || 0);
  }
  const of = (name: string) => quality.get(name) ?? quality.get('*') ?? 0;
  const [br, gz] = [of('br'), Math.max(of('gzip'), quality.get('x-gzip') ?? 0)];
  if (Math.max(br, gz) === 0 || (quality.get('identity') ?? 0) > Math.max(br, gz)) return null;
  return br >= gz ? 'br' : 'gzip';
}

export function isWorth(body: string | Uint8Array): boolean {
  return body.length >= WORTH_BYTES;
}

/** Off the main thread. */
export function compress(body: string | Uint8Array, encoding: 'br' | 'gzip'): Promise<Buffer> {
  const bytes =
    typeof body === 'string' ? Buffer.from(body) : Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  return encoding === 'br' ? asBrotli(bytes, brotli) : asGzip(bytes);
}

export function compressStream(body: Readable, encoding: 'br' | 'gzip'): Readable {
  const packer = encoding === 'br' ? createBrotliCompress(brotli) : createGzip();
  pipeline(body, packer, () => {});
  return packer;
}

/** A weak validator of the content, the same in each encoding (RFC 9110, 8.8.3). */
export function etagOf(body: string | Uint8Array): string {
  return `W/"${createHash('sha1').update(body).digest('base64url')}"`;
}

/** Whether `If-None-Match` names it; weak comparison (RFC 9110, 13.1.2). */
export function isKnown(etag: string, ifNoneMatch: string | undefined): boolean {
  if (ifNoneMatch === undefined) return false;
  if (ifNoneMatch.trim() === '*') return true;
  const opaque = etag.replace(/^W\//, '');
  return ifNoneMatch.split(',').some((one) => one.trim().replace(/^W\//, '') === opaque);
}
