import type { ServiceStats } from '../ports/stats.ts';
import { ServiceMeter } from './meter.ts';
import type { Tally } from './tally.ts';

/** Where services beyond the limit are counted together. */
export const OTHER = '(other)';

/** A meter for each service, in the order of first use, and at most so many; the rest is counted as `OTHER`. */
export class Meters {
  readonly #maxServices: number;
  readonly #full: (service: string) => void;
  readonly #meters = new Map<string, ServiceMeter>();
  #named = 0;
  #isFull = false;

  /** `full` is told the first service for which there is no meter of its own any more. */
  constructor(maxServices: number, full: (service: string) => void) {
    this.#maxServices = maxServices;
    this.#full = full;
  }

  /** The same name gives the same meter. */
  get(service: string): ServiceMeter {
    const known = this.#meters.get(service);
    if (known !== undefined) return known;
    if (service === OTHER) return this.#add(OTHER);
    if (this.#named === this.#maxServices) return this.#overflow(service);
    this.#named++;
    return this.#add(service);
  }

  /** Everything since the start. */
  snapshot(): readonly ServiceStats[] {
    return Array.from(this.#meters.values(), (meter) => meter.snapshot());
  }

  /** What was recorded since it was last taken, of those services where that is something. */
  take(): readonly (readonly [service: string, tally: Tally])[] {
    const taken: (readonly [string, Tally])[] = [];
    for (const meter of this.#meters.values()) {
      const tally = meter.take();
      if (tally !== null) taken.push([meter.service, tally]);
    }
    return taken;
  }

  #add(service: string): ServiceMeter {
    const made = new ServiceMeter(service);
    this.#meters.set(service, made);
    return made;
  }

  #overflow(service: string): ServiceMeter {
    if (!this.#isFull) this.#full(service);
    this.#isFull = true;
    return this.#meters.get(OTHER) ?? this.#add(OTHER);
  }
}
