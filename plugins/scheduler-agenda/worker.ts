import {
  type Attempt,
  GantryError,
  type Hooks,
  type Logger,
  type Pool,
  type Records,
  type Runner,
  type Runs,
  type Services,
  type Timetable,
} from '../../core/api.ts';
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
  /** Whether it takes what waits for any server; what it has in hand, it ends anyway. */
  mayTake(): boolean;
  /** There is something to fetch by next(). */
  onQueued(): void;
  /** Its outcome is written, by this server. */
  onEnded(run: Attempt, sequel: Sequel): void;
}

/** How long a run is remembered after it was taken: longer than an answer of the database may be old. */
const KNOWN_MS = 120_000;
/** Runs that last longer are looked after. */
const LONG_MS = 1500;
/** How often it looks where none lasts long. */
const VERIFY_BEATS = 10;
/** Runs what this server has taken: each once, however often it hears of it. */
export class Worker {
  readonly #deps: WorkerDeps;
  readonly #outcomes: Outcomes;
  readonly #runner: AttemptRunner;
  readonly #inFlight = new Map<string, ActiveRun>();
  readonly #queue: ActiveRun[] = [];
  /** Taken lately, by key: an answer that was lost, and looked for later, must not start anything twice. */
  readonly #known = new Map<string, number>();
  #polling: Promise<void> | null = null;
  #again = false;
  #uncertain = false;
  #closed = false;
  /** Why all in hand is to end. */
  #ending: GantryError | null = null;
  #verifyIn = 0;
  #idle: (() => void)[] = [];

  constructor(deps: WorkerDeps) {
    this.#deps = deps;
    this.#outcomes = new Outcomes(deps);
    this.#runner = new AttemptRunner(deps);
  }

  /** Why outcomes cannot be written; null: they can. */
  get problem(): GantryError | null {
    return this.#outcomes.problem;
  }
  get inFlight(): readonly ActiveRun[] {
    return [...this.#inFlight.values()];
  }
  has(run: Pick<Attempt, 'token' | 'attempt'>): boolean {
    return this.#inFlight.has(keyOf(run));
  }
  /** How many more it may take. */
  get free(): number {
    return this.#closed ? 0 : Math.max(0, this.#deps.concurrency - this.#inFlight.size);
  }

  /** Who runs what is taken now; null while this server cannot show that it is alive, or does not know the time. */
  asRunner(): Runner | null {
    const { heldLeases, server, time } = this.#deps;
    const { owner } = heldLeases;
    return owner === null || !time.isKnown
      ? null
      : { owner, server, epoch: heldLeases.isHolder ? heldLeases.epoch : 0, now: time.now() };
  }

  /** Runs them: they are running already, as the database has it, by this server. */
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

  /** The next one that waits for its start here; null: none does. */
  next(): ActiveRun | null {
    return this.#queue.shift() ?? null;
  }
  /** It was fetched and not started. */
  putBack(key: string): void {
    const active = this.#inFlight.get(key);
    if (active !== undefined && active.call === null && !this.#queue.includes(active)) this.#queue.unshift(active);
  }

  /** An answer was lost: something may be running in the name of this server that it does not know of. */
  doubt(): void {
    this.#uncertain = true;
  }

  /** Takes what waits for any server, and as the holder what waits for that; once more where that was asked for meanwhile. */
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
      if (this.#uncertain) {
        this.#uncertain = false;
        this.admit(await runs.open({ state: 'running', owner: by.owner, limit: 10_000 }));
      }
      const pools: Pool[] = heldLeases.isHolder ? ['any', 'holder'] : ['any'];
      const taken = await runs.take({ ...by, pools, limit });
      this.admit(taken);
      if (taken.length === limit && this.free > 0) this.#again = true;
    } catch (error) {
      this.#uncertain = true;
      log.debug({ error }, 'what waits could not be taken');
    }
  }

  /**
   * Ends those that are not this server's any more: cancelled from elsewhere, or taken for dead. Runs those that are its own
   * and that it does not know of: they were begun later than it was told that they were not.
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
      log.debug({ error }, 'the runs in hand could not be looked for');
    }
  }

  /** Tells the runs of this token in hand to end; false where there are none. */
  cancel(token: string): boolean {
    const found = this.inFlight.filter(({ run }) => run.token === token);
    for (const active of found) this.#abort(active, new GantryError('CALL_ABORTED', 'The run was cancelled'));
    return found.length > 0;
  }

  /** All in hand are others' now. */
  lose(reason: GantryError): void {
    for (const active of this.inFlight) this.#abort(active, reason);
    // They were not started: there is nothing to tell of them, and nobody who would fetch them.
    for (const active of this.#queue.splice(0)) void this.run(active);
  }

  /** Takes nothing more. */
  close(): void {
    this.#closed = true;
  }

  /** Ends what is in hand, so that it is known at once what became of it, and waits for that at most so long. */
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
    // What it asked for may be its own yet.
    await this.#polling;
    if (this.#inFlight.size > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  /** Forgets what it need not remember. */
  tidy(): void {
    const before = this.#deps.clock.steady() - KNOWN_MS;
    for (const [key, at] of this.#known) {
      if (at >= before) return;
      if (!this.#inFlight.has(key)) this.#known.delete(key);
    }
  }

  /** From its start to its outcome, which is written when this resolves, or is not this server's to write. Never rejects. */
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
    // Where it did not begin, and should be this server's after all, it is run then.
    if (own || active.call !== null) this.#known.set(keyOf(run), clock.steady());
    const about = { job: run.job, service: run.service, token, attempt, outcome };
    const told = { job: run.job, service: run.service, run: token, attempt, outcome };
    if (!written) {
      log.warn({ ...told, error: active.end }, 'what came of a run was not written: it is not of this server any more');
    } else {
      const ms = Math.max(0, endedAt - startedAt);
      counters.ended(outcome, ms);
      if (error !== null) log.warn({ ...told, further: !sequel.final, error }, 'a run did not succeed');
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
