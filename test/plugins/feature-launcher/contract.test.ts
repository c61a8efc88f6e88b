import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { expect } from 'chai';
import { type GantryError, Secret } from '../../../core/api.ts';
import { quiet } from '../../../core/log/log.ts';
import { Child, type Program, tailOf } from '../../../plugins/feature-launcher/child.ts';
import { claim, markOf } from '../../../plugins/feature-launcher/claim.ts';
import type { Config } from '../../../plugins/feature-launcher/config.ts';
import { databaseOf } from '../../../plugins/feature-launcher/database.ts';
import { passwordsIn } from '../../../plugins/feature-launcher/passwords.ts';
import { refuseDoubles } from '../../../plugins/feature-launcher/plan.ts';
import { refuseTaken } from '../../../plugins/feature-launcher/ports.ts';
import { PROGRAMS, programsOf } from '../../../plugins/feature-launcher/programs.ts';
import { Warden } from '../../../plugins/feature-launcher/warden.ts';
import { freePort } from '../../e2e/process.ts';
import { journal } from '../../fixtures/direct.ts';

const ID = 'feature.launcher';

async function until(holds: () => boolean, what: string): Promise<void> {
  const end = performance.now() + 20_000;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`not in 20 s: ${what}`);
    await wait(10);
  }
}
function refused(work: () => unknown): GantryError {
  try {
    work();
  } catch (error) {
    return error as GantryError;
  }
  throw new Error('it was not refused');
}
async function rejected(work: Promise<unknown>): Promise<GantryError> {
  return work.then(
    () => {
      throw new Error('it was not refused');
    },
    (error: GantryError) => error,
  );
}
const isAlive = (pid: number) => markOf(pid) !== null;
/** The kernel ends who was killed at some moment after that: what is waited for is that it has. */
const ended = (...pids: readonly number[]) => until(() => !pids.some(isAlive), `${pids} have ended`);

describe('feature.launcher', () => {
  let folder = '';
  const started: ChildProcess[] = [];
  /** A shell that says `up` in a file when it is ready for signals, and what it was told later. */
  async function shell(script: string, name = 'shell'): Promise<number> {
    const file = path.join(folder, name);
    const child = spawn('/bin/sh', ['-c', script, 'sh', file], { detached: true, stdio: 'ignore' });
    started.push(child);
    await until(() => existsSync(file), `${name} is up`);
    return child.pid as number;
  }
  const orderly = 'trap \'echo ended >> "$1"; exit 0\' TERM; echo up > "$1"; while :; do sleep 0.05; done';
  const deaf = 'trap "" TERM; echo up > "$1"; while :; do sleep 0.05; done';

  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'gantry-launcher-'));
  });
  afterEach(async () => {
    for (const child of started.splice(0)) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    rmSync(folder, { recursive: true, force: true });
  });

  describe('the database of a URL', () => {
    const of = (url: string) => databaseOf(new Secret(url), '/data', ID);

    it('is SQLite in the folder where there is none', () => {
      expect(of('')).to.deep.equal({
        suffix: '',
        env: { GANTRY_SQLITE_FILE: '/data/gantry.sqlite' },
        where: 'SQLite, /data/gantry.sqlite',
      });
    });

    it('is told to the processes in parts', () => {
      expect(of('postgres://us%40er:p%3Aw@db1:5433/gan%20try')).to.deep.equal({
        suffix: '-postgres',
        env: {
          GANTRY_DATABASE_HOST: 'db1',
          GANTRY_DATABASE_PORT: '5433',
          GANTRY_DATABASE_NAME: 'gan try',
          GANTRY_DATABASE_USER: 'us@er',
          GANTRY_DATABASE_PASSWORD: 'p:w',
        },
        where: 'postgres://db1:5433/gan%20try',
      });
      expect(of('postgresql://u:p@[::1]/g').env).to.include({ GANTRY_DATABASE_HOST: '::1' });
      expect(of('postgresql://u:p@[::1]/g').env).not.to.have.property('GANTRY_DATABASE_PORT');
      expect(of('mysql://u:p@db/g').suffix).to.equal('-mysql');
      expect(of('mariadb://u:p@db/g').suffix).to.equal('-mysql');
    });

    const WRONG: readonly [string, RegExp][] = [
      ['not a url', /is not a URL/],
      ['postgre://u:hidden@db/g', /begins with postgre:.*postgres/],
      ['oracle://u:hidden@db/g', /begins with oracle:/],
      ['postgres://u:hidden@db', /has no database/],
      ['postgres://db/g', /has no user, no password/],
      ['postgres://u:hidden@db/g?sslmode=require', /settings after a question mark/],
      ['postgres://u:hidden%zz@db/g', /percent sign/],
    ];
    for (const [url, why] of WRONG) {
      it(`is refused, and not shown: ${url}`, () => {
        const { code, problems = [] } = refused(() => of(url));
        expect(code).to.equal('CONFIG_INVALID');
        expect(problems[0]?.message).to.match(why);
        expect(problems[0]?.path).to.equal('plugins.feature.launcher.databaseUrl');
        expect(JSON.stringify(problems)).not.to.include('hidden');
      });
    }
  });

  describe('the passwords', () => {
    it('are made once, for us alone, and each is another', () => {
      const file = path.join(folder, 'passwords.json');
      const made = passwordsIn(file);
      expect(statSync(file).mode & 0o777).to.equal(0o600);
      expect(passwordsIn(file)).to.deep.equal(made);
      expect(new Set(Object.values(made)).size).to.equal(5);
      for (const one of Object.values(made)) expect(one).to.match(/^[\w-]{20,}$/);
      expect(made.secretKey).to.match(/^[0-9a-f]{64}$/);
    });

    it('are not made anew where the file is broken: secrets are sealed with its key', () => {
      const file = path.join(folder, 'passwords.json');
      for (const text of ['', 'no json', 'null', '{"secretKey":"x"}']) {
        writeFileSync(file, text);
        expect(refused(() => passwordsIn(file)).code).to.equal('CONFIG_UNREADABLE');
        expect(readFileSync(file, 'utf8')).to.equal(text);
      }
    });
  });

  describe('ports', () => {
    it('that others have are told all at once, with the key that says another', async () => {
      const [one, two, free] = [await freePort(), await freePort(), await freePort()];
      const servers = [one, two].map((port) => createServer().listen(port, '127.0.0.1'));
      await Promise.all(servers.map((server) => once(server, 'listening')));
      try {
        const wanted = [
          { port: one, of: 'the balancer', key: 'balancerPort' },
          { port: free, of: 'the agent', key: 'agentPort' },
          { port: two, of: 'Redis', key: 'redisPort' },
        ];
        const { code, problems = [] } = await rejected(refuseTaken(wanted, ID));
        expect(code).to.equal('ADDRESS_IN_USE');
        expect(problems.map(({ path: key, message }) => `${key}: ${message}`)).to.deep.equal([
          `plugins.${ID}.balancerPort: port ${one} of the balancer is taken by another program`,
          `plugins.${ID}.redisPort: port ${two} of Redis is taken by another program`,
        ]);
      } finally {
        for (const server of servers) server.close();
      }
      await refuseTaken([{ port: one, of: 'the balancer', key: 'balancerPort' }], ID);
    });
  });

  describe('names and ports', () => {
    const of = (more: object) => {
      const ports = {
        balancerPort: 1001,
        statsPort: 1002,
        agentPort: 1003,
        redisPort: 1004,
        firstPort: 2001,
        count: 2,
      };
      return { ...ports, ...more } as unknown as Config;
    };
    const refusal = (more: object) => {
      const { code, problems = [] } = refused(() => refuseDoubles(of(more), ID));
      expect(code).to.equal('CONFIG_INVALID');
      for (const { hint } of problems) expect(hint).not.to.include('End what listens');
      return problems.map(({ path: key, message }) => `${key}: ${message}`);
    };

    it('that differ are taken', () => {
      refuseDoubles(of({}), ID);
      const servers = [
        { name: 'a', port: 1 },
        { name: 'b', port: 2 },
      ];
      refuseDoubles(of({ servers }), ID);
    });

    it('of servers are refused where two would be one, before anything is started', () => {
      const servers = ['a', 'b', 'a', 'redis', 'agent', 'logs'].map((name, i) => ({ name, port: 3000 + i }));
      expect(refusal({ servers })).to.deep.equal([
        `plugins.${ID}.servers.2.name: is taken by servers.0`,
        ...[3, 4, 5].map((i) => `plugins.${ID}.servers.${i}.name: is the name of something else in the same folder`),
      ]);
    });

    it('that are given twice are told with whom', () => {
      expect(refusal({ redisPort: 1002, firstPort: 1003, count: 1 })).to.deep.equal([
        `plugins.${ID}.redisPort: port 1002 of Redis is given twice: it is that of the balancer's figures, too`,
        `plugins.${ID}.firstPort: port 1003 of server1 is given twice: it is that of the agent, too`,
      ]);
    });

    it('that no port can have are told', () => {
      expect(refusal({ firstPort: 65_535 })).to.deep.equal([
        `plugins.${ID}.firstPort: port 65536 of server2 is none: the highest is 65535`,
      ]);
    });
  });

  describe('programs', () => {
    const before = process.env['PATH'];
    afterEach(() => {
      process.env['PATH'] = before;
    });
    const options = { searchIn: [], install: false, log: quiet, signal: new AbortController().signal };
    const both = [PROGRAMS.haproxy, PROGRAMS.redis];

    it('are found on the PATH, and in the folders beside it', async () => {
      symlinkSync('/bin/sh', path.join(folder, 'haproxy'));
      process.env['PATH'] = folder;
      expect(await programsOf([PROGRAMS.haproxy], options)).to.deep.equal([path.join(folder, 'haproxy')]);
      process.env['PATH'] = '/nowhere';
      const found = await programsOf([PROGRAMS.haproxy], { ...options, searchIn: [folder] });
      expect(found).to.deep.equal([path.join(folder, 'haproxy')]);
    });

    it('that are missing are told with how they are installed', async () => {
      process.env['PATH'] = folder;
      const { code, message, hint } = await rejected(programsOf(both, options));
      expect(code).to.equal('PLUGIN_START_FAILED');
      expect(message).to.equal('haproxy and redis-server: not found');
      expect(hint).to.include('sudo apt-get install haproxy redis-server');
      expect(hint).to.include('sudo dnf install haproxy redis').and.include('brew install haproxy redis');
      expect(hint).to.include('npm run cluster -- --install');
    });

    it('are not installed where there is no apt-get', async () => {
      process.env['PATH'] = folder;
      const { hint } = await rejected(programsOf(both, { ...options, install: true }));
      expect(hint).to.match(/^--install cannot do it here: there is no apt-get/);
    });
  });

  describe('the claim of a folder', () => {
    const { signal } = new AbortController();

    it('is one process alone, until it gives it back', async () => {
      const file = path.join(folder, 'claim');
      const one = await claim(file, folder, signal);
      const { code, message } = await rejected(claim(file, folder, signal));
      expect(code).to.equal('ADDRESS_IN_USE');
      expect(message).to.include(`process ${process.pid} works in ${folder}`);
      one.release();
      (await claim(file, folder, signal)).release();
      expect(existsSync(file)).to.equal(false);
    });

    it('of one that is gone counts no more, though its number is taken again', async () => {
      const file = path.join(folder, 'claim');
      const texts = ['', 'broken', JSON.stringify({ pids: [process.pid], marks: ['another time'] })];
      for (const text of texts) {
        writeFileSync(file, text);
        (await claim(file, folder, signal)).release();
      }
    });

    it('of one that was killed is waited for while its processes are ended', async () => {
      const file = path.join(folder, 'claim');
      const ending = await shell(orderly, 'ending');
      writeFileSync(file, JSON.stringify({ pids: [1, ending], marks: ['gone', markOf(ending)] }));
      let has = false;
      const waiting = claim(file, folder, signal).then((made) => {
        has = true;
        return made;
      });
      await wait(300);
      expect(has).to.equal(false);
      process.kill(ending, 'SIGTERM');
      (await waiting).release();
    });
  });

  describe('the warden', () => {
    const options = (file = 'nothing') => [path.join(folder, file), quiet, () => {}] as const;

    it('ends servers, then agents, then stores', async () => {
      const warden = new Warden(...options());
      const slow = 'trap \'sleep 0.3; date +%s%N >> "$1"; exit 0\' TERM; echo up > "$1"; while :; do sleep 0.05; done';
      const store = await shell(slow, 'store');
      const agent = await shell(slow, 'agent');
      const server = await shell(slow, 'server');
      warden.watch([
        { stage: 'store', pid: store },
        { stage: 'server', pid: server },
        { stage: 'agent', pid: agent },
      ]);
      await warden.close();
      const at = (name: string) => BigInt(readFileSync(path.join(folder, name), 'utf8').split('\n')[1] ?? '0');
      await ended(store, agent, server);
      expect(at('server') < at('agent') && at('agent') < at('store')).to.equal(true);
      expect(at('server') > 0n).to.equal(true);
    });

    it('kills who does not listen, and who was frozen', async function () {
      this.timeout(60_000);
      const warden = new Warden(...options());
      const stubborn = await shell(deaf, 'deaf');
      const frozen = await shell(orderly, 'frozen');
      process.kill(frozen, 'SIGSTOP');
      warden.watch([
        { stage: 'store', pid: stubborn },
        { stage: 'agent', pid: frozen },
      ]);
      await warden.close();
      await ended(stubborn, frozen);
      expect(readFileSync(path.join(folder, 'frozen'), 'utf8')).to.include('ended');
    });

    it("ends a balancer that outlived its agent, by its file, and nobody else's", async () => {
      const own = path.join(folder, 'haproxy.cfg');
      const script = 'echo up > "$3"; while :; do sleep 0.05; done';
      const like = async (file: string) => {
        const up = `${file}.up`;
        const args = ['-c', script, 'haproxy', '-f', file, up];
        const child = spawn('/bin/sh', args, { detached: true, stdio: 'ignore' });
        started.push(child);
        await until(() => existsSync(up), 'it is up');
        return child.pid as number;
      };
      const [ours, theirs] = [await like(own), await like(`${own}.other`)];
      const warden = new Warden(own, quiet, () => {});
      await warden.close();
      await ended(ours);
      expect(isAlive(theirs)).to.equal(true);
    });

    it('does so, too, where the launcher is killed', async () => {
      const server = await shell(orderly, 'server');
      const module = path.resolve(import.meta.dirname, '../../../plugins/feature-launcher/warden.ts');
      const script = `
        const { Warden } = await import(${JSON.stringify(module)});
        const warden = new Warden(${JSON.stringify(path.join(folder, 'none'))}, console, () => {});
        warden.watch([{ stage: 'server', pid: ${server} }]);
        console.log('watching');
        setInterval(() => {}, 1000);
      `;
      const launcher = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
        stdio: ['ignore', 'pipe', 'inherit'],
        cwd: path.resolve(import.meta.dirname, '../../..'),
      });
      started.push(launcher);
      await once(launcher.stdout as NodeJS.ReadableStream, 'data');
      expect(isAlive(server)).to.equal(true);
      launcher.kill('SIGKILL');
      await until(() => !isAlive(server), 'the server has ended');
      expect(readFileSync(path.join(folder, 'server'), 'utf8')).to.include('ended');
    });

    it('is there again where it was ended itself', async () => {
      const pids: number[] = [];
      const { logs, lines } = journal();
      const warden = new Warden(path.join(folder, 'none'), logs.root, (pid) => pids.push(pid));
      const server = await shell(orderly, 'server');
      warden.watch([{ stage: 'server', pid: server }]);
      process.kill(pids[0] as number, 'SIGKILL');
      await until(() => pids.length === 2, 'another one is started');
      await warden.close();
      await ended(server);
      expect(lines.filter(({ level }) => level === 'warn')).to.have.length(1);
    });
  });

  describe('a process', () => {
    const program = (script: string): Program => ({
      ...{ name: 'one', stage: 'server', command: '/bin/sh', args: ['-c', script], env: {} },
      logFile: path.join(folder, 'logs/one.log'),
    });
    const said = () => readFileSync(path.join(folder, 'logs/one.log'), 'utf8');
    const running: Child[] = [];
    afterEach(() => {
      for (const child of running.splice(0)) {
        child.close();
        if (child.pid !== null) process.kill(child.pid, 'SIGKILL');
      }
    });
    function launch(script: string, settled = true, log = quiet): Child {
      const child = new Child(program(script), log, () => {});
      running.push(child);
      if (settled) child.settle();
      child.start();
      return child;
    }

    it('is started again when it ends, later and later', async () => {
      const { logs, lines } = journal();
      launch('echo here; exit 3', true, logs.root);
      await until(() => lines.length >= 4, 'it ended four times');
      const again = lines.map((line) => (line as unknown as { againMs: number }).againMs);
      expect(again[0]).to.equal(0);
      expect(again.slice(1, 4).every((ms, i) => ms >= 125 * 2 ** (i + 1) && ms <= 250 * 2 ** (i + 1))).to.equal(true);
      expect(lines[0]).to.include({ child: 'one', how: 'ended with 3' });
      expect(said()).to.match(/^(here\n){4,}$/);
    });

    it('is started again at once, and without a warning, where it asked for it', async () => {
      const { logs, lines } = journal();
      launch(`echo $$; exit 75`, true, logs.root);
      await until(() => lines.length >= 20, 'it was started twenty times');
      expect(lines.every(({ level }) => level === 'info')).to.equal(true);
    });

    it('tells how it ended before it was well, and is not started again', async () => {
      const child = launch('echo broken; exit 1', false);
      expect(await child.lost).to.equal('ended with 1');
      expect(child.pid).to.equal(null);
      const none = new Child({ ...program(''), command: path.join(folder, 'none') }, quiet, () => {});
      none.start();
      expect(await none.lost).to.include('ENOENT');
    });

    it('is not started again once it is closed', async () => {
      const child = launch('sleep 60');
      const { pid } = child;
      child.close();
      process.kill(pid as number, 'SIGKILL');
      await until(() => child.pid === null, 'it ended');
    });

    it('has a log for us alone, of which a long one goes aside', async () => {
      const child = launch('echo first; sleep 60');
      await until(() => said() === 'first\n', 'it speaks');
      const { logFile } = child.program;
      expect(statSync(logFile).mode & 0o777).to.equal(0o600);
      writeFileSync(logFile, Buffer.alloc(17_000_000, 'x'));
      process.kill(child.pid as number, 'SIGKILL');
      await until(() => existsSync(`${logFile}.1`) && said() === 'first\n', 'the long one is aside');
    });

    it('is told of by the end of its log', async () => {
      const file = path.join(folder, 'log');
      expect(await tailOf(file, 0)).to.equal('');
      writeFileSync(file, Array.from({ length: 1000 }, (_, i) => `line ${i}\n`).join(''));
      const lines = (await tailOf(file, 0)).split('\n');
      expect([lines.length, lines[0], lines[19]]).to.deep.equal([20, 'line 980', 'line 999']);
      const from = statSync(file).size - 'line 998\nline 999\n'.length;
      expect(await tailOf(file, from)).to.equal('line 998\nline 999');
      expect(await tailOf(file, statSync(file).size)).to.equal('');
    });

    it('shows no line of an earlier start, and all of one that asked to be started again', async () => {
      const earlier = launch('echo earlier; exit 1', false);
      await earlier.lost;
      expect(await earlier.said()).to.equal('earlier');
      const again = path.join(folder, 'again');
      const child = launch(`[ -e ${again} ] && { echo second; exit 1; }; echo first; touch ${again}; exit 75`, false);
      await child.lost;
      expect(await child.said()).to.equal('first\nsecond');
      const silent = launch('exit 1', false);
      await silent.lost;
      expect(await silent.said()).to.equal('');
    });

    it('shows a log that is new from its beginning', async () => {
      mkdirSync(path.join(folder, 'logs'));
      writeFileSync(path.join(folder, 'logs/one.log'), Buffer.alloc(17_000_000, 'x'));
      const child = launch('echo broken; exit 1', false);
      await child.lost;
      expect(await child.said()).to.equal('broken');
    });
  });
});
