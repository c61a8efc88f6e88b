import { expect } from 'chai';
import fc from 'fast-check';
import type { Schedule } from '../../../core/api.ts';
import { type Job, jobOf, timesOf } from '../../../core/parts.ts';
import { Heap } from '../../../plugins/scheduler-agenda/heap.ts';
import { type DueTimes, jitterOf, Plan, readyAt, tokenOf } from '../../../plugins/scheduler-agenda/plan.ts';
import { FRESH_MS, fromOf, fromOfChanged, handledSince, inSlices } from '../../../plugins/scheduler-agenda/takeover.ts';

const START = Date.UTC(2030, 0, 1);
const iso = (ms: number) => new Date(ms).toISOString();

function job(name: string, schedule: Schedule, more: object = {}): Job {
  return jobOf({ name, service: 's', schedule, since: iso(START), ...more });
}

describe('scheduler.agenda plans', () => {
  describe('with a heap', () => {
    it('gives what it has in order, whatever was put and taken before', () => {
      const check = fc.property(fc.array(fc.option(fc.integer({ min: 0, max: 50 }))), (given) => {
        const heap = new Heap<number>((one, other) => one < other);
        const model: number[] = [];
        for (const one of given) {
          if (one === null) expect(heap.pop()).to.equal(model.shift());
          else {
            heap.push(one);
            model.push(one);
            model.sort((a, b) => a - b);
          }
          expect(heap.peek()).to.equal(model[0]);
          expect(heap.size).to.equal(model.length);
        }
        heap.keep((one) => one % 3 === 0);
        const left = model.filter((one) => one % 3 === 0);
        expect(left.map(() => heap.pop())).to.deep.equal(left);
        expect(heap.pop()).to.equal(undefined);
      });
      fc.assert(check);
    });

    it('is empty when it was cleared', () => {
      const heap = new Heap<number>((one, other) => one < other);
      heap.push(1);
      heap.clear();
      expect([heap.size, heap.peek(), heap.pop()]).to.deep.equal([0, undefined, undefined]);
    });
  });

  describe('jitter', () => {
    it('is the same for one due time, another one for the next, within its bounds and before the next one is due', () => {
      const one = { name: 'a', jitterMs: 1000 };
      const all = Array.from({ length: 200 }, (_, i) => jitterOf(one, START + i * 5000, START + (i + 1) * 5000));
      expect(all).to.deep.equal(all.map((_, i) => jitterOf({ ...one }, START + i * 5000, null)));
      expect(Math.min(...all))
        .to.be.at.least(0)
        .and.below(100);
      expect(Math.max(...all))
        .to.be.at.most(1000)
        .and.above(900);
      expect(new Set(all).size).to.be.above(150);
      expect(jitterOf({ name: 'b', jitterMs: 1000 }, START, null)).to.not.equal(jitterOf(one, START, null));
      const close = Array.from({ length: 200 }, (_, i) => jitterOf(one, START + i * 10, START + i * 10 + 10));
      expect(Math.max(...close)).to.equal(9);
      expect(jitterOf(one, START, START + 1)).to.equal(0);
      expect(jitterOf({ name: 'a', jitterMs: 0 }, START, null)).to.equal(0);
    });

    it('longer than an interval holds nothing up, and misses nothing', () => {
      for (const limit of [1, 100]) {
        const plan = new Plan();
        plan.put(job('a', { everyMs: 1000 }, { jitterMs: 3_600_000, missed: { limit } }), START);
        const taken: number[] = [];
        for (let now = START; now <= START + 60_000; now += 1) {
          for (const { entry, times, count, until, readyAt: ready } of plan.take(now, 10)) {
            expect(count).to.equal(1);
            expect(times).to.deep.equal([until]);
            expect(ready).to.equal(now);
            taken.push(...times);
            plan.settle(entry, until);
          }
        }
        const due = Array.from({ length: 59 }, (_, i) => START + (i + 1) * 1000);
        expect(taken.slice(0, 59)).to.deep.equal(due);
      }
    });
  });

  it('gives what is ready, once, the longest ready first', () => {
    const plan = new Plan();
    plan.put(job('slow', { everyMs: 5000 }), START);
    plan.put(job('fast', { everyMs: 1000 }), START);
    plan.put(job('over', { at: iso(START - 1) }), START);
    expect(plan.size).to.equal(2);
    expect(plan.nextReady()).to.equal(START + 1000);
    expect(plan.take(START + 999, 10)).to.deep.equal([]);
    const [first, ...others] = plan.take(START + 5500, 10) as [DueTimes, ...DueTimes[]];
    expect(first).to.deep.include({ times: [1, 2, 3, 4, 5].map((s) => START + s * 1000), count: 5 });
    expect(others.map(({ entry, times }) => [entry.job.name, times])).to.deep.equal([['slow', [START + 5000]]]);
    expect(plan.take(START + 5500, 10), 'they are in hand').to.deep.equal([]);
    plan.putBack(first.entry);
    expect(plan.take(START + 5500, 10)).to.have.lengthOf(1);
    plan.settle(first.entry, first.until);
    expect(first.entry).to.include({ from: START + 5000, due: START + 6000, ready: START + 6000 });
  });

  it('gives no more jobs at once than asked for, and the rest then', () => {
    const plan = new Plan();
    for (let i = 0; i < 25; i++) plan.put(job(`j${i}`, { at: iso(START + i) }), START - 1);
    const portions = [10, 10, 10].map((limit) => plan.take(START + 100, limit).map(({ entry }) => entry.job.name));
    expect(portions.map(({ length }) => length)).to.deep.equal([10, 10, 5]);
    expect(portions.flat()).to.deep.equal(Array.from({ length: 25 }, (_, i) => `j${i}`));
  });

  it('tells of many due times the latest, two more than are made up for, and how many there are', () => {
    const plan = new Plan();
    plan.put(job('a', { everyMs: 1000 }, { missed: { limit: 3 } }), START);
    const [due] = plan.take(START + 10_000_000, 1) as [DueTimes];
    expect(due.count).to.equal(10_000);
    expect(due.times).to.deep.equal([9996, 9997, 9998, 9999, 10_000].map((s) => START + s * 1000));
  });

  it('forgets what was dropped or put anew, also while it is in hand', () => {
    const plan = new Plan();
    plan.put(job('gone', { everyMs: 1000 }), START);
    plan.put(job('new', { everyMs: 1000 }), START);
    const taken = plan.take(START + 1000, 10);
    plan.drop('gone');
    plan.put(job('new', { everyMs: 7000 }), START);
    for (const { entry, until } of taken) plan.settle(entry, until);
    expect(plan.find('gone')).to.equal(null);
    expect(plan.take(START + 6999, 10)).to.deep.equal([]);
    expect(plan.take(START + 7000, 10).map(({ entry }) => entry.job.name)).to.deep.equal(['new']);
  });

  it('keeps little of jobs that were changed often, or came and went', () => {
    const plan = new Plan();
    const far = { at: iso(START + 1e11) };
    for (let i = 0; i < 20; i++) plan.put(job(`stays ${i}`, far), START);
    for (let i = 0; i < 20_000; i++) {
      plan.put(job('edited', far), START);
      plan.put(job(`goes ${i}`, far), START);
      plan.drop(`goes ${i}`);
    }
    expect(plan.heapSize).to.be.below(1200);
    expect(plan.take(START + 1e11, 100)).to.have.lengthOf(21);
  });

  it('makes tokens of job and due time, and of nothing else', () => {
    expect(tokenOf('a', START))
      .to.match(/^[0-9a-f]{32}$/)
      .and.to.equal(tokenOf('a', START));
    expect(new Set([tokenOf('a', START), tokenOf('a', START + 1), tokenOf('b', START)]).size).to.equal(3);
    // Where the name ends, and the time begins.
    expect(tokenOf('a1', 2)).to.not.equal(tokenOf('a', 12));
  });

  it('marks nothing as accounted for that is not, in whatever order it is worked off', () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant('go'), ms: fc.integer({ min: 0, max: 9000 }) }),
      fc.record({ do: fc.constant('take'), limit: fc.integer({ min: 1, max: 3 }) }),
      fc.record({ do: fc.constantFrom('settle', 'fail'), at: fc.nat(5) }),
      fc.record({ do: fc.constantFrom('put', 'drop'), at: fc.nat(3), everyMs: fc.integer({ min: 10, max: 5000 }) }),
    );
    const check = fc.property(fc.array(step, { maxLength: 60 }), fc.constantFrom(0, 300, 20_000), (steps, jitterMs) => {
      const plan = new Plan();
      /** Up to when each is accounted for. */
      const model = new Map<string, { readonly job: Job; until: number }>();
      let now = START;
      let mark = START;
      let open: DueTimes[] = [];
      const put = (name: string, everyMs: number) => {
        // What is accounted for stays so, whatever times a job has now.
        const from = Math.max(mark, model.get(name)?.until ?? now);
        const made = job(name, { everyMs }, { jitterMs });
        plan.put(made, from);
        model.set(name, { job: made, until: from });
      };
      for (const name of ['a', 'b', 'c']) put(name, 1000);
      for (const one of steps) {
        if (one.do === 'go') now += (one as { ms: number }).ms;
        if (one.do === 'take' && open.length === 0) open = plan.take(now, (one as { limit: number }).limit);
        if (one.do === 'settle' || one.do === 'fail') {
          for (const { entry, until } of open) {
            if (one.do === 'fail') plan.putBack(entry);
            else {
              plan.settle(entry, until);
              const known = model.get(entry.job.name);
              if (known?.job === entry.job) known.until = until;
            }
          }
          open = [];
        }
        if (one.do === 'put' || one.do === 'drop') {
          // What is being decided on is left alone, as the plugin does it.
          if (open.length > 0) continue;
          const { at, everyMs } = one as { at: number; everyMs: number };
          const name = ['a', 'b', 'c', 'd'][at] as string;
          if (one.do === 'put') put(name, everyMs);
          else {
            plan.drop(name);
            model.delete(name);
          }
        }
        mark = Math.max(mark, plan.mark(now, open));
        expect(mark).to.be.at.most(now);
        for (const { job: planned, until } of model.values()) {
          const next = timesOf(planned).next(until);
          expect(next, `${planned.name} at ${now - START}`).to.be.above(mark);
        }
      }
      // When all is worked off, only the jitter is between now and the mark.
      for (const { entry } of open) plan.putBack(entry);
      for (let due = plan.take(now, 9); due.length > 0; due = plan.take(now, 9))
        for (const { entry, until } of due) plan.settle(entry, until);
      expect(plan.mark(now, [])).to.be.at.least(now - 2 * jitterMs - 1);
    });
    fc.assert(check, { numRuns: 500 });
  });

  it('is ready for the same time on every server', () => {
    const one = job('a', { cron: '*/5 * * * *' }, { jitterMs: 60_000 });
    const other = job('a', { cron: '*/5 * * * *' }, { jitterMs: 60_000, since: iso(START - 1e9) });
    const at = START + 300_000;
    expect(readyAt({ job: one, times: timesOf(one) }, at)).to.equal(readyAt({ job: other, times: timesOf(other) }, at));
  });

  describe('where another one planned before', () => {
    const now = START + 1_000_000;
    const since = (ms: number) => ({ ...job('a', { everyMs: 1000 }), since: ms });

    it('goes on from its mark', () => {
      expect(fromOf(since(START), now - 5000, now)).to.equal(now - 5000);
    });
    it('goes by when the job was made, where nobody has planned', () => {
      expect(fromOf(since(START), null, now)).to.equal(START);
      expect(fromOf(since(0), null, now), 'it does not say').to.equal(now);
    });
    it('looks at a job that came just before the mark: that server may not have heard of it', () => {
      const mark = now - 5000;
      expect(fromOf(since(mark - FRESH_MS + 1), mark, now)).to.equal(mark - FRESH_MS + 1);
      expect(fromOf(since(mark - FRESH_MS), mark, now)).to.equal(mark);
      expect(fromOf(since(now - 1000), mark, now), 'since then').to.equal(now - 1000);
    });
    it('does not go by a clock that was ahead', () => {
      expect(fromOf(since(now + 1), now - 5000, now)).to.equal(now - 5000);
      expect(fromOf(since(now + 1), null, now)).to.equal(now);
    });
    it('takes a job that comes or changes from when that was, but not from long ago', () => {
      const before = { job: since(START), from: now - 500_000 };
      expect(fromOfChanged(since(START), before, now), 'in nothing that concerns its times').to.equal(now - 500_000);
      expect(fromOfChanged(since(now - 1000), before, now)).to.equal(now - 1000);
      expect(fromOfChanged(since(now - 1000), null, now)).to.equal(now - 1000);
      expect(fromOfChanged(since(now + 1000), null, now), 'a clock that is ahead').to.equal(now);
      expect(fromOfChanged(since(START), null, now), 'one that is behind').to.equal(now - FRESH_MS);
      expect(fromOfChanged(since(now - 1000), { ...before, from: now - 10 }, now), 'never twice').to.equal(now - 10);
    });
    it('knows what there is of each job, looked for as long before the mark', async () => {
      const asked: number[] = [];
      const firings = async (after: number) => {
        asked.push(after);
        return [
          { job: 'a', dueAt: 5 },
          { job: 'b', dueAt: 3 },
          { job: 'a', dueAt: 4 },
        ];
      };
      const handled = await handledSince({ firings }, now);
      expect([...handled]).to.deep.equal([
        ['a', 5],
        ['b', 3],
      ]);
      await handledSince({ firings }, null);
      expect(asked).to.deep.equal([now - FRESH_MS, 0]);
    });
    it('gives others their turn when that lasts', async () => {
      let ms = 0;
      let turns = 0;
      const clock = {
        steady: () => ms,
        wall: () => 0,
        after: () => () => {},
        turn: async () => void turns++,
      };
      const seen: string[] = [];
      const names = Array.from({ length: 100 }, (_, i) => `${i}`);
      const work = (name: string) => {
        ms += 1;
        seen.push(name);
      };
      await inSlices(names, clock, work, () => false);
      expect(seen).to.deep.equal(names);
      expect(turns).to.equal(20);
      await inSlices(names, clock, work, () => true);
      expect(seen, 'it is over').to.have.lengthOf(105);
    });
  });
});
