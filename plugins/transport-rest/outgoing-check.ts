import { X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { didYouMean, GantryError, keyOf } from '../../core/api.ts';
import type { Codec } from '../../core/ports/index.ts';
import { isHeaderName, isHeaderValue } from './outgoing-headers.ts';
import type { RestOptions } from './outgoing-options.ts';

/** What a schema cannot see. Returns the base URL; throws CONNECTION_INVALID. */
export function checkOptions(name: string, options: RestOptions, codecs: ReadonlyMap<string, Codec>): URL {
  const refuse = (path: string, message: string, hint: string, cause?: unknown): never => {
    throw new GantryError('CONNECTION_INVALID', `Connection '${name}' is not valid: options.${path} ${message}`, {
      problems: [{ path: `connection '${name}'.options.${path}`, message, hint }],
      hint,
      cause,
    });
  };
  const url = URL.canParse(options.url)
    ? new URL(options.url)
    : refuse('url', 'is not a URL', 'Write https://host/path');
  if (url.username !== '' || url.password !== '') {
    refuse('url', 'carries a user name or password', 'Use security: { kind: basic, username, password }');
  }
  if (url.search !== '' || url.hash !== '') refuse('url', 'carries a query or fragment', 'Write the query in "query"');
  if (!codecs.has(options.format)) {
    const known = [...codecs.keys()];
    const near = didYouMean(options.format, known) || `Loaded: ${known.join(', ') || '(none)'}.`;
    refuse('format', 'names a codec that is not loaded', near);
  }
  for (const [header, value] of Object.entries(options.headers)) {
    if (!isHeaderName(header))
      refuse(`headers${keyOf([header])}`, 'is not a header name', 'Letters, digits and - (RFC 9110, 5.1)');
    if (!isHeaderValue(value))
      refuse(`headers${keyOf([header])}`, 'has a value that no header can have', 'No line breaks');
  }
  checkSecurity(options, refuse);
  checkTls(url, options, refuse);
  return url;
}

type Refuse = (path: string, message: string, hint: string, cause?: unknown) => never;

function checkSecurity({ security }: RestOptions, refuse: Refuse): void {
  if (security?.kind === 'apikey') {
    if (!isHeaderName(security.header)) refuse('security.header', 'is not a header name', "Write e.g. 'x-api-key'");
    if (!isHeaderValue(security.key.reveal())) refuse('security.key', 'cannot be sent in a header', CLEAN);
  }
  if (security?.kind === 'bearer' && !isHeaderValue(security.token.reveal())) {
    refuse('security.token', 'cannot be sent in a header', CLEAN);
  }
}
const CLEAN = 'Look for a line break, e.g. at the end of the file that it comes from';

function checkTls(url: URL, { tls }: RestOptions, refuse: Refuse): void {
  if (tls === undefined) return;
  if (url.protocol !== 'https:') refuse('tls', 'is for https, and the URL is http', 'Write the URL with https');
  if ((tls.cert === undefined) !== (tls.key === undefined)) {
    refuse('tls', 'needs cert and key together', 'Give both, or none of them');
  }
  if (tls.ca !== undefined) {
    // createSecureContext() passes over what is no certificate, and the connection would then trust nobody.
    const blocks = tls.ca.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
    if (blocks.length === 0) refuse('tls.ca', 'holds no certificate', PEM);
    for (const block of blocks) attempt(() => new X509Certificate(block), 'tls.ca', refuse);
  }
  attempt(() => createSecureContext(secureOptions(tls)), 'tls', refuse);
}
const PEM = "A PEM file begins with '-----BEGIN CERTIFICATE-----'";

function attempt(read: () => unknown, path: string, refuse: Refuse): void {
  try {
    read();
  } catch (cause) {
    refuse(path, `cannot be read: ${(cause as Error).message}`, PEM, cause);
  }
}

/** As node:tls wants them. */
export function secureOptions(tls: RestOptions['tls']): {
  ca?: string;
  cert?: string;
  key?: string;
  servername?: string;
  rejectUnauthorized?: boolean;
} {
  if (tls === undefined) return {};
  const { key, ...rest } = tls;
  return key === undefined ? rest : { ...rest, key: key.reveal() };
}
