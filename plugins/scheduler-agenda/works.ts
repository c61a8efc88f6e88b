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
import { Care } from './care.ts';
import { type Clock, DatabaseTime } from './clock.ts';
import { Counters } from './counters.ts';
import { Crew } from './crew.ts';
import { Duty } from './duty.ts';
import { Hint } from './hint.ts';
import { accept, backfill, cancel, fire, nowOf } from './operations.ts';
import { type Counts, statusOf } from './status.ts';
import { FRESH_MS } from './takeover.ts';
import { SCHEDULER, Tenure } from './tenure.ts';

export interface WorksParts {
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
  /** There is something to fetch by next() of the crew. */
  onQueued(): void;
}

/** What one server has of the scheduler, put together; it runs nothing by itself. */
export interface Works {
  readonly tenure: Tenure;
  readonly crew: Crew;
  readonly duty: Duty;
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

export function worksOf(given: WorksParts): Works {
  const { runs, records, timetable, server, clock, config, log } = given;
  const time = new DatabaseTime(clock);
  const counters = new Counters();
  let closing = false;
  let beats = 0;
  let counts: Counts | null = null;
  const parts = { ...given, server: server.name, time, counters };
  const kept = {
    keepMs: config.keepDays * DAY_MS,
    keepDeadMs: config.keepDeadDays * DAY_MS,
    keepRuns: config.keepRuns,
  };
  // What this server ran of durable calls; what the holder ran of jobs, it looks after itself.
  const care = new Care({ ...parts, ...kept });

  const telling = new Hint(clock, HINT_MS, () => given.publish());
  const tellOthers = () => telling.tell();
  const looking = new Hint(clock, HINT_MS, () => {
    duty.look();
    void crew.poll();
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
    if (!tenure.isHolder && (source !== 'database' || staleSince !== null))
      return 'it may run with less than what is kept';
    const state = records.find('server', server.name)?.definition['state'] ?? 'online';
    return state === 'online' ? null : `it is ${String(state)}`;
  };
  const isPaused = () => records.find('setting', PAUSED)?.definition['value'] === true;

  const tenure: Tenure = new Tenure({
    ...parts,
    ...{ beatMs: config.beatMs, leaseMs: config.leaseMs, runLeaseMs: config.runLeaseMs },
    standsBack,
    mark: () => duty.mark,
    onHolding: (mark) => duty.begin(mark),
    onLetGo: () => duty.end(),
    onRunsLost: (reason) => crew.lose(reason),
    onBeat(found) {
      duty.onBeat(found);
      void crew.poll();
      void crew.verify();
      crew.tidy();
      const marked = found.find(({ name }) => name === SCHEDULER)?.mark ?? 0;
      if (!tenure.isHolder) void care.forget(Math.max(0, marked - FRESH_MS));
      if (beats++ % COUNT_BEATS === 0) void count();
    },
  });
  const crew: Crew = new Crew({
    ...{ ...parts, tenure, concurrency: config.concurrency },
    mayTake: () => standsBack() === null,
    onEnded(run, sequel) {
      duty.onEnded(run, sequel);
      if (run.job === null) care.ended(null, run.service);
      if (sequel.followers.length > 0 || !tenure.isHolder) added();
      else if (crew.free === 1) void crew.poll();
      for (const { readyAt } of sequel.followers)
        clock.after(Math.max(1, readyAt - time.now()), () => void crew.poll());
    },
  });
  const duty: Duty = new Duty({
    ...{ ...parts, tenure, crew },
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

  timetable.subscribe((name) => duty.onJob(name));
  const operated = { ...parts, ...kept, tenure, crew, onAdded: added };
  const close = () => {
    closing = true;
    crew.close();
  };
  return {
    tenure,
    crew,
    duty,
    status: () =>
      statusOf({ tenure, duty, crew, time, counters, counts, standsBack: standsBack(), paused: isPaused() }),
    start: () => tenure.start(),
    hear: () => looking.tell(),
    close,
    async leave() {
      close();
      await tenure.letGo();
    },
    async stop(ended) {
      close();
      looking.stop();
      telling.stop();
      await crew.stop(config.stopMs);
      await ended();
      await tenure.stop();
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
