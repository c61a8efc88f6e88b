/** What runs jobs: how it does, and stopping it for all of them. */
import { defineService, isGantryError, type Records, type Saved, Type } from 'gantry/api';
import type { SchedulerStatus } from 'gantry/ports';
import { scheduling, Time } from './_job.ts';
import { author, using } from './_kind.ts';

/** The setting that the schedulers of all servers obey. */
const PAUSED = 'scheduler.paused';
const TRIES = 5;

const Count = Type.Integer();
const MaybeCount = (description: string) => Type.Union([Count, Type.Null()], { description });

const status = defineService({
  name: 'gantry.scheduler.status',
  description: 'Which server has the scheduler, and how that does, as this server knows it',
  attributes: { admin: { role: 'viewer' } },
  input: Type.Object({}),
  output: Type.Object({
    server: Type.String({ description: 'The one that answers' }),
    holder: Type.Union([Type.Object({ server: Type.String(), epoch: Count }), Type.Null()], {
      description: 'Who has the lease; null where nobody has, or it is not known',
    }),
    isHolder: Type.Boolean({ description: 'Whether it is this server' }),
    standsBack: Type.Union([Type.String(), Type.Null()], {
      description: 'Why this server is not to become the holder',
    }),
    heldAt: Type.Union([Time, Type.Null()], { description: 'When the lease was last seen held' }),
    paused: Type.Boolean({ description: 'Whether all jobs are' }),
    planned: MaybeCount('Jobs that will run again; null where this server is not the holder'),
    overdue: Type.Array(Type.Object({ job: Type.String(), dueAt: Time, lateMs: Type.Number() }), {
      description: 'Due, and not started in the time that the job gives itself; the longest first, at most 20',
    }),
    inHand: Type.Array(
      Type.Object({
        token: Type.String(),
        attempt: Count,
        job: Type.Union([Type.String(), Type.Null()]),
        service: Type.String(),
      }),
      { description: 'Runs on this server' },
    ),
    waiting: MaybeCount('Runs that wait, at the last look at the database'),
    dead: MaybeCount('Runs that were given up, at that look'),
    aheadMs: Type.Union([Type.Number(), Type.Null()], {
      description: 'By how much the clock of this server is ahead of that of the database',
    }),
    counters: Type.Object(
      {
        started: Count,
        succeeded: Count,
        failed: Count,
        timedOut: Count,
        interrupted: Count,
        skipped: Count,
        missed: Count,
        takenOver: Type.Integer({ description: 'Times that this server became the holder' }),
      },
      { description: 'Of this server, since it started' },
    ),
    problem: Type.Optional(Type.String({ description: 'Why jobs or durable calls do not run as they should' })),
  }),
  create: ({ scheduler, server }) => {
    return () => {
      const runs = scheduling(scheduler);
      const { problem } = runs;
      return {
        server: server.name,
        ...told(runs.status()),
        ...(problem === null ? {} : { problem: problem.message }),
      };
    };
  },
});

function told({ holder, heldAt, overdue, inHand, counters, ...rest }: SchedulerStatus) {
  const { lateness: _lateness, duration: _duration, ...counts } = counters;
  return {
    ...rest,
    holder: holder === null ? null : { ...holder },
    heldAt: heldAt === null ? null : heldAt.toISOString(),
    overdue: overdue.map((one) => ({ ...one, dueAt: one.dueAt.toISOString() })),
    inHand: inHand.map((one) => ({ ...one })),
    counters: counts,
  };
}

const Done = Type.Object({
  paused: Type.Boolean(),
  changed: Type.Boolean({ description: 'False: it was so already' }),
  live: Type.Boolean({ description: 'Whether this server obeys it already' }),
});

const pause = defineService({
  name: 'gantry.scheduler.pause',
  description: 'Lets no job run by its schedule, on any server; what is under way goes on, and so do durable calls',
  attributes: { admin: { role: 'operator' } },
  input: Type.Object({}),
  output: Done,
  create: ({ records, scheduler }) => {
    return async (_input, call) => {
      scheduling(scheduler);
      return changed(using(records), true, author(call));
    };
  },
});

const resume = defineService({
  name: 'gantry.scheduler.resume',
  description: 'Lets jobs run by their schedules again; what was due meanwhile is not made up for',
  attributes: { admin: { role: 'operator' } },
  input: Type.Object({}),
  output: Done,
  create: ({ records, scheduler }) => {
    return async (_input, call) => {
      scheduling(scheduler);
      return changed(using(records), false, author(call));
    };
  },
});

/** Whoever else changes it at the same time. */
async function changed(records: Records, paused: boolean, by: ReturnType<typeof author>) {
  for (let left = TRIES; ; left--) {
    try {
      const saved = await set(records, paused, by);
      return {
        paused,
        changed: saved !== null,
        live: saved?.live ?? records.find('setting', PAUSED)?.definition['value'] === paused,
      };
    } catch (thrown) {
      const passes = isGantryError(thrown) && ['RECORD_STALE', 'RECORD_DUPLICATE'].includes(thrown.code);
      if (!passes || left === 1) throw thrown;
    }
  }
}

/** Null where there is nothing to change. */
async function set(records: Records, paused: boolean, by: ReturnType<typeof author>): Promise<Saved | null> {
  const known = await records.get('setting', PAUSED).catch((thrown: unknown) => {
    if (isGantryError(thrown) && thrown.code === 'RECORD_NOT_FOUND') return null;
    throw thrown;
  });
  if ((known?.definition['value'] ?? false) === paused) return null;
  if (known !== null) return records.update('setting', PAUSED, known.version, { value: paused }, by);
  return records.create('setting', { name: PAUSED, value: paused, description: 'No job runs by its schedule' }, by);
}

export default [status, pause, resume];
