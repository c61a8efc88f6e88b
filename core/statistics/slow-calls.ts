import type { Call, Reply } from '../call.ts';
import type { Hooks } from '../hooks.ts';
import type { SlowCall } from '../ports/stats.ts';

export interface SlowCallsOptions {
  /** This server's name. */
  readonly server: string;
  /** From here on a call is slow. */
  readonly slowMs: number;
  /** Where it is another limit, by service. */
  readonly slowMsByService: Readonly<Record<string, number>>;
  /** For each service: the slowest so many. 0: none. */
  readonly kept: number;
}

/** In all: a server on which everything is slow must not run out of memory for it. */
const MOST = 5000;
/** A caller may send an id of any length. */
const LONGEST = 200;

/** The slowest calls that came through channels, a few for each service. */
export class SlowCalls {
  readonly #options: SlowCallsOptions;
  readonly #limits: ReadonlyMap<string, number>;
  readonly #leastMs: number;
  /** By service; of each, the slowest first. */
  readonly #kept = new Map<string, SlowCall[]>();
  /** The service behind each channel. */
  readonly #services = new Map<string, string>();
  #size = 0;

  constructor(options: SlowCallsOptions) {
    this.#options = options;
    this.#limits = new Map(Object.entries(options.slowMsByService));
    this.#leastMs = Math.min(options.slowMs, ...this.#limits.values());
  }

  /** Taps what it needs to see of calls, in the name of a plugin; nothing where none is kept. */
  watch(plugin: string, hooks: Hooks): void {
    if (this.#options.kept === 0) return;
    hooks.channelBound.tap(plugin, ({ name, contract }) => void this.#services.set(name, contract.name));
    hooks.channelUnbound.tap(plugin, ({ name }) => void this.#services.delete(name));
    hooks.done.tap(plugin, (call, reply, ms) => {
      if (ms >= this.#leastMs) this.#see(call, reply, ms);
    });
  }

  add(call: SlowCall): void {
    const { kept } = this.#options;
    const list = this.#kept.get(call.service) ?? [];
    const isFull = list.length >= kept || this.#size >= MOST;
    if (isFull && !(call.ms > (list.at(-1)?.ms ?? Number.POSITIVE_INFINITY))) return;
    if (isFull) list.pop();
    else this.#size++;
    const at = list.findIndex(({ ms }) => ms < call.ms);
    list.splice(at === -1 ? list.length : at, 0, call);
    this.#kept.set(call.service, list);
  }

  /** The slowest first, of one service or of all. */
  list(limit: number, service?: string): readonly SlowCall[] {
    const all = service === undefined ? [...this.#kept.values()].flat() : [...(this.#kept.get(service) ?? [])];
    return all.sort((one, other) => other.ms - one.ms).slice(0, limit);
  }

  /** Hands over all, and begins anew. */
  take(): readonly SlowCall[] {
    const all = [...this.#kept.values()].flat();
    this.#kept.clear();
    this.#size = 0;
    return all;
  }

  /** Forgets those that ended before that moment, in ms since the Unix epoch. */
  forget(beforeMs: number): void {
    for (const call of this.take()) if (call.at.getTime() >= beforeMs) this.add(call);
  }

  #see({ channel, cid }: Call, { outcome }: Reply, ms: number): void {
    const service = this.#services.get(channel);
    // Its channel was unbound meanwhile.
    if (service === undefined) return;
    const { slowMs, server } = this.#options;
    if (ms < (this.#limits.get(service) ?? slowMs)) return;
    this.add({ service, server, channel, cid: cid.slice(0, LONGEST), at: new Date(), ms, outcome });
  }
}
