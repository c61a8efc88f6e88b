import { request } from 'undici';
import { type AdminServer, applying, channelRecords, type Portable, startAdminServer } from './admin-server.ts';
import type { AdminCall } from './administrator.ts';
import { shown, spread } from './figures.ts';
import { PING } from './gantry.ts';
import type { Options } from './options.ts';
import type { Goal, Table } from './table.ts';
import { paths } from './work.ts';

const MANY = 10_000;
/** A smaller configuration, to see what grows with the number. */
const SHARE = 10;
const MOST_ROUNDS = 3;
/** A person does not notice it, and a caller's timeout is far away. */
const MOST_WAIT_MS = 100;
const TIMES = 10;
const PAGE = 50;

/** One call with thousands of records. */
interface Taken {
  readonly records: number;
  readonly seconds: number;
  /** The longest that a ping had to wait meanwhile. */
  readonly waitMs: number;
}
type Figures<T> = Map<string, T[]>;

interface Bulk {
  readonly records: number;
  readonly tables: readonly Table[];
  readonly goals: readonly Goal[];
}

/** Whole configurations, and pages of a long list. */
export async function bulk({ quick, rounds }: Options): Promise<Bulk> {
  const many = quick ? MANY / 10 : MANY;
  const taken: Figures<Taken> = new Map();
  const pages: Figures<number> = new Map();
  const server = await startAdminServer('gantry-admin-bulk');
  for (let round = 0; round < (quick ? 1 : Math.min(rounds, MOST_ROUNDS)); round++) {
    await once(server, many, taken, pages);
    process.stderr.write(`   whole configurations, round ${round + 1}\n`);
  }
  await server.stop();
  const longest = Math.max(...[...taken.values()].flat().map(({ waitMs }) => waitMs));
  const count = many.toLocaleString('en');
  return {
    records: many,
    goals: [
      {
        text: `No ping waits longer than ${MOST_WAIT_MS} ms while ${count} channels are changed or read`,
        measured: `${longest.toFixed(0)} ms`,
        met: longest <= MOST_WAIT_MS,
      },
    ],
    tables: [
      {
        title: 'Whole configurations: median (least..most)',
        head: ['call', 'seconds', 'records/s', 'longest ping ms'],
        rows: [...taken].map(([name, all]) => [
          name,
          shown(spread(all.map(({ seconds }) => seconds))),
          shown(spread(all.map(({ records, seconds }) => records / seconds)), 0),
          shown(spread(all.map(({ waitMs }) => waitMs)), 0),
        ]),
      },
      {
        title: `A page of ${PAGE} among ${count} channels: median (least..most) of ${TIMES} calls in each round`,
        head: ['page', 'ms'],
        rows: [...pages].map(([name, all]) => [name, shown(spread(all), 1)]),
      },
    ],
  };
}

async function once(server: AdminServer, many: number, taken: Figures<Taken>, pages: Figures<number>): Promise<void> {
  const note = async (name: string, records: number, call: AdminCall) =>
    void add(taken, name, { records, ...(await timed(server, call)) });
  const few = channelRecords('few', paths(many / SHARE), { shared: true });
  const shared = channelRecords('many', paths(many), { shared: true });
  const keyed = channelRecords('keyed', paths(many), { shared: false });
  const kinds = ['channel', 'security'];
  const count = many.toLocaleString('en');
  const apply = (name: string, records: readonly Portable[]) =>
    note(`apply, ${name}`, records.length, applying(records));
  await apply(`${(many / SHARE).toLocaleString('en')} new channels`, few);
  await server.administrator.call(applying([], kinds));
  await apply(`${count} new channels`, shared);
  await apply('the same again', shared);
  for (const [name, input] of Object.entries(await queries(server, many))) {
    for (let i = 0; i < TIMES; i++) add(pages, name, await page(server, input));
  }
  await note('export', shared.length, { service: 'configuration.export', input: {} });
  await note('apply, all removed', shared.length, applying([], kinds));
  await apply(`${count} new channels, a key on each`, keyed);
  await server.administrator.call(applying([], kinds));
}

/** What a person looks for in a long list. */
async function queries({ administrator }: AdminServer, many: number): Promise<Readonly<Record<string, object>>> {
  const middle = { limit: 500 };
  let after: string | null = null;
  for (let at = 0; at < many / 2; at += middle.limit) {
    const input: object = after === null ? middle : { ...middle, after };
    after = (await administrator.call<{ next: string | null }>({ service: 'channel.list', input })).next;
  }
  return {
    first: {},
    'in the middle': after === null ? {} : { after },
    'by the time of the last change': { sort: 'changedAt', descending: true },
    'by service': { sort: 'service' },
    'active ones': { filter: { active: 'true' } },
    'a part of the name': { search: 'ny99' },
  };
}

async function page({ administrator }: AdminServer, query: object): Promise<number> {
  const startedAt = performance.now();
  await administrator.call({ service: 'channel.list', input: { ...query, limit: PAGE } });
  return performance.now() - startedAt;
}

async function timed(server: AdminServer, call: AdminCall): Promise<Omit<Taken, 'records'>> {
  const ended = new AbortController();
  const waiting = longestPing(server.port, ended.signal);
  const startedAt = performance.now();
  await server.administrator.call(call);
  const seconds = (performance.now() - startedAt) / 1000;
  ended.abort();
  return { seconds, waitMs: await waiting };
}

async function longestPing(port: number, ended: AbortSignal): Promise<number> {
  let longest = 0;
  while (!ended.aborted) {
    const startedAt = performance.now();
    const { body } = await request(`http://127.0.0.1:${port}${PING}`);
    await body.dump();
    longest = Math.max(longest, performance.now() - startedAt);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  return longest;
}

function add<T>(figures: Map<string, T[]>, name: string, figure: T): void {
  figures.set(name, [...(figures.get(name) ?? []), figure]);
}
