import { expect } from 'chai';
import { Cron, compileCron } from '../../../core/jobs/cron.ts';
import { upcoming } from '../../../core/jobs/schedule.ts';
import { compileSchedule } from './fixtures/schedule.ts';

/** The first due times of 2026 in UTC, without their year; or the first after another moment. */
function due(cron: string, count: number, after = '2025-12-31T23:59:59.999Z'): string[] {
  const found = upcoming(compileSchedule({ cron }, 0), Date.parse(after), count);
  return found.map((at) =>
    new Date(at)
      .toISOString()
      .replace(/^2026-/, '')
      .replace(/:00\.000Z$/, ''),
  );
}
const days = (cron: string, count: number, after?: string) =>
  due(`0 0 ${cron}`, count, after).map((at) => at.slice(0, -6));
const same = (one: string, other: string) => {
  const after = Date.UTC(2026, 0, 1);
  const times = (cron: string) => upcoming(compileSchedule({ cron }, 0), after, 300);
  expect(times(one), `${one} and ${other}`).to.deep.equal(times(other));
};

/** What is wrong with an expression, as it is told. */
function wrong(cron: string): { message: string; expected?: string; got?: string; hint?: string } {
  const read = compileCron(cron);
  if (read instanceof Cron) return expect.fail(`'${cron}' was read`);
  return read[0] as { message: string };
}

describe('cron expressions', () => {
  it('have five fields, or six with the second first', () => {
    expect(due('30 2 * * *', 2)).to.deep.equal(['01-01T02:30', '01-02T02:30']);
    expect(due('15 30 2 * * *', 2)).to.deep.equal(['01-01T02:30:15.000Z', '01-02T02:30:15.000Z']);
    expect(due('*/20 * * * * *', 4)).to.deep.equal([
      '01-01T00:00',
      '01-01T00:00:20.000Z',
      '01-01T00:00:40.000Z',
      '01-01T00:01',
    ]);
    same('  5   4 *\t* *  ', '5 4 * * *');
  });

  it('have lists, ranges, steps, and ranges over the end', () => {
    expect(due('0,20,5-7 0 * * *', 6)).to.deep.equal(
      ['00:00', '00:05', '00:06', '00:07', '00:20'].map((time) => `01-01T${time}`).concat('01-02T00:00'),
    );
    same('0 22-2 * * *', '0 22,23,0,1,2 * * *');
    same('0 22-4/2 * * *', '0 22,0,2,4 * * *');
    same('55-5/5 * * * *', '55,0,5 * * * *');
    same('0 0 * NOV-FEB *', '0 0 * 11,12,1,2 *');
    same('0 0 30-2 * *', '0 0 30,31,1,2 * *');
    same('0 0 * * FRI-MON', '0 0 * * 5,6,0,1');
    same('10-20/5 * * * *', '10,15,20 * * * *');
    same('50/5 * * * *', '50,55 * * * *');
    same('*/7 * * * *', '0,7,14,21,28,35,42,49,56 * * * *');
    same('5-4 * * * *', '* * * * *');
  });

  it('have names in any case', () => {
    same('0 0 * jan,Dec *', '0 0 * 1,12 *');
    same('0 0 * * mon-Fri', '0 0 * * 1-5');
    same('0 0 * * FRIl', '0 0 * * 5L');
    same('0 0 * * tue#2', '0 0 * * 2#2');
    same('0 0 l * *', '0 0 L * *');
  });

  it('take 0 and 7 for Sunday', () => {
    for (const one of ['7', 'SUN', '7-7']) same(`0 0 * * ${one}`, '0 0 * * 0');
    same('0 0 * * 5-7', '0 0 * * 5,6,0');
    same('0 0 * * 7-2', '0 0 * * 0-2');
    same('0 0 * * 0-7', '0 0 * * *');
    same('0 0 * * 1-7/2', '0 0 * * 1,3,5,0');
    same('0 0 * * 7#1', '0 0 * * SUN#1');
  });

  it('have nicknames', () => {
    same('@yearly', '0 0 1 1 *');
    same('@annually', '0 0 1 1 *');
    same('@monthly', '0 0 1 * *');
    same('@weekly', '0 0 * * 0');
    same('@daily', '0 0 * * *');
    same('@Midnight', '0 0 * * *');
    same('@hourly', '0 * * * *');
  });

  it('know the last days of a month', () => {
    expect(days('L * *', 4)).to.deep.equal(['01-31', '02-28', '03-31', '04-30']);
    expect(days('L 2 *', 3)).to.deep.equal(['02-28', '2027-02-28', '2028-02-29']);
    expect(days('L-3 * *', 3)).to.deep.equal(['01-28', '02-25', '03-28']);
    // Only a month with 31 days has a day 30 days before its last.
    expect(days('L-30 * *', 3)).to.deep.equal(['01-01', '03-01', '05-01']);
    expect(days('1,L * *', 4)).to.deep.equal(['01-01', '01-31', '02-01', '02-28']);
  });

  it('know the weekday nearest to a day, which is in the same month', () => {
    // 2026: 15 February is a Sunday, 15 August a Saturday, 1 February a Sunday, 1 August a Saturday, 31 May a Sunday.
    expect(days('15W * *', 8)).to.deep.equal(['01-15', '02-16', '03-16', '04-15', '05-15', '06-15', '07-15', '08-14']);
    expect(days('1W 2,8 *', 2)).to.deep.equal(['02-02', '08-03']);
    expect(days('31W 5,6,10 *', 2)).to.deep.equal(['05-29', '10-30']);
    expect(days('LW * *', 5)).to.deep.equal(['01-30', '02-27', '03-31', '04-30', '05-29']);
  });

  it('know the so-manieth and the last of a day of the week', () => {
    expect(days('* * 5#2', 3)).to.deep.equal(['01-09', '02-13', '03-13']);
    expect(days('* * MON#5', 3)).to.deep.equal(['03-30', '06-29', '08-31']);
    expect(days('* * 5L', 3)).to.deep.equal(['01-30', '02-27', '03-27']);
    expect(days('* * MON#1,5L', 4)).to.deep.equal(['01-05', '01-30', '02-02', '02-27']);
  });

  it('are due where either day field matches, if both are restricted', () => {
    expect(days('13 * FRI', 4)).to.deep.equal(['01-02', '01-09', '01-13', '01-16']);
    expect(days('13 * ?', 2)).to.deep.equal(['01-13', '02-13']);
    expect(days('? * FRI', 2)).to.deep.equal(['01-02', '01-09']);
    expect(days('1-31 * FRI', 3)).to.deep.equal(['01-01', '01-02', '01-03']);
    expect(days('L * 1#1', 3)).to.deep.equal(['01-05', '01-31', '02-02']);
    expect(days('31 2 MON', 2)).to.deep.equal(['02-02', '02-09']);
  });

  it('find days that are rare', () => {
    expect(days('29 2 *', 3)).to.deep.equal(['2028-02-29', '2032-02-29', '2036-02-29']);
    expect(days('29 2 *', 2, '2096-12-31T00:00:00Z')).to.deep.equal(['2104-02-29', '2108-02-29']);
    // A fifth Monday in February is the 29th; 40 years can lie between two.
    expect(days('* 2 MON#5', 3)).to.deep.equal(['2044-02-29', '2072-02-29', '2112-02-29']);
    expect(days('* 2 MON#5', 1, '9900-01-01T00:00:00Z').length).to.equal(1);
  });

  it('end where there are no such days, and at the end of the year 9999', () => {
    for (const cron of ['0 0 30 2 *', '0 0 31 2,4,6,9,11 *', '0 0 30W 2 *', '0 0 L-30 4 *']) {
      const times = compileSchedule({ cron, timeZone: 'Europe/Warsaw' }, 0);
      expect(times.next(0), cron).to.equal(null);
      expect(times.previous(Date.UTC(2026, 0, 1)), cron).to.equal(null);
      expect(times.between(0, Date.UTC(9000, 0, 1), 10)).to.deep.equal({ times: [], count: 0, more: false });
    }
    const times = compileSchedule({ cron: '@yearly' }, 0);
    expect(times.next(Date.UTC(9998, 5, 1))).to.equal(Date.UTC(9999, 0, 1));
    expect(times.next(Date.UTC(9999, 0, 1))).to.equal(null);
    expect(times.previous(Date.UTC(1970, 0, 1))).to.equal(Date.UTC(1970, 0, 1));
    expect(times.previous(Date.UTC(1970, 0, 1) - 1)).to.equal(null);
    expect(times.next(Number.NEGATIVE_INFINITY)).to.equal(0);
    expect(times.previous(Number.POSITIVE_INFINITY)).to.equal(Date.UTC(9999, 0, 1));
  });

  it('do not run in circles where they are asked about no time', () => {
    for (const timeZone of ['UTC', 'Europe/Warsaw']) {
      const times = compileSchedule({ cron: '* * * * *', timeZone }, 0);
      expect(times.next(Number.NaN)).to.equal(null);
      expect(times.previous(Number.NaN)).to.equal(null);
      expect(times.next(Number.POSITIVE_INFINITY)).to.equal(null);
      expect(times.between(Number.NaN, Number.NaN, 5)).to.deep.equal({ times: [], count: 0, more: false });
    }
  });

  it('are shared by their text', () => {
    expect(compileCron('1 2 3 4 5')).to.equal(compileCron('1 2 3 4 5'));
  });
});

describe('cron expressions that are wrong', () => {
  const cases: Readonly<Record<string, { said: RegExp; got: string; hint: RegExp }>> = {
    '60 * * * *': { said: /minute field/, got: '60', hint: /write 0/ },
    '* 24 * * *': { said: /hour field/, got: '24', hint: /write 0/ },
    '60 * * * * *': { said: /second field/, got: '60', hint: /write 0/ },
    '99 * * * *': { said: /minute field/, got: '99', hint: /from 0 to 59/ },
    '* * 0 * *': { said: /day-of-month field/, got: '0', hint: /from 1 to 31/ },
    '* * 32 * *': { said: /day-of-month field/, got: '32', hint: /from 1 to 31/ },
    '* * * 13 *': { said: /month field/, got: '13', hint: /from 1 to 12/ },
    '* * * * 8': { said: /day-of-week field/, got: '8', hint: /from 0 to 7/ },
    '* 1-99 * * *': { said: /hour field/, got: '99', hint: /from 0 to 23/ },
    '* * * * MONN': { said: /day-of-week field/, got: 'MONN', hint: /Did you mean 'MON'/ },
    '* * * * monday': { said: /day-of-week field/, got: 'MONDAY', hint: /Did you mean 'MON'/ },
    '* * * FBE *': { said: /month field/, got: 'FBE', hint: /Did you mean 'FEB'/ },
    '* * * XYZ *': { said: /month field/, got: 'XYZ', hint: /JAN, FEB/ },
    'MON * * * *': { said: /minute field/, got: 'MON', hint: /no names/ },
    '* * * * L': { said: /day-of-week field/, got: 'L', hint: /5L or FRIL/ },
    '* L * * *': { said: /hour field/, got: 'L', hint: /for the day fields/ },
    '15W * * * *': { said: /minute field/, got: '15W', hint: /for the day fields/ },
    '* * 1-15W * *': { said: /day-of-month field/, got: '1-15W', hint: /go with one value/ },
    '* * 32W * *': { said: /day-of-month field/, got: '32', hint: /from 1 to 31/ },
    '* * L-31 * *': { said: /day-of-month field/, got: 'L-31', hint: /L-30/ },
    '* * * * 5#6': { said: /day-of-week field/, got: '5#6', hint: /#1 to #5/ },
    '* * * * 5#0': { said: /day-of-week field/, got: '5#0', hint: /#1 to #5/ },
    '* * * * 9#1': { said: /day-of-week field/, got: '9', hint: /from 0 to 7/ },
    '* * * * MON-FRI#2': { said: /day-of-week field/, got: 'MON-FRI#2', hint: /go with one value/ },
    '* * * * 5/2': { said: /day-of-week field/, got: '5/2', hint: /write the last day too/ },
    '? * * * *': { said: /minute field/, got: '?', hint: /two day fields/ },
    '* * 1,? * *': { said: /day-of-month field/, got: '?', hint: /stands alone/ },
    '*/0 * * * *': { said: /minute field/, got: '*/0', hint: /every: '1h30m'/ },
    '*/90 * * * *': { said: /minute field/, got: '*/90', hint: /every: '1h30m'/ },
    '1,,2 * * * *': { said: /minute field/, got: 'nothing between two commas, or at an end', hint: /spaces/ },
    '1- * * * *': { said: /minute field/, got: '1-', hint: /both sides/ },
    '-1 * * * *': { said: /minute field/, got: '-1', hint: /both sides/ },
    '02:30 * * * *': { said: /minute field/, got: '02:30', hint: /The fields are/ },
    '* * * * * * 2026': { said: /7 fields/, got: '"* * * * * * 2026"', hint: /start and end/ },
    '* * *': { said: /3 fields/, got: '"* * *"', hint: /every five minutes/ },
    '0': { said: /1 field$/, got: '"0"', hint: /every five minutes/ },
    '1, 2, 3, 4 * * * *': { said: /8 fields/, got: '"1, 2, 3, 4 * * * *"', hint: /spaces/ },
    '': { said: /0 fields/, got: '""', hint: /every five minutes/ },
    '@dayly': { said: /nickname/, got: '@dayly', hint: /Did you mean '@daily'/ },
    '@every 5m': { said: /nickname/, got: '@every 5m', hint: /use every: '1h30m'/ },
    '@reboot': { said: /nickname/, got: '@reboot', hint: /start of a server/ },
    'H * * * *': { said: /minute field/, got: 'H', hint: /no names/ },
  };
  for (const [cron, { said, got, hint }] of Object.entries(cases)) {
    it(`'${cron}'`, () => {
      const problem = wrong(cron);
      expect(problem.message).to.match(said);
      expect(problem.got).to.equal(got);
      expect(problem.hint).to.match(hint);
      expect(problem.expected).to.be.a('string').and.not.equal('');
    });
  }

  it('tell one thing of each field', () => {
    const read = compileCron('60 24 32 13 8');
    expect(read).to.be.an('array').with.lengthOf(5);
  });

  it('are read or refused, whatever is in them', () => {
    const pieces = ['*', '*', '/', '-', ',', '#', 'L', 'W', '?', '0', '1', '7', '31', '59', 'MON', 'JAN', ' ', '@'];
    let seed = 5;
    const piece = () => pieces[(seed = (seed * 16_807) % 2_147_483_647) % pieces.length] as string;
    let read = 0;
    for (let i = 0; i < 30_000; i++) {
      const fields = ['*', '*', '*', '*', '*'];
      for (const field of [i % 5, (i >> 3) % 5]) {
        fields[field] = Array.from({ length: 1 + ((seed >> 8) % 4) }, piece).join('');
      }
      const text = fields.join(' ');
      const cron = compileCron(text);
      if (!(cron instanceof Cron)) continue;
      read++;
      const next = cron.next(0);
      if (next !== Number.POSITIVE_INFINITY) expect(cron.previous(next), text).to.equal(next);
    }
    expect(read).to.be.above(100);
  });
});
