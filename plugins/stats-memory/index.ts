/** Statistics of the services, kept in this process for as long as it runs, and of this process alone. */
import { definePlugin, Type } from '../../core/api.ts';
import { Meters, OTHER, periodAfter, periodsOf, SlowCalls } from '../../core/parts.ts';
import type { StatsQuery } from '../../core/ports/index.ts';
import { History } from './history.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** A slow call of yesterday is nobody's any more. */
const SLOW_KEPT_MS = DAY_MS;

const amount = (initial: number, most: number, description: string) =>
  Type.Integer({ minimum: 1, maximum: most, default: initial, description });

export default definePlugin({
  id: 'stats.memory',
  api: 1,
  config: Type.Object(
    {
      maxServices: Type.Integer({
        minimum: 1,
        default: 10_000,
        description: `Services that are counted one by one, 8 kB each; the rest is counted as one, '${OTHER}'`,
      }),
      keep: Type.Object(
        {
          minuteHours: amount(2, 48, 'Minutes'),
          hourDays: amount(2, 62, 'Hours'),
          dayDays: amount(31, 800, 'Days'),
          monthMonths: amount(12, 120, 'Months'),
        },
        { additionalProperties: false, default: {}, description: 'How long the statistics of periods are kept' },
      ),
      maxPeriods: amount(
        20_000,
        1_000_000,
        'Services times periods that are kept, 2 kB each; beyond it the oldest minutes go first',
      ),
      slowMs: Type.Integer({ minimum: 0, default: 1000, description: 'From here on a call is kept as a slow one' }),
      slowMsByService: Type.Record(Type.String(), Type.Integer({ minimum: 0 }), {
        default: {},
        description: 'Services with another limit',
      }),
      slowKept: Type.Integer({ minimum: 0, maximum: 1000, default: 20, description: 'Of each service; 0: none' }),
    },
    { additionalProperties: false },
  ),
  needs: ['server'],
  create({ id, config, log, hooks, server }) {
    const { maxServices, maxPeriods, keep, slowKept: kept } = config;
    const meters = new Meters(maxServices, (service) =>
      log.warn({ maxServices, service }, `too many services: the rest is counted as '${OTHER}'`),
    );
    const keepMs = {
      minute: keep.minuteHours * HOUR_MS,
      hour: keep.hourDays * DAY_MS,
      day: keep.dayDays * DAY_MS,
      month: keep.monthMonths * 31 * DAY_MS,
    };
    const history = new History(keepMs, maxPeriods);
    const slow = new SlowCalls({ ...config, kept, server: server.name });
    slow.watch(id, hooks);

    let takenAt = Date.now();
    /** Calls belong to the minute in which they were recorded, so what there is is taken when one begins. */
    const take = () => {
      history.add(takenAt, meters.take());
      takenAt = Date.now();
      slow.forget(takenAt - SLOW_KEPT_MS);
    };
    let timer: NodeJS.Timeout | undefined;
    const wait = () => {
      const now = Date.now();
      timer = setTimeout(() => {
        take();
        wait();
      }, periodAfter('minute', now) - now).unref();
    };

    return {
      meter: (service: string) => meters.get(service),
      snapshot: () => meters.snapshot(),
      async history(query: StatsQuery) {
        take();
        const begins = periodsOf(query, takenAt - keepMs[query.per]);
        return history.find(query.per, begins, query.service);
      },
      async slowCalls(limit: number, service?: string) {
        return slow.list(limit, service);
      },
      async start() {
        wait();
      },
      async stop() {
        clearTimeout(timer);
      },
    };
  },
});
