/** What jobs do: when they run next, how they ran, and having them run now. Their records are in records.ts. */
import { randomUUID } from 'node:crypto';
import {
  type Call,
  type Definition,
  defineService,
  GantryError,
  isGantryError,
  pointerOf,
  type Records,
  stepsOf,
  Type,
} from 'gantry/api';
import { JobDefinition, nextTimes } from 'gantry/parts';
import type { JobRuns, Scheduler } from 'gantry/ports';
import {
  absentOf,
  askerOf,
  nowOf,
  Outcome,
  Paging,
  pageOf,
  Run,
  Runs,
  runOf,
  SOME,
  Span,
  scheduling,
  Time,
  told,
} from './_job.ts';
import { author, Name, type Names, refuseAdministration, using } from './_kind.ts';

const Job = Type.Object({
  name: Type.String(),
  service: Type.String(),
  active: Type.Boolean(),
  nextAt: Type.Union([Time, Type.Null()], {
    description: 'When it runs next by its schedule; null where it does not, also while all jobs are paused',
  }),
  last: Type.Union([Run, Type.Null()], { description: 'The latest run that ended' }),
  open: Type.Array(Run, { description: 'Those that run or wait, at most 10' }),
  problem: Type.Optional(Type.String({ description: 'Why it does not run as it should' })),
});

const overview = defineService({
  name: 'gantry.job.overview',
  description: 'Pages through jobs as gantry.job.list does, each with its next run, its last one, and what it does now',
  attributes: { admin: { role: 'viewer' } },
  input: Type.Object({
    search: Type.Optional(Type.String({ maxLength: 200, description: 'A part of the name' })),
    filter: Type.Optional(
      Type.Object(
        { service: Type.Optional(Type.String()), active: Type.Optional(Type.String()) },
        { additionalProperties: false, description: 'Exact values' },
      ),
    ),
    sort: Type.Optional(
      Type.Union(
        ['name', 'changedAt', 'service', 'active'].map((field) => Type.Literal(field)),
        { default: 'name' },
      ),
    ),
    descending: Type.Optional(Type.Boolean({ default: false })),
    ...Paging,
  }),
  output: Type.Object({
    items: Type.Array(Job),
    next: Type.Union([Type.String(), Type.Null()], { description: 'Null on the last page' }),
    total: Type.Integer(),
    paused: Type.Boolean({ description: 'Whether all jobs are' }),
    problem: Type.Optional(Type.String({ description: 'Why none runs as it should' })),
  }),
  create: ({ records, scheduler, services }) => {
    return async ({ limit = 50, ...query }) => {
      const [kept, runs] = [using(records), scheduling(scheduler)];
      const { items, next, total } = await kept.list('job', { ...query, limit } as Parameters<Records['list']>[1]);
      const all = await runs.latest(items.map(({ name }) => name));
      const byJob = new Map(all.map((one) => [one.job, one]));
      const context = contextOf(kept, runs, services);
      const { problem } = runs;
      return {
        items: items.map(({ definition }) => jobOf(definition, byJob.get(definition.name), context)),
        ...{ next, total, paused: context.paused },
        ...(problem === null ? {} : { problem: problem.message }),
      };
    };
  },
});

interface Context {
  readonly now: Date;
  readonly paused: boolean;
  readonly services: Names;
  /** Why this server could not put it into effect. */
  readonly refused: ReadonlyMap<string, string>;
  readonly overdue: ReadonlyMap<string, number>;
}

function contextOf(records: Records, scheduler: Scheduler, services: Names): Context {
  const { paused, overdue } = scheduler.status();
  const refused = records.status().refused.filter(({ kind }) => kind === 'job');
  return {
    now: nowOf(scheduler),
    ...{ paused, services },
    refused: new Map(refused.map(({ name, problem }) => [name, problem])),
    overdue: new Map(overdue.map(({ job, lateMs }) => [job, lateMs])),
  };
}

function jobOf(definition: Definition, runs: JobRuns | undefined, context: Context) {
  const { name } = definition;
  const next = nextOf(definition, context);
  const problems = [...next.problems, ...problemsOf(definition, context)];
  return {
    name,
    service: String(definition['service']),
    active: definition['active'] !== false,
    nextAt: next.at,
    last: runs?.last ? runOf(runs.last) : null,
    open: (runs?.open ?? []).map(runOf),
    ...(problems.length === 0 ? {} : { problem: problems.join('; ') }),
  };
}

/** What another version wrote may be no schedule here. */
function nextOf(definition: Definition, { now, paused }: Context) {
  try {
    const [at] = nextTimes(definition, now, 1);
    return { at: at === undefined || paused ? null : at.toISOString(), problems: [] };
  } catch (thrown) {
    return { at: null, problems: [told(thrown)] };
  }
}

function problemsOf(definition: Definition, { services, refused, overdue }: Context): string[] {
  const { name } = definition;
  const [refusal, lateMs] = [refused.get(name), overdue.get(name)];
  return [
    ...(refusal === undefined ? [] : [`this server could not take it over: ${refusal}`]),
    ...(lateMs === undefined ? [] : [`should have run ${Math.round(lateMs / 1000)} s ago`]),
    ...(definition['active'] === false ? [] : absentOf(definition, services)),
  ];
}

const { name: JobName, service: JobService, ...fields } = JobDefinition.properties;

const next = defineService({
  name: 'gantry.job.next',
  description:
    'When a job runs next: one that is there, or a definition that is not saved yet, checked as it would be then',
  attributes: { admin: { role: 'viewer' } },
  input: Type.Object({
    name: Type.Optional(Name),
    definition: Type.Optional(
      Type.Object(
        { name: Type.Optional(JobName), service: Type.Optional(JobService), ...fields },
        { additionalProperties: false, description: 'As for gantry.job.create; a schedule is enough' },
      ),
    ),
    count: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, default: SOME })),
  }),
  output: Type.Object({
    times: Type.Array(Time, { description: 'Fewer where there are no more' }),
    active: Type.Boolean({ description: 'False: these are the times at which it would run, were it switched on now' }),
  }),
  create: ({ records, scheduler }) => {
    return async ({ name, definition, count = SOME }, call) => {
      if ((name === undefined) === (definition === undefined)) throw neitherOrBoth();
      const now = nowOf(scheduler);
      if (name !== undefined) return timesOf((await using(records).get('job', name)).definition, now, count);
      const given = { ...definition, name: definition?.name ?? 'new' } as Definition;
      const found = timesOf({ ...given, since: sinceOf(given, records) ?? now.toISOString() }, now, count);
      // Why it never runs, the check of a change knows; it reads all jobs for that.
      const odd = found.times.length === 0 || given['removeWhenDone'] === true;
      if (odd && records !== null) await rehearse(records, given, call);
      return found;
    };
  },
});

/** One that is switched off counts from when it is switched on again. Throws RECORD_INVALID. */
function timesOf(definition: Definition, now: Date, count: number) {
  const active = definition['active'] !== false;
  const counted = active ? definition : { ...definition, active: true, since: now.toISOString() };
  try {
    return { times: nextTimes(counted, now, count).map((time) => time.toISOString()), active };
  } catch (thrown) {
    throw notValid(thrown, (path) => `/definition/schedule${pointerOf(stepsOf(path))}`);
  }
}

/** Rejects with what saving it as a new one, and active, would be refused for. */
async function rehearse(records: Records, given: Definition, call: Call): Promise<void> {
  const definition = { service: 'any', ...given, name: randomUUID(), active: true };
  try {
    await records.apply([{ kind: 'job', definition }], author(call), { dryRun: true });
  } catch (thrown) {
    throw notValid(thrown, (path) => path.replace(/^\/records\/0/, ''));
  }
}

/** The same problems, where they stand in the input. */
function notValid(thrown: unknown, at: (path: string) => string): unknown {
  if (!isGantryError(thrown) || thrown.problems === undefined) return thrown;
  const problems = thrown.problems.map((one) => {
    // Which record it is in, where there may be many.
    const message = one.message.replace(/ \(job '[^']*'\)$/, '');
    return { ...one, path: at(one.path), message };
  });
  const list = problems.map(({ path, message }) => `${path} ${message}`).join('; ');
  return new GantryError('RECORD_INVALID', `The job is not valid: ${list}`, { problems });
}

/** Where the schedule stays what it is, its phase does. */
function sinceOf(given: Definition, records: Records | null): unknown {
  const kept = records?.find('job', given.name)?.definition;
  const same = JSON.stringify(kept?.['schedule']) === JSON.stringify(given['schedule']);
  return same && kept?.['active'] !== false ? kept?.['since'] : undefined;
}

function neitherOrBoth(): GantryError {
  const problems = [{ path: '', message: "must have either 'name' or 'definition'", expected: 'one of the two' }];
  return new GantryError('INPUT_INVALID', "Either 'name' or 'definition' has to be there", { problems });
}

const history = defineService({
  name: 'gantry.job.history',
  description: 'How a job ran, the latest due first; also one that was removed',
  attributes: { admin: { role: 'viewer' } },
  input: Type.Object({ name: Name, outcome: Type.Optional(Outcome), ...Span, ...Paging }),
  output: Runs,
  create: ({ records, scheduler }) => {
    return async ({ name, ...query }) => {
      const page = await pageOf(scheduling(scheduler), { ...query, job: name });
      // A name that is mistyped has no history either.
      const { limit: _limit, ...narrowed } = query;
      const isNone = page.total === 0 && Object.keys(narrowed).length === 0;
      if (isNone) await using(records).get('job', name);
      return page;
    };
  },
});

const run = defineService({
  name: 'gantry.job.run',
  description: 'Runs a job now, beside its schedule, also one that is switched off; gives the token of the run',
  attributes: { admin: { role: 'operator' } },
  input: Type.Object({
    name: Name,
    payload: Type.Optional(
      Type.Unknown({
        description: "Instead of the job's own; needs the role developer, as gantry.service.invoke does",
      }),
    ),
  }),
  output: Type.Object({ token: Type.String({ description: 'For gantry.run.get and gantry.run.cancel' }) }),
  create: ({ records, scheduler, services }) => {
    return async (input, call) => {
      const { name } = input;
      const runs = scheduling(scheduler);
      const own = 'payload' in input;
      if (own && call.identity?.roles.includes('developer') !== true) {
        throw new GantryError('FORBIDDEN', 'Only a developer may run a job with another payload than its own');
      }
      refuseAdministration(services, await definitionOf(records, name), call);
      const token = await runs.fire(name, askerOf(call), ...(own ? [input.payload] : []));
      return { token };
    };
  },
});

const backfill = defineService({
  name: 'gantry.job.backfill',
  description: 'Runs a job for each due time of a period that has not run, one after the other, the earliest first',
  attributes: { admin: { role: 'developer' } },
  timeoutMs: 300_000,
  input: Type.Object({
    name: Name,
    from: Time,
    until: Type.Optional(Type.String({ format: 'date-time', description: 'Included. Default: now' })),
    limit: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 10_000, default: 100, description: 'With more, nothing is done' }),
    ),
  }),
  output: Type.Object({
    due: Type.Integer({ description: 'Due times of the period that did not run' }),
    added: Type.Integer({ description: 'Of these, those that nobody had asked for before: they run now' }),
  }),
  create: ({ records, scheduler, services }) => {
    return async ({ name, from, until, limit = 100 }, call) => {
      const runs = scheduling(scheduler);
      const period = { from: new Date(from), until: until === undefined ? nowOf(runs) : new Date(until), limit };
      refuseAdministration(services, await definitionOf(records, name), call);
      return { ...(await runs.backfill(name, period, askerOf(call))) };
    };
  },
});

/** The one that this server would run; that of the database where it has none yet. Rejects with RECORD_NOT_FOUND. */
async function definitionOf(records: Records | null, name: string): Promise<Definition> {
  const kept = using(records);
  return kept.find('job', name)?.definition ?? (await kept.get('job', name)).definition;
}

export default [overview, next, history, run, backfill];
