/** Runs jobs when they are due, and durable calls: decided by one server at a time, kept in the odb, executed by Agenda. */
import { randomUUID } from 'node:crypto';
import { Agenda } from 'agenda';
import { definePlugin, GantryError, type Lifecycle, type Static, Type, toGantryError } from '../../core/api.ts';
import type { Scheduler } from '../../core/ports/index.ts';
import { OdbBackend, RUN } from './backend.ts';
import { machineClock } from './clock.ts';
import { schedulerParts } from './parts.ts';

const Config = Type.Object(
  {
    concurrency: Type.Integer({
      default: 250,
      minimum: 1,
      maximum: 10_000,
      description: 'The most runs in flight on this server; others wait',
    }),
    beatMs: Type.Integer({
      default: 1000,
      minimum: 100,
      maximum: 60_000,
      description: 'How often this server renews its leases in the database and looks for waiting runs',
    }),
    leaseMs: Type.Integer({
      default: 5000,
      minimum: 500,
      maximum: 600_000,
      description:
        'The lease of the scheduler: how long after its last renewal another server takes over. At least 3 beats',
    }),
    runLeaseMs: Type.Integer({
      default: 10_000,
      minimum: 500,
      maximum: 3_600_000,
      description:
        'The lease of the runs of a server: how long after its last renewal they count as interrupted, and so how long a run survives an unavailable database',
    }),
    stopMs: Type.Integer({
      default: 5000,
      minimum: 0,
      maximum: 9000,
      description:
        'How long runs may take to end after they are aborted at a stop, which is after "graceMs" of the server',
    }),
    keepDays: Type.Number({
      default: 30,
      minimum: 0.001,
      maximum: 3660,
      description: 'How long ended runs are kept',
    }),
    keepDeadDays: Type.Number({
      default: 90,
      minimum: 0.001,
      maximum: 3660,
      description: 'How long durable calls that were given up are kept',
    }),
    keepRuns: Type.Integer({
      default: 1000,
      minimum: 1,
      maximum: 1_000_000,
      description:
        'How many of the latest ended runs are kept for each job, and for each service that is called durably',
    }),
  },
  { additionalProperties: false },
);

/** A lease must survive one or two failed renewals. Throws CONFIG_INVALID. */
function checkLeases(id: string, { beatMs, leaseMs, runLeaseMs }: Static<typeof Config>): void {
  const wrong = Object.entries({ leaseMs, runLeaseMs }).filter(([, ms]) => ms < LEAST_BEATS * beatMs);
  if (wrong.length === 0) return;
  const problems = wrong.map(([key, ms]) => ({
    path: `plugins.${id}.${key}`,
    message: `must be at least ${LEAST_BEATS} beats`,
    expected: `${LEAST_BEATS * beatMs} or more, with beatMs ${beatMs}`,
    got: String(ms),
    hint: 'Raise it, or lower beatMs.',
  }));
  throw new GantryError('CONFIG_INVALID', `${id}: ${wrong.map(([key]) => key).join(' and ')} too short`, { problems });
}

/** Agenda touches the lock of each run after half of this. Our lock is the row, so the value matters little. */
const LOCK_MS = 10_000;
const LEAST_BEATS = 3;

export default definePlugin({
  id: 'scheduler.agenda',
  api: 1,
  config: Config,
  needs: ['odb', 'records', 'timetable', 'services', 'server'],
  wants: ['bus'],
  create({ id, config, log, hooks, odb, records, timetable, services, server, bus }): Scheduler & Lifecycle {
    checkLeases(id, config);
    const { runs, leases } = odb;
    const backend: OdbBackend = new OdbBackend(() => worker);
    const parts = schedulerParts({
      ...{ runs, leases, records, timetable, services, hooks, server, log, config },
      clock: machineClock,
      instance: randomUUID(),
      publish: () => bus?.publish({ topic: 'runs', revision: 0, from: server.name }),
      onQueued: () => backend.wake(),
    });
    const { worker, operations } = parts;
    let agenda: Agenda | null = null;
    let unsubscribe = () => {};

    hooks.ready.tap(id, () => {
      parts.start();
      unsubscribe =
        bus?.subscribe(({ topic }) => {
          if (topic === 'runs') parts.hear();
        }) ?? unsubscribe;
    });
    hooks.draining.tapPromise(id, () => parts.leave());

    return {
      ...operations,
      get problem() {
        return parts.status().problem;
      },
      status: () => parts.status().status,

      async start() {
        const made = new Agenda({
          ...{ name: server.name, backend, processEvery: config.beatMs },
          ...{ maxConcurrency: config.concurrency, defaultConcurrency: config.concurrency },
          ...{ lockLimit: 0, defaultLockLimit: 0, defaultLockLifetime: LOCK_MS },
        });
        made.define(RUN, async (job) => {
          const active = backend.activeRun(String(job.attrs._id));
          if (active !== null) await worker.run(active);
        });
        made.on('error', (error: unknown) => log.error({ error: toGantryError(error) }, 'Agenda failed'));
        agenda = made;
        await made.start();
      },
      pause: () => parts.close(),
      async stop() {
        unsubscribe();
        await parts.stop(async () => agenda?.stop());
        if (worker.inFlight.length > 0) {
          const error = new GantryError('RUN_INTERRUPTED', 'Runs did not end when they were aborted');
          log.warn(
            { error, left: worker.inFlight.length },
            'runs were cut off; another server will record them as interrupted',
          );
        }
      },
    };
  },
});
