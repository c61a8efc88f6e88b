/** The servers that work together. */
import type { Noun, Verb } from './command.ts';
import { localTime } from './display.ts';
import { usage } from './failure.ts';
import { rollVerbs } from './rolling.ts';
import { type Column, table } from './table.ts';

interface Server {
  readonly name: string;
  readonly address: string;
  readonly state: string;
  readonly wanted: string | null;
  readonly weight: number | null;
  readonly version: string;
  readonly startedAt: string;
  readonly revision: number;
  readonly behind: boolean;
  readonly staleSince: string | null;
  readonly refused: readonly { readonly kind: string; readonly name: string; readonly problem: string }[];
}
interface Late {
  readonly name: string;
  readonly revision: number;
}
interface Status {
  readonly revision: number;
  readonly servers: readonly Server[];
  readonly late: readonly Late[];
  readonly absent: readonly string[];
  readonly agents: readonly { readonly name: string; readonly problem: string | null }[];
  readonly problem: string | null;
}
interface Reached {
  readonly revision: number;
  readonly reached: readonly string[];
  readonly late: readonly Late[];
}
interface Changed {
  readonly name: string;
  readonly state: string;
  readonly weight: number;
}

const COLUMNS: readonly Column<Server>[] = [
  { title: 'NAME', of: ({ name }) => name },
  { title: 'ADDRESS', of: ({ address }) => address },
  { title: 'STATE', of: ({ state }) => state },
  { title: 'WANTED', of: ({ wanted }) => wanted },
  { title: 'WEIGHT', of: ({ weight }) => weight },
  { title: 'REVISION', of: ({ revision, behind }) => `${revision}${behind ? ' (behind)' : ''}` },
  { title: 'RELEASE', of: ({ version }) => version },
  { title: 'STARTED', of: ({ startedAt }) => localTime(startedAt) },
];

export const cluster: Noun = {
  name: 'cluster',
  does: 'The servers that work together',
  verbs: [
    {
      name: 'status',
      does: 'who is there and how far each is; exits with 1 where one is behind, absent or has a problem',
      async run({ client, screen }) {
        const answer = await client.call<Status>('cluster.status', {}, { reads: true });
        await screen.show(
          answer,
          (status) => {
            const rows =
              status.servers.length === 0 ? 'There is no server.\n' : table(COLUMNS, status.servers, screen.width);
            return `${rows}${troubles(status)
              .map((line) => `${line}\n`)
              .join('')}`;
          },
          ({ servers }) => servers.map(({ name }) => `${name}\n`).join(''),
        );
        return troubles(answer.value).length === 0 ? 0 : 1;
      },
    },
    {
      name: 'wait',
      does: 'until every server runs with a change; exits with 1 where one does not',
      options: [
        { name: 'revision', value: 'N', does: 'the change; default: the latest that any of them runs with' },
        { name: 'for', value: 'SECONDS', does: 'how long at most; default 10' },
      ],
      async run({ client, options, screen }) {
        const revision = options.integer('revision', 0);
        const seconds = options.integer('for', 0) ?? 10;
        const input = { ...(revision === undefined ? {} : { revision }), timeoutMs: seconds * 1000 };
        const asking = { reads: true, timeoutMs: seconds * 1000 + 30_000 };
        const answer = await client.call<Reached>('cluster.wait', input, asking);
        await screen.show(answer, ({ revision: at, reached, late }) => {
          const behind = late.map((one) => `${one.name} is at ${one.revision}.\n`).join('');
          return `Change ${at} runs on ${reached.length} of ${reached.length + late.length} servers.\n${behind}`;
        });
        return answer.value.late.length === 0 ? 0 : 1;
      },
    },
    ...rollVerbs,
  ],
};

function troubles({ servers, absent, agents, problem }: Status): string[] {
  return [
    ...(problem === null ? [] : [`The others cannot be asked: ${problem}.`]),
    ...servers.filter(({ behind }) => behind).map(({ name }) => `${name} is behind.`),
    ...servers.flatMap(({ name, staleSince }) =>
      staleSince === null ? [] : [`${name} cannot ask the database since ${localTime(staleSince)}.`],
    ),
    ...servers.flatMap(({ name, refused }) =>
      refused.map((one) => `${name} could not put the ${one.kind} '${one.name}' into effect: ${one.problem}`),
    ),
    ...absent.map((name) => `${name} is on record, and not there.`),
    ...agents.flatMap(({ name, problem }) => (problem === null ? [] : [`${name}: ${problem}`])),
  ];
}

/** What is done to one server, beside its record. */
export const serverVerbs: readonly Verb[] = [
  state('drain', 'gives one no new calls; it ends what it has'),
  state('offline', 'gives one nothing at all'),
  state('online', 'gives one calls again'),
  {
    name: 'weight',
    does: 'gives one a share of the calls, 0 to 256; 100 is a usual one',
    words: 'NAME WEIGHT',
    async run({ client, screen, words: [name, text = ''] }) {
      const weight = Number(text);
      if (!/^\d+$/.test(text) || weight > 256)
        throw usage(`The weight must be a whole number up to 256, not '${text}'`);
      const answer = await client.call<Changed>('server.weight', { name, weight });
      await screen.show(answer, (one) => `The server '${one.name}' is ${one.state}, with weight ${one.weight}.\n`);
    },
  },
  {
    name: 'restart',
    does: 'has one end in order; who supervises it starts it again',
    words: 'NAME',
    async run({ client, screen, words: [name] }) {
      const answer = await client.call<{ name: string }>('server.restart', { name });
      await screen.show(answer, (one) => `The server '${one.name}' was told to restart.\n`);
    },
  },
];

function state(name: string, does: string): Verb {
  return {
    name,
    does,
    words: 'NAME',
    async run({ client, screen, words }) {
      const answer = await client.call<Changed>(`server.${name}`, { name: words[0] });
      await screen.show(answer, (one) => `The server '${one.name}' is ${one.state}, with weight ${one.weight}.\n`);
    },
  };
}
