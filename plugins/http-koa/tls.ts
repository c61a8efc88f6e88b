import type { IncomingMessage, ServerOptions, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { Socket } from 'node:net';
import path from 'node:path';
import type { TLSSocket } from 'node:tls';
import { GantryError, type Logger, type Problem, type Static, Type } from '../../core/api.ts';
import { type Files, type Loaded, loadFiles, stampOf } from './certificates.ts';

const FILE = "PEM; a path, relative to the server's data folder. Read again when it changes";

export const TlsSettings = Type.Object(
  {
    certFile: Type.String({ minLength: 1, description: `The certificate, then those that signed it. ${FILE}` }),
    keyFile: Type.String({ minLength: 1, description: `Its private key, without a passphrase. ${FILE}` }),
    caFile: Type.Optional(
      Type.String({ minLength: 1, description: `Whose signature on a client's certificate counts. ${FILE}` }),
    ),
    clients: Type.Union([Type.Literal('none'), Type.Literal('ask'), Type.Literal('required')], {
      default: 'none',
      description: 'Certificates of callers. ask: who has none is let in, too. required: not even to the first byte',
    }),
    minVersion: Type.Union([Type.Literal('TLSv1.2'), Type.Literal('TLSv1.3')], { default: 'TLSv1.2' }),
  },
  { additionalProperties: false, description: 'HTTPS instead of HTTP' },
);
export type TlsSettings = Static<typeof TlsSettings>;

/** How often the files are looked at. Watching them would miss what Kubernetes and NFS do. */
const LOOK_MS = 1000;

/** The secured listener and the files that it lives on. */
export class Tls {
  readonly server: Server;
  readonly #files: Files;
  readonly #minVersion: TlsSettings['minVersion'];
  readonly #log: Logger;
  /** Connections in the middle of their handshake, by the peer's address and port. */
  readonly #unfinished = new Map<string, Socket>();
  #loaded: Loaded | null = null;
  /** Of the files as they were when they were last looked at, and last read. */
  #seen = '';
  #read = '';
  #toldExpired = false;
  #timer: NodeJS.Timeout | null = null;

  /** Throws CONFIG_INVALID where the settings contradict each other. Touches no file. */
  constructor(settings: TlsSettings, data: string, options: ServerOptions, log: Logger) {
    const { certFile, keyFile, caFile, clients, minVersion } = settings;
    if ((clients === 'none') !== (caFile === undefined)) throw refused([contradiction(clients)]);
    const at = (file: string) => path.resolve(data, file);
    this.#files = { certFile: at(certFile), keyFile: at(keyFile), caFile: caFile === undefined ? null : at(caFile) };
    this.#minVersion = minVersion;
    this.#log = log;
    this.server = createServer<typeof IncomingMessage, typeof ServerResponse>({
      ...options,
      minVersion,
      requestCert: clients !== 'none',
      rejectUnauthorized: clients === 'required',
      handshakeTimeout: options.headersTimeout ?? 10_000,
    });
    this.#follow();
  }

  /** Reads the files. Rejects with CONFIG_INVALID that names the one that is wrong. */
  async start(): Promise<void> {
    this.#read = this.#seen = await stampOf(this.#files);
    const loaded = await loadFiles(this.#files);
    if (!('context' in loaded)) throw refused(loaded.problems);
    this.#use(loaded);
    this.#timer = setInterval(() => {
      this.#look().catch((error: unknown) => this.#log.error({ error }, 'a certificate could not be taken up'));
    }, LOOK_MS);
    this.#timer.unref();
  }

  /** Ends the handshakes; connections that are past theirs are the listener's. */
  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    for (const socket of this.#unfinished.values()) socket.destroy();
  }

  /** Takes new files up once they have stood still from one look to the next: key and certificate change one by one. */
  async #look(): Promise<void> {
    this.#warnOfEnd();
    const now = await stampOf(this.#files);
    const stands = now === this.#seen;
    this.#seen = now;
    if (!stands || now === this.#read) return;
    this.#read = now;
    const loaded = await loadFiles(this.#files);
    if ('context' in loaded) {
      this.#use(loaded);
      this.#log.info({ subject: loaded.subject, validTo: loaded.validTo }, 'a new certificate is in use');
    } else {
      this.#log.error({ problems: loaded.problems }, 'the new certificate cannot be used; the old one stays');
    }
  }

  #use(loaded: Loaded): void {
    // Open connections keep what they have. Sessions of before are not taken up again: the new context has new keys.
    this.server.setSecureContext({ ...loaded.context, minVersion: this.#minVersion });
    this.#loaded = loaded;
    this.#toldExpired = false;
    const { subject, validFrom } = loaded;
    if (validFrom.getTime() > Date.now()) this.#log.warn({ subject, validFrom }, 'the certificate is not valid yet');
    this.#warnOfEnd();
  }

  #warnOfEnd(): void {
    if (this.#loaded === null || this.#toldExpired || this.#loaded.validTo.getTime() > Date.now()) return;
    this.#toldExpired = true;
    const { subject, validTo } = this.#loaded;
    this.#log.warn({ subject, validTo }, 'the certificate has expired: callers will refuse it');
  }

  /** Node keeps no list of handshakes, and a stop must end them, too. */
  #follow(): void {
    const keyOf = ({ remoteAddress, remotePort }: Socket) => `${remoteAddress} ${remotePort}`;
    this.server.on('connection', (socket: Socket) => {
      const key = keyOf(socket);
      this.#unfinished.set(key, socket);
      socket.once('close', () => {
        if (this.#unfinished.get(key) === socket) this.#unfinished.delete(key);
      });
    });
    this.server.on('secureConnection', (socket: TLSSocket) => void this.#unfinished.delete(keyOf(socket)));
    this.server.on('tlsClientError', ({ code, message }: NodeJS.ErrnoException, socket: TLSSocket) => {
      this.#log.debug({ reason: code ?? message, remote: socket.remoteAddress }, 'a TLS handshake failed');
    });
  }
}

function contradiction(clients: TlsSettings['clients']): Problem {
  const path = 'plugins.http.koa.tls.caFile';
  if (clients === 'none') {
    const hint = "Set clients to 'ask' or 'required', or leave caFile out.";
    return { path, message: 'has no effect: no certificates of callers are asked for', hint, plugin: 'http.koa' };
  }
  const message = `is missing: with clients '${clients}' it says whose signature counts`;
  return { path, message, expected: 'a file of certificates', hint: 'Give your own authority.', plugin: 'http.koa' };
}

function refused(problems: readonly Problem[]): GantryError {
  const [first] = problems;
  const text = `http.koa cannot listen with TLS: ${first?.path.split('.').at(-1)} ${first?.message}`;
  return new GantryError(
    'CONFIG_INVALID',
    text,
    first?.hint === undefined ? { problems } : { problems, hint: first.hint },
  );
}
