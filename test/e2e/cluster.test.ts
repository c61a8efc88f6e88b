import { execFileSync, spawn } from 'node:child_process';
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { expect } from 'chai';
import { type Certificate, certificate } from '../engines/certificate.ts';
import { mariadb, needs, postgres } from '../engines/index.ts';
import { folder, follow, freePort, gantry, home, main, type Running } from './process.ts';

const PROGRAMS = ['haproxy', 'redis-server'];
const SEARCHED = ['/usr/local/sbin', '/usr/sbin'];

interface Ports {
  readonly balancerPort: number;
  readonly statsPort: number;
  readonly agentPort: number;
  readonly redisPort: number;
  readonly servers: readonly { readonly name: string; readonly port: number }[];
}

/** A quickstart with ports and a data folder of its own, which can be started again with what it has. */
async function quickstart(more: Record<string, unknown> = {}) {
  const { dir, remove } = folder();
  const ports: Ports = {
    balancerPort: await freePort(),
    statsPort: await freePort(),
    agentPort: await freePort(),
    redisPort: await freePort(),
    servers: [
      { name: 'server1', port: await freePort() },
      { name: 'server2', port: await freePort() },
    ],
  };
  const file = path.join(dir, 'cluster.yaml');
  // JSON is YAML.
  const config = {
    extends: path.join(home, 'config/cluster.yaml'),
    plugins: { 'feature.launcher': { ...ports, ...more } },
  };
  writeFileSync(file, JSON.stringify(config));
  const data = path.join(dir, 'data');
  const own = path.join(data, 'cluster');
  let running: Running | null = null;
  const started = (env: Record<string, string> = {}, args: readonly string[] = []): Running => {
    // In a process group of its own, as a shell starts what stands in the foreground.
    const child = spawn(process.execPath, [main, 'start', '--config', file, ...args], {
      cwd: home,
      detached: true,
      env: { ...process.env, GANTRY_DATA: data, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    running = follow(child);
    return running;
  };
  const passwords = () => JSON.parse(readFileSync(path.join(own, 'passwords.json'), 'utf8')) as Record<string, string>;
  return {
    ...{ dir, data, own, ports, passwords },
    balancer: `http://127.0.0.1:${ports.balancerPort}`,
    launch: started,
    async start(env: Record<string, string> = {}): Promise<Running> {
      const one = started(env);
      await one.says(/Ctrl-C ends all of it/);
      await one.says(/is ready/);
      return one;
    },
    /** One call of the admin API, through the balancer or at a port. */
    async ask(service: string, input: object = {}, port = ports.balancerPort) {
      const authorization = `Basic ${Buffer.from(`admin:${passwords()['adminPassword']}`).toString('base64')}`;
      const reply = await fetch(`http://127.0.0.1:${port}/gantry/admin/gantry.${service}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization },
        body: JSON.stringify(input),
      });
      // biome-ignore lint/suspicious/noExplicitAny: a test says what it expects of it
      return { status: reply.status, body: (await reply.json()) as any };
    },
    async end(): Promise<void> {
      if (running !== null && running.child.exitCode === null && running.child.signalCode === null) {
        running.child.kill('SIGINT');
        await running.ended;
      }
      await none(dir);
      remove();
    },
  };
}
type Quickstart = Awaited<ReturnType<typeof quickstart>>;

/** Processes that were started for a folder: it is in what they were called with, or told, or where they work. */
function processesOf(dir: string): { pid: number; command: string; group: number }[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
        const [state = '', , group = ''] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
        if (/^[ZX]$/.test(state)) return [];
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
        const told = readFileSync(`/proc/${pid}/environ`, 'utf8');
        const isOf = [command, told, readlinkSync(`/proc/${pid}/cwd`)].some((text) => text.includes(dir));
        return isOf ? [{ pid: Number(pid), command, group: Number(group) }] : [];
      } catch {
        return [];
      }
    });
}

/** A reload puts more of its arguments before the first one: `haproxy -sf 41 -x sockpair@4 -W ...`. */
function isBalancer({ command }: { command: string }): boolean {
  return /^\S*haproxy .*-W /.test(command);
}

async function until(holds: () => boolean | Promise<boolean>, what: string, ms = 60_000): Promise<void> {
  const end = performance.now() + ms;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`not in ${ms} ms: ${what}`);
    await wait(50);
  }
}
async function none(dir: string): Promise<void> {
  await until(() => processesOf(dir).length === 0, 'no process is left').catch((error: Error) => {
    throw new Error(
      `${error.message}: ${processesOf(dir)
        .map(({ command }) => command)
        .join('\n')}`,
    );
  });
}

/** GETs without a pause on some connections, until it is stopped: who answered how many, and what failed. */
function load(url: string, connections = 8) {
  const answered: Record<string, number> = {};
  const failed: string[] = [];
  let going = true;
  const one = async () => {
    while (going) {
      try {
        const reply = await fetch(url);
        const text = await reply.text();
        if (reply.status !== 200) failed.push(`${reply.status} ${text}`);
        else {
          const { server } = JSON.parse(text) as { server: string };
          answered[server] = (answered[server] ?? 0) + 1;
        }
      } catch (error) {
        failed.push(String((error as Error).cause ?? error));
      }
    }
  };
  const all = Promise.all(Array.from({ length: connections }, one));
  return {
    answered,
    failed,
    async stop() {
      going = false;
      await all;
    },
  };
}

function pidAt(port: number): number {
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  const line = readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .map((one) => one.trim().split(/\s+/))
    .find(([, local = '', , state]) => local === `0100007F:${hex}` && state === '0A');
  const inode = `socket:[${line?.[9]}]`;
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      if (readdirSync(`/proc/${pid}/fd`).some((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`) === inode))
        return Number(pid);
    } catch {
      // It has ended, or is another user's.
    }
  }
  return -1;
}

describe('npm run cluster', function () {
  this.timeout(240_000);

  before(function () {
    if (process.platform !== 'linux') this.skip();
    const places = [...(process.env['PATH'] ?? '').split(':'), ...SEARCHED];
    const missing = PROGRAMS.filter((name) => !places.some((place) => isThere(path.join(place, name))));
    if (missing.length === 0) return;
    const told = `${missing.join(' and ')} not found. Packages in Debian: haproxy redis-server`;
    if (process.env['CI'] === 'true') throw new Error(told);
    process.stderr.write(`\nSKIPPED: the quickstart does not run here. ${told}\n\n`);
    this.skip();
  });

  describe('that runs', () => {
    let cluster: Quickstart;
    let launcher: Running;
    before(async () => {
      cluster = await quickstart();
      launcher = await cluster.start();
    });
    after(() => cluster.end());

    it('tells where all of it is, with passwords that are right', async () => {
      const out = launcher.out();
      const { adminPassword = '', statsPassword = '' } = cluster.passwords();
      const { balancerPort, statsPort, agentPort, redisPort, servers } = cluster.ports;
      for (const port of [balancerPort, statsPort, agentPort, redisPort, ...servers.map((one) => one.port)]) {
        expect(out).to.include(`127.0.0.1:${port}`);
      }
      expect(out)
        .to.include(`user admin, password ${adminPassword}`)
        .and.include(`user admin, password ${statsPassword}`);
      expect(out).to.include('server1.log server2.log agent.log redis.log');
      for (const [, file = ''] of out.matchAll(/(\/\S+\/(?:pickup|logs|passwords\.json))\b/g)) {
        expect(isThere(file), file).to.equal(true);
      }
      const page = await fetch(`http://127.0.0.1:${statsPort}/metrics`, {
        headers: { authorization: `Basic ${Buffer.from(`admin:${statsPassword}`).toString('base64')}` },
      });
      expect(page.status).to.equal(200);
      expect((await fetch(`http://127.0.0.1:${statsPort}/metrics`)).status).to.equal(401);
      expect(statSync(path.join(cluster.own, 'passwords.json')).mode & 0o777).to.equal(0o600);
      // What it says to try, tried.
      const [tried = ''] = /curl -u .*$/m.exec(out) ?? [];
      const answer = JSON.parse(execFileSync('/bin/sh', ['-c', `${tried} -s`], { encoding: 'utf8' })) as {
        servers: { name: string }[];
      };
      expect(answer.servers.map(({ name }) => name)).to.deep.equal(['server1', 'server2']);
    });

    it('starts processes of their own, out of reach of the Ctrl-C of a terminal', async () => {
      // A master and its worker.
      await until(() => processesOf(cluster.dir).filter(isBalancer).length >= 2, 'HAProxy has a worker');
      const own = () => processesOf(cluster.dir).filter(({ pid }) => pid !== launcher.pid);
      const counts = (all: ReturnType<typeof own>) =>
        ['server.yaml', 'balancer.yaml', 'redis-server'].map(
          (text) => all.filter(({ command }) => command.includes(text)).length,
        );
      // A process that starts another one is there twice for a moment, by the same command.
      let all = own();
      await until(() => counts((all = own())).join() === '2,1,1', 'each is there once', 10_000).catch(() => {
        expect.fail(all.map(({ pid, group, command }) => `${pid} of ${group}: ${command}`).join('\n'));
      });
      expect(all.filter(({ group }) => group === launcher.pid)).to.deep.equal([]);
    });

    it('lets calls reach every server', async () => {
      const going = load(`${cluster.balancer}/gantry/ping`, 2);
      await until(() => ['server1', 'server2'].every((name) => (going.answered[name] ?? 0) >= 10), 'both answer');
      await going.stop();
      expect(going.failed).to.deep.equal([]);
    });

    it('gives every server a file that is dropped at one', async () => {
      const pickup = path.join(cluster.own, 'server1/pickup');
      writeFileSync(path.join(pickup, '.greet'), GREET);
      renameSync(path.join(pickup, '.greet'), path.join(pickup, 'greet.ts'));
      await until(() => isThere(path.join(pickup, 'deployed/greet.v1.ts')), 'it is deployed');
      const channel = {
        name: 'greet',
        transport: 'rest',
        address: { method: 'GET', path: '/greet' },
        service: 'greet',
      };
      const made = await cluster.ask('channel.create', channel);
      expect(made.status, JSON.stringify(made.body)).to.equal(200);
      for (const { port } of cluster.ports.servers) {
        await until(async () => (await fetch(`http://127.0.0.1:${port}/greet`)).status === 200, 'it serves');
      }
      expect(await (await fetch(`${cluster.balancer}/greet`)).text()).to.equal('"hello"');
    });

    it('loses no GET when a server is killed, which is there again then', async () => {
      const port = cluster.ports.servers[0]?.port as number;
      const before = pidAt(port);
      const going = load(`${cluster.balancer}/gantry/ping`);
      await until(() => (going.answered['server1'] ?? 0) > 100, 'it answers');
      process.kill(before, 'SIGKILL');
      await until(() => ![-1, before].includes(pidAt(port)), 'it is there again');
      const { server1 = 0 } = going.answered;
      await until(() => (going.answered['server1'] ?? 0) > server1 + 100, 'it gets calls again');
      await going.stop();
      expect(going.failed).to.deep.equal([]);
      expect(launcher.err()).to.match(/"child":"server1".*"how":"ended with SIGKILL"/);
    });

    it('starts a server again at once that was told to restart', async () => {
      const port = cluster.ports.servers[1]?.port as number;
      const before = pidAt(port);
      const { status, body } = await cluster.ask('server.restart', { name: 'server2' });
      expect(status, JSON.stringify(body)).to.equal(200);
      await until(() => ![-1, before].includes(pidAt(port)), 'it is there again');
      expect(launcher.err()).to.match(/"child":"server2","msg":"it asked to be started again"/);
      const going = load(`${cluster.balancer}/gantry/ping`, 2);
      await until(() => (going.answered['server2'] ?? 0) > 0, 'it gets calls again');
      await going.stop();
    });

    it('starts the agent, HAProxy and Redis again, too, and HAProxy serves on without its agent', async () => {
      const { agentPort, redisPort, balancerPort } = cluster.ports;
      const going = load(`${cluster.balancer}/gantry/ping`, 2);
      for (const port of [agentPort, redisPort]) {
        const before = pidAt(port);
        process.kill(before, 'SIGKILL');
        await until(() => ![-1, before].includes(pidAt(port)), `who listens at ${port} is there again`);
      }
      await going.stop();
      expect(going.failed).to.deep.equal([]);
      await until(
        async () => (await cluster.ask('balancer.status', {}, agentPort)).status === 200,
        'the agent answers',
      );
      const all = processesOf(cluster.dir).filter(isBalancer);
      for (const { pid } of all) process.kill(pid, 'SIGKILL');
      const serves = () =>
        fetch(`http://127.0.0.1:${balancerPort}/gantry/ping`).then(
          ({ ok }) => ok,
          () => false,
        );
      await until(serves, 'HAProxy is there again');
    });

    it('is not started twice on one folder', async () => {
      const other = gantry(['start', '--config', path.join(cluster.dir, 'cluster.yaml')], {
        GANTRY_DATA: cluster.data,
      });
      expect(await other.ended).to.equal(1);
      expect(other.err()).to.include(`gantry: It runs already: process ${launcher.pid} works in ${cluster.own}`);
      expect((await fetch(`${cluster.balancer}/gantry/ping`)).status).to.equal(200);
    });

    it('tells which ports are taken, of all that it needs', async () => {
      const { servers, redisPort } = cluster.ports;
      const free = await quickstart({ redisPort, servers: [{ name: 'a', port: servers[0]?.port }] });
      try {
        const other = free.launch();
        expect(await other.ended).to.equal(1);
        expect(other.err()).to.include('Not all ports are free; nothing was started');
        expect(other.err()).to.include(`redisPort (plugin feature.launcher): port ${redisPort} of Redis is taken`);
        expect(other.err()).to.include(`port ${servers[0]?.port} of a is taken`);
        expect(processesOf(free.dir)).to.deep.equal([]);
      } finally {
        await free.end();
      }
    });

    it('is ended by Ctrl-C, and leaves no process', async () => {
      expect((await cluster.ask('server.drain', { name: 'server2' })).status).to.equal(200);
      process.kill(-launcher.pid, 'SIGINT');
      expect(await launcher.ended).to.equal(0);
      expect(processesOf(cluster.dir)).to.deep.equal([]);
      expect(launcher.err()).not.to.include('stop failed');
      for (const name of ['server1', 'server2', 'agent']) {
        const log = readFileSync(path.join(cluster.own, `logs/${name}.log`), 'utf8').trimEnd();
        expect(log.split('\n').at(-1), name).to.include('"msg":"stopped"');
      }
    });

    it('has what it had when it is started again, and leaves no process where it is killed', async () => {
      const before = cluster.passwords();
      launcher = await cluster.start();
      expect(cluster.passwords()).to.deep.equal(before);
      // Who was taken out by an administrator stays out, and is not waited for.
      const { body } = await cluster.ask('balancer.status', {}, cluster.ports.agentPort);
      const up = body.servers.map((one: { name: string; up: boolean }) => [one.name, one.up]);
      expect(Object.fromEntries(up)).to.deep.equal({ server1: true, server2: false });
      expect((await cluster.ask('server.online', { name: 'server2' })).status).to.equal(200);
      expect(await (await fetch(`${cluster.balancer}/greet`)).text()).to.equal('"hello"');
      launcher.child.kill('SIGKILL');
      // At once: it waits until what the one before had started is ended.
      const next = await cluster.start();
      expect(await (await fetch(`${cluster.balancer}/greet`)).text()).to.equal('"hello"');
      next.child.kill('SIGKILL');
      await none(cluster.dir);
    });
  });

  describe('with settings of the balancer that an administrator made', () => {
    let cluster: Quickstart;
    let launcher: Running;
    let answers: () => Promise<boolean>;
    before(async () => {
      cluster = await quickstart();
      launcher = await cluster.start();
      answers = () => isAnswered(`${cluster.balancer}/gantry/ping`);
    });
    after(() => cluster.end());
    const again = async () => {
      process.kill(-launcher.pid, 'SIGINT');
      expect(await launcher.ended).to.equal(0);
      launcher = await cluster.start();
    };
    const row = (name: string) =>
      new RegExp(`^  ${name} +(.*)$`, 'm').exec(launcher.out())?.[1]?.replace(/ {2,}/g, '  ');
    const told = async (service: string, input: object = {}) => {
      const { status, body } = await cluster.ask(`balancer.${service}`, input, cluster.ports.agentPort);
      expect(status, JSON.stringify(body)).to.equal(200);
      return body;
    };

    /** By the command that is printed. */
    const mended = async (words: string) => {
      const line = new RegExp(`^  gantry (balancer ${words} --url \\S+)`, 'm').exec(launcher.out())?.[1] ?? '';
      const env = { GANTRY_PASSWORD: cluster.passwords()['adminPassword'] as string };
      const command = gantry(line.split(' '), env);
      expect(await command.ended, command.err()).to.equal(0);
    };

    it('comes up where callers need TLS, and tells where they and the figures are', async () => {
      const { pem, keyFile } = certificate(cluster.dir, null) as Certificate;
      const both = path.join(cluster.dir, 'both.pem');
      writeFileSync(both, pem + readFileSync(keyFile, 'utf8'));
      const { balancerPort, agentPort, servers } = cluster.ports;
      const [statsPort, tlsPort] = [await freePort(), await freePort()];
      const binds = [
        { port: balancerPort, certificates: [both] },
        { host: '127.0.0.1', port: tlsPort, certificates: [both] },
      ];
      await told('apply', { settings: { binds, stats: { port: statsPort, user: 'eve', password: 'another-one' } } });
      await again();
      expect(row('callers')).to.equal(
        `https://127.0.0.1:${balancerPort} https://127.0.0.1:${tlsPort}  ` +
          `the record \`main\` of kind balancer says otherwise than the config: ${cluster.balancer}`,
      );
      expect(row('figures')).to.equal(
        `http://127.0.0.1:${statsPort}  user eve, its password is that of the record \`main\` of kind balancer`,
      );
      expect(row('admin API')).to.include(`http://127.0.0.1:${servers[0]?.port}/gantry/admin `);
      expect(launcher.out()).not.to.include(cluster.passwords()['statsPassword']);
      const [tried = ''] = /curl -u .*$/m.exec(launcher.out()) ?? [];
      expect(execFileSync('/bin/sh', ['-c', `${tried} -s`], { encoding: 'utf8' })).to.include('"server2"');
      expect(launcher.out()).to.include(`gantry balancer get main --url http://127.0.0.1:${agentPort}`);
      expect((await told('status')).running).to.equal(true);
      for (const port of [balancerPort, tlsPort]) {
        expect(await isAnswered(`https://127.0.0.1:${port}/gantry/ping`)).to.equal(true);
      }
    });

    it('comes up where HAProxy was ended, and tells how it is started', async () => {
      await told('stop');
      await again();
      expect(row('callers')).to.equal('nobody is let in  HAProxy was ended by an administrator');
      await mended('start');
      const url = `https://127.0.0.1:${cluster.ports.balancerPort}/gantry/ping`;
      await until(() => isAnswered(url), 'callers are let in');
    });

    it('comes up where the settings keep all servers out, and is mended as it says', async () => {
      const check = { path: '/nowhere' };
      await told('apply', { settings: { check } });
      await again();
      expect(row('callers')).to.match(
        /^http:\S+ {2}not served, perhaps for the record `main` of kind balancer: server1 is not up \(online, L7STS 404/,
      );
      await mended('delete main');
      await until(answers, 'callers are answered where the config says');
      await again();
      expect(row('callers')).to.equal(`${cluster.balancer}  HAProxy, before server1, server2`);
    });
  });

  it('ends what it has started where it is stopped before all are up', async () => {
    const one = await quickstart();
    try {
      const running = one.launch();
      await running.says(/"child":"agent"/);
      process.kill(-running.pid, 'SIGINT');
      expect(await running.ended).to.equal(0);
      expect(processesOf(one.dir)).to.deep.equal([]);
    } finally {
      await one.end();
    }
  });

  it('tells which process did not come up, with the end of its log, and leaves none', async () => {
    const { dir, remove } = folder({
      'broken.yaml': JSON.stringify({ name: 'x', plugins: { 'http.koa': { prot: 1 } } }),
    });
    const one = await quickstart({ serverConfig: path.join(dir, 'broken.yaml') });
    try {
      const running = one.launch();
      expect(await running.ended).to.equal(1);
      expect(running.err()).to.match(/gantry: server[12] ended with 1 before the cluster was up/);
      expect(running.err()).to.match(
        /Its log is \S+logs\/server[12]\.log, which ends with:\n[\s\S]*plugins\.http\.koa\.prot/,
      );
      expect(processesOf(one.dir)).to.deep.equal([]);
    } finally {
      await one.end();
      remove();
    }
  });

  it('tells who was not healthy in time, and why', async () => {
    const { dir, remove } = folder();
    const port = await freePort();
    // Its port is another's than the launcher thinks.
    const config = { extends: path.join(home, 'config/server.yaml'), plugins: { 'http.koa': { port } } };
    writeFileSync(path.join(dir, 'elsewhere.yaml'), JSON.stringify(config));
    const one = await quickstart({ readyMs: 15_000, serverConfig: path.join(dir, 'elsewhere.yaml') });
    const servers = [{ name: 'server1', port: await freePort() }];
    writeFileSync(
      path.join(one.dir, 'cluster.local.yaml'),
      JSON.stringify({ plugins: { 'feature.launcher': { servers } } }),
    );
    try {
      const running = one.launch();
      expect(await running.ended).to.equal(1);
      expect(running.err()).to.include(
        `gantry: server1 was not healthy in 15000 ms: connect ECONNREFUSED 127.0.0.1:${servers[0]?.port}`,
      );
      expect(processesOf(one.dir)).to.deep.equal([]);
    } finally {
      await one.end();
      remove();
    }
  });

  describe('where a program is missing', () => {
    it('tells how it is installed, on each system', async () => {
      const { dir, remove } = folder();
      mkdirSync(path.join(dir, 'bin'));
      const redis = [...(process.env['PATH'] ?? '').split(':')]
        .map((one) => path.join(one, 'redis-server'))
        .find(isThere);
      symlinkSync(redis as string, path.join(dir, 'bin/redis-server'));
      const one = await quickstart({ searchIn: [] });
      try {
        const running = one.launch({ PATH: path.join(dir, 'bin') });
        expect(await running.ended).to.equal(1);
        const lines = running.err().split('\n');
        expect(lines[0]).to.equal('gantry: haproxy: not found. Needed on the PATH. To install:');
        expect(running.err()).to.match(/Debian, Ubuntu +sudo apt-get install haproxy\n/);
        expect(running.err())
          .to.match(/Fedora +sudo dnf install haproxy\n/)
          .and.match(/macOS +brew install haproxy\n/);
        const installing = one.launch({ PATH: path.join(dir, 'bin') }, ['--install']);
        expect(await installing.ended).to.equal(1);
        expect(installing.err()).to.include('--install cannot do it here: there is no apt-get');
      } finally {
        await one.end();
        remove();
      }
    });
  });

  for (const [name, engine, scheme] of [
    ['PostgreSQL', postgres, 'postgres'],
    ['MariaDB', mariadb, 'mysql'],
  ] as const) {
    describe(`with ${name}, by one setting`, () => {
      const running = needs(engine);
      it('keeps its records there', async () => {
        const { host, port, user, password } = running();
        const database = await running().database();
        const url = `${scheme}://${user}:${encodeURIComponent(password)}@${host}:${port}/${database}`;
        const one = await quickstart();
        try {
          const launcher = await one.start({ GANTRY_DATABASE_URL: url });
          expect(launcher.out()).to.include(`${scheme}://${host}:${port}/${database}`).and.not.include(password);
          const made = await one.ask('setting.create', { name: 'color', value: 'blue' });
          expect(made.status, JSON.stringify(made.body)).to.equal(200);
          for (const { port: at } of one.ports.servers) {
            const told = async () =>
              (await one.ask('setting.get', { name: 'color' }, at)).body.definition?.value === 'blue';
            await until(told, 'each server has it');
          }
          expect(isThere(path.join(one.own, 'gantry.sqlite'))).to.equal(false);
          const agent = await one.ask('setting.get', { name: 'color' }, one.ports.agentPort);
          expect(agent.status, JSON.stringify(agent.body)).to.equal(200);
        } finally {
          await one.end();
        }
      });
    });
  }
});

/** Whoever signed its certificate. */
function isAnswered(url: string): Promise<boolean> {
  return new Promise((resolve) => {
    const get = url.startsWith('https:') ? https.get : http.get;
    get(url, { agent: false, rejectUnauthorized: false }, (reply) => {
      reply.resume();
      resolve(reply.statusCode === 200);
    }).once('error', () => resolve(false));
  });
}

function isThere(file: string): boolean {
  return statSync(file, { throwIfNoEntry: false }) !== undefined;
}

const GREET = `import { defineService, Type } from 'gantry/api';
export default defineService({ name: 'greet', input: Type.Unknown(), output: Type.String(), create: () => () => 'hello' });
`;
