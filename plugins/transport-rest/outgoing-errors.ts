import { GantryError, isGantryError } from '../../core/api.ts';

/** What failed where, as the hint of an error has it: "Connection 'crm': GET /customers/{id} ...". */
export interface Place {
  readonly connection: string;
  /** Method and path template: never the values in it, which may be personal. */
  readonly request: string;
}

/** A message that the service wrote wrongly. */
export function unsendable(connection: string, hint: string, cause?: unknown): GantryError {
  return new GantryError('OUTGOING_MALFORMED', 'The service made a request that cannot be sent', {
    hint: `Connection '${connection}': ${hint}`,
    cause,
  });
}

/** A reply that came and is of no use. Nothing of it goes into the message. */
export function unreadable(place: Place, what: string, cause?: unknown): GantryError {
  return new GantryError('OUTGOING_MALFORMED', 'A system that this service needs gave an answer that cannot be read', {
    hint: told(place, what),
    cause,
  });
}

export function unavailable(place: Place, what: string, cause?: unknown, retryAfterMs?: number): GantryError {
  return new GantryError('OUTGOING_UNAVAILABLE', 'A system that this service needs is not available', {
    hint: told(place, what),
    cause,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}

export function tooSlow(place: Place, what: string, cause?: unknown): GantryError {
  return new GantryError('OUTGOING_TIMEOUT', 'A system that this service needs did not answer in time', {
    hint: told(place, what),
    cause,
  });
}

export function told({ connection, request }: Place, what: string): string {
  return `Connection '${connection}': ${request} ${what}`;
}

/** Why a call ended, as an error of ours. */
export function reasonOf(signal: { readonly reason: unknown }): GantryError {
  const { reason } = signal;
  return isGantryError(reason)
    ? reason
    : new GantryError('CALL_ABORTED', 'The call was aborted', reason === undefined ? {} : { cause: reason });
}

/** What undici, node:net or node:tls threw, in our words. */
export function explain(place: Place, thrown: unknown): GantryError {
  if (isGantryError(thrown)) return thrown;
  const code = codeOf(thrown);
  switch (code) {
    case 'UND_ERR_HEADERS_TIMEOUT':
    case 'UND_ERR_BODY_TIMEOUT':
      return tooSlow(place, 'was not answered in time.', thrown);
    case 'UND_ERR_INVALID_ARG':
    case 'UND_ERR_NOT_SUPPORTED':
      return unsendable(place.connection, `${place.request} cannot be sent: ${(thrown as Error).message}.`, thrown);
    case 'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH':
      return unsendable(place.connection, `${place.request} has a body that is not as long as it says.`, thrown);
    case 'UND_ERR_HEADERS_OVERFLOW':
      return unreadable(place, 'was answered with headers that are too large.', thrown);
  }
  // undici's parser errors have no code that tells.
  if ((thrown as Error).name === 'HTTPParserError') {
    return (thrown as Error).message.includes('Invalid EOF state')
      ? unavailable(place, HALF, thrown)
      : unreadable(place, 'was answered with something that is not HTTP.', thrown);
  }
  return unavailable(place, UNREACHED[code] ?? certificateHint(code) ?? `failed (${code || 'no code'}).`, thrown);
}

const HALF = 'was answered with half a reply.';
const UNREACHED: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'found nobody listening there. Is the other system running, and the port right?',
  ENOTFOUND: "found no address for the URL's host name.",
  EAI_AGAIN: 'got no answer from the name server.',
  EHOSTUNREACH: 'found no way to the host.',
  ENETUNREACH: 'found no way to the network of the host.',
  ECONNRESET: 'lost its socket: the other side reset it.',
  EPIPE: 'lost its socket: the other side closed it.',
  UND_ERR_SOCKET: 'lost its socket: the other side closed it.',
  UND_ERR_CONNECT_TIMEOUT: 'got no socket within connectTimeoutMs.',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: HALF,
};

/** A certificate does not become a good one by asking again. */
export function isCertificate(error: GantryError): boolean {
  return certificateHint(codeOf(error.cause)) !== undefined;
}

function certificateHint(code: string): string | undefined {
  return /^(ERR_TLS_|ERR_SSL_|CERT_|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO_)/.test(code)
    ? `found a TLS side that it does not trust or cannot talk to (${code}). See tls.ca and tls.servername.`
    : undefined;
}

function codeOf(thrown: unknown): string {
  const code = (thrown as { code?: unknown } | null | undefined)?.code;
  return typeof code === 'string' ? code : '';
}
