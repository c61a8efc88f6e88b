/** HAProxy's log, as it is taken over into ours. */
import { readFileSync, statSync, truncateSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import type { BalancedServer } from '../../../core/ports/index.ts';
import { haproxy, needs } from '../../engines/index.ts';
import { Balanced, Caller, until } from './balanced.ts';

const LARGEST_BYTES = 16 * 1024 * 1024;
/** Longer than what a file has that was written over from its beginning. */
const LONG = 'x'.repeat(300);

describe('balancer.haproxy, log', function () {
  this.timeout(90_000);
  needs(haproxy);
  let world: Balanced;
  let one: BalancedServer;
  let close: () => void;
  beforeEach(async () => {
    world = await Balanced.open();
    const member = await world.member('one', (_, res) => res.end('one'));
    one = member.as;
    close = () => {
      member.server.closeAllConnections();
      member.server.close();
    };
    await world.serve(one);
  });
  afterEach(() => world.close());

  const file = () => path.join(world.folder, 'haproxy.log');
  const written = () => readFileSync(file(), 'utf8');
  const told = () => world.lines.filter(({ msg }) => msg === 'HAProxy says').map(({ line }) => String(line));
  const overflows = () => world.lines.filter(({ msg }) => String(msg).includes('more than is taken over')).length;
  const diskBytes = () => statSync(file()).blocks * 512;
  /** Each of them is a line. */
  const lose = async (at: string) => expect((await world.call({ path: at })).status).to.equal(503);

  it('is whole when HAProxy was killed: its last words, and what the next one says', async () => {
    await world.apply({}, [{ ...one, state: 'offline' }]);
    for (let i = 0; i < 10; i++) await lose(`/before-${i}-${LONG}`);
    await until('it is told', () => world.log.includes('/before-9'));
    await lose('/last');
    await until('it is written', () => written().includes('/last'));
    process.kill((await world.watch()) as number, 'SIGKILL');
    await until('another runs', async () => {
      const status = await world.balancer.status().catch(() => null);
      return status?.crashes === 1 && status.pid !== null;
    });
    await world.watch();
    await lose('/after');
    await until('all is told', () => ['/before-9', '/last', '/after'].every((at) => world.log.includes(at)));
    expect(readFileSync(`${file()}.1`, 'utf8'))
      .to.include('/last')
      .and.not.include('/after');
    expect(written()).to.include('/after').and.not.include('/before');
  });

  it('takes no more of the disk than it may; what comes later is told as it is', async () => {
    await world.apply({ log: { to: 'stdout', level: 'info' } });
    const callers = Array.from({ length: 12 }, () => new Caller(world.port, () => ({ path: `/${'x'.repeat(900)}` })));
    await until('much is written', () => statSync(file()).size > LARGEST_BYTES, 60_000);
    await until('it is cut', () => diskBytes() < LARGEST_BYTES / 2);
    await Promise.all(callers.map((caller) => caller.end()));
    await world.call({ path: '/end-of-load' });
    await until('it is told', () => world.log.includes('/end-of-load'));

    // Another one of us finds a file that is cut, and that HAProxy goes on with at its old place.
    await world.end();
    truncateSync(file());
    await world.begin();
    const before = { lines: world.lines.length, overflows: overflows() };
    close();
    await until('it is told', () => told().some((line) => /servers\/one is DOWN/.test(line)));
    await until('it is the last', () => told().some((line) => line.includes('has no server available')));
    expect(statSync(file()).size).to.be.above(LARGEST_BYTES);
    expect(diskBytes()).to.be.below(LARGEST_BYTES / 2);
    expect(overflows()).to.equal(before.overflows);
    expect(JSON.stringify(world.lines)).to.not.include('\\u0000');
  });

  it('goes on where someone else cut the file', async () => {
    await world.apply({}, [{ ...one, state: 'offline' }]);
    await lose(`/before-${LONG}`);
    await until('it is told', () => world.log.includes('/before'));
    truncateSync(file());
    await lose('/after');
    await until('it is told', () => world.log.includes('/after'));
    expect(JSON.stringify(world.lines)).to.not.include('\\u0000');
    expect(told().filter((line) => line.includes('/before'))).to.have.length(1);
  });
});
