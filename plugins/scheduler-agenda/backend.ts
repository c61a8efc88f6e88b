import {
  type AgendaBackend,
  computeJobState,
  InMemoryNotificationChannel,
  type JobParameters,
  type JobRepository,
  type JobsOverview,
  type JobsQueryOptions,
  type JobsResult,
  type RemoveJobsOptions,
  toJobId,
} from 'agenda';
import { GantryError } from '../../core/api.ts';
import { keyOf } from './run-data.ts';
import type { ActiveRun } from './runner.ts';
import type { Worker } from './worker.ts';

/** The only job name that Agenda knows here. The job's data says which attempt it runs. */
export const RUN = 'gantry.run';

/** A past date: everything that Agenda gets is due, by any clock, and in the order in which it came. */
const DUE = new Date(1);
/** Agenda expires locks by the machine's clock. Ours expire in the database, so Agenda's never do. */
const NEVER = new Date(8.64e15);

/**
 * Gives Agenda the attempts that this server has taken. An attempt is a row of the odb, and taking the row is the lock; its
 * outcome is written to the odb too. Other backends have a table of jobs; this one has the runs in flight of this server.
 */
export class OdbBackend implements AgendaBackend, JobRepository {
  readonly name = 'odb';
  readonly ownsConnection = true;
  readonly notificationChannel = new InMemoryNotificationChannel();
  readonly repository = this;
  readonly #worker: () => Worker;
  readonly #given = new Map<string, { readonly active: ActiveRun; job: JobParameters }>();

  constructor(worker: () => Worker) {
    this.#worker = worker;
  }

  /** The odb has connected already. */
  async connect(): Promise<void> {}
  async disconnect(): Promise<void> {
    this.#given.clear();
  }

  /** Makes Agenda fetch queued runs at once. */
  wake(): void {
    if (this.notificationChannel.state !== 'connected') return;
    const now = new Date();
    const notice = { jobId: toJobId(RUN), jobName: RUN, nextRunAt: null, priority: 0, timestamp: now };
    this.notificationChannel.publish(notice).catch(() => {});
  }

  async getNextJobToRun(name: string): Promise<JobParameters | undefined> {
    if (name !== RUN) return undefined;
    const active = this.#worker().next();
    if (active === null) return undefined;
    const key = keyOf(active.run);
    const job: JobParameters = {
      _id: toJobId(key),
      name: RUN,
      priority: 0,
      nextRunAt: DUE,
      type: 'normal',
      lockedAt: NEVER,
      data: { token: active.run.token, attempt: active.run.attempt },
    };
    this.#given.set(key, { active, job });
    return job;
  }

  /** The run that Agenda has by this id. */
  activeRun(id: string): ActiveRun | null {
    return this.#given.get(id)?.active ?? null;
  }

  /** Keeps Agenda's progress and times while the run is in flight. The outcome is written elsewhere. */
  async saveJobState(job: JobParameters): Promise<void> {
    const id = String(job._id);
    const given = this.#given.get(id);
    if (given === undefined) return;
    if (job.lockedAt === undefined) this.#given.delete(id);
    else given.job = { ...given.job, ...job };
  }

  async unlockJob(job: JobParameters): Promise<void> {
    await this.unlockJobs([String(job._id)]);
  }
  async unlockJobs(ids: readonly string[]): Promise<void> {
    for (const id of ids) {
      if (this.#given.delete(String(id))) this.#worker().putBack(String(id));
    }
  }
  async lockJob(job: JobParameters): Promise<JobParameters | undefined> {
    const given = this.#given.get(String(job._id));
    return given?.active.call === null ? given.job : undefined;
  }

  async getJobById(id: string): Promise<JobParameters | null> {
    return this.#given.get(id)?.job ?? null;
  }
  async getQueueSize(): Promise<number> {
    return this.#given.size;
  }
  async getDistinctJobNames(): Promise<string[]> {
    return this.#given.size === 0 ? [] : [RUN];
  }
  async queryJobs({ name, id, ids, skip = 0, limit, state }: JobsQueryOptions = {}): Promise<JobsResult> {
    const now = new Date();
    const wanted = new Set([...(ids ?? []), ...(id === undefined ? [] : [id])].map(String));
    const found = [...this.#given.values()]
      .map(({ job }) => ({
        ...job,
        _id: job._id as NonNullable<JobParameters['_id']>,
        state: computeJobState(job, now),
      }))
      .filter((job) => (name === undefined || name === RUN) && (wanted.size === 0 || wanted.has(String(job._id))))
      .filter((job) => state === undefined || job.state === state);
    const jobs = found.slice(skip, limit === undefined ? undefined : skip + limit);
    return { jobs, total: found.length } as JobsResult;
  }
  async getJobsOverview(): Promise<JobsOverview[]> {
    const { jobs, total } = await this.queryJobs();
    if (total === 0) return [];
    const one = {
      name: RUN,
      total,
      running: 0,
      scheduled: 0,
      queued: 0,
      completed: 0,
      failed: 0,
      repeating: 0,
      paused: 0,
    };
    for (const { state } of jobs) one[state]++;
    return [one];
  }

  async saveJob(): Promise<never> {
    throw elsewhere();
  }
  async removeJobs(_options: RemoveJobsOptions): Promise<never> {
    throw elsewhere();
  }
  async disableJobs(_options: RemoveJobsOptions): Promise<never> {
    throw elsewhere();
  }
  async enableJobs(_options: RemoveJobsOptions): Promise<never> {
    throw elsewhere();
  }
  async purgeAllJobs(): Promise<never> {
    throw elsewhere();
  }
}

function elsewhere(): GantryError {
  return new GantryError('INVALID', 'Jobs are records: create, change and remove them by the admin services');
}
