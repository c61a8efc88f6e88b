import type { Hooks, Logger, Records, ServerInfo, Services } from '../../core/api.ts';
import type { Timetable } from '../../core/parts.ts';
import type { Leases, Runs, Scheduler } from '../../core/ports/index.ts';
import { type Clock, DatabaseTime } from './clock.ts';
import { Counters } from './counters.ts';
import { Housekeeping } from './housekeeping.ts';
import { Leader } from './leader.ts';
import { HeldLeases, SCHEDULER } from './leases.ts';
import { accept, backfill, cancel, fire, nowOf } from './operations.ts';
import { type Counts, statusOf } from './status.ts';
import { FRESH_MS } from './takeover.ts';
import { Throttle } from './throttle.ts';
import { Worker } from './worker.ts';

export interface PartsDeps {
  readonly runs: Runs;
  readonly leases: Leases;
  readonly records: Pick<Records, 'get' | 'find' | 'remove' | 'status'>;
  readonly timetable: Timetable;
  readonly services: Pick<Services, 'run'>;
  readonly hooks: Pick<Hooks, 'fired'>;
  readonly server: Pick<ServerInfo, 'name' | 'state' | 'unfit'>;
  readonly log: Logger;
  readonly clock: Clock;
  readonly config: {
    readonly concurrency: number;
    readonly beatMs: number;
    readonly leaseMs: number;
    readonly runLeaseMs: number;
    readonly stopMs: number;
    readonly keepDays: number;
    readonly keepDeadDays: number;
    readonly keepRuns: number;
  };
  /** A unique name of this process: it changes with each start. */
  readonly instance: string;
  /** Hints to the other servers that there may be runs to start. */
  publish(): void;
  /** There is a run to fetch by worker.next(). */
  onQueued(): void;
}

/** The scheduler of one server, put together. It executes nothing by itself: Agenda, or a test, fetches runs by worker.next(). */
export interface SchedulerParts {
  readonly heldLeases: HeldLeases;
  readonly worker: Worker;
  readonly leader: Leader;
  readonly operations: Omit<Scheduler, 'problem' | 'status'>;
  status(): ReturnType<typeof statusOf>;
  start(): void;
  /** Another server has published a hint. */
  hear(): void;
  /** Takes no more runs. */
  close(): void;
  /** Takes no more runs, and releases the scheduler's lease. */
  leave(): Promise<void>;
  /** Aborts the runs in flight and waits for them, then for `ended`, and releases all leases. */
  stop(ended: () => Promise<unknown>): Promise<void>;
}

const DAY_MS = 86_400_000;
/** How often waiting and dead runs are counted. */
const COUNT_BEATS = 10;
/** The least time between two hints. */
const HINT_MS = 100;
const PAUSED = 'scheduler.paused';

export function schedulerParts(given: PartsDeps): SchedulerParts {
  const { runs, records, timetable, server, clock, config, log } = given;
  const time = new DatabaseTime(clock);
  const counters = new Counters();
  let closing = false;
  let beats = 0;
  let counts: Counts | null = null;
  const common = { ...given, server: server.name, time, counters };
  const kept = {
    keepMs: config.keepDays * DAY_MS,
    keepDeadMs: config.keepDeadDays * DAY_MS,
    keepRuns: config.keepRuns,
  };
  // For the durable calls that this server ran. The leader has its own for the runs of jobs.
  const housekeeping = new Housekeeping({ ...common, ...kept });

  const publishing = new Throttle(clock, HINT_MS, () => given.publish());
  const hintToOthers = () => publishing.trigger();
  const refreshing = new Throttle(clock, HINT_MS, () => {
    leader.look();
    void worker.poll();
  });
  const added = () => {
    refreshing.trigger();
    hintToOthers();
  };
  const standsBack = (): string | null => {
    if (closing) return 'it is stopping';
    if (server.state !== 'ready') return `it is ${server.state}`;
    if (server.unfit !== null) return server.unfit;
    const { source, staleSince } = records.status();
    // With old records it could run jobs that were paused or removed meanwhile.
    if (!heldLeases.isHolder && (source !== 'database' || staleSince !== null)) return 'its records may be out of date';
    const state = records.find('server', server.name)?.definition['state'] ?? 'online';
    return state === 'online' ? null : `it is ${String(state)}`;
  };
  const isPaused = () => records.find('setting', PAUSED)?.definition['value'] === true;

  const heldLeases: HeldLeases = new HeldLeases({
    ...common,
    ...{ beatMs: config.beatMs, leaseMs: config.leaseMs, runLeaseMs: config.runLeaseMs },
    standsBack,
    mark: () => leader.mark,
    onHolding: (mark) => leader.begin(mark),
    onLetGo: () => leader.end(),
    onRunsLost: (reason) => worker.lose(reason),
    onBeat(found) {
      leader.onBeat(found);
      void worker.poll();
      void worker.verify();
      worker.tidy();
      const marked = found.find(({ name }) => name === SCHEDULER)?.mark ?? 0;
      if (!heldLeases.isHolder) void housekeeping.forget(Math.max(0, marked - FRESH_MS));
      if (beats++ % COUNT_BEATS === 0) void count();
    },
  });
  const worker: Worker = new Worker({
    ...{ ...common, heldLeases, concurrency: config.concurrency },
    mayTake: () => standsBack() === null,
    onEnded(run, sequel) {
      leader.onEnded(run, sequel);
      if (run.job === null) housekeeping.ended(null, run.service);
      if (sequel.followers.length > 0 || !heldLeases.isHolder) added();
      else if (worker.free === 1) void worker.poll();
      for (const { readyAt } of sequel.followers)
        clock.after(Math.max(1, readyAt - time.now()), () => void worker.poll());
    },
  });
  const leader: Leader = new Leader({
    ...{ ...common, heldLeases, worker },
    ...kept,
    isPaused,
    onOffered: hintToOthers,
    onDecided(job, { dueAt, action, reason, count: stoodFor }) {
      const outcome = action === 'missed' ? 'missed' : 'skipped';
      counters.ended(outcome, 0, stoodFor);
      log.warn(
        { job: job.name, dueAt: new Date(dueAt).toISOString(), outcome, count: stoodFor, reason },
        'a job did not run',
      );
    },
  });

  async function count(): Promise<void> {
    try {
      const found = await runs.counts();
      counts = { ...found, waitingSince: await runs.readyAt(['any', 'holder']) };
    } catch (error) {
      log.debug({ error }, 'the runs could not be counted');
    }
  }

  timetable.subscribe((name) => leader.onJob(name));
  const operationDeps = { ...common, ...kept, heldLeases, worker, onAdded: added };
  const close = () => {
    closing = true;
    worker.close();
  };
  return {
    heldLeases,
    worker,
    leader,
    status: () =>
      statusOf({ heldLeases, leader, worker, time, counters, counts, standsBack: standsBack(), paused: isPaused() }),
    start: () => heldLeases.start(),
    hear: () => refreshing.trigger(),
    close,
    async leave() {
      close();
      await heldLeases.letGo();
    },
    async stop(ended) {
      close();
      refreshing.stop();
      publishing.stop();
      await worker.stop(config.stopMs);
      await ended();
      await heldLeases.stop();
    },
    operations: {
      accept: (call) => accept(operationDeps, call),
      fire: (job, by, payload) => fire(operationDeps, job, by, payload),
      backfill: (job, period, by) => backfill(operationDeps, job, period, by),
      cancel: (token, by) => cancel(operationDeps, token, by),
      async replay(tokens, attempts) {
        const again = await runs.replay(tokens, await nowOf(operationDeps), attempts);
        if (again.length > 0) added();
        return again.map(({ token }) => token);
      },
      bury: (tokens) => runs.bury(tokens),
      history: (query) => runs.history(query),
      find: (token) => runs.find(token),
      latest: (jobs) => runs.latest(jobs),
    },
  };
}
