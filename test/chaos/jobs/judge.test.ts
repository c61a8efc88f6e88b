import { expect } from 'chai';
import { type Absence, type Evidence, FAULTS, type Fault, judge, latenessOf, type Watched } from './judge.ts';
import type { Line } from './lines.ts';
import type { Row } from './rows.ts';

const T0 = Date.UTC(2026, 0, 1);
const SECOND = 1000;
const COUNT = 10;
const times = Array.from({ length: COUNT }, (_, i) => T0 + i * SECOND);
const PIDS: Readonly<Record<string, number>> = { s1: 101, s2: 102 };

/** Ledgers and rows of two jobs that were run as promised; one run of the second one was interrupted, and run again. */
class Books implements Evidence {
  watched: Watched[] = [
    { job: 'j-leave', times, again: false },
    { job: 'j-again', times, again: true },
  ];
  lines: Line[] = [];
  rows: Row[] = [];
  absences: Absence[] = [{ pid: PIDS['s2'] as number, from: T0 + 20_000, until: Number.POSITIVE_INFINITY }];

  constructor() {
    for (const { job } of this.watched) for (const dueAt of times) this.run(job, dueAt);
    // Started just before its server died, and again seven seconds later.
    const at = this.row('j-again', 9);
    this.rows[at] = {
      ...(this.rows[at] as Row),
      server: 's2',
      owner: 'o-s2',
      outcome: 'interrupted',
      endedAt: T0 + 26_900,
    };
    this.lines = this.lines.filter(({ job, dueAt }) => job !== 'j-again' || dueAt !== times[9]);
    this.lines.push(this.line('start', 'j-again', times[9] as number, { server: 's2', at: T0 + 19_900 }));
    this.run('j-again', times[9] as number, { attempt: 2, at: T0 + 27_000 });
  }

  run(job: string, dueAt: number, { attempt = 1, at = dueAt + 20 } = {}): void {
    this.rows.push({
      ...{ token: `${job}@${dueAt}`, attempt, source: 'schedule', job, dueAt, server: 's1', owner: 'o-s1', epoch: 1 },
      ...{ startedAt: at, endedAt: at + 300, outcome: 'succeeded', reason: null, code: null, count: 1, dead: false },
    });
    this.lines.push(this.line('start', job, dueAt, { attempt, at }));
    this.lines.push(this.line('end', job, dueAt, { attempt, at: at + 300 }));
  }

  line(event: Line['event'], job: string, dueAt: number, { attempt = 1, server = 's1', at = dueAt } = {}): Line {
    const pid = PIDS[server] as number;
    const token = `${job}@${dueAt}`;
    return { event, job, token, dueAt, attempt, owner: `o-${server}`, source: 'schedule', server, pid, at };
  }

  row(job: string, nth: number): number {
    return this.rows.findIndex((row) => row.job === job && row.dueAt === times[nth] && row.attempt === 1);
  }
  change(job: string, nth: number, change: Partial<Row>): void {
    const at = this.row(job, nth);
    this.rows[at] = { ...(this.rows[at] as Row), ...change };
  }
}

/** What it found. */
function found(doctor: (books: Books) => void): Partial<Record<Fault, number>> {
  const books = new Books();
  doctor(books);
  const { faults } = judge(books);
  const named = Object.entries(faults).filter(([, cases]) => cases.length > 0);
  return Object.fromEntries(named.map(([name, cases]) => [name, cases.length]));
}

describe('the judge of jobs', () => {
  it('finds nothing wrong with what was run as promised', () => {
    const verdict = judge(new Books());
    expect(found(() => {})).to.deep.equal({});
    expect(verdict.promised).to.equal(2 * COUNT);
    expect(verdict.fired).to.equal(2 * COUNT);
    expect(verdict.starts).to.equal(2 * COUNT + 1);
    expect(verdict.outcomes).to.deep.equal({ succeeded: 2 * COUNT, interrupted: 1 });
    expect(verdict.furtherAttempts).to.equal(1);
  });

  it('knows each fault by a sentence', () => {
    expect(Object.keys(judge(new Books()).faults)).to.deep.equal(Object.keys(FAULTS));
  });

  it('finds a due time without a row', () => {
    const lost = (books: Books) => {
      books.rows.splice(books.row('j-leave', 3), 1);
      books.lines = books.lines.filter(({ job, dueAt }) => job !== 'j-leave' || dueAt !== times[3]);
    };
    expect(found(lost)).to.deep.equal({ lost: 1 });
  });

  it('finds them all where there is nothing', () => {
    const nothing = (books: Books) => {
      books.rows = [];
      books.lines = [];
    };
    expect(found(nothing)).to.deep.equal({ lost: 2 * COUNT });
  });

  it('counts those that one row stands for, and finds what is counted twice', () => {
    const together = (books: Books) => {
      books.change('j-leave', 4, { outcome: 'missed', count: 3, server: null, owner: null });
      books.lines = books.lines.filter(({ job, dueAt }) => job !== 'j-leave' || dueAt < T0 + 2000 || dueAt > T0 + 4000);
      for (const nth of [3, 2]) books.rows.splice(books.row('j-leave', nth), 1);
    };
    expect(found(together)).to.deep.equal({});
    expect(
      found((books) => {
        together(books);
        books.change('j-leave', 4, { count: 4 });
      }),
    ).to.deep.equal({ counted: 1 });
    expect(
      found((books) => {
        together(books);
        books.change('j-leave', 4, { count: 2 });
      }),
    ).to.deep.equal({ lost: 1 });
  });

  it('takes one that is missed for those up to it, though it is between two due times', () => {
    const between = (outcome: string) => (books: Books) => {
      books.change('j-leave', 4, { outcome, dueAt: (times[4] as number) + 999 });
      books.lines = books.lines.filter(({ job, dueAt }) => job !== 'j-leave' || dueAt !== times[4]);
    };
    expect(found(between('missed'))).to.deep.equal({});
    expect(found(between('interrupted'))).to.deep.equal({ lost: 1, strange: 1 });
  });

  it('finds a due time with two firings', () => {
    const twice = (books: Books) => {
      books.rows.push({ ...(books.rows[books.row('j-leave', 3)] as Row), token: 'another' });
      const said = books.lines.filter(({ job, dueAt }) => job === 'j-leave' && dueAt === times[3]);
      books.lines.push(...said.map((line) => ({ ...line, token: 'another' })));
    };
    expect(found(twice)).to.deep.equal({ counted: 1 });
  });

  it('finds a firing at a time at which its job was not due', () => {
    expect(found((books) => books.run('j-leave', T0 + 3500))).to.deep.equal({ strange: 1 });
    expect(found((books) => books.run('j-leave', T0 - 1000))).to.deep.equal({});
  });

  it('finds a row without an outcome', () => {
    expect(found((books) => books.change('j-leave', 3, { outcome: null }))).to.deep.equal({ open: 1 });
  });

  it('finds an attempt that was started twice, on two servers or on one', () => {
    const again = (server: string) => (books: Books) => {
      const at = (times[3] as number) + 5000;
      books.lines.push(books.line('start', 'j-leave', times[3] as number, { server, at }));
    };
    // It does not run where its row says, either.
    expect(found(again('s2'))).to.deep.equal({ repeated: 1, foreign: 1 });
    // One that ended was started: it runs still, as far as anybody knows, and that overlaps with nothing.
    expect(found(again('s1'))).to.deep.equal({ repeated: 1 });
  });

  it('finds what was started without a row', () => {
    const stray = (books: Books) => {
      books.lines.push(books.line('start', 'j-leave', times[3] as number, { attempt: 2, at: T0 + 9000 }));
    };
    expect(found(stray)).to.deep.equal({ unrecorded: 1 });
  });

  it('finds what was started when its row had an outcome already', () => {
    const thawed = (endedAt: number) => (books: Books) =>
      books.change('j-leave', 3, { outcome: 'interrupted', endedAt });
    // It was started 20 ms after it was due.
    expect(found(thawed((times[3] as number) - 200))).to.deep.equal({ belated: 1 });
    expect(found(thawed((times[3] as number) + 10))).to.deep.equal({});
  });

  it('finds a success that nobody made', () => {
    const without = (event: Line['event']) => (books: Books) => {
      const at = books.lines.findIndex((line) => line.event === event && line.job === 'j-leave');
      books.lines.splice(at, 1);
    };
    expect(found(without('start'))).to.deep.equal({ unproven: 1 });
    expect(found(without('end'))).to.deep.equal({ unproven: 1 });
  });

  it('finds a run of another server than its row names', () => {
    expect(found((books) => books.change('j-leave', 3, { server: 's2' }))).to.deep.equal({ foreign: 1 });
    expect(found((books) => books.change('j-leave', 3, { owner: 'o-s2' }))).to.deep.equal({ foreign: 1 });
  });

  it('finds further attempts of what was not interrupted, and of jobs that want none', () => {
    const further = (job: string, outcome: string) => (books: Books) => {
      books.change(job, 3, { outcome });
      books.run(job, times[3] as number, { attempt: 2, at: (times[3] as number) + 7000 });
    };
    expect(found(further('j-again', 'interrupted'))).to.deep.equal({});
    expect(found(further('j-again', 'succeeded'))).to.deep.equal({ further: 1 });
    expect(found(further('j-leave', 'interrupted'))).to.deep.equal({ further: 1 });
  });

  it('finds attempts that are not numbered one after the other', () => {
    const gap = (books: Books) => {
      books.change('j-again', 3, { outcome: 'interrupted' });
      books.run('j-again', times[3] as number, { attempt: 3, at: (times[3] as number) + 7000 });
    };
    expect(found(gap)).to.deep.equal({ further: 1 });
  });

  it('finds an interrupted run that was forsaken', () => {
    expect(found((books) => books.change('j-again', 3, { outcome: 'interrupted' }))).to.deep.equal({ forsaken: 1 });
    expect(found((books) => books.change('j-leave', 3, { outcome: 'interrupted' }))).to.deep.equal({});
  });

  it('lets a run be given up after five further attempts, and no more', () => {
    const attempts = (count: number, last: string) => (books: Books) => {
      books.change('j-again', 3, { outcome: 'interrupted' });
      for (let attempt = 2; attempt <= count; attempt++) {
        books.run('j-again', times[3] as number, { attempt, at: (times[3] as number) + attempt * 1000 });
        const row = books.rows.length - 1;
        books.rows[row] = { ...(books.rows[row] as Row), outcome: attempt === count ? last : 'interrupted' };
      }
    };
    expect(found(attempts(5, 'interrupted'))).to.deep.equal({ forsaken: 1 });
    expect(found(attempts(6, 'interrupted'))).to.deep.equal({});
    expect(found(attempts(7, 'succeeded'))).to.deep.equal({ further: 1 });
  });

  it('finds two attempts at once: before the first has ended, or its process died or stood still', () => {
    const again = (at: number) => (books: Books) => {
      books.change('j-again', 3, { outcome: 'interrupted' });
      books.run('j-again', times[3] as number, { attempt: 2, at });
    };
    expect(found(again((times[3] as number) + 100))).to.deep.equal({ together: 1 });
    // The one whose server died ran until then.
    const early = (books: Books) => {
      books.absences = [{ ...(books.absences[0] as Absence), from: T0 + 27_001 }];
    };
    expect(found(early)).to.deep.equal({ together: 1 });
    const frozen = (from: number, until: number) => (books: Books) => {
      books.absences = [{ ...(books.absences[0] as Absence), from, until }];
    };
    expect(found(frozen(T0 + 20_000, T0 + 40_000))).to.deep.equal({});
    // It ran on after that.
    expect(found(frozen(T0 + 10_000, T0 + 11_000))).to.deep.equal({ together: 1 });
    expect(found((books) => (books.absences = []))).to.deep.equal({ together: 1 });
  });

  it('leaves what is not of a schedule alone', () => {
    const manual = (books: Books) => {
      const row = books.rows[books.row('j-leave', 3)] as Row;
      books.rows.push({ ...row, token: 'by hand', source: 'manual', outcome: null });
    };
    expect(found(manual)).to.deep.equal({});
  });

  it('counts lateness from due to the first start of a firing', () => {
    const books = new Books();
    const { latenessMs } = judge(books);
    expect(latenessMs).to.have.lengthOf(2 * COUNT);
    expect([latenessMs[0], latenessMs.at(-1)]).to.deep.equal([20, 10_900]);
    expect(latenessOf([])).to.deep.equal([]);
  });
});
