/** The client against HTTP servers that are not always as one hopes: real sockets, odd answers. */
import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { PassThrough } from 'node:stream';
import { expect } from 'chai';
import { runClient } from '../../../core/cli/index.ts';

interface Ran {
  readonly exit: number;
  readonly out: string;
  readonly err: string;
}

/** Runs a command line in this process. */
async function gantry(argv: string[], env: Record<string, string>): Promise<Ran> {
  const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
  const [out, err]: Buffer[][] = [[], []];
  stdout.on('data', (part: Buffer) => out?.push(part));
  stderr.on('data', (part: Buffer) => err?.push(part));
  const all = { GANTRY_PASSWORD: 'a password', ...env };
  const exit = await runClient(argv, { stdin, stdout, stderr, env: all }, '9.9.9');
  const text = (parts: Buffer[] = []) => Buffer.concat(parts).toString();
  return { exit, out: text(out), err: text(err) };
}

describe('the client, whatever answers', () => {
  const open: { close(): unknown; closeAllConnections?(): void }[] = [];
  afterEach(() => {
    for (const one of open.splice(0)) {
      one.closeAllConnections?.();
      one.close();
    }
  });

  async function listening(handler: RequestListener): Promise<string> {
    const server: Server = createServer(handler).listen(0, '127.0.0.1');
    open.push(server);
    await once(server, 'listening');
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }
  const answering = (status: number, body: unknown, headers: Record<string, string> = {}) =>
    listening((request, response) => {
      request.resume();
      const type = typeof body === 'string' ? 'text/html' : 'application/problem+json';
      response.writeHead(status, { 'content-type': type, ...headers });
      response.end(typeof body === 'string' ? body : JSON.stringify(body));
    });
  const problem = (status: number, code: string, more: object = {}) => ({
    status,
    code,
    detail: `It is ${code}`,
    ...more,
  });

  it('posts JSON to the address of the API, with who asks; a path in the URL is that of the API', async () => {
    const seen: unknown[] = [];
    const url = await listening((request, response) => {
      const { method, url: path, headers } = request;
      seen.push([method, path, headers['content-type'], headers.authorization, headers['user-agent']]);
      request.resume().on('end', () => {
        response.setHeader('content-type', 'application/json').end('{"healthy":true,"checks":[]}');
      });
    });
    expect(await gantry(['health', '--json'], { GANTRY_URL: url })).to.include({ exit: 0, err: '' });
    await gantry(['health', '--url', `${url}/ops/api/`, '--user', 'bob'], { GANTRY_URL: 'http://elsewhere.invalid' });
    const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;
    expect(seen).to.deep.equal([
      ['POST', '/gantry/admin/gantry.server.health', 'application/json', basic('admin:a password'), 'gantry/9.9.9'],
      ['POST', '/ops/api/gantry.server.health', 'application/json', basic('bob:a password'), 'gantry/9.9.9'],
    ]);
  });
  it('hands on the text of an answer as it came for --json', async () => {
    const text = '{ "healthy" : true,"checks":[ ], "new": 1.0 }';
    const url = await listening((_request, response) =>
      response.setHeader('content-type', 'application/json').end(text),
    );
    expect(await gantry(['health', '--json'], { GANTRY_URL: url })).to.deep.equal({
      exit: 0,
      out: `${text}\n`,
      err: '',
    });
  });

  const statuses: [number, number][] = [
    [400, 1],
    [404, 1],
    [409, 1],
    [413, 1],
    [500, 1],
    [401, 4],
    [403, 4],
    [429, 3],
    [503, 3],
    [504, 3],
  ];
  for (const [status, exit] of statuses) {
    it(`exits with ${exit} for ${status}, and tells what the server said`, async () => {
      const url = await answering(status, problem(status, 'SOME_CODE', { cid: 'call-1' }));
      const ran = await gantry(['info'], { GANTRY_URL: url });
      expect(ran).to.include({ exit, out: '' });
      expect(ran.err).to.match(/^gantry: It is SOME_CODE\n/);
      if (exit === 3) expect(ran.err).to.include(url);
      if (status === 500) expect(ran.err).to.include('call-1');
      const scripted = await gantry(['info', '--json'], { GANTRY_URL: url });
      expect(JSON.parse(scripted.err)).to.deep.include({ status, code: 'SOME_CODE', cid: 'call-1', exit });
    });
  }
  it('an answer that is not of a Gantry server is told as that, with its status', async () => {
    for (const [status, body] of [
      [200, '<h1>It works</h1>'],
      [404, '<h1>Not here</h1>'],
      [404, problem(404, 'ADDRESS_NOT_FOUND')],
      [502, '<h1>Bad gateway</h1>'],
      [503, 'no server is available'],
    ] as const) {
      const url = await answering(status, body);
      const { exit, err } = await gantry(['info'], { GANTRY_URL: url });
      expect([exit, err], String(status)).to.satisfy(
        ([code, text]: [number, string]) => code === 3 && text.includes(`HTTP ${status}`),
      );
      expect(err)
        .to.include(url)
        .and.to.match(status < 500 ? /--url/ : /Try again/);
    }
  });
  it('health exits with 1 where a check fails, and tells which', async () => {
    const checks = [{ name: 'database', healthy: false, problem: 'is away' }];
    const text = JSON.stringify({ healthy: false, checks });
    const url = await listening((_request, response) =>
      response.setHeader('content-type', 'application/json').end(text),
    );
    const { exit, out } = await gantry(['health'], { GANTRY_URL: url });
    expect([exit, out]).to.deep.equal([1, 'CHECK     HEALTHY  PROBLEM\ndatabase  no       is away\n']);
  });
  it('JSON that is cut off is no answer', async () => {
    const url = await listening((_request, response) =>
      response.setHeader('content-type', 'application/json').end('{"a":'),
    );
    expect(await gantry(['info'], { GANTRY_URL: url })).to.include({ exit: 3, out: '' });
  });
  it('takes its password to no other address', async () => {
    let asked = 0;
    const other = await listening((_request, response) => {
      asked++;
      response.end();
    });
    const url = await answering(307, '', { location: `${other}/gantry/admin/gantry.server.info` });
    const { exit, err } = await gantry(['info'], { GANTRY_URL: url });
    expect(exit).to.equal(3);
    expect(err).to.include(`redirects to ${other}`).and.include('--url');
    expect(asked).to.equal(0);
  });
  it('waits no longer than --timeout, and says that a change may have been made', async () => {
    const url = await listening(() => {});
    const read = await gantry(['info', '--timeout', '0.05'], { GANTRY_URL: url });
    expect(read.exit).to.equal(3);
    expect(read.err)
      .to.match(/did not answer within 0\.05 s\.\n/)
      .and.include('--timeout');
    const change = await gantry(['setting', 'delete', 'x', '--timeout', '0.05'], { GANTRY_URL: url });
    expect(change.exit).to.equal(3);
    expect(change.err).to.include('It may have been done all the same');
  });
  it('tells a connection that is closed without an answer; of a change that it may have been made', async () => {
    const url = await listening((request) => request.socket.destroy());
    const { exit, err } = await gantry(['setting', 'delete', 'x'], { GANTRY_URL: url });
    expect([exit, err.includes('closed the connection'), err.includes('may have been done')]).to.deep.equal([
      3,
      true,
      true,
    ]);
  });
  it('tells what is no HTTP, a name that is not there, and a port that nobody listens on', async () => {
    const tcp = createTcpServer((socket) =>
      socket
        .on('error', () => {})
        .resume()
        .end('SSH-2.0-x\r\n'),
    ).listen(0, '127.0.0.1');
    open.push(tcp);
    await once(tcp, 'listening');
    const { port } = tcp.address() as AddressInfo;
    const spoken = await gantry(['info'], { GANTRY_URL: `http://127.0.0.1:${port}` });
    expect([spoken.exit, spoken.err]).to.satisfy(
      ([code, text]: [number, string]) => code === 3 && /no HTTP/.test(text),
    );
    const tls = await gantry(['info'], { GANTRY_URL: `https://127.0.0.1:${port}` });
    expect([tls.exit, tls.err]).to.satisfy(([code, text]: [number, string]) => code === 3 && /no TLS/.test(text));
    const name = await gantry(['info'], { GANTRY_URL: 'http://no-such-host.invalid' });
    expect([name.exit, name.err]).to.satisfy(([code, text]: [number, string]) => code === 3 && /resolved/.test(text));
    tcp.close();
    await once(tcp, 'close');
    const closed = await gantry(['setting', 'delete', 'x'], { GANTRY_URL: `http://127.0.0.1:${port}` });
    expect(closed.exit).to.equal(3);
    expect(closed.err).to.include(`127.0.0.1:${port}`).and.include('npm start').and.not.include('may have been done');
  });
  it('refuses URLs that carry a password or are none, before anything is sent, and shows no password', async () => {
    for (const [url, told] of [
      ['http://ann:hunter2@127.0.0.1:1', /carries a user or password/],
      ['http://hunter2@127.0.0.1:1', /carries a user or password/],
      ['ann:hunter2@host', /not of http|no URL/],
      ['ftp://host', /not of http/],
      ['http://host/?key=hunter2', /a \? or #/],
      ['hunter2 x', /no URL/],
    ] as const) {
      const { exit, out, err } = await gantry(['info'], { GANTRY_URL: url });
      expect([exit, out], url).to.deep.equal([2, '']);
      expect(err).to.match(told).and.not.include('hunter2');
    }
  });
  it('follows all pages, or as many as --limit says, and tells what is left', async () => {
    const total = 2500;
    const asked: { limit: number; after?: string }[] = [];
    const url = await listening((request, response) => {
      let text = '';
      request.setEncoding('utf8').on('data', (part: string) => (text += part));
      request.on('end', () => {
        const query = JSON.parse(text) as { limit: number; after?: string };
        asked.push(query);
        const from = Number(query.after ?? 0);
        const to = Math.min(total, from + query.limit);
        const items = Array.from({ length: to - from }, (_, i) => ({ definition: { name: `n${from + i}`, value: 1 } }));
        const page = { items, next: to < total ? String(to) : null, total, fixtures: [] };
        response.setHeader('content-type', 'application/json').end(JSON.stringify(page));
      });
    });
    const all = await gantry(['setting', 'list', '-q'], { GANTRY_URL: url });
    expect(all.out.split('\n').length).to.equal(total + 1);
    expect(asked.splice(0)).to.deep.equal([
      { limit: 1000 },
      { limit: 1000, after: '1000' },
      { limit: 1000, after: '2000' },
    ]);
    const some = await gantry(['setting', 'list', '--limit', '1200', '--json'], { GANTRY_URL: url });
    expect(JSON.parse(some.out)).to.include({ next: '1200', total }).and.have.property('items').with.length(1200);
    expect(asked.splice(0)).to.deep.equal([{ limit: 1000 }, { limit: 200, after: '1000' }]);
    const few = await gantry(['setting', 'list', '--limit', '2'], { GANTRY_URL: url });
    expect([few.out.split('\n').length, few.err]).to.deep.equal([4, '2 of 2500; go on with --after 2\n']);
  });
  it('shows nothing of an answer that would command the terminal', async () => {
    const detail = 'red \u001b[31m and \u009b31m';
    const url = await answering(409, { ...problem(409, 'CONFLICT'), detail });
    const { err } = await gantry(['info'], { GANTRY_URL: url });
    expect(err).to.include('red \\u001b[31m and \\u009b31m');
  });
});
