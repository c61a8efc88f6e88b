import {
  type Fence,
  GantryError,
  type Lease,
  type Leases,
  type Logger,
  type Renewal,
  toGantryError,
} from '../../core/api.ts';
import type { Clock, DatabaseTime } from './clock.ts';

export interface HeldLeasesDeps {
  readonly leases: Leases;
  readonly clock: Clock;
  readonly time: DatabaseTime;
  readonly log: Logger;
  /** The name of this server. */
  readonly server: string;
  /** Another one with each start. */
  readonly instance: string;
  readonly beatMs: number;
  /** Of the scheduler. */
  readonly leaseMs: number;
  /** That shows that the runs of this server are alive. */
  readonly runLeaseMs: number;
  /** Why this server should not be the holder now; null: it may. */
  standsBack(): string | null;
  /** What who holds it next should know. */
  mark(): number | null;
  /** It is the holder from now on. `mark`: what the one before left. */
  onHolding(mark: number | null): void;
  onLetGo(): void;
  /** The runs in hand are not this server's any more. */
  onRunsLost(reason: GantryError): void;
  /** After each look at the database. */
  onBeat(leases: readonly Lease[]): void;
}

interface Held {
  readonly holder: string;
  readonly epoch: number;
  /** Steady time: not held from then on, whatever the database says. */
  until: number;
}

/** A lease that is given away, with what who takes it next should know. */
interface Given {
  readonly held: Held;
  readonly mark: number | null;
}

export const SCHEDULER = 'scheduler';
const RUN_LEASE_PREFIX = 'runner:';

/** Whose runs a lease is for; null: it is another one. */
export function ownerOf({ name }: Pick<Lease, 'name'>): string | null {
  return name.startsWith(RUN_LEASE_PREFIX) ? name.slice(RUN_LEASE_PREFIX.length) : null;
}
export function runLeaseName(owner: string): string {
  return `${RUN_LEASE_PREFIX}${owner}`;
}

/**
 * What this server holds: one lease that shows that it is alive, without which its runs are others', and maybe the
 * scheduler's. Each is believed for less time than the database gives it, counted from before it was asked, on a clock
 * that nobody sets: so who takes it next cannot have it before this server has let go.
 */
export class HeldLeases {
  readonly #deps: HeldLeasesDeps;
  #runLease: Held | null = null;
  #schedulerLease: Held | null = null;
  #lives = 0;
  #takes = 0;
  #marked: number | null = null;
  #beating: Promise<void> | null = null;
  #cancelBeat: () => void = () => {};
  #cancelWatch: () => void = () => {};
  #stopped = true;
  #problem: GantryError | null = null;
  #seen: { readonly server: string; readonly epoch: number } | null = null;
  #seenAt: number | null = null;
  /** When somebody was seen to hold it, or this server began to look. */
  #watchedAt = Number.POSITIVE_INFINITY;
  #steps = 0;

  constructor(deps: HeldLeasesDeps) {
    this.#deps = deps;
  }

  get problem(): GantryError | null {
    return this.#problem;
  }
  /** Who has the scheduler's lease, as it was last seen. */
  get holder(): { readonly server: string; readonly epoch: number } | null {
    return this.#seen;
  }
  /** When somebody was last seen to hold it, by the database's time. */
  get heldAt(): number | null {
    return this.#seenAt;
  }
  /** For how long nobody was seen to hold it, since this server looks. */
  get vacantMs(): number {
    return this.#deps.clock.steady() - this.#watchedAt;
  }
  /** How often the clock of the database was set, as far as it was seen. */
  get steps(): number {
    return this.#steps;
  }

  /** Whose its runs are; null while it has no lease that shows that it is alive. */
  get owner(): string | null {
    const held = this.#runLease;
    return held !== null && this.#deps.clock.steady() < held.until ? held.holder : null;
  }
  get isHolder(): boolean {
    const held = this.#schedulerLease;
    return held !== null && this.#deps.clock.steady() < held.until && this.owner !== null;
  }
  /** What whoever holds it next would be told, as far as that is kept. */
  get marked(): number | null {
    return this.#marked;
  }
  get epoch(): number {
    return this.#schedulerLease?.epoch ?? 0;
  }

  /** What may only be done as the holder. Throws LEASE_LOST. */
  fence(): Fence {
    const held = this.#schedulerLease;
    if (held === null || !this.isHolder) throw lost('the scheduler');
    return { lease: SCHEDULER, holder: held.holder, epoch: held.epoch };
  }
  /** What may only be done while its runs are its own. Throws LEASE_LOST. */
  ownFence(): Fence {
    const held = this.#runLease;
    if (held === null || this.owner === null) throw lost('its runs');
    return { lease: runLeaseName(held.holder), holder: held.holder, epoch: held.epoch };
  }

  start(): void {
    this.#stopped = false;
    this.#watchedAt = this.#deps.clock.steady();
    this.#beatAfter(0);
  }

  /** Looks now; resolves once that is done, however it went. */
  async beat(): Promise<void> {
    this.#cancelBeat();
    await this.#beating;
    if (!this.#stopped && this.#beating === null) this.#run();
    await this.#beating;
  }

  /** Gives the scheduler's lease away, so that another server has it at once. */
  async letGo(): Promise<void> {
    const given = this.#surrender();
    // What is under way may take it, or hold it again.
    await this.#beating;
    await this.#release(this.#surrender() ?? given);
  }
  #surrender(): Given | null {
    const held = this.#schedulerLease;
    if (held === null) return null;
    const mark = this.#deps.mark();
    this.#drop('it was given away');
    return { held, mark };
  }
  async #release(given: Given | null): Promise<void> {
    if (given === null) return;
    const { held, mark } = given;
    const { leases, log } = this.#deps;
    try {
      if (mark !== null) await leases.renew([{ ...this.#renewal(SCHEDULER, held, this.#deps.leaseMs), mark }]);
      await leases.release(SCHEDULER, held.holder, held.epoch);
    } catch (error) {
      log.debug({ error }, "the scheduler's lease is left to end by itself");
    }
  }

  /** What was found is not this server's any more: a fence said so. */
  refused(): void {
    if (this.#schedulerLease !== null) this.#drop('another server may have it');
  }

  /** Ends all; its runs must have ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancelBeat();
    await this.letGo();
    await this.#beating;
    this.#cancelWatch();
    const held = this.#runLease;
    this.#runLease = null;
    if (held === null) return;
    const { leases, log } = this.#deps;
    try {
      await leases.release(runLeaseName(held.holder), held.holder, held.epoch);
      await leases.remove(runLeaseName(held.holder), held.holder);
    } catch (error) {
      log.debug({ error }, 'the lease of the runs is left to end by itself');
    }
  }

  #beatAfter(ms: number): void {
    this.#cancelBeat();
    if (!this.#stopped) this.#cancelBeat = this.#deps.clock.after(ms, () => this.#run());
  }

  #run(): void {
    const { clock, beatMs } = this.#deps;
    const startedAt = clock.steady();
    this.#beating ??= this.#beat().finally(() => {
      this.#beating = null;
      this.#beatAfter(Math.max(beatMs / 10, beatMs - (clock.steady() - startedAt)));
    });
  }

  async #beat(): Promise<void> {
    const { log, onBeat, time } = this.#deps;
    // A process that slept does not go by timers that are late.
    this.#expire();
    try {
      await this.#live();
      const found = await this.#renew();
      if (this.#stopped) return;
      await this.#stand(found);
      if (this.#problem !== null) log.info({}, 'the scheduler has its database again');
      this.#problem = null;
      const [holder] = found.filter(({ name, remainingMs }) => name === SCHEDULER && remainingMs > 0);
      this.#see(this.isHolder ? { server: this.#deps.server, epoch: this.epoch } : (holder ?? null), time.now());
      onBeat(found);
    } catch (thrown) {
      const error = toGantryError(thrown);
      if (this.#problem === null)
        log.warn({ error }, 'the scheduler cannot renew its leases; it goes on while they last');
      this.#problem = error;
    }
    this.#watch();
  }

  /** The lease that shows that it is alive, a new one after one was lost: what that one's runs were is decided elsewhere. */
  async #live(): Promise<void> {
    if (this.#runLease !== null || this.#stopped) return;
    const { leases, clock, server, instance, runLeaseMs } = this.#deps;
    const holder = `${instance}.${++this.#lives}`;
    const askedAt = clock.steady();
    const { epoch } = await leases.take(runLeaseName(holder), { holder, server }, runLeaseMs);
    this.#runLease = { holder, epoch, until: askedAt + believed(runLeaseMs) };
  }

  async #renew(): Promise<readonly Lease[]> {
    const { leases, clock, time, leaseMs, runLeaseMs, log } = this.#deps;
    const [runner, scheduler] = [this.#runLease, this.#schedulerLease];
    const renewals: Renewal[] = [];
    if (runner !== null) renewals.push(this.#renewal(runLeaseName(runner.holder), runner, runLeaseMs));
    const mark = this.#deps.mark();
    if (scheduler !== null) renewals.push({ ...this.#renewal(SCHEDULER, scheduler, leaseMs), mark });
    const askedAt = clock.steady();
    const found = await leases.renew(renewals);
    const step = time.sync(found.now, askedAt, clock.steady());
    if (step !== 0) {
      this.#steps++;
      log.warn({ stepMs: step }, 'the clock of the database was set: what is due goes by it');
    }
    if (runner !== null && runner === this.#runLease) {
      if (isHeld(found.leases, runLeaseName(runner.holder), runner)) runner.until = askedAt + believed(runLeaseMs);
      else this.#loseRuns();
    }
    if (scheduler !== null && scheduler === this.#schedulerLease) {
      if (isHeld(found.leases, SCHEDULER, scheduler)) {
        scheduler.until = askedAt + believed(leaseMs);
        this.#marked = mark ?? this.#marked;
      } else this.#drop('another server has it');
    }
    // An answer may come when it is too late.
    this.#expire();
    return found.leases;
  }

  /** Becomes the holder where nobody is, and it may; lets go where it may not. */
  async #stand(found: readonly Lease[]): Promise<void> {
    const { leases, clock, server, instance, leaseMs, standsBack, onHolding, log } = this.#deps;
    if (standsBack() !== null) return this.#release(this.#surrender());
    const runner = this.#runLease;
    if (this.#schedulerLease !== null || runner === null || this.owner === null || this.#stopped) return;
    const kept = found.find(({ name }) => name === SCHEDULER);
    if (kept !== undefined && kept.remainingMs > 0) {
      if (!kept.holder.startsWith(`${instance}.`)) return;
      // It was this server's, which let go of it: what it asked for then and is not done yet must be of another epoch.
      await leases.release(SCHEDULER, kept.holder, kept.epoch);
    }
    const askedAt = clock.steady();
    const holder = `${runner.holder}.${++this.#takes}`;
    const taken = await leases.take(SCHEDULER, { holder, server }, leaseMs);
    if (taken.holder !== holder || this.#runLease !== runner) return;
    const held = { holder, epoch: taken.epoch, until: askedAt + believed(leaseMs) };
    if (this.#stopped || standsBack() !== null) return this.#release({ held, mark: null });
    this.#schedulerLease = held;
    this.#marked = taken.mark;
    log.info({ epoch: taken.epoch }, 'this server runs the scheduler now');
    onHolding(taken.mark);
  }

  #renewal(name: string, { holder, epoch }: Held, forMs: number): Renewal {
    return { name, holder, epoch, forMs, mark: null };
  }

  #see(holder: { readonly server: string; readonly epoch: number } | null, now: number): void {
    this.#seen = holder === null ? null : { server: holder.server, epoch: holder.epoch };
    if (holder === null) return;
    this.#seenAt = now;
    this.#watchedAt = this.#deps.clock.steady();
  }

  /** Lets go of what could not be renewed in time. */
  #expire(): void {
    const now = this.#deps.clock.steady();
    if (this.#schedulerLease !== null && now >= this.#schedulerLease.until)
      this.#drop('it could not be renewed in time');
    if (this.#runLease !== null && now >= this.#runLease.until) this.#loseRuns();
  }

  #watch(): void {
    this.#cancelWatch();
    const untils = [this.#schedulerLease, this.#runLease].flatMap((held) => (held === null ? [] : [held.until]));
    if (untils.length === 0 || this.#stopped) return;
    const { clock } = this.#deps;
    this.#cancelWatch = clock.after(Math.max(0, Math.min(...untils) - clock.steady()) + 1, () => {
      this.#expire();
      this.#watch();
    });
  }

  #drop(reason: string): void {
    this.#schedulerLease = null;
    this.#deps.log.info({ reason }, 'this server runs the scheduler no longer');
    this.#deps.onLetGo();
  }

  #loseRuns(): void {
    this.#runLease = null;
    if (this.#schedulerLease !== null) this.#drop('this server could not show that it is alive');
    this.#deps.onRunsLost(lost('its runs'));
  }
}

function isHeld(leases: readonly Lease[], name: string, held: Held): boolean {
  const found = leases.find((lease) => lease.name === name);
  return found?.holder === held.holder && found.epoch === held.epoch && found.remainingMs > 0;
}

/** Ends before the lease does, by what two clocks may differ in going. */
function believed(forMs: number): number {
  return forMs - Math.min(1000, forMs / 5);
}

function lost(what: string): GantryError {
  return new GantryError('LEASE_LOST', `This server has lost its lease of ${what}: another may have taken over`, {
    hint: 'Its database did not answer in time, or the process did not run for a while. What it has in hand is ended; what comes of it is told by the runs of the job.',
  });
}
