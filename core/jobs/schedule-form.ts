import { didYouMean, type Problem } from '../errors.ts';
import { Cron, compileCron } from './cron.ts';
import { findZone, suggestZone, type Zone } from './zone.ts';

export const LEAST_MS = 10;
/** 100 years. */
export const MOST_MS = 36_525 * 86_400_000;
export const INTERVAL =
  /^(?!$)(?:(\d{1,5})w)?(?:(\d{1,6})d)?(?:(\d{1,7})h)?(?:(\d{1,9})m(?!s))?(?:(\d{1,11})s)?(?:(\d{1,14})ms)?$/;
export const LONGEST_CRON = 500;

/** The fields of a schedule after reading; moments in ms since 1970. */
export interface ScheduleFields {
  at?: number;
  everyMs?: number;
  cron?: Cron;
  zone?: Zone;
  start?: number;
  end?: number;
  repeats?: number;
}

const FORMS: Readonly<Record<string, readonly string[]>> = {
  at: ['at'],
  every: ['every', 'start', 'end', 'repeats'],
  everyMs: ['everyMs', 'start', 'end', 'repeats'],
  cron: ['cron', 'timeZone', 'start', 'end'],
};
const FORM_NAMES = Object.keys(FORMS);
const EXPECTED = `one of ${FORM_NAMES.join(', ')}`;

/**
 * Reads a value that may be no schedule at all, and adds what is wrong with it to `problems`, with paths inside it, such
 * as `.cron`. The fields are complete only if nothing was added.
 */
export function readSchedule(schedule: unknown, problems: Problem[]): ScheduleFields {
  if (typeof schedule !== 'object' || schedule === null || Array.isArray(schedule)) {
    const hint = typeof schedule === 'string' ? hintForText(schedule) : "E.g. { every: '1h30m' }.";
    problems.push({
      path: '',
      message: 'must be an object',
      expected: `an object with ${EXPECTED}`,
      got: shown(schedule),
      hint,
    });
    return {};
  }
  const given = Object.entries(schedule).filter(([, value]) => value !== undefined);
  const kinds = given.map(([key]) => key).filter((key) => Object.hasOwn(FORMS, key));
  if (kinds.length !== 1) {
    problems.push(wrongKind(kinds, given));
    return {};
  }
  const kind = kinds[0] as string;
  const fields: ScheduleFields = {};
  for (const [key, value] of given) {
    const problem = (FORMS[kind] as readonly string[]).includes(key)
      ? (READERS[key] as Reader)(fields, value)
      : unknownKey(key, kind);
    if (problem !== null) problems.push(...[problem].flat().map((one) => ({ path: `.${key}`, ...one })));
  }
  if (kind === 'cron') fields.zone ??= findZone('UTC') as Zone;
  return fields;
}

type Wrong = Omit<Problem, 'path'>;
/** Sets a field from its value, or returns what is wrong with the value. */
type Reader = (fields: ScheduleFields, value: unknown) => Wrong | readonly Wrong[] | null;

const READERS: Readonly<Record<string, Reader>> = {
  at: readMoment('at'),
  start: readMoment('start'),
  end: readMoment('end'),
  every: readEvery,
  everyMs: readEveryMs,
  cron: readCron,
  timeZone: readTimeZone,
  repeats: readRepeats,
};

const MOMENT = /^(\d{4})-(\d\d)-(\d\d)T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$/i;

function readMoment(key: 'at' | 'start' | 'end'): Reader {
  return (fields, value) => {
    const [, year, month, day] = (typeof value === 'string' && MOMENT.exec(value)) || [];
    const date = new Date(Date.UTC(Number(year), Number(month) - 1, Number(day)));
    if (date.getUTCMonth() === Number(month) - 1) {
      fields[key] = Date.parse((value as string).toUpperCase());
      return null;
    }
    return {
      message: 'is not a time',
      expected: 'RFC 3339 with an offset, e.g. 2030-01-31T09:00:00Z or 2030-01-31T09:00:00+01:00',
      got: shown(value),
      hint: hintForMoment(value, year),
    };
  };
}

function hintForMoment(value: unknown, year: string | undefined): string {
  if (typeof value !== 'string') return 'Write it as text.';
  if (year !== undefined) return 'There is no such day in that month.';
  if (/^\d{4}-\d\d-\d\dT[\d:.]+$/i.test(value))
    return 'Say of which place: add Z for UTC, or an offset such as +02:00.';
  if (/:60(\.|Z|[+-]|$)/i.test(value)) return 'Seconds are 00 to 59: leap seconds are not counted.';
  if (/^\d{4}-\d\d-\d\d$/.test(value)) return 'A day alone is not enough: add the time and the offset.';
  return 'Between day and time there is a T, and hours, minutes and seconds have two digits.';
}

function readEvery(fields: ScheduleFields, value: unknown): Wrong | null {
  const parts = typeof value === 'string' ? INTERVAL.exec(value) : null;
  if (parts === null) {
    return {
      message: 'is not an interval',
      expected: 'numbers with w d h m s ms, each at most once and in that order, e.g. 2w, 1d12h, 1h30m, 250ms',
      got: shown(value),
      hint: hintForEvery(value),
    };
  }
  const [weeks, days, hours, minutes, seconds, ms] = parts.slice(1).map((part) => Number(part ?? 0)) as number[];
  const w = (weeks as number) * 7 + (days as number);
  const everyMs = ((w * 24 + (hours as number)) * 60 + (minutes as number)) * 60_000 + (seconds as number) * 1000;
  return readEveryMs(fields, everyMs + (ms as number));
}

function hintForEvery(value: unknown): string {
  if (typeof value === 'number') return 'A number of ms is everyMs.';
  if (typeof value !== 'string') return "Write it as text: '1h30m'.";
  if (/^\s*[-+]/.test(value)) return 'An interval is longer than nothing.';
  if (/\d[.,]\d/.test(value)) return 'Whole numbers only: 90m instead of 1.5h.';
  if (/^\s*\d+\s*$/.test(value)) return `Say of what: ${value.trim()}s is seconds; a number of ms is everyMs.`;
  if (/^[\d\s*?,/@-]+$/.test(value)) return 'A cron expression is cron.';
  if (/\d\s*(mo|y)/i.test(value)) return "Months and years have no fixed length: use cron, e.g. '0 0 1 * *'.";
  if (/\s/.test(value) && INTERVAL.test(value.replaceAll(/\s/g, ''))) return 'Leave out the spaces.';
  return "Short letters only: '5m' instead of '5 minutes', '1d' instead of 'one day'.";
}

function readEveryMs(fields: ScheduleFields, value: unknown): Wrong | null {
  if (Number.isInteger(value) && (value as number) >= LEAST_MS && (value as number) <= MOST_MS) {
    fields.everyMs = value as number;
    return null;
  }
  const hint =
    typeof value === 'number'
      ? 'What runs more often is a loop in a service; what runs more rarely is a time of its own.'
      : "It is a number; a text such as '1h30m' is every.";
  return {
    message: 'is not a possible interval',
    expected: `${LEAST_MS} ms to 100 years (${MOST_MS} ms), whole ms`,
    got: shown(value),
    hint,
  };
}

function readCron(fields: ScheduleFields, value: unknown): Wrong | readonly Wrong[] | null {
  if (typeof value !== 'string' || value.length > LONGEST_CRON) {
    return {
      message: 'is not a cron expression',
      expected: `text of at most ${LONGEST_CRON} characters, e.g. '30 2 * * *'`,
      got: shown(value),
      hint: 'Values of a field can be ranges and steps: 0-30/5.',
    };
  }
  const cron = compileCron(value);
  if (!(cron instanceof Cron)) return cron;
  fields.cron = cron;
  return null;
}

function readTimeZone(fields: ScheduleFields, value: unknown): Wrong | null {
  const zone = typeof value === 'string' ? findZone(value) : null;
  if (zone !== null) {
    fields.zone = zone;
    return null;
  }
  return {
    message: 'is not a known time zone',
    expected: 'a name of the IANA database, e.g. Europe/Warsaw or UTC',
    got: shown(value),
    hint: hintForZone(value),
  };
}

function hintForZone(value: unknown): string {
  if (typeof value !== 'string') return 'Write it as text; without it the zone is UTC.';
  if (/^[+-]?\d/.test(value))
    return 'An offset knows no daylight saving: name the zone. Etc/GMT-2 is two hours east, all year.';
  if (/^[a-z]{2,4}$/i.test(value))
    return 'An abbreviation does not mean the same everywhere: name a place, such as Asia/Kolkata.';
  return suggestZone(value) || 'Names are Area/City.';
}

function readRepeats(fields: ScheduleFields, value: unknown): Wrong | null {
  if (Number.isInteger(value) && (value as number) >= 1) {
    fields.repeats = value as number;
    return null;
  }
  const hint = 'It counts due times; leave it out for no end.';
  return { message: 'is not a number of times', expected: 'a whole number from 1', got: shown(value), hint };
}

function wrongKind(kinds: readonly string[], given: readonly (readonly [string, unknown])[]): Problem {
  const keys = given.map(([key]) => key);
  const near = keys.map((key) => didYouMean(key, FORM_NAMES)).find((hint) => hint !== '');
  return {
    path: '',
    message: kinds.length === 0 ? 'does not say when' : 'says more than one thing',
    expected: EXPECTED,
    got: kinds.length > 0 ? kinds.join(' and ') : keys.length > 0 ? keys.join(', ') : 'an object without keys',
    hint: kinds.length > 0 ? 'Make a job of each.' : (near ?? "E.g. every: '1h30m', or cron: '30 2 * * *'."),
  };
}

function unknownKey(key: string, kind: string): Wrong {
  const known = FORMS[kind] as readonly string[];
  const hint =
    kind === 'cron' && key === 'repeats'
      ? 'A cron expression goes on until end.'
      : key === 'timeZone' && kind !== 'cron'
        ? 'Only cron looks at local time; the others have an offset in their times.'
        : didYouMean(key, known) || 'Leave it out.';
  return { message: `is not known beside ${kind}`, expected: `one of ${known.join(', ')}`, got: key, hint };
}

function hintForText(text: string): string {
  if (INTERVAL.test(text)) return `Did you mean { every: '${text}' }?`;
  if (MOMENT.test(text)) return `Did you mean { at: '${text}' }?`;
  return compileCron(text) instanceof Cron ? `Did you mean { cron: '${text}' }?` : "E.g. { every: '1h30m' }.";
}

/** A value in short form, for one line. */
export function shown(value: unknown): string {
  if (typeof value === 'string')
    return value.length > 60 ? `a text of ${value.length} characters` : JSON.stringify(value);
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'a list' : 'an object';
  return String(value);
}
