import { execFileSync, spawn } from 'node:child_process';
import { closeSync, cpSync, existsSync, mkdirSync, openSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { expect } from 'chai';
import { folder, follow, freePort, gantry, home, main, type Running } from './process.ts';

const json = { 'content-type': 'application/json' };
const KEY = 'a-key-of-this-test-only';

describe('npm start, as a new user finds it', () => {
  let server: Running;
  let url: string;
  const data = folder();

  before(async () => {
    const port = await freePort();
    url = `http://127.0.0.1:${port}`;
    server = gantry(['start'], {
      GANTRY_PORT: String(port),
      GANTRY_DATA: path.join(data.dir, 'made'),
      DEMO_API_KEY: KEY,
    });
    await server.says(/is ready[\s\S]*Try it:\n.*\n/);
  });
  after(async () => {
    await server.kill();
    data.remove();
  });

  const post = (to: string, body: string, headers: Record<string, string> = json) =>
    fetch(url + to, { method: 'POST', body, headers });

  it('prints its addresses, and a command that works as it is', async () => {
    const [, command = ''] = await server.says(/\n {2}(curl .*)\n/);
    expect(command).to.contain(`${url}/demo/hello`);
    expect(execFileSync('sh', ['-c', command], { encoding: 'utf8' })).to.equal('{"greeting":"Hello, Ada"}');
    expect(server.out()).to.match(new RegExp(`POST +${url}/demo/hello +demo.hello\\n`));
  });
  it('answers POST /demo/hello', async () => {
    const res = await post('/demo/hello', '{"name":"Ada"}');
    expect(res.status).to.equal(200);
    expect(await res.json()).to.deep.equal({ greeting: 'Hello, Ada' });
  });
  it('refuses a body without a name with 400, and names /name', async () => {
    const res = await post('/demo/hello', '{}');
    expect(res.status).to.equal(400);
    expect(res.headers.get('content-type')).to.equal('application/problem+json');
    const problem = (await res.json()) as { cid: string; errors: { path: string }[] };
    expect(problem.errors.map((e) => e.path)).to.deep.equal(['/name']);
    expect(problem.cid).to.equal(res.headers.get('x-correlation-id'));
  });
  it('is well', async () => {
    const res = await fetch(`${url}/gantry/ping`, { headers: { 'x-correlation-id': 'mine' } });
    expect(res.status).to.equal(200);
    expect(await res.json()).to.deep.equal({ ok: true, server: 'demo', cid: 'mine' });
  });
  it('counts what it did', async () => {
    await post('/demo/hello', '{"name":"Ada"}');
    const text = await (await fetch(`${url}/gantry/metrics`)).text();
    expect(Number(/^gantry_service_calls_total\{service="demo\.hello"\} (\d+)$/m.exec(text)?.[1])).to.be.greaterThan(0);
  });
  it('asks another system over an outgoing connection, and answers in its own words', async () => {
    const known = await fetch(`${url}/demo/customers/1`);
    expect(await known.json()).to.deep.equal({ id: 1, name: 'Ada Lovelace', email: 'ada@example.com' });
    const unknown = await fetch(`${url}/demo/customers/77`);
    expect(unknown.status).to.equal(404);
    expect(((await unknown.json()) as { code: string }).code).to.equal('NO_SUCH_CUSTOMER');
    const wrong = await fetch(`${url}/demo/customers/x`);
    expect(wrong.status).to.equal(400);
  });
  it('takes and gives JSON, XML and forms at one address', async () => {
    const xml =
      '<invoice><customer>Ada</customer><line><sku>tea</sku><quantity>2</quantity><unitCents>250</unitCents></line></invoice>';
    const fromXml = await post('/demo/invoices', xml, { 'content-type': 'application/xml' });
    const expected = { customer: 'Ada', netCents: 500, tax: [{ percent: 20, cents: 100 }], grossCents: 600 };
    expect(await fromXml.json()).to.deep.equal(expected);
    const body = JSON.stringify({ customer: 'Ada', line: [{ sku: 'tea', quantity: 2, unitCents: 250 }] });
    const asXml = await post('/demo/invoices', body, { ...json, accept: 'application/xml' });
    expect(asXml.headers.get('content-type')).to.match(/^application\/xml/);
    expect(await asXml.text()).to.contain('<grossCents>600</grossCents>');
  });
  it('lets in who has the key, and keeps the key out of its log', async () => {
    const none = await fetch(`${url}/demo/orders`);
    expect(none.status).to.equal(401);
    expect(none.headers.get('www-authenticate')).to.match(/ApiKey/);
    const made = await post('/demo/orders', '{"sku":"tea","quantity":3}', { ...json, 'x-api-key': KEY });
    expect(made.status).to.equal(201);
    expect(made.headers.get('location')).to.equal('/demo/orders?sku=tea');
    expect(((await made.json()) as { by: string }).by).to.equal('demo-client');
    const tooMany = await post('/demo/orders', '{"sku":"tea","quantity":999}', { ...json, 'x-api-key': KEY });
    expect(tooMany.status).to.equal(409);
    const listed = await fetch(`${url}/demo/orders?sku=tea`, { headers: { 'x-api-key': KEY } });
    expect(((await listed.json()) as { orders: object[] }).orders).to.have.length(1);
    const again = await fetch(`${url}/demo/orders?sku=tea`, {
      headers: { 'x-api-key': KEY, 'if-none-match': listed.headers.get('etag') ?? '' },
    });
    expect(again.status).to.equal(304);
    expect(server.out() + server.err()).not.to.contain(KEY);
  });
  it('streams a large body', async () => {
    const body = Buffer.alloc(20_000_000, 'gantry');
    const res = await fetch(`${url}/demo/digest`, { method: 'POST', body });
    expect(((await res.json()) as { bytes: number }).bytes).to.equal(20_000_000);
  });
  it('makes the data folder that GANTRY_DATA names', () => {
    expect(statSync(path.join(data.dir, 'made')).isDirectory()).to.equal(true);
  });
  it('switches debug lines on and off by SIGUSR2', async () => {
    server.child.kill('SIGUSR2');
    await server.says(/"level":"debug","msg":"the log level changed"/);
    await post('/demo/hello', '{}');
    await server.says(/"level":"debug".*"a call failed"/);
    server.child.kill('SIGUSR2');
    await server.says(/"level":"info","msg":"the log level changed"/);
  });
  it('refuses a taken port in one clear line, and exits with 1', async () => {
    const second = gantry(['start'], { GANTRY_PORT: new URL(url).port });
    expect(await second.ended).to.equal(1);
    expect(second.out()).to.equal('');
    // The log may have begun.
    const lines = second
      .err()
      .trim()
      .split('\n')
      .filter((line) => !line.startsWith('{'));
    expect(lines).to.have.length(1);
    expect(lines[0]).to.contain(new URL(url).port).and.to.contain('another process').and.to.contain('GANTRY_PORT=');
  });
});

describe('a process', () => {
  const config = (services: string, channels: string) => ({
    'server.yaml': `
name: t
plugins: { codec.json: {}, http.koa: { port: "\${env:PORT}" }, transport.rest: {} }
services: [${services}]
channels: [${channels}]
`,
  });
  const slow = `
import { defineService, Type } from 'gantry/api';
export default defineService({
  name: 'slow', input: Type.Any(), output: Type.Any(),
  create: ({ log }) => async () => { log.info({}, 'begun'); await new Promise((r) => setTimeout(r, 400)); return { done: true }; },
});`;
  const channel = (name: string, service = name) =>
    `{ name: ${name}, transport: rest, address: { method: GET, path: /${name} }, service: ${service} }`;

  it('answers what is in hand on SIGTERM, turns new calls away, and exits with 0', async () => {
    const { dir, remove } = folder({ ...config('./slow.ts', channel('slow')), 'slow.ts': slow });
    const port = await freePort();
    const server = gantry(['start', '--config', path.join(dir, 'server.yaml')], { PORT: String(port) });
    await server.says(/is ready/);
    const inHand = fetch(`http://127.0.0.1:${port}/slow`);
    await server.says(/"msg":"begun"/);
    server.child.kill('SIGTERM');
    await server.says(/"inFlight":1,"msg":"stopping/);
    await fetch(`http://127.0.0.1:${port}/slow`).then(
      (res) => expect(res.status).to.equal(503),
      (error: { cause?: { code?: string } }) => expect(error.cause?.code).to.be.oneOf(['ECONNREFUSED', 'ECONNRESET']),
    );
    const res = await inHand;
    expect(res.status).to.equal(200);
    expect(res.headers.get('connection')).to.equal('close');
    expect(await res.json()).to.deep.equal({ done: true });
    expect(await server.ended).to.equal(0);
    remove();
  });
  it('exits at once on a second SIGTERM', async () => {
    const { dir, remove } = folder({
      ...config('./slow.ts', channel('slow')),
      'slow.ts': slow.replace('400', '60000'),
    });
    const port = await freePort();
    const server = gantry(['start', '--config', path.join(dir, 'server.yaml')], { PORT: String(port) });
    await server.says(/is ready/);
    fetch(`http://127.0.0.1:${port}/slow`).catch(() => {});
    await server.says(/"msg":"begun"/);
    server.child.kill('SIGTERM');
    await server.says(/"msg":"stopping/);
    server.child.kill('SIGTERM');
    expect(await server.ended).to.equal(1);
    remove();
  });
  it('serves the rest where a service file is broken, and tells its path and reason', async () => {
    const { dir, remove } = folder({
      ...config('./slow.ts, ./broken.ts', `${channel('slow')}, ${channel('broken')}`),
      'slow.ts': slow,
      'broken.ts': 'export default defineService({',
    });
    const port = await freePort();
    const server = gantry(['start', '--config', path.join(dir, 'server.yaml')], { PORT: String(port) });
    await server.says(/is ready/);
    expect(server.err()).to.match(/broken\.ts:1:\d+ .*"a service file was refused; the rest is served"/);
    expect((await fetch(`http://127.0.0.1:${port}/slow`)).status).to.equal(200);
    const vacant = await fetch(`http://127.0.0.1:${port}/broken`);
    expect(vacant.status).to.equal(503);
    expect(((await vacant.json()) as { code: string }).code).to.equal('SERVICE_NOT_DEPLOYED');
    expect(await server.kill('SIGTERM')).to.equal(0);
    remove();
  });
  it("tells where in a service's source an error was thrown", async () => {
    const thrown = slow
      .replace("log.info({}, 'begun');", "\n  type A = 1;\n  throw new Error('here');")
      .replace('400', '1');
    const { dir, remove } = folder({ ...config('./slow.ts', channel('slow')), 'slow.ts': thrown });
    const line = thrown.split('\n').findIndex((text) => text.includes("'here'")) + 1;
    const port = await freePort();
    const server = gantry(['start', '--config', path.join(dir, 'server.yaml')], { PORT: String(port) });
    await server.says(/is ready/);
    expect((await fetch(`http://127.0.0.1:${port}/slow`)).status).to.equal(500);
    await server.says(new RegExp(`slow\\.ts:${line}:`));
    expect(await server.kill('SIGTERM')).to.equal(0);
    remove();
  });
  it('serves on where its log cannot be written: a full disk', async function () {
    if (!existsSync('/dev/full')) return this.skip();
    const { dir, remove } = folder({ ...config('./slow.ts', channel('slow')), 'slow.ts': slow.replace('400', '5') });
    const port = await freePort();
    const full = openSync('/dev/full', 'w');
    const child = spawn(process.execPath, [main, 'start', '--config', path.join(dir, 'server.yaml')], {
      env: { ...process.env, PORT: String(port) },
      stdio: ['ignore', full, full],
    });
    const server = follow(child);
    const answered = async () => (await fetch(`http://127.0.0.1:${port}/slow`).catch(() => null))?.status;
    while ((await answered()) !== 200) expect(child.exitCode).to.equal(null);
    for (let i = 0; i < 20; i++) expect(await answered()).to.equal(200);
    expect(await server.kill('SIGTERM')).to.equal(0);
    closeSync(full);
    remove();
  });
  it('serves on where nobody reads its log, and tells what was lost when somebody does', async function () {
    this.timeout(60_000);
    const lines = slow.replace(
      "log.info({}, 'begun');",
      "for (let i = 0; i < 200; i++) log.info({ text: 'x'.repeat(1000) }, 'line');",
    );
    const { dir, remove } = folder({ ...config('./slow.ts', channel('slow')), 'slow.ts': lines.replace('400', '1') });
    const port = await freePort();
    const child = spawn(process.execPath, [main, 'start', '--config', path.join(dir, 'server.yaml')], {
      env: { ...process.env, PORT: String(port) },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const answered = async () => (await fetch(`http://127.0.0.1:${port}/slow`).catch(() => null))?.status;
    while ((await answered()) !== 200) expect(child.exitCode).to.equal(null);
    // 50 calls of 200 lines of 1 kB: more than a pipe and the memory for waiting lines hold.
    for (let i = 0; i < 50; i++) expect(await answered()).to.equal(200);
    const server = follow(child);
    const [, lost] = await server.says(/"lines":(\d+),"msg":"log lines were lost/);
    expect(Number(lost)).to.be.greaterThan(0);
    expect(await server.kill('SIGTERM')).to.equal(0);
    remove();
  });
  it('goes on after a promise that nobody looked at, and tells of it', async () => {
    const stray = slow.replace('async () => {', "async () => { void Promise.reject(new Error('stray'));");
    const { dir, remove } = folder({ ...config('./slow.ts', channel('slow')), 'slow.ts': stray.replace('400', '5') });
    const port = await freePort();
    const server = gantry(['start', '--config', path.join(dir, 'server.yaml')], { PORT: String(port) });
    await server.says(/is ready/);
    expect((await fetch(`http://127.0.0.1:${port}/slow`)).status).to.equal(200);
    await server.says(/a promise was rejected/);
    expect((await fetch(`http://127.0.0.1:${port}/slow`)).status).to.equal(200);
    expect(await server.kill('SIGTERM')).to.equal(0);
    remove();
  });
});

describe('gantry check', () => {
  it('says that the config files of this package are good, and touches no network', async () => {
    const blocker = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => blocker.once('listening', resolve));
    const { port } = blocker.address() as { port: number };
    for (const file of ['default', 'server']) {
      const run = gantry(['check', '--config', `config/${file}.yaml`], { GANTRY_PORT: String(port) });
      expect(await run.ended, run.err()).to.equal(0);
      expect(run.out()).to.match(/is good: \d+ plugins/);
    }
    blocker.close();
  });
  it('lists every problem with plugin, key path, expected, got and hint, and exits with 1', async () => {
    const { dir, remove } = folder({
      'bad.yaml': `
plugins:
  codec.json: { maxDept: 3 }
  http.koa: { port: "\${env:NO_SUCH_PORT_HERE}", keepAliveMs: soon }
  transport.rst: {}
pluggins: {}
`,
      'channels.yaml': `
plugins: { codec.json: {}, http.koa: {}, transport.rest: {} }
services: [./empty]
channels:
  - { name: a, transport: rest, address: { method: POST, path: /a }, service: nobody }
  - { name: a, transport: rset, address: { method: POST, path: /a }, service: nobody }
  - { name: b, transport: rest, address: { method: post, pth: /b }, service: nobody, format: jsn }
connections:
  - { name: c, transport: rest, options: { ulr: "http://127.0.0.1:1" } }
`,
    });
    mkdirSync(path.join(dir, 'empty'));
    const bad = gantry(['check', '--config', path.join(dir, 'bad.yaml')]);
    expect(await bad.ended).to.equal(1);
    for (const told of [
      /5 problem\(s\)/,
      /plugins\.http\.koa\.port: needs the environment variable NO_SUCH_PORT_HERE/,
      /plugins\.http\.koa\.keepAliveMs \(plugin http\.koa\)[\s\S]*expected: an integer[\s\S]*got: +"soon"/,
      /plugins\.codec\.json\.maxDept \(plugin codec\.json\)[\s\S]*Did you mean 'maxDepth'/,
      /plugins\.transport\.rst[\s\S]*Did you mean 'transport\.rest'/,
      /pluggins: is not known here[\s\S]*Did you mean 'plugins'/,
    ]) {
      expect(bad.err()).to.match(told);
    }
    const channels = gantry(['check', '--config', path.join(dir, 'channels.yaml')]);
    expect(await channels.ended).to.equal(1);
    for (const told of [
      /channels\[0\] \(a\)\.service: .*nobody/,
      /channels\[1\]\.name: is taken by channels\[0\]/,
      /channels\[1\] \(a\)\.transport[\s\S]*Did you mean 'rest'/,
      /channels\[2\] \(b\)\.address\.pth[\s\S]*Did you mean 'path'/,
      /channels\[2\] \(b\)\.format[\s\S]*Did you mean 'json'/,
      /connections\[0\] \(c\)\.options\.ulr[\s\S]*Did you mean 'url'/,
    ]) {
      expect(channels.err()).to.match(told);
    }
    remove();
  });
  it('tells plugins that cannot be found and blocks that are wrong', async () => {
    const { dir, remove } = folder({
      'a.yaml': 'plugins: { transport.rst: {}, acme.thing: { use: "@acme/no-such-package" } }',
      'b.yaml': 'plugins: { codec.json: { maxDept: 3 }, http.koa: { port: "11", keepAliveMs: soon } }',
    });
    const missing = gantry(['check', '--config', path.join(dir, 'a.yaml')]);
    expect(await missing.ended).to.equal(1);
    expect(missing.err()).to.match(/plugins\.transport\.rst[\s\S]*Did you mean 'transport\.rest'/);
    expect(missing.err()).to.match(/plugins\.acme\.thing[\s\S]*npm install @acme\/no-such-package/);
    const wrong = gantry(['check', '--config', path.join(dir, 'b.yaml')]);
    expect(await wrong.ended).to.equal(1);
    expect(wrong.err()).to.match(/3 problem\(s\)/);
    expect(wrong.err()).to.match(/plugins\.codec\.json\.maxDept \(plugin codec\.json\)[\s\S]*Did you mean 'maxDepth'/);
    expect(wrong.err()).to.match(
      /plugins\.http\.koa\.port \(plugin http\.koa\)[\s\S]*expected: an integer[\s\S]*got: +"11"/,
    );
    remove();
  });
  it('tells a config file that is not there, and a command that does not exist', async () => {
    const none = gantry(['check', '--config', '/nowhere/x.yaml']);
    expect(await none.ended).to.equal(1);
    expect(none.err()).to.match(/\/nowhere\/x\.yaml is not there.*--config/);
    const typo = gantry(['chek']);
    expect(await typo.ended).to.equal(2);
    expect(typo.err()).to.match(/Did you mean 'check'/);
  });
});

describe('a fresh clone', () => {
  it('installs, builds and starts by `npm start` alone, and only starts the next time', async function () {
    this.timeout(240_000);
    if (!existsSync(path.join(home, '.git'))) return this.skip();
    const clone = folder();
    const listed = execFileSync('git', ['ls-files', '-co', '--exclude-standard'], { cwd: home, encoding: 'utf8' });
    for (const file of listed.split('\n').filter((name) => name !== '' && existsSync(path.join(home, name)))) {
      cpSync(path.join(home, file), path.join(clone.dir, file));
    }
    const run = async () => {
      const port = await freePort();
      const env = { ...process.env, GANTRY_PORT: String(port), GANTRY_DATA: path.join(clone.dir, 'd') };
      const child = spawn('npm', ['start'], { cwd: clone.dir, env, stdio: ['ignore', 'pipe', 'pipe'] });
      const server = follow(child);
      await server.says(/is ready/);
      const res = await fetch(`http://127.0.0.1:${port}/demo/hello`, {
        method: 'POST',
        body: '{"name":"Ada"}',
        headers: json,
      });
      expect(await res.json()).to.deep.equal({ greeting: 'Hello, Ada' });
      // What npm is told reaches the server: it drains, and nothing is left behind.
      expect(await server.kill('SIGTERM')).to.equal(0);
      expect(server.err()).to.contain('"msg":"stopped"');
      return server.err();
    };
    const first = await run();
    expect(first).to.contain('Installing packages (npm ci)').and.to.contain('Building');
    expect(readFileSync(path.join(clone.dir, 'dist/.built'), 'utf8')).to.match(/^[0-9a-f]{64}$/);
    const second = await run();
    expect(second).not.to.contain('Installing').and.not.to.contain('Building');
    clone.remove();
  });
});
