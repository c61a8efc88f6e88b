import { expect } from 'chai';
import fc from 'fast-check';
import { upcoming } from '../../../core/jobs/schedule.ts';
import { findZone, suggestZone } from '../../../core/jobs/zone.ts';
import { compileSchedule } from './fixtures/schedule.ts';

/** The due times of a cron expression in a zone after a moment, as local times with their offsets. */
function due(timeZone: string, cron: string, after: string, count: number): string[] {
  return upcoming(compileSchedule({ cron, timeZone }, 0), Date.parse(after), count).map((at) => local(timeZone, at));
}

/** '2026-03-29 03:30 +02:00' */
function local(timeZone: string, at: number): string {
  const clock = new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short', timeStyle: 'medium' }).format(at);
  const minutes = Math.round((Date.parse(`${clock.replace(' ', 'T')}Z`) - at) / 60_000);
  const [hour, minute] = [Math.trunc(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  const offset = `${minutes < 0 ? '-' : '+'}${String(hour).padStart(2, '0')}:${String(minute).padStart(2, '0')}`;
  return `${clock.replace(/:00$/, '')} ${offset}`;
}

interface Example {
  readonly of: string;
  readonly cron: string;
  readonly after: string;
  readonly due: readonly string[];
}

const EXAMPLES: Readonly<Record<string, readonly Example[]>> = {
  'Europe/Warsaw': [
    {
      of: 'a time that is skipped is due an hour later',
      cron: '30 2 * * *',
      after: '2026-03-28T00:00:00Z',
      due: ['2026-03-28 02:30 +01:00', '2026-03-29 03:30 +02:00', '2026-03-30 02:30 +02:00'],
    },
    {
      of: 'the first time that is skipped, and the first that is not',
      cron: '0 2 * * *',
      after: '2026-03-28T12:00:00Z',
      due: ['2026-03-29 03:00 +02:00', '2026-03-30 02:00 +02:00'],
    },
    {
      of: 'times that fall together are due once',
      cron: '0,30 2,3 * * *',
      after: '2026-03-29T00:00:00Z',
      due: ['2026-03-29 03:00 +02:00', '2026-03-29 03:30 +02:00', '2026-03-30 02:00 +02:00'],
    },
    {
      of: 'every minute of an hour that is skipped',
      cron: '*/20 2 * * *',
      after: '2026-03-29T00:00:00Z',
      due: ['2026-03-29 03:00 +02:00', '2026-03-29 03:20 +02:00', '2026-03-29 03:40 +02:00', '2026-03-30 02:00 +02:00'],
    },
    {
      of: 'each hour is due once over the skipped one',
      cron: '30 * * * *',
      after: '2026-03-29T00:00:00Z',
      due: ['2026-03-29 01:30 +01:00', '2026-03-29 03:30 +02:00', '2026-03-29 04:30 +02:00'],
    },
    {
      of: 'once a year, shortly before a change',
      cron: '30 1 29 3 *',
      after: '2026-01-01T00:00:00Z',
      due: ['2026-03-29 01:30 +01:00', '2027-03-29 01:30 +02:00'],
    },
    {
      of: 'a time that is there twice is due at the first',
      cron: '30 2 * * *',
      after: '2026-10-24T12:00:00Z',
      due: ['2026-10-25 02:30 +02:00', '2026-10-26 02:30 +01:00'],
    },
    {
      of: 'asked between the two, it is over',
      cron: '30 2 * * *',
      after: '2026-10-25T00:30:00Z',
      due: ['2026-10-26 02:30 +01:00'],
    },
    {
      of: 'each hour is due in both',
      cron: '30 * * * *',
      after: '2026-10-24T23:00:00Z',
      due: ['2026-10-25 01:30 +02:00', '2026-10-25 02:30 +02:00', '2026-10-25 02:30 +01:00', '2026-10-25 03:30 +01:00'],
    },
    {
      of: 'and so is what covers every hour in another way',
      cron: '30 0-11,12-23/1 * * *',
      after: '2026-10-25T00:00:00Z',
      due: ['2026-10-25 02:30 +02:00', '2026-10-25 02:30 +01:00', '2026-10-25 03:30 +01:00'],
    },
    {
      of: 'what leaves out an hour rests for the second',
      cron: '*/30 0-22 * * *',
      after: '2026-10-25T00:00:00Z',
      due: ['2026-10-25 02:30 +02:00', '2026-10-25 03:00 +01:00'],
    },
    {
      of: 'with seconds',
      cron: '59 59 2 * * *',
      after: '2026-10-24T12:00:00Z',
      due: ['2026-10-25 02:59:59 +02:00', '2026-10-26 02:59:59 +01:00'],
    },
  ],
  'America/New_York': [
    {
      of: 'a time that is skipped',
      cron: '30 2 * * *',
      after: '2026-03-07T12:00:00Z',
      due: ['2026-03-08 03:30 -04:00', '2026-03-09 02:30 -04:00'],
    },
    {
      of: 'a time that is there twice',
      cron: '30 1 * * *',
      after: '2026-10-31T12:00:00Z',
      due: ['2026-11-01 01:30 -04:00', '2026-11-02 01:30 -05:00'],
    },
    {
      of: 'only on the day of the change',
      cron: '30 2 8 3 *',
      after: '2025-06-01T00:00:00Z',
      due: ['2026-03-08 03:30 -04:00', '2027-03-08 02:30 -05:00'],
    },
  ],
  'Australia/Lord_Howe': [
    {
      of: 'half an hour is skipped',
      cron: '15 2 * * *',
      after: '2026-10-03T00:00:00Z',
      due: ['2026-10-04 02:45 +11:00', '2026-10-05 02:15 +11:00'],
    },
    {
      of: 'what was skipped comes in its order among what was not',
      cron: '15,40 2 * * *',
      after: '2026-10-03T00:00:00Z',
      due: ['2026-10-04 02:40 +11:00', '2026-10-04 02:45 +11:00'],
    },
    {
      of: 'a time right after it stays',
      cron: '30 2 * * *',
      after: '2026-10-03T00:00:00Z',
      due: ['2026-10-04 02:30 +11:00', '2026-10-05 02:30 +11:00'],
    },
    {
      of: 'each hour follows the wall: nothing is due at a quarter past two',
      cron: '15 * * * *',
      after: '2026-10-03T14:00:00Z',
      due: ['2026-10-04 01:15 +10:30', '2026-10-04 03:15 +11:00'],
    },
    {
      of: 'half an hour is there twice',
      cron: '45 1 * * *',
      after: '2026-04-04T00:00:00Z',
      due: ['2026-04-05 01:45 +11:00', '2026-04-06 01:45 +10:30'],
    },
    {
      of: 'each hour, where half of one is there twice',
      cron: '15,45 * * * *',
      after: '2026-04-04T14:00:00Z',
      due: ['2026-04-05 01:15 +11:00', '2026-04-05 01:45 +11:00', '2026-04-05 01:45 +10:30', '2026-04-05 02:15 +10:30'],
    },
  ],
  'America/Sao_Paulo': [
    {
      of: 'midnight is skipped',
      cron: '@daily',
      after: '2018-11-03T12:00:00Z',
      due: ['2018-11-04 01:00 -02:00', '2018-11-05 00:00 -02:00'],
    },
    {
      of: 'and what is due on one day of the week stays on it',
      cron: '30 0 * * SUN',
      after: '2018-11-03T12:00:00Z',
      due: ['2018-11-04 01:30 -02:00', '2018-11-11 00:30 -02:00'],
    },
    {
      of: 'the last hour of a day is there twice',
      cron: '30 23 * * *',
      after: '2018-02-17T12:00:00Z',
      due: ['2018-02-17 23:30 -02:00', '2018-02-18 23:30 -03:00'],
    },
    {
      of: 'midnight after it is due once',
      cron: '0 0 * * *',
      after: '2018-02-17T12:00:00Z',
      due: ['2018-02-18 00:00 -03:00', '2018-02-19 00:00 -03:00'],
    },
  ],
  'Africa/Cairo': [
    {
      of: 'midnight is skipped',
      cron: '0 0 * * *',
      after: '2024-04-25T00:00:00Z',
      due: ['2024-04-26 01:00 +03:00', '2024-04-27 00:00 +03:00'],
    },
    {
      of: 'what is due each hour is due once there',
      cron: '@hourly',
      after: '2024-04-25T20:30:00Z',
      due: ['2024-04-25 23:00 +02:00', '2024-04-26 01:00 +03:00', '2024-04-26 02:00 +03:00'],
    },
  ],
  'Pacific/Apia': [
    {
      of: 'a day that there was not',
      cron: '0 12 * * *',
      after: '2011-12-29T12:00:00Z',
      due: ['2011-12-29 12:00 -10:00', '2011-12-31 12:00 +14:00', '2012-01-01 12:00 +14:00'],
    },
    {
      of: 'what was due only on it',
      cron: '0 12 30 12 *',
      after: '2011-06-01T00:00:00Z',
      due: ['2011-12-31 12:00 +14:00', '2012-12-30 12:00 +14:00'],
    },
    {
      of: 'each hour',
      cron: '0 * * * *',
      after: '2011-12-30T08:30:00Z',
      due: ['2011-12-29 23:00 -10:00', '2011-12-31 00:00 +14:00', '2011-12-31 01:00 +14:00'],
    },
  ],
  'Asia/Kathmandu': [
    {
      of: 'an odd offset',
      cron: '0 0 1 * *',
      after: '2026-01-15T00:00:00Z',
      due: ['2026-02-01 00:00 +05:45', '2026-03-01 00:00 +05:45'],
    },
    {
      of: 'the change to it, of a quarter of an hour at midnight',
      cron: '5 0 * * *',
      after: '1985-12-31T00:00:00Z',
      due: ['1986-01-01 00:20 +05:45', '1986-01-02 00:05 +05:45'],
    },
  ],
  'Antarctica/Troll': [
    {
      of: 'two hours are skipped',
      cron: '30 1,2,3 * * *',
      after: '2026-03-28T12:00:00Z',
      due: ['2026-03-29 03:30 +02:00', '2026-03-29 04:30 +02:00', '2026-03-30 01:30 +02:00'],
    },
  ],
  'Africa/Monrovia': [
    {
      of: 'an offset with seconds, and a change within a minute',
      cron: '0 12 * * *',
      after: '1972-01-05T18:00:00Z',
      due: ['1972-01-06 12:00 -00:44', '1972-01-07 12:00 +00:00'],
    },
  ],
};

describe('cron expressions where clocks change', () => {
  for (const [zone, examples] of Object.entries(EXAMPLES)) {
    for (const example of examples) {
      it(`${zone}: ${example.of} (${example.cron})`, () => {
        expect(due(zone, example.cron, example.after, example.due.length)).to.deep.equal(example.due);
        const times = compileSchedule({ cron: example.cron, timeZone: zone }, 0);
        const back = example.due.map(() => 0);
        let at = times.next(upcoming(times, Date.parse(example.after), back.length).at(-1) as number) as number;
        for (let i = back.length - 1; i >= 0; i--) back[i] = at = times.previous(at - 1) as number;
        expect(back.map((one) => local(zone, one))).to.deep.equal(example.due);
      });
    }
  }

  it('an interval takes no notice of them', () => {
    const daily = compileSchedule({ every: '1d', start: '2026-03-28T12:00:00+01:00' }, 0);
    const times = upcoming(daily, Date.parse('2026-03-28T00:00:00Z'), 2).map((at) => local('Europe/Warsaw', at));
    expect(times).to.deep.equal(['2026-03-28 12:00 +01:00', '2026-03-29 13:00 +02:00']);
  });
});

describe('zones', () => {
  const names = Intl.supportedValuesOf('timeZone');

  it('have the offsets that the platform has', function () {
    this.timeout(60_000);
    const offset = (zone: string, at: number) => {
      const clock = new Intl.DateTimeFormat('sv-SE', { timeZone: zone, dateStyle: 'short', timeStyle: 'medium' });
      return Date.parse(`${clock.format(at).replace(' ', 'T')}Z`) - Math.floor(at / 1000) * 1000;
    };
    const moment = fc.integer({ min: 0, max: Date.UTC(2100, 0, 1) });
    fc.assert(
      fc.property(fc.constantFrom(...names), moment, (name, at) => {
        const span = (findZone(name) as NonNullable<ReturnType<typeof findZone>>).spanAt(at);
        expect(span.from).to.be.at.most(at);
        expect(span.until).to.be.above(at);
        for (const one of [at, Math.max(0, span.from), Math.min(span.until, Date.UTC(2200, 0, 1)) - 1]) {
          expect(span.offsetMs, `${name} at ${new Date(one).toISOString()}`).to.equal(offset(name, one));
        }
        if (span.from > 0) expect(span.beforeMs).to.equal(offset(name, span.from - 1));
      }),
      { seed: 4, numRuns: 1500 },
    );
  });

  it('see every change of a year, those of a month of fasting and of one week too', () => {
    const changes = (name: string, year: number) => {
      const zone = findZone(name) as NonNullable<ReturnType<typeof findZone>>;
      const found: string[] = [];
      for (let at = Date.UTC(year, 0, 1); at < Date.UTC(year + 1, 0, 1); at = zone.spanAt(at).until) {
        const { from, beforeMs, offsetMs } = zone.spanAt(at);
        if (beforeMs !== offsetMs && from >= Date.UTC(year, 0, 1))
          found.push(new Date(from).toISOString().slice(5, 16));
      }
      return found;
    };
    expect(changes('Africa/Cairo', 2010)).to.deep.equal(['04-29T22:00', '08-10T21:00', '09-09T22:00', '09-30T21:00']);
    expect(changes('America/Recife', 2000)).to.deep.equal(['02-27T02:00', '10-08T03:00', '10-15T02:00']);
    expect(changes('Asia/Kathmandu', 2026)).to.deep.equal([]);
    expect(changes('UTC', 2026)).to.deep.equal([]);
  });

  it('are known by their names in any case, and are shared', () => {
    expect(findZone('europe/warsaw')).to.equal(findZone('Europe/Warsaw')).and.not.equal(null);
    for (const name of ['UTC', 'Etc/GMT+5', 'EST5EDT', 'CET', 'Poland', ...names.slice(0, 50)]) {
      expect(findZone(name), name).to.not.equal(null);
    }
  });

  it('are not what means several places, an offset, or nothing', () => {
    for (const name of [
      'IST',
      'CST',
      'BST',
      'PST',
      '+02:00',
      '-05',
      'Z',
      'Europe/Warsav',
      'Mars/Base',
      '',
      ' ',
      '__proto__',
    ]) {
      expect(findZone(name), name).to.equal(null);
    }
  });

  it('are suggested where a name is nearly right', () => {
    expect(suggestZone('Europe/Warsav')).to.equal("Did you mean 'Europe/Warsaw'?");
    expect(suggestZone('new york')).to.equal("Did you mean 'America/New_York'?");
    expect(suggestZone('UCTT')).to.equal("Did you mean 'UTC'?");
    expect(suggestZone('Nowhere/At_All_Is_This')).to.equal('');
  });
});
