import { expect } from 'chai';
import fc from 'fast-check';
import type { Job } from '../../../core/parts.ts';
import { type Decision, decide, type JobSituation } from '../../../plugins/scheduler-agenda/decisions.ts';

type Policy = Job['missed']['policy'];
type Terms = Pick<Job, 'missed' | 'overlap'>;

const MINUTE_MS = 60_000;
const NOW = 1_000 * MINUTE_MS;
const FREE = { underWay: false, queued: 0 };

function terms(policy: Policy, overlap: Job['overlap'], missed: Partial<Job['missed']> = {}): Terms {
  return { overlap, missed: { policy, lateMs: 10_000, withinMs: 60 * MINUTE_MS, limit: 100, ...missed } };
}

/** One due time a minute, the last of `count` so many ms ago; as many are told as the plan asks for. */
function decided(job: Terms, count: number, agoMs: number, of: Partial<JobSituation> = {}): readonly Decision[] {
  const told = Math.min(count, job.missed.limit + 2);
  const times = Array.from({ length: told }, (_, i) => NOW - agoMs - (told - 1 - i) * MINUTE_MS);
  return decide(job, times, count, { now: NOW, readyAt: NOW - agoMs, ...FREE, ...of });
}

const actions = (made: readonly Decision[]) => made.map(({ action, count }) => `${action} ${count}`);

describe('scheduler.agenda decides on what is due', () => {
  it('runs what is on time, and late, up to lateMs after it was ready', () => {
    for (const policy of ['skip', 'once', 'all'] as const) {
      for (const agoMs of [0, 1, 9999, 10_000])
        expect(actions(decided(terms(policy, 'skip'), 1, agoMs)), `${policy} ${agoMs}`).to.deep.equal(['run 1']);
    }
    expect(actions(decided(terms('skip', 'skip'), 1, 10_001))).to.deep.equal(['missed 1']);
  });

  it('counts from when the jitter is over, not from the due time', () => {
    const job = terms('skip', 'skip');
    expect(actions(decided(job, 1, 50_000, { readyAt: NOW - 5000 }))).to.deep.equal(['run 1']);
    expect(actions(decided(job, 1, 50_000, { readyAt: NOW - 11_000 }))).to.deep.equal(['missed 1']);
  });

  it('makes up for what was missed as the policy says', () => {
    const [late, onTime] = [30_000, 5000];
    expect(actions(decided(terms('skip', 'skip'), 5, late))).to.deep.equal(['missed 5']);
    expect(actions(decided(terms('once', 'skip'), 5, late))).to.deep.equal(['missed 4', 'run 1']);
    expect(actions(decided(terms('all', 'skip'), 3, late))).to.deep.equal(['run 1', 'queue 1', 'queue 1']);
    expect(actions(decided(terms('all', 'allow'), 3, late))).to.deep.equal(['run 1', 'run 1', 'run 1']);
    // The one on time is a run already.
    expect(actions(decided(terms('skip', 'skip'), 5, onTime))).to.deep.equal(['missed 4', 'run 1']);
    expect(actions(decided(terms('once', 'skip'), 5, onTime))).to.deep.equal(['missed 4', 'run 1']);
    expect(actions(decided(terms('all', 'skip'), 3, onTime))).to.deep.equal(['run 1', 'queue 1', 'queue 1']);
  });

  it('makes up for the latest ones only, and for none that was missed for too long', () => {
    const few = terms('all', 'allow', { limit: 2 });
    expect(actions(decided(few, 1000, 30_000))).to.deep.equal(['missed 998', 'run 1', 'run 1']);
    const [given] = decided(few, 1000, 30_000);
    expect(given?.dueAt, 'a due time').to.equal(NOW - 30_000 - 2 * MINUTE_MS);
    const window = terms('all', 'allow', { withinMs: 2 * MINUTE_MS });
    expect(actions(decided(window, 10, 30_000))).to.deep.equal(['missed 8', 'run 1', 'run 1']);
    expect(actions(decided(terms('once', 'skip', { withinMs: 20_000 }), 3, 30_000))).to.deep.equal(['missed 3']);
    expect(actions(decided(terms('all', 'skip', { withinMs: 0 }), 3, 30_000))).to.deep.equal(['missed 3']);
  });

  it('treats a due time while the run before is under way as the overlap says', () => {
    const busy = { underWay: true, queued: 0 };
    expect(actions(decided(terms('skip', 'skip'), 1, 0, busy))).to.deep.equal(['skipped 1']);
    expect(actions(decided(terms('skip', 'queue-one'), 1, 0, busy))).to.deep.equal(['queue 1']);
    expect(actions(decided(terms('skip', 'queue-one'), 1, 0, { ...busy, queued: 1 }))).to.deep.equal(['skipped 1']);
    expect(actions(decided(terms('skip', 'allow'), 1, 0, { ...busy, queued: 1 }))).to.deep.equal(['run 1']);
    // One that waits is first.
    expect(actions(decided(terms('skip', 'skip'), 1, 0, { underWay: false, queued: 1 }))).to.deep.equal(['skipped 1']);
    expect(actions(decided(terms('once', 'skip'), 3, 30_000, busy))).to.deep.equal(['missed 2', 'queue 1']);
    expect(actions(decided(terms('once', 'skip'), 3, 30_000, { ...busy, queued: 1 }))).to.deep.equal([
      'missed 2',
      'missed 1',
    ]);
    expect(actions(decided(terms('all', 'queue-one'), 2, 30_000, busy))).to.deep.equal(['queue 1', 'queue 1']);
    expect(actions(decided(terms('all', 'skip'), 1, 0, { ...busy, queued: 3 })), 'it still makes up').to.deep.equal([
      'queue 1',
    ]);
  });

  it('decides on nothing where there is nothing', () => {
    expect(decide(terms('all', 'skip'), [], 0, { now: NOW, readyAt: NOW, ...FREE })).to.deep.equal([]);
  });

  it('accounts for each due time once, whatever it is told, and never overlaps where it must not', () => {
    const world = fc.record({
      policy: fc.constantFrom<Policy>('skip', 'once', 'all'),
      overlap: fc.constantFrom<Job['overlap']>('skip', 'queue-one', 'allow'),
      lateMs: fc.integer({ min: 0, max: 3 * MINUTE_MS }),
      withinMs: fc.integer({ min: 0, max: 20 * MINUTE_MS }),
      limit: fc.integer({ min: 1, max: 12 }),
      count: fc.integer({ min: 1, max: 40 }),
      gaps: fc.array(fc.integer({ min: 1, max: 3 * MINUTE_MS }), { minLength: 40, maxLength: 40 }),
      agoMs: fc.integer({ min: 0, max: 5 * MINUTE_MS }),
      jitterMs: fc.integer({ min: 0, max: MINUTE_MS }),
      underWay: fc.boolean(),
      queued: fc.integer({ min: 0, max: 3 }),
    });
    const check = fc.property(world, ({ policy, overlap, count, gaps, agoMs, jitterMs, underWay, queued, ...rest }) => {
      const job = terms(policy, overlap, rest);
      const all = [NOW - agoMs];
      for (const gap of gaps.slice(0, count - 1)) all.unshift((all[0] as number) - gap);
      const times = all.slice(-(rest.limit + 2));
      const readyAt = Math.min(NOW, NOW - agoMs + jitterMs);
      const made = decide(job, times, count, { now: NOW, readyAt, underWay, queued });
      const isLate = NOW - readyAt > rest.lateMs;

      expect(made.reduce((sum, one) => sum + one.count, 0)).to.equal(count);
      const dues = made.map(({ dueAt }) => dueAt);
      expect(dues).to.deep.equal([...new Set(dues)].sort((a, b) => a - b));
      // Each stands for those up to it that none before it stands for.
      let accounted = 0;
      for (const one of made) {
        accounted += one.count;
        expect(all.filter((time) => time <= one.dueAt)).to.have.lengthOf(accounted);
        if (one.action === 'run' || one.action === 'queue') expect(one.count).to.equal(1);
        else expect(one.reason).to.be.a('string').with.length.greaterThan(5);
      }
      const begun = made.filter(({ action }) => action === 'run');
      const kept = made.filter(({ action }) => action === 'run' || action === 'queue');
      if (overlap !== 'allow') expect(begun.length).to.be.at.most(underWay ? 0 : 1);
      if (overlap !== 'allow' && policy !== 'all') expect(kept.length).to.be.at.most(1);
      if (overlap === 'allow') expect(kept.length).to.equal(begun.length);
      const missed = isLate ? all : all.slice(0, -1);
      const wanted = missed.slice(-rest.limit).filter((time) => NOW - time <= rest.withinMs);
      const makingUp = kept.map(({ dueAt }) => dueAt).filter((time) => missed.includes(time));
      if (policy === 'all') expect(makingUp).to.deep.equal(wanted);
      if (policy === 'skip') expect(makingUp).to.deep.equal([]);
      if (policy === 'once') expect(makingUp.length).to.be.at.most(isLate ? 1 : 0);
    });
    fc.assert(check, { numRuns: 3000 });
  });
});
