import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { Call, definePlugin, defineService, GantryError, type Service, Type } from '../../../core/api.ts';
import type { Loaded } from '../../../core/kernel/plugin.ts';
import { Logs } from '../../../core/log/log.ts';
import type { Stats } from '../../../core/ports/index.ts';
import { Process } from '../../../core/process.ts';
import sqlite from '../../../plugins/dialect-sqlite/index.ts';
import odb from '../../../plugins/odb-sequelize/index.ts';
import scheduler from '../../../plugins/scheduler-agenda/index.ts';
import stats from '../../../plugins/stats-memory/index.ts';
import metrics from '../../../services/health/metrics.ts';
import ping from '../../../services/health/ping.ts';
import { until } from '../../chaos/condition.ts';

describe('services/health', () => {
  let kernel: Process;

  afterEach(() => kernel?.stop());

  /** A server that runs, with these plugins and services beside those of this folder. */
  async function run(plugins: readonly Loaded['plugin'][], services: readonly Service[] = []): Promise<void> {
    const loaded = plugins.map((plugin) => ({ id: plugin.id, plugin, config: {} }));
    kernel = new Process({ logs: new Logs({ level: 'silent' }), name: 'server "1"', version: '1.2.3' });
    await kernel
      .create(loaded)
      .deploy([ping, metrics, ...services])
      .start();
  }
  const invoke = (name: string, input: unknown = {}, call = new Call('test', {})) =>
    kernel.cradle.services.invoke(name, input, call, {});

  /** What Prometheus would read. */
  async function scrape(): Promise<Scrape> {
    return parse(Buffer.from((await invoke('gantry.metrics')) as Uint8Array).toString('utf8'));
  }

  describe('gantry.ping', () => {
    it('names the server and the call', async () => {
      await run([]);
      const call = new Call('test', { cid: 'abc-1' });
      expect(await invoke('gantry.ping', {}, call)).to.deep.equal({ ok: true, server: 'server "1"', cid: 'abc-1' });
    });

    it('asks for no input, and minds none', async () => {
      await run([]);
      for (const input of [undefined, null, {}, { any: 'thing' }, 'text']) {
        expect(await invoke('gantry.ping', input)).to.include({ ok: true });
      }
    });
  });

  describe('gantry.metrics', () => {
    it('tells of the server and the process', async () => {
      await run([]);
      const read = await scrape();
      const info = read.only('gantry_info');
      expect(info.labels).to.deep.equal({ server: 'server "1"', version: '1.2.3', node: process.versions.node });
      expect(info.value).to.equal(1);
      expect(read.types.get('process_cpu_seconds_total')).to.equal('counter');
      expect(read.only('process_cpu_seconds_total').value).to.be.within(0.001, 100_000);
      expect(read.only('process_resident_memory_bytes').value).to.be.within(1e7, 1e11);
      const started = Date.now() / 1000 - process.uptime();
      expect(read.only('process_start_time_seconds').value).to.be.closeTo(started, 5);
    });

    it('tells how late the event loop was, since it was asked last', async () => {
      await run([]);
      await looks();
      await scrape();
      await looks();
      const until = performance.now() + 150;
      while (performance.now() < until);
      await looks();
      const busy = await scrape();
      expect(busy.only('nodejs_eventloop_lag_max_seconds').value).to.be.within(0.1, 5);
      expect(busy.only('nodejs_eventloop_lag_seconds').value).to.be.within(0.001, 5);
      const [mean, max] = ['nodejs_eventloop_lag_seconds', 'nodejs_eventloop_lag_max_seconds'];
      // Other processes may hold it up, too: not each time.
      let idle = await scrape();
      for (let i = 0; i < 20 && idle.only(max as string).value >= 0.1; i++) {
        await looks();
        idle = await scrape();
      }
      expect(idle.only(max as string).value).to.be.below(0.1);
      expect(idle.only(mean as string).value).to.be.at.least(0);
    });

    it('leaves the services out where there are no statistics', async () => {
      await run([]);
      expect([...(await scrape()).types.keys()].filter((name) => name.startsWith('gantry_service'))).to.deep.equal([]);
    });

    it('tells calls, failures and time of each service', async () => {
      await run([stats]);
      const slow = kernel.cradle.stats.meter('shop.slow');
      const fast = kernel.cradle.stats.meter('shop.fast');
      for (const ms of [500, 1500, 90_000]) slow.record(ms, ms === 90_000);
      for (let i = 0; i < 10; i++) fast.record(2, false);
      const read = await scrape();
      expect(read.of('gantry_service_calls_total')).to.include({ 'shop.slow': 3, 'shop.fast': 10 });
      expect(read.of('gantry_service_failures_total')).to.include({ 'shop.slow': 1, 'shop.fast': 0 });
      expect(read.of('gantry_service_duration_seconds_count')).to.include({ 'shop.slow': 3, 'shop.fast': 10 });
      expect(read.of('gantry_service_duration_seconds_sum')).to.include({ 'shop.slow': 92, 'shop.fast': 0.02 });
      const { types } = read;
      expect(types.get('gantry_service_calls_total')).to.equal('counter');
      expect(types.get('gantry_service_failures_total')).to.equal('counter');
      expect(types.get('gantry_service_duration_seconds')).to.equal('histogram');
    });

    it('counts in each bucket the calls that took no longer, for each service', async () => {
      await run([stats]);
      const times = Array.from({ length: 2000 }, (_, i) => 10 ** ((i % 200) / 30 - 2));
      // A bound belongs to its bucket.
      times.push(0.125, 1, 64, 4096, 65_536, 1e9);
      const recorded = { 'a.one': times, 'a.two': times.filter((_, i) => i % 3 === 0), 'a.none': [] };
      for (const [name, all] of Object.entries(recorded)) {
        const meter = kernel.cradle.stats.meter(name);
        for (const ms of all) meter.record(ms, false);
      }
      const read = await scrape();
      for (const [name, all] of Object.entries(recorded)) {
        const buckets = read.buckets('gantry_service_duration_seconds', name);
        expect(buckets.length).to.be.within(12, 20);
        for (const { le, value } of buckets) {
          expect(value, `${name}: calls up to ${le} s`).to.equal(all.filter((ms) => ms <= le * 1000).length);
        }
      }
    });

    it('has buckets from less than a millisecond to a minute', async () => {
      await run([stats]);
      kernel.cradle.stats.meter('a').record(1, false);
      const bounds = (await scrape()).buckets('gantry_service_duration_seconds', 'a').map((b) => b.le);
      expect(bounds[0]).to.be.below(0.001);
      expect(bounds.at(-2)).to.be.above(60);
    });

    it('takes the bounds of any statistics, and few of many', async () => {
      await run([tens]);
      const buckets = (await scrape()).buckets('gantry_service_duration_seconds', 'any');
      expect(buckets).to.deep.equal([
        { le: 0.01, value: 1 },
        { le: 0.1, value: 3 },
        { le: 1, value: 6 },
        { le: Number.POSITIVE_INFINITY, value: 10 },
      ]);
    });

    it('counts calls that really ran', async () => {
      await run([stats], [flaky]);
      await invoke('test.flaky', { fail: false });
      await invoke('test.flaky', { fail: true }).catch((error: GantryError) => expect(error.code).to.equal('CONFLICT'));
      await scrape();
      const read = await scrape();
      expect(read.of('gantry_service_calls_total')).to.include({ 'test.flaky': 2, 'gantry.metrics': 1 });
      expect(read.of('gantry_service_failures_total')).to.include({ 'test.flaky': 1, 'gantry.metrics': 0 });
    });

    it('escapes names, so that each comes back as it was', async () => {
      await run([stats]);
      const names = ['a"b', 'a\\b', 'a\nb', 'a\\nb', '\\"\n', '{le="1"} 5', 'ü 漢字 \u{1f511}', ''];
      for (const name of names) kernel.cradle.stats.meter(name).record(1, false);
      const told = (await scrape()).of('gantry_service_calls_total');
      for (const name of names) expect(told[name], JSON.stringify(name)).to.equal(1);
    });

    it('tells which connections are up', async () => {
      kernel = new Process({ logs: new Logs({ level: 'silent' }) }).create([
        { id: outgoing.id, plugin: outgoing, config: {} },
      ]);
      const connection = (name: string) => ({ name, transport: 'kit', options: { reachable: name === 'crm' } });
      await kernel.deploy([metrics]).start({ connections: [connection('crm'), connection('erp')] });
      const read = await scrape();
      expect(read.types.get('gantry_connections_up')).to.equal('gauge');
      expect(read.all('gantry_connections_up').map((s) => [s.labels, s.value])).to.deep.equal([
        [{ connection: 'crm', transport: 'kit' }, 1],
        [{ connection: 'erp', transport: 'kit' }, 0],
      ]);
    });

    describe('of jobs and durable calls', () => {
      let data: string;
      const BY = { name: 'tester' };
      const hourly = { everyMs: 3_600_000 };

      beforeEach(() => {
        data = mkdtempSync(path.join(tmpdir(), 'gantry-health-'));
      });
      afterEach(async () => {
        await kernel.stop();
        rmSync(data, { recursive: true });
      });

      async function runJobs(): Promise<void> {
        const config: Readonly<Record<string, object>> = { 'scheduler.agenda': { beatMs: 100 } };
        const loaded = [odb, sqlite, scheduler].map((plugin) => {
          return { id: plugin.id, plugin, config: config[plugin.id] ?? {} } as unknown as Loaded;
        });
        kernel = new Process({ logs: new Logs({ level: 'silent' }), name: 'server1', version: '1.2.3', data });
        await kernel.create(loaded).deploy([ping, metrics, flaky]).start();
      }
      const of = (read: Scrape, ...names: string[]) =>
        Object.fromEntries(names.map((name) => [name, read.only(`gantry_${name}`).value]));
      const outcomes = (read: Scrape) =>
        Object.fromEntries(read.all('gantry_runs_total').map(({ labels, value }) => [labels['outcome'], value]));
      const fire = async (payload: object) => kernel.cradle.scheduler.fire('a', { name: 'tester', cid: 'c' }, payload);
      const ended = (token: string) =>
        until('it has ended', async () => (await kernel.cradle.scheduler.find(token))[0]?.state === 'ended');

      it('tells who runs them, how many there are, and how runs went', async () => {
        await runJobs();
        await until('it has the scheduler', () => kernel.cradle.scheduler.status().planned !== null);
        const { records } = kernel.cradle;
        await records.create('job', { name: 'a', service: 'test.flaky', schedule: hourly }, BY);
        await records.create('job', { name: 'b', service: 'test.flaky', schedule: hourly, active: false }, BY);
        for (const fail of [true, false, false]) await ended(await fire({ fail }));
        await until('it is counted', async () => (await scrape()).all('gantry_runs_dead').length === 1);
        const read = await scrape();
        expect(of(read, 'scheduler_up', 'scheduler_holder', 'scheduler_paused')).to.deep.equal({
          scheduler_up: 1,
          scheduler_holder: 1,
          scheduler_paused: 0,
        });
        expect(of(read, 'jobs_planned', 'jobs_overdue', 'runs_in_hand', 'scheduler_takeovers_total')).to.deep.equal({
          ...{ jobs_planned: 1, jobs_overdue: 0, runs_in_hand: 0, scheduler_takeovers_total: 1 },
        });
        expect(of(read, 'jobs_missed_total', 'jobs_skipped_total', 'runs_waiting', 'runs_dead')).to.deep.equal({
          ...{ jobs_missed_total: 0, jobs_skipped_total: 0, runs_waiting: 0, runs_dead: 0 },
        });
        expect(outcomes(read)).to.deep.equal({ succeeded: 2, failed: 1, timeout: 0, interrupted: 0 });
        for (const name of ['gantry_job_lateness_seconds', 'gantry_run_duration_seconds']) {
          expect(read.types.get(name)).to.equal('histogram');
          expect(read.only(`${name}_count`).value, name).to.equal(3);
          expect(read.only(`${name}_sum`).value, name).to.be.within(0, 60);
          const bounds = read.all(`${name}_bucket`).map(({ labels }) => float(labels['le'] ?? ''));
          expect(bounds.at(-1), name).to.equal(Number.POSITIVE_INFINITY);
          expect(bounds.at(-2), name).to.be.at.least(3600);
        }
      });

      it('tells what is paused, and what has no server', async () => {
        await runJobs();
        const { records } = kernel.cradle;
        await records.create('setting', { name: 'scheduler.paused', value: true }, BY);
        expect(of(await scrape(), 'scheduler_paused')).to.deep.equal({ scheduler_paused: 1 });
        const startedAt = new Date().toISOString();
        const own = { name: 'server1', urls: [], version: '1', startedAt, state: 'draining' };
        await records.create('server', own, BY);
        await kernel.stop();
        await runJobs();
        const left = await scrape();
        expect(of(left, 'scheduler_up', 'scheduler_holder')).to.deep.equal({ scheduler_up: 0, scheduler_holder: 0 });
        // It is not for this server to say.
        expect(left.all('gantry_jobs_planned')).to.deep.equal([]);
        await kernel.cradle.records.update('server', 'server1', 1, { state: 'online' }, BY);
        await until('it has it', async () => of(await scrape(), 'scheduler_up')['scheduler_up'] === 1);
      });

      it('are left out where no scheduler is loaded', async () => {
        await run([]);
        const names = [...(await scrape()).types.keys()];
        expect(names.filter((name) => /_(scheduler|jobs?|runs?)_/.test(name))).to.deep.equal([]);
      });
    });

    it('goes out as the text that it is, whatever the format of its channel', async () => {
      await run([stats, json, outgoing]);
      const address = {};
      const channel = kernel.cradle.channels.bind({
        name: 'metrics',
        transport: 'kit',
        address,
        service: 'gantry.metrics',
      });
      const reply = await channel.run(new Call('metrics', {}));
      expect(reply.outcome).to.equal('ok');
      expect(reply.contentType).to.equal('text/plain; version=0.0.4; charset=utf-8');
      const read = parse(Buffer.from(reply.body as Uint8Array).toString('utf8'));
      expect(read.only('gantry_info').value).to.equal(1);
    });
  });
});

const flaky = defineService({
  name: 'test.flaky',
  input: Type.Object({ fail: Type.Boolean() }),
  output: Type.Null(),
  create:
    () =>
    ({ fail }) => {
      if (fail) throw new GantryError('CONFLICT', 'as it was told');
      return null;
    },
});

/** Statistics with bounds of its own. */
const tens = definePlugin({
  id: 'stats.tens',
  api: 1,
  config: Type.Object({}),
  create: (): Stats => ({
    meter: () => ({ record() {} }),
    snapshot: () => [
      {
        service: 'any',
        calls: 10,
        failures: 0,
        minMs: 1,
        meanMs: 1,
        maxMs: 1,
        sumMs: 10,
        latency: { boundsMs: [10, 100, 1000, Number.POSITIVE_INFINITY], counts: [1, 2, 3, 4], quantile: () => 1 },
      },
    ],
  }),
});

const json = definePlugin({
  id: 'codec.json',
  api: 1,
  config: Type.Object({}),
  create: () => ({
    contentTypes: ['application/json'],
    typed: true,
    decode: (body: Uint8Array | string) => JSON.parse(body.toString()),
    encode: (value: unknown) => JSON.stringify(value),
  }),
});

/** A transport whose other side is there or not, as an option says. */
const outgoing = definePlugin({
  id: 'transport.kit',
  api: 1,
  config: Type.Object({}),
  create: () => ({
    supports: { reply: true, headers: true, largeBody: true },
    address: Type.Object({}),
    bind() {},
    unbind() {},
    options: Type.Object({ reachable: Type.Boolean() }),
    async connect(_name: string, { reachable }: Readonly<Record<string, unknown>>) {
      if (reachable !== true) throw new GantryError('OUTGOING_UNAVAILABLE', 'nobody is there');
      return { send: async () => null, ping: async () => {}, close: async () => {} };
    },
  }),
});

/** Until the event loop was looked at a few times. */
async function looks(): Promise<void> {
  for (let i = 0; i < 4; i++) await new Promise((resolve) => setTimeout(resolve, 12));
}

interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

interface Scrape {
  readonly types: ReadonlyMap<string, string>;
  all(name: string): Sample[];
  only(name: string): Sample;
  /** Values by service. */
  of(name: string): Record<string, number>;
  buckets(name: string, service: string): { le: number; value: number }[];
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const TYPES = ['counter', 'gauge', 'histogram', 'summary', 'untyped'];

/** Reads the text format, version 0.0.4, and takes nothing that is not exactly it. */
function parse(text: string): Scrape {
  expect(text.endsWith('\n'), 'a line break at the end').to.equal(true);
  const types = new Map<string, string>();
  const helped = new Set<string>();
  const samples: Sample[] = [];
  const seen = new Set<string>();
  let current = '';
  for (const line of text.slice(0, -1).split('\n')) {
    const [, keyword, about, rest] = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line) ?? [];
    if (keyword === 'HELP') {
      expect(about).to.match(NAME);
      expect(helped.has(about as string), `one HELP of ${about}`).to.equal(false);
      helped.add((current = about as string));
    } else if (keyword === 'TYPE') {
      expect(about, 'TYPE after its HELP').to.equal(current);
      expect(types.has(current), `one TYPE of ${current}`).to.equal(false);
      expect(TYPES).to.include(rest);
      types.set(current, rest as string);
    } else {
      const sample = parseSample(line);
      expect(types.has(current), `TYPE before: ${line}`).to.equal(true);
      const suffixes = types.get(current) === 'histogram' ? ['_bucket', '_sum', '_count'] : [''];
      expect(
        suffixes.map((suffix) => current + suffix),
        `the family of: ${line}`,
      ).to.include(sample.name);
      const id = JSON.stringify([sample.name, Object.entries(sample.labels).sort()]);
      expect(seen.has(id), `one sample of ${id}`).to.equal(false);
      seen.add(id);
      samples.push(sample);
    }
  }
  const all = (name: string) => samples.filter((s) => s.name === name);
  const scraped: Scrape = {
    types,
    all,
    only(name) {
      expect(all(name), name).to.have.lengthOf(1);
      return all(name)[0] as Sample;
    },
    of: (name) => Object.fromEntries(all(name).map((s) => [s.labels['service'], s.value])),
    buckets: (name, service) =>
      all(`${name}_bucket`)
        .filter((s) => s.labels['service'] === service)
        .map(({ labels, value }) => ({ le: float(labels['le'] ?? ''), value })),
  };
  for (const [name, type] of types) {
    if (type === 'histogram') checkHistogram(scraped, name);
    else if (type === 'counter') for (const s of all(name)) expect(s.value, name).to.be.at.least(0);
  }
  return scraped;
}

/** Each series has rising buckets, the last of which is +Inf and holds every call. */
function checkHistogram(scraped: Scrape, name: string): void {
  const counts = scraped.all(`${name}_count`);
  expect(counts).to.not.have.lengthOf(0);
  expect(scraped.all(`${name}_sum`)).to.have.lengthOf(counts.length);
  for (const { labels, value } of counts) {
    const buckets = scraped.buckets(name, labels['service'] as string);
    expect(buckets.at(-1), 'the last bucket').to.deep.equal({ le: Number.POSITIVE_INFINITY, value });
    for (const [i, bucket] of buckets.entries()) {
      if (i === 0) continue;
      const before = buckets[i - 1] as { le: number; value: number };
      expect(bucket.le).to.be.above(before.le);
      expect(bucket.value).to.be.at.least(before.value);
    }
  }
}

function parseSample(line: string): Sample {
  const found = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
  expect(found, `a sample: ${JSON.stringify(line)}`).to.not.equal(null);
  const [, name = '', inside, value = ''] = found as RegExpExecArray;
  return { name, labels: inside === undefined ? {} : parseLabels(inside), value: float(value) };
}

function parseLabels(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  const pair = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\["\\n])*)"(,|$)/y;
  while (pair.lastIndex < text.length) {
    const at = pair.lastIndex;
    const found = pair.exec(text);
    expect(found, `a label at ${JSON.stringify(text.slice(at))}`).to.not.equal(null);
    const [, name = '', value = ''] = found as RegExpExecArray;
    expect(labels).to.not.have.property(name);
    labels[name] = value.replace(/\\(.)/g, (_, letter: string) => (letter === 'n' ? '\n' : letter));
  }
  return labels;
}

/** A number as Go writes it. */
function float(text: string): number {
  if (text === '+Inf') return Number.POSITIVE_INFINITY;
  if (text === '-Inf') return Number.NEGATIVE_INFINITY;
  if (text === 'NaN') return Number.NaN;
  expect(text).to.match(/^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i);
  return Number(text);
}
