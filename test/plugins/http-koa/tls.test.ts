import { spawnSync } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { copyFile, mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import type http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import tls from 'node:tls';
import { expect } from 'chai';
import { defineService, type GantryError, Type } from '../../../core/api.ts';
import type { HttpOrigin } from '../../../core/ports/index.ts';
import { rest, type Served, serve, until } from '../fixtures/server.ts';
import { parse, request } from '../fixtures/wire.ts';

interface Made {
  readonly certFile: string;
  readonly keyFile: string;
  readonly cert: Buffer;
  readonly key: Buffer;
  /** As openssl writes it. */
  readonly fingerprint: string;
}

const about = defineService({
  name: 'about',
  input: Type.Any(),
  output: Type.Any(),
  create: () => (input, call) => ({ input, path: call.path, remote: call.remote }),
});
const CHANNELS = [rest('GET /about', 'about'), rest('POST /about', 'about')];

function openssl(...words: string[]): void {
  const { status, error, stderr } = spawnSync('openssl', words, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`openssl ${words[0]}: ${error?.message ?? stderr}`);
}

/** Also where it was cut off. */
function closed(socket: net.Socket): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()));
}

describe('http.koa: TLS', () => {
  let dir: string;
  let authority: Made;
  let server: Made;
  let friend: Made;
  let stranger: Made;
  let served: Served | null = null;

  const made = async (name: string): Promise<Made> => {
    const [certFile, keyFile] = [path.join(dir, `${name}.pem`), path.join(dir, `${name}.key`)];
    const [cert, key] = await Promise.all([readFile(certFile), readFile(keyFile)]);
    return { certFile, keyFile, cert, key, fingerprint: new X509Certificate(cert).fingerprint256 };
  };
  /** Signed by the authority, or by itself. */
  const make = async (name: string, subject: string, by: Made | null = null, days = '2'): Promise<Made> => {
    const at = (ending: string) => path.join(dir, `${name}.${ending}`);
    openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', at('key'));
    openssl('req', '-new', '-utf8', '-key', at('key'), '-subj', subject, '-out', at('csr'));
    await writeFile(at('ext'), `subjectAltName=DNS:localhost,IP:127.0.0.1\n`);
    const signer =
      by === null ? ['-signkey', at('key')] : ['-CA', by.certFile, '-CAkey', by.keyFile, '-CAcreateserial'];
    openssl('x509', '-req', '-in', at('csr'), ...signer, '-days', days, '-extfile', at('ext'), '-out', at('pem'));
    return made(name);
  };

  before(async function () {
    if (spawnSync('openssl', ['version']).status !== 0) {
      if (process.env['CI'] === 'true') throw new Error('openssl is not installed');
      process.stderr.write('\nSKIPPED: the tests of TLS do not run here: openssl is not installed\n\n');
      return this.skip();
    }
    dir = await mkdtemp(path.join(os.tmpdir(), 'gantry-tls-'));
    openssl(
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
      ...['-subj', '/CN=authority', '-keyout', path.join(dir, 'ca.key'), '-out', path.join(dir, 'ca.pem')],
    );
    authority = await made('ca');
    server = await make('server', '/CN=localhost', authority);
    friend = await make('friend', '/C=DE/O=Example\\, Ltd/CN=agent', authority);
    stranger = await make('stranger', '/CN=agent');
  });
  after(() => (dir === undefined ? undefined : rm(dir, { recursive: true })));
  afterEach(async () => {
    await served?.kernel.stop();
    served = null;
  });

  const files = ({ certFile, keyFile }: Made) => ({ certFile, keyFile });
  const start = async (settings: object, http: object = {}): Promise<Served> => {
    served = await serve({ services: [about], channels: CHANNELS, http: { tls: settings, ...http } });
    return served;
  };
  const ask = (
    at: Served,
    options: https.RequestOptions = {},
  ): Promise<{ status: number; text: string; peer: string }> =>
    new Promise((resolve, reject) => {
      const all = { ca: authority.cert, servername: 'localhost', agent: false as const, ...options };
      const req = https.request(`${at.url}/about`, all, (res) => {
        const peer = (res.socket as tls.TLSSocket).getPeerCertificate().fingerprint256;
        let text = '';
        res.setEncoding('utf8').on('data', (chunk) => (text += chunk));
        res.on('error', reject).on('end', () => resolve({ status: res.statusCode ?? 0, text, peer }));
      });
      req.on('error', reject).end();
    });
  const failure = (answer: Promise<unknown>): Promise<NodeJS.ErrnoException> =>
    answer.then(
      (given) => expect.fail(`it was answered: ${JSON.stringify(given)}`),
      (error) => error,
    );
  /** What the host says of the next request. */
  const originOf = async (at: Served, options: https.RequestOptions = {}): Promise<HttpOrigin> => {
    let origin: HttpOrigin | null = null;
    const undo = at.host.route({
      owner: 'test',
      methods: ['GET'],
      path: '/origin',
      handle: async (req: http.IncomingMessage) => {
        origin = at.host.origin(req);
        expect(at.host.origin(req)).to.deep.equal(origin);
        return { status: 204, headers: {}, body: null };
      },
    });
    await ask(at, { ...options, path: '/origin' }).finally(undo);
    return origin as unknown as HttpOrigin;
  };
  const logged = (at: Served, level: string, text: string) =>
    at.lines.filter((line) => line['level'] === level && line['msg'] === text);

  describe('the listener', () => {
    it('says https, and answers with the certificate that it was given', async () => {
      const at = await start(files(server));
      expect(at.url).to.match(/^https:\/\/127\.0\.0\.1:\d+$/);
      const { status, peer } = await ask(at);
      expect({ status, peer }).to.deep.equal({ status: 200, peer: server.fingerprint });
      expect(await originOf(at)).to.include({ scheme: 'https', address: '127.0.0.1', client: null });
    });
    it('keeps connections alive, in HTTP/1.1', async () => {
      const at = await start(files(server));
      const agent = new https.Agent({ keepAlive: true, maxSockets: 1 });
      const sockets = new Set<unknown>();
      agent.on('free', (socket) => sockets.add(socket));
      for (let i = 0; i < 5; i++) expect((await ask(at, { agent })).status).to.equal(200);
      expect(sockets.size).to.equal(1);
      agent.destroy();
    });
    it('takes several requests at once on a connection, and an offer of HTTP/2 for what it is', async () => {
      const at = await start(files(server));
      const socket = tls.connect({ port: at.port, ca: authority.cert, servername: 'localhost' });
      // Where the test has failed by then, the server's end is an error here, and would be one of the next test.
      socket.on('error', () => {});
      const end = closed(socket);
      await once(socket, 'secureConnect');
      let text = '';
      socket.setEncoding('latin1').on('data', (chunk) => (text += chunk));
      const offer = ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAAP__'];
      socket.write(request('GET /about', offer));
      await until('the first is answered', () => parse(text).length === 1);
      socket.write(request('GET /about').repeat(3));
      await until('all are answered', () => parse(text).length === 4);
      expect(parse(text).map(({ status }) => status)).to.deep.equal([200, 200, 200, 200]);
      socket.write('no HTTP at all\r\n\r\n');
      await until('that is answered, too', () => parse(text).length === 5);
      expect(parse(text).at(-1)?.status).to.equal(400);
      await end;
    });
    it('runs Koa middleware as without TLS', async () => {
      const use = path.join(dir, 'secure.mjs');
      await writeFile(use, 'export default async (ctx, next) => { await next(); ctx.body = String(ctx.secure); };\n');
      const at = await start(files(server), { middleware: [{ use, path: '/about' }] });
      expect((await ask(at)).text).to.equal('true');
    });
    it('is TLS 1.2 or newer, and newer where that is wanted', async () => {
      const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const;
      const at = await start(files(server));
      expect((await failure(ask(at, old))).code).to.match(/ALERT|PROTO|VERSION/);
      expect((await ask(at, { maxVersion: 'TLSv1.2' })).status).to.equal(200);
      await at.kernel.stop();
      const newer = await start({ ...files(server), minVersion: 'TLSv1.3' });
      expect((await failure(ask(newer, { maxVersion: 'TLSv1.2' }))).code).to.match(/ALERT|PROTO|VERSION/);
      expect((await ask(newer)).status).to.equal(200);
    });
    it('closes on what is no TLS, and serves the next caller', async () => {
      const at = await start(files(server));
      for (const bytes of [request('GET /about'), 'x'.repeat(100_000), '\u0016\u0003\u0001']) {
        const socket = net.connect(at.port, '127.0.0.1');
        socket.on('error', () => {}).resume();
        socket.end(bytes, 'latin1');
        await closed(socket);
      }
      expect((await ask(at)).status).to.equal(200);
      expect(logged(at, 'debug', 'a TLS handshake failed')).to.have.length.of.at.least(2);
      expect(at.lines.filter((line) => line['level'] === 'error')).to.deep.equal([]);
    });
    it('lives through connections that are cut off at any point of their handshake', async () => {
      const at = await start(files(server));
      const heard: string[] = [];
      for (const how of ['end', 'resetAndDestroy'] as const) {
        for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
          for (const after of [1, 6, 100, 400, 600, 700, 1000]) {
            // A half of the connection ends after so many bytes of the caller; the other half goes on.
            const proxy = net.createServer((caller) => {
              const onward = net.connect(at.port, '127.0.0.1');
              let left = after;
              for (const socket of [caller, onward]) socket.on('error', () => {});
              caller.on('data', (bytes) => {
                if (left > 0) onward.write(bytes.subarray(0, left));
                if (left > 0 && left <= bytes.length) onward[how]();
                left -= bytes.length;
              });
              onward.pipe(caller);
              caller.once('close', () => onward.destroy());
              onward.once('close', () => caller.destroy());
            });
            await once(proxy.listen(0, '127.0.0.1'), 'listening');
            const { port } = proxy.address() as net.AddressInfo;
            const socket = tls.connect({ port, ca: authority.cert, servername: 'localhost', maxVersion: version });
            socket.on('error', ({ message }) => heard.push(message)).resume();
            socket.once('secureConnect', () => socket.write('x'.repeat(2000)));
            await closed(socket);
            proxy.close();
          }
        }
      }
      expect(heard, 'what callers heard').to.not.deep.equal([]);
      expect((await ask(at)).status).to.equal(200);
      expect(at.lines.filter((line) => line['level'] === 'error')).to.deep.equal([]);
    });
    it('does not wait for a handshake longer than for headers', async () => {
      const at = await start(files(server), { headersTimeoutMs: 300 });
      const socket = net.connect(at.port, '127.0.0.1');
      socket.on('error', () => {}).resume();
      await closed(socket);
      expect((await ask(at)).status).to.equal(200);
    });
    it('ends idle connections and unfinished handshakes when it stops, and answers what is in hand', async () => {
      const at = await start(files(server));
      const [raw, idle] = [
        net.connect(at.port, '127.0.0.1'),
        tls.connect({ port: at.port, ca: authority.cert, servername: 'localhost' }),
      ];
      for (const socket of [raw, idle]) socket.on('error', () => {}).resume();
      await Promise.all([once(raw, 'connect'), once(idle, 'secureConnect')]);
      let finish = () => {};
      const reply = new Promise<void>((resolve) => {
        finish = resolve;
      });
      let inHand = false;
      at.host.route({
        owner: 'test',
        methods: ['GET'],
        path: '/slow',
        handle: async () => {
          inHand = true;
          await reply;
          return { status: 200, headers: {}, body: 'done' };
        },
      });
      const slow = ask(at, { path: '/slow' });
      await until('it is in hand', () => inHand);
      const ended = Promise.all([closed(raw), closed(idle)]);
      const stopped = at.kernel.stop();
      await ended;
      finish();
      expect(await slow).to.include({ status: 200, text: 'done' });
      await stopped;
    });
  });

  describe('what cannot be used', () => {
    const refusal = async (settings: object): Promise<GantryError> => {
      const error = (await failure(start(settings))) as unknown as GantryError;
      expect(error).to.include({ code: 'CONFIG_INVALID' });
      return error;
    };
    const cases: Record<string, [key: string, says: RegExp, settings: () => object | Promise<object>]> = {
      'a certificate that is not there': [
        'certFile',
        /is not there: .*nothing\.pem$/,
        () => ({ ...files(server), certFile: path.join(dir, 'nothing.pem') }),
      ],
      'a key that is not there': [
        'keyFile',
        /is not there: .*nothing\.key$/,
        () => ({ ...files(server), keyFile: path.join(dir, 'nothing.key') }),
      ],
      'a folder': ['keyFile', /cannot be read \(EISDIR\)/, () => ({ ...files(server), keyFile: dir })],
      'a key that does not fit': [
        'keyFile',
        /does not fit the first certificate of .*server\.pem: .*friend\.key$/,
        () => ({ certFile: server.certFile, keyFile: friend.keyFile }),
      ],
      'a certificate that is a key': [
        'certFile',
        /cannot be used: .*server\.key$/,
        () => ({ certFile: server.keyFile, keyFile: server.keyFile }),
      ],
      'a key that is a certificate': [
        'keyFile',
        /cannot be used: .*server\.pem$/,
        () => ({ certFile: server.certFile, keyFile: server.certFile }),
      ],
      'a key with a passphrase': [
        'keyFile',
        /has a passphrase: /,
        () => {
          const out = path.join(dir, 'locked.key');
          openssl('pkey', '-in', server.keyFile, '-aes256', '-passout', 'pass:hunter2', '-out', out);
          return { ...files(server), keyFile: out };
        },
      ],
      'a file of authorities without any': [
        'caFile',
        /cannot be used: /,
        async () => {
          const caFile = path.join(dir, 'empty.pem');
          await writeFile(caFile, '# none yet\n');
          return { ...files(server), caFile, clients: 'required' };
        },
      ],
      'an authority without use': ['caFile', /has no effect/, () => ({ ...files(server), caFile: authority.certFile })],
      'certificates of callers without an authority': [
        'caFile',
        /is missing: with clients 'ask'/,
        () => ({ ...files(server), clients: 'ask' }),
      ],
    };
    for (const [what, [key, says, settings]] of Object.entries(cases)) {
      it(`is ${what}`, async () => {
        const { problems = [], message, hint } = await refusal(await settings());
        expect(problems).to.have.lengthOf(1);
        expect(problems[0]).to.include({ path: `plugins.http.koa.tls.${key}`, plugin: 'http.koa' });
        expect(problems[0]?.message).to.match(says);
        expect(message).to.include(key);
        expect([problems[0]?.expected, hint].join('')).to.not.equal('');
        expect(JSON.stringify([problems, message, hint])).to.not.match(/MI[GI]|hunter2/);
      });
    }
    it('is told for all files at once', async () => {
      const { problems = [] } = await refusal({ certFile: '/nothing/a', keyFile: 'nothing-b' });
      expect(problems.map((one) => one.path.split('.').at(-1))).to.deep.equal(['certFile', 'keyFile']);
    });
    it('is not a certificate that has expired: that is a warning, with the date', async () => {
      const old = await make('old', '/CN=old', authority, '-1');
      const at = await start(files(old));
      const [line] = logged(at, 'warn', 'the certificate has expired: callers will refuse it');
      expect(line?.['validTo']).to.equal(new Date(new X509Certificate(old.cert).validTo).toISOString());
      expect((await failure(ask(at))).code).to.equal('CERT_HAS_EXPIRED');
      expect((await ask(at, { rejectUnauthorized: false })).status).to.equal(200);
    });
  });

  describe('new files', () => {
    let live: string;
    const liveFiles = () => ({ certFile: path.join(live, 'cert.pem'), keyFile: path.join(live, 'key.pem') });
    const put = async ({ certFile, keyFile }: { certFile: string; keyFile: string }) => {
      await copyFile(certFile, liveFiles().certFile);
      await copyFile(keyFile, liveFiles().keyFile);
    };
    const shows = async (at: Served, which: Made) => {
      let peer = '';
      const end = performance.now() + 10_000;
      while (peer !== which.fingerprint && performance.now() < end) ({ peer } = await ask(at));
      expect(peer).to.equal(which.fingerprint);
    };
    beforeEach(async () => {
      live = await mkdtemp(path.join(dir, 'live-'));
      await put(server);
    });

    it('are taken up while the server runs, and open connections go on', async () => {
      const at = await start(liveFiles());
      const agent = new https.Agent({ keepAlive: true, maxSockets: 1 });
      expect((await ask(at, { agent })).peer).to.equal(server.fingerprint);
      const next = await make('next', '/CN=localhost', authority);
      await put(next);
      await shows(at, next);
      expect((await ask(at, { agent })).peer, 'the open connection').to.equal(server.fingerprint);
      agent.destroy();
      const [line] = logged(at, 'info', 'a new certificate is in use');
      expect(line).to.include({ subject: 'CN=localhost', plugin: 'http.koa' });
    });
    it('are taken up where a link leads elsewhere, as Kubernetes changes them', async () => {
      const folders = ['one', 'two'].map((name) => path.join(live, name));
      const next = await make('linked', '/CN=localhost', authority);
      for (const [i, from] of [server, next].entries()) {
        await mkdir(folders[i] as string);
        await copyFile(from.certFile, path.join(folders[i] as string, 'cert.pem'));
        await copyFile(from.keyFile, path.join(folders[i] as string, 'key.pem'));
      }
      const link = path.join(live, 'now');
      await symlink(folders[0] as string, link);
      const at = await start({ certFile: path.join(link, 'cert.pem'), keyFile: path.join(link, 'key.pem') });
      await symlink(folders[1] as string, `${link}-next`);
      await rename(`${link}-next`, link);
      await shows(at, next);
    });
    it('that are broken leave the old ones in use, with one error in the log', async () => {
      const at = await start(liveFiles());
      const told = () => logged(at, 'error', 'the new certificate cannot be used; the old one stays');
      const breaks: [() => Promise<void>, RegExp][] = [
        [() => copyFile(friend.keyFile, liveFiles().keyFile), /does not fit/],
        [() => writeFile(liveFiles().certFile, server.cert.subarray(0, 200)), /cannot be used/],
        [() => rm(liveFiles().certFile), /is not there/],
      ];
      for (const [i, [spoil, says]] of breaks.entries()) {
        await spoil();
        await until('the log tells', () => told().length > i, 10_000);
        expect(JSON.stringify(told()[i]?.['problems'])).to.match(says);
        expect((await ask(at)).peer).to.equal(server.fingerprint);
      }
      const next = await make('mended', '/CN=localhost', authority);
      await put(next);
      await shows(at, next);
      expect(told()).to.have.lengthOf(3);
    });
    it('are left alone while they still change', async () => {
      const at = await start(liveFiles());
      const next = await make('growing', '/CN=localhost', authority);
      for (let i = 0; i < 50; i++) {
        await copyFile(next.certFile, liveFiles().certFile);
        await pause(50);
      }
      await copyFile(next.keyFile, liveFiles().keyFile);
      await shows(at, next);
      expect(at.lines.filter((line) => line['level'] === 'error')).to.deep.equal([]);
    });
    it('are warned of where they have expired', async () => {
      const at = await start(liveFiles());
      await put(await make('stale', '/CN=stale', authority, '-1'));
      const text = 'the certificate has expired: callers will refuse it';
      await until('the log tells', () => logged(at, 'warn', text).length > 0, 10_000);
      await pause(2500);
      expect(logged(at, 'warn', text), 'after some more looks').to.have.lengthOf(1);
      expect(logged(at, 'info', 'a new certificate is in use')).to.have.lengthOf(1);
    });
    it('of authorities count, and no session of before them is taken up again', async () => {
      const caFile = path.join(live, 'ca.pem');
      await copyFile(authority.certFile, caFile);
      const at = await start({ ...liveFiles(), caFile, clients: 'required' });
      const agent = new https.Agent({ maxCachedSessions: 10 });
      const by = (who: Made) => ask(at, { cert: who.cert, key: who.key, agent });
      for (let i = 0; i < 2; i++) expect((await by(friend)).status).to.equal(200);
      await copyFile(stranger.certFile, caFile);
      await until('it is taken up', () => logged(at, 'info', 'a new certificate is in use').length === 1, 10_000);
      expect((await failure(by(friend))).code).to.be.a('string');
      expect((await by(stranger)).status).to.equal(200);
      agent.destroy();
    });
  });

  describe('certificates of callers', () => {
    const with_ = ({ cert, key }: Made) => ({ cert, key });
    const asking = (clients: 'ask' | 'required', http: object = {}) =>
      start({ ...files(server), caFile: authority.certFile, clients }, http);

    it('are not looked at where nobody asks for them', async () => {
      const at = await start(files(server));
      expect((await originOf(at, with_(friend))).client).to.equal(null);
    });
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      it(`are told by the host, once they are verified: ${maxVersion}`, async () => {
        for (const clients of ['ask', 'required'] as const) {
          const at = await asking(clients);
          const { client } = await originOf(at, { ...with_(friend), maxVersion });
          expect(client).to.deep.equal({
            name: 'agent',
            subject: 'CN=agent,O=Example\\, Ltd,C=DE',
            fingerprint: friend.fingerprint,
          });
          const { raw } = new X509Certificate(friend.cert);
          const digest = createHash('sha256').update(raw).digest('hex').toUpperCase();
          expect(client?.fingerprint.replaceAll(':', '')).to.equal(digest);
          await at.kernel.stop();
        }
      });
      it(`are required in the handshake where that is wanted: ${maxVersion}`, async () => {
        const at = await asking('required');
        let reached = false;
        at.host.route({
          owner: 'test',
          methods: ['GET'],
          path: '/reached',
          handle: async () => {
            reached = true;
            return { status: 204, headers: {}, body: null };
          },
        });
        for (const options of [{}, with_(stranger)]) {
          const error = await failure(ask(at, { ...options, maxVersion, path: '/reached' }));
          expect(error.code).to.be.a('string');
        }
        expect(reached).to.equal(false);
        expect((await ask(at, { ...with_(friend), maxVersion, path: '/reached' })).status).to.equal(204);
      });
      it(`may be missing or worth nothing where they are asked for, and count for nothing then: ${maxVersion}`, async () => {
        const at = await asking('ask');
        for (const options of [{}, with_(stranger)]) {
          const agent = new https.Agent({ maxCachedSessions: 10 });
          for (let i = 0; i < 3; i++) {
            const { client } = await originOf(at, { ...options, maxVersion, agent });
            expect(client, `connection ${i}`).to.equal(null);
          }
          agent.destroy();
        }
      });
    }
    it('are still known where a session is taken up again', async () => {
      const at = await asking('required');
      const agent = new https.Agent({ maxCachedSessions: 10 });
      const names = [];
      for (let i = 0; i < 3; i++) names.push((await originOf(at, { ...with_(friend), agent })).client?.name);
      expect(names).to.deep.equal(['agent', 'agent', 'agent']);
      agent.destroy();
    });
    it('cannot be claimed in headers, and several names are none', async () => {
      const at = await asking('ask');
      const headers = { 'x-forwarded-for': '1.1.1.1', 'x-ssl-client-cn': 'agent', 'x-client-certificate': 'agent' };
      expect((await originOf(at, { headers })).client).to.equal(null);
      const twins = await make('twins', '/CN=admin/CN=guest', authority);
      expect((await originOf(at, with_(twins))).client).to.include({ name: '', subject: 'CN=guest,CN=admin' });
      const sly = await make('sly', '/CN=x\\,CN=admin', authority);
      expect((await originOf(at, with_(sly))).client).to.include({ name: 'x,CN=admin', subject: 'CN=x\\,CN=admin' });
    });
    it("are the proxy's own where a proxy speaks for somebody else, and so not told", async () => {
      const at = await asking('required', { trustedProxies: ['127.0.0.1'] });
      const forwarded = { 'x-forwarded-for': '7.7.7.7', 'x-forwarded-proto': 'http' };
      expect(await originOf(at, { ...with_(friend), headers: forwarded })).to.include({
        address: '7.7.7.7',
        scheme: 'http',
        client: null,
      });
      const own = await originOf(at, with_(friend));
      expect(own).to.deep.include({ address: '127.0.0.1', scheme: 'https' });
      expect(own.client?.name).to.equal('agent');
    });
  });

  it('changes nothing where it is not asked for', async () => {
    served = await serve({ services: [about], channels: CHANNELS });
    expect(served.url).to.match(/^http:/);
    expect((await failure(ask({ ...served, url: served.url.replace('http:', 'https:') }))).code).to.be.a('string');
  });
});
