import { type Static, Type } from '../../core/api.ts';
import { OTHER, type Period } from '../../core/parts.ts';
import { connectionKeys } from '../_redis/connection.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

const amount = (initial: number, most: number, description: string) =>
  Type.Integer({ minimum: 1, maximum: most, default: initial, description });

export const Config = Type.Object(
  {
    ...connectionKeys,
    commandTimeoutMs: Type.Integer({
      default: 2000,
      minimum: 50,
      maximum: 60_000,
      description: 'How long to wait for an answer; what was not answered is written again, and counts once',
    }),
    flushMs: Type.Integer({
      default: 1000,
      minimum: 50,
      maximum: 60_000,
      description: 'How often to write: what other servers counted is that much behind at most',
    }),
    keep: Type.Object(
      {
        minuteHours: amount(24, 48, 'Minutes'),
        hourDays: amount(32, 62, 'Hours'),
        dayDays: amount(400, 800, 'Days'),
        monthMonths: amount(60, 240, 'Months'),
      },
      { additionalProperties: false, default: {}, description: 'How long the statistics of periods are kept' },
    ),
    maxServices: Type.Integer({
      minimum: 1,
      default: 10_000,
      description: `Services that are counted one by one, 8 kB each; the rest is counted as one, '${OTHER}'`,
    }),
    maxBuffered: Type.Integer({
      minimum: 1,
      default: 20_000,
      description:
        'Services times minutes, 2 kB each, that wait while Redis is away; beyond it the oldest minutes are added up to hours, then to days and months',
    }),
    slowMs: Type.Integer({ minimum: 0, default: 1000, description: 'From here on a call is kept as a slow one' }),
    slowMsByService: Type.Record(Type.String(), Type.Integer({ minimum: 0 }), {
      default: {},
      description: 'Services with another limit',
    }),
    slowKept: Type.Integer({
      minimum: 0,
      maximum: 1000,
      default: 20,
      description: 'The slowest so many of each service and day; 0: none',
    }),
  },
  { additionalProperties: false },
);
export type Config = Readonly<Static<typeof Config>>;

/** How long the periods of each granularity are kept, in ms after their end. */
export function keepMsOf({ keep }: Config): Readonly<Record<Period, number>> {
  return {
    minute: keep.minuteHours * HOUR_MS,
    hour: keep.hourDays * DAY_MS,
    day: keep.dayDays * DAY_MS,
    month: keep.monthMonths * 31 * DAY_MS,
  };
}
