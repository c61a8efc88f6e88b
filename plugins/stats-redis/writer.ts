import { PERIODS, type Period, periodOf } from '../../core/parts.ts';
import type { SlowCall } from '../../core/ports/index.ts';
import type { Client } from '../_redis/connection.ts';
import type { Link } from '../_redis/link.ts';
import type { Batch } from './buffer.ts';
import { askAll, type Command, sendAll } from './commands.ts';
import type { Keys } from './keys.ts';
import { MARK, TALLY_SCRIPT } from './tally-script.ts';

const DAY_MS = 86_400_000;
/** Slow calls of today and of yesterday are shown. */
const SLOW_KEPT_MS = 2 * DAY_MS;
/** Of all services, a day. */
const SLOWEST = 1000;
const NS_OF_MS = 1_000_000;
/** The script, as a method of the client. */
const TALLY = 'gantryTally';

export interface WriterParts {
  readonly link: Link;
  readonly keys: Keys;
  /** Of this process: no other has it, and none had it before. */
  readonly instance: string;
  readonly expiry: (per: Period, begin: number) => number;
  readonly slowKept: number;
}

interface Listing {
  /** When the set expires. */
  readonly until: number;
  readonly services: Set<string>;
}

/** For each new connection. */
export function prepare(client: Client): void {
  client.defineCommand(TALLY, { lua: TALLY_SCRIPT });
}

/** Writes what was counted here. */
export class Writer {
  readonly #parts: WriterParts;
  /** Services that are known to be in the set of a period, by key of the set and service; of one minute. */
  readonly #listed = new Set<string>();
  #listedIn = 0;

  constructor(parts: WriterParts) {
    this.#parts = parts;
  }

  /** After a new connection: it may be another Redis, or the same one without its data. */
  forget(): void {
    this.#listed.clear();
  }

  /**
   * Gives those that are written for sure, and why others are not, or may not be. Rejects where that is not known of any.
   */
  async write(
    batches: readonly Batch[],
  ): Promise<{ readonly written: readonly Batch[]; readonly error: Error | null }> {
    const sets = this.#unlisted(batches);
    const listing = [...sets].flatMap(([key, { until, services }]): Command[] => [
      ['sadd', key, ...services],
      ['pexpireat', key, until],
    ]);
    const commands = [...listing, ...batches.map((batch) => this.#tally(batch))];
    const outcomes = await sendAll(this.#parts.link, commands);
    const error = outcomes.find((one) => one.error !== null)?.error ?? null;
    // They are there, perhaps, and nobody finds them: written again, they are skipped, and their services are listed.
    if (outcomes.slice(0, listing.length).some((one) => one.error !== null)) return { written: [], error };
    for (const [key, { services }] of sets) for (const service of services) this.#listed.add(`${key} ${service}`);
    return { written: batches.filter((_, i) => outcomes[listing.length + i]?.error === null), error };
  }

  /** Writing one twice changes nothing. */
  async writeSlow(calls: readonly SlowCall[]): Promise<void> {
    const { link, keys, slowKept } = this.#parts;
    const commands = calls.flatMap((call) => {
      const day = periodOf('day', call.at.getTime());
      const into = (key: string, most: number): Command[] => [
        ['zadd', key, call.ms, JSON.stringify(call)],
        ['zremrangebyrank', key, 0, -most - 1],
        ['pexpireat', key, day + DAY_MS + SLOW_KEPT_MS],
      ];
      return [...into(keys.slow(day, call.service), slowKept), ...into(keys.slowest(day), SLOWEST)];
    });
    await askAll(link, commands);
  }

  #tally({ per, begin, service, seq, tally }: Batch): Command {
    const { keys, instance, expiry } = this.#parts;
    const periods = above(per).map((level) => [level, periodOf(level, begin)] as const);
    return [
      TALLY,
      periods.length,
      ...periods.map(([level, at]) => keys.period(level, at, service)),
      `${MARK}${instance}`,
      seq,
      tally.calls,
      tally.failures,
      Math.round(tally.sumMs * NS_OF_MS),
      tally.minMs,
      tally.maxMs,
      [...tally.counts].flat().join(' '),
      ...periods.map(([level, at]) => expiry(level, at)),
    ];
  }

  /**
   * The services that are not in the sets of their periods yet, by the key of the set. All are put there anew once a minute,
   * so that a set that was lost is soon there again.
   */
  #unlisted(batches: readonly Batch[]): ReadonlyMap<string, Listing> {
    const { keys, expiry } = this.#parts;
    const minute = periodOf('minute', Date.now());
    if (minute !== this.#listedIn) this.#listed.clear();
    this.#listedIn = minute;
    const sets = new Map<string, Listing>();
    for (const { per, begin, service } of batches) {
      for (const level of above(per)) {
        const at = periodOf(level, begin);
        const key = keys.services(level, at);
        if (this.#listed.has(`${key} ${service}`)) continue;
        const set = sets.get(key) ?? { until: expiry(level, at), services: new Set() };
        set.services.add(service);
        sets.set(key, set);
      }
    }
    return sets;
  }
}

/** That granularity and all that are coarser. */
function above(per: Period): readonly Period[] {
  return PERIODS.slice(PERIODS.indexOf(per));
}
