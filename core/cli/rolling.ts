/** A rolling restart as it is shown while it goes on. */
import { setTimeout as wait } from 'node:timers/promises';
import { isGantryError } from '../errors.ts';
import type { AdminClient } from './client.ts';
import type { Command, Option, Verb } from './command.ts';
import { duration, localTime } from './display.ts';
import { usage } from './failure.ts';
import type { Answer } from './screen.ts';
import { type Column, table } from './table.ts';

interface Rolled {
  readonly name: string;
  readonly state: string;
  readonly startedAt: string | null;
  readonly endedAt: string | null;
}
interface Roll {
  readonly id: string;
  readonly state: 'waiting' | 'running' | 'done' | 'failed' | 'cancelled';
  readonly requestedBy: string;
  readonly requestedAt: string;
  readonly endedAt: string | null;
  readonly agent: string | null;
  readonly problem: string | null;
  readonly servers: readonly Rolled[];
}

const COLUMNS: readonly Column<Rolled>[] = [
  { title: 'SERVER', of: ({ name }) => name },
  { title: 'STATE', of: ({ state }) => state },
  { title: 'TOOK', of: ({ startedAt, endedAt }) => tookOf(startedAt, endedAt) },
];
const LOOK_MS = 500;
/** How long a server that does not answer is asked again: it may be the one that restarts. */
const PATIENCE_MS = 120_000;
const GRACE: Option = {
  name: 'grace',
  value: 'SECONDS',
  does: 'how long each is waited for until it has nothing in hand; default 30',
};

export const rollVerbs: readonly Verb[] = [
  {
    name: 'roll',
    does: 'restarts the servers one after the other, and shows how far it is; exits with 1 where it failed',
    options: [
      { name: 'only', value: 'NAMES', many: true, does: 'only these, between commas' },
      GRACE,
      { name: 'force', does: 'also where nobody else can serve meanwhile' },
      { name: 'detach', does: 'asks for it, and does not wait for its end' },
    ],
    async run(command) {
      const { client, options } = command;
      const only = options.list('only');
      const graceMs = graceOf(options.text('grace'));
      const answer = await client.call<Roll>('cluster.roll', {
        ...(only.length === 0 ? {} : { only }),
        ...(graceMs === null ? {} : { graceMs }),
        ...(options.has('force') ? { force: true } : {}),
      });
      if (options.has('detach')) return show(command, answer);
      return show(command, await followed(command, answer));
    },
  },
  {
    name: 'rolling',
    does: 'how far the rolling restart is, or how the last one ended; exits with 1 where it failed',
    options: [{ name: 'watch', does: 'shows it until its end' }],
    async run(command) {
      const found = await current(command.client);
      if (found !== null) return show(command, command.options.has('watch') ? await followed(command, found) : found);
      await command.screen.note('There was no rolling restart.');
      return 0;
    },
  },
  {
    name: 'cancel',
    does: 'ends the rolling restart once the server whose turn it is came through',
    async run(command) {
      await show(command, await command.client.call<Roll>('cluster.cancelRoll', {}));
    },
  },
];

async function show({ screen }: Command, answer: Answer<Roll>): Promise<number> {
  await screen.show(answer, (roll) => `${table(COLUMNS, roll.servers, screen.width)}${summary(roll)}\n`);
  return answer.value.state === 'failed' ? 1 : 0;
}

function summary({ state, problem, agent, requestedBy, requestedAt }: Roll): string {
  const by = `Asked for by ${requestedBy} at ${localTime(requestedAt)}`;
  if (state === 'waiting') return `${by}; it waits for an agent.`;
  const who = agent === null ? '' : ` by ${agent}`;
  return `${by}; it is ${state}${state === 'running' ? who : ''}.${problem === null ? '' : ` ${problem}`}`;
}

/** Until it has ended; each step is told as it comes. */
async function followed({ client, screen }: Command, begun: Answer<Roll>): Promise<Answer<Roll>> {
  const told = new Map<string, string>();
  let answer = begun;
  while (true) {
    for (const { name, state } of answer.value.servers) {
      if (told.get(name) === state || state === 'waiting') continue;
      told.set(name, state);
      await screen.note(`${name}: ${state}`);
    }
    if (answer.value.endedAt !== null) return answer;
    await wait(LOOK_MS);
    const next = await patiently(() => current(client));
    // Another one has been asked for since, or the store lost it.
    if (next === null || next.value.id !== begun.value.id) return answer;
    answer = next;
  }
}

async function current(client: AdminClient): Promise<Answer<Roll> | null> {
  const { value } = await client.call<{ roll: Roll | null }>('cluster.rolling', {}, { reads: true });
  return value.roll === null ? null : { value: value.roll, text: JSON.stringify(value.roll) };
}

async function patiently<T>(ask: () => Promise<T>): Promise<T> {
  const until = performance.now() + PATIENCE_MS;
  while (true) {
    try {
      return await ask();
    } catch (thrown) {
      const passes = isGantryError(thrown) && ['unavailable', 'timeout', 'busy'].includes(thrown.kind);
      if (!passes || performance.now() > until) throw thrown;
      await wait(LOOK_MS);
    }
  }
}

function graceOf(text: string | undefined): number | null {
  if (text === undefined) return null;
  const seconds = Number(text);
  if (text.trim() !== '' && seconds >= 0 && seconds <= 3600) return Math.round(seconds * 1000);
  throw usage(`--grace must be seconds, at most 3600, not '${text}'`);
}

function tookOf(startedAt: string | null, endedAt: string | null): string | null {
  if (startedAt === null || endedAt === null) return null;
  const ms = Date.parse(endedAt) - Date.parse(startedAt);
  return ms < 60_000 ? `${(ms / 1000).toFixed(1)} s` : duration(ms);
}
