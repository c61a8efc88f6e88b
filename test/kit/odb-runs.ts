import { expect } from 'chai';
import type { Attempt, Fence, NewRun } from '../../core/ports/runs.ts';
import { testOdbRunEnds } from './odb-run-ends.ts';
import { testOdbRunHistory } from './odb-run-history.ts';
import { endOf, freshRuns, fromKey, keys, keysOf, RunWorld } from './odb-run-world.ts';
import { type OdbWorld, refusal } from './odb-world.ts';

/** What core/ports/runs.ts promises. */
export function testOdbRuns(odbs: OdbWorld): void {
  describe('runs', () => {
    const world = new RunWorld(odbs);
    afterEach(() => world.clear());
    testAdding(world);
    testFence(world);
    testTaking(world);
    testOdbRunEnds(world);
    testOdbRunHistory(world);
  });
}

function testAdding(world: RunWorld): void {
  it('are kept as they were given: waiting, running from the start, or ended', async () => {
    const job = world.name();
    const by = world.runner('me', 7);
    const data = { text: 'ä 😀 \' " \\ $1 ? \0 \ud800', list: [1, null, ''], deep: { '': 1.5 } };
    const [waiting, running, skipped, call] = freshRuns(job, 4) as [NewRun, NewRun, NewRun, NewRun];
    const given: NewRun[] = [
      { ...waiting, readyAt: waiting.dueAt + 5, attempts: 3, count: 40, data, source: 'backfill', pool: 'queue' },
      { ...running, by, data: 'text', source: 'manual', pool: 'any' },
      { ...skipped, outcome: 'skipped', reason: 'the run before was under way', data: 0 },
      { ...call, job: null, source: 'call', attempt: 3, attempts: 3 },
    ];
    expect(await world.odb.runs.add(given, null)).to.deep.equal(given.map(fromKey));
    const none = { owner: null, server: null, epoch: 0, startedAt: null, endedAt: null, outcome: null, code: null };
    const expected: object[] = [
      {
        ...without(given[0]),
        state: 'waiting',
        ...none,
        reason: null,
        dead: false,
        data: JSON.parse(JSON.stringify(data)),
      },
      {
        ...without(given[1]),
        state: 'running',
        ...none,
        owner: 'me',
        server: by.server,
        epoch: 7,
        startedAt: by.now,
        dead: false,
      },
      { ...without(given[2]), state: 'ended', ...none, outcome: 'skipped', dead: false },
      { ...without(given[3]), state: 'waiting', ...none, dead: false },
    ];
    for (const [i, { token }] of given.entries()) {
      const [found, ...more] = await world.other.runs.find(token);
      expect(more).to.deep.equal([]);
      if (i !== 2) expect(found).to.deep.equal(expected[i]);
      else {
        const { endedAt, ...rest } = found as Attempt;
        expect(endedAt).to.be.within(Date.now() - 60_000, Date.now() + 60_000);
        expect({ ...rest, endedAt: null }).to.deep.equal(expected[i]);
      }
    }
    expect(await world.odb.runs.find(`${job} not there`)).to.deep.equal([]);
    expect(await world.odb.runs.find('x'.repeat(101))).to.deep.equal([]);
  });

  it('are added where they are not there yet, and only these are told', async () => {
    const all = freshRuns(world.name(), 10);
    expect(await world.odb.runs.add([], null)).to.deep.equal([]);
    const [some, rest] = [all.slice(3, 6), [...all.slice(0, 3), ...all.slice(6)]];
    expect(await world.odb.runs.add(some, null)).to.deep.equal(keysOf(some));
    const changed = all.map((run) => ({ ...run, service: 'another', count: 5 }));
    expect(await world.other.runs.add(changed, null)).to.deep.equal(keysOf(rest));
    expect(await world.other.runs.add(changed, null)).to.deep.equal([]);
    const [kept] = await world.odb.runs.find((some[0] as NewRun).token);
    expect(kept).to.include({ service: 'kit.service', count: 1 });
    // The same in one asking: the first one of them.
    const [twice] = freshRuns(world.name(), 1) as [NewRun];
    expect(await world.odb.runs.add([twice, { ...twice, count: 9 }], null)).to.deep.equal([fromKey(twice)]);
    expect((await world.odb.runs.find(twice.token))[0]?.count).to.equal(1);
    expect(await world.odb.runs.add([{ ...twice, attempt: 2 }, twice], null)).to.deep.equal([
      { ...fromKey(twice), attempt: 2 },
    ]);
  });

  it('are each added by exactly one of two that add the same at once', async () => {
    for (let round = 0; round < 5; round++) {
      const all = freshRuns(world.name(), 200);
      const own = all.map((run, i) => ({ ...run, by: world.runner(i % 2 === 0 ? 'even' : 'odd') }));
      const [one, two, three] = await Promise.all([
        world.odb.runs.add(own, null),
        world.other.runs.add(own.toReversed(), null),
        world.odb.runs.add(own.slice(50, 150), null),
      ]);
      expect(keys([...one, ...two, ...three])).to.deep.equal(keys(keysOf(all)));
    }
  });

  it('may be many at once', async () => {
    const job = world.name();
    const many = freshRuns(job, 3000).map((run) => ({ ...run, outcome: 'missed' as const, reason: 'x'.repeat(100) }));
    expect(await world.odb.runs.add(many, null)).to.have.lengthOf(3000);
    expect((await world.odb.runs.history({ job, limit: 1 })).total).to.equal(3000);
  });

  it('are refused what cannot be kept: INVALID with the place of each problem, and nothing is added', async () => {
    const job = world.name();
    const [good, run] = freshRuns(job, 2) as [NewRun, NewRun];
    const circle: Record<string, unknown> = {};
    circle['self'] = circle;
    const bad: readonly [object, string][] = [
      [{ token: '' }, 'token'],
      [{ token: 'x'.repeat(101) }, 'token'],
      [{ token: 'a\0b' }, 'token'],
      [{ attempt: 0 }, 'attempt'],
      [{ source: 'whim' }, 'source'],
      [{ job: 'x'.repeat(201) }, 'job'],
      [{ service: '' }, 'service'],
      [{ dueAt: 1.5 }, 'dueAt'],
      [{ readyAt: Number.NaN }, 'readyAt'],
      [{ pool: 'swimming' }, 'pool'],
      [{ attempts: 0 }, 'attempts'],
      [{ count: -1 }, 'count'],
      [{ outcome: 'unknown' }, 'outcome'],
      [{ by: { ...world.runner('x'), owner: '' } }, 'by/owner'],
      [{ data: circle }, 'data'],
    ];
    for (const [wrong, path] of bad) {
      const error = await refusal('INVALID', world.odb.runs.add([good, { ...run, ...wrong } as NewRun], null));
      expect(error.problems?.map((problem) => problem.path)).to.deep.equal([`/runs/1/${path}`]);
    }
    const fence = { lease: '', holder: 'x'.repeat(101), epoch: -1 };
    const error = await refusal('INVALID', world.odb.runs.add([good], fence));
    expect(error.problems).to.have.lengthOf(3);
    expect(await world.odb.runs.find(good.token)).to.deep.equal([]);
  });
}

const without = (run: NewRun | undefined): object => {
  const { by, ...rest } = run as NewRun;
  return rest;
};

function testFence(world: RunWorld): void {
  const fences = async (): Promise<[Fence, readonly [string, Fence][]]> => {
    const lease = world.name();
    const { epoch } = await world.odb.leases.take(lease, { holder: 'h', server: 's' }, 600_000);
    const fence = { lease, holder: 'h', epoch };
    const lapsed = world.name();
    await world.odb.leases.take(lapsed, { holder: 'h', server: 's' }, 600_000);
    await world.odb.leases.release(lapsed, 'h', 1);
    const lost: [string, Fence][] = [
      ['another holder', { ...fence, holder: 'H' }],
      ['another epoch', { ...fence, epoch: epoch + 1 }],
      ['not there', { ...fence, lease: `${lease} ` }],
      ['lapsed', { lease: lapsed, holder: 'h', epoch: 1 }],
    ];
    return [fence, lost];
  };

  it('are added, started and ended by who holds the lease, and by nobody else: LEASE_LOST, and nothing is done', async () => {
    const [fence, lost] = await fences();
    const [run, next] = freshRuns(world.name(), 2) as [NewRun, NewRun];
    const by = world.runner('h', fence.epoch);
    const end = { ...endOf(run), followers: [next] };
    for (const [why, other] of lost) {
      for (const some of [[run], []]) {
        const error = await refusal('LEASE_LOST', world.odb.runs.add(some, other), other.lease);
        expect(error, why).to.include({ kind: 'conflict', retryable: false });
      }
      expect(await world.odb.runs.find(run.token), why).to.deep.equal([]);
    }
    expect(await world.odb.runs.add([run], fence)).to.have.lengthOf(1);
    for (const [why, other] of lost) {
      await refusal('LEASE_LOST', world.odb.runs.start([run], by, other));
      expect((await world.odb.runs.find(run.token))[0]?.state, why).to.equal('waiting');
    }
    expect(await world.odb.runs.start([run], by, fence)).to.have.lengthOf(1);
    for (const [why, other] of lost) {
      await refusal('LEASE_LOST', world.odb.runs.end([end], 'h', other));
      expect((await world.odb.runs.find(run.token))[0]?.state, why).to.equal('running');
    }
    expect(await world.odb.runs.end([end], 'h', fence)).to.have.lengthOf(1);
    expect(await world.odb.runs.find(next.token)).to.have.lengthOf(1);
  });

  it('are not added any more once another has the lease, however many were on their way', async () => {
    const [fence] = await fences();
    const job = world.name();
    let stop = false;
    const codes: string[] = [];
    const adding = Array.from({ length: 4 }, async (_, lane) => {
      for (let n = 0; !stop; n++) {
        const some = freshRuns(`${job} ${lane} ${n}`, 20).map((run) => ({ ...run, job }));
        const code = await world.odb.runs.add(some, fence).then(
          () => 'added',
          (error: { code: string }) => error.code,
        );
        codes.push(code);
        if (code !== 'added') return;
      }
    });
    while (codes.length < 5) await new Promise((resolve) => setTimeout(resolve, 5));
    await world.other.leases.release(fence.lease, 'h', fence.epoch);
    const taken = await world.other.leases.take(fence.lease, { holder: 'g', server: 's' }, 600_000);
    const then = (await world.other.runs.history({ job, limit: 1 })).total;
    await Promise.all(adding);
    stop = true;
    expect(taken).to.include({ holder: 'g', epoch: fence.epoch + 1 });
    expect(codes.filter((code) => code === 'LEASE_LOST')).to.have.lengthOf(4);
    expect((await world.other.runs.history({ job, limit: 1 })).total).to.equal(then);
  });
}

function testTaking(world: RunWorld): void {
  it('are taken the longest ready first, where they are ready and of these pools', async () => {
    const job = world.name();
    const runs = freshRuns(job, 8).map((run, i): NewRun => {
      const pool = (['holder', 'any', 'queue', 'any'] as const)[i % 4] as NewRun['pool'];
      return { ...run, readyAt: 1000 - i, pool };
    });
    await world.odb.runs.add(runs, null);
    const by = world.runner('taker', 3);
    const take = async (now: number, pools: NewRun['pool'][], limit: number) =>
      (await world.odb.runs.take({ ...by, now, pools, limit })).map(({ token }) =>
        runs.findIndex((run) => run.token === token),
      );
    expect(await take(992, ['holder', 'any', 'queue'], 10)).to.deep.equal([]);
    expect(await take(995, [], 10)).to.deep.equal([]);
    expect(await take(995, ['queue'], 10)).to.deep.equal([6]);
    expect(await take(995, ['holder', 'any', 'any'], 2)).to.deep.equal([7, 5]);
    expect(await take(2000, ['any', 'holder'], 3)).to.deep.equal([4, 3, 1]);
    expect(await take(2000, ['any', 'holder', 'queue'], 1)).to.deep.equal([2]);
    const [taken] = await world.odb.runs.take({ ...by, now: 2000, pools: ['holder'], limit: 5 });
    const first = runs[0] as NewRun;
    expect(taken).to.deep.include({
      ...fromKey(first),
      state: 'running',
      owner: 'taker',
      server: by.server,
      epoch: 3,
      startedAt: 2000,
      job,
    });
    expect((await world.other.runs.find(first.token))[0]).to.deep.equal(taken);
    expect(await take(2000, ['holder', 'any', 'queue'], 10)).to.deep.equal([]);
  });

  it('are taken by exactly one of many takers on two servers, all of them', async () => {
    const runs = freshRuns(world.name(), 500);
    await world.odb.runs.add(runs, null);
    const taken: (Attempt & { by: string })[] = [];
    await Promise.all(
      Array.from({ length: 6 }, async (_, i) => {
        const [odb, by] = [i % 2 === 0 ? world.odb : world.other, world.runner(`taker ${i}`)];
        while (true) {
          const some = await odb.runs.take({ ...by, pools: ['holder', 'any'], limit: 20 + i });
          if (some.length === 0) return;
          taken.push(...some.map((run) => ({ ...run, by: by.owner })));
        }
      }),
    );
    expect(keys(taken)).to.deep.equal(keys(keysOf(runs)));
    for (const { owner, by } of taken) expect(owner).to.equal(by);
    const kept = await world.odb.runs.open({ state: 'running', limit: 1000 });
    const owners = new Map(kept.map(({ token, owner }) => [token, owner]));
    for (const { token, by } of taken) expect(owners.get(token)).to.equal(by);
  });

  it('are started by their keys, once: those that wait, in whatever pool', async () => {
    const runs = freshRuns(world.name(), 60).map(
      (run, i): NewRun => ({ ...run, attempt: 1 + (i % 3), pool: i % 2 === 0 ? 'queue' : 'any' }),
    );
    await world.odb.runs.add(runs, null);
    const absent = { token: world.name(), attempt: 1 };
    const other = { ...(runs[0] as NewRun), attempt: 9 };
    const each = await Promise.all(
      [world.odb, world.other, world.odb].map((odb, i) =>
        odb.runs.start([...(i === 1 ? runs.toReversed() : runs), absent, other], world.runner(`starter ${i}`), null),
      ),
    );
    expect(keys(each.flat())).to.deep.equal(keys(keysOf(runs)));
    for (const [i, some] of each.entries()) for (const { owner } of some) expect(owner).to.equal(`starter ${i}`);
    expect(await world.odb.runs.start(runs, world.runner('late'), null)).to.deep.equal([]);
    expect(await world.odb.runs.start([], world.runner('idle'), null)).to.deep.equal([]);
  });

  it('are refused bad askings', async () => {
    const by = world.runner('me');
    for (const limit of [0, -1, 1.5, Number.NaN]) {
      await refusal('INPUT_INVALID', world.odb.runs.take({ ...by, pools: ['any'], limit }), 'limit');
      await refusal('INPUT_INVALID', world.odb.runs.open({ limit }), 'limit');
    }
    await refusal('INVALID', world.odb.runs.take({ ...by, pools: ['pool' as never], limit: 1 }));
    await refusal('INVALID', world.odb.runs.take({ ...by, now: -1, pools: ['any'], limit: 1 }));
    await refusal('INVALID', world.odb.runs.start([{ token: 'x'.repeat(101), attempt: 0 }], by, null));
    await refusal('INVALID', world.odb.runs.start([], { ...by, server: 'x'.repeat(201) }, null));
    await refusal('INVALID', world.odb.runs.move([], 'pool' as never));
    await refusal('INVALID', world.odb.runs.readyAt(['pool' as never]));
  });
}
