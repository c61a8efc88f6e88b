/** What callers and servers see of `balancer.haproxy`. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { connect as connectHttp2, constants } from 'node:http2';
import { createServer as createTlsServer } from 'node:https';
import { connect, createServer } from 'node:net';
import path from 'node:path';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import { expect } from 'chai';
import type { BalancedServer } from '../../../core/ports/index.ts';
import { freePort } from '../../engines/engine.ts';
import { haproxy, needs } from '../../engines/index.ts';
import { Authority, type Signed } from '../fixtures/certificates.ts';
import { type Answer, Balanced, type Call, Caller, call, troubles, until } from './balanced.ts';

const POST: Call = { method: 'POST', body: 'x' };
const KEYED: Call = { ...POST, headers: { 'idempotency-key': 'k' } };

describe('balancer.haproxy, traffic', function () {
  this.timeout(40_000);
  needs(haproxy);
  let world: Balanced;
  beforeEach(async () => {
    world = await Balanced.open();
  });
  afterEach(() => world.close());

  /** Two that answer with their name. */
  const pair = async (): Promise<[BalancedServer, BalancedServer]> => {
    const members = ['one', 'other'].map((name) => world.member(name, (_, res) => setTimeout(() => res.end(name), 2)));
    const [one, other] = (await Promise.all(members)).map(({ as }) => as) as [BalancedServer, BalancedServer];
    return [one, other];
  };
  const bodies = async (count: number, more: Call = {}): Promise<string[]> => {
    const all: string[] = [];
    for (let i = 0; i < count; i++) all.push((await world.call(more)).body);
    return all;
  };

  describe('what may be repeated', () => {
    it('a server that is killed: GET and keyed POST never fail, plain POST is never entered twice', async function () {
      this.timeout(60_000);
      const file = path.join(world.folder, 'entries.txt');
      const children = new Map<string, ChildProcess>();
      const ports = new Map([
        ['one', await freePort()],
        ['other', await freePort()],
        ['third', await freePort()],
      ]);
      const start = async (name: string) => {
        const args = [path.join(import.meta.dirname, 'balanced-server.mjs'), name, String(ports.get(name)), file, '10'];
        const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
        children.set(name, child);
        await once(child.stdout as NodeJS.EventEmitter, 'data');
      };
      try {
        await Promise.all([...ports.keys()].map(start));
        const servers = [...ports].map(
          ([name, port]): BalancedServer => ({ name, host: '127.0.0.1', port, weight: 100, state: 'online' }),
        );
        await world.serve(...servers);
        const made = { get: 0, keyed: 0, plain: 0 };
        const next = (kind: keyof typeof made) => (): Call => {
          const id = { 'x-correlation-id': `${kind}-${++made[kind]}` };
          if (kind === 'get') return { headers: id };
          const body = 'x'.repeat(kind === 'keyed' ? 40_000 : 10);
          return {
            method: 'POST',
            body,
            headers: kind === 'keyed' ? { ...id, 'idempotency-key': `k ${made.keyed}` } : id,
          };
        };
        const callersOf = (kind: keyof typeof made) =>
          Array.from({ length: 6 }, () => new Caller(world.port, next(kind)));
        const callers = { get: callersOf('get'), keyed: callersOf('keyed'), plain: callersOf('plain') };
        for (const name of ['one', 'other', 'one']) {
          await until('it is under load', () => Object.values(made).every((count) => count > 100));
          const child = children.get(name) as ChildProcess;
          child.kill('SIGKILL');
          await once(child, 'exit');
          const reached = { ...made };
          await until('it goes on', () => made.get > reached.get + 50 && made.plain > reached.plain + 50);
          await start(name);
          await world.settled();
        }
        await Promise.all(
          Object.values(callers)
            .flat()
            .map((caller) => caller.end()),
        );

        expect(troubles(callers.get), 'GET').to.deep.equal([]);
        expect(troubles(callers.keyed), 'POST with a key').to.deep.equal([]);
        const entries = readFileSync(file, 'utf8')
          .trimEnd()
          .split('\n')
          .map((line) => line.split(' ')[0] as string);
        const twice = entries.filter((id, i) => entries.indexOf(id) !== i);
        expect(twice.filter((id) => id.startsWith('plain'))).to.deep.equal([]);
        const lost = troubles(callers.plain);
        // Only those that a dead server had in hand: at most one of each caller, three times.
        expect(lost.length, lost.join('\n')).to.be.at.most(18);
        console.log(`      ${JSON.stringify(made)}, entered twice ${twice.length}, plain POST failed ${lost.length}`);
      } finally {
        for (const child of children.values()) child.kill('SIGKILL');
      }
    });

    it('a 503: elsewhere what may be repeated; the rest gets it as it is', async () => {
      const { as: busy } = await world.member('busy', (_, res) => res.writeHead(503).end('busy'));
      const { as: well } = await world.member('well', (_, res) => res.end('well'));
      await world.serve(busy, well);
      for (const method of ['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS']) {
        const answers = await Promise.all(Array.from({ length: 4 }, () => world.call({ method })));
        expect(
          answers.map(({ status }) => status),
          method,
        ).to.deep.equal([200, 200, 200, 200]);
      }
      expect(await bodies(4, KEYED)).to.deep.equal(['well', 'well', 'well', 'well']);
      for (const method of ['POST', 'PATCH']) {
        expect((await bodies(4, { ...POST, method })).sort(), method).to.deep.equal(['busy', 'busy', 'well', 'well']);
      }
    });

    it('an answer that never comes: 504 with an id, and plain POST is not sent again', async () => {
      let entered = 0;
      const { as } = await world.member('slow', (req) => req.on('data', () => {}).on('end', () => entered++));
      await world.apply({ timeouts: { ...world.settings.timeouts, serverMs: 200 }, retries: 2 }, [as]);
      await world.settled();
      isProblem(await world.call({ ...POST, headers: { 'x-correlation-id': 'mine' } }), 504, 'CALL_TIMEOUT', 'mine');
      expect(entered).to.equal(1);
      isProblem(await world.call(KEYED), 504, 'CALL_TIMEOUT');
      expect(entered).to.equal(1 + 3);
    });

    it('a connection that is refused: everything, since nobody saw it', async () => {
      const [one] = await pair();
      const gone = { ...one, name: 'gone', port: await freePort() };
      // Checks must not find it first.
      await world.apply({ check: { ...world.settings.check, everyMs: 60_000 } }, [one, gone]);
      expect(await bodies(6, POST)).to.deep.equal(Array(6).fill('one'));
      const status = await world.balancer.status();
      expect(status.servers.find(({ name }) => name === 'gone')?.up, 'one refusal is enough').to.equal(false);
    });
  });

  describe('changes under load', () => {
    it('drain, offline, online, add and remove: no call fails', async () => {
      const [one, other] = await pair();
      const { as: third } = await world.member('third', (_, res) => setTimeout(() => res.end('third'), 5));
      await world.serve(one, other);
      let count = 0;
      const next = () => [{}, POST, KEYED][++count % 3] as Call;
      const callers = Array.from({ length: 12 }, () => new Caller(world.port, next));
      const goOn = async () => {
        const from = count;
        await until('calls go on', () => count > from + 60);
      };
      for (const servers of [
        [{ ...one, state: 'draining' }, other],
        [{ ...one, state: 'offline' }, other],
        [one, other],
        [one, other, third],
        [one, third],
        [one, other, { ...third, weight: 1 }],
      ] as BalancedServer[][]) {
        expect(await world.serve(...servers)).to.include({ how: 'runtime' });
        await goOn();
      }
      await Promise.all(callers.map((caller) => caller.end()));
      expect(troubles(callers)).to.deep.equal([]);
      console.log(`      ${count} calls`);
    });

    it('reloads: no call fails, also on connections that were idle', async () => {
      await world.serve(...(await pair()));
      const callers = Array.from({ length: 32 }, () => new Caller(world.port, () => POST, 10));
      for (let i = 0; i < 8; i++) {
        const from = callers.reduce((sum, { answers }) => sum + answers.length, 0);
        await world.balancer.reload();
        await until('calls go on', () => callers.reduce((sum, { answers }) => sum + answers.length, 0) > from + 100);
      }
      await Promise.all(callers.map((caller) => caller.end()));
      expect(troubles(callers)).to.deep.equal([]);
      console.log(`      ${callers.reduce((sum, { answers }) => sum + answers.length, 0)} calls`);
    });

    it('after a reload who was down is down, and who drained drains', async () => {
      const [one, other] = await pair();
      const { as: third } = await world.member('third', (_, res) => res.end('third'));
      const gone = { ...third, name: 'gone', port: await freePort() };
      await world.apply({}, [one, { ...other, state: 'draining', weight: 40 }, gone]);
      await until('it is seen', async () => (await world.balancer.status()).servers[2]?.up === false);
      await world.balancer.reload();
      const { servers } = await world.balancer.status();
      expect(servers.map(({ up, weight }) => [up, weight])).to.deep.equal([
        [true, 100],
        [false, 40],
        [false, 100],
      ]);
      expect(new Set(await bodies(6))).to.deep.equal(new Set(['one']));
      expect(await world.apply({})).to.deep.equal({ how: 'none', steps: [] });
    });
  });

  describe('headers', () => {
    it('says who called by its own word only, and gives every call an id', async () => {
      const { as } = await world.member('echo', (req, res) => res.end(JSON.stringify(req.headers)));
      await world.serve(as);
      const lies = {
        ...{ 'x-forwarded-for': '6.6.6.6', 'x-forwarded-proto': 'https', 'x-forwarded-host': 'evil' },
        ...{ 'x-forwarded-port': '1', forwarded: 'for=6.6.6.6', 'x-real-ip': '6.6.6.6', host: 'shop.example:8080' },
      };
      const seen = JSON.parse((await world.call({ headers: lies })).body);
      expect(seen).to.include({
        ...{ 'x-forwarded-for': '127.0.0.1', 'x-forwarded-proto': 'http', 'x-forwarded-host': 'shop.example:8080' },
        host: 'shop.example:8080',
      });
      for (const name of ['x-forwarded-port', 'forwarded', 'x-real-ip']) expect(seen).to.not.have.property(name);
      expect(seen['x-correlation-id']).to.match(/^[0-9a-f-]{36}$/);
      const of = async (cid: string) =>
        JSON.parse((await world.call({ headers: { 'x-correlation-id': cid } })).body)['x-correlation-id'];
      expect(await of('mine_"1"')).to.equal('mine_"1"');
      for (const bad of ['a b', 'x'.repeat(129)]) expect(await of(bad)).to.match(/^[0-9a-f-]{36}$/);
    });

    it('with nobody there: 503 as problem details, with an id that can be asked for', async () => {
      await world.apply({}, []);
      isProblem(await world.call(), 503, 'UNAVAILABLE');
      const answer = await world.call({ headers: { 'x-correlation-id': 'my"id' } });
      isProblem(answer, 503, 'UNAVAILABLE', 'my"id');
      expect(answer.headers['retry-after']).to.equal('1');
    });

    it('a server that ends within an answer: 502 for what may not be repeated', async () => {
      const { as } = await world.member('rude', (req) => req.socket.destroy());
      await world.serve(as);
      isProblem(await world.call(POST), 502, 'UNAVAILABLE');
    });

    it('keeps connections to servers', async () => {
      const ports = new Set<number | undefined>();
      const { as } = await world.member('one', (req, res) => {
        ports.add(req.socket.remotePort);
        res.end();
      });
      await world.serve(as);
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      for (let i = 0; i < 20; i++) await world.call({ agent });
      agent.destroy();
      expect(ports.size).to.equal(1);
    });
  });

  describe('who gets what', () => {
    it('a cookie keeps a caller on its server, also on one that came while it ran, as long as that is well', async () => {
      const [one, other] = await pair();
      await world.apply({ cookie: 'GANTRY' }, [one]);
      await world.serve(one, other);
      for (const name of ['one', 'other']) {
        let cookie = '';
        await until(`${name} answers`, async () => {
          const { headers, body } = await world.call();
          cookie = headers['set-cookie']?.[0] ?? '';
          return body === name;
        });
        expect(cookie).to.match(/^GANTRY=[0-9a-f]+; path=\/; HttpOnly; SameSite=Lax$/i);
        const headers = { cookie: cookie.split(';')[0] as string };
        expect(new Set(await bodies(8, { headers }))).to.deep.equal(new Set([name]));
        const rest = name === 'one' ? other : one;
        await world.apply({}, [rest]);
        expect((await world.call({ headers })).body).to.equal(rest.name);
        await world.serve(one, other);
      }
    });

    it('by URI a path has its server, and one that goes moves only its own', async () => {
      const members = await Promise.all(['a', 'b', 'c'].map((name) => world.member(name, (_, res) => res.end(name))));
      const [a, b, c] = members.map(({ as }) => as) as [BalancedServer, BalancedServer, BalancedServer];
      await world.apply({ algorithm: 'uri' }, [a, b]);
      await world.serve(a, b, c);
      const paths = Array.from({ length: 40 }, (_, i) => `/thing/${i}`);
      const homes = async () => {
        const all: string[] = [];
        for (const one of paths) all.push((await world.call({ path: one })).body);
        return all;
      };
      const before = await homes();
      expect(new Set(before)).to.deep.equal(new Set(['a', 'b', 'c']));
      expect(await homes()).to.deep.equal(before);
      await world.serve(a, c);
      await world.balancer.reload();
      const without = await homes();
      expect(without.filter((name, i) => before[i] !== 'b' && name !== before[i])).to.deep.equal([]);
      await world.serve(a, b, c);
      await world.balancer.reload();
      expect(await homes()).to.deep.equal(before);
    });

    for (const algorithm of ['leastconn', 'source'] as const) {
      it(`spreads by ${algorithm}`, async () => {
        const [one, other] = await pair();
        await world.apply({ algorithm }, [one, other]);
        await world.settled();
        const all = await Promise.all(Array.from({ length: 8 }, () => world.call()));
        expect(new Set(all.map(({ body }) => body)).size).to.equal(algorithm === 'source' ? 1 : 2);
      });
    }

    it('has no more in hand on a server than is wanted; the rest waits', async () => {
      let now = 0;
      let most = 0;
      const { as } = await world.member('one', (_, res) => {
        most = Math.max(most, ++now);
        setTimeout(() => {
          now--;
          res.end('one');
        }, 20);
      });
      await world.apply({ maxPerServer: 2 }, [as]);
      await world.settled();
      const all = await Promise.all(Array.from({ length: 10 }, () => world.call()));
      expect(new Set(all.map(({ status }) => status))).to.deep.equal(new Set([200]));
      expect(most).to.equal(2);
    });
  });

  describe('other ways in', () => {
    let authority: Authority;
    let clients: Authority;
    let signed: Record<'a' | 'b' | 'client', Signed>;
    beforeEach(() => {
      authority = new Authority(world.folder, 'servers');
      clients = new Authority(world.folder, 'clients');
      signed = { a: authority.sign('a.test'), b: authority.sign('b.test'), client: clients.sign('client.test') };
    });

    it('TLS with a certificate by name, HTTP/2 where a caller can, and it is told to servers', async () => {
      const { as } = await world.member('echo', (req, res) => res.end(JSON.stringify([req.httpVersion, req.headers])));
      const port = await freePort();
      const binds = [
        ...world.settings.binds,
        { host: '127.0.0.1', port, certificates: [signed.a.bothFile, signed.b.bothFile] },
      ];
      await world.apply({ binds }, [as]);
      await world.settled();
      for (const servername of ['a.test', 'b.test']) {
        const { subject, protocol } = await handshake({ port, servername, ca: authority.pem, ALPNProtocols: ['h2'] });
        expect([subject, protocol]).to.deep.equal([servername, 'h2']);
      }
      const session = connectHttp2(`https://127.0.0.1:${port}`, { servername: 'b.test', ca: authority.pem });
      const [version, headers] = JSON.parse(await overHttp2(session)) as [string, Record<string, string>];
      session.close();
      expect(version).to.equal('1.1');
      expect(headers).to.include({ 'x-forwarded-proto': 'https', 'x-forwarded-host': 'b.test' });
      expect((await world.call()).status, 'the plain one').to.equal(200);
    });

    it('to a server that talks TLS, whose certificate is checked where that is wanted', async () => {
      const { certFile, keyFile } = signed.a;
      const files = { cert: readFileSync(certFile), key: readFileSync(keyFile) };
      const server = createTlsServer(files, (_, res) => res.end('sealed')).listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as { port: number };
      const sealed: BalancedServer = {
        name: 'sealed',
        host: '127.0.0.1',
        port,
        weight: 100,
        state: 'online',
        tls: true,
      };
      const strict = await Balanced.open({ serverCa: authority.file });
      const wrong = await Balanced.open({ serverCa: clients.file });
      try {
        for (const one of [world, strict]) {
          // Once in the file, once while it runs.
          await one.serve(sealed);
          await one.serve(sealed, { ...sealed, name: 'again' });
          expect(new Set([(await one.call()).body, (await one.call()).body])).to.deep.equal(new Set(['sealed']));
        }
        await wrong.apply({}, [sealed]);
        await until(
          'it is seen',
          async () => (await wrong.balancer.status()).servers[0]?.check.startsWith('L6') === true,
        );
        expect((await wrong.call()).status).to.equal(503);
      } finally {
        await Promise.all([strict.close(), wrong.close()]);
        server.closeAllConnections();
        server.close();
      }
    });

    it('with clientCa only who has a certificate of it', async () => {
      const { as } = await world.member('one', (_, res) => res.end('one'));
      const port = await freePort();
      const bind = { host: '127.0.0.1', port, certificates: [signed.a.bothFile], clientCa: clients.file };
      await world.apply({ binds: [bind] }, [as]);
      await world.settled();
      const to = { port, servername: 'a.test', ca: authority.pem };
      expect(await overTls(to).catch(() => 'refused')).to.equal('refused');
      const [cert, key] = [signed.client.certFile, signed.client.keyFile].map((file) => readFileSync(file));
      expect(await overTls({ ...to, cert, key } as ConnectionOptions)).to.match(/^HTTP\/1\.1 200/);
      const other = authority.sign('nobody.test');
      const wrong = { cert: readFileSync(other.certFile), key: readFileSync(other.keyFile) };
      expect(await overTls({ ...to, ...wrong }).catch(() => 'refused')).to.equal('refused');
    });

    it('an upgraded connection goes through, and lives on after a reload', async () => {
      const { server, as } = await world.member('socket', (_, res) => res.end());
      server.on('upgrade', (req, socket) => {
        // RFC 6455, 4.2.2; HAProxy looks whether it is right.
        const accepted = createHash('sha1').update(
          `${req.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`,
        );
        const accept = `sec-websocket-accept: ${accepted.digest('base64')}`;
        socket.write(
          `HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n${accept}\r\n\r\n`,
        );
        socket.pipe(socket).on('error', () => {});
      });
      await world.serve(as);
      const key = { 'sec-websocket-key': randomBytes(16).toString('base64'), 'sec-websocket-version': '13' };
      const headers = { connection: 'upgrade', upgrade: 'websocket', ...key };
      const req = request({ port: world.port, host: '127.0.0.1', headers });
      const upgraded = once(req, 'upgrade');
      req.end();
      const [{ statusCode }, socket] = await upgraded;
      expect(statusCode).to.equal(101);
      const echo = async (text: string) => {
        const heard = once(socket, 'data');
        socket.write(text);
        return String((await heard)[0]);
      };
      expect(await echo('before')).to.equal('before');
      await world.balancer.reload();
      expect(await echo('after')).to.equal('after');
      socket.destroy();
    });

    it('a channel that is not HTTP has an address of its own, on servers that are well', async () => {
      const servers: BalancedServer[] = [];
      const serverPort = await freePort();
      const line = createServer((socket) =>
        socket.on('data', (text) => socket.end(`heard ${text}`)).on('error', () => {}),
      );
      line.listen(serverPort, '127.0.0.1');
      await once(line, 'listening');
      let isWell = true;
      const { as, server } = await world.member('one', (_, res) => res.end('one'));
      server.removeAllListeners('request').on('request', (_req, res) => res.writeHead(isWell ? 200 : 503).end());
      servers.push(as);
      const port = await freePort();
      try {
        await world.apply({ tcp: [{ name: 'lines', host: '127.0.0.1', port, serverPort }] }, []);
        expect(await world.serve(...servers)).to.include({ how: 'runtime' });
        const say = () =>
          new Promise<string>((resolve) => {
            let heard = '';
            const socket = connect(port, '127.0.0.1', () => socket.write('hello'));
            socket
              .on('data', (part) => (heard += part))
              .on('close', () => resolve(heard))
              .on('error', () => {});
          });
        await until('it is heard', async () => (await say()) === 'heard hello');
        isWell = false;
        await until('nobody is asked', async () => (await say()) === '');
      } finally {
        line.close();
      }
    });

    it('shows figures, and only to who knows the password', async () => {
      const { as } = await world.member('one', (_, res) => res.end('one'));
      const port = await freePort();
      const password = `it's "a' \\ p4ss#word; é`;
      await world.apply({ stats: { host: '127.0.0.1', port, user: 'admin', password } }, [as]);
      await world.settled();
      const ask = (at: string, given?: string) => {
        const headers =
          given === undefined ? {} : { authorization: `Basic ${Buffer.from(`admin:${given}`).toString('base64')}` };
        return call(port, { path: at, headers });
      };
      for (const at of ['/', '/metrics', '/;csv']) {
        expect((await ask(at)).status, at).to.equal(401);
        expect((await ask(at, 'wrong')).status, at).to.equal(401);
        expect((await ask(at, password)).status, at).to.equal(200);
      }
      expect((await ask('/metrics', password)).body).to.match(
        /haproxy_server_status\{proxy="servers",server="one",state="UP"\} 1/,
      );
      expect((await ask('/', password)).body).to.include('Statistics Report');
      expect(world.log).to.not.include('p4ss');
      expect(await world.balancer.source()).to.not.include('p4ss');
      expect(existsSync(path.join(world.folder, 'haproxy.cfg'))).to.equal(true);
    });
  });
});

function isProblem({ status, headers, body }: Answer, wanted: number, code: string, cid?: string): void {
  const problem = JSON.parse(body);
  expect([status, problem.status, problem.code]).to.deep.equal([wanted, wanted, code]);
  expect(headers).to.include({ 'content-type': 'application/problem+json', 'cache-control': 'no-store' });
  expect(problem).to.have.keys('type', 'title', 'status', 'detail', 'code', 'cid');
  expect(problem.type).to.equal(`urn:gantry:problem:${code.toLowerCase().replaceAll('_', '-')}`);
  expect(problem.cid).to.equal(headers['x-correlation-id']);
  if (cid !== undefined) expect(problem.cid).to.equal(cid);
  else expect(problem.cid).to.match(/^[0-9a-f-]{36}$/);
}

async function handshake(options: ConnectionOptions): Promise<{ subject: string; protocol: string }> {
  const socket = connectTls({ host: '127.0.0.1', ...options });
  await once(socket, 'secureConnect');
  const found = { subject: String(socket.getPeerCertificate().subject.CN), protocol: String(socket.alpnProtocol) };
  socket.destroy();
  return found;
}

function overTls(options: ConnectionOptions): Promise<string> {
  return new Promise((resolve, reject) => {
    let heard = '';
    const socket = connectTls({ host: '127.0.0.1', ...options }, () =>
      socket.write('GET / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n'),
    );
    socket.on('data', (part) => (heard += part)).on('error', reject);
    socket.on('close', () => (heard === '' ? reject(new Error('closed')) : resolve(heard)));
  });
}

async function overHttp2(session: ReturnType<typeof connectHttp2>): Promise<string> {
  const stream = session.request({ [constants.HTTP2_HEADER_PATH]: '/', [constants.HTTP2_HEADER_AUTHORITY]: 'b.test' });
  let heard = '';
  stream.setEncoding('utf8').on('data', (part) => (heard += part));
  stream.end();
  await once(stream, 'end');
  return heard;
}
