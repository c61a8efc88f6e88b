import { GantryError, type Logger, toGantryError } from '../../core/api.ts';
import type { Fence, Lease, Leases, Renewal } from '../../core/ports/index.ts';
import type { Clock, DatabaseTime } from './clock.ts';

export interface HeldLeasesDeps {
  readonly leases: Leases;
  readonly clock: Clock;
  readonly time: DatabaseTime;
  readonly log: Logger;
  /** The name of this server. */
  readonly server: string;
  /** A unique name of this process: it changes with each start. */
  readonly instance: string;
  readonly beatMs: number;
  /** How long the lease of the scheduler lasts. */
  readonly leaseMs: number;
  /** How long the lease lasts that shows that this server, and so its runs, are alive. */
  readonly runLeaseMs: number;
  /** Why this server should not be the holder now; null if it may be. */
  standsBack(): string | null;
  /** Up to which moment all due times are accounted for; stored with the lease for the next holder. */
  mark(): number | null;
  /** This server is the holder from now on. `mark`: as the previous holder left it. */
  onHolding(mark: number | null): void;
  onLetGo(): void;
  /** The runs in flight no longer belong to this server. */
  onRunsLost(reason: GantryError): void;
  /** Called after each renewal with the leases that the database has. */
  onBeat(leases: readonly Lease[]): void;
}

interface Held {
  readonly holder: string;
  readonly epoch: number;
  /** From this steady time on this server does not rely on the lease, whatever the database says. */
  until: number;
}

/** A lease that is to be released, with the mark for the next holder. */
interface Given {
  readonly held: Held;
  readonly mark: number | null;
}

export const SCHEDULER = 'scheduler';
const RUN_LEASE_PREFIX = 'runner:';

/** The owner of runs that a lease belongs to; null for any other lease. */
export function ownerOf({ name }: Pick<Lease, 'name'>): string | null {
  return name.startsWith(RUN_LEASE_PREFIX) ? name.slice(RUN_LEASE_PREFIX.length) : null;
}
export function runLeaseName(owner: string): string {
  return `${RUN_LEASE_PREFIX}${owner}`;
}

/**
 * The leases of this server: the run lease, which shows that it is alive and owns its runs, and maybe the lease of the
 * scheduler. The server relies on a lease for less time than the database grants, counted on a monotonic clock from before
 * it asked. So it has stopped relying on the lease before another server can take it.
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
  /** When a holder was last seen, or this server started; steady time. */
  #watchedAt = Number.POSITIVE_INFINITY;
  #steps = 0;

  constructor(deps: HeldLeasesDeps) {
    this.#deps = deps;
  }

  get problem(): GantryError | null {
    return this.#problem;
  }
  /** The holder of the scheduler's lease, as last seen in the database. */
  get holder(): { readonly server: string; readonly epoch: number } | null {
    return this.#seen;
  }
  /** When a holder was last seen, by the database's time. */
  get heldAt(): number | null {
    return this.#seenAt;
  }
  /** For how many ms no holder was seen. */
  get vacantMs(): number {
    return this.#deps.clock.steady() - this.#watchedAt;
  }
  /** How often the database's clock was set, as far as this server noticed. */
  get steps(): number {
    return this.#steps;
  }

  /** The owner of this server's runs; null while it has no run lease. */
  get owner(): string | null {
    const held = this.#runLease;
    return held !== null && this.#deps.clock.steady() < held.until ? held.holder : null;
  }
  get isHolder(): boolean {
    const held = this.#schedulerLease;
    return held !== null && this.#deps.clock.steady() < held.until && this.owner !== null;
  }
  /** The mark that is stored with the lease. */
  get marked(): number | null {
    return this.#marked;
  }
  get epoch(): number {
    return this.#schedulerLease?.epoch ?? 0;
  }

  /** The fence for writes that only the holder may do. Throws LEASE_LOST if this server is not the holder. */
  fence(): Fence {
    const held = this.#schedulerLease;
    if (held === null || !this.isHolder) throw lost('the scheduler');
    return { lease: SCHEDULER, holder: held.holder, epoch: held.epoch };
  }
  /** The fence for writes that only the owner of its runs may do. Throws LEASE_LOST without a run lease. */
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
    // A beat in progress may take or renew the lease.
    await this.#beating;
    await this.#release(this.#surrender() ?? given);
  }
  #surrender(): Given | null {
    const held = this.#schedulerLease;
    if (held === null) return null;
    const mark = this.#deps.mark();
    this.#drop('it was released');
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
      log.debug({ error }, "the scheduler's lease could not be released; it will expire");
    }
  }

  /** A fence refused a write of this server as the holder. */
  refused(): void {
    if (this.#schedulerLease !== null) this.#drop('another server may have it');
  }

  /** Releases all leases. Call it after the runs have ended. */
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
      log.debug({ error }, 'the run lease could not be released; it will expire');
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
    // After a freeze the timers are late, so look at the clock first.
    this.#expire();
    try {
      await this.#live();
      const found = await this.#renew();
      if (this.#stopped) return;
      await this.#contend(found);
      if (this.#problem !== null) log.info({}, 'the scheduler reaches its database again');
      this.#problem = null;
      const [holder] = found.filter(({ name, remainingMs }) => name === SCHEDULER && remainingMs > 0);
      this.#see(this.isHolder ? { server: this.#deps.server, epoch: this.epoch } : (holder ?? null), time.now());
      onBeat(found);
    } catch (thrown) {
      const error = toGantryError(thrown);
      if (this.#problem === null)
        log.warn({ error }, 'the scheduler cannot renew its leases; it continues until they expire');
      this.#problem = error;
    }
    this.#watch();
  }

  /** Takes a run lease if there is none. After a lost one its name is new, since other servers decide on the runs of the old one. */
  async #live(): Promise<void> {
    if (this.#runLease !== null || this.#stopped) return;
    const { leases, clock, server, instance, runLeaseMs } = this.#deps;
    const holder = `${instance}.${++this.#lives}`;
    const askedAt = clock.steady();
    const { epoch } = await leases.take(runLeaseName(holder), { holder, server }, runLeaseMs);
    this.#runLease = { holder, epoch, until: askedAt + reliedOnMs(runLeaseMs) };
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
      log.warn({ stepMs: step }, 'the clock of the database was set; due times follow it');
    }
    if (runner !== null && runner === this.#runLease) {
      if (isHeld(found.leases, runLeaseName(runner.holder), runner)) runner.until = askedAt + reliedOnMs(runLeaseMs);
      else this.#loseRuns();
    }
    if (scheduler !== null && scheduler === this.#schedulerLease) {
      if (isHeld(found.leases, SCHEDULER, scheduler)) {
        scheduler.until = askedAt + reliedOnMs(leaseMs);
        this.#marked = mark ?? this.#marked;
      } else this.#drop('another server has it');
    }
    // The answer may have come too late.
    this.#expire();
    return found.leases;
  }

  /** Becomes the holder if there is none and nothing speaks against it; otherwise releases the lease. */
  async #contend(found: readonly Lease[]): Promise<void> {
    const { leases, clock, server, instance, leaseMs, standsBack, onHolding, log } = this.#deps;
    if (standsBack() !== null) return this.#release(this.#surrender());
    const runner = this.#runLease;
    if (this.#schedulerLease !== null || runner === null || this.owner === null || this.#stopped) return;
    const kept = found.find(({ name }) => name === SCHEDULER);
    if (kept !== undefined && kept.remainingMs > 0) {
      if (!kept.holder.startsWith(`${instance}.`)) return;
      // This server held it and dropped it. Writes that are still on their way must not match the new epoch.
      await leases.release(SCHEDULER, kept.holder, kept.epoch);
    }
    const askedAt = clock.steady();
    const holder = `${runner.holder}.${++this.#takes}`;
    const taken = await leases.take(SCHEDULER, { holder, server }, leaseMs);
    if (taken.holder !== holder || this.#runLease !== runner) return;
    const held = { holder, epoch: taken.epoch, until: askedAt + reliedOnMs(leaseMs) };
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

  /** Drops the leases that could not be renewed in time. */
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

/** How long a server relies on a lease: less than the database grants, as two clocks may run at different speeds. */
function reliedOnMs(forMs: number): number {
  return forMs - Math.min(1000, forMs / 5);
}

function lost(what: string): GantryError {
  return new GantryError(
    'LEASE_LOST',
    `This server has lost its lease of ${what}; another server may have taken over`,
    {
      hint: 'Its database did not answer in time, or the process did not run for a while. Its runs in flight were aborted; the history of the job shows what became of them.',
    },
  );
}
