import { expect } from 'chai';
import { Timetable } from '../../../core/parts.ts';
import type { Attempt } from '../../../core/ports/index.ts';
import { expiredSince } from '../../../plugins/scheduler-agenda/takeover.ts';

const MINUTE = 60_000;
const NOW = Date.UTC(2030, 0, 1);

function waiting(job: string, lateMs: number, more: Partial<Attempt> = {}): Attempt {
  const due = NOW - lateMs;
  return {
    ...{ token: `${job} ${lateMs}`, attempt: 1, source: 'schedule', job, service: 'books', dueAt: due, readyAt: due },
    ...{ pool: 'queue', attempts: 1, count: 1, data: null, state: 'waiting', owner: null, server: null, epoch: 0 },
    ...{ startedAt: null, endedAt: null, outcome: null, reason: null, code: null, dead: false },
    ...more,
  };
}

describe('scheduler.agenda takes over what waited', () => {
  const timetable = new Timetable();
  for (const policy of ['skip', 'once', 'all']) {
    const missed = { policy, lateMs: 5 * MINUTE, withinMs: 60 * MINUTE };
    timetable.put({ name: policy, service: 'books', schedule: { every: '1m' }, missed });
  }
  const rows = [
    ...['skip', 'once', 'all', 'gone'].flatMap((job) => [waiting(job, MINUTE), waiting(job, 90 * MINUTE)]),
    waiting('skip', 91 * MINUTE, { attempt: 2 }),
    waiting('skip', 92 * MINUTE, { source: 'manual' }),
    waiting('all', 93 * MINUTE, { source: 'backfill' }),
  ];
  const expired = async (vacantMs: number | null) => {
    const ends = await expiredSince({ runs: { open: async () => rows }, timetable }, vacantMs && NOW - vacantMs, NOW);
    for (const { outcome, reason } of ends) expect([outcome, typeof reason]).to.deep.equal(['missed', 'string']);
    return ends.map(({ token }) => token);
  };

  it('as it is, where somebody had the scheduler until just now, or nobody ever had', async () => {
    expect(await expired(7000)).to.deep.equal([]);
    expect(await expired(null)).to.deep.equal([]);
  });

  it('after a vacancy as missed: of a job that skips all, of others what is not made up for; never what was begun or asked for', async () => {
    const late = 90 * MINUTE;
    expect(await expired(3 * MINUTE)).to.deep.equal([`once ${late}`, `all ${late}`]);
    expect(await expired(10 * MINUTE)).to.deep.equal([`skip ${MINUTE}`, `skip ${late}`, `once ${late}`, `all ${late}`]);
  });
});
