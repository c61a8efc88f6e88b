import { bulk } from './admin-bulk.ts';
import { type AdminServer, applying, CALLERS, channelRecords, startAdminServer } from './admin-server.ts';
import type { AdminCall } from './administrator.ts';
import type { Worked } from './changer.ts';
import { Changer } from './changer-process.ts';
import { shown, spread } from './figures.ts';
import { channelOf } from './gantry.ts';
import type { Options } from './options.ts';
import type { Section } from './table.ts';
import { paths } from './work.ts';

const RECORDS = 1000;
const PAGE = 50;

/** How the calls are made. */
const WAYS = [1, 8].flatMap((atOnce) =>
  (['password', 'session'] as const).map((by) => ({ atOnce, by, title: `${atOnce} at once, ${by}` })),
);
type Way = (typeof WAYS)[number];
const [FIRST] = WAYS as [Way, ...Way[]];

/** What is done to channels, in an order in which each finds what it needs and nothing stays. */
const STEPS = ['create', 'get', 'update', 'list', 'remove'] as const;
type Step = (typeof STEPS)[number];

/** What the admin API does a second, and what it takes with thousands of records. */
export async function admin(options: Options): Promise<Section> {
  const rates = await measureRates(options);
  const { tables, goals, records } = await bulk(options);
  const runs = (step: Step, way: Way) => rates.get(`${step}, ${way.title}`) ?? [];
  return {
    title: 'Admin: what the admin API does',
    about: [
      'Calls of the admin API by a process of its own, on a server with all that config/base.yaml has: records in SQLite, in',
      `a file of this machine. Among ${RECORDS.toLocaleString('en')} channels others are created, read, updated, listed by the page of ${PAGE}, and removed; with`,
      'the password of the user in each call (Basic), or the token of a session. A change is answered when it is in effect.',
      `Below, whole configurations of up to ${records.toLocaleString('en')} channels; another process asks for a ping every 2 ms meanwhile.`,
    ],
    tables: [
      ...STEPS.map((step) => ({
        title: `channel.${step}: median (least..most)`,
        head: ['calls', 'per second', `x ${FIRST.title}`, 'p50 ms', 'p99 ms', 'client CPU'],
        rows: WAYS.map((way) => rowOf(way, runs(step, way), runs(step, FIRST))),
      })),
      ...tables,
    ],
    goals,
  };
}

function rowOf({ title }: Way, all: readonly Worked[], first: readonly Worked[]): string[] {
  const cell = (digits: number, what: (worked: Worked) => number) => shown(spread(all.map(what)), digits);
  return [
    title,
    cell(0, ({ calls, seconds }) => calls / seconds),
    shown(spread(all.map(({ seconds }, round) => (first[round]?.seconds ?? Number.NaN) / seconds))),
    cell(1, ({ p50Ms }) => p50Ms),
    cell(1, ({ p99Ms }) => p99Ms),
    `${(spread(all.map(({ cpu }) => cpu)).median * 100).toFixed(0)} %`,
  ];
}

/** By step and way, one for each round. */
async function measureRates({ quick, rounds }: Options): Promise<ReadonlyMap<string, readonly Worked[]>> {
  const server = await startAdminServer('gantry-admin');
  const changer = await Changer.start();
  await server.administrator.call(applying(channelRecords('other', paths(RECORDS), { shared: true })));
  const count = quick ? 80 : 240;
  const rates = new Map<string, Worked[]>();
  const warm = { atOnce: 8, by: 'session', title: 'warm' } as const;
  await once(server, changer, warm, count * 4, new Map());
  for (let round = 0; round < rounds; round++) {
    const order = round % 2 === 0 ? WAYS : [...WAYS].reverse();
    for (const way of order) await once(server, changer, way, count, rates);
    process.stderr.write(`   round ${round + 1} of ${rounds}\n`);
  }
  await Promise.all([changer.stop(), server.stop()]);
  return rates;
}

async function once(
  server: AdminServer,
  changer: Changer,
  { atOnce, by, title }: Way | { atOnce: number; by: 'session'; title: 'warm' },
  count: number,
  rates: Map<string, Worked[]>,
): Promise<void> {
  const { port, basic, token } = server;
  const authorization = by === 'password' ? basic : token;
  for (const step of STEPS) {
    const lanes = Array.from({ length: atOnce }, (_, lane) => callsOf(step, lane, count / atOnce));
    const worked = await changer.work({ port, authorization, lanes });
    const key = `${step}, ${title}`;
    rates.set(key, [...(rates.get(key) ?? []), worked]);
  }
}

function callsOf(step: Step, lane: number, count: number): AdminCall[] {
  return Array.from({ length: count }, (_, i) => {
    const name = `rate-${lane}-${i}`;
    return { service: `channel.${step}`, input: inputOf(step, name, `/rate/${lane}/${i}`) };
  });
}

function inputOf(step: Step, name: string, path: string): object {
  switch (step) {
    case 'create':
      return { ...channelOf(name, path), security: CALLERS };
    case 'update':
      return { name, version: 1, changes: { address: { method: 'POST', path: `${path}/moved` } } };
    case 'list':
      return { limit: PAGE };
    case 'get':
    case 'remove':
      return { name };
  }
}
