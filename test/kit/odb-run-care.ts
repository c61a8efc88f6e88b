import { expect } from 'chai';
import type { NewRun } from '../../core/ports/runs.ts';
import { endOf, freshRuns, numbers, type RunWorld } from './odb-run-world.ts';
import { refusal } from './odb-world.ts';

/** What becomes of runs at last. */
export function testOdbRunCare(world: RunWorld): void {
  testDead(world);
  testForget(world);
}

function testDead(world: RunWorld): void {
  /** Dead ones, the second of two attempts each. */
  const given = async (count: number): Promise<NewRun[]> => {
    const runs = freshRuns(world.name(), count).map(
      (run, i): NewRun => ({
        ...run,
        attempts: 2,
        data: { i },
        pool: i % 2 === 0 ? 'any' : 'holder',
        job: i === 0 ? null : run.job,
        source: i === 0 ? 'call' : 'schedule',
      }),
    );
    const by = world.runner('a');
    const seconds = runs.map((run) => ({ ...run, attempt: 2, by }));
    await world.odb.runs.add([...runs.map((run) => ({ ...run, by })), ...seconds], null);
    await world.odb.runs.end(
      runs.map((run) => ({ ...endOf(run), outcome: 'failed' })),
      'a',
      null,
    );
    await world.odb.runs.end(
      seconds.map((run) => ({ ...endOf(run), outcome: 'failed', dead: true })),
      'a',
      null,
    );
    return seconds;
  };

  it('that were given up are listed until they are buried', async () => {
    const dead = await given(4);
    const tokens = dead.map(({ token }) => token);
    const listed = async () =>
      (await world.other.runs.history({ dead: true, limit: 1000 })).items
        .map(({ token }) => token)
        .filter((token) => tokens.includes(token));
    expect((await listed()).toSorted()).to.deep.equal(tokens);
    const [one, two, three] = tokens as [string, string, string];
    expect(await world.odb.runs.bury([two, 'absent', one, two])).to.deep.equal([two, one]);
    expect(await world.odb.runs.bury([two, three])).to.deep.equal([three]);
    expect(await listed()).to.deep.equal(tokens.slice(3));
    expect((await world.odb.runs.find(one)).map(({ outcome, dead: is }) => [outcome, is])).to.deep.equal([
      ['failed', false],
      ['failed', false],
    ]);
    expect(await world.odb.runs.bury([])).to.deep.equal([]);
    await refusal('INVALID', world.odb.runs.bury(['x'.repeat(101)]));
  });

  it('that were given up are replayed: by another attempt, which may be followed by as many as are told', async () => {
    const dead = await given(3);
    const tokens = dead.map(({ token }) => token);
    expect(await world.odb.runs.replay([...tokens, 'absent'], 4321, 5)).to.have.deep.members(
      tokens.map((token) => ({ token, attempt: 3 })),
    );
    for (const [i, run] of dead.entries()) {
      const attempts = await world.other.runs.find(run.token);
      expect(attempts.map(({ attempt, state, dead: is }) => [attempt, state, is])).to.deep.equal([
        [1, 'ended', false],
        [2, 'ended', false],
        [3, 'waiting', false],
      ]);
      const { by, outcome, reason, ...same } = run;
      const expected = {
        ...same,
        attempt: 3,
        attempts: 2 + 5,
        readyAt: 4321,
        state: 'waiting',
        owner: null,
        startedAt: null,
        outcome: null,
        data: { i },
      };
      expect(attempts[2]).to.deep.include(expected);
    }
    expect(await world.odb.runs.replay(tokens, 4322, 5), 'no longer dead').to.deep.equal([]);
    await refusal('INVALID', world.odb.runs.replay(tokens, 1, 0));
  });

  it('are replayed or buried once, however many ask at once', async () => {
    const dead = await given(20);
    const tokens = dead.map(({ token }) => token);
    const [one, two, buried] = await Promise.all([
      world.odb.runs.replay(tokens, 1, 1),
      world.other.runs.replay(tokens.toReversed(), 2, 1),
      world.other.runs.bury(tokens),
    ]);
    expect(
      [...one, ...two]
        .map(({ token }) => token)
        .concat(buried)
        .toSorted(),
    ).to.deep.equal(tokens);
    for (const token of tokens)
      expect(await world.odb.runs.find(token)).to.have.lengthOf(buried.includes(token) ? 2 : 3);
  });
}

function testForget(world: RunWorld): void {
  const nothing = { before: 0, deadBefore: 0, keep: 1_000_000, jobs: [], services: [], accounted: 10 ** 15 };
  const left = async (job: string) => numbers((await world.odb.runs.history({ job, limit: 1000 })).items);
  /** Ended at their number, in ms. */
  const ended = async (
    job: string,
    count: number,
    more: (i: number) => Partial<NewRun> & { dead?: boolean } = () => ({}),
  ) => {
    const runs = freshRuns(job, count).map((run, i) => ({ ...run, by: world.runner('a'), ...more(i) }));
    await world.odb.runs.add(
      runs.map(({ dead, ...run }) => run),
      null,
    );
    await world.odb.runs.end(
      runs.map((run, i) => ({ ...endOf(run, i), dead: run.dead === true })),
      'a',
      null,
    );
    return runs;
  };

  before(() => world.odb.runs.forget({ ...nothing, before: 10 ** 15, deadBefore: 10 ** 15 }));

  it('are forgotten by the time at which they ended: dead ones later, open ones and those that count still never', async () => {
    const job = world.name();
    await ended(job, 12, (i) => ({ dead: i % 4 === 0 }));
    await world.odb.runs.add(
      freshRuns(`${job} 1`, 1).map((run) => ({ ...run, job, dueAt: 1 })),
      null,
    );
    expect(await world.odb.runs.forget({ ...nothing, before: 6, deadBefore: 3, accounted: 1_003_000 })).to.equal(4);
    expect(await left(job)).to.deep.equal([11, 10, 9, 8, 7, 6, 5, 4, 0]);
    expect(await world.odb.runs.forget({ ...nothing, before: 6, deadBefore: 3 })).to.equal(1);
    expect(await world.odb.runs.forget({ ...nothing, before: 12, deadBefore: 12 })).to.equal(7);
    expect(await left(job)).to.deep.equal([0]);
  });

  it('are forgotten by their number, of each job and of each service of durable calls', async () => {
    const [one, two, three, service] = [world.name(), world.name(), world.name(), world.name()];
    await ended(one, 20, (i) => ({ dead: i === 2 }));
    await ended(two, 5);
    await ended(three, 20);
    const calls = await ended(`${one} call`, 12, () => ({ job: null, source: 'call', service }));
    const job = await ended(`${one} job`, 3, () => ({ job: world.name(), service }));
    await world.odb.runs.add(
      freshRuns(`${one} open`, 1, 0).map((run) => ({ ...run, job: one })),
      null,
    );
    const query = { ...nothing, keep: 6, jobs: [one, two, 'absent', one], services: [service, 'x'.repeat(300)] };
    expect(await world.odb.runs.forget(query)).to.equal(13 + 6);
    expect(await left(one)).to.deep.equal([19, 18, 17, 16, 15, 14, 2, 0]);
    expect(await left(two)).to.have.lengthOf(5);
    expect(await left(three)).to.have.lengthOf(20);
    expect(await world.odb.runs.find((calls[5] as NewRun).token)).to.deep.equal([]);
    expect(await world.odb.runs.find((calls[6] as NewRun).token)).to.have.lengthOf(1);
    expect(await world.odb.runs.find((job[0] as NewRun).token)).to.have.lengthOf(1);
    expect(await world.odb.runs.forget(query)).to.equal(0);
    expect(await world.odb.runs.forget({ ...nothing, keep: 0, jobs: [two, three], accounted: 1_001_000 })).to.equal(4);
    expect(await left(two)).to.deep.equal([4, 3, 2]);
  });

  it('are forgotten many at a time, each counted once', async () => {
    const job = world.name();
    const many = freshRuns(job, 1500).map((run) => ({ ...run, outcome: 'skipped' as const }));
    await world.odb.runs.add(many, null);
    const [one, two] = await Promise.all(
      [world.odb, world.other].map((odb) => odb.runs.forget({ ...nothing, keep: 20, jobs: [job] })),
    );
    expect((one as number) + (two as number)).to.equal(1480);
    expect((await world.odb.runs.history({ job, limit: 1 })).total).to.equal(20);
  });

  it('are not forgotten for numbers that are none', async () => {
    for (const wrong of [{ before: Number.NaN }, { keep: -1 }, { deadBefore: 0.5 }, { accounted: -1 }]) {
      await refusal('INVALID', world.odb.runs.forget({ ...nothing, ...wrong }));
    }
  });
}
