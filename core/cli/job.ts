/** What jobs have beside other records: when they run, how they ran, and having them run. */
import { setTimeout as wait } from 'node:timers/promises';
import type { RecordView, Saved } from '../records/record.ts';
import type { AdminClient } from './client.ts';
import type { Command, Option, Verb } from './command.ts';
import { assign, readContent, readText } from './content.ts';
import { duration, localTime } from './display.ts';
import { usage } from './failure.ts';
import { own } from './kinds.ts';
import { type Page, readPages, restOf } from './pages.ts';
import { CONTENT, filterOf, listing, saved } from './record-nouns.ts';
import {
  FROM,
  getRun,
  hasFailed,
  OUTCOME,
  outcomeOf,
  PAGING,
  RUN,
  type Run,
  showRuns,
  took,
  UNTIL,
  whyOf,
} from './run.ts';
import type { Answer } from './screen.ts';
import { type Column, table } from './table.ts';
import type { Terminal } from './terminal.ts';

interface Job {
  readonly name: string;
  readonly service: string;
  readonly active: boolean;
  readonly nextAt: string | null;
  readonly last: Run | null;
  readonly open: readonly Run[];
  readonly problem?: string;
}
interface Overview extends Page<Job> {
  readonly paused: boolean;
  readonly problem?: string;
}

const LOOK_MS = 500;
const ALL: Option = { name: 'all', does: 'all jobs, on every server' };

const JOBS: readonly Column<Job>[] = [
  { title: 'NAME', of: ({ name }) => name },
  { title: 'NEXT', of: ({ active, nextAt }) => (active ? localTime(nextAt) : 'off') },
  { title: 'NOW', of: ({ open }) => nowOf(open) },
  { title: 'LAST', of: ({ last }) => (last === null ? null : outcomeOf(last)) },
  { title: 'DUE', of: ({ last }) => localTime(last?.dueAt) },
  { title: 'TOOK', of: ({ last }) => took(last?.durationMs ?? null) },
  { title: 'SERVER', of: ({ last }) => last?.server },
  { title: 'WHY', of: ({ last }) => whyOf(last?.code ?? null, last?.reason ?? null) },
];

export const jobVerbs: readonly Verb[] = [
  {
    name: 'overview',
    does: 'each with its next run, its last one and what it does now; exits with 1 where one does not run as it should',
    options: listing(own('job').fields),
    async run({ client, options, screen }) {
      const query = {
        search: options.text('search'),
        filter: filterOf(options.all('filter')) ?? undefined,
        sort: options.text('sort'),
        descending: options.has('descending') ? true : undefined,
      };
      const answer = await readPages<Overview>(client, 'job.overview', query, options);
      const troubles = troublesOf(answer.value);
      await screen.show(
        answer,
        ({ items }) => {
          const rows = items.length === 0 ? 'There is no job.\n' : table(JOBS, items, screen.width);
          return `${rows}${troubles.map((line) => `${line}\n`).join('')}`;
        },
        ({ items }) => items.map(({ name }) => `${name}\n`).join(''),
      );
      if (answer.value.paused) await screen.note('All jobs are paused; gantry job resume --all ends that.');
      const rest = restOf(answer.value);
      if (rest !== null) await screen.note(rest);
      return troubles.length === 0 ? 0 : 1;
    },
  },
  {
    name: 'next',
    does: 'when one runs next; or when one would that is not saved yet, of which the schedule is enough',
    words: '[NAME]',
    options: [{ name: 'count', value: 'N', does: 'how many times; default 5' }, ...CONTENT],
    run: next,
  },
  {
    name: 'history',
    does: 'how one ran, the latest due first',
    words: 'NAME',
    options: [OUTCOME, FROM, UNTIL, ...PAGING],
    run: (command) => {
      const query = { name: command.words[0], outcome: command.options.text('outcome') };
      return showRuns(command, 'job.history', query, RUN);
    },
  },
  {
    name: 'run',
    does: 'runs one now, beside its schedule, and prints the token of the run',
    words: 'NAME',
    options: [
      { name: 'payload', value: 'JSON', does: "instead of the job's own; or @FILE, or - for stdin" },
      { name: 'wait', does: 'until it has ended; exits with 1 where it did not succeed' },
    ],
    run: runNow,
  },
  {
    name: 'backfill',
    does: 'runs one for each due time of a period that has not run',
    words: 'NAME',
    options: [
      { name: 'from', value: 'TIME', does: 'where the period begins; to be given' },
      { name: 'until', value: 'TIME', does: 'where it ends, included; default: now' },
      { name: 'limit', value: 'N', does: 'with more runs than that, nothing is done; default 100' },
    ],
    async run({ client, options, screen, words: [name] }) {
      const from = options.time('from');
      if (from === undefined) throw usage('--from is missing', 'E.g. --from "2026-11-22 14:00".');
      const input = { name, from, until: options.time('until'), limit: options.integer('limit', 1) };
      const answer = await client.call<{ due: number; added: number }>('job.backfill', input, { timeoutMs: 310_000 });
      await screen.show(answer, ({ due, added }) => {
        if (due === 0) return 'Each due time of the period has run.\n';
        return `Of ${due} due times that did not run, ${added} run now${added < due ? '; the others wait already' : ''}.\n`;
      });
    },
  },
  switching('pause', 'switches one off, or all with --all; what is due meanwhile is not made up for', false),
  switching('resume', 'switches one on again, or all with --all', true),
];

function nowOf(open: readonly Run[]): string | null {
  const running = open.filter(({ state }) => state === 'running');
  const waiting = open.length - running.length;
  const [first] = running;
  const since = first?.startedAt == null ? '' : ` for ${duration(Date.now() - Date.parse(first.startedAt))}`;
  const told = [
    ...(first === undefined ? [] : [running.length === 1 ? `runs${since}` : `${running.length} run`]),
    ...(waiting === 0 ? [] : [waiting === 1 ? 'waits' : `${waiting} wait`]),
  ];
  return told.length === 0 ? null : told.join(', ');
}

function troublesOf({ items, problem }: Overview): string[] {
  return [
    ...(problem === undefined ? [] : [`The scheduler: ${problem}`]),
    ...items.flatMap((one) => (one.problem === undefined ? [] : [`${one.name}: ${one.problem}`])),
  ];
}

async function next({ client, options, screen, terminal, words: [name] }: Command): Promise<void> {
  const content = await readContent(options, terminal);
  const definition = assign(content.file, content.sets);
  const isNew = Object.keys(definition).length > 0;
  if ((name === undefined) === !isNew) {
    throw usage('Of which job?', 'Give its NAME; or what it is to be, e.g. --set schedule.cron="30 2 * * *".');
  }
  const count = options.integer('count', 1);
  const input = { ...(isNew ? { definition } : { name }), ...(count === undefined ? {} : { count }) };
  const answer = await client.call<{ times: readonly string[]; active: boolean }>('job.next', input, { reads: true });
  const lines = ({ times }: { times: readonly string[] }) => times.map((time) => `${localTime(time)}\n`).join('');
  await screen.show(answer, (found) => (found.times.length === 0 ? 'It does not run again.\n' : lines(found)), lines);
  if (!answer.value.active) await screen.note('It is switched off: so it would run, were it switched on now.');
}

async function runNow({ client, options, screen, terminal, words: [name] }: Command): Promise<number> {
  const given = options.text('payload');
  const input = { name, ...(given === undefined ? {} : { payload: await payloadOf(given, terminal) }) };
  const answer = await client.call<{ token: string }>('job.run', input);
  const { token } = answer.value;
  if (!options.has('wait')) {
    await screen.show(
      answer,
      () => `${token}\n`,
      () => `${token}\n`,
    );
    return 0;
  }
  await screen.note(`The run is ${token}.`);
  const ended = await untilEnded(client, token);
  await screen.show(
    ended,
    ({ attempts }) => table(RUN, attempts, screen.width),
    () => `${token}\n`,
  );
  return hasFailed(ended.value) ? 1 : 0;
}

/** With its last attempt: another one would be there already. */
async function untilEnded(client: AdminClient, token: string): ReturnType<typeof getRun> {
  while (true) {
    const answer = await getRun(client, token);
    if (answer.value.attempts.at(-1)?.state === 'ended') return answer;
    await wait(LOOK_MS);
  }
}

async function payloadOf(given: string, terminal: Terminal): Promise<unknown> {
  const isFile = given === '-' || given.startsWith('@');
  const text = isFile ? (await readText(given.replace(/^@/, ''), terminal)).text : given;
  try {
    return JSON.parse(text) as unknown;
  } catch (thrown) {
    const hint = `E.g. --payload '{"name":"Ada"}', or --payload @FILE.`;
    throw usage(`--payload is no JSON: ${(thrown as Error).message}`, hint);
  }
}

function switching(name: string, does: string, active: boolean): Verb {
  return {
    name,
    does,
    words: '[NAME]',
    options: [ALL],
    async run(command) {
      const { client, options, screen, words } = command;
      const [job] = words;
      if ((job === undefined) === !options.has('all')) throw usage('Which job?', 'Give its NAME, or --all.');
      if (job !== undefined) {
        const { value } = await client.call<RecordView>('job.get', { name: job }, { reads: true });
        const answer = await client.call<Saved>('job.toggle', { name: job, version: value.version, active });
        return saved(command, answer, active ? 'resumed' : 'paused');
      }
      const answer: Answer<{ changed: boolean }> = await client.call(`scheduler.${name}`, {});
      await screen.show(answer, ({ changed }) => {
        const already = changed ? '' : ' already';
        return active ? `Jobs run${changed ? ' again' : already}.\n` : `All jobs are paused${already}.\n`;
      });
    },
  };
}
