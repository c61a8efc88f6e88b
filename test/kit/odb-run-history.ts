import { expect } from 'chai';
import type { Attempt, NewRun, RunQuery } from '../../core/ports/runs.ts';
import { testOdbRunCare } from './odb-run-care.ts';
import { endOf, freshRuns, fromKey, numbers, type RunWorld } from './odb-run-world.ts';
import { refusal } from './odb-world.ts';

/** What is asked of runs, and what becomes of them at last. */
export function testOdbRunHistory(world: RunWorld): void {
  testOpen(world);
  testHistory(world);
  testLatest(world);
  testOdbRunCare(world);
}

function testOpen(world: RunWorld): void {
  it('that are open are told, the longest ready first, by all that is asked for', async () => {
    const [one, two] = [world.name(), world.name()];
    const [a, b] = [world.runner('a'), world.runner('b')];
    const runs = freshRuns(one, 8).map((run, i): NewRun => {
      const job = i === 7 ? null : i >= 5 ? two : one;
      return {
        ...run,
        job,
        readyAt: 500 - i,
        pool: i % 2 === 0 ? 'any' : 'queue',
        by: i < 2 ? a : i === 2 ? b : null,
        outcome: i === 4 ? 'skipped' : null,
      };
    });
    await world.odb.runs.add(runs, null);
    const open = async (query: object) => numbers(await world.other.runs.open({ limit: 100, ...query }));
    expect(await open({})).to.deep.equal([7, 6, 5, 3, 2, 1, 0]);
    expect(await open({ limit: 2 })).to.deep.equal([7, 6]);
    expect(await open({ state: 'waiting' })).to.deep.equal([7, 6, 5, 3]);
    expect(await open({ state: 'running' })).to.deep.equal([2, 1, 0]);
    expect(await open({ owner: 'a' })).to.deep.equal([1, 0]);
    expect(await open({ owner: 'A' })).to.deep.equal([]);
    expect(await open({ owner: 'x'.repeat(101) })).to.deep.equal([]);
    expect(await open({ pools: ['queue'] })).to.deep.equal([7, 5, 3, 1]);
    expect(await open({ pools: ['queue', 'any'], job: two })).to.deep.equal([6, 5]);
    expect(await open({ pools: [] })).to.deep.equal([]);
    expect(await open({ of: 'calls' })).to.deep.equal([7]);
    expect(await open({ of: 'jobs', state: 'waiting', job: one })).to.deep.equal([3]);
    expect((await world.other.runs.open({ owner: 'b', limit: 1 }))[0]).to.deep.include({
      ...fromKey(runs[2] as NewRun),
      owner: 'b',
    });
  });

  it('that wait are moved to another pool, and when the first of a pool is ready is told', async () => {
    const runs = freshRuns(world.name(), 4).map(
      (run, i): NewRun => ({
        ...run,
        readyAt: 100 + i,
        pool: i < 2 ? 'queue' : 'any',
        by: i === 3 ? world.runner('a') : null,
      }),
    );
    const at = (...pools: NewRun['pool'][]) => world.other.runs.readyAt(pools);
    expect(await at('holder', 'any', 'queue')).to.equal(null);
    await world.odb.runs.add(runs, null);
    expect([
      await at('queue'),
      await at('any'),
      await at('holder'),
      await at('any', 'queue'),
      await at(),
    ]).to.deep.equal([100, 102, null, 100, null]);
    expect(
      await world.odb.runs.move([runs[0] as NewRun, runs[3] as NewRun, { token: 'absent', attempt: 1 }], 'holder'),
    ).to.equal(1);
    expect([await at('queue'), await at('holder')]).to.deep.equal([101, 100]);
    expect((await world.odb.runs.find((runs[3] as NewRun).token))[0]?.pool).to.equal('any');
    expect(await world.odb.runs.move([], 'holder')).to.equal(0);
    expect(await world.odb.runs.move([runs[0] as NewRun], 'holder'), 'it waits there already').to.equal(1);
  });

  it('of schedules are told with their due times, each firing once', async () => {
    const job = world.name();
    const from = 7_000_000_000_000;
    const runs = freshRuns(job, 6, from);
    const [first, second] = runs as [NewRun, NewRun];
    const given: NewRun[] = [
      { ...first },
      { ...second, outcome: 'missed' },
      { ...second, attempt: 2 },
      { ...(runs[2] as NewRun), outcome: 'skipped' },
      { ...(runs[3] as NewRun), source: 'backfill' },
      { ...(runs[4] as NewRun), source: 'manual' },
      { ...(runs[5] as NewRun), source: 'call', job: null },
    ];
    await world.odb.runs.add(given, null);
    const after = async (time: number) =>
      (await world.other.runs.firings(time)).map(({ job: of, dueAt }) => [of, dueAt - from]).toSorted();
    expect(await after(from - 1)).to.deep.equal([
      [job, 0],
      [job, 1000],
      [job, 2000],
    ]);
    expect(await after(from)).to.have.lengthOf(2);
    expect(await after(from + 2000)).to.deep.equal([]);
    await refusal('INVALID', world.odb.runs.firings(Number.NaN));
  });

  it('are counted', async () => {
    const before = await world.odb.runs.counts();
    const runs = freshRuns(world.name(), 6).map((run, i) => ({ ...run, by: i < 4 ? world.runner('a') : null }));
    await world.odb.runs.add(runs, null);
    const plus = async () => {
      const { running, waiting, dead } = await world.other.runs.counts();
      return [running - before.running, waiting - before.waiting, dead - before.dead];
    };
    expect(await plus()).to.deep.equal([4, 2, 0]);
    await world.odb.runs.end(
      runs.slice(0, 3).map((run, i) => ({ ...endOf(run), dead: i < 2 })),
      'a',
      null,
    );
    expect(await plus()).to.deep.equal([1, 2, 2]);
    await world.odb.runs.bury(runs.map(({ token }) => token));
    expect(await plus()).to.deep.equal([1, 2, 0]);
  });
}

function testHistory(world: RunWorld): void {
  it('are listed the latest due first, by all that is asked for, in pages that miss none and repeat none', async () => {
    const [job, service] = [world.name(), world.name()];
    const runs = freshRuns(job, 60).map(
      (run, i): NewRun => ({
        ...run,
        service,
        // Several are due at one time.
        dueAt: 1_000_000 + Math.floor(i / 4) * 1000,
        job: i % 10 === 9 ? null : job,
        outcome: i % 3 === 0 ? 'skipped' : i % 3 === 1 ? 'missed' : null,
        by: i % 12 === 2 ? world.runner('a') : null,
      }),
    );
    await world.odb.runs.add([...runs, ...runs.slice(0, 3).map((run) => ({ ...run, attempt: 2 }))], null);
    const pages = async (query: Omit<RunQuery, 'limit' | 'after'>, limit: number) => {
      const all: Attempt[] = [];
      let after: string | null = null;
      do {
        const page = await world.other.runs.history({ ...query, limit, ...(after === null ? {} : { after }) });
        expect(page.items.length).to.be.at.most(limit);
        all.push(...page.items);
        after = page.next;
        if (after === null) expect(page.total).to.equal(all.length);
      } while (after !== null);
      return all;
    };
    const all = await pages({ service }, 7);
    const expected = all.toSorted(
      (a, b) => b.dueAt - a.dueAt || (a.token < b.token ? 1 : a.token > b.token ? -1 : b.attempt - a.attempt),
    );
    expect(all).to.deep.equal(expected).and.to.have.lengthOf(63);
    expect(new Set(all.map(({ token, attempt }) => `${token} ${attempt}`)).size).to.equal(63);
    expect(await pages({ service }, 1000)).to.deep.equal(all);
    const count = async (query: RunQuery | object, limit = 13) => (await pages({ service, ...query }, limit)).length;
    expect(await count({ job })).to.equal(57);
    expect(await count({ of: 'calls' })).to.equal(6);
    expect(await count({ of: 'jobs', job })).to.equal(57);
    expect(await count({ outcome: 'missed' })).to.equal(21);
    expect(await count({ state: 'ended' })).to.equal(42);
    expect(await count({ state: 'running' })).to.equal(6);
    expect(await count({ state: 'waiting' })).to.equal(15);
    expect(await count({ dead: true })).to.equal(0);
    expect(await count({ dead: false, from: 1_002_000, until: 1_004_000 })).to.equal(8);
    expect(await count({ from: 1_014_000 })).to.equal(4);
    expect(await count({ job: '' })).to.equal(0);
    expect(await count({ job: 'a\0b' })).to.equal(0);
    expect(await count({ job: `${job} ` })).to.equal(0);
  });

  it('stay on one page each, whatever comes and goes meanwhile', async () => {
    const job = world.name();
    const runs = freshRuns(job, 30);
    await world.odb.runs.add(
      runs.filter((_, i) => i % 2 === 0),
      null,
    );
    const first = await world.odb.runs.history({ job, limit: 5 });
    await world.odb.runs.add(runs, null);
    const rest = await world.odb.runs.history({ job, limit: 100, after: first.next as string });
    expect(numbers(first.items)).to.deep.equal([28, 26, 24, 22, 20]);
    expect(numbers(rest.items)).to.deep.equal(Array.from({ length: 20 }, (_, i) => 19 - i));
  });

  it('are not listed for a page or a time that is none', async () => {
    for (const after of [
      '',
      'x',
      Buffer.from('["runs-due",1,2,3]').toString('base64url'),
      Buffer.from('["+name","a"]').toString('base64url'),
    ]) {
      await refusal('INPUT_INVALID', world.odb.runs.history({ limit: 5, after }), 'page');
    }
    for (const limit of [0, 1001, 2.5]) await refusal('INPUT_INVALID', world.odb.runs.history({ limit }), 'limit');
    await refusal('INVALID', world.odb.runs.history({ limit: 1, from: Number.NaN }));
  });
}

function testLatest(world: RunWorld): void {
  it('of jobs are told: the latest that ended, and at most 10 that are open', async () => {
    const jobs = Array.from({ length: 40 }, () => world.name());
    const given = jobs.flatMap((job, j): NewRun[] => {
      if (j === 1) return [];
      if (j === 2) return freshRuns(job, 3);
      const ended = freshRuns(job, 5).map((run, i): NewRun => ({ ...run, outcome: i === 3 ? 'missed' : 'skipped' }));
      const open = freshRuns(`${job} open`, j === 3 ? 15 : j % 2, 2_000_000);
      return [
        ...ended,
        ...open.map((run, i) => ({ ...run, job, readyAt: 900 - i, by: i === 0 ? world.runner('a') : null })),
      ];
    });
    await world.odb.runs.add(given, null);
    const asked = [...jobs, `${jobs[0]} not there`, jobs[0] as string, 'x'.repeat(201)];
    const found = await world.other.runs.latest(asked);
    expect(found.map(({ job }) => job)).to.deep.equal(jobs.filter((_, i) => i !== 1));
    const of = (i: number) => found.find(({ job }) => job === jobs[i]);
    expect(of(2)?.last).to.equal(null);
    expect(numbers(of(2)?.open ?? [])).to.deep.equal([0, 1, 2]);
    expect(numbers(of(3)?.open ?? [])).to.deep.equal([14, 13, 12, 11, 10, 9, 8, 7, 6, 5]);
    for (let i = 4; i < jobs.length; i++) {
      expect(numbers([of(i)?.last as Attempt])).to.deep.equal([4]);
      expect(of(i)?.open).to.have.lengthOf(i % 2);
    }
    expect(of(5)?.open[0]).to.include({ state: 'running', owner: 'a' });
    expect(await world.odb.runs.latest([])).to.deep.equal([]);
  });
}
