import { randomUUID } from 'node:crypto';
import { type IncomingMessage, STATUS_CODES } from 'node:http';
import { type ErrorKind, type GantryError, toFault } from '../../core/api.ts';
import type { HttpReply } from '../../core/ports/index.ts';

const STATUS: Readonly<Record<ErrorKind, number>> = {
  invalid: 400,
  unauthorized: 401,
  forbidden: 403,
  missing: 404,
  conflict: 409,
  busy: 429,
  timeout: 504,
  unavailable: 503,
  bug: 500,
  setup: 500,
};

/** HTTP has finer words than the kinds for these. */
const FINER: Readonly<Record<string, number>> = {
  METHOD_UNSUPPORTED: 405,
  REPLY_UNACCEPTABLE: 406,
  INPUT_TOO_LARGE: 413,
  MEDIA_UNSUPPORTED: 415,
  IDEMPOTENCY_KEY_REUSED: 422,
  OUTGOING_REJECTED: 502,
  OUTGOING_MALFORMED: 502,
};

export function statusOf(error: GantryError): number {
  return FINER[error.code] ?? STATUS[error.kind];
}

/** Problem details (RFC 9457): what the caller may know, the code, and the call's id to ask about. */
export function problem(error: GantryError, cid: string, status = statusOf(error)): HttpReply {
  const { code, message, errors } = toFault(error, cid);
  const headers: Record<string, string> = {
    'content-type': 'application/problem+json',
    'x-correlation-id': cid,
    'cache-control': 'no-store',
  };
  if (error.challenge !== undefined) headers['www-authenticate'] = error.challenge;
  if (error.retryAfterMs !== undefined) headers['retry-after'] = String(Math.ceil(error.retryAfterMs / 1000));
  const type = `urn:gantry:problem:${code.toLowerCase().replaceAll('_', '-')}`;
  const body = { type, title: STATUS_CODES[status], status, detail: message, code, cid, ...(errors ? { errors } : {}) };
  return { status, headers, body: JSON.stringify(body) };
}

const CID = /^[\x21-\x7e]{1,128}$/;

/** The correlation id that a request came with, or a new one. */
export function cidOf({ headers }: IncomingMessage): string {
  const given = headers['x-correlation-id'];
  return typeof given === 'string' && CID.test(given) ? given : randomUUID();
}
