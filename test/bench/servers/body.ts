import type { IncomingMessage } from 'node:http';
import { MAX_BODY_BYTES } from '../work.ts';

/** Reads a body as text by events; null where it is too long or was cut off. */
export function readBody(req: IncomingMessage, done: (text: string | null) => void): void {
  const chunks: Buffer[] = [];
  let size = 0;
  let ended = false;
  const end = (text: string | null) => {
    if (ended) return;
    ended = true;
    done(text);
  };
  req.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size > MAX_BODY_BYTES) end(null);
    else chunks.push(chunk);
  });
  req.on('end', () => end((chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)).toString('utf8')));
  req.on('error', () => end(null));
}
