import { PERIODS, type Period, periodAfter, periodOf, Tally } from '../../core/parts.ts';
import type { PeriodStats } from '../../core/ports/index.ts';

/** How long the periods of each granularity are kept, in ms after their end. */
export type Keep = Readonly<Record<Period, number>>;

type Services = Map<string, Tally>;

/** What this process counted, by period. */
export class History {
  readonly #keep: Keep;
  readonly #most: number;
  /** By granularity; of each, the period that was counted in first comes first. */
  readonly #periods: Readonly<Record<Period, Map<number, Services>>> = {
    minute: new Map(),
    hour: new Map(),
    day: new Map(),
    month: new Map(),
  };
  #size = 0;

  /** `most`: services times periods, in all. */
  constructor(keep: Keep, most: number) {
    this.#keep = keep;
    this.#most = most;
  }

  add(atMs: number, taken: readonly (readonly [service: string, tally: Tally])[]): void {
    for (const per of PERIODS) {
      const services = this.#of(per, periodOf(per, atMs));
      for (const [service, tally] of taken) this.#tally(services, service).add(tally);
    }
    this.#shrink(atMs);
  }

  find(per: Period, begins: readonly number[], only: string | undefined): readonly PeriodStats[] {
    return begins.flatMap((begin) => {
      const services = [...(this.#periods[per].get(begin) ?? [])];
      const found = services.filter(([service]) => only === undefined || service === only);
      const sorted = found.sort(([one], [other]) => (one < other ? -1 : 1));
      return sorted.map(([service, tally]) => ({ from: new Date(begin), ...tally.stats(service) }));
    });
  }

  #of(per: Period, begin: number): Services {
    const known = this.#periods[per].get(begin);
    if (known !== undefined) return known;
    const made: Services = new Map();
    this.#periods[per].set(begin, made);
    return made;
  }

  #tally(services: Services, service: string): Tally {
    const known = services.get(service);
    if (known !== undefined) return known;
    const made = new Tally();
    services.set(service, made);
    this.#size++;
    return made;
  }

  /** What is too old goes; then, where it is too much, the oldest of the finest granularity that has any but the present. */
  #shrink(nowMs: number): void {
    for (const per of PERIODS) {
      for (const begin of this.#periods[per].keys()) {
        if (periodAfter(per, begin) + this.#keep[per] <= nowMs) this.#drop(per, begin);
      }
    }
    for (const per of PERIODS) {
      for (const begin of this.#periods[per].keys()) {
        if (this.#size <= this.#most) return;
        if (begin !== periodOf(per, nowMs)) this.#drop(per, begin);
      }
    }
  }

  #drop(per: Period, begin: number): void {
    this.#size -= this.#periods[per].get(begin)?.size ?? 0;
    this.#periods[per].delete(begin);
  }
}
