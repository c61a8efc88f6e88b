import { GantryError, type Logger, type Records, toGantryError } from '../../core/api.ts';
import type { Job, Timetable } from '../../core/parts.ts';
import type { Attempt, Fence, Lease, Leases, Pool, RunKey, Runs } from '../../core/ports/index.ts';
import type { Clock, DatabaseTime } from './clock.ts';
import type { Counters } from './counters.ts';
import type { Decision } from './decisions.ts';
import { decideAll } from './decisions.ts';
import { Housekeeping } from './housekeeping.ts';
import { type HeldLeases, ownerOf } from './leases.ts';
import { OpenRuns } from './open-runs.ts';
import { type DueTimes, type Entry, Plan, tokenOf } from './plan.ts';
import { reap } from './reaper.ts';
import { attemptOf } from './run-data.ts';
import type { Sequel } from './sequel.ts';
import { expiredSince, FRESH_MS, fromOf, fromOfChanged, handledSince, inSlices } from './takeover.ts';
import type { Worker } from './worker.ts';

export interface LeadershipDeps {
  readonly runs: Runs;
  readonly leases: Leases;
  readonly records: Pick<Records, 'find' | 'remove'>;
  readonly timetable: Timetable;
  readonly heldLeases: HeldLeases;
  readonly worker: Worker;
  readonly time: DatabaseTime;
  readonly clock: Clock;
  readonly counters: Counters;
  readonly log: Logger;
  readonly keepMs: number;
  readonly keepDeadMs: number;
  readonly keepRuns: number;
  /** Whether all jobs are paused. */
  isPaused(): boolean;
  /** There may be runs for other servers to take. */
  onOffered(): void;
  onDecided(job: Job, decision: Decision): void;
}

const AGAIN_MS = 250;
/** How many jobs are decided on in one transaction. */
const PORTION = 500;
const REAP_BEATS = 30;
const QUIET_MS = 5000;
/** How often the open runs are read, in case a hint was lost. */
const LOOK_BEATS = 5;
const MOST_OPEN = 100_000;

/** One period as the holder: finds the due times, decides on them, and ends the runs of dead servers. */
export class Leadership {
  readonly plan = new Plan();
  readonly #deps: LeadershipDeps;
  readonly #openRuns = new OpenRuns();
  readonly #housekeeping: Housekeeping;
  #over = false;
  #ready = false;
  #deciding: readonly DueTimes[] = [];
  #working: Promise<void> | null = null;
  #tending: Promise<void> | null = null;
  #again = false;
  #mustLook = false;
  /** A write that was reported as failed may have committed, or may still commit. */
  #mustRecall = false;
  #reapIn = 0;
  /** How often the database's clock had been set when that was last looked at. */
  #steps = 0;
  /** Until this steady time no server is considered dead. */
  #quietUntil = Number.NEGATIVE_INFINITY;
  #lookIn = LOOK_BEATS;
  /** Jobs that were added, changed or removed, and that the plan does not reflect yet. */
  readonly #changed = new Set<string>();
  /** Up to when previous holders have decided, by job; it may name jobs that this server does not know yet. */
  #handled: ReadonlyMap<string, number> = new Map();
  #cancelTimer: () => void = () => {};
  #mark = 0;
  #isFailing = false;

  constructor(deps: LeadershipDeps) {
    this.#deps = deps;
    this.#steps = deps.heldLeases.steps;
    this.#housekeeping = new Housekeeping(deps);
  }

  get isReady(): boolean {
    return this.#ready && !this.#over;
  }
  get mark(): number | null {
    if (!this.#ready) return null;
    this.#mark = Math.max(this.#mark, this.plan.mark(this.#deps.time.now(), this.#deciding));
    return this.#mark;
  }

  /** Takes over from the previous holder, and retries until that succeeds or the leadership ends. */
  async begin(mark: number | null): Promise<void> {
    const { log, heldLeases, counters } = this.#deps;
    while (!this.#over) {
      try {
        if (!(await this.#takeOver(mark))) return;
        this.#ready = true;
        counters.tookOver();
        log.info({ jobs: this.plan.size, epoch: heldLeases.epoch }, 'the jobs are planned');
        return this.#poke();
      } catch (thrown) {
        log.warn({ error: toGantryError(thrown) }, 'the scheduler cannot take over yet');
        await new Promise<void>((resolve) => void this.#deps.clock.after(AGAIN_MS, resolve));
      }
    }
  }
  end(): void {
    this.#over = true;
    this.#cancelTimer();
  }
  onJob(name: string): void {
    // The first plan looks at all jobs anyway.
    if (!this.#ready) return;
    this.#housekeeping.keep(name);
    this.#changed.add(name);
    this.#poke();
  }

  onEnded({ job, token, service }: Pick<Attempt, 'job' | 'token' | 'service'>, { final }: Sequel): void {
    this.#housekeeping.ended(job, service);
    if (job === null || !final) return;
    this.#openRuns.end(job, token);
    if (this.#openRuns.queued(job) > 0 || this.#housekeeping.isDone(job)) this.#poke();
  }

  onBeat(leases: readonly Lease[]): void {
    const { heldLeases, clock } = this.#deps;
    if (heldLeases.steps !== this.#steps) {
      this.#steps = heldLeases.steps;
      // Every lease looks expired until its owner has renewed it.
      this.#quietUntil = clock.steady() + QUIET_MS;
    }
    const dead = leases.some((lease) => ownerOf(lease) !== null && lease.remainingMs <= 0);
    this.#reapIn--;
    if (dead) this.#reapIn = 0;
    if (clock.steady() < this.#quietUntil) this.#reapIn = Math.max(1, this.#reapIn);
    if (--this.#lookIn <= 0 || this.#openRuns.hasOthers(this.#deps.worker.inFlight)) this.#mustLook = true;
    this.#poke();
  }

  look(): void {
    this.#mustLook = true;
    this.#poke();
  }
  #poke(): void {
    if (!this.#ready || this.#over) return;
    this.#again = true;
    this.#working ??= this.#work().finally(() => {
      this.#working = null;
      if (this.#again) this.#poke();
    });
  }

  /** False: the leadership has ended meanwhile. */
  async #takeOver(mark: number | null): Promise<boolean> {
    const { runs, timetable, time, clock, log } = this.#deps;
    this.#handled = await handledSince(runs, mark);
    await runs.end(await expiredSince(this.#deps, mark, time.now()), null, this.#fence());
    await this.#look();
    if (this.#over) return false;
    // Even if the clock was set back, due times before the mark stay accounted for.
    this.#mark = mark ?? 0;
    const plan = (name: string) => {
      const job = timetable.get(name);
      if (!job?.active) return;
      try {
        this.#put(job, Math.max(fromOf(job, mark, time.now()), this.#handled.get(name) ?? 0));
      } catch (error) {
        log.error({ job: name, error }, 'a job cannot be planned');
      }
    };
    await inSlices(timetable.names(), clock, plan, () => this.#over);
    // Jobs that changed while the plan was made.
    for (const { job } of this.plan.entries()) if (timetable.get(job.name) !== job) this.#changed.add(job.name);
    for (const name of timetable.names()) if (this.plan.find(name) === null) this.#changed.add(name);
    return !this.#over;
  }

  #applyChanges(): void {
    const { timetable, time, log } = this.#deps;
    const now = time.now();
    for (const name of this.#changed) {
      this.#changed.delete(name);
      const job = timetable.get(name);
      const before = this.plan.find(name);
      this.plan.drop(name);
      this.#housekeeping.keep(name);
      if (!job?.active) continue;
      try {
        this.#put(job, Math.max(fromOfChanged(job, before, now), this.#handled.get(name) ?? 0));
      } catch (error) {
        // One bad job must not stop the others.
        log.error({ job: name, error }, 'a job cannot be planned');
      }
    }
  }

  #put(job: Job, from: number): void {
    const entry = this.plan.put(job, from);
    if (entry.due === null && job.removeWhenDone) this.#housekeeping.done(job.name);
  }
  #settle(entry: Entry, until: number): void {
    this.plan.settle(entry, until);
    if (entry.due === null && entry.job.removeWhenDone) this.#housekeeping.done(entry.job.name);
  }

  /** Works in rounds, one at a time, so that each decision sees the result of the one before. */
  async #work(): Promise<void> {
    const { heldLeases, log, worker } = this.#deps;
    this.#cancelTimer();
    try {
      while (this.#again && !this.#over) {
        this.#again = false;
        // The lease has expired, and the timer for that is late.
        if (!heldLeases.isHolder) return;
        await this.#round();
      }
      this.#isFailing = false;
    } catch (thrown) {
      if (this.#over) return;
      const error = toGantryError(thrown);
      if (error.code === 'LEASE_LOST') return heldLeases.refused();
      if (!this.#isFailing) log.warn({ error }, 'due jobs cannot be started now; retrying');
      this.#isFailing = true;
      this.#mustLook = true;
      this.#mustRecall = true;
      worker.doubt();
      void worker.poll();
      return this.#wait(AGAIN_MS);
    }
    const ready = this.#over ? null : this.plan.nextReady();
    if (ready !== null) this.#wait(ready - this.#deps.time.now());
  }
  async #round(): Promise<void> {
    this.#applyChanges();
    if (this.#mustRecall) await this.#recall();
    if (this.#mustLook) await this.#look();
    if (this.#reapIn <= 0) await this.#reap();
    while (!this.#over && (await this.#decide()));
    await this.#release();
    this.#tend();
  }

  /** Housekeeping runs beside the rounds, as it may take long. */
  #tend(): void {
    const { heldLeases, log } = this.#deps;
    const work = async () => {
      await this.#housekeeping.finish((name) => this.#over || this.#changed.has(name) || this.#openRuns.isOpen(name));
      if (!this.#over) await this.#housekeeping.forget(Math.max(0, (heldLeases.marked ?? 0) - FRESH_MS));
    };
    this.#tending ??= work()
      .catch((error: unknown) => log.debug({ error }, 'housekeeping failed; it is retried later'))
      .finally(() => {
        this.#tending = null;
      });
  }
  #wait(ms: number): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#deps.clock.after(Math.max(1, ms), () => this.#poke());
  }

  /** Throws LEASE_LOST. */
  #fence(): Fence {
    if (this.#over) throw new GantryError('LEASE_LOST', 'This server is no longer the holder');
    return this.#deps.heldLeases.fence();
  }

  /** Decides on jobs that are due; true: there may be more. */
  async #decide(): Promise<boolean> {
    const { time, isPaused, runs, worker } = this.#deps;
    const now = time.now();
    const due = this.plan.take(now, PORTION);
    if (due.length === 0) return false;
    if (isPaused()) {
      for (const { entry, until } of due) this.#settle(entry, until);
      return true;
    }
    const { decided, settled, left } = decideAll(due, {
      now,
      openRuns: this.#openRuns,
      free: worker.free,
      by: worker.asRunner(),
    });
    for (const { entry } of left) this.plan.putBack(entry);
    this.#deciding = due.filter((one) => !left.includes(one));
    const rows = decided.map(({ row }) => row);
    try {
      const added = new Set((await runs.add(rows, this.#fence())).map(({ token }) => token));
      const own = rows.filter(({ token }) => added.has(token));
      for (const { job, decision } of decided) this.#note(job, decision, added);
      for (const { entry, until } of settled) this.#settle(entry, until);
      worker.admit(own.flatMap((row) => (row.by === null ? [] : [attemptOf({ ...row, by: row.by })])));
      if (own.some(({ by, outcome, pool }) => by === null && outcome === null && pool !== 'queue')) this.#offer();
      return true;
    } catch (error) {
      for (const { entry } of settled) this.plan.putBack(entry);
      throw error;
    } finally {
      this.#deciding = [];
    }
  }

  #note(job: Job, decision: Decision, added: ReadonlySet<string>): void {
    const { action, dueAt } = decision;
    const token = tokenOf(job.name, dueAt);
    if (!added.has(token)) return;
    if (action === 'run') this.#openRuns.begin(job.name, token);
    else if (action === 'queue') this.#openRuns.queue({ job: job.name, token, attempt: 1, dueAt });
    else this.#deps.onDecided(job, decision);
    this.#housekeeping.ended(job.name, job.service);
  }

  #offer(): void {
    this.#deps.onOffered();
    void this.#deps.worker.poll();
  }

  /** Starts firings that waited for the previous run of their job. */
  async #release(): Promise<void> {
    const { runs, worker, timetable } = this.#deps;
    const released = this.#openRuns.release(PORTION);
    if (released.length === 0) return;
    const here = released.filter(({ job }) => timetable.get(job)?.runsOn !== 'any').slice(0, worker.free);
    const others = released.filter((one) => !here.includes(one));
    try {
      const by = worker.asRunner();
      if (here.length > 0 && by !== null) worker.admit(await runs.start(here, by, this.#fence()));
      const any = others.filter(({ job }) => timetable.get(job)?.runsOn === 'any');
      const holder = others.filter((one) => !any.includes(one));
      await this.#move(any, 'any');
      await this.#move(holder, 'holder');
      if (others.length > 0) this.#offer();
    } catch (error) {
      this.#mustLook = true;
      throw error;
    }
  }

  async #move(keys: readonly RunKey[], pool: Pool): Promise<void> {
    if (keys.length === 0) return;
    // The database does not check the lease for a move, so check it here.
    this.#fence();
    await this.#deps.runs.move(keys, pool);
  }

  /** Finds the rows of writes that committed although they were reported as failed, and accounts for them. */
  async #recall(): Promise<void> {
    const { runs } = this.#deps;
    // The fence locks the lease, so this waits for a transaction of ours that is still open.
    await runs.add([], this.#fence());
    for (const { job, dueAt } of await runs.firings(this.#mark)) {
      const entry = this.plan.find(job);
      if (entry !== null && entry.due !== null && entry.due <= dueAt) this.#settle(entry, dueAt);
    }
    this.#mustRecall = false;
  }

  async #look(): Promise<void> {
    this.#mustLook = false;
    this.#lookIn = LOOK_BEATS;
    try {
      await this.#openRuns.survey(() => this.#deps.runs.open({ of: 'jobs', brief: true, limit: MOST_OPEN }));
    } catch (error) {
      this.#mustLook = true;
      throw error;
    }
  }

  async #reap(): Promise<void> {
    const { onOffered, ...deps } = this.#deps;
    this.#reapIn = REAP_BEATS;
    try {
      const reaped = await reap(deps, () => !this.#over);
      if (reaped.interrupted === 0) return;
      this.#mustLook = true;
      this.#again = true;
      onOffered();
      void deps.worker.poll();
    } catch (error) {
      this.#reapIn = 0;
      throw error;
    }
  }
}
