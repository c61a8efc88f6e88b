import type { Attempt, RunKey } from '../../core/ports/index.ts';

/** A firing that waits for the previous run of its job to end. */
export interface Queued extends RunKey {
  readonly job: string;
  readonly dueAt: number;
}

interface JobRuns {
  /** Tokens of runs that have not ended. A retry that waits counts. */
  readonly underWay: Set<string>;
  /** Sorted by due time. */
  readonly queued: Queued[];
}

/** The open runs of each job, as the holder knows them. */
export class OpenRuns {
  readonly #byJob = new Map<string, JobRuns>();
  /** Tokens that ended while the database was asked for the open runs. */
  #ended: Set<string> | null = null;

  underWay(job: string): boolean {
    return (this.#byJob.get(job)?.underWay.size ?? 0) > 0;
  }
  queued(job: string): number {
    return this.#byJob.get(job)?.queued.length ?? 0;
  }
  isOpen(job: string): boolean {
    return this.#byJob.has(job);
  }
  /** Whether runs are under way besides these: only the database knows when one of another server ends. */
  hasOthers(inFlight: readonly { readonly run: RunKey }[]): boolean {
    if (this.#byJob.size === 0) return false;
    const own = new Set(inFlight.map(({ run }) => run.token));
    for (const token of this.tokens()) if (!own.has(token)) return true;
    return false;
  }
  /** The tokens that are under way, of all jobs. */
  *tokens(): Iterable<string> {
    for (const { underWay } of this.#byJob.values()) yield* underWay;
  }
  get size(): number {
    return this.#byJob.size;
  }

  begin(job: string, token: string): void {
    this.#runsOf(job).underWay.add(token);
  }
  queue(one: Queued): void {
    const { queued } = this.#runsOf(one.job);
    queued.push(one);
    if ((queued.at(-2)?.dueAt ?? 0) > one.dueAt) queued.sort((a, b) => a.dueAt - b.dueAt);
  }
  end(job: string, token: string): void {
    this.#ended?.add(token);
    const page = this.#byJob.get(job);
    if (page === undefined) return;
    page.underWay.delete(token);
    this.#close(job, page);
  }

  /** Takes the first waiting firing of each job that has no other run under way. They count as under way from now on. */
  release(limit: number): Queued[] {
    const found: Queued[] = [];
    for (const [, page] of this.#byJob) {
      if (found.length >= limit) break;
      const [first] = page.queued;
      if (page.underWay.size > 0 || first === undefined) continue;
      page.queued.shift();
      page.underWay.add(first.token);
      found.push(first);
    }
    return found;
  }

  /** Replaces all of it by what the database has. If `ask` rejects, this rejects too and changes nothing. */
  async survey(ask: () => Promise<readonly Attempt[]>): Promise<void> {
    const ended = new Set<string>();
    this.#ended = ended;
    try {
      const open = await ask();
      this.#byJob.clear();
      for (const run of open) {
        const { job, token, attempt, dueAt, state, pool } = run;
        if (job === null || ended.has(token)) continue;
        if (state === 'waiting' && pool === 'queue') this.queue({ job, token, attempt, dueAt });
        else this.begin(job, token);
      }
    } finally {
      this.#ended = null;
    }
  }
  clear(): void {
    this.#byJob.clear();
  }

  #runsOf(job: string): JobRuns {
    let page = this.#byJob.get(job);
    if (page === undefined) this.#byJob.set(job, (page = { underWay: new Set(), queued: [] }));
    return page;
  }
  #close(job: string, page: JobRuns): void {
    if (page.underWay.size === 0 && page.queued.length === 0) this.#byJob.delete(job);
  }
}
