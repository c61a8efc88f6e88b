import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { expect } from 'chai';
import type { GantryError } from '../../../core/api.ts';
import type { Plugin } from '../../../core/cradle.ts';
import { Logs } from '../../../core/log/log.ts';
import type { BalancedServer, BalancerSettings, BalancerState } from '../../../core/ports/index.ts';
import { Process } from '../../../core/process.ts';
import plugin from '../../../haproxy/index.ts';
import { ask } from '../../../haproxy/socket.ts';
import { freePort } from '../../engines/engine.ts';
import { Guarded, haproxy, needs } from '../../engines/index.ts';
import { balancerSettings, testBalancer } from '../../kit/balancer.ts';
import { Balanced, until } from './balanced.ts';

describe('balancer.haproxy', function () {
  this.timeout(30_000);
  needs(haproxy);

  describe('contract', () => {
    let guarded: Guarded;
    before(() => {
      guarded = new Guarded();
    });
    after(() => guarded.close());
    testBalancer({
      plugin: plugin as unknown as Plugin,
      config: { stopMs: 200 },
      refused: (settings): BalancerSettings => ({
        ...settings,
        binds: settings.binds.map((bind) => ({ ...bind, certificates: ['/no/such/file.pem'] })),
      }),
      watch: (pid) => guarded.watch(pid),
    });
  });

  describe('the process', () => {
    let world: Balanced;
    let one: BalancedServer;
    beforeEach(async () => {
      world = await Balanced.open();
      ({ as: one } = await world.member('one', (_, res) => res.end('one')));
      await world.serve(one);
    });
    afterEach(() => world.close());

    /** Kills, and gives how long nobody answered. */
    const outage = async (pid: number): Promise<number> => {
      const began = performance.now();
      process.kill(pid, 'SIGKILL');
      await until('it is seen', async () => {
        const status = await world.balancer.status().catch(() => null);
        return status !== null && status.crashes === 1 && status.pid !== null;
      });
      await until('it answers', async () => (await world.call().catch(() => null))?.status === 200);
      const ms = performance.now() - began;
      console.log(`      ${Math.round(ms)} ms`);
      return ms;
    };

    for (const which of ['master', 'worker'] as const) {
      it(`is started again when its ${which} is killed, with what it had`, async () => {
        await world.apply({}, [{ ...one, weight: 42 }]);
        const before = await world.balancer.status();
        const [, worker] = /^Pid: (\d+)/m.exec(await world.balancer.show('info')) ?? [];
        await outage(which === 'master' ? (before.pid as number) : Number(worker));
        const after = await world.balancer.status();
        await world.watch();
        expect(after).to.include({ running: true, halted: false, crashes: 1 });
        expect(after.pid).to.not.equal(before.pid);
        expect(after.servers[0]).to.include({ weight: 42, up: true });
        expect(await world.apply({})).to.deep.equal({ how: 'none', steps: [] });
        expect(world.log).to.include('was started again');
      });
    }

    it('leaves no process of before: two would share the port', async () => {
      const [, former] = /^Pid: (\d+)/m.exec(await world.balancer.show('info')) ?? [];
      await outage((await world.balancer.status()).pid as number);
      const all = new Set<string>();
      for (let i = 0; i < 20; i++) {
        const { body } = await world.call();
        all.add(body);
      }
      expect([...all]).to.deep.equal(['one']);
      // A zombie, whose parent does not ask, may stay; its memory does not.
      expect(readFileSync(`/proc/${await world.watch()}/cmdline`, 'utf8')).to.include(world.folder);
      expect(commandOf(Number(former))).to.equal('');
    });

    it('that was killed while we were away is started when we come', async () => {
      const pid = (await world.watch()) as number;
      await world.end();
      process.kill(pid, 'SIGKILL');
      await world.begin();
      await world.settled();
      expect((await world.balancer.status()).pid)
        .to.be.a('number')
        .and.not.equal(pid);
      expect((await world.call()).status).to.equal(200);
    });

    it('that stands still is ended and started anew when we come: it cannot be told anything', async () => {
      const pid = (await world.watch()) as number;
      const [, worker] = /^Pid: (\d+)/m.exec(await world.balancer.show('info')) ?? [];
      await world.end();
      process.kill(pid, 'SIGSTOP');
      await world.begin();
      await world.settled();
      expect((await world.balancer.status()).pid).to.not.equal(pid);
      expect([commandOf(pid), commandOf(Number(worker))]).to.deep.equal(['', '']);
      expect((await world.call()).status).to.equal(200);
    });

    it('whose file was broken by hand is started with the last that worked', async () => {
      const pid = (await world.watch()) as number;
      await world.end();
      process.kill(pid, 'SIGKILL');
      writeFileSync(path.join(world.folder, 'haproxy.cfg'), 'nonsense\n');
      await world.begin();
      await world.settled();
      expect((await world.call()).status).to.equal(200);
      expect(world.log).to.include('the last that worked');
      expect(readFileSync(path.join(world.folder, 'haproxy.cfg'), 'utf8')).to.include('backend servers');
    });

    it('that cannot start is tried again, and we can still be told what is better', async () => {
      const pid = (await world.watch()) as number;
      for (const name of ['haproxy.cfg', 'haproxy.good.cfg'])
        writeFileSync(path.join(world.folder, name), 'nonsense\n');
      process.kill(pid, 'SIGKILL');
      await until('it was tried', () => world.log.includes('could not be started again'));
      expect(await world.apply({}, [{ ...one, weight: 50 }])).to.include({ how: 'start' });
      await world.settled();
      expect((await world.call()).status).to.equal(200);
    });

    it('ends with us where that is wanted', async () => {
      const other = await Balanced.open({ stopWithUs: true });
      try {
        await other.apply({});
        const pid = (await other.watch()) as number;
        await other.end();
        expect(commandOf(pid)).to.equal('');
        // It was not halted: the next of us starts it.
        await other.begin();
        expect(await other.balancer.status()).to.include({ running: true, halted: false });
      } finally {
        await other.close();
      }
    });

    it('keeps its files to itself', () => {
      expect(statSync(world.folder).mode & 0o777).to.equal(0o700);
      for (const name of ['haproxy.cfg', 'haproxy.good.cfg', 'kept.json', 'haproxy.log', 'admin.sock', 'master.sock']) {
        expect(statSync(path.join(world.folder, name)).mode & 0o777, name).to.equal(0o600);
      }
    });

    it("tells its log to ours, and what a call's end was", async () => {
      await world.apply({}, [{ ...one, state: 'offline' }]);
      const { status } = await world.call({ path: '/lost?secret=1', headers: { 'x-correlation-id': 'the-lost-one' } });
      expect(status).to.equal(503);
      await until('it is told', () => world.log.includes('the-lost-one'));
      expect(world.log).to.match(/servers\/<NOSRV> [^"]* 503 [^"]* the-lost-one GET \\+"\/lost\\+"/);
      expect(world.log).to.not.include('secret=1');
    });
  });

  describe('what it may be given', () => {
    let world: Balanced;
    before(async () => {
      world = await Balanced.open();
    });
    after(() => world.close());
    const with_ = (settings: Partial<BalancerSettings>, servers: readonly BalancedServer[] = []): BalancerState => ({
      settings: { ...world.settings, ...settings },
      servers,
    });
    const server: BalancedServer = { name: 'a', host: '127.0.0.1', port: 9, weight: 1, state: 'online' };
    const nasty = [
      'x\n    nonsense',
      "'; show info",
      '"',
      'a;b',
      'a b',
      '#',
      '\\',
      '\u0000',
      '${HOME}',
      '{{servers}}',
      "'x",
    ];

    it('no text of a server leaves its place', async () => {
      for (const text of nasty) {
        const byName = await world.balancer.source(with_({}, [{ ...server, name: text }]));
        expect(
          byName.split('\n').filter((line) => /^\s*nonsense/.test(line)),
          text,
        ).to.deep.equal([]);
        expect(await world.balancer.check(with_({}, [{ ...server, name: text }])), text).to.deep.equal([]);
        const [problem] = await world.balancer.check(with_({}, [{ ...server, host: text }]));
        expect(problem, text).to.include({ path: '/servers/0/host' });
      }
      for (const [key, value] of [
        ['weight', '1 backup'],
        ['port', '9\nx'],
      ]) {
        const [problem] = await world.balancer.check(
          with_({}, [{ ...server, [key as string]: value } as BalancedServer]),
        );
        expect(problem?.path).to.equal(`/servers/0/${key}`);
      }
      const [problem] = await world.balancer.check(with_({}, [server, server]));
      expect(problem).to.include({ path: '/servers/1/name' });
    });

    it('no text of a setting does', async () => {
      const [bind] = world.settings.binds;
      const stats = { host: '127.0.0.1', port: await freePort(), user: 'admin', password: 'long enough' };
      const tcp = { name: 'a', host: '127.0.0.1', port: 1, serverPort: 1 };
      for (const text of nasty) {
        const places: Record<string, Partial<BalancerSettings>> = {
          '/settings/cookie': { cookie: text },
          '/settings/binds/0/host': { binds: [{ ...bind, host: text } as never] },
          '/settings/log/to': { log: { to: text, level: 'info' } },
          '/settings/log/level': { log: { to: 'stdout', level: text as never } },
          '/settings/algorithm': { algorithm: text as never },
          '/settings/tcp/0/name': { tcp: [{ ...tcp, name: text }] },
          '/settings/timeouts/serverMs': { timeouts: { ...world.settings.timeouts, serverMs: text as never } },
          '/settings/check/fall': { check: { ...world.settings.check, fall: text as never } },
          '/settings/stats/host': { stats: { ...stats, host: text } },
        };
        for (const [at, settings] of Object.entries(places)) {
          const problems = await world.balancer.check(with_(settings));
          expect(
            problems.map((p) => p.path),
            `${at} ${text}`,
          ).to.include(at);
        }
        // What may be anything stands in quotes: it is taken as it is, or refused where no line can hold it.
        for (const settings of [
          { stats: { ...stats, password: text } },
          { stats: { ...stats, user: text } },
          { check: { ...world.settings.check, path: `/${text}` } },
        ]) {
          const problems = await world.balancer.check(with_(settings));
          // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
          expect(problems.length, JSON.stringify(settings)).to.equal(/[\u0000-\u001f]/.test(text) ? 1 : 0);
        }
      }
    });

    it('tells where a template is wrong, by its own lines', async () => {
      const template = ['global', '    {{control}}', 'backend a', '    {{servers}}', '    nonsense', ''].join('\n');
      const state = with_({ template }, [server, { ...server, name: 'b' }]);
      const [problem] = await world.balancer.check(state);
      expect(problem).to.deep.equal({
        path: '/settings/template',
        message: "line 5: unknown keyword 'nonsense' in 'backend' section",
        got: 'nonsense',
      });
      const lacking = await world.balancer.check(
        with_({ template: 'global\n    {{contol}}\nfrontend x\n    {{servers}}\n' }),
      );
      expect(lacking.map(({ message }) => message)).to.deep.equal([
        'line 2 has {{contol}}, which stands for nothing',
        'has no line {{control}} in its global section',
        "has {{servers}} in 'frontend x', which is no backend",
      ]);
      expect(lacking[0]?.hint).to.equal("Did you mean 'control'?");
    });

    it('is told that a port is taken before callers notice', async () => {
      const other = createServer().listen(0, '127.0.0.1');
      await until('it listens', () => other.listening);
      const { port } = other.address() as { port: number };
      const binds = [...world.settings.binds, { host: '127.0.0.1', port }];
      const [problem] = await world.balancer.check(with_({ binds }));
      expect(problem).to.include({ path: '/settings/binds/1', got: `127.0.0.1:${port}` });
      await new Promise((resolve) => other.close(resolve));
      expect(await world.balancer.check(with_({ binds }))).to.deep.equal([]);
    });

    it('says what to install where there is no program', async () => {
      const kernel = new Process({ logs: new Logs({ level: 'silent' }), data: world.data });
      const loaded = {
        id: plugin.id,
        plugin: plugin as unknown as Plugin,
        config: { program: 'no-such-haproxy', folder: 'x' },
      };
      const error = (await kernel
        .create([loaded])
        .start()
        .catch((thrown: unknown) => thrown)) as GantryError;
      const told = JSON.stringify([error.message, error.hint]);
      for (const word of [
        'no-such-haproxy',
        'apt-get install haproxy',
        'dnf install haproxy',
        'brew install haproxy',
      ]) {
        expect(told).to.include(word);
      }
    });

    it("needs systemd where systemd's unit is to be managed, and says so", async () => {
      const kernel = new Process({ logs: new Logs({ level: 'silent' }), data: world.data });
      const config = {
        managed: 'systemd',
        unit: 'gantry-no-such-unit.service',
        file: path.join(world.data, 'unit.cfg'),
        folder: 'unit',
      };
      const settings = balancerSettings(world.port);
      const error = (await kernel
        .create([{ id: plugin.id, plugin: plugin as unknown as Plugin, config }])
        .start()
        .then(() => kernel.cradle.balancer.apply({ settings, servers: [] }))
        .catch((thrown: unknown) => thrown)) as GantryError;
      await kernel.stop();
      expect(JSON.stringify([error.message, error.hint])).to.match(/systemctl|systemd/);
    });
  });

  describe('its configuration', () => {
    let world: Balanced;
    let members: BalancedServer[];
    before(async () => {
      world = await Balanced.open();
      members = await pair(world);
      await world.serve(...members);
    });
    after(() => world.close());

    it('takes 200 servers, and 50 more while it runs', async () => {
      const [one] = members as [BalancedServer];
      const many = (count: number) => Array.from({ length: count }, (_, i) => ({ ...one, name: `n ${i}` }));
      expect(await world.balancer.check({ settings: world.settings, servers: many(200) })).to.deep.equal([]);
      const began = performance.now();
      expect(await world.apply({}, [...members, ...many(50)])).to.include({ how: 'runtime' });
      console.log(`      50 added in ${Math.round(performance.now() - began)} ms`);
      await world.settled();
      expect((await world.balancer.status()).servers).to.have.lengthOf(52);
      expect(await world.apply({}, [...members, ...many(200)])).to.include({ how: 'runtime' });
      await world.balancer.reload();
      expect(await world.apply({})).to.deep.equal({ how: 'none', steps: [] });
      expect(await world.apply({}, members)).to.include({ how: 'runtime' });
      await until('they are gone', async () => !(await world.balancer.show('stat')).includes('n-49'));
    });

    it('a server that is to go ends what it has in hand', async () => {
      let finish = () => {};
      const { as: slow } = await world.member('slow', (_, res) => {
        finish = () => res.end('slow');
      });
      await world.serve(slow);
      const inHand = world.call();
      await until('it has it', async () => (await world.balancer.status()).servers[0]?.sessions === 1);
      await world.serve(...members);
      expect((await world.call()).body).to.not.equal('slow');
      expect(await world.balancer.show('stat')).to.include('servers,slow,');
      // It tries to remove it once more.
      await world.apply({});
      finish();
      expect(await inHand).to.include({ status: 200, body: 'slow' });
      await until('it is gone', async () => !(await world.balancer.show('stat')).includes('servers,slow,'));
    });

    it('with a new address it is another server, and a name is resolved', async () => {
      const [one, other] = members as [BalancedServer, BalancedServer];
      await world.serve(one);
      expect(await world.serve({ ...other, name: one.name })).to.include({ how: 'reload' });
      expect((await world.call()).body).to.equal('other');
      expect(await world.serve({ ...one, host: 'localhost' })).to.include({ how: 'reload' });
      expect((await world.call()).body).to.equal('one');
      expect(await world.apply({})).to.deep.equal({ how: 'none', steps: [] });
    });

    it('has no more connections than files may be open, and says so', async () => {
      const { steps } = await world.apply({ maxConnections: 1_000_000 });
      expect(steps.join()).to.match(/takes \d+ connections at most, not 1000000: raise/);
    });
  });

  describe('a template', () => {
    let world: Balanced;
    let members: BalancedServer[];
    before(async () => {
      world = await Balanced.open();
      members = await pair(world);
      await world.serve(...members);
    });
    after(() => world.close());

    it('a template of its own may be anything that HAProxy takes, and servers still come and go', async () => {
      const template = [
        'global',
        '    {{control}}',
        'defaults',
        '    mode http',
        '    timeout connect 1s',
        '    timeout client 5s',
        '    timeout server 5s',
        'frontend mine',
        `    bind 127.0.0.1:${world.port}`,
        '    http-response set-header X-Mine yes',
        '    default_backend theirs',
        'backend theirs',
        '    option httpchk GET /gantry/ping',
        '    {{servers}}',
      ].join('\n');
      const [one, other] = members as [BalancedServer, BalancedServer];
      expect(await world.apply({ template }, [one])).to.include({ how: 'reload' });
      expect((await world.call()).headers).to.include({ 'x-mine': 'yes' });
      expect(await world.apply({}, [one, other])).to.include({ how: 'runtime' });
      await world.settled();
      const bodies = new Set<string>();
      for (let i = 0; i < 6; i++) bodies.add((await world.call()).body);
      expect([...bodies].sort()).to.deep.equal(['one', 'other']);

      // HAProxy finds out only when it takes the port: then all is as before.
      const blocker = createServer().listen(0, '127.0.0.1');
      await until('it listens', () => blocker.listening);
      const { port } = blocker.address() as { port: number };
      const bad = {
        ...world.settings,
        template: template.replace('frontend mine', `frontend mine\n    bind 127.0.0.1:${port}`),
      };
      const before = await world.balancer.source();
      const error = (await world.balancer
        .apply({ settings: bad, servers: [one, other] })
        .catch((thrown: unknown) => thrown)) as GantryError;
      expect(error).to.include({ code: 'BALANCER_REFUSED' });
      expect(JSON.stringify(error.problems)).to.include('Address already in use');
      expect(await world.balancer.source()).to.equal(before);
      await new Promise((resolve) => blocker.close(resolve));
      expect((await world.call()).status).to.equal(200);
      expect(await world.apply({}, [one, other])).to.deep.equal({ how: 'none', steps: [] });
      const { template: _, ...settings } = world.settings;
      expect(await world.balancer.apply({ settings, servers: members })).to.include({ how: 'reload' });
    });

    it('what was made of it is a template again, without the password', async () => {
      const stats = { host: '127.0.0.1', port: await freePort(), user: 'admin', password: 'the-p4ssword' };
      const { template: _, ...settings } = { ...world.settings, stats };
      const servers = members.slice(0, 1);
      const source = await world.balancer.source({ settings, servers });
      expect(source).to.not.include('the-p4ssword');
      const again = {
        settings: { ...settings, template: source.replace('X-Real-IP', 'X-Very-Real-IP') },
        servers: members,
      };
      const edited = await world.balancer.source(again);
      expect(edited).to.include('X-Very-Real-IP').and.include('server other ');
      expect(edited.replace(/^ *server other .*\n/m, '')).to.equal(source.replace('X-Real-IP', 'X-Very-Real-IP'));
      expect(await world.balancer.check(again)).to.deep.equal([]);
      await world.balancer.apply(again);
      const answer = await fetch(`http://127.0.0.1:${stats.port}/metrics`, {
        headers: { authorization: `Basic ${btoa('admin:the-p4ssword')}` },
      });
      await answer.body?.cancel();
      expect(answer.status).to.equal(200);
      expect(world.log).to.not.include('the-p4ssword');
      expect(await world.balancer.source()).to.not.include('the-p4ssword');
    });
  });

  it('works where the data folder has a long path', async () => {
    const world = await Balanced.open({}, path.join('a'.repeat(60), 'b'.repeat(60)));
    let near = '';
    try {
      const { as } = await world.member('one', (_, res) => res.end('one'));
      await world.serve(as);
      expect((await world.call()).body).to.equal('one');
      const [, socket = ''] = /stats socket (\S+)/.exec(await world.balancer.source()) ?? [];
      expect(socket.length).to.be.below(98);
      near = path.dirname(socket);
      expect(statSync(near).mode & 0o777).to.equal(0o700);
      expect(await ask(socket, 'show info')).to.include('HAProxy');
      await world.end();
      await world.begin();
      expect(await world.apply({})).to.deep.equal({ how: 'none', steps: [] });
    } finally {
      await world.close();
      if (near !== '') rmSync(near, { recursive: true });
    }
  });
});

async function pair(world: Balanced): Promise<BalancedServer[]> {
  const members = ['one', 'other'].map((name) => world.member(name, (_, res) => setTimeout(() => res.end(name), 2)));
  return (await Promise.all(members)).map(({ as }) => as);
}

/** '' of one that has ended, also where nobody has asked for it yet. */
function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}
