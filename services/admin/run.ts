/** Runs of jobs and durable calls: how they went, and what is done about those that did not. */
import { type Call, defineService, GantryError, Type } from 'gantry/api';
import type { Attempt, Scheduler } from 'gantry/ports';
import { askerOf, Outcome, Paging, pageOf, Run, Runs, runOf, Span, State, scheduling, Token } from './_job.ts';
import { isAdministration, isAdministrator, Name, type Names } from './_kind.ts';

const Of = Type.Union([Type.Literal('jobs'), Type.Literal('calls')], {
  description: 'Jobs only, or durable calls only',
});
const Which = { of: Type.Optional(Of), job: Type.Optional(Name), service: Type.Optional(Name) };

/** The most that are told, or changed, at once. */
const PORTION = 500;

const get = defineService({
  name: 'gantry.run.get',
  description: 'All attempts of one run, the first one first; what it was run with is told to operators',
  attributes: { admin: { role: 'viewer' } },
  input: Type.Object({ token: Token }),
  output: Type.Object({
    token: Type.String(),
    attempts: Type.Array(Run),
    data: Type.Optional(Type.Unknown({ description: 'What it is run with, where its job does not say it' })),
  }),
  create: ({ scheduler }) => {
    return async ({ token }, call) => {
      const attempts = await found(scheduling(scheduler), token);
      const data = attempts[0]?.data;
      const shown = call.identity?.roles.includes('operator') === true && data !== null && data !== undefined;
      return { token, attempts: attempts.map(runOf), ...(shown ? { data } : {}) };
    };
  },
});

const list = defineService({
  name: 'gantry.run.list',
  description: 'Attempts of jobs and durable calls, the latest due first; those that wait, too',
  attributes: { admin: { role: 'viewer' } },
  input: Type.Object({
    ...Which,
    state: Type.Optional(State),
    outcome: Type.Optional(Outcome),
    dead: Type.Optional(Type.Boolean({ description: 'Whether it was given up and is in the list of those' })),
    ...Span,
    ...Paging,
  }),
  output: Runs,
  create: ({ scheduler }) => {
    return (query) => pageOf(scheduling(scheduler), query);
  },
});

const dead = defineService({
  name: 'gantry.run.dead',
  description: 'Those that were given up: they can be replayed, or buried',
  attributes: { admin: { role: 'viewer' } },
  input: Type.Object({ ...Which, ...Span, ...Paging }),
  output: Runs,
  create: ({ scheduler }) => {
    return (query) => pageOf(scheduling(scheduler), { ...query, dead: true });
  },
});

const Chosen = {
  tokens: Type.Optional(Type.Array(Token, { minItems: 1, maxItems: 1000, uniqueItems: true })),
  all: Type.Optional(Type.Boolean({ description: 'Instead: all that are dead, or those of one job or service' })),
  ...Which,
};
const Rest = Type.Array(Type.String(), { description: 'Those that were asked for and are not dead' });

const replay = defineService({
  name: 'gantry.run.replay',
  description: 'Gives dead runs further attempts, now; with the same token',
  attributes: { admin: { role: 'operator' } },
  timeoutMs: 300_000,
  input: Type.Object({
    ...Chosen,
    attempts: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, default: 1, description: 'How many each' })),
  }),
  output: Type.Object({ replayed: Type.Array(Type.String()), rest: Rest }),
  create: ({ scheduler, services, log }) => {
    return async ({ attempts = 1, ...chosen }, call) => {
      const runs = scheduling(scheduler);
      const tokens = await chosenOf(runs, chosen, (one) => isOpen(services, one, call));
      const replayed = await inPortions(tokens, (some) => runs.replay(some, attempts));
      log.info({ by: askerOf(call).name, cid: call.cid, tokens: replayed }, 'dead runs are tried again');
      return { replayed, rest: restOf(chosen.tokens, replayed) };
    };
  },
});

const bury = defineService({
  name: 'gantry.run.bury',
  description: 'Takes dead runs out of the list of those; they stay in the history',
  attributes: { admin: { role: 'operator' } },
  timeoutMs: 300_000,
  input: Type.Object(Chosen),
  output: Type.Object({ buried: Type.Array(Type.String()), rest: Rest }),
  create: ({ scheduler, log }) => {
    return async (chosen, call) => {
      const runs = scheduling(scheduler);
      const tokens = await chosenOf(runs, chosen, () => true);
      const buried = await inPortions(tokens, (some) => runs.bury(some));
      log.info({ by: askerOf(call).name, cid: call.cid, tokens: buried }, 'dead runs were buried');
      return { buried, rest: restOf(chosen.tokens, buried) };
    };
  },
});

const cancel = defineService({
  name: 'gantry.run.cancel',
  description: 'Ends a run that waits, and tells one that is under way to end',
  attributes: { admin: { role: 'operator' } },
  input: Type.Object({ token: Token }),
  output: Type.Object({
    token: Type.String(),
    state: Type.Union([State, Type.Null()], { description: 'Of the last attempt, afterwards: running ones end soon' }),
  }),
  create: ({ scheduler }) => {
    return async ({ token }, call) => {
      const runs = scheduling(scheduler);
      if (!(await runs.cancel(token, askerOf(call)))) {
        await found(runs, token);
        throw new GantryError('CONFLICT', `The run '${token}' has ended: there is nothing to cancel`);
      }
      return { token, state: (await runs.find(token)).at(-1)?.state ?? null };
    };
  },
});

/** Rejects with NOT_FOUND where there is none of that token. */
async function found(scheduler: Scheduler, token: string): Promise<readonly Attempt[]> {
  const attempts = await scheduler.find(token);
  if (attempts.length > 0) return attempts;
  throw new GantryError('NOT_FOUND', `There is no run '${token}': it never was, or its history is no longer kept`);
}

interface Asked {
  readonly tokens?: readonly string[];
  readonly all?: boolean;
  readonly of?: 'jobs' | 'calls';
  readonly job?: string;
  readonly service?: string;
}

/** Which ones are meant. Rejects with INPUT_INVALID, NOT_FOUND, or FORBIDDEN. */
async function chosenOf(
  scheduler: Scheduler,
  { tokens, all = false, ...which }: Asked,
  allows: (run: Attempt) => boolean,
): Promise<readonly string[]> {
  if ((tokens === undefined) === !all) throw neitherOrBoth();
  if (tokens === undefined) return deadOf(scheduler, which, allows);
  if (Object.keys(which).length > 0) throw neitherOrBoth();
  for (const token of tokens) {
    const refused = (await found(scheduler, token)).find((one) => !allows(one));
    if (refused !== undefined) throw forbidden(refused);
  }
  return tokens;
}

async function deadOf(scheduler: Scheduler, which: object, allows: (run: Attempt) => boolean): Promise<string[]> {
  const tokens: string[] = [];
  for (let after: string | undefined; ; ) {
    const query = { ...which, dead: true, limit: 1000, ...(after === undefined ? {} : { after }) };
    const { items, next } = await scheduler.history(query);
    tokens.push(...items.filter(allows).map(({ token }) => token));
    if (next === null) return tokens;
    after = next;
  }
}

/** What leads to the admin API is run again by administrators only. */
function isOpen(services: Names, { service }: Attempt, call: Call): boolean {
  return isAdministrator(call) || !isAdministration(services, service);
}

function forbidden({ token, service }: Attempt): GantryError {
  const text = `'${service}' belongs to the admin API: only an administrator may run '${token}' again`;
  return new GantryError('FORBIDDEN', text);
}

async function inPortions(
  tokens: readonly string[],
  change: (some: readonly string[]) => Promise<readonly string[]>,
): Promise<string[]> {
  const done: string[] = [];
  for (let i = 0; i < tokens.length; i += PORTION) done.push(...(await change(tokens.slice(i, i + PORTION))));
  return done;
}

function restOf(asked: readonly string[] = [], done: readonly string[]): string[] {
  const known = new Set(done);
  return asked.filter((token) => !known.has(token));
}

function neitherOrBoth(): GantryError {
  const message = "must have either 'tokens', or 'all' with what narrows it down";
  const problems = [{ path: '', message, expected: 'one of the two' }];
  return new GantryError('INPUT_INVALID', `The input ${message}`, { problems });
}

export default [get, list, dead, replay, bury, cancel];
