import { Type } from 'typebox';
import { GantryError, type Problem } from '../errors.ts';
import type { Cron } from './cron.ts';
import { readSchedule, type ScheduleFields, shown } from './schedule-form.ts';
import { CronTimes, IntervalTimes, OnceTimes, type Times } from './times.ts';
import type { Zone } from './zone.ts';

export type { DueTimes, Times } from './times.ts';

const Moment = (description: string) => Type.Optional(Type.String({ description }));

interface Bounds {
  readonly start?: string;
  readonly end?: string;
}

/** When a job is due, as users write it; moments are RFC 3339 with an offset. */
export type Schedule =
  | { readonly at: string }
  | (Bounds & { readonly every: string; readonly repeats?: number })
  | (Bounds & { readonly everyMs: number; readonly repeats?: number })
  | (Bounds & { readonly cron: string; readonly timeZone?: string });

/**
 * The field `schedule` of a job. It checks types only: which fields go together, and their values, parseSchedule
 * explains better than a schema can.
 */
export const ScheduleSchema = Type.Unsafe<Schedule>(
  Type.Object(
    {
      at: Moment('Once: RFC 3339, with an offset: 2030-01-31T09:00:00+01:00'),
      every: Type.Optional(
        Type.String({
          description:
            'An interval: weeks, days, hours, minutes, seconds, milliseconds: 2w, 1d12h, 1h30m, 250ms. A day is 24 hours',
        }),
      ),
      everyMs: Type.Optional(Type.Integer({ description: 'The same in ms' })),
      cron: Type.Optional(
        Type.String({
          description: 'minute hour day-of-month month day-of-week, with the second before them or without; or @daily',
        }),
      ),
      timeZone: Type.Optional(Type.String({ description: 'Of cron: IANA name, e.g. Europe/Warsaw; UTC unless given' })),
      start: Moment('Nothing is due before; an interval is due at it and then counted from it'),
      end: Moment('Nothing is due after'),
      repeats: Type.Optional(
        Type.Integer({ description: 'Of an interval: how many times it is due in all, whether it ran then or not' }),
      ),
    },
    {
      additionalProperties: false,
      description: 'One of at, every, everyMs and cron: once at a time, at an interval, or by a cron expression',
    },
  ),
);

/** A schedule after parsing. A job carries it, so that nobody parses it again. */
export interface ParsedSchedule {
  /** As it was given. */
  readonly given: unknown;
  /** Complete only without problems. */
  readonly fields: Readonly<ScheduleFields>;
  /** What is wrong with its form, with paths inside the schedule, such as `.cron`. */
  readonly problems: readonly Problem[];
}

/** Never throws: a value that is no schedule has problems. A schedule whose due times are all over has none. */
export function parseSchedule(given: unknown): ParsedSchedule {
  const problems: Problem[] = [];
  return { given, fields: readSchedule(given, problems), problems };
}

/**
 * Everything that is wrong with a schedule that is to be used from `now` on: its form, or why it is never due after that.
 * `anchor`: as for compileSchedule, if the schedule is in use already.
 */
export function checkSchedule(schedule: ParsedSchedule, now: number, anchor = now): readonly Problem[] {
  return schedule.problems.length > 0 ? schedule.problems : checkDue(schedule, now, anchor);
}

/**
 * The due times of a schedule. `anchor`: where an interval without `start` begins, in ms since 1970; it is due for the
 * first time one interval later. Throws INVALID if the schedule has problems.
 */
export function compileSchedule({ fields, problems }: ParsedSchedule, anchor: number): Times {
  if (problems.length === 0) return timesOf(fields, anchor);
  const hint = problems.map(({ path, message, hint = '' }) => `${path.slice(1)} ${message}. ${hint}`.trim()).join(' ');
  throw new GantryError('INVALID', 'The schedule is not valid', { problems, hint });
}

/** The first `count` due times after a moment. */
export function upcoming(times: Times, after: number, count: number): readonly number[] {
  const found: number[] = [];
  for (let at: number | null = after; found.length < count; found.push(at)) {
    at = times.next(at);
    if (at === null) break;
  }
  return found;
}

function timesOf({ at, everyMs, cron, zone, start, end, repeats }: ScheduleFields, anchor: number): Times {
  const never = Number.POSITIVE_INFINITY;
  if (at !== undefined) return new OnceTimes(at);
  if (everyMs !== undefined)
    return new IntervalTimes(start ?? anchor + everyMs, everyMs, end ?? never, repeats ?? never);
  return new CronTimes(cron as Cron, zone as Zone, start ?? 0, end ?? never);
}

/** Why a well-formed schedule is never due after `now`; empty if it is due. */
function checkDue({ given, fields }: ParsedSchedule, now: number, anchor: number): Problem[] {
  const times = timesOf(fields, anchor);
  if (times.next(now) !== null) return [];
  const { start, end, cron } = fields;
  const refused = (key: string, message: string, expected: string, hint: string): Problem[] => [
    { path: `.${key}`, message, expected, got: shown((given as Readonly<Record<string, unknown>>)[key]), hint },
  ];
  if (fields.at !== undefined)
    return refused('at', 'is in the past', `a time after ${iso(now)}`, 'Choose a later time.');
  if (cron !== undefined && cron.next(now) === Number.POSITIVE_INFINITY) {
    const hint = 'Look at day-of-month and month together. L is the last day of a month, however long it is.';
    return refused('cron', 'is never due: no year has such a day', 'a day that there is in one of its months', hint);
  }
  if (start !== undefined && end !== undefined && end < start) {
    return refused(
      'end',
      'is before start',
      `a time from ${iso(start)} on`,
      'Choose a later end, or an earlier start.',
    );
  }
  if (end !== undefined && end <= now) {
    return refused('end', 'is in the past', `a time after ${iso(now)}`, 'Choose a later end, or leave it out.');
  }
  const { repeats, ...unlimited } = fields;
  if (repeats !== undefined && timesOf(unlimited, anchor).next(now) !== null) {
    const last = `are over: the last one was at ${iso(times.previous(now) ?? now)}`;
    return refused('repeats', last, 'more of them', 'Raise it, or choose a later start.');
  }
  const { end: _, ...endless } = fields;
  const next = timesOf(endless, anchor).next(now);
  if (end === undefined || next === null) return [{ path: '', message: 'is never due before the year 10000' }];
  return refused(
    'end',
    'is before the next time that it would be due',
    `a time from ${iso(next)} on`,
    'Choose a later end, or leave it out.',
  );
}

function iso(at: number): string {
  return new Date(at).toISOString();
}
