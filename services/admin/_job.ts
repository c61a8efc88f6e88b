/** Jobs and runs as the admin API tells of them. */
import { type Call, type Definition, GantryError, isGantryError, type Records, type Static, Type } from 'gantry/api';
import { nextTimes } from 'gantry/parts';
import type { Asker, Attempt, RunQuery, Scheduler } from 'gantry/ports';
import type { More, Names } from './_kind.ts';

export const Time = Type.String({ format: 'date-time' });
const MaybeTime = (description?: string) =>
  Type.Union([Time, Type.Null()], description === undefined ? {} : { description });
const MaybeText = (description?: string) =>
  Type.Union([Type.String(), Type.Null()], description === undefined ? {} : { description });

export const Token = Type.String({ minLength: 1, maxLength: 100 });
export const Outcome = Type.Union(
  [
    Type.Literal('succeeded'),
    Type.Literal('failed'),
    Type.Literal('timeout'),
    Type.Literal('interrupted'),
    Type.Literal('skipped'),
    Type.Literal('missed'),
    Type.Literal('cancelled'),
  ],
  {
    description:
      'interrupted: its server ended before it did. skipped: the run before was under way. missed: not started in time',
  },
);
export const State = Type.Union([Type.Literal('waiting'), Type.Literal('running'), Type.Literal('ended')]);

/** One attempt of a firing or of a durable call. */
export const Run = Type.Object({
  token: Type.String({ description: 'The same for all attempts' }),
  attempt: Type.Integer({ description: 'From 1' }),
  attempts: Type.Integer({ description: 'How many there may be' }),
  source: Type.Unsafe<Attempt['source']>(
    Type.Union(
      ['schedule', 'manual', 'backfill', 'follow', 'call'].map((source) => Type.Literal(source)),
      { description: "Why it runs: its schedule, a person, a period filled in, another's outcome, or a durable call" },
    ),
  ),
  job: MaybeText('Null for a durable call'),
  service: Type.String(),
  state: State,
  outcome: Type.Union([Outcome, Type.Null()]),
  dueAt: Time,
  readyAt: Type.String({ format: 'date-time', description: 'Not started earlier' }),
  startedAt: MaybeTime(),
  endedAt: MaybeTime(),
  durationMs: Type.Union([Type.Integer(), Type.Null()]),
  server: MaybeText(),
  epoch: Type.Integer({ description: "Of the scheduler's lease; 0 where it has nothing to do with it" }),
  count: Type.Integer({ description: 'How many due times it stands for; the last of them is `dueAt`' }),
  code: MaybeText('Of its error'),
  reason: MaybeText('Why it did not succeed'),
  dead: Type.Boolean({ description: 'Given up, and in the list of those' }),
});

/** What every history takes. */
export const Span = {
  from: Type.Optional(Type.String({ format: 'date-time', description: 'Due then or later' })),
  until: Type.Optional(Type.String({ format: 'date-time', description: 'Due before' })),
};
export const Paging = {
  after: Type.Optional(Type.String({ description: '`next` of the page before' })),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, default: 50 })),
};
export const Runs = Type.Object({
  items: Type.Array(Run),
  next: Type.Union([Type.String(), Type.Null()], { description: 'Null on the last page' }),
  total: Type.Integer(),
});

/** Throws SCHEDULER_UNAVAILABLE where no scheduler plugin is loaded. */
export function scheduling(scheduler: Scheduler | null): Scheduler {
  if (scheduler !== null) return scheduler;
  throw new GantryError(
    'SCHEDULER_UNAVAILABLE',
    'This server has no scheduler: add scheduler.agenda, and an odb, to "plugins" in its config, or ask a server that has',
    { hint: 'Add scheduler.agenda to "plugins" in the config.' },
  );
}

/** Now, by the clock of the database as far as this server knows it. */
export function nowOf(scheduler: Scheduler | null): Date {
  return new Date(Date.now() - (scheduler?.status().aheadMs ?? 0));
}

export function askerOf({ identity, cid }: Call): Asker {
  return { name: identity?.name ?? 'nobody', cid };
}

export function runOf(run: Attempt): Static<typeof Run> {
  const { token, attempt, attempts, source, job, service, state, outcome, server, epoch, count, code, reason } = run;
  const { startedAt, endedAt } = run;
  return {
    ...{ token, attempt, attempts, source, job, service, state, outcome },
    dueAt: isoOf(run.dueAt),
    readyAt: isoOf(run.readyAt),
    startedAt: startedAt === null ? null : isoOf(startedAt),
    endedAt: endedAt === null ? null : isoOf(endedAt),
    durationMs: startedAt === null || endedAt === null ? null : Math.round(endedAt - startedAt),
    ...{ server, epoch, count, code, reason, dead: run.dead },
  };
}

function isoOf(ms: number): string {
  return new Date(ms).toISOString();
}

interface Asked extends Omit<RunQuery, 'from' | 'until' | 'limit'> {
  readonly from?: string;
  readonly until?: string;
  readonly limit?: number;
}

/** A page of runs. Rejects with INPUT_INVALID for an `after` that is none, and as the odb does. */
export async function pageOf(scheduler: Scheduler, asked: Asked): Promise<Static<typeof Runs>> {
  const { from, until, limit = 50, ...rest } = asked;
  const span = {
    ...(from === undefined ? {} : { from: Date.parse(from) }),
    ...(until === undefined ? {} : { until: Date.parse(until) }),
  };
  const { items, next, total } = await scheduler.history({ ...rest, ...span, limit });
  return { items: items.map(runOf), next, total };
}

/** How many due times are told where nobody says it. */
export const SOME = 5;

/** What an answer to a change of a job tells beside what is saved. */
export const jobAnswer: More = {
  fields: {
    next: Type.Optional(
      Type.Array(Time, { description: `When it runs next, ${SOME} times; empty where it does not, e.g. switched off` }),
    ),
    warnings: Type.Optional(
      Type.Array(Type.String(), { description: 'Why it may not run as it should; it is saved all the same' }),
    ),
  },
  tell: ({ records, services, scheduler }) => {
    return async (name, version) => {
      const definition = await savedAs(records, name, version);
      if (definition === null) return {};
      const next = nextTimes(definition, nowOf(scheduler), SOME).map((time) => time.toISOString());
      return { next, warnings: warningsOf(definition, services, scheduler) };
    };
  },
};

/** Null where it cannot be read now. */
async function savedAs(records: Records | null, name: string, version: number): Promise<Definition | null> {
  const live = records?.find('job', name);
  if (live?.version === version) return live.definition;
  // The change itself is made.
  const read = await records?.get('job', name).catch(() => null);
  return read?.definition ?? null;
}

/** What keeps a job from running as it should, as far as its definition goes and this server knows. */
function warningsOf(definition: Definition, services: Names, scheduler: Scheduler | null): string[] {
  if (definition['active'] === false) return absentOf(definition, services);
  const paused = scheduler?.status().paused === true;
  return [
    ...absentOf(definition, services),
    ...(scheduler === null ? ['this server has no scheduler: another one has to run it'] : []),
    ...(paused ? ['all jobs are paused'] : []),
  ];
}

/** Services that a job names and this server does not have: another one may. */
export function absentOf(definition: Definition, services: Names): string[] {
  const named = ['service', 'onSuccess', 'onError'].map((field) => [field, definition[field]] as const);
  return named
    .filter(([, service]) => typeof service === 'string' && services.find(service) === null)
    .map(([field, service]) => `the service '${service}' (${field}) is not deployed on this server`);
}

/** Its message, and the problems below it, on one line. */
export function told(thrown: unknown): string {
  if (!isGantryError(thrown)) return thrown instanceof Error ? thrown.message : String(thrown);
  const { message, problems = [] } = thrown;
  const [first] = problems;
  return first === undefined || message.includes(first.message) ? message : `${message}: ${first.message}`;
}
