import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { HttpOrigin } from '../../core/ports/index.ts';

type Client = NonNullable<HttpOrigin['client']>;

/** On the socket itself: a certificate does not change while the connection lasts. */
const CLIENT = Symbol('client');
interface Known extends TLSSocket {
  [CLIENT]?: Client | null;
}

export function isSecured(socket: Socket): socket is TLSSocket {
  return (socket as Partial<TLSSocket>).encrypted === true;
}

/** Null without a certificate, and with one that was not verified. */
export function clientOf(socket: TLSSocket): Client | null {
  const known = socket as Known;
  if (known[CLIENT] === undefined) known[CLIENT] = socket.authorized ? verified(socket) : null;
  return known[CLIENT];
}

function verified(socket: TLSSocket): Client | null {
  // Node calls a session authorized that is taken up again without any certificate.
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return null;
  const { CN } = certificate.toLegacyObject().subject as { CN?: string | string[] };
  return {
    name: typeof CN === 'string' ? CN : '',
    // OpenSSL escapes line breaks in values, so that these stand between the parts only.
    subject: certificate.subject.split('\n').reverse().join(','),
    fingerprint: certificate.fingerprint256,
  };
}
