/** Runs of jobs and durable calls, and what is done about those that did not go well. */
import type { AdminClient } from './client.ts';
import type { Command, Noun, Option, Verb } from './command.ts';
import { duration, localTime, textOf } from './display.ts';
import { usage } from './failure.ts';
import { type Page, readPages, restOf } from './pages.ts';
import type { Answer } from './screen.ts';
import { type Column, table } from './table.ts';

/** One attempt, as the API tells it. */
export interface Run {
  readonly token: string;
  readonly attempt: number;
  readonly attempts: number;
  readonly source: string;
  readonly job: string | null;
  readonly service: string;
  readonly state: string;
  readonly outcome: string | null;
  readonly dueAt: string;
  readonly readyAt: string;
  readonly startedAt: string | null;
  readonly durationMs: number | null;
  readonly server: string | null;
  readonly count: number;
  readonly code: string | null;
  readonly reason: string | null;
  readonly dead: boolean;
}

/** In all of one token. */
interface Whole {
  readonly token: string;
  readonly attempts: readonly Run[];
  readonly data?: unknown;
}

export const FROM: Option = { name: 'from', value: 'TIME', does: 'due then or later' };
export const UNTIL: Option = { name: 'until', value: 'TIME', does: 'due before' };
export const OUTCOME: Option = {
  name: 'outcome',
  value: 'OUTCOME',
  does: 'succeeded, failed, timeout, interrupted, skipped, missed or cancelled',
};
/** The history is long, and what is looked for is mostly at its end. */
export const PAGING: readonly Option[] = [
  { name: 'limit', value: 'N', does: 'at most so many; default: 50' },
  { name: 'after', value: 'NEXT', does: 'goes on where `next` of an answer says' },
];
const USUAL = 50;

const WHICH: readonly Option[] = [
  { name: 'of', value: 'WHAT', does: 'jobs, or durable calls: jobs or calls' },
  { name: 'job', value: 'NAME', does: 'of one job only' },
  { name: 'service', value: 'NAME', does: 'of one service only' },
];
const ALL: Option = { name: 'all', does: 'all that are dead, or those of --job, --service or --of' };

/** What of a run stands in each table of runs. A token is of use only as a whole: what comes first is not cut. */
const TOKEN: Column<Run> = { title: 'TOKEN', of: ({ token }) => token };
const REST: readonly Column<Run>[] = [
  { title: 'DUE', of: ({ dueAt, count }) => `${localTime(dueAt)}${count > 1 ? ` (${count} times)` : ''}` },
  { title: 'OUTCOME', of: outcomeOf },
  { title: 'LATE', of: ({ readyAt, startedAt }) => took(startedAt === null ? null : sinceOf(readyAt, startedAt)) },
  { title: 'TOOK', of: ({ durationMs }) => took(durationMs) },
  { title: 'ATTEMPT', of: ({ attempt, attempts }) => `${attempt}/${Math.max(attempt, attempts)}` },
  { title: 'BY', of: ({ source }) => source },
  { title: 'SERVER', of: ({ server }) => server },
  { title: 'WHY', of: ({ code, reason }) => whyOf(code, reason) },
];
export const RUN: readonly Column<Run>[] = [TOKEN, ...REST];
const LISTED: readonly Column<Run>[] = [
  TOKEN,
  { title: 'JOB', of: ({ job }) => job },
  { title: 'SERVICE', of: ({ service }) => service },
  ...REST,
];

export const run: Noun = {
  name: 'run',
  does: 'Runs of jobs and durable calls',
  verbs: [
    {
      name: 'get',
      does: 'all attempts of one, and what it was run with; exits with 1 where the last one did not succeed',
      words: 'TOKEN',
      async run({ client, screen, words: [token = ''] }) {
        const answer = await getRun(client, token);
        await screen.show(answer, ({ attempts, data }) => {
          const whole = attempts.filter(({ reason }) => reason !== null);
          const why = whole.map(({ attempt, code, reason }) => `Attempt ${attempt}: ${whyOf(code, reason)}\n`);
          const input = data === undefined ? '' : `Run with: ${textOf(data)}\n`;
          return `${table(LISTED, attempts, screen.width)}${why.join('')}${input}`;
        });
        return hasFailed(answer.value) ? 1 : 0;
      },
    },
    {
      name: 'list',
      does: 'attempts, the latest due first; those that wait or run, too',
      options: [
        ...WHICH,
        { name: 'state', value: 'STATE', does: 'waiting, running or ended' },
        OUTCOME,
        FROM,
        UNTIL,
        ...PAGING,
      ],
      run: (command) => {
        const { options } = command;
        const query = { state: options.text('state'), outcome: options.text('outcome') };
        return showRuns(command, 'run.list', { ...whichOf(command), ...query }, LISTED);
      },
    },
    {
      name: 'dead',
      does: 'those that were given up: to be replayed, or buried',
      options: [...WHICH, FROM, UNTIL, ...PAGING],
      run: (command) => showRuns(command, 'run.dead', whichOf(command), LISTED),
    },
    mending('replay', 'tries dead ones again, now, with the same token', 'replayed', [
      { name: 'attempts', value: 'N', does: 'how often each at most; default 1' },
    ]),
    mending('bury', 'takes dead ones out of the list of those; they stay in the history', 'buried', []),
    {
      name: 'cancel',
      does: 'ends one that waits, and tells one that is under way to end',
      words: 'TOKEN',
      async run({ client, screen, words: [token] }) {
        const answer = await client.call<{ token: string; state: string | null }>('run.cancel', { token });
        await screen.show(answer, ({ state }) =>
          state === 'running' ? `The run '${token}' was told to end.\n` : `The run '${token}' was cancelled.\n`,
        );
      },
    },
  ],
};

function mending(name: string, does: string, done: 'replayed' | 'buried', more: readonly Option[]): Verb {
  return {
    name,
    does: `${does}; exits with 1 where one is not dead`,
    words: '[TOKEN...]',
    options: [ALL, ...WHICH, ...more],
    async run(command) {
      const { client, options, screen, words } = command;
      const attempts = options.integer('attempts', 1);
      const input = { ...chosenOf(command), ...(attempts === undefined ? {} : { attempts }) };
      if ((words.length === 0) === !options.has('all')) throw usage('Which ones?', 'Give tokens, or --all.');
      type Changed = Readonly<Record<'replayed' | 'buried' | 'rest', readonly string[]>>;
      const answer = await client.call<Changed>(`run.${name}`, input, { timeoutMs: 310_000 });
      await screen.show(
        answer,
        ({ [done]: all }) => `${all.length === 1 ? '1 run was' : `${all.length} runs were`} ${done}.\n`,
        ({ [done]: all }) => all.map((token) => `${token}\n`).join(''),
      );
      const { rest } = answer.value;
      for (const token of rest) await screen.warn(`the run '${token}' is not dead`);
      return rest.length === 0 ? 0 : 1;
    },
  };
}

function chosenOf(command: Command): object {
  const { options, words } = command;
  const { of, job, service } = whichOf(command);
  const which = Object.entries({ of, job, service }).filter(([, value]) => value !== undefined);
  return {
    ...Object.fromEntries(which),
    ...(words.length === 0 ? {} : { tokens: words }),
    ...(options.has('all') ? { all: true } : {}),
  };
}

function whichOf({ options }: Command) {
  const of = options.text('of');
  if (of !== undefined && of !== 'jobs' && of !== 'calls') throw usage(`--of must be jobs or calls, not '${of}'`);
  return { of, job: options.text('job'), service: options.text('service') };
}

/** A page of runs as a table; of a span, where one is given. */
export async function showRuns(
  { client, options, screen }: Command,
  operation: string,
  query: object,
  columns: readonly Column<Run>[],
): Promise<void> {
  const asked = { ...query, from: options.time('from'), until: options.time('until') };
  const answer = options.has('limit')
    ? await readPages<Page<Run>>(client, operation, asked, options)
    : await client.call<Page<Run>>(
        operation,
        { ...asked, limit: USUAL, after: options.text('after') },
        { reads: true },
      );
  await screen.show(
    answer,
    ({ items }) => (items.length === 0 ? 'There is no such run.\n' : table(columns, items, screen.width)),
    ({ items }) => items.map(({ token }) => `${token}\n`).join(''),
  );
  const rest = restOf(answer.value);
  if (rest !== null) await screen.note(rest);
}

export function getRun(client: AdminClient, token: string): Promise<Answer<Whole>> {
  return client.call<Whole>('run.get', { token }, { reads: true });
}

/** Whether its last attempt has ended otherwise than well. */
export function hasFailed({ attempts }: Whole): boolean {
  const last = attempts.at(-1);
  return last?.state === 'ended' && last.outcome !== 'succeeded';
}

export function outcomeOf({ state, outcome, dead }: Run): string {
  return `${outcome ?? state}${dead ? ', dead' : ''}`;
}

function sinceOf(from: string, until: string): number {
  return Math.max(0, Date.parse(until) - Date.parse(from));
}

/** Ms in the unit that fits. */
export function took(ms: number | null): string | null {
  if (ms === null) return null;
  if (ms < 1000) return `${ms} ms`;
  return ms < 60_000 ? `${(ms / 1000).toFixed(1)} s` : duration(ms);
}

export function whyOf(code: string | null, reason: string | null): string | null {
  if (code === null || reason === null) return code ?? reason;
  return `${code}: ${reason}`;
}
