/** `gantry <noun> <verb>` as it is built, against servers as they are built. */
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { request as forward } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { Readable, Writable } from 'node:stream';
import { expect } from 'chai';
import { runClient } from '../../core/cli/index.ts';
import { certificate } from '../engines/certificate.ts';
import { moduleOf } from '../fixtures/module.ts';
import { type Installation, installation, PASSWORD } from './installation.ts';
import { folder, follow, main } from './process.ts';

interface Ran {
  readonly exit: number | string;
  readonly out: string;
  readonly err: string;
}
interface Given {
  readonly env?: Record<string, string>;
  readonly stdin?: string;
}

/** Nothing of who runs the tests counts. */
const CLEAN = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('GANTRY_')));

/** In a process of its own. */
async function run(argv: readonly string[], { env = {}, stdin = '' }: Given = {}): Promise<Ran> {
  const child = spawn(process.execPath, [main, ...argv], { env: { ...CLEAN, ...env }, stdio: 'pipe' });
  child.stdin.on('error', () => {}).end(stdin);
  const running = follow(child);
  return { exit: await running.ended, out: running.out(), err: running.err() };
}

/** The same without a process: half a second is saved. */
async function runHere(argv: readonly string[], { env = {}, stdin = '' }: Given = {}): Promise<Ran> {
  const said = { out: '', err: '' };
  const to = (stream: 'out' | 'err') =>
    new Writable({
      write(part, _encoding, taken) {
        said[stream] += String(part);
        taken();
      },
    });
  const terminal = { stdin: Readable.from([Buffer.from(stdin)]), stdout: to('out'), stderr: to('err'), env };
  const exit = await runClient(argv, terminal, '0.0.0');
  return { exit, ...said };
}

/** The words of a command, between spaces. */
type Client = (words: string | readonly string[], given?: Given) => Promise<Ran>;
function clientOf({ url }: Installation, how = runHere): Client {
  return (words, { env = {}, ...rest } = {}) =>
    how(typeof words === 'string' ? words.split(' ') : words, {
      ...rest,
      env: { GANTRY_URL: url, GANTRY_PASSWORD: PASSWORD, ...env },
    });
}
/** What a command prints where all is well. */
async function done(ran: Promise<Ran>): Promise<string> {
  const { exit, out, err } = await ran;
  expect(exit, out + err).to.equal(0);
  return out;
}

describe('the client, against a server', function () {
  this.timeout(60_000);
  let server: Installation;
  let gantry: Client;
  /** As it is built. */
  let built: Client;
  const place = folder();
  before(async () => {
    server = await installation();
    await server.start();
    gantry = clientOf(server);
    built = clientOf(server, run);
  });
  after(async () => {
    await server.end();
    place.remove();
  });
  function file(name: string, text: string): string {
    writeFileSync(path.join(place.dir, name), text);
    return path.join(place.dir, name);
  }
  const get = async (kind: string, name: string) =>
    JSON.parse(await done(gantry(`${kind} get ${name} --json`))) as {
      version: number;
      definition: Record<string, unknown>;
    };
  const revision = async () => ((await server.ask('server.info')).body['records'] as { revision: number }).revision;

  /** Of each kind: what it is made of, a change, and what that leads to. */
  const kinds: Record<string, { create: string[]; update: string[]; leads: object; env?: Record<string, string> }> = {
    setting: {
      create: ['--set', 'value={ a: [1] }'],
      update: ['--set', 'value.a[1]=2'],
      leads: { value: { a: [1, 2] } },
    },
    dictionary: {
      create: ['--set', 'entries.AT=Austria'],
      update: ['--set-string', 'entries.1=one', '--set', 'entries.AT=null'],
      leads: { entries: { '1': 'one' } },
    },
    security: {
      create: [
        '--set',
        'guard=apikey',
        '--set',
        'definition.keys[0].name=ci',
        '--set',
        'definition.keys[0].key=visible-in-ps',
      ],
      update: ['--set', 'definition.header=x-key'],
      leads: { guard: 'apikey' },
    },
    connection: {
      create: ['--set', 'transport=rest', '--set', 'options.url=http://127.0.0.1:1'],
      update: ['--set', 'options.timeoutMs=50'],
      leads: { options: { url: 'http://127.0.0.1:1', timeoutMs: 50 } },
    },
    module: {
      create: ['--set', 'language=javascript', '--set-string', `source=${moduleOf('cli.a')}`],
      update: ['--set', 'language=typescript'],
      leads: { language: 'typescript', services: ['cli.a'] },
    },
    channel: {
      create: ['--set', 'transport=rest', '--set', 'service=echo', '--set', 'address={ method: POST, path: /one }'],
      update: ['--set', 'address.path=/other', '--set', 'timeoutMs=700'],
      leads: { address: { method: 'POST', path: '/other' }, timeoutMs: 700 },
    },
    job: {
      create: ['--set', 'service=echo', '--set', 'schedule.everyMs=3600000', '--set', 'active=false'],
      update: ['--set', 'payload.a=1'],
      leads: { payload: { a: 1 }, active: false },
    },
    user: {
      create: ['--role', 'viewer'],
      env: { GANTRY_NEW_PASSWORD: 'a password of one' },
      update: ['--role', 'operator'],
      leads: { role: 'operator', passwordHash: '***' },
    },
    balancer: {
      create: ['--set', 'algorithm=leastconn', '--set', 'timeouts.serverMs=90000'],
      update: ['--set', 'timeouts.connectMs=500'],
      leads: { algorithm: 'leastconn', timeouts: { serverMs: 90_000, connectMs: 500 } },
    },
    server: {
      create: ['--set', 'urls=[http://a]', '--set-string', 'version=1.0', '--set', 'startedAt=2026-11-22T00:00:00Z'],
      update: ['--set', 'urls[0]=http://b'],
      leads: { urls: ['http://b'], version: '1.0' },
    },
  };
  const toggled = ['connection', 'channel', 'job'];
  for (const [kind, { create, update, leads, env = {} }] of Object.entries(kinds)) {
    it(`a ${kind} is created, listed, read, changed, switched, asked about and deleted`, async () => {
      expect(await done(gantry([kind, 'create', 'thing', ...create], { env }))).to.equal(
        `The ${kind} 'thing' was created (version 1).\n`,
      );
      expect(await gantry([kind, 'create', 'thing', ...create], { env })).to.include({ exit: 1, out: '' });
      expect(await done(gantry(`${kind} list --search thin -q`))).to.equal('thing\n');
      expect(await done(gantry(`${kind} list`)))
        .to.match(/^NAME .* VERSION +CHANGED +BY +SOURCE$/m)
        .and.match(/^thing .* record$/m);
      expect(await done(gantry([kind, 'update', 'thing', ...update]))).to.include('was updated (version 2)');
      expect((await get(kind, 'thing')).definition).to.deep.include({ name: 'thing', ...leads });
      expect(await done(gantry(`${kind} get thing`))).to.match(
        new RegExp(`^# ${kind} 'thing', version 2, changed by admin`),
      );
      if (toggled.includes(kind)) {
        await done(gantry(`${kind} disable thing`));
        expect((await get(kind, 'thing')).definition['active']).to.equal(false);
        if (kind === 'channel' || kind === 'connection') {
          await done(gantry(`${kind} enable thing -q`));
          expect((await get(kind, 'thing')).definition['active']).to.equal(true);
        }
      } else expect(await gantry(`${kind} disable thing`)).to.include({ exit: 2 });
      expect(await done(gantry(`${kind} usage thing`))).to.equal('Nothing refers to it.\n');
      expect(await done(gantry(`${kind} delete thing`))).to.equal(`The ${kind} 'thing' was deleted.\n`);
      const gone = await gantry(`${kind} get thing`);
      expect(gone).to.include({ exit: 1, out: '' });
      expect(gone.err).to.match(new RegExp(`^gantry: There is no ${kind} 'thing'`));
      expect(await gantry(`${kind} delete thing`)).to.include({ exit: 1 });
    });
  }

  it('what it does takes effect', async () => {
    const asked = async () =>
      (
        await fetch(`${server.url}/hi`, {
          method: 'POST',
          body: '{"a":1}',
          headers: { 'content-type': 'application/json' },
        })
      ).status;
    const definition = JSON.stringify({
      name: 'hi',
      transport: 'rest',
      address: { method: 'POST', path: '/hi' },
      service: 'echo',
    });
    await done(built('channel create --file -', { stdin: definition }));
    expect(await asked()).to.equal(200);
    await done(gantry('channel disable hi'));
    expect(await asked()).to.equal(404);
    await done(gantry('channel delete hi'));
  });
  it('lists records and what the config file defines; --json is the answer of the API', async () => {
    const table = await done(gantry('channel list'));
    expect(table).to.match(/^NAME +ACTIVE +TRANSPORT +ADDRESS +SERVICE +SECURITY +VERSION +CHANGED +BY +SOURCE$/m);
    expect(table).to.match(/^fixed +yes +rest +POST \/fixed +echo +- +- +- +- +config file$/m);
    const { body } = await server.ask('channel.list', { limit: 1000 });
    expect(JSON.parse(await done(gantry('channel list --json')))).to.deep.equal(body);
    const refused = await gantry('channel list --filter color=red');
    expect(refused.exit).to.equal(1);
    expect(refused.err).to.include('/filter/color: is not known here').and.include('expected: one of transport');
  });
  it('what it shows can be edited and given back; secrets stay what they are', async () => {
    const yaml = `transport: rest\noptions:\n  url: ${server.url}\n  security: { kind: basic, username: admin, password: "${PASSWORD}" }\n  ping: { path: /gantry/ping }\n`;
    await done(gantry('connection create self -f -', { stdin: yaml }));
    const shown = await done(gantry('connection get self'));
    expect(shown).to.include('***').and.not.include(PASSWORD);
    const before = await sealed();
    await done(gantry('connection update -f -', { stdin: shown.replace('/gantry/ping', '/gantry/pong') }));
    await done(gantry('connection update self --set options.timeoutMs=900'));
    expect(await sealed()).to.deep.equal(before);
    expect((await get('connection', 'self')).definition['options']).to.deep.include({
      timeoutMs: 900,
      ping: { path: '/gantry/pong' },
    });
    await done(gantry('connection delete self'));
    async function sealed(): Promise<unknown> {
      const { body } = await server.ask('configuration.export', { kinds: ['connection'] });
      const [{ definition }] = body['records'] as [{ definition: { options: { security: { password: unknown } } } }];
      return definition.options.security.password;
    }
  });
  it('a change made on an older version is refused, told, and not repeated', async () => {
    await done(gantry('setting create shared --set value=1'));
    await done(gantry('setting update shared --set value=2'));
    const stale = await gantry('setting update shared --version 1 --set value=3');
    expect(stale).to.include({ exit: 1, out: '' });
    expect(stale.err).to.match(
      /has version 2, not 1: admin changed it at .*\nNothing was changed\. Look at what is there now/,
    );
    expect(await gantry('setting delete shared --version 1')).to.include({ exit: 1 });
    expect(await get('setting', 'shared')).to.deep.include({ version: 2, definition: { name: 'shared', value: 2 } });
    await done(gantry('setting delete shared --version 2'));
  });
  it('what others refer to is told by usage, and stays', async () => {
    const by = ['--set', 'guard=basic', '--set', 'definition.users=[{ username: a, password: b }]'];
    await done(gantry(['security', 'create', 'staff', ...by]));
    const on = ['--set', 'transport=rest', '--set', 'service=echo', '--set', 'address={ method: GET, path: /staff }'];
    await done(gantry(['channel', 'create', 'staffed', ...on, '--set', 'security=staff']));
    expect(await done(gantry('security usage staff'))).to.equal('KIND     NAME\nchannel  staffed\n');
    const kept = await gantry('security delete staff');
    expect(kept.exit).to.equal(1);
    expect(kept.err).to.include('staffed');
    await done(gantry('channel delete staffed'));
    await done(gantry('security delete staff'));
  });
  it('what is wrong is told with path, expected, got and hint; as JSON, the document of the server', async () => {
    const argv = [
      'channel',
      'create',
      'x',
      '--set',
      'transport=rst',
      '--set',
      'service=echo',
      '--set',
      'address.path=/x',
    ];
    const { exit, out, err } = await built(argv);
    expect([exit, out]).to.deep.equal([1, '']);
    expect(err).to.equal(
      "gantry: The channel 'x' is not valid:\n" +
        "  /transport: names what is not there: 'rst'\n" +
        "      expected: one of rest\n      got:      rst\n      hint:     Did you mean 'rest'?\n",
    );
    const scripted = await gantry([...argv, '--json']);
    expect(scripted).to.include({ exit: 1, out: '' });
    const document = JSON.parse(scripted.err) as { errors: object[] };
    expect(document).to.include({ code: 'RECORD_INVALID', status: 400, exit: 1 });
    expect(document.errors[0]).to.include({ path: '/transport', got: 'rst' });
  });

  it('services are listed, shown with their schemas, and tried', async () => {
    expect(await done(gantry('service list --search echo -q'))).to.equal('echo\n');
    expect(await done(gantry('service get gantry.ping')))
      .to.match(/^name: gantry\.ping$/m)
      .and.match(/^output:$/m);
    const input = file('input.json', '{"b":[2]}');
    for (const given of [
      gantry(['service', 'invoke', 'echo', '--input', '{"b":[2]}', '--json']),
      gantry(['service', 'invoke', 'echo', '--input', `@${input}`, '--json']),
      gantry('service invoke echo --input - --json', { stdin: '{"b":[2]}' }),
    ]) {
      expect(JSON.parse(await done(given))).to.deep.include({ output: { b: [2] } });
    }
    expect(await done(gantry(['service', 'invoke', 'echo', '--input', '"x"']))).to.equal('"x"\n');
    expect(await gantry('service invoke echo --input {')).to.include({ exit: 2 });
    const missing = await gantry('service invoke echos');
    expect([missing.exit, missing.err]).to.satisfy(
      ([exit, err]: [number, string]) => exit === 1 && err.includes("'echos'"),
    );
    expect(await gantry('service invoke gantry.user.list')).to.include({ exit: 4 });
  });
  it('connections are pinged: 0 where the system is there, 1 where it is not', async () => {
    const up = ['--set', 'transport=rest', '--set', `options={ url: "${server.url}", ping: { path: /gantry/ping } }`];
    await done(gantry(['connection', 'create', 'up', ...up]));
    expect(await done(gantry('connection ping up'))).to.match(/^'up' answers \(\d+\.\d ms\)\.\n$/);
    expect(await done(gantry('connection states'))).to.match(/^up +rest +yes$/m);
    expect(await done(gantry('health'))).to.match(/^database +yes +-$/m);
    const down = [
      '--set',
      'transport=rest',
      '--set',
      'options={ url: "http://127.0.0.1:9", ping: { path: / }, timeoutMs: 500 }',
    ];
    await done(gantry(['connection', 'create', 'down', ...down]));
    const ping = await gantry('connection ping down');
    expect(ping.exit).to.equal(1);
    expect(ping.out).to.match(/^'down' does not answer: /);
    expect(await gantry('connection ping nowhere')).to.include({ exit: 1, out: '' });
    await done(gantry('connection delete up'));
    await done(gantry('connection delete down'));
    expect(await gantry('health -q')).to.deep.equal({ exit: 0, out: '', err: '' });
  });
  it('info and audit tell what the server is and what was done to it', async () => {
    expect(await done(gantry('info')))
      .to.match(/^server +one, ready$/m)
      .and.match(/^records +.*revision \d+ of the database$/m);
    await done(gantry('setting create watched --set value=1'));
    await done(gantry('setting update watched --set value=2'));
    await done(gantry('setting delete watched'));
    const lines = (await done(gantry('audit list --kind setting --name watched'))).trimEnd().split('\n');
    expect(lines.map((line) => line.split(/ {2,}/).slice(1, 7))).to.deep.equal([
      ['BY', 'ACTION', 'KIND', 'NAME', 'VERSION', 'FIELDS'],
      ['admin', 'remove', 'setting', 'watched', '-', 'name,value'],
      ['admin', 'update', 'setting', 'watched', '2', 'value'],
      ['admin', 'create', 'setting', 'watched', '1', 'name,value'],
    ]);
    const { items } = JSON.parse(await done(gantry('audit list --name watched --action update --by admin --json'))) as {
      items: { before: unknown; after: unknown }[];
    };
    expect(items.map(({ before, after }) => [before, after])).to.deep.equal([
      [
        { name: 'watched', value: 1 },
        { name: 'watched', value: 2 },
      ],
    ]);
    expect(await done(gantry('audit list --name watched --until 2020-01-01'))).to.equal('There is no such change.\n');
  });

  it('users get passwords by a variable, a file, and never by an argument; sessions take their place', async () => {
    const first = file('first', 'first password\n');
    await done(gantry(['user', 'create', 'bob', '--role', 'operator', '--new-password-file', first]));
    const bob: Client = (words, { env = {}, ...rest } = {}) =>
      gantry(words, { ...rest, env: { GANTRY_USER: 'bob', GANTRY_PASSWORD: 'first password', ...env } });
    await done(bob('info'));
    for (const option of ['--set', '--set-string']) {
      const seen = await gantry(['user', 'update', 'bob', option, 'password=another password']);
      expect(seen).to.include({ exit: 2, out: '' });
      expect(seen.err).to.include('no argument');
    }
    const token = (await done(bob('session create --minutes 5'))).trim();
    const session = { env: { GANTRY_TOKEN: token, GANTRY_PASSWORD: '' } };
    await done(bob('info', session));
    await done(bob('session end', session));
    const over = await bob('info', session);
    expect(over.exit).to.equal(4);
    expect(over.err).to.include('GANTRY_TOKEN').and.not.include(token);

    await done(bob('session password', { env: { GANTRY_NEW_PASSWORD: 'second password' } }));
    expect(await bob('info')).to.include({ exit: 4 });
    await done(bob('info', { env: { GANTRY_PASSWORD: 'second password' } }));
    await done(gantry('user password bob', { env: { GANTRY_NEW_PASSWORD: 'third password' } }));
    expect(await bob('info', { env: { GANTRY_PASSWORD: 'second password' } })).to.include({ exit: 4 });
    await done(bob('info', { env: { GANTRY_PASSWORD: 'third password' } }));
    await done(gantry('user delete bob'));
  });
  it('on a terminal, passwords are asked for and not shown', async function () {
    const { error } = spawnSync('script', ['--version']);
    if (error !== undefined) {
      process.stderr.write('      skipped: there is no `script`, which makes a terminal\n');
      if (process.env['CI'] === 'true') throw error;
      return this.skip();
    }
    const words = `"${process.execPath}" "${main}" user create typed --role viewer`;
    const env = { ...CLEAN, GANTRY_URL: server.url };
    const child = spawn('script', ['-qec', words, '/dev/null'], { env, stdio: 'pipe' });
    const typed = follow(child);
    for (const [question, answer] of [
      [/New password of 'typed': /, 'typed password'],
      [/The same again: /, 'typed password'],
      [/Password of 'admin': /, PASSWORD],
    ] as const) {
      await typed.says(question);
      child.stdin.write(`${answer}\r`);
    }
    await typed.says(/was created/);
    expect(await typed.ended).to.equal(0);
    expect(typed.out()).not.to.include('typed password').and.not.include(PASSWORD);
    await done(gantry('info', { env: { GANTRY_USER: 'typed', GANTRY_PASSWORD: 'typed password' } }));
    await done(gantry('user delete typed'));
  });

  it('exits with 4 for a wrong password and for a role that is not enough', async () => {
    const wrong = await built('info', { env: { GANTRY_PASSWORD: 'wrong' } });
    expect(wrong).to.include({ exit: 4, out: '' });
    expect(wrong.err).to.include("Asked as 'admin'").and.not.include('wrong password');
    await done(gantry('user create eve --role viewer', { env: { GANTRY_NEW_PASSWORD: 'password of eve' } }));
    const eve = { env: { GANTRY_USER: 'eve', GANTRY_PASSWORD: 'password of eve' } };
    await done(gantry('channel list', eve));
    const changes = await built('setting create x --set value=1', eve);
    expect(changes).to.include({ exit: 4, out: '' });
    expect(changes.err).to.include('developer').and.include("'eve' is viewer");
    expect(await gantry('export', eve)).to.include({ exit: 4 });
    await done(gantry('user delete eve'));
  });
  it('exits with 2 for wrong usage, and asks nobody', async () => {
    const before = await revision();
    for (const words of [
      'chanel list',
      'channel lst',
      'channel get',
      'setting create a --sett value=1',
      'apply',
      'apply -f nowhere.yaml',
      'setting update',
      'setting update a',
      'export --kinds chanel',
      'info --timeout x',
    ]) {
      const { exit, out, err } = await gantry(words);
      expect([exit, out], words + err).to.deep.equal([2, '']);
    }
    const none = await built('info', { env: { GANTRY_PASSWORD: '' } });
    expect(none.exit).to.equal(2);
    expect(none.err).to.include('GANTRY_PASSWORD');
    expect(await revision()).to.equal(before);
  });
  it('tells that its output cannot be written, and not that a reader went away', async function () {
    if (process.platform !== 'linux') return this.skip();
    const env = { ...CLEAN, GANTRY_URL: server.url, GANTRY_PASSWORD: PASSWORD };
    const full = openSync('/dev/full', 'w');
    const written = follow(spawn(process.execPath, [main, 'export'], { env, stdio: ['ignore', full, 'pipe'] }));
    expect(await written.ended).to.equal(2);
    expect(written.err()).to.equal('gantry: The output cannot be written (ENOSPC)\n');
    closeSync(full);
    const command = `"${process.execPath}" "${main}" service list --json | head -c 1; exit $\{PIPESTATUS[0]}`;
    const piped = follow(spawn('bash', ['-c', command], { env, stdio: ['ignore', 'pipe', 'pipe'] }));
    expect([await piped.ended, piped.err()]).to.deep.equal([0, '']);
  });

  it('TLS: a certificate is trusted by NODE_EXTRA_CA_CERTS only', async function () {
    const made = certificate(place.dir, null);
    if (made === null) {
      process.stderr.write('      skipped: there is no openssl\n');
      if (process.env['CI'] === 'true') throw new Error('there is no openssl');
      return this.skip();
    }
    const proxy = createServer({ cert: made.pem, key: readFileSync(made.keyFile) }, (from, to) => {
      const { method = 'POST', url = '/', headers } = from;
      const onward = forward(`${server.url}${url}`, { method, headers }, (answer) => {
        to.writeHead(answer.statusCode ?? 500, answer.headers);
        answer.pipe(to);
      });
      from.pipe(onward);
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    const GANTRY_URL = `https://localhost:${(proxy.address() as AddressInfo).port}`;
    const refused = await built('info', { env: { GANTRY_URL } });
    expect(refused.exit).to.equal(3);
    expect(refused.err).to.include('certificate is not trusted').and.include('NODE_EXTRA_CA_CERTS');
    await done(built('info', { env: { GANTRY_URL, NODE_EXTRA_CA_CERTS: made.certFile } }));
    proxy.closeAllConnections();
    proxy.close();
  });

  it('a file that is not good changes nothing, and is told with its places', async () => {
    await done(gantry('setting create there --set value=1'));
    const before = await revision();
    const good = 'setting:\n  - { name: there, value: 2 }\n  - { name: fresh, value: 1 }\n';
    const refused = async (name: string, text: string) => {
      const ran = await gantry(['apply', '-f', file('good.yaml', good), '-f', file(name, text)]);
      expect(ran).to.include({ exit: 1, out: '' });
      return ran.err.replaceAll(`${place.dir}/`, '');
    };
    expect(await refused('a.yaml', 'channel:\n  - name: c\n    transport: rst\n    service: echo\n    address: {}\n'))
      .to.include('nothing was changed')
      .and.include("a.yaml:3 channel 'c' /transport: names what is not there: 'rst'");
    expect(
      await refused(
        'b.yaml',
        'channel:\n- name: c\n  transport: rest\n  service: echo\n  address: { path: "/${env:NO_SUCH}" }\n',
      ),
    )
      .to.include('b.yaml:5 /channel/0/address/path: needs the environment variable NO_SUCH')
      .and.include('nothing was sent');
    expect(await refused('c.yaml', 'setting: [')).to.include('c.yaml:1');
    expect(await refused('d.yaml', '\nsetting: [{ name: there, value: 3 }]')).to.include(
      "d.yaml:2 setting 'there': is also at good.yaml:2",
    );
    expect(
      await refused(
        'e.yaml',
        'channel:\n- { name: fixed, transport: rest, service: echo, address: { method: GET, path: /q } }\n',
      ),
    ).to.include("e.yaml:2 channel 'fixed': The config file of this server has a channel 'fixed'");
    expect(await revision()).to.equal(before);
    const scripted = await gantry(['apply', '--json', '-f', file('f.yaml', 'user: [{ name: u, role: boss }]')]);
    const { errors } = JSON.parse(scripted.err) as { errors: { path: string }[] };
    expect(errors[0]?.path).to.match(/f\.yaml:1 user 'u' \/role$/);
    await done(gantry('setting delete there'));
  });
});

describe('configuration as code, from one installation to another', function () {
  this.timeout(120_000);
  const place = folder();
  let one: Installation;
  let other: Installation;
  before(async () => {
    one = await installation();
    other = await installation(undefined, { name: 'two' });
    await Promise.all([one.start(), other.start()]);
  });
  after(async () => {
    await Promise.all([one.end(), other.end()]);
    place.remove();
  });

  const RECORDS = `setting:
  - { name: zeta, value: { b: 1, a: [true, null, "\${env:MARK}"] } }
  - name: alpha
    value: \${env:COUNT:-7}
    description: "$\${env:MARK} is text"
dictionary:
  - { name: odd, entries: { "yes": "no", "10": ten, "9": nine, "": nothing, a b: "line\\nbreak\\tand \\e[1m" } }
---
security:
  - name: staff
    guard: basic
    definition: { users: [{ username: ann, password: "\${env:ANN}", roles: [clerk] }] }
  - { name: keys, guard: apikey, definition: { keys: [{ name: ci, key: "\${env:CI_KEY}" }] } }
connection:
  - name: erp
    transport: rest
    options: { url: http://127.0.0.1:9, security: { kind: bearer, token: "\${env:CI_KEY}" } }
    active: false
module:
  - name: a.1
    language: typescript
    source: |
      import { defineService, Type } from 'gantry/api';
      // \`\${a} $$\${a} $\${env:HOME}\`
      export default defineService({ name: 'a.b', input: Type.Any(), output: Type.Any(), create: () => () => 1 });
channel:
  - { name: staffed, service: echo, address: { path: /staffed, method: POST }, transport: rest, security: [staff, keys] }
job:
  - { name: nightly, service: echo, schedule: { cron: "0 3 * * *", timeZone: Europe/Vienna }, active: false }
user:
  - { name: ann, role: developer, password: "\${env:ANN}" }
`;
  const env = { MARK: 'yes', ANN: 'password of ann', CI_KEY: '1234567890' };

  it('what is applied is there, exported, and the same on a second server with the same keys', async () => {
    const [first, second] = [clientOf(one), clientOf(other)];
    const file = path.join(place.dir, 'records.yaml');
    writeFileSync(file, RECORDS);
    const trial = await first(['apply', '-f', file, '--dry-run'], { env });
    expect(trial).to.include({ exit: 0 });
    expect(trial.out).to.match(/10 created, 0 updated, 0 removed, 0 unchanged\. This was a trial/);
    expect(await first(['diff', file], { env })).to.include({ exit: 1, out: trial.out });
    const applied = await done(first(['apply', '-f', file], { env }));
    expect(applied)
      .to.match(/^created {2}setting 'zeta'$/m)
      .and.match(/^10 created, 0 updated, 0 removed, 0 unchanged\.$/m);
    const { body } = await one.ask('setting.list');
    expect((body['items'] as { definition: object }[]).map(({ definition }) => definition)).to.deep.equal([
      { name: 'alpha', value: 7, description: '${env:MARK} is text' },
      { name: 'zeta', value: { b: 1, a: [true, null, 'yes'] } },
    ]);
    const { body: module } = await one.ask('module.get', { name: 'a.1' });
    const { source, services } = module['definition'] as { source: string; services: string[] };
    expect(source).to.include('\n// `${a} $${a} ${env:HOME}`\n');
    expect(services).to.deep.equal(['a.b']);

    const exported = await done(first('export'));
    const kinds = [...exported.matchAll(/^(\w+):$/gm)].map(([, kind]) => kind);
    expect(kinds).to.deep.equal([
      'setting',
      'dictionary',
      'security',
      'connection',
      'module',
      'channel',
      'job',
      'user',
    ]);
    for (const secret of [env.ANN, env.CI_KEY]) expect(exported).not.to.include(secret);
    const out = path.join(place.dir, 'out.yaml');
    await done(first(['export', '--out', out]));
    expect([readFileSync(out, 'utf8'), statSync(out).mode & 0o777]).to.deep.equal([exported, 0o600]);
    expect(await done(first('export --kinds user,setting')))
      .to.match(/^setting:[\s\S]*^user:/m)
      .and.not.match(/^channel:/m);

    await done(second(['apply', '-f', '-'], { stdin: exported }));
    const again = await done(second('export'));
    expect(again).to.equal(exported);
    const called = await fetch(`${other.url}/staffed`, {
      method: 'POST',
      body: '{}',
      headers: { 'content-type': 'application/json', 'x-api-key': env.CI_KEY },
    });
    expect(called.status).to.equal(200);
    await done(second('info', { env: { GANTRY_USER: 'ann', GANTRY_PASSWORD: env.ANN } }));
  });
  it('applied again, it changes nothing: neither the sources with their secrets in the clear, nor the export', async () => {
    const first = clientOf(one);
    const revision = async () => ((await one.ask('server.info')).body['records'] as { revision: number }).revision;
    const [before, exported] = [await revision(), await done(first('export'))];
    const file = path.join(place.dir, 'records.yaml');
    const sources = JSON.parse(await done(first(['apply', '-f', file, '--json'], { env }))) as object;
    expect(sources).to.include({ created: 0, updated: 0, removed: 0, unchanged: 10 });
    expect(await done(first('apply -f -', { stdin: exported }))).to.equal(
      '0 created, 0 updated, 0 removed, 11 unchanged.\n',
    );
    expect(await first('diff -f -', { stdin: exported })).to.include({ exit: 0 });
    expect(await revision()).to.equal(before);
    expect(await done(first('export'))).to.equal(exported);
  });
  it('removes only what it is told to, and all of it or nothing', async () => {
    const first = clientOf(one);
    const stdin = 'setting: [{ name: alpha, value: 8 }]';
    const trial = await first('diff -f - --prune setting,dictionary', { stdin });
    expect(trial).to.include({ exit: 1 });
    expect(trial.out)
      .to.match(/^removed {2}setting 'zeta'$/m)
      .and.match(/0 created, 1 updated, 2 removed, 0 unchanged/);
    const kept = await first('apply -f - --prune setting --prune security', { stdin });
    expect(kept.exit).to.equal(1);
    expect(kept.err).to.include('staffed');
    expect(await done(first('setting list -q'))).to.equal('alpha\nzeta\n');
    await done(first('apply -f - --prune setting,dictionary', { stdin }));
    expect(await done(first('setting list -q'))).to.equal('alpha\n');
    expect(await done(first('dictionary list'))).to.equal('There is no dictionary.\n');
    expect(await done(first('channel list -q'))).to.match(/^staffed$/m);
  });
  it('reseal has nothing to do where the keys are the same', async () => {
    expect(JSON.parse(await done(clientOf(one)('reseal --json')))).to.deep.equal({ changed: 0 });
  });
  it('exits with 3 where the server is stopped, with its address and a hint', async () => {
    await other.stop();
    const stopped = await clientOf(other, run)('setting create x --set value=1');
    expect(stopped).to.include({ exit: 3, out: '' });
    expect(stopped.err).to.include(other.url).and.include('nobody listens there').and.include('npm start');
    const scripted = await clientOf(other)('health --json');
    expect(JSON.parse(scripted.err)).to.include({ code: 'UNREACHABLE', exit: 3 });
  });
});
