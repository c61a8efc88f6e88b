/** How often services were called, how long that took and how it ended: of all servers, where the plugin adds them up. */
import { Bytes, defineService, GantryError, type Static, Type } from 'gantry/api';
import { addStats, periodAfter, periodOf } from 'gantry/parts';
import type { ServiceStats } from 'gantry/ports';
import {
  type Bounds,
  back,
  beginsOf,
  csvOf,
  Numbers,
  numbersOf,
  Row,
  rowOf,
  Service,
  Span,
  spanOf,
  toMicros,
  totals,
  using,
  Within,
} from './_statistics.ts';

const HOUR_MS = 3_600_000;
/** Without a beginning: the present period and the 23 before it. */
const PERIODS = 24;

const viewer = { admin: { role: 'viewer' } };
const Limit = (initial: number) => Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, default: initial }));
const Ranked = Type.Object({ service: Type.String(), ...Numbers });
const said = ({ from, until }: Bounds) => ({ from: from.toISOString(), until: until.toISOString() });

const list = defineService({
  name: 'gantry.statistics.list',
  description: 'Numbers by period and service, the oldest period first; without a beginning, of 24 periods',
  attributes: viewer,
  input: Type.Object({
    ...Span,
    service: Type.Optional(Service),
    search: Type.Optional(Type.String({ maxLength: 200, description: 'A part of the name' })),
    after: Type.Optional(Type.String({ description: '`next` of the page before' })),
    limit: Limit(100),
  }),
  output: Type.Object({
    items: Type.Array(Row),
    next: Type.Union([Type.String(), Type.Null()], { description: 'Null on the last page' }),
    total: Type.Integer(),
  }),
  create: ({ stats }) => {
    return async ({ service, search = '', after = '', limit = 100, ...span }) => {
      const query = { ...spanOf(span, PERIODS), ...(service === undefined ? {} : { service }) };
      const wanted = search.toLowerCase();
      const told = await using(stats, 'history')(query);
      const all = told.filter((one) => one.service.toLowerCase().includes(wanted));
      const key = (one: (typeof all)[number]) => `${one.from.toISOString()} ${one.service}`;
      const rest = all.filter((one) => key(one) > after);
      const page = rest.slice(0, limit);
      const last = page.at(-1);
      const next = rest.length > page.length && last !== undefined ? key(last) : null;
      return { items: page.map(rowOf), next, total: all.length };
    };
  },
});

/** What services can be put in order by. */
const ORDERS = { mean: 'meanMs', p50: 'p50Ms', p95: 'p95Ms', p99: 'p99Ms', max: 'maxMs' } as const;
const By = Type.Union(
  [Type.Literal('mean'), Type.Literal('p50'), Type.Literal('p95'), Type.Literal('p99'), Type.Literal('max')],
  { default: 'mean' },
);

const slowest = defineService({
  name: 'gantry.statistics.slowest',
  description: 'The services that took longest, of the present period where no other is asked for',
  attributes: viewer,
  input: Type.Object({
    ...Span,
    by: Type.Optional(By),
    limit: Limit(10),
  }),
  output: Type.Object({ ...Within.properties, items: Type.Array(Ranked) }),
  create: ({ stats }) => {
    return async ({ by = 'mean', limit = 10, ...asked }) => {
      const span = spanOf(asked, 1);
      const all = [...(await totals(stats, span)).values()].map(ranked);
      const field = ORDERS[by];
      const items = all.sort((one, other) => other[field] - one[field] || byName(one, other)).slice(0, limit);
      return { ...said(span), items };
    };
  },
});

const busiest = defineService({
  name: 'gantry.statistics.busiest',
  description: 'The services that were called most often, of the present period where no other is asked for',
  attributes: viewer,
  input: Type.Object({ ...Span, limit: Limit(10) }),
  output: Type.Object({
    ...Within.properties,
    calls: Type.Integer({ description: 'Of all services' }),
    items: Type.Array(
      Type.Object({ ...Ranked.properties, share: Type.Number({ description: 'Of all calls, from 0 to 1' }) }),
    ),
  }),
  create: ({ stats }) => {
    return async ({ limit = 10, ...asked }) => {
      const span = spanOf(asked, 1);
      const all = [...(await totals(stats, span)).values()];
      const calls = all.reduce((sum, one) => sum + one.calls, 0);
      const first = all.sort((one, other) => other.calls - one.calls || byName(one, other)).slice(0, limit);
      return { ...said(span), calls, items: first.map((one) => ({ ...ranked(one), share: one.calls / calls })) };
    };
  },
});

const Missing = Type.Union([Type.Number(), Type.Null()], { description: 'Null where nothing was called' });
const { calls: Calls, failures: Failures, ...Times } = Numbers;

const trend = defineService({
  name: 'gantry.statistics.trend',
  description: 'Each period of one service, those without calls too; without a beginning, 24 of them',
  attributes: viewer,
  input: Type.Object({ ...Span, service: Service }),
  output: Type.Object({
    ...Within.properties,
    service: Type.String(),
    total: Type.Object(Numbers, { description: 'Of the whole time' }),
    items: Type.Array(
      Type.Object({
        from: Type.String({ format: 'date-time' }),
        calls: Calls,
        failures: Failures,
        ...(Object.fromEntries(Object.keys(Times).map((key) => [key, Missing])) as {
          [K in keyof typeof Times]: typeof Missing;
        }),
      }),
    ),
  }),
  create: ({ stats }) => {
    return async ({ service, ...asked }) => {
      const span = spanOf(asked, PERIODS);
      const begins = beginsOf(span);
      const told = await using(stats, 'history')({ ...span, service });
      const known = new Map(told.map((one) => [one.from.getTime(), numbersOf(one)]));
      const items = begins.map((at) => ({ from: new Date(at).toISOString(), ...(known.get(at) ?? NOTHING) }));
      return { ...said(span), service, total: numbersOf(addStats(service, told)), items };
    };
  },
});

/** How long before, in ms. */
const BEFORE = { hour: HOUR_MS, day: 24 * HOUR_MS, week: 7 * 24 * HOUR_MS } as const;
const Against = Type.Union(
  [Type.Literal('previous'), Type.Literal('hour'), Type.Literal('day'), Type.Literal('week')],
  { default: 'previous', description: 'What ended where it began, or the same an hour, a day, a week before' },
);
type Against = Static<typeof Against>;
/** What is compared. */
const COMPARED = ['calls', 'failures', 'meanMs', 'p95Ms'] as const;

const Change = Type.Object({
  absolute: Type.Number(),
  relative: Type.Union([Type.Number(), Type.Null()], { description: '0.5 is half as much again; null: it was 0' }),
});

const compare = defineService({
  name: 'gantry.statistics.compare',
  description: 'A time against an earlier one of the same length; without a beginning, the last whole period',
  attributes: viewer,
  input: Type.Object({
    ...Span,
    until: Type.Optional(Type.String({ format: 'date-time', description: 'Not included. Default: of one period' })),
    against: Type.Optional(Against),
    service: Type.Optional(Service),
    limit: Limit(100),
  }),
  output: Type.Object({
    present: Within,
    before: Within,
    complete: Type.Boolean({ description: 'Whether the present time is over' }),
    items: Type.Array(
      Type.Object({
        service: Type.String(),
        present: Type.Object(Numbers),
        before: Type.Object(Numbers),
        change: Type.Object({ calls: Change, failures: Change, meanMs: Change, p95Ms: Change }),
      }),
    ),
  }),
  create: ({ stats }) => {
    return async ({ against = 'previous', service, limit = 100, ...asked }) => {
      const present = presentOf(asked);
      const before = beforeOf(present, against);
      const only = service === undefined ? {} : { service };
      const now = await totals(stats, { ...present, ...only });
      const then = await totals(stats, { ...before, ...only });
      const calls = (name: string) => (now.get(name)?.calls ?? 0) + (then.get(name)?.calls ?? 0);
      const names = [...new Set([...now.keys(), ...then.keys()])];
      const first = names.sort((one, other) => calls(other) - calls(one) || (one < other ? -1 : 1)).slice(0, limit);
      return {
        present: said(present),
        before: said(before),
        complete: present.until.getTime() <= Date.now(),
        items: first.map((name) => compared(name, now.get(name), then.get(name))),
      };
    };
  },
});

const slowCalls = defineService({
  name: 'gantry.statistics.slowCalls',
  description: 'Single calls that took long, of today and yesterday, the slowest first',
  attributes: viewer,
  input: Type.Object({ service: Type.Optional(Service), limit: Limit(20) }),
  output: Type.Object({
    items: Type.Array(
      Type.Object({
        service: Type.String(),
        server: Type.String(),
        channel: Type.String(),
        cid: Type.String({ description: 'Its id: it stands in the log' }),
        at: Type.String({ format: 'date-time', description: 'When it ended' }),
        ms: Type.Number(),
        outcome: Type.String({ description: "'ok', or the kind of its error" }),
      }),
    ),
  }),
  create: ({ stats }) => {
    return async ({ service, limit = 20 }) => {
      const items = await using(stats, 'slowCalls')(limit, service);
      return { items: items.map((one) => ({ ...one, at: one.at.toISOString(), ms: toMicros(one.ms) })) };
    };
  },
});

const csv = defineService({
  name: 'gantry.statistics.csv',
  description: 'The same as the list, as a CSV file (RFC 4180)',
  attributes: { admin: { role: 'viewer', method: 'GET', path: 'statistics.csv' } },
  input: Type.Object({ ...Span, service: Type.Optional(Service) }),
  output: Bytes,
  create: ({ stats }) => {
    return async ({ service, ...asked }, call) => {
      const span = spanOf(asked, PERIODS);
      const told = await using(stats, 'history')({ ...span, ...(service === undefined ? {} : { service }) });
      call.reply.contentType = 'text/csv; charset=utf-8; header=present';
      const name = `statistics-${span.per}-${span.from.toISOString().slice(0, 10)}.csv`;
      call.reply.headers = { 'content-disposition': `attachment; filename="${name}"` };
      return Buffer.from(csvOf(told.map(rowOf)), 'utf8');
    };
  },
});

const NOTHING = {
  calls: 0,
  failures: 0,
  minMs: null,
  meanMs: null,
  maxMs: null,
  p50Ms: null,
  p95Ms: null,
  p99Ms: null,
};

function ranked(stats: ServiceStats) {
  return { service: stats.service, ...numbersOf(stats) };
}

function byName(one: { readonly service: string }, other: { readonly service: string }): number {
  return one.service < other.service ? -1 : 1;
}

function presentOf({ per = 'hour', from, until }: Parameters<typeof spanOf>[0]): Bounds {
  if (from !== undefined || until !== undefined) {
    const begin = from === undefined ? undefined : periodOf(per, new Date(from).getTime());
    const end = until ?? new Date(periodAfter(per, begin as number)).toISOString();
    return spanOf({ per, until: end, ...(from === undefined ? {} : { from }) }, 1);
  }
  const end = periodOf(per, Date.now());
  return { per, from: new Date(back(per, end, 1)), until: new Date(end) };
}

function beforeOf(present: Bounds, against: Against): Bounds {
  const { per, from, until } = present;
  if (against === 'previous') {
    const begin = back(per, from.getTime(), beginsOf(present).length);
    return { per, from: new Date(begin), until: from };
  }
  const begin = from.getTime() - BEFORE[against];
  if (periodOf(per, begin) === begin)
    return { per, from: new Date(begin), until: new Date(until.getTime() - BEFORE[against]) };
  const problems = [{ path: '/against', message: `must be 'previous', or no shorter than a ${per}`, got: against }];
  const text = `A ${per} cannot be held against what was ${against === 'hour' ? 'an' : 'a'} ${against} before`;
  throw new GantryError('INVALID', text, { problems });
}

function compared(service: string, now: ServiceStats | undefined, then: ServiceStats | undefined) {
  const [present, before] = [now, then].map((one) => numbersOf(one ?? addStats(service, []))) as [Told, Told];
  const change = Object.fromEntries(
    COMPARED.map((key) => {
      const absolute = toMicros(present[key] - before[key]);
      return [key, { absolute, relative: before[key] === 0 ? null : absolute / before[key] }];
    }),
  ) as Readonly<Record<(typeof COMPARED)[number], { absolute: number; relative: number | null }>>;
  return { service, present, before, change };
}

type Told = ReturnType<typeof numbersOf>;

export default [list, slowest, busiest, trend, compare, slowCalls, csv];
