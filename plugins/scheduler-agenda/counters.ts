import type { Bucket, RunOutcome, SchedulerCounters } from '../../core/ports/index.ts';

const BOUNDS_MS = [1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000, 3_600_000];

/** What this process has done since its start, for metrics. */
export class Counters {
  readonly #outcomes = new Map<RunOutcome, number>();
  readonly #lateness = new Histogram();
  readonly #duration = new Histogram();
  #started = 0;
  #takenOver = 0;

  started(latenessMs: number): void {
    this.#started++;
    this.#lateness.add(latenessMs);
  }
  ended(outcome: RunOutcome, ms: number, count = 1): void {
    this.#outcomes.set(outcome, (this.#outcomes.get(outcome) ?? 0) + count);
    if (outcome !== 'skipped' && outcome !== 'missed' && outcome !== 'interrupted') this.#duration.add(ms);
  }
  tookOver(): void {
    this.#takenOver++;
  }

  snapshot(): SchedulerCounters {
    const of = (outcome: RunOutcome) => this.#outcomes.get(outcome) ?? 0;
    return {
      started: this.#started,
      succeeded: of('succeeded'),
      failed: of('failed'),
      timedOut: of('timeout'),
      interrupted: of('interrupted'),
      skipped: of('skipped'),
      missed: of('missed'),
      takenOver: this.#takenOver,
      lateness: this.#lateness.buckets(),
      duration: this.#duration.buckets(),
    };
  }
}

class Histogram {
  readonly #counts = new Array<number>(BOUNDS_MS.length + 1).fill(0);
  readonly #sums = new Array<number>(BOUNDS_MS.length + 1).fill(0);

  add(ms: number): void {
    const found = BOUNDS_MS.findIndex((bound) => ms <= bound);
    const at = found === -1 ? BOUNDS_MS.length : found;
    this.#counts[at] = (this.#counts[at] as number) + 1;
    this.#sums[at] = (this.#sums[at] as number) + ms;
  }

  buckets(): readonly Bucket[] {
    return [...BOUNDS_MS, Number.POSITIVE_INFINITY].map((upToMs, i) => ({
      upToMs,
      count: this.#counts[i] as number,
      sumMs: this.#sums[i] as number,
    }));
  }
}
