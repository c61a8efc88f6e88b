/** Statistics of the services, added up over all servers in a Redis. */
import { randomBytes } from 'node:crypto';
import { definePlugin, GantryError, isGantryError } from '../../core/api.ts';
import { Meters, OTHER, type Period, periodAfter, periodsOf, SlowCalls } from '../../core/parts.ts';
import type { StatsQuery } from '../../core/ports/index.ts';
import { open, problemsOf, whereOf } from '../_redis/connection.ts';
import { Link } from '../_redis/link.ts';
import { Buffer } from './buffer.ts';
import { Config, keepMsOf } from './config.ts';
import { Flush } from './flush.ts';
import { Keys } from './keys.ts';
import { Reader } from './reader.ts';
import { prepare, Writer } from './writer.ts';

/** What is written late stays for so long: a repeat of it must find its mark. */
const LATE_MS = 86_400_000;
/** How long a server's end waits for the last calls to be written. */
const STOP_MS = 5000;

export default definePlugin({
  id: 'stats.redis',
  api: 1,
  config: Config,
  needs: ['server'],
  create({ id, config, log, hooks, server }) {
    const problems = problemsOf(id, config);
    if (problems.length > 0) throw new GantryError('CONFIG_INVALID', 'Redis cannot be reached this way', { problems });
    const { maxServices, maxBuffered, slowKept, flushMs, commandTimeoutMs } = config;
    const keepMs = keepMsOf(config);
    const expiry = (per: Period, begin: number) =>
      Math.max(periodAfter(per, begin) + keepMs[per], Date.now() + LATE_MS);

    const meters = new Meters(maxServices, (service) =>
      log.warn({ maxServices, service }, `too many services: the rest is counted as '${OTHER}'`),
    );
    const slow = new SlowCalls({ ...config, kept: slowKept, server: server.name });
    slow.watch(id, hooks);
    let isCoarsened = false;
    const buffer = new Buffer(maxBuffered, expiry, () => {
      if (!isCoarsened)
        log.warn({ maxBuffered }, 'Redis is away for long: minutes of statistics are added up to hours');
      isCoarsened = true;
    });
    const link = new Link({
      log,
      what: 'The store of the statistics',
      where: whereOf(config),
      code: 'KV_UNAVAILABLE',
      commandTimeoutMs,
      open: (attempt) => open(config, `gantry:${server.name}:${id}`, attempt),
      prepare: async (client) => prepare(client),
      up() {
        isCoarsened = false;
        writer.forget();
      },
    });
    const keys = new Keys(config.prefix);
    const instance = randomBytes(9).toString('base64url');
    const writer = new Writer({ link, keys, instance, expiry, slowKept });
    const flush = new Flush({ meters, slow, buffer, link, writer, log, flushMs });
    const reader = new Reader(link, keys);

    /** What is here has to be there first; what Redis does not take is no reason not to read. */
    const read = async <T>(ask: () => Promise<T>): Promise<T> => {
      await flush.run().catch((error: unknown) => {
        if (!link.isUp) throw error;
      });
      return ask().catch((thrown: unknown) => {
        if (isGantryError(thrown)) throw thrown;
        throw new GantryError('KV_UNAVAILABLE', 'The statistics cannot be read', { cause: thrown });
      });
    };

    return {
      meter: (service: string) => meters.get(service),
      snapshot: () => meters.snapshot(),
      flush: () => flush.run(),
      get problem() {
        return link.problem ?? flush.refusal;
      },
      history(query: StatsQuery) {
        return read(async () => reader.history(query, periodsOf(query, Date.now() - keepMs[query.per])));
      },
      slowCalls(limit: number, service?: string) {
        return read(() => reader.slowCalls(limit, service));
      },
      async start() {
        await link.start();
        flush.start();
      },
      async stop() {
        flush.stop();
        await inTime(STOP_MS, flush.run());
        const { calls } = buffer;
        if (calls > 0) log.warn({ calls }, 'calls that were counted could not be written any more');
        await link.stop();
      },
    };
  },
});

/** Waits for it, but not longer, however it ends. */
async function inTime(ms: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([work.catch(() => {}), late]);
  clearTimeout(timer);
}
