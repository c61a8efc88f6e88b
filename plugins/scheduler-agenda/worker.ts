import { GantryError, type Hooks, type Logger, type Records, type Services } from '../../core/api.ts';
import type { Timetable } from '../../core/parts.ts';
import type { Attempt, Pool, Runner, Runs } from '../../core/ports/index.ts';
import type { Clock, DatabaseTime } from './clock.ts';
import type { Counters } from './counters.ts';
import type { HeldLeases } from './leases.ts';
import { Outcomes } from './outcomes.ts';
import { keyOf } from './run-data.ts';
import { type ActiveRun, AttemptRunner, ended } from './runner.ts';
import { type Sequel, sequelOf } from './sequel.ts';

export interface WorkerDeps {
  readonly runs: Runs;
  readonly records: Pick<Records, 'get'>;
  readonly timetable: Timetable;
  readonly services: Pick<Services, 'run'>;
  readonly heldLeases: HeldLeases;
  readonly time: DatabaseTime;
  readonly clock: Clock;
  readonly counters: Counters;
  readonly hooks: Pick<Hooks, 'fired'>;
  readonly log: Logger;
  readonly server: string;
  /** The most runs at once. */
  readonly concurrency: number;
  /** Whether it may take waiting runs. It finishes its runs in flight in any case. */
  mayTake(): boolean;
  /** There is a run to fetch by next(). */
  onQueued(): void;
  /** This server has written the outcome of a run. */
  onEnded(run: Attempt, sequel: Sequel): void;
}

/** How long a run is remembered after it was taken: longer than an answer of the database can be out of date. */
const KNOWN_MS = 120_000;
/** Runs in flight for longer are checked in the database. */
const LONG_MS = 1500;
/** How often the database is checked for unknown runs if no run lasts long. */
const VERIFY_BEATS = 10;

/** Runs the attempts that this server has taken: each exactly once, however often it hears of it. */
export class Worker {
  readonly #deps: WorkerDeps;
  readonly #outcomes: Outcomes;
  readonly #runner: AttemptRunner;
  readonly #inFlight = new Map<string, ActiveRun>();
  readonly #queue: ActiveRun[] = [];
  /** Runs taken lately, by key, with their steady time: reading them again must not start them twice. */
  readonly #known = new Map<string, number>();
  #polling: Promise<void> | null = null;
  #again = false;
  #inDoubt = false;
  #closed = false;
  /** Why every run in flight must end; null while the server is not stopping. */
  #ending: GantryError | null = null;
  #verifyIn = 0;
  #idle: (() => void)[] = [];

  constructor(deps: WorkerDeps) {
    this.#deps = deps;
    this.#outcomes = new Outcomes(deps);
    this.#runner = new AttemptRunner(deps);
  }

  /** Why outcomes cannot be written; null if they can. */
  get problem(): GantryError | null {
    return this.#outcomes.problem;
  }
  get inFlight(): readonly ActiveRun[] {
    return [...this.#inFlight.values()];
  }
  has(run: Pick<Attempt, 'token' | 'attempt'>): boolean {
    return this.#inFlight.has(keyOf(run));
  }
  /** How many more runs it may take. */
  get free(): number {
    return this.#closed ? 0 : Math.max(0, this.#deps.concurrency - this.#inFlight.size);
  }

  /** This server as the owner of runs; null while it has no run lease, or does not know the database's time. */
  asRunner(): Runner | null {
    const { heldLeases, server, time } = this.#deps;
    const { owner } = heldLeases;
    return owner === null || !time.isKnown
      ? null
      : { owner, server, epoch: heldLeases.isHolder ? heldLeases.epoch : 0, now: time.now() };
  }

  /** Queues runs that the database already has as running on this server. */
  admit(runs: readonly Attempt[]): void {
    const { clock, heldLeases, onQueued } = this.#deps;
    const now = clock.steady();
    let queued = false;
    for (const run of runs) {
      const key = keyOf(run);
      if (this.#known.has(key) || run.owner !== heldLeases.owner) continue;
      this.#known.set(key, now);
      const active: ActiveRun = { run, call: null, end: this.#ending, admittedAt: now };
      this.#inFlight.set(key, active);
      if (this.#ending !== null) void this.run(active);
      else {
        this.#queue.push(active);
        queued = true;
      }
    }
    if (queued) onQueued();
  }

  /** The next queued run; null if the queue is empty. */
  next(): ActiveRun | null {
    return this.#queue.shift() ?? null;
  }
  /** Puts back a run that was fetched and not started. */
  putBack(key: string): void {
    const active = this.#inFlight.get(key);
    if (active !== undefined && active.call === null && !this.#queue.includes(active)) this.#queue.unshift(active);
  }

  /** An answer of the database was lost: it may have runs of this server that this server does not know. */
  doubt(): void {
    this.#inDoubt = true;
  }

  /** Takes waiting runs: those for any server, and on the holder those for the holder. A call during a poll causes another poll. */
  poll(): Promise<void> {
    this.#again = true;
    this.#polling ??= (async () => {
      while (this.#again) {
        this.#again = false;
        await this.#take();
      }
    })().finally(() => {
      this.#polling = null;
    });
    return this.#polling;
  }

  async #take(): Promise<void> {
    const { runs, heldLeases, log } = this.#deps;
    const by = this.asRunner();
    const limit = this.free;
    if (by === null || limit === 0 || !this.#deps.mayTake()) return;
    try {
      if (this.#inDoubt) {
        this.#inDoubt = false;
        this.admit(await runs.open({ state: 'running', owner: by.owner, limit: 10_000 }));
      }
      const pools: Pool[] = heldLeases.isHolder ? ['any', 'holder'] : ['any'];
      const taken = await runs.take({ ...by, pools, limit });
      this.admit(taken);
      if (taken.length === limit && this.free > 0) this.#again = true;
    } catch (error) {
      this.#inDoubt = true;
      log.debug({ error }, 'waiting runs could not be taken');
    }
  }

  /**
   * Compares the runs in flight with the database. Aborts those that no longer belong to this server: another server has
   * cancelled them, or considered this one dead. Runs those that it does not know: the INSERT committed after we were told
   * that it had failed.
   */
  async verify(): Promise<void> {
    const { runs, clock, heldLeases, log } = this.#deps;
    const { owner } = heldLeases;
    const before = clock.steady() - LONG_MS;
    const long = this.inFlight.filter(({ run, admittedAt }) => run.owner === owner && admittedAt < before);
    if (owner === null || (long.length === 0 && --this.#verifyIn > 0)) return;
    this.#verifyIn = VERIFY_BEATS;
    try {
      const running = await runs.open({ state: 'running', owner, brief: true, limit: 10_000 });
      const own = new Set(running.map(keyOf));
      for (const active of long) {
        if (!own.has(keyOf(active.run)) && this.has(active.run)) this.#abort(active, ended());
      }
      const strange = running.filter((run) => !this.#known.has(keyOf(run)));
      if (strange.length > 0) this.admit(await runs.open({ state: 'running', owner, limit: 10_000 }));
    } catch (error) {
      log.debug({ error }, 'the runs in flight could not be checked');
    }
  }

  /** Aborts the runs in flight of a token; false if there are none. */
  cancel(token: string): boolean {
    const found = this.inFlight.filter(({ run }) => run.token === token);
    for (const active of found) this.#abort(active, new GantryError('CALL_ABORTED', 'The run was cancelled'));
    return found.length > 0;
  }

  /** Aborts all runs in flight: they no longer belong to this server. */
  lose(reason: GantryError): void {
    for (const active of this.inFlight) this.#abort(active, reason);
    // These have not started, and nobody will fetch them any more.
    for (const active of this.#queue.splice(0)) void this.run(active);
  }

  /** Takes no more runs. */
  close(): void {
    this.#closed = true;
  }

  /** Aborts the runs in flight, so that their outcome is known at once, and waits for that at most `ms`. */
  async stop(ms: number): Promise<void> {
    this.close();
    const reason = new GantryError('RUN_INTERRUPTED', 'The server is stopping', {
      hint: 'The run lasted longer than the time that the server has to stop: "graceMs" in the config.',
    });
    this.#ending = reason;
    for (const active of this.inFlight) this.#abort(active, reason);
    for (const active of this.#queue.splice(0)) void this.run(active);
    let cancel = () => {};
    const late = new Promise<void>((resolve) => {
      cancel = this.#deps.clock.after(ms, resolve);
    });
    await Promise.race([late, this.#settled()]);
    cancel();
  }
  async #settled(): Promise<void> {
    // A poll in progress may still take runs.
    await this.#polling;
    if (this.#inFlight.size > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  /** Forgets runs that were taken long ago. */
  tidy(): void {
    const before = this.#deps.clock.steady() - KNOWN_MS;
    for (const [key, at] of this.#known) {
      if (at >= before) return;
      if (!this.#inFlight.has(key)) this.#known.delete(key);
    }
  }

  /** Runs an attempt and writes its outcome, unless that is no longer this server's to write. Never rejects. */
  async run(active: ActiveRun): Promise<void> {
    const { clock, counters, hooks, log, onEnded, time } = this.#deps;
    const { run } = active;
    const startedAt = time.now();
    const latenessMs = Math.max(0, startedAt - run.readyAt);
    const { job, ending, error } = await this.#runner.run(active, latenessMs);
    const sequel = sequelOf(run, ending, job);
    const { outcome, endedAt, code, reason } = ending;
    const own = active.end === null || active.end.code !== 'LEASE_LOST';
    const { token, attempt } = run;
    const end = { token, attempt, outcome, endedAt, code, reason, dead: sequel.dead, followers: sequel.followers };
    const written = own && (await this.#outcomes.write(end, run.owner as string));
    this.#inFlight.delete(keyOf(run));
    this.#known.delete(keyOf(run));
    // If it was lost before it started, and is this server's after all, it may be admitted again.
    if (own || active.call !== null) this.#known.set(keyOf(run), clock.steady());
    const about = { job: run.job, service: run.service, token, attempt, outcome };
    const fields = { job: run.job, service: run.service, run: token, attempt, outcome };
    if (!written) {
      log.warn(
        { ...fields, error: active.end },
        'the outcome of a run was not written: the run no longer belongs to this server',
      );
    } else {
      const ms = Math.max(0, endedAt - startedAt);
      counters.ended(outcome, ms);
      if (error !== null) log.warn({ ...fields, further: !sequel.final, error }, 'a run did not succeed');
      hooks.fired.call({
        ...about,
        source: run.source,
        dueAt: new Date(run.dueAt),
        startedAt: new Date(startedAt),
        ms,
        latenessMs,
        error,
      });
      onEnded(run, sequel);
    }
    if (this.#inFlight.size === 0) for (const idle of this.#idle.splice(0)) idle();
  }

  #abort(active: ActiveRun, reason: GantryError): void {
    active.end ??= reason;
    active.call?.abort(reason);
  }
}
