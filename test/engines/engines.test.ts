import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { programsOf } from './engine.ts';
import { needs, ownMariadb, ownPostgres } from './index.ts';

describe('engines', function () {
  this.timeout(60_000);

  for (const [name, kind] of [['PostgreSQL', ownPostgres] as const, ['MariaDB', ownMariadb] as const]) {
    describe(name, () => {
      const engine = needs(kind);

      it('is started once, however often it is asked for', async () => {
        expect(await kind()).to.equal(engine());
        expect(await kind()).to.equal(engine());
      });

      it('listens on this machine alone, and not as root', () => {
        expect(engine().host).to.equal('127.0.0.1');
        const status = readFileSync(`/proc/${engine().pid}/status`, 'utf8');
        const [, uid] = /^Uid:\s+(\d+)/m.exec(status) ?? [];
        expect(Number(uid)).to.be.above(0);
      });

      it('gives a fresh database each time', async () => {
        expect(await engine().database()).to.not.equal(await engine().database());
      });

      it('has the same port and data after a stop, and after a crash', async () => {
        const { port } = engine();
        await engine().admin(...made(name, 'kept'));
        for (const end of ['stop', 'kill'] as const) {
          const before = engine().pid;
          await engine()[end]();
          expect(engine().pid, end).to.equal(null);
          await engine().start();
          expect(engine().pid, end).to.be.a('number').and.not.equal(before);
          expect(engine().port).to.equal(port);
          expect(await engine().admin(`SELECT id FROM ${table(name, 'kept')}`), end).to.deep.equal([{ id: 1 }]);
        }
      });

      it('answers nobody while it is frozen, and all of them after that', async () => {
        engine().freeze();
        let answered = false;
        const asked = engine()
          .admin('SELECT 1 AS x')
          .then((rows) => {
            answered = true;
            return rows;
          });
        // Time enough for hundreds of answers.
        await new Promise((resolve) => setTimeout(resolve, 200));
        expect(answered).to.equal(false);
        engine().thaw();
        expect(await asked).to.deep.equal([{ x: 1 }]);
      });
    });
  }

  describe('end with the process that started them', () => {
    const script = `
      const { ownMariadb, ownPostgres } = await import(${JSON.stringify(path.join(import.meta.dirname, 'index.ts'))});
      const engines = (await Promise.all([ownPostgres(), ownMariadb()])).filter((one) => one !== null);
      console.log(JSON.stringify(engines.map(({ pid }) => pid)));
      setInterval(() => {}, 1000);
      if (process.env.FROZEN) for (const one of engines) one.freeze();
    `;
    const start = async (env: Record<string, string>): Promise<{ child: ChildProcess; pids: number[] }> => {
      const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
        env: { ...process.env, ...env },
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let said = '';
      for await (const text of child.stdout) {
        said += text;
        if (said.includes('\n')) break;
      }
      return { child, pids: JSON.parse(said) as number[] };
    };
    const gone = async (isGone: () => boolean) => {
      for (const until = Date.now() + 15_000; !isGone() && Date.now() < until; ) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      return isGone();
    };

    for (const [how, frozen] of [['SIGTERM', ''] as const, ['SIGKILL', 'frozen '] as const]) {
      it(`by ${how}${frozen && ', though they are frozen'}: no process and no file is left`, async function () {
        const folder = mkdtempSync(path.join(tmpdir(), 'gantry-test-'));
        // The engines' own users have to get in.
        chmodSync(folder, 0o755);
        const left = () => readdirSync(folder).filter((name) => name.startsWith('gantry-'));
        const { child, pids } = await start({ TMPDIR: folder, ...(frozen && { FROZEN: '1' }) });
        try {
          if (pids.length === 0) return this.skip();
          expect(left()).to.have.lengthOf(pids.length);
          for (const pid of pids) expect(existsSync(`/proc/${pid}`)).to.equal(true);
          child.kill(how);
          await once(child, 'exit');
          for (const pid of pids)
            expect(await gone(() => !existsSync(`/proc/${pid}`)), `${pid} is gone`).to.equal(true);
          expect(await gone(() => left().length === 0), 'the folder is empty').to.equal(true);
        } finally {
          child.kill('SIGKILL');
          rmSync(folder, { recursive: true, force: true });
        }
      });
    }
  });

  describe('one that is not installed', () => {
    const kept = { ...process.env };
    afterEach(() => Object.assign(process.env, kept));

    it('is told with what would install it, and is not installed unasked', () => {
      delete process.env['CI'];
      delete process.env['GANTRY_TEST_INSTALL'];
      const kind = {
        name: 'Nothing',
        debian: 'no-such-package',
        programs: ['no-such-program'],
        folders: ['/no/*/such'],
      };
      expect(programsOf({ ...kind, open: () => Promise.reject(new Error('there is none')) })).to.equal(
        'GANTRY_TEST_INSTALL=1 is not set',
      );
    });
  });
});

function table(engine: string, name: string): string {
  return engine === 'MariaDB' ? `test_engines.${name}` : name;
}
function made(engine: string, name: string): string[] {
  return [
    ...(engine === 'MariaDB' ? ['CREATE DATABASE test_engines'] : []),
    `CREATE TABLE ${table(engine, name)} (id INTEGER)`,
    `INSERT INTO ${table(engine, name)} VALUES (1)`,
  ];
}
