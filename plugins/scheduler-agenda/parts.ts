import type {
  Hooks,
  Leases,
  Logger,
  Records,
  Runs,
  Scheduler,
  ServerInfo,
  Services,
  Timetable,
} from '../../core/api.ts';
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
  /** Another one with each start. */
  readonly instance: string;
  /** Tells the other servers that there may be something to start. */
  publish(): void;
  /** There is something to fetch by next() of the worker. */
  onQueued(): void;
}

/** What one server has of the scheduler, put together; it runs nothing by itself. */
export interface SchedulerParts {
  readonly heldLeases: HeldLeases;
  readonly worker: Worker;
  readonly leader: Leader;
  readonly operations: Omit<Scheduler, 'problem' | 'status'>;
  status(): ReturnType<typeof statusOf>;
  start(): void;
  /** Another server published. */
  hear(): void;
  /** Takes nothing more. */
  close(): void;
  /** Gives the scheduler away, too. */
  leave(): Promise<void>;
  /** Ends what is in hand; `ended` is when that is known or was waited for. */
  stop(ended: () => Promise<unknown>): Promise<void>;
}

const DAY_MS = 86_400_000;
/** What waits and what is dead is counted every so many beats. */
const COUNT_BEATS = 10;
/** Others hear of what there is to start not more often than so. */
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
  // What this server ran of durable calls; what the holder ran of jobs, it looks after itself.
  const housekeeping = new Housekeeping({ ...common, ...kept });

  const telling = new Throttle(clock, HINT_MS, () => given.publish());
  const tellOthers = () => telling.tell();
  const looking = new Throttle(clock, HINT_MS, () => {
    leader.look();
    void worker.poll();
  });
  const added = () => {
    looking.tell();
    tellOthers();
  };
  const standsBack = (): string | null => {
    if (closing) return 'it is stopping';
    if (server.state !== 'ready') return `it is ${server.state}`;
    if (server.unfit !== null) return server.unfit;
    const { source, staleSince } = records.status();
    // What it would run may have been paused or removed meanwhile.
    if (!heldLeases.isHolder && (source !== 'database' || staleSince !== null))
      return 'it may run with less than what is kept';
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
    onOffered: tellOthers,
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
      log.debug({ error }, 'runs could not be counted');
    }
  }

  timetable.subscribe((name) => leader.onJob(name));
  const operated = { ...common, ...kept, heldLeases, worker, onAdded: added };
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
    hear: () => looking.tell(),
    close,
    async leave() {
      close();
      await heldLeases.letGo();
    },
    async stop(ended) {
      close();
      looking.stop();
      telling.stop();
      await worker.stop(config.stopMs);
      await ended();
      await heldLeases.stop();
    },
    operations: {
      accept: (call) => accept(operated, call),
      fire: (job, by, payload) => fire(operated, job, by, payload),
      backfill: (job, period, by) => backfill(operated, job, period, by),
      cancel: (token, by) => cancel(operated, token, by),
      async replay(tokens, attempts) {
        const again = await runs.replay(tokens, await nowOf(operated), attempts);
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
