import { expect } from 'chai';
import { type Job, jobOf } from '../../../core/parts.ts';
import type { Attempt, NewRun } from '../../../core/ports/index.ts';
import { type Clock, DatabaseTime, machineClock } from '../../../plugins/scheduler-agenda/clock.ts';
import { Counters } from '../../../plugins/scheduler-agenda/counters.ts';
import { OpenRuns } from '../../../plugins/scheduler-agenda/open-runs.ts';
import { attemptOf, checkKept } from '../../../plugins/scheduler-agenda/run-data.ts';
import { type Ending, sequelOf } from '../../../plugins/scheduler-agenda/sequel.ts';
import { Throttle } from '../../../plugins/scheduler-agenda/throttle.ts';

const NOW = Date.UTC(2030, 0, 1);

function run(of: Partial<Attempt> = {}): Attempt {
  return {
    ...{ token: 't', attempt: 1, source: 'schedule', job: 'j', service: 's', dueAt: NOW, readyAt: NOW, pool: 'holder' },
    ...{ attempts: 1, count: 1, data: null, state: 'running', owner: 'o', server: 'a', epoch: 1, startedAt: NOW },
    ...{ endedAt: null, outcome: null, reason: null, code: null, dead: false, ...of },
  };
}

describe('scheduler.agenda is made of parts', () => {
  describe('the open runs of each job', () => {
    const waiting = (token: string, dueAt: number, job = 'j') =>
      run({ token, job, dueAt, state: 'waiting', owner: null, pool: 'queue' });
    const queued = (token: string, dueAt: number, job = 'j') => ({ token, attempt: 1, job, dueAt });

    it('knows what is under way, and what waits for it', () => {
      const openRuns = new OpenRuns();
      expect([openRuns.underWay('j'), openRuns.queued('j'), openRuns.isOpen('j'), openRuns.size]).to.deep.equal([
        false,
        0,
        false,
        0,
      ]);
      openRuns.begin('j', 't1');
      openRuns.queue(queued('t2', 2));
      expect([openRuns.underWay('j'), openRuns.queued('j'), openRuns.isOpen('j'), openRuns.size]).to.deep.equal([
        true,
        1,
        true,
        1,
      ]);
      expect(openRuns.release(10), 'one is under way').to.deep.equal([]);
      openRuns.end('j', 't1');
      expect([openRuns.underWay('j'), openRuns.isOpen('j')]).to.deep.equal([false, true]);
      expect(openRuns.release(10)).to.deep.equal([queued('t2', 2)]);
      expect([openRuns.underWay('j'), openRuns.queued('j')]).to.deep.equal([true, 0]);
      openRuns.end('j', 't2');
      expect([openRuns.isOpen('j'), openRuns.size, [...openRuns.tokens()]]).to.deep.equal([false, 0, []]);
      openRuns.end('nobody', 't');
    });

    it('releases one of each job, the earliest due first, and no more than asked for', () => {
      const openRuns = new OpenRuns();
      for (const due of [3, 1, 2]) openRuns.queue(queued(`a${due}`, due, 'a'));
      openRuns.queue(queued('b1', 1, 'b'));
      expect(openRuns.release(1).map(({ token }) => token)).to.deep.equal(['a1']);
      expect(openRuns.release(10).map(({ token }) => token)).to.deep.equal(['b1']);
      for (const due of [2, 3]) {
        openRuns.end('a', `a${due - 1}`);
        expect(openRuns.release(10).map(({ token }) => token)).to.deep.equal([`a${due}`]);
      }
    });

    it('takes over what the database has, and nothing that ended while that was asked', async () => {
      const openRuns = new OpenRuns();
      openRuns.begin('old', 't0');
      const found = [
        run({ token: 't1', job: 'a' }),
        run({ token: 't2', job: 'a', state: 'waiting', attempt: 2 }),
        waiting('t3', 1, 'a'),
        run({ token: 't4', job: 'b' }),
        run({ token: 't5', job: null }),
      ];
      await openRuns.survey(async () => {
        openRuns.end('b', 't4');
        return found;
      });
      expect([openRuns.isOpen('old'), openRuns.isOpen('b'), openRuns.size]).to.deep.equal([false, false, 1]);
      expect([...openRuns.tokens()]).to.deep.equal(['t1', 't2']);
      expect(openRuns.queued('a')).to.equal(1);
    });

    it('stays what it is where the database does not answer', async () => {
      const openRuns = new OpenRuns();
      openRuns.begin('j', 't1');
      const asking = openRuns.survey(() => Promise.reject(new Error('away')));
      expect(await asking.catch((error: Error) => error.message)).to.equal('away');
      expect([...openRuns.tokens()]).to.deep.equal(['t1']);
    });
  });

  describe('what comes after an attempt', () => {
    const job = (of: object = {}): Job => jobOf({ name: 'j', service: 's', schedule: { everyMs: 1000 }, ...of });
    const ending = (outcome: Ending['outcome'], of: Partial<Ending> = {}): Ending => ({
      ...{ outcome, endedAt: NOW + 500, code: outcome === 'succeeded' ? null : 'C', reason: null },
      ...of,
    });
    const told = (followers: readonly NewRun[]) => followers.map(({ service, attempt }) => `${service} ${attempt}`);

    it('is nothing for one that succeeded', () => {
      expect(sequelOf(run(), ending('succeeded'), job())).to.deep.equal({ followers: [], dead: false, final: true });
      expect(sequelOf(run({ job: null }), ending('succeeded'), null)).to.include({ dead: false, final: true });
    });

    it('is another attempt of the same token after a failure, later each time, while there are some left', () => {
      const retries = { attempts: 3, backoffMs: 1000, maxBackoffMs: 1500 };
      const one = run({ attempts: 3, token: 'same', pool: 'queue' });
      for (const outcome of ['failed', 'timeout'] as const) {
        const { followers, final, dead } = sequelOf(one, ending(outcome), job({ retries, runsOn: 'any' }));
        expect([final, dead, followers.length]).to.deep.equal([false, false, 1]);
        const [next] = followers as [NewRun];
        expect(next).to.include({ token: 'same', attempt: 2, attempts: 3, dueAt: NOW, pool: 'any', by: null });
        expect(next.readyAt - NOW - 500).to.be.within(500, 1000);
      }
      const [third] = sequelOf({ ...one, attempt: 2 }, ending('failed'), job({ retries })).followers as [NewRun];
      expect(third.readyAt - NOW - 500, 'no longer than told').to.be.within(750, 1500);
      expect(sequelOf({ ...one, attempt: 3 }, ending('failed'), job({ retries }))).to.include({
        final: true,
        dead: false,
      });
    });

    it('is another attempt after an interruption where the job asks for it, but not for ever', () => {
      const again = job({ interrupted: 'again' });
      const next = (attempt: number, of = again) => sequelOf(run({ attempt }), ending('interrupted'), of).followers;
      expect(next(1, job())).to.deep.equal([]);
      const [second] = next(1) as [NewRun];
      expect(second).to.include({ attempt: 2, readyAt: NOW + 500 });
      let attempts = 1;
      while (next(attempts).length > 0) attempts++;
      expect(attempts, 'one, and five interruptions').to.equal(6);
    });

    it('is another attempt of a durable call, with its own back-off, and then the list of dead ones', () => {
      const call = run({ job: null, attempts: 2, data: { backoffMs: 40_000, maxBackoffMs: 40_000 }, pool: 'any' });
      for (const outcome of ['failed', 'timeout', 'interrupted'] as const) {
        const [next] = sequelOf(call, ending(outcome), null).followers as [NewRun];
        expect(next).to.include({ attempt: 2, pool: 'any', job: null });
        const waitMs = next.readyAt - NOW - 500;
        expect(waitMs).to.be.within(20_000, 40_000);
        expect(sequelOf({ ...call, attempt: 2 }, ending(outcome), null)).to.deep.equal({
          ...{ followers: [], dead: true, final: true },
        });
      }
      expect(sequelOf(call, ending('cancelled'), null)).to.deep.equal({ followers: [], dead: false, final: true });
    });

    it('is what the job asks for when its last attempt has ended, durably, and once for one outcome', () => {
      const both = job({ onSuccess: 'well', onError: 'ill', retries: { attempts: 2 } });
      const one = run({ attempts: 2 });
      expect(told(sequelOf(one, ending('succeeded', { value: { n: 1 } }), both).followers)).to.deep.equal(['well 1']);
      expect(told(sequelOf(one, ending('failed'), both).followers)).to.deep.equal(['s 2']);
      const last = { ...one, attempt: 2 };
      const { followers } = sequelOf(last, ending('failed', { code: 'CODE', reason: 'why' }), both);
      expect(told(followers)).to.deep.equal(['ill 1']);
      expect(told(sequelOf(last, ending('interrupted'), both).followers)).to.deep.equal(['ill 1']);
      expect(told(sequelOf(last, ending('cancelled'), both).followers)).to.deep.equal([]);
      const [after] = followers as [NewRun];
      expect(after).to.include({ source: 'follow', job: null, pool: 'any' });
      expect(after.attempts).to.be.above(1);
      expect((after.data as { input: object }).input).to.deep.equal({
        ...{ job: 'j', service: 's', dueAt: new Date(NOW).toISOString(), token: 't', attempt: 2, ok: false },
        ...{ outcome: 'failed', error: { code: 'CODE', message: 'why' } },
      });
      const again = sequelOf(last, ending('failed'), both).followers;
      expect(again[0]?.token, 'the same, whoever adds it').to.equal(after.token);
      expect(sequelOf(one, ending('succeeded'), both).followers[0]?.token).to.not.equal(after.token);
    });

    it('is the callback of a durable call, with what it gave', () => {
      const data = { callback: 'back', cid: 'c', identity: { name: 'i', roles: ['r'] } };
      const call = run({ job: null, token: 'x', data, attempts: 2 });
      const input = (of: Ending, attempt = 1) => {
        const [first] = sequelOf({ ...call, attempt }, of, null).followers as [NewRun];
        return (first.data as { input: object }).input;
      };
      const about = { cid: 'c', service: 's', token: 'x', attempt: 1 };
      const succeeded = { ...about, ok: true, outcome: 'succeeded' };
      expect(input(ending('succeeded', { value: { n: 1 } }))).to.deep.equal({ ...succeeded, value: { n: 1 } });
      expect(input(ending('succeeded', { value: undefined }))).to.deep.equal(succeeded);
      expect(input(ending('succeeded', { value: 'x'.repeat(100_000) })), 'too much').to.deep.equal(succeeded);
      const round: Record<string, unknown> = {};
      round['self'] = round;
      expect(input(ending('succeeded', { value: round })), 'no JSON').to.deep.equal(succeeded);
      expect(input(ending('failed'), 2)).to.deep.include({ ok: false, error: { code: 'C', message: 'failed' } });
      expect(told(sequelOf(call, ending('failed'), null).followers), 'not before the last one').to.deep.equal(['s 2']);
      const [after] = sequelOf(call, ending('cancelled'), null).followers as [NewRun];
      expect(after.data).to.deep.include({ cid: 'c', identity: data.identity });
    });

    it('is nothing more of a job that is gone', () => {
      const gone = run({ attempts: 5 });
      for (const outcome of ['failed', 'interrupted'] as const)
        expect(sequelOf(gone, ending(outcome), null)).to.deep.equal({ followers: [], dead: false, final: true });
    });
  });

  describe('the time of the database', () => {
    function clocks(wall = 0) {
      let steady = 1000;
      const clock: Clock = {
        steady: () => steady,
        wall: () => wall + steady,
        after: () => () => {},
        turn: async () => {},
      };
      const time = new DatabaseTime(clock);
      return { time, go: (ms: number) => void (steady += ms), at: () => steady };
    }

    it("is the machine's own before it was asked, and then not any more", () => {
      const { time, go, at } = clocks(NOW);
      expect([time.isKnown, time.now(), time.aheadMs]).to.deep.equal([false, NOW + 1000, null]);
      expect(time.sync(NOW - 3_600_000, at(), at())).to.equal(0);
      expect([time.isKnown, time.now()]).to.deep.equal([true, NOW - 3_600_000]);
      expect(time.aheadMs).to.equal(3_601_000);
      go(500);
      expect(time.now()).to.equal(NOW - 3_600_000 + 500);
    });

    it('is never ahead of what it can be: nothing is started early', () => {
      const { time, go, at } = clocks();
      const askedAt = at();
      go(8000);
      // It was said at the very end, or just when it was asked.
      time.sync(NOW, askedAt, at());
      expect(time.now()).to.equal(NOW);
    });

    it('is not made worse by an answer that took long', () => {
      const { time, go, at } = clocks();
      time.sync(NOW, at(), at());
      go(1000);
      const askedAt = at();
      go(9000);
      expect(time.sync(NOW + 1000, askedAt, at()), 'said at once').to.equal(0);
      expect(time.now()).to.equal(NOW + 10_000);
      go(1000);
      expect(time.sync(NOW + 20_000 - 1, at() - 9001, at()), 'it was set').to.equal(8999);
    });

    it('follows a clock that is set, and tells by how much', () => {
      for (const byMs of [3_600_000, -3_600_000]) {
        const { time, go, at } = clocks();
        time.sync(NOW, at(), at());
        go(1000);
        expect(time.sync(NOW + 1000 + byMs, at(), at() + 2)).to.be.closeTo(byMs, 3);
        expect(time.now()).to.be.closeTo(NOW + 1000 + byMs, 3);
      }
    });

    it('follows one that goes otherwise, and calls that no step', () => {
      const { time, go, at } = clocks();
      for (let i = 0; i < 1000; i++) {
        expect(time.sync(Math.round(NOW + i * 1001), at(), at() + 1)).to.equal(0);
        expect(time.now()).to.be.closeTo(NOW + i * 1001, 2);
        go(1000);
      }
    });
  });

  it('has a clock that goes on, calls back, and gives others their turn', async () => {
    const before = machineClock.steady();
    const order: string[] = [];
    setImmediate(() => order.push('another'));
    await machineClock.turn();
    order.push('this');
    expect(order).to.deep.equal(['another', 'this']);
    await new Promise<void>((resolve) => void machineClock.after(1, resolve));
    expect(machineClock.steady()).to.be.above(before);
    // A timer of Node that is set for longer fires at once.
    machineClock.after(2 ** 40, () => order.push('never'))();
    const cancel = machineClock.after(0, () => order.push('cancelled'));
    cancel();
    await new Promise<void>((resolve) => void machineClock.after(5, resolve));
    expect(order).to.have.lengthOf(2);
  });

  it('does what a hint says at once, and once for all that come close together', () => {
    let steady = 0;
    const timers: { at: number; work: (() => void) | null }[] = [];
    const clock: Clock = {
      ...{ steady: () => steady, wall: () => 0, turn: async () => {} },
      after(ms, work) {
        const timer: (typeof timers)[number] = { at: steady + ms, work };
        timers.push(timer);
        return () => {
          timer.work = null;
        };
      },
    };
    const go = (ms: number) => {
      steady += ms;
      for (const timer of timers.splice(0)) {
        if (timer.at <= steady) timer.work?.();
        else timers.push(timer);
      }
    };
    let count = 0;
    const throttle = new Throttle(clock, 100, () => void count++);
    throttle.trigger();
    expect(count).to.equal(1);
    for (let i = 0; i < 10; i++) {
      go(5);
      throttle.trigger();
    }
    expect(count).to.equal(1);
    go(50);
    expect(count).to.equal(2);
    go(1000);
    expect(count).to.equal(2);
    throttle.trigger();
    throttle.trigger();
    throttle.stop();
    go(1000);
    expect(count).to.equal(3);
    throttle.trigger();
    expect(count).to.equal(4);
  });

  it('counts what it did', () => {
    const counters = new Counters();
    for (const ms of [0, 1, 2, 3_600_001]) counters.started(ms);
    counters.ended('succeeded', 7);
    counters.ended('timeout', 7);
    counters.ended('missed', 0, 5);
    counters.ended('interrupted', 0);
    counters.tookOver();
    const found = counters.snapshot();
    expect(found).to.include({
      started: 4,
      succeeded: 1,
      failed: 0,
      timedOut: 1,
      missed: 5,
      interrupted: 1,
      takenOver: 1,
    });
    const filled = (of: typeof found.lateness) => of.filter(({ count }) => count > 0);
    expect(filled(found.lateness)).to.deep.equal([
      { upToMs: 1, count: 2, sumMs: 1 },
      { upToMs: 5, count: 1, sumMs: 2 },
      { upToMs: Number.POSITIVE_INFINITY, count: 1, sumMs: 3_600_001 },
    ]);
    expect(filled(found.duration)).to.deep.equal([{ upToMs: 10, count: 2, sumMs: 14 }]);
  });

  it('keeps what is JSON, and refuses what could not be read again', () => {
    for (const good of [undefined, null, 0, 'text', [1], { a: { b: null } }, 'x'.repeat(1024 * 1024 - 2)])
      expect(() => checkKept(good, 'It')).to.not.throw();
    const round: Record<string, unknown> = {};
    round['self'] = round;
    const bad = [new Uint8Array(1), process.stdin, round, () => {}, Symbol('s'), 1n, 'ż'.repeat(600_000)];
    for (const value of bad)
      expect(() => checkKept(value, 'It'))
        .to.throw('It cannot be kept')
        .with.property('code', 'INVALID');
  });

  it('has a run that it added as it is kept', () => {
    const {
      owner: _o,
      server: _s,
      epoch: _e,
      startedAt: _a,
      endedAt: _n,
      code: _c,
      dead: _d,
      state: _t,
      ...about
    } = run();
    const by = { owner: 'o', server: 'a', epoch: 1, now: NOW };
    expect(attemptOf({ ...about, by })).to.deep.equal(run());
  });
});
