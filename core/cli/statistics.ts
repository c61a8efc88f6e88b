/** How often services were called, how long they took, and how they ended. */
import type { Command, Noun, Option, Verb } from './command.ts';
import { localTime } from './display.ts';
import { type Column, table } from './table.ts';

interface Numbers {
  readonly service: string;
  readonly from?: string;
  readonly calls: number;
  readonly failures: number;
  readonly meanMs: number;
  readonly maxMs: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
}
interface Slow {
  readonly service: string;
  readonly server: string;
  readonly channel: string;
  readonly cid: string;
  readonly at: string;
  readonly ms: number;
  readonly outcome: string;
}

const PER: Option = { name: 'per', value: 'PERIOD', does: 'minute, hour, day or month; default: hour' };
const FROM: Option = { name: 'from', value: 'TIME', does: 'ISO 8601: the period that it is in is the first one' };
const UNTIL: Option = { name: 'until', value: 'TIME', does: 'not included; default: now' };
const LIMIT: Option = { name: 'limit', value: 'N', does: 'how many at most' };

const ms = (value: number): string => value.toFixed(value < 10 ? 2 : 0);
const NUMBERS: readonly Column<Numbers>[] = [
  { title: 'SERVICE', of: ({ service }) => service },
  { title: 'CALLS', of: ({ calls }) => calls },
  { title: 'FAILED', of: ({ failures }) => failures },
  { title: 'MEAN', of: ({ meanMs }) => ms(meanMs) },
  { title: 'P50', of: ({ p50Ms }) => ms(p50Ms) },
  { title: 'P95', of: ({ p95Ms }) => ms(p95Ms) },
  { title: 'P99', of: ({ p99Ms }) => ms(p99Ms) },
  { title: 'MAX', of: ({ maxMs }) => ms(maxMs) },
];
const BY_PERIOD: readonly Column<Numbers>[] = [{ title: 'FROM', of: ({ from }) => localTime(from) }, ...NUMBERS];
const SLOW: readonly Column<Slow>[] = [
  { title: 'MS', of: (one) => ms(one.ms) },
  { title: 'SERVICE', of: ({ service }) => service },
  { title: 'OUTCOME', of: ({ outcome }) => outcome },
  { title: 'SERVER', of: ({ server }) => server },
  { title: 'CHANNEL', of: ({ channel }) => channel },
  { title: 'TIME', of: ({ at }) => localTime(at) },
  { title: 'ID', of: ({ cid }) => cid },
];

const verb = (name: string, does: string, columns: readonly Column<Numbers>[], more: readonly Option[] = []): Verb => ({
  name,
  does,
  options: [PER, FROM, UNTIL, LIMIT, ...more],
  run: (command) => show(command, name, columns, asked(command)),
});

export const statistics: Noun = {
  name: 'statistics',
  does: 'How often services were called, and how long they took, in ms',
  verbs: [
    verb('list', 'numbers by period and service', BY_PERIOD, [
      { name: 'service', value: 'NAME', does: 'of one service only' },
    ]),
    verb('busiest', 'the services that were called most often', NUMBERS),
    verb('slowest', 'the services that took longest', NUMBERS),
    {
      name: 'slow',
      does: 'single calls that took long, of today and yesterday, the slowest first',
      options: [LIMIT, { name: 'service', value: 'NAME', does: 'of one service only' }],
      run: (command) => show(command, 'slowCalls', SLOW, asked(command)),
    },
  ],
};

function asked({ options }: Command): Record<string, unknown> {
  const texts = ['per', 'from', 'until', 'service'].map((name) => [name, options.text(name)] as const);
  const given = [...texts, ['limit', options.integer('limit', 1)] as const].filter(([, value]) => value !== undefined);
  return Object.fromEntries(given);
}

async function show<T extends { readonly service: string }>(
  { client, screen }: Command,
  service: string,
  columns: readonly Column<T>[],
  input: Record<string, unknown>,
): Promise<void> {
  const answer = await client.call<{ items: readonly T[] }>(`statistics.${service}`, input, { reads: true });
  await screen.show(
    answer,
    ({ items }) => (items.length === 0 ? 'There was no call.\n' : table(columns, items, screen.width)),
    ({ items }) => items.map((one) => `${one.service}\n`).join(''),
  );
}
