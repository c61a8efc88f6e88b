import { GantryError } from '../../core/api.ts';
import { periodOf, Tally } from '../../core/parts.ts';
import type { PeriodStats, SlowCall, StatsQuery } from '../../core/ports/index.ts';
import type { Link } from '../_redis/link.ts';
import { askAll, type Command } from './commands.ts';
import type { Keys } from './keys.ts';

const DAY_MS = 86_400_000;
const NS_OF_MS = 1_000_000;
/** Services times periods of one answer: 2 kB each. */
const MOST = 50_000;

/** Reads what all servers have written. */
export class Reader {
  readonly #link: Link;
  readonly #keys: Keys;

  constructor(link: Link, keys: Keys) {
    this.#link = link;
    this.#keys = keys;
  }

  /** Two round trips, and more for what is more than 200 entries. Rejects with INVALID where it is too much. */
  async history({ per, service }: StatsQuery, begins: readonly number[]): Promise<readonly PeriodStats[]> {
    const wanted =
      service === undefined ? await this.#services(per, begins) : begins.map((begin) => ({ begin, service }));
    if (wanted.length > MOST) throw tooMuch();
    const hashes = await this.#ask<Readonly<Record<string, string>>>(
      wanted.map((one) => ['hgetall', this.#keys.period(per, one.begin, one.service)]),
    );
    return wanted.flatMap(({ begin, service: name }, i) => {
      const tally = tallyOf(hashes[i] ?? {});
      return tally.calls === 0 ? [] : [{ from: new Date(begin), ...tally.stats(name) }];
    });
  }

  /** Of today and yesterday, by UTC. */
  async slowCalls(limit: number, service: string | undefined): Promise<readonly SlowCall[]> {
    if (limit < 1) return [];
    const today = periodOf('day', Date.now());
    const keys = [today, today - DAY_MS].map((day) =>
      service === undefined ? this.#keys.slowest(day) : this.#keys.slow(day, service),
    );
    const members = await this.#ask<readonly string[]>(keys.map((key) => ['zrevrange', key, 0, limit - 1]));
    const calls = members.flat().map((member) => {
      const read = JSON.parse(member) as Omit<SlowCall, 'at'> & { readonly at: string };
      return { ...read, at: new Date(read.at) };
    });
    return calls.sort((one, other) => other.ms - one.ms).slice(0, limit);
  }

  /** Those that were called in each period, in alphabetical order. */
  async #services(per: StatsQuery['per'], begins: readonly number[]) {
    const sets = await this.#ask<string[]>(begins.map((begin) => ['smembers', this.#keys.services(per, begin)]));
    return begins.flatMap((begin, i) => (sets[i] ?? []).sort().map((service) => ({ begin, service })));
  }

  async #ask<T>(commands: readonly Command[]): Promise<readonly T[]> {
    return (await askAll(this.#link, commands)) as readonly T[];
  }
}

function tallyOf(hash: Readonly<Record<string, string>>): Tally {
  const number = (field: string, missing = 0) => Number(hash[field] ?? missing);
  const counts = new Map<number, number>();
  for (const [field, value] of Object.entries(hash)) if (/^\d+$/.test(field)) counts.set(Number(field), Number(value));
  return new Tally({
    failures: number('failures'),
    sumMs: number('sumNs') / NS_OF_MS,
    minMs: number('minMs', Number.POSITIVE_INFINITY),
    maxMs: number('maxMs'),
    counts,
  });
}

function tooMuch(): GantryError {
  return new GantryError('INVALID', `That is more than ${MOST} entries: ask for longer periods, or a shorter time`);
}
