import type { Period } from '../../core/parts.ts';

/** Of what is written: another form of it, e.g. of the buckets, gets another number, and does not meet the old one. */
const FORM = 1;
/** How much of `2026-01-31T23:59` a period shows. */
const SHOWN: Readonly<Record<Period, number>> = { minute: 16, hour: 13, day: 10, month: 7 };

/** Where things are in Redis. What one script touches has the same braces: a Redis Cluster keeps it on one node. */
export class Keys {
  readonly #prefix: string;
  /** The last one of each granularity: thousands of keys differ in their service alone. */
  readonly #shown = new Map<Period, { readonly begin: number; readonly text: string }>();

  constructor(prefix: string) {
    this.#prefix = `${prefix}stats:${FORM}:`;
  }

  /** A hash: the calls of a service in a period. */
  period(per: Period, begin: number, service: string): string {
    return `${this.#prefix}{${braced(service)}}:${per}:${this.#show(per, begin)}`;
  }
  /** A set: the services that were called in a period. */
  services(per: Period, begin: number): string {
    return `${this.#prefix}services:${per}:${this.#show(per, begin)}`;
  }
  /** A sorted set: the slowest calls of a service on a day, by ms. */
  slow(day: number, service: string): string {
    return `${this.#prefix}{${braced(service)}}:slow:${this.#show('day', day)}`;
  }
  /** The same, of all services. */
  slowest(day: number): string {
    return `${this.#prefix}slow:${this.#show('day', day)}`;
  }

  #show(per: Period, begin: number): string {
    const known = this.#shown.get(per);
    if (known?.begin === begin) return known.text;
    const text = new Date(begin).toISOString().slice(0, SHOWN[per]);
    this.#shown.set(per, { begin, text });
    return text;
  }
}

/** A text that ends at no brace of its own, and is never empty: Redis looks for the first pair. */
function braced(service: string): string {
  return service === '' ? '%' : service.replace(/[%{}]/g, (character) => `%${character.charCodeAt(0).toString(16)}`);
}
