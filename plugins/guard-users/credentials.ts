import { isUtf8 } from 'node:buffer';

const BASIC = /^basic +([a-z0-9+/]+={0,2}) *$/i;
/** RFC 6750, 2.1: b64token. */
const BEARER = /^bearer +([a-z0-9\-._~+/]+=*) *$/i;

/** Name and password of an Authorization header (RFC 7617, 2); null for another scheme and for what is malformed. */
export function basicOf(header: string): { name: string; password: string } | null {
  const token = BASIC.exec(header)?.[1];
  if (token === undefined || token.length % 4 !== 0) return null;
  const bytes = Buffer.from(token, 'base64');
  if (!isUtf8(bytes)) return null;
  const text = bytes.toString('utf8');
  const colon = text.indexOf(':');
  return colon === -1 ? null : { name: text.slice(0, colon), password: text.slice(colon + 1) };
}

/** The token of an Authorization header (RFC 6750); null for another scheme and for what is malformed. */
export function bearerOf(header: string): string | null {
  return BEARER.exec(header)?.[1] ?? null;
}
