/** Runs jobs in processes, a few at a time, and gathers what they report. */
import type { Event } from './events.ts';
import { type Job, nextJob } from './plan.ts';
import { Report } from './report.ts';
import { Worker, type WorkerOptions } from './worker.ts';

export interface RunOptions extends WorkerOptions {
  readonly cores: number;
  /** At most so many at a time. */
  readonly processes: number;
  /** Whether each file has to run at least one test; not where a pattern picks some. */
  readonly mustRun: boolean;
  readonly print: (text: string) => void;
}

export class Run {
  readonly report: Report;
  readonly #options: RunOptions;
  readonly #waiting: Job[];
  readonly #running = new Map<Job, Worker>();
  readonly #total: number;
  #done = 0;
  #isEnding = false;

  constructor(jobs: readonly Job[], options: RunOptions) {
    this.#waiting = [...jobs];
    this.#total = jobs.reduce((sum, { files }) => sum + files.length, 0);
    this.#options = options;
    this.report = new Report(options.print);
  }

  /** Resolves when all files have been run. */
  async go(): Promise<Report> {
    const following = new Set<Promise<void>>();
    while (true) {
      const job = this.#isEnding ? null : nextJob(this.#waiting, [...this.#running.keys()], this.#options);
      if (job !== null) {
        this.#waiting.splice(this.#waiting.indexOf(job), 1);
        const following1 = this.#follow(job).finally(() => following.delete(following1));
        following.add(following1);
      } else if (following.size > 0) await Promise.race(following);
      else return this.report;
    }
  }

  /** Starts nothing more, and ends what runs. */
  async end(): Promise<void> {
    this.#isEnding = true;
    await Promise.all([...this.#running.values()].map((worker) => worker.end()));
  }

  async #follow(job: Job): Promise<void> {
    const left = new Set(job.files);
    let current: string | null = null;
    let early = '';
    const close = (file: string) => {
      if (!left.delete(file)) return;
      const { results, problems } = this.report.of(file);
      if (results.length === 0 && problems.length === 0) {
        if (!this.#options.mustRun) return void this.#done++;
        problems.push('ran no test');
      }
      this.report.line(file, `${String(++this.#done).padStart(String(this.#total).length)}/${this.#total}`);
    };
    const hear = (event: Event) => {
      if (event.type === 'file') {
        current = event.file;
        this.report.of(current).text += early;
        early = '';
      }
      if (event.type === 'result') this.report.of(event.result.file).results.push(event.result);
      if (event.type !== 'cost') return;
      const report = this.report.of(event.file);
      report.ms += event.ms;
      report.cpuMs += event.cpuMs;
      close(event.file);
    };
    const text = (said: string) => {
      if (current === null) early += said;
      else this.report.of(current).text += said;
    };
    const worker = new Worker(job.files, this.#options, { event: hear, text });
    this.#running.set(job, worker);
    const { problem } = await worker.ended;
    this.#running.delete(job);
    if (problem === null) return void [...left].forEach(close);
    // Mocha loads all files first: which one of several could not be loaded is known when each is run by itself.
    if (current !== null || job.files.length === 1) {
      const at = current ?? (job.files[0] as string);
      const report = this.report.of(at);
      report.problems.push(problem);
      report.text += early;
      // One that has been printed is printed again: it is no success any more.
      if (left.has(at)) close(at);
      else this.report.line(at, 'again');
    }
    // What came after it in the same process is not lost.
    if (!this.#isEnding) for (const file of left) this.#waiting.push({ files: [file], ms: 0, load: 1 });
  }
}
