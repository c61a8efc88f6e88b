import { Type } from 'typebox';
import { GantryError, type Problem } from '../errors.ts';
import type { Cron } from './cron.ts';
import { type Plan, readSchedule, shown } from './schedule-form.ts';
import { CronTimes, IntervalTimes, OnceTimes, type Times } from './times.ts';
import type { Zone } from './zone.ts';

export type { DueTimes, Times } from './times.ts';

const Moment = (description: string) => Type.Optional(Type.String({ description }));

interface Bounds {
  readonly start?: string;
  readonly end?: string;
}

/** When something is due; moments are RFC 3339 with an offset. */
export type Schedule =
  | { readonly at: string }
  | (Bounds & { readonly every: string; readonly repeats?: number })
  | (Bounds & { readonly everyMs: number; readonly repeats?: number })
  | (Bounds & { readonly cron: string; readonly timeZone?: string });

/**
 * The part `schedule` of a job. As loose as types are: which fields go together, and what they may be, checkSchedule
 * tells better than a schema.
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

/**
 * What is wrong with a schedule; the paths begin with `at`, e.g. `.schedule` gives `.schedule.cron`. What is well
 * formed and is never due after `now` is refused too, with the reason. `anchor`: as for compileSchedule, of a schedule
 * that is in use already.
 */
export function checkSchedule(schedule: unknown, at: string, now: number, anchor = now): Problem[] {
  const problems: Problem[] = [];
  const plan = readSchedule(schedule, at, problems);
  return problems.length > 0 ? problems : checkDue(plan, schedule as Schedule, at, now, anchor);
}

/** What is wrong with its form only: one whose times are all over is good. For what is carried over or kept. */
export function checkScheduleForm(schedule: unknown, at: string): Problem[] {
  const problems: Problem[] = [];
  readSchedule(schedule, at, problems);
  return problems;
}

/**
 * The due times of a schedule. `anchor`: where an interval without `start` begins, in ms since 1970; it is due for the
 * first time one interval later. Throws INVALID for what checkScheduleForm finds.
 */
export function compileSchedule(schedule: Schedule, anchor: number): Times {
  const problems: Problem[] = [];
  const plan = readSchedule(schedule, '', problems);
  if (problems.length === 0) return timesOf(plan, anchor);
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

function timesOf({ at, everyMs, cron, zone, start, end, repeats }: Plan, anchor: number): Times {
  const never = Number.POSITIVE_INFINITY;
  if (at !== undefined) return new OnceTimes(at);
  if (everyMs !== undefined)
    return new IntervalTimes(start ?? anchor + everyMs, everyMs, end ?? never, repeats ?? never);
  return new CronTimes(cron as Cron, zone as Zone, start ?? 0, end ?? never);
}

/** Why a schedule of good form is never due after `now`; nothing where it is. */
function checkDue(plan: Plan, schedule: Schedule, path: string, now: number, anchor: number): Problem[] {
  const times = timesOf(plan, anchor);
  if (times.next(now) !== null) return [];
  const { start, end, cron } = plan;
  const given = schedule as Readonly<Record<string, unknown>>;
  const refused = (key: string, message: string, expected: string, hint: string): Problem[] => [
    { path: `${path}.${key}`, message, expected, got: shown(given[key]), hint },
  ];
  if (plan.at !== undefined) return refused('at', 'is in the past', `a time after ${iso(now)}`, 'Choose a later time.');
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
  const { repeats, ...unlimited } = plan;
  if (repeats !== undefined && timesOf(unlimited, anchor).next(now) !== null) {
    const last = `are over: the last one was at ${iso(times.previous(now) ?? now)}`;
    return refused('repeats', last, 'more of them', 'Raise it, or choose a later start.');
  }
  const { end: _, ...endless } = plan;
  const next = timesOf(endless, anchor).next(now);
  if (end === undefined || next === null) return [{ path, message: 'is never due before the year 10000' }];
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
