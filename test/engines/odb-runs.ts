import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { expect } from 'chai';
import type { Odb } from '../../core/ports/odb.ts';
import type { NewRun } from '../../core/ports/runs.ts';
import { endOf, freshRuns, keys, keysOf } from '../kit/odb-run-world.ts';
import type { OdbServer } from '../kit/odb-world.ts';
import type { Engine } from './engine.ts';
import { openServer } from './odb-plugins.ts';
import { BATCH, HOLDER, type RunOrder, type RunReport } from './odb-run-server.ts';

export interface RunsUnderTest {
  readonly dialect: string;
  /** For a fresh database. */
  config(): Promise<Readonly<Record<string, unknown>>>;
  /** Where it is a server, which can go away. */
  readonly engine?: () => Engine;
}

/** Of a lease; longer than the longest pause of a machine under load, and short enough to be waited for. */
const FOR_MS = 3000;
const ME = { holder: 'the test', server: 'test' };

/** Leases and runs, where processes die or freeze, and engines go away. */
export function testRuns(under: RunsUnderTest): void {
  describe('runs', function () {
    this.timeout(60_000);
    const servers: OdbServer[] = [];
    const children: ChildProcess[] = [];
    let config: Readonly<Record<string, unknown>>;
    let leases = 0;

    before(async () => {
      config = await under.config();
    });
    afterEach(async () => {
      for (const child of children.splice(0)) child.kill('SIGKILL');
      for (const server of servers.splice(0)) await server.stop();
    });

    const open = async (limits: object = {}): Promise<Odb> => {
      const server = await openServer(under.dialect, config, { ...limits });
      servers.push(server);
      return server.odb;
    };
    /** A process that holds the lease, what it tells, and a way to wait until it has added so many. */
    const child = (): Child => {
      const made = fork(path.join(import.meta.dirname, 'odb-run-server.ts'), { execArgv: ['--import', 'tsx'] });
      children.push(made);
      const lease = `lease ${++leases}`;
      const reports: RunReport[] = [];
      made.on('message', (report: RunReport) => reports.push(report));
      made.send({ dialect: under.dialect, config, lease, forMs: FOR_MS, prefix: lease } satisfies RunOrder);
      const until = async (isSo: () => boolean) => {
        while (!isSo()) await once(made, 'message');
      };
      return { process: made, lease, reports, until };
    };
    const world: World = { open, child };

    testKilled(world);
    if (under.engine !== undefined) {
      testFrozen(world);
      testAway(world, under.engine);
    }
  });
}

interface Child {
  readonly process: ChildProcess;
  readonly lease: string;
  readonly reports: readonly RunReport[];
  until(isSo: () => boolean): Promise<void>;
}
interface World {
  open(limits?: object): Promise<Odb>;
  child(): Child;
}

/** As a server that waits for its turn. */
async function takeOver(odb: Odb, lease: string): Promise<number> {
  const began = performance.now();
  while (true) {
    const { holder, epoch } = await odb.leases.take(lease, ME, 60_000);
    if (holder !== ME.holder) await new Promise((resolve) => setTimeout(resolve, 50));
    else {
      expect(epoch).to.equal(2);
      return performance.now() - began;
    }
  }
}

/** Each batch is whole or not there, and each that was told of is there. Gives how many runs there are. */
async function whole(odb: Odb, { lease, reports }: Child): Promise<number> {
  let total = 0;
  for (let n = 0; n <= reports.length + 2; n++) {
    const page = await odb.runs.history({ job: `${lease} ${n}`, limit: 1 });
    expect(page.total, `batch ${n}`).to.be.oneOf(reports.includes(n) ? [BATCH] : [0, BATCH]);
    total += page.total;
  }
  return total;
}

/** What the child left open becomes interrupted, each once. */
async function interrupt(odb: Odb, lease: string): Promise<void> {
  const left = await odb.runs.open({ owner: HOLDER, limit: 100_000 });
  expect(left.length % BATCH).to.equal(0);
  const ends = left.map((run) => ({ ...endOf(run), outcome: 'interrupted' as const }));
  const ended = await odb.runs.end(ends, HOLDER, { lease, holder: ME.holder, epoch: 2 });
  expect(keys(ended)).to.deep.equal(keys(keysOf(left)));
}

function testKilled({ open, child }: World): void {
  it('are added whole batches at a time by a server that is killed, and its lease is another’s when it lapses', async () => {
    const odb = await open();
    const killed = child();
    await killed.until(() => killed.reports.includes(10));
    killed.process.kill('SIGKILL');
    await once(killed.process, 'exit');
    const ms = await takeOver(odb, killed.lease);
    await whole(odb, killed);
    await interrupt(odb, killed.lease);
    process.stdout.write(`        (taken over ${Math.round(ms)} ms after a kill, of a lease of ${FOR_MS} ms)\n`);
  });
}

function testFrozen({ open, child }: World): void {
  it('are not added or ended any more by a server that was frozen, however it stood when it was', async () => {
    const odb = await open();
    const frozen = child();
    await frozen.until(() => frozen.reports.includes(10));
    frozen.process.kill('SIGSTOP');
    const ms = await takeOver(odb, frozen.lease);
    const then = await whole(odb, frozen);
    await interrupt(odb, frozen.lease);
    frozen.process.kill('SIGCONT');
    await frozen.until(() => typeof frozen.reports.at(-1) === 'string');
    expect(frozen.reports.at(-1)).to.equal('LEASE_LOST');
    expect(await whole(odb, frozen)).to.equal(then);
    expect(await odb.runs.open({ owner: HOLDER, limit: 10 })).to.deep.equal([]);
    process.stdout.write(`        (taken over ${Math.round(ms)} ms after a freeze, of a lease of ${FOR_MS} ms)\n`);
  });
}

function testAway({ open }: World, engine: () => Engine): void {
  afterEach(() => engine().start());

  it('are each ended once, where the engine crashes under use and everything is asked for again', async () => {
    const limits = { timeoutMs: 2000, connectTimeoutMs: 1000 };
    const odbs = [await open(limits), await open(limits)];
    let [done, refused] = [0, 0];
    let half = () => {};
    const halfway = new Promise<void>((resolve) => (half = resolve));
    /** Asked for again as long as the database is not available. */
    const sure = async <T>(work: () => Promise<T>): Promise<T> => {
      while (true) {
        try {
          return await work();
        } catch (error) {
          expect(error).to.include({ code: 'ODB_UNAVAILABLE' });
          refused++;
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
      }
    };
    const batches = Array.from({ length: 8 }, (_, lane) => Array.from({ length: 25 }, (__, n) => `crash ${lane} ${n}`));
    const lanes = batches.map(async (jobs, lane) => {
      const odb = odbs[lane % 2] as Odb;
      for (const job of jobs) {
        const runs = freshRuns(job, 5);
        await sure(() => odb.runs.add(runs, null));
        const by = { owner: `lane ${lane}`, server: 's', epoch: 0, now: 1 };
        await sure(() => odb.runs.start(runs, by, null));
        const after = (run: NewRun) => ({
          ...run,
          token: `${run.token} after`,
          job: `${job} after`,
          pool: 'any' as const,
        });
        const ends = runs.map((run, i) => ({ ...endOf(run, 1000 + i), followers: [after(run)] }));
        expect(keys(await sure(() => odb.runs.end(ends, by.owner, null)))).to.deep.equal(keys(runs));
        if (++done === 60) half();
      }
    });
    await halfway;
    await engine().kill();
    await engine().start();
    await Promise.all(lanes);
    expect(refused, 'askings that were refused').to.be.at.least(1);
    const [odb] = odbs as [Odb];
    for (const job of batches.flat()) {
      const { items } = await odb.runs.history({ job, limit: 100 });
      expect(items.map(({ state, endedAt }) => [state, endedAt])).to.deep.equal(
        [4, 3, 2, 1, 0].map((i) => ['ended', 1000 + i]),
      );
      expect((await odb.runs.history({ job: `${job} after`, state: 'waiting', limit: 100 })).total).to.equal(5);
    }
  });
}
