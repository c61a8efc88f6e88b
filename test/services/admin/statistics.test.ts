/** What the admin API tells of statistics, over HTTP and the real plugin, whose clock is set to where calls were. */
import { expect } from 'chai';
import { type AdminServer, adminServer } from './server.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

interface Sample {
  readonly service: string;
  readonly ms: number;
  readonly failed?: boolean;
  readonly times?: number;
}

describe('services/admin: statistics', () => {
  let server: AdminServer;
  /** A whole hour, three hours ago: nobody calls anything there but this test. */
  const hour = Math.floor(Date.now() / HOUR_MS) * HOUR_MS - 3 * HOUR_MS;
  const iso = (ms: number) => new Date(ms).toISOString();

  const recorded = async (at: number, samples: readonly Sample[]) => {
    const { stats } = server.kernel.cradle;
    const take = () => stats.history?.({ per: 'hour', from: new Date(at), until: new Date(at) });
    const { now } = Date;
    Date.now = () => at;
    try {
      await take();
      for (const { service, ms, failed = false, times = 1 } of samples) {
        for (let i = 0; i < times; i++) stats.meter(service).record(ms, failed);
      }
      await take();
    } finally {
      Date.now = now;
    }
    await take();
  };
  const ask = (verb: string, input: object = {}) => server.good(`gantry.statistics.${verb}`, input);
  const refused = async (verb: string, input: object) => {
    const { status, body } = await server.ask(`gantry.statistics.${verb}`, input);
    return [status, body.code, body.errors?.[0]?.path];
  };
  const ofHour = { per: 'hour', from: iso(hour), until: iso(hour + HOUR_MS) };

  before(async () => {
    server = await adminServer({ config: { 'stats.memory': { keep: { minuteHours: 48, hourDays: 30 } } } });
    await recorded(hour - 7 * DAY_MS, [{ service: 'shop.a', ms: 50, times: 4 }]);
    await recorded(hour - DAY_MS, [{ service: 'shop.a', ms: 200, times: 10 }]);
    await recorded(hour - HOUR_MS, [
      { service: 'shop.a', ms: 10, times: 5 },
      { service: 'shop.gone', ms: 1 },
    ]);
    await recorded(hour + 60_000, [
      { service: 'shop.a', ms: 20, times: 8, failed: true },
      { service: 'shop.b', ms: 1000 },
      { service: 'shop.b', ms: 1, times: 99 },
    ]);
    // Of the same hour, in another minute.
    await recorded(hour + 120_000, [
      { service: 'shop.a', ms: 40, times: 2 },
      { service: '=cmd|"x",1', ms: 3 },
    ]);
  });
  after(() => server.stop());

  it('list each period and service, the oldest first', async () => {
    const { items, next, total } = await ask('list', { ...ofHour, from: iso(hour - HOUR_MS), search: 'SHOP' });
    expect(
      items.map((one: { from: string; service: string; calls: number }) => [one.from, one.service, one.calls]),
    ).to.deep.equal([
      [iso(hour - HOUR_MS), 'shop.a', 5],
      [iso(hour - HOUR_MS), 'shop.gone', 1],
      [iso(hour), 'shop.a', 10],
      [iso(hour), 'shop.b', 100],
    ]);
    expect([next, total]).to.deep.equal([null, 4]);
    expect(items[2]).to.include({ failures: 8, minMs: 20, meanMs: 24, maxMs: 40 });
    expect(items[3].p50Ms).to.be.closeTo(1, 1 / 32);
    expect(items[3].p95Ms).to.be.closeTo(1, 1 / 32);
    const minutes = await ask('list', { ...ofHour, per: 'minute', service: 'shop.a' });
    expect(minutes.items.map((one: { from: string; calls: number }) => [one.from, one.calls])).to.deep.equal([
      [iso(hour + 60_000), 8],
      [iso(hour + 120_000), 2],
    ]);
  });

  it('list page by page, without a row twice or none', async () => {
    const whole = await ask('list', { ...ofHour, from: iso(hour - 8 * DAY_MS) });
    const rows: unknown[] = [];
    let after: string | undefined;
    do {
      const page = await ask('list', {
        ...ofHour,
        from: iso(hour - 8 * DAY_MS),
        limit: 2,
        ...(after === undefined ? {} : { after }),
      });
      expect(page.items.length).to.be.within(1, 2);
      rows.push(...page.items);
      after = page.next ?? undefined;
    } while (after !== undefined);
    expect(rows).to.deep.equal(whole.items);
    expect(rows).to.have.lengthOf(7);
  });

  it('name the slowest by the mean of all calls, by a quantile or by the longest', async () => {
    const names = async (by: string) =>
      (await ask('slowest', { ...ofHour, per: 'minute', by })).items.map((one: { service: string }) => one.service);
    const all = await ask('slowest', { ...ofHour, per: 'minute', limit: 1 });
    // 8 of 20 ms in one minute and 2 of 40 ms in the next: 24, where the mean of means would be 30.
    expect(all).to.deep.include({ from: ofHour.from, until: ofHour.until });
    expect(all.items).to.have.lengthOf(1);
    expect(all.items[0]).to.include({ service: 'shop.a', meanMs: 24 });
    expect(await names('mean')).to.deep.equal(['shop.a', 'shop.b', '=cmd|"x",1']);
    expect(await names('max')).to.deep.equal(['shop.b', 'shop.a', '=cmd|"x",1']);
    expect(await names('p50')).to.deep.equal(['shop.a', '=cmd|"x",1', 'shop.b']);
  });

  it('name the busiest, with their share', async () => {
    const { calls, items } = await ask('busiest', { ...ofHour, limit: 2 });
    expect(calls).to.equal(111);
    expect(
      items.map((one: { service: string; calls: number; share: number }) => [one.service, one.calls, one.share]),
    ).to.deep.equal([
      ['shop.b', 100, 100 / 111],
      ['shop.a', 10, 10 / 111],
    ]);
  });

  it('show a trend with periods in which nothing was called', async () => {
    const { items, total } = await ask('trend', { ...ofHour, from: iso(hour - 2 * HOUR_MS), service: 'shop.a' });
    expect(items.map((one: { calls: number; meanMs: number | null }) => [one.calls, one.meanMs])).to.deep.equal([
      [0, null],
      [5, 10],
      [10, 24],
    ]);
    expect(total).to.include({ calls: 15, failures: 8, minMs: 10, maxMs: 40 });
    expect(total.meanMs).to.equal(19.333);
    const none = await ask('trend', { service: 'no such' });
    expect(none.items).to.have.lengthOf(24);
    expect(none.total.calls).to.equal(0);
  });

  it('compare an hour with the one before, and with that of the day and of the week before', async () => {
    const of = async (against: string) => {
      const told = await ask('compare', { from: ofHour.from, against });
      expect(told.present).to.deep.equal({ from: ofHour.from, until: ofHour.until });
      return told;
    };
    const previous = await of('previous');
    expect(previous.complete).to.equal(true);
    expect(previous.before).to.deep.equal({ from: iso(hour - HOUR_MS), until: ofHour.from });
    const [b, a] = previous.items;
    expect(b).to.deep.include({ service: 'shop.b' });
    expect(b.change.calls).to.deep.equal({ absolute: 100, relative: null });
    expect(a.service).to.equal('shop.a');
    expect(a.change.calls).to.deep.equal({ absolute: 5, relative: 1 });
    expect(a.change.failures).to.deep.equal({ absolute: 8, relative: null });
    expect(a.change.meanMs).to.deep.equal({ absolute: 14, relative: 1.4 });
    const gone = previous.items.find((one: { service: string }) => one.service === 'shop.gone');
    expect(gone.change.calls).to.deep.equal({ absolute: -1, relative: -1 });
    expect(await of('hour').then(({ before }) => before)).to.deep.equal(previous.before);
    for (const [against, ms, calls] of [
      ['day', DAY_MS, 0],
      ['week', 7 * DAY_MS, 1.5],
    ] as const) {
      const told = await of(against);
      expect(told.before).to.deep.equal({ from: iso(hour - ms), until: iso(hour - ms + HOUR_MS) });
      const found = told.items.find((one: { service: string }) => one.service === 'shop.a');
      expect(found.change.calls.relative, against).to.equal(calls);
    }
    const present = await ask('compare', { from: iso(Date.now()), per: 'day' });
    expect(present.complete).to.equal(false);
    const last = await ask('compare', { per: 'month' });
    expect([last.complete, last.before.until]).to.deep.equal([true, last.present.from]);
    expect(await refused('compare', { per: 'day', against: 'hour' })).to.deep.equal([400, 'INVALID', '/against']);
  });

  it('give a file that a spreadsheet takes, and no formulas in it', async () => {
    const query = new URLSearchParams(ofHour);
    const authorization = `Basic ${Buffer.from('admin:the first password').toString('base64')}`;
    const reply = await fetch(`${server.url}/gantry/admin/statistics.csv?${query}`, { headers: { authorization } });
    expect(reply.status).to.equal(200);
    expect(reply.headers.get('content-type')).to.match(/^text\/csv/);
    expect(reply.headers.get('content-disposition')).to.match(
      /^attachment; filename="statistics-hour-\d{4}-\d\d-\d\d\.csv"$/,
    );
    const lines = (await reply.text()).split('\r\n');
    expect(lines[0]).to.equal('from,service,calls,failures,minMs,meanMs,maxMs,p50Ms,p95Ms,p99Ms');
    expect(lines[1]).to.equal(`${iso(hour)},"'=cmd|""x"",1",1,0,3,3,3,3,3,3`);
    expect(lines.slice(2).map((line) => line.split(',')[1])).to.deep.equal(['shop.a', 'shop.b', undefined]);
  });

  it('show slow calls', async () => {
    const { hooks } = server.kernel;
    const [channel] = server.kernel.cradle.channels
      .list()
      .filter(({ contract }) => contract.name === 'gantry.server.info');
    const reply = { outcome: 'ok', body: null, contentType: '', error: null } as const;
    hooks.done.call({ channel: channel?.name, cid: 'the id' } as never, reply, 12_345.67891);
    const { items } = await ask('slowCalls', { service: 'gantry.server.info' });
    expect(items).to.have.lengthOf(1);
    expect(items[0]).to.include({
      server: 'server1',
      channel: channel?.name,
      cid: 'the id',
      ms: 12_345.679,
      outcome: 'ok',
    });
    expect((await ask('slowCalls', { service: 'shop.a' })).items).to.deep.equal([]);
  });

  it('count what is called, the calls of the admin API too', async () => {
    await server.good('gantry.server.info');
    const { items } = await ask('list', { per: 'month', service: 'gantry.server.info' });
    expect(items.at(-1).calls).to.be.at.least(1);
  });

  it('refuse what cannot be', async () => {
    const backwards = { from: ofHour.until, until: ofHour.from };
    for (const verb of ['list', 'slowest', 'busiest', 'compare']) {
      expect(await refused(verb, backwards), verb).to.deep.equal([400, 'INVALID', '/until']);
    }
    expect(await refused('list', { per: 'week' })).to.deep.equal([400, 'INPUT_INVALID', '/per']);
    expect(await refused('list', { from: 'yesterday' })).to.deep.equal([400, 'INPUT_INVALID', '/from']);
    const minutes = { per: 'minute', from: '2000-01-01T00:00:00Z', service: 'shop.a' };
    expect((await refused('trend', minutes)).slice(0, 2)).to.deep.equal([400, 'INVALID']);
  });

  it('say what is missing where no plugin keeps them', async () => {
    const bare = await adminServer({ config: { 'stats.memory': null } });
    try {
      for (const verb of ['list', 'slowest', 'busiest', 'compare', 'slowCalls']) {
        const { status, body } = await bare.ask(`gantry.statistics.${verb}`);
        expect([status, body.code, body.detail]).to.deep.equal([
          ...[503, 'UNAVAILABLE', 'This server keeps no statistics by period'],
        ]);
      }
    } finally {
      await bare.stop();
    }
  });
});
