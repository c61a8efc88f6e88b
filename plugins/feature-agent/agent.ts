import {
  type Cluster,
  type GantryError,
  type LiveRecord,
  type Logger,
  type Member,
  type Problem,
  pause,
  type Records,
  toGantryError,
} from '../../core/api.ts';
import type { Roll } from '../../core/parts.ts';
import type { Balancer, BalancerSettings, BalancerState } from '../../core/ports/index.ts';
import { balanced, type Desired, Fleet, type Known } from './fleet.ts';
import { fileIn, type Kept, readKept, writeKept } from './keep.ts';
import type { Presence } from './presence.ts';
import { reasonsOf } from './reasons.ts';
import { heldBy, type Rolls } from './roll.ts';
import { patient, settingsOf } from './settings.ts';

/** The record of the balancer that this agent looks after. */
export const BALANCER = { kind: 'balancer', name: 'main' } as const;

export interface AgentParts {
  readonly balancer: Balancer;
  readonly cluster: Cluster;
  readonly records: Records;
  readonly rolls: Rolls;
  readonly presence: Presence;
  readonly log: Logger;
  /** What the config says of the balancer, with all defaults. */
  readonly settings: BalancerSettings;
  readonly followMs: number;
  readonly forgetMs: number;
  /** The folder for what this process keeps. */
  readonly data: string;
  /** A rolling restart waits to be done, or to be gone on with. */
  onRoll(): void;
}

/** What the agent did and could not do. */
export interface Report {
  readonly applied: { readonly at: string; readonly how: string; readonly why: readonly string[] } | null;
  /** Settings that the program does not take; it goes on with the last good ones. */
  readonly refused: { readonly at: string; readonly message: string; readonly problems: readonly Problem[] } | null;
  /** Since when the balancer could not be changed, and why. */
  readonly failing: { readonly since: string; readonly message: string } | null;
  /** The version of the record that is in use; null where there is none. */
  readonly version: number | null;
}

interface Refused {
  readonly settings: string;
  readonly version: number | null;
  readonly at: Date;
  readonly error: GantryError;
  askedAt: number;
}

/** What was refused may be taken later: a certificate may have come. */
const ASK_AGAIN_MS = 30_000;
const RETRY_MS = { least: 500, most: 10_000 };

/**
 * Makes the balancer follow: who is there, what the records say of each server, and the balancer's own settings. One
 * change at a time. What cannot be asked stays as it is.
 */
export class Agent {
  readonly #parts: AgentParts;
  #fleet: Fleet;
  /** The last settings that the program took. */
  #good: BalancerSettings | null = null;
  #goodVersion: number | null = null;
  #applied: BalancerState | null = null;
  #lastChange: Report['applied'] = null;
  #refused: Refused | null = null;
  #failing: { since: Date; message: string; state: string; tries: number; againAt: number } | null = null;
  #told: string | null = null;
  #asked: (() => void) | null = null;

  constructor(parts: AgentParts) {
    this.#parts = parts;
    this.#fleet = new Fleet(parts.forgetMs);
  }

  get report(): Report {
    const refused = this.#refused;
    const failing = this.#failing;
    return {
      applied: this.#lastChange,
      refused:
        refused === null
          ? null
          : {
              at: refused.at.toISOString(),
              message: refused.error.message,
              problems: refused.error.problems ?? [],
            },
      failing: failing === null ? null : { since: failing.since.toISOString(), message: failing.message },
      version: this.#goodVersion,
    };
  }

  /** What holds without a record; secrets in the clear. */
  get configured(): BalancerSettings {
    return this.#parts.settings;
  }

  /** What the program works with now; secrets in the clear. */
  get settings(): BalancerSettings {
    return this.#good ?? this.#parts.settings;
  }

  /** What it would work with, had it these settings. */
  stateWith(settings: BalancerSettings): BalancerState {
    return this.#state(settings, new Set());
  }

  /** Looks now instead of soon. */
  wake(): void {
    this.#asked?.();
  }

  /** Follows until the signal fires. */
  async run(signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => this.wake(), { once: true });
    await this.#restore();
    while (!signal.aborted) {
      const woken = new AbortController();
      this.#asked = () => woken.abort();
      await this.#turn().catch((thrown: unknown) => this.#tell(toGantryError(thrown)));
      await pause(this.#parts.followMs, woken.signal).catch(() => {});
    }
  }

  async #restore(): Promise<void> {
    const { data, log, forgetMs } = this.#parts;
    const file = fileIn(data);
    try {
      const kept = await readKept(file);
      if (kept === null) return;
      this.#fleet = new Fleet(forgetMs, kept.servers);
      this.#good = kept.settings;
      log.info({ servers: kept.servers.map(({ name }) => name) }, 'starting with the state of last time');
    } catch (error) {
      log.warn({ file, error }, 'the state of last time cannot be read; the agent starts without it');
    }
  }

  async #turn(): Promise<void> {
    const { cluster, rolls, presence, records, onRoll } = this.#parts;
    const members = await cluster.members().catch(() => null);
    const roll = members === null ? null : await rolls.find().catch(() => null);
    this.#see(members);
    if (members !== null) await presence.tell(this.report);
    const isLoaded = records.status().source !== 'none';
    if (isLoaded) this.#fleet.desire((name) => desiredOf(records.find('server', name)));
    // Without records and without a state of last time nobody knows what the balancer is to be.
    if (isLoaded || this.#good !== null) await this.#follow(isLoaded, heldBy(roll));
    if (isOpen(roll)) onRoll();
  }

  #see(members: readonly Member[] | null): void {
    this.#fleet.see(members, performance.now());
  }

  async #follow(isLoaded: boolean, held: ReadonlySet<string>): Promise<void> {
    const { settings: configured, records } = this.#parts;
    const record = isLoaded ? records.find(BALANCER.kind, BALANCER.name) : null;
    const wanted = isLoaded || this.#good === null ? settingsOf(configured, record) : this.#good;
    const version = isLoaded ? (record?.version ?? null) : this.#goodVersion;
    const isRefused = await this.#isRefused(wanted);
    const settings = isRefused ? (this.#good ?? configured) : wanted;
    const state = this.#state(settings, held);
    if (JSON.stringify(state) === JSON.stringify(this.#applied)) {
      if (!isRefused) this.#goodVersion = version;
      return;
    }
    if (this.#isTooEarly(state) || (await this.#wouldEmpty(state))) return;
    await this.#apply(state, settings, isRefused ? this.#goodVersion : version, isRefused);
  }

  #state(settings: BalancerSettings, held: ReadonlySet<string>): BalancerState {
    const known = this.#fleet.list();
    const longestMs = Math.max(0, ...known.map((one) => one.longestMs));
    return {
      settings: patient(settings, longestMs),
      servers: known.map((one) => balanced(one, held.has(one.name))),
    };
  }

  async #apply(
    state: BalancerState,
    settings: BalancerSettings,
    version: number | null,
    fallen: boolean,
  ): Promise<void> {
    const { balancer, log } = this.#parts;
    const why = reasonsOf(this.#applied, state);
    try {
      const { how, steps } = await balancer.apply(state);
      this.#applied = state;
      this.#good = settings;
      this.#goodVersion = version;
      this.#lastChange = { at: new Date().toISOString(), how, why };
      if (this.#failing !== null) log.info({}, 'the balancer can be changed again');
      this.#failing = null;
      this.#told = null;
      log.info({ how, why, steps }, 'the balancer was changed');
      await this.#keep({ settings, servers: this.#fleet.list() });
    } catch (thrown) {
      const error = toGantryError(thrown);
      const isOwn = error.code === 'BALANCER_REFUSED' && !fallen && !same(settings, this.#good);
      if (isOwn) this.#refuse(settings, version, error);
      else this.#fail(state, error);
    }
  }

  /** These settings: the servers are looked after with the last good ones. */
  #refuse(settings: BalancerSettings, version: number | null, error: GantryError): void {
    this.#parts.log.error(
      { error, problems: error.problems, version },
      'the program does not take these settings; it goes on with the last good ones',
    );
    this.#refused = {
      ...{ settings: JSON.stringify(settings), version, at: new Date(), error },
      askedAt: performance.now(),
    };
    this.wake();
  }

  async #isRefused(wanted: BalancerSettings): Promise<boolean> {
    const refused = this.#refused;
    if (refused === null) return false;
    if (refused.settings !== JSON.stringify(wanted)) this.#refused = null;
    else if (performance.now() - refused.askedAt > ASK_AGAIN_MS) {
      refused.askedAt = performance.now();
      const problems = await this.#parts.balancer.check(this.stateWith(wanted)).catch(() => null);
      if (problems?.length === 0) this.#refused = null;
    }
    return this.#refused !== null;
  }

  #fail(state: BalancerState, error: GantryError): void {
    const { since = new Date(), tries = 0 } = this.#failing ?? {};
    const againMs = Math.min(RETRY_MS.most, RETRY_MS.least * 2 ** Math.min(tries, 10));
    this.#failing = {
      ...{ since, message: error.message, state: JSON.stringify(state), tries: tries + 1 },
      againAt: performance.now() + againMs,
    };
    this.#tell(error);
  }

  /** Once for each cause. */
  #tell(error: GantryError): void {
    if (this.#told === error.message) return;
    this.#told = error.message;
    this.#parts.log.error({ error, problems: error.problems }, 'the balancer could not be changed; it is tried again');
  }

  /** What failed waits; what is another state is tried at once. */
  #isTooEarly(state: BalancerState): boolean {
    const failing = this.#failing;
    return failing !== null && failing.state === JSON.stringify(state) && performance.now() < failing.againAt;
  }

  /** A program that serves has servers of its last time: this agent may know of none only because it is new. */
  async #wouldEmpty(state: BalancerState): Promise<boolean> {
    if (this.#applied !== null || state.servers.length > 0) return false;
    if (this.#fleet.answeringMs(performance.now()) > this.#parts.forgetMs) return false;
    const status = await this.#parts.balancer.status().catch(() => null);
    return status === null || (status.running && status.servers.length > 0);
  }

  async #keep(kept: Kept): Promise<void> {
    const { data, log } = this.#parts;
    await writeKept(fileIn(data), kept).catch((error: unknown) => {
      log.warn({ error, file: fileIn(data) }, 'the state cannot be kept; a start without the store would not know it');
    });
  }
}

function isOpen(roll: Roll | null): boolean {
  return roll !== null && roll.endedAt === null;
}

function desiredOf(record: LiveRecord | null): Desired {
  const { state = 'online', weight = 100 } = (record?.definition ?? {}) as Partial<Known>;
  return { state, weight };
}

function same(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
