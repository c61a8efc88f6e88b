/** HAProxy where files cannot be written. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import type { GantryError } from '../../../core/api.ts';
import type { BalancedServer } from '../../../core/ports/index.ts';
import { haproxy, needs } from '../../engines/index.ts';
import { Balanced, until } from './balanced.ts';

describe('balancer.haproxy, disk', function () {
  this.timeout(60_000);
  needs(haproxy);
  let world: Balanced;
  let one: BalancedServer;

  const serve = async (config: Readonly<Record<string, unknown>> = {}) => {
    world = await Balanced.open(config);
    ({ as: one } = await world.member('one', (_, res) => res.end('one')));
    await world.serve(one);
  };
  const said = (text: string) => world.lines.filter(({ msg }) => String(msg).includes(text));
  const kill = async (crashes: number) => {
    process.kill((await world.watch()) as number, 'SIGKILL');
    await until('it is started again', () => said('was started again').length === crashes);
    await world.settled();
    expect(await world.balancer.status()).to.include({ running: true, crashes });
    await world.watch();
    expect((await world.call()).status).to.equal(200);
  };

  describe('where the system refuses it', () => {
    beforeEach(() => serve());
    afterEach(() => world.close());

    it('is started all the same', async () => {
      const blocked = ['kept.json.next', 'servers.state.next', 'haproxy.log.1', 'haproxy.errors'];
      for (const name of blocked) {
        rmSync(path.join(world.folder, name), { force: true });
        mkdirSync(path.join(world.folder, name, 'in-the-way'), { recursive: true });
      }
      writeFileSync(path.join(world.folder, 'servers.state'), 'of before\n');
      await kill(1);
      expect(said('could not be started')).to.deep.equal([]);
      expect(said('HAProxy is started without a file')).to.have.length.above(0);
      for (const name of blocked) rmSync(path.join(world.folder, name), { recursive: true });
      await world.apply({}, [{ ...one, weight: 50 }]);
      expect(JSON.parse(readFileSync(path.join(world.folder, 'kept.json'), 'utf8'))).to.include({ crashes: 1 });
    });

    it('has one line for each attempt that fails, later and later, and counts no crash for it', async () => {
      for (const name of ['haproxy.cfg', 'haproxy.good.cfg'])
        writeFileSync(path.join(world.folder, name), 'nonsense\n');
      const before = world.lines.length;
      process.kill((await world.watch()) as number, 'SIGKILL');
      await until('it was tried', () => said('could not be started again').length === 3);
      const lines = world.lines.slice(before).filter(({ level }) => level === 'warn' || level === 'error');
      expect(lines.map(({ msg, attempts }) => [msg, attempts])).to.deep.equal(
        [1, 2, 3].map((attempts) => ['HAProxy could not be started again; it is tried once more', attempts]),
      );
      expect(Number(lines[2]?.['waitMs'])).to.be.above(Number(lines[0]?.['waitMs']));
      expect((await world.balancer.status()).crashes).to.equal(0);
    });
  });

  describe('where it is full', () => {
    let disk: string;
    before(function () {
      disk = mkdtempSync(path.join(tmpdir(), 'gantry-disk-'));
      try {
        execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m,mode=700', 'tmpfs', disk], { stdio: 'pipe' });
      } catch (error) {
        rmSync(disk, { recursive: true });
        process.stderr.write(`\nSKIPPED: a disk that is full: only who may mount one has one. ${String(error)}\n\n`);
        this.skip();
      }
    });
    after(() => {
      if (disk === undefined) return;
      execFileSync('umount', [disk]);
      rmSync(disk, { recursive: true });
    });
    beforeEach(() => serve({ folder: path.join(disk, 'haproxy') }));
    afterEach(async () => {
      rmSync(path.join(disk, 'full'), { force: true });
      await world.close();
      rmSync(path.join(disk, 'haproxy'), { recursive: true });
    });
    const fill = () => {
      const piece = Buffer.alloc(4096);
      for (;;) {
        try {
          writeFileSync(path.join(disk, 'full'), piece, { flag: 'a' });
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code === 'ENOSPC') return;
          throw error;
        }
      }
    };

    it('refuses a change, says why, and goes on; HAProxy is started again when it is killed', async () => {
      fill();
      for (const change of [
        () => world.apply({ retries: 9 }),
        () => world.balancer.check({ ...world.state, servers: [] }),
      ]) {
        const error = (await change().catch((thrown: unknown) => thrown)) as GantryError;
        expect(error).to.include({ code: 'BALANCER_FAILED', kind: 'unavailable' });
        expect(error.message).to.equal('A file of HAProxy cannot be written: there is no room on the disk (ENOSPC)');
        expect(error.hint).to.include(disk);
      }
      expect(readdirSync(path.join(disk, 'haproxy')).filter((name) => /next|check/.test(name))).to.deep.equal([]);
      expect((await world.call()).status).to.equal(200);
      await kill(1);
      expect(said('could not be started')).to.deep.equal([]);
      expect(said('cannot be kept')).to.have.length(1);
      rmSync(path.join(disk, 'full'));
      expect(await world.apply({ retries: 9 })).to.include({ how: 'reload' });
      expect(await world.apply({})).to.deep.equal({ how: 'none', steps: [] });
    });

    it('starts it with the last that worked where its file was lost', async () => {
      truncateSync(path.join(disk, 'haproxy', 'haproxy.cfg'));
      fill();
      await kill(1);
      expect(said('could not be started')).to.deep.equal([]);
      expect(readFileSync(path.join(disk, 'haproxy', 'haproxy.cfg'), 'utf8')).to.include('backend servers');
    });
  });
});
