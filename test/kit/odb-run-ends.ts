import { expect } from 'chai';
import type { NewRun, RunEnd, Runner, Runs } from '../../core/ports/runs.ts';
import { endOf, freshRuns, fromKey, keys, keysOf, type RunWorld } from './odb-run-world.ts';
import { refusal } from './odb-world.ts';

/** How runs get their outcome, once, and what is bound to their having none yet. */
export function testOdbRunEnds(world: RunWorld): void {
  testEnding(world);
  testWithin(world);
}

function testEnding(world: RunWorld): void {
  /** Running ones. */
  const begun = async (count: number, by: Runner): Promise<NewRun[]> => {
    const runs = freshRuns(world.name(), count).map((run) => ({ ...run, by }));
    await world.odb.runs.add(runs, null);
    return runs;
  };

  it('get their outcome, each its own, and it is told which', async () => {
    const runs = await begun(200, world.runner('me', 4));
    const ends = runs.map((run, i): RunEnd => {
      if (i % 50 === 0)
        return {
          ...endOf(run, 9000 + i),
          outcome: 'failed',
          reason: `it was ${i % 100}`,
          code: 'CODE',
          dead: i % 100 === 0,
        };
      return { ...endOf(run, 9000 + i), outcome: i % 7 === 0 ? 'timeout' : 'succeeded' };
    });
    expect(await world.odb.runs.end(ends, 'me', null)).to.deep.equal(keysOf(runs));
    const { items } = await world.other.runs.history({ job: (runs[0] as NewRun).job as string, limit: 1000 });
    const found = new Map(items.map((one) => [one.token, one]));
    for (const { token, outcome, endedAt, reason, code, dead } of ends) {
      const expected = { state: 'ended', outcome, endedAt, reason, code, dead, owner: 'me', epoch: 4 };
      expect(found.get(token)).to.deep.include(expected);
    }
  });

  it('get it from their owner, or while waiting from nobody’s; others change nothing', async () => {
    const [run] = (await begun(1, world.runner('me'))) as [NewRun];
    const [waiting, after] = freshRuns(world.name(), 2) as [NewRun, NewRun];
    await world.odb.runs.add([waiting], null);
    const ends = [run, waiting, { ...run, attempt: 2 }].map((one) => ({ ...endOf(one), followers: [after] }));
    expect(await world.other.runs.end(ends, 'ME', null)).to.deep.equal([]);
    expect(await world.other.runs.find(after.token)).to.deep.equal([]);
    expect(await world.other.runs.end(ends, null, null)).to.deep.equal([fromKey(waiting)]);
    expect((await world.odb.runs.find(waiting.token))[0]).to.include({ state: 'ended', owner: null, startedAt: null });
    expect(await world.other.runs.end(ends, 'me', null)).to.deep.equal([fromKey(run)]);
    const others = ends.map((end) => ({ ...end, outcome: 'interrupted' as const, endedAt: 1 }));
    for (const owner of ['me', null]) expect(await world.odb.runs.end(others, owner, null)).to.deep.equal([]);
    expect((await world.odb.runs.find(run.token))[0]?.outcome).to.equal('succeeded');
    expect(await world.odb.runs.end([], 'me', null)).to.deep.equal([]);
  });

  it('are written once: of two that end them at once one does, and only what comes after that is added', async () => {
    for (let round = 0; round < 4; round++) {
      const runs = await begun(100, world.runner('me'));
      const ends = (outcome: 'succeeded' | 'interrupted') =>
        runs.map((run): RunEnd => {
          const next = { ...run, token: `${run.token} ${outcome}`, by: null };
          return { ...endOf(run), outcome, followers: [next] };
        });
      const [finished, interrupted] = await Promise.all([
        Promise.all(
          [0, 20, 40, 60, 80].map((at) => world.odb.runs.end(ends('succeeded').slice(at, at + 20), 'me', null)),
        ),
        Promise.all(
          [0, 50].map((at) =>
            world.other.runs.end(
              ends('interrupted')
                .toReversed()
                .slice(at, at + 50),
              'me',
              null,
            ),
          ),
        ),
      ]);
      expect(keys([...finished.flat(), ...interrupted.flat()])).to.deep.equal(keys(keysOf(runs)));
      const won = new Set(keys(finished.flat()));
      for (const run of runs) {
        const outcome = won.has(`${run.token} 1`) ? 'succeeded' : 'interrupted';
        const lost = outcome === 'succeeded' ? 'interrupted' : 'succeeded';
        expect((await world.odb.runs.find(run.token))[0]?.outcome).to.equal(outcome);
        expect(await world.odb.runs.find(`${run.token} ${outcome}`)).to.have.lengthOf(1);
        expect(await world.odb.runs.find(`${run.token} ${lost}`)).to.deep.equal([]);
      }
    }
  });

  it('are told again to who asks for the very same again, as after an answer that was lost', async () => {
    const runs = await begun(3, world.runner('me'));
    const ends = runs.map((run, i) => endOf(run, 5000 + i));
    await world.odb.runs.end(ends.slice(0, 2), 'me', null);
    expect(await world.odb.runs.end(ends, 'me', null)).to.deep.equal(keysOf(runs));
    expect(await world.odb.runs.end([{ ...(ends[0] as RunEnd), endedAt: 4999 }], 'me', null)).to.deep.equal([]);
  });

  it('keep the words of an error as far as they can be kept', async () => {
    const words = ['x'.repeat(5000), 'a\0b', `${'😀'.repeat(3000)}`, 'half \ud800', ''];
    const runs = await begun(words.length, world.runner('me'));
    const ends = runs.map(
      (run, i): RunEnd => ({ ...endOf(run), outcome: 'failed', reason: words[i] as string, code: words[i] as string }),
    );
    await world.odb.runs.end(ends, 'me', null);
    const reasons: (string | null | undefined)[] = [];
    for (const { token } of runs) reasons.push((await world.odb.runs.find(token))[0]?.reason);
    expect(reasons[0]).to.equal('x'.repeat(4000));
    expect(reasons[1]).to.match(/^a.b$/);
    expect(reasons[2]).to.match(/^(😀){1000,}/u);
    expect(reasons[3]).to.match(/^half .$/);
    expect(reasons[4]).to.equal(null);
  });

  it('are followed by what is not there yet', async () => {
    const [run] = (await begun(1, world.runner('me'))) as [NewRun];
    const [there, next] = freshRuns(world.name(), 2) as [NewRun, NewRun];
    await world.odb.runs.add([there], null);
    const again = { ...run, attempt: 2, by: null };
    const followers = [again, { ...there, count: 7 }, next, next];
    expect(await world.odb.runs.end([{ ...endOf(run), followers }], 'me', null)).to.have.lengthOf(1);
    expect((await world.odb.runs.find(run.token)).map(({ attempt, state }) => [attempt, state])).to.deep.equal([
      [1, 'ended'],
      [2, 'waiting'],
    ]);
    expect((await world.odb.runs.find(there.token))[0]?.count).to.equal(1);
    expect(await world.odb.runs.find(next.token)).to.have.lengthOf(1);
  });

  it('are refused an outcome that is none, and the rest with it: INVALID', async () => {
    const [run, other] = (await begun(2, world.runner('me'))) as [NewRun, NewRun];
    const bad = [
      { outcome: 'fine' },
      { endedAt: -1 },
      { token: '' },
      { attempt: 0 },
      { followers: [{ ...run, token: '' }] },
    ];
    for (const wrong of bad) {
      const ends = [endOf(other), { ...endOf(run), ...wrong } as RunEnd];
      const error = await refusal('INVALID', world.odb.runs.end(ends, 'me', null));
      expect(error.problems?.[0]?.path).to.match(/^\/ends\/1\//);
    }
    await refusal('INVALID', world.odb.runs.end([endOf(run)], '', null));
    expect((await world.odb.runs.find(other.token))[0]?.state).to.equal('running');
  });
}

function testWithin(world: RunWorld): void {
  const begun = async (runs: Runs, owner: string): Promise<NewRun & { owner: string }> => {
    const [run] = freshRuns(world.name(), 1) as [NewRun];
    await runs.add([{ ...run, by: world.runner(owner) }], null);
    return { ...run, owner };
  };

  it('bind effects: made while the run is running by its owner, and neither made nor given again otherwise', async () => {
    const run = await begun(world.odb.runs, 'me');
    const { token, attempt, owner } = run;
    const own = { token, attempt, owner };
    const key = world.name();
    expect(await world.odb.once(key, async () => 'done', own)).to.deep.equal({ first: true, value: 'done' });
    expect(await world.other.once(key, () => expect.fail('again'), own)).to.deep.equal({ first: false, value: 'done' });
    const never = () => expect.fail('it was run');
    for (const other of [
      { ...own, owner: 'ME' },
      { ...own, attempt: 2 },
      { ...own, token: `${token} ` },
    ]) {
      for (const of of [key, `${key} new`, null]) {
        const error = await refusal('LEASE_LOST', world.odb.once(of, never, other), other.token);
        expect(error.hint).to.be.a('string');
      }
    }
    await world.other.runs.end([endOf(run)], 'me', null);
    for (const of of [key, `${key} new`, null]) await refusal('LEASE_LOST', world.odb.once(of, never, own));
    await refusal('INVALID', world.odb.once(null, never, { ...own, owner: '' }));
    expect((await world.odb.once(`${key} new`, async () => 1)).first).to.equal(true);
  });

  it('bind effects: a run that is ended meanwhile is ended after them', async () => {
    const run = await begun(world.odb.runs, 'me');
    const order: string[] = [];
    let leave = () => {};
    const left = new Promise<void>((resolve) => (leave = resolve));
    let enter = () => {};
    const entered = new Promise<void>((resolve) => (enter = resolve));
    const effect = world.odb.once(
      world.name(),
      async () => {
        enter();
        await left;
        order.push('effect');
      },
      { token: run.token, attempt: 1, owner: 'me' },
    );
    await entered;
    const ending = world.other.runs.end([endOf(run)], 'me', null).then((ended) => {
      order.push('end');
      return ended;
    });
    // What does not wait for the effect has time to be quicker.
    await world.odb.runs.find(run.token);
    for (let i = 0; i < 5; i++) expect((await world.odb.runs.find(run.token))[0]?.state).to.equal('running');
    leave();
    await effect;
    expect(await ending).to.have.lengthOf(1);
    expect(order).to.deep.equal(['effect', 'end']);
  });

  it('bind effects: each is made or refused, whenever its run is ended', async () => {
    await world.run('CREATE TABLE kit_run_effects (id VARCHAR(60) PRIMARY KEY, n INTEGER NOT NULL)');
    const runs = await Promise.all(Array.from({ length: 20 }, () => begun(world.odb.runs, 'me')));
    const ended = new Set<string>();
    const made = runs.map(async ({ token, owner }) => {
      let late = 0;
      for (let n = 0; ; n++) {
        const isEnded = ended.has(token);
        const effect = world.odb.once(
          `${token} ${n}`,
          (sql) => sql('INSERT INTO kit_run_effects (id, n) VALUES ($1, $2)', [`${token} ${n}`, n]),
          { token, attempt: 1, owner },
        );
        const code = await effect.then(
          () => 'made',
          (error: { code: string }) => error.code,
        );
        if (code === 'made' && isEnded) late++;
        if (code !== 'made') return { code, late, n };
      }
    });
    for (const run of runs) {
      expect(await world.other.runs.end([{ ...endOf(run), outcome: 'interrupted' }], 'me', null)).to.have.lengthOf(1);
      ended.add(run.token);
    }
    const all = await Promise.all(made);
    for (const { code, late } of all) expect([code, late]).to.deep.equal(['LEASE_LOST', 0]);
    const { value } = await world.odb.once(
      null,
      async (sql) => (await sql('SELECT id FROM kit_run_effects')).rows.length,
    );
    expect(value).to.equal(all.reduce((sum, { n }) => sum + n, 0));
  });
}
