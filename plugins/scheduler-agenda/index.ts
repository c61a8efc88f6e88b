/** Jobs when they are due, on one server at a time, and durable calls on any: run by Agenda, kept in the odb. */
import { randomUUID } from 'node:crypto';
import { Agenda } from 'agenda';
import {
  definePlugin,
  GantryError,
  type Lifecycle,
  type Scheduler,
  type Static,
  Type,
  toGantryError,
} from '../../core/api.ts';
import { OdbBackend, RUN } from './backend.ts';
import { machineClock } from './clock.ts';
import { schedulerParts } from './parts.ts';

const Config = Type.Object(
  {
    concurrency: Type.Integer({
      default: 250,
      minimum: 1,
      maximum: 10_000,
      description: 'The most runs at once on this server; more wait',
    }),
    beatMs: Type.Integer({
      default: 1000,
      minimum: 100,
      maximum: 60_000,
      description: 'How often it renews its leases in the database, and looks for what waits',
    }),
    leaseMs: Type.Integer({
      default: 5000,
      minimum: 500,
      maximum: 600_000,
      description: 'How long after its last word another server becomes the holder; some beats',
    }),
    runLeaseMs: Type.Integer({
      default: 10_000,
      minimum: 500,
      maximum: 3_600_000,
      description:
        'How long after its last word its runs are interrupted; also how long a run outlives a database that is away',
    }),
    stopMs: Type.Integer({
      default: 5000,
      minimum: 0,
      maximum: 9000,
      description: 'How long runs that are told to end at a stop have for it, after "graceMs" of the server',
    }),
    keepDays: Type.Number({
      default: 30,
      minimum: 0.001,
      maximum: 3660,
      description: 'Ended runs are forgotten later',
    }),
    keepDeadDays: Type.Number({
      default: 90,
      minimum: 0.001,
      maximum: 3660,
      description: 'The same for durable calls that were given up',
    }),
    keepRuns: Type.Integer({
      default: 1000,
      minimum: 1,
      maximum: 1_000_000,
      description: 'Of each job, and of each service that is called durably, as many of the latest are kept',
    }),
  },
  { additionalProperties: false },
);

/** A lease must outlast a beat or two that are lost. Throws CONFIG_INVALID. */
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

/** Agenda sets a timer of half of it for each run. */
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
        made.on('error', (error: unknown) => log.error({ error: toGantryError(error) }, 'the runner of jobs failed'));
        agenda = made;
        await made.start();
      },
      pause: () => parts.close(),
      async stop() {
        unsubscribe();
        await parts.stop(async () => agenda?.stop());
        if (worker.inFlight.length > 0) {
          const error = new GantryError('RUN_INTERRUPTED', 'Runs did not end when they were told to');
          log.warn(
            { error, left: worker.inFlight.length },
            'runs were cut off; another server will tell that they were interrupted',
          );
        }
      },
    };
  },
});
