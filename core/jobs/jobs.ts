import { type Static, Type } from 'typebox';
import type { Problem } from '../errors.ts';
import type { Definition } from '../records/record.ts';
import {
  checkSchedule,
  compileSchedule,
  type ParsedSchedule,
  parseSchedule,
  ScheduleSchema,
  type Times,
  upcoming,
} from './schedule.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const YEAR_MS = 366 * DAY_MS;

const ServiceName = (description: string) => Type.String({ minLength: 1, maxLength: 200, description });

/** A record of kind `job`. */
export const JobDefinition = Type.Object(
  {
    name: Type.String({
      minLength: 1,
      maxLength: 200,
      pattern: '^[^\\u0000-\\u001f\\u007f]+$',
      description: 'Unique among jobs',
    }),
    description: Type.Optional(Type.String({ maxLength: 1000 })),
    service: ServiceName('The service that it runs'),
    schedule: ScheduleSchema,
    payload: Type.Optional(Type.Unknown({ description: 'The input of the service' })),
    active: Type.Optional(
      Type.Boolean({ default: true, description: 'False: paused; due times meanwhile are not made up for' }),
    ),
    jitterMs: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: HOUR_MS,
        default: 0,
        description:
          'Each run starts up to this much later, so that many jobs do not start at once; one due time always has the same delay',
      }),
    ),
    timeoutMs: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: YEAR_MS,
        description: 'The longest time of one attempt; then its call is aborted. Default: the timeout of the service',
      }),
    ),
    missed: Type.Optional(
      Type.Object(
        {
          policy: Type.Optional(
            Type.Union([Type.Literal('skip'), Type.Literal('once'), Type.Literal('all')], {
              default: 'once',
              description:
                'What to do about due times that no server started: nothing, one run for all of them, or a run for each',
            }),
          ),
          lateMs: Type.Optional(
            Type.Integer({
              minimum: 1000,
              maximum: YEAR_MS,
              default: 60_000,
              description:
                'A due time counts as missed after this, or when the next one has come; before that it is just late',
            }),
          ),
          withinMs: Type.Optional(
            Type.Integer({
              minimum: 0,
              maximum: YEAR_MS,
              default: DAY_MS,
              description: 'Due times that were missed longer ago are not made up for',
            }),
          ),
          limit: Type.Optional(
            Type.Integer({
              minimum: 1,
              maximum: 10_000,
              default: 100,
              description: 'With `all`, the most due times that are made up for at once: the latest',
            }),
          ),
        },
        { additionalProperties: false },
      ),
    ),
    overlap: Type.Optional(
      Type.Union([Type.Literal('skip'), Type.Literal('queue-one'), Type.Literal('allow')], {
        default: 'skip',
        description: 'What to do about a due time while the previous run, or a retry of it, has not ended',
      }),
    ),
    retries: Type.Optional(
      Type.Object(
        {
          attempts: Type.Optional(
            Type.Integer({ minimum: 1, maximum: 100, default: 1, description: 'How many in all, the first included' }),
          ),
          backoffMs: Type.Optional(
            Type.Integer({
              minimum: 0,
              maximum: DAY_MS,
              default: 1000,
              description: 'Before the second attempt; doubles with each',
            }),
          ),
          maxBackoffMs: Type.Optional(Type.Integer({ minimum: 0, maximum: DAY_MS, default: 300_000 })),
        },
        { additionalProperties: false },
      ),
    ),
    interrupted: Type.Optional(
      Type.Union([Type.Literal('leave'), Type.Literal('again')], {
        default: 'leave',
        description:
          'Whether a run whose server died gets another attempt with the same token, which may repeat what the first did',
      }),
    ),
    onSuccess: Type.Optional(ServiceName('The service that is called durably when a run has succeeded')),
    onError: Type.Optional(ServiceName('The service that is called durably when a run has failed and is not retried')),
    runsOn: Type.Optional(
      Type.Union([Type.Literal('holder'), Type.Literal('any')], {
        default: 'holder',
        description: 'Where it runs: on the holder of the scheduler, or on whichever server takes it first',
      }),
    ),
    removeWhenDone: Type.Optional(
      Type.Boolean({ default: false, description: 'Removes the record when its last run has ended' }),
    ),
    since: Type.Optional(
      Type.String({
        format: 'date-time',
        description: 'Due times after this count. Set when the schedule changes or the job is switched on',
      }),
    ),
  },
  { additionalProperties: false },
);

type Given = Static<typeof JobDefinition>;

/** A job with its defaults filled in. */
export interface Job {
  readonly name: string;
  readonly service: string;
  readonly schedule: ParsedSchedule;
  readonly payload: unknown;
  readonly active: boolean;
  readonly jitterMs: number;
  /** Null: the timeout of the service. */
  readonly timeoutMs: number | null;
  readonly missed: Required<NonNullable<Given['missed']>>;
  readonly overlap: 'skip' | 'queue-one' | 'allow';
  readonly retries: Required<NonNullable<Given['retries']>>;
  readonly interrupted: 'leave' | 'again';
  readonly onSuccess: string | null;
  readonly onError: string | null;
  readonly runsOn: 'holder' | 'any';
  readonly removeWhenDone: boolean;
  /** Ms since 1970. */
  readonly since: number;
}

const MISSED: Job['missed'] = { policy: 'once', lateMs: 60_000, withinMs: DAY_MS, limit: 100 };
const RETRIES: Job['retries'] = { attempts: 1, backoffMs: 1000, maxBackoffMs: 300_000 };

/**
 * Reads a record that was checked. It parses the schedule, and never throws: a schedule that another version wrote may have
 * problems here.
 */
export function jobOf(definition: Definition): Job {
  const given = definition as unknown as Given;
  const { name, service, schedule, payload, missed, retries, since } = given;
  return {
    name,
    service,
    schedule: parseSchedule(schedule),
    payload,
    active: given.active ?? true,
    jitterMs: given.jitterMs ?? 0,
    timeoutMs: given.timeoutMs ?? null,
    missed: missed === undefined ? MISSED : { ...MISSED, ...missed },
    overlap: given.overlap ?? 'skip',
    retries: retries === undefined ? RETRIES : { ...RETRIES, ...retries },
    interrupted: given.interrupted ?? 'leave',
    onSuccess: given.onSuccess ?? null,
    onError: given.onError ?? null,
    runsOn: given.runsOn ?? 'holder',
    removeWhenDone: given.removeWhenDone ?? false,
    since: since === undefined ? 0 : Date.parse(since),
  };
}

/** When a job is due; an interval without a start begins when the job was made. Throws INVALID if its schedule has problems. */
export function timesOf(job: Pick<Job, 'schedule' | 'since'>): Times {
  return compileSchedule(job.schedule, job.since);
}

/**
 * What is wrong with a job beyond its JSON schema, with key paths such as `.schedule.cron`. `past`: the record that it takes
 * the place of. A job whose schedule is new, and which is active, must be due after `now`; one that has run its course may
 * stay.
 */
export function checkJob(definition: Definition, past: Definition | null, now: number): Problem[] {
  const { schedule: given, removeWhenDone, active } = definition as unknown as Given;
  const schedule = parseSchedule(given);
  const mustBeDue = active !== false && !isSame(definition, past);
  const found = mustBeDue ? checkSchedule(schedule, now) : schedule.problems;
  const problems = found.map((problem) => ({ ...problem, path: `.schedule${problem.path}` }));
  if (removeWhenDone === true && 'cron' in given && given.end === undefined) {
    problems.push({
      path: '.removeWhenDone',
      message: 'never comes true: the schedule has no end',
      hint: 'Give the schedule an end, or leave removeWhenDone out.',
    });
  }
  return problems;
}

/** Sets `since`: due times before a change of the schedule, or while the job was paused, do not count. */
export function keepJob(definition: Definition, past: Definition | null, now: number): Definition {
  const since = (isSame(definition, past) ? past?.['since'] : undefined) ?? new Date(now).toISOString();
  return { ...definition, since };
}

function isSame(definition: Definition, past: Definition | null): boolean {
  if (past === null) return false;
  const textOf = ({ schedule, active = true }: Record<string, unknown>) => JSON.stringify([schedule, active]);
  return textOf(past) === textOf(definition);
}

/** The next due times of a job, at most `count`; empty if it is paused. Throws INVALID if its schedule is not valid. */
export function nextTimes(definition: Definition, after: Date, count: number): readonly Date[] {
  const job = jobOf(definition);
  if (!job.active) return [];
  return upcoming(timesOf(job), Math.max(after.getTime(), job.since), count).map((time) => new Date(time));
}
