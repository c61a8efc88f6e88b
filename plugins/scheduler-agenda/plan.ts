import { createHash } from 'node:crypto';
import { type Job, type Times, timesOf } from '../../core/parts.ts';
import { Heap } from './heap.ts';

/** A job in the plan. */
export interface Entry {
  readonly job: Job;
  readonly times: Times;
  /** Every due time up to this moment is accounted for: it ran, was skipped or missed, or does not count. */
  from: number;
  /** The next due time; null: never again. */
  due: number | null;
  /** When that due time should start, jitter included. */
  ready: number;
}

/** How many outdated heap entries are always tolerated. */
const SPARE = 1000;

interface HeapEntry {
  readonly entry: Entry;
  readonly ready: number;
}

/** Due times of one job that nobody has decided on. */
export interface DueTimes {
  readonly entry: Entry;
  /** The latest of them, in order; never empty. */
  readonly times: readonly number[];
  /** How many there are in all. */
  readonly count: number;
  /** The last one. */
  readonly until: number;
  /** When the last one should have started, jitter included. */
  readonly readyAt: number;
}

/** The next due time of every job. It follows from the job's definition, never from the previous run. */
export class Plan {
  readonly #entries = new Map<string, Entry>();
  readonly #heap = new Heap<HeapEntry>((one, other) => one.ready < other.ready);
  #longestJitterMs = 0;

  get size(): number {
    let size = 0;
    for (const { due } of this.#entries.values()) if (due !== null) size++;
    return size;
  }
  entries(): Iterable<Entry> {
    return this.#entries.values();
  }
  find(name: string): Entry | null {
    return this.#entries.get(name) ?? null;
  }

  /** Adds a job, or replaces the one of its name. Its due times up to `from` count as accounted for. */
  put(job: Job, from: number): Entry {
    const entry: Entry = { job, times: timesOf(job), from, due: null, ready: 0 };
    this.#entries.set(job.name, entry);
    this.#longestJitterMs = Math.max(this.#longestJitterMs, job.jitterMs);
    this.settle(entry, from);
    return entry;
  }
  drop(name: string): void {
    this.#entries.delete(name);
  }
  clear(): void {
    this.#entries.clear();
    this.#heap.clear();
    this.#longestJitterMs = 0;
  }

  /** When the next job is ready; null: no job will ever be. */
  nextReady(): number | null {
    while (true) {
      const first = this.#heap.peek();
      if (first === undefined) return null;
      if (this.#isCurrent(first)) return first.ready;
      this.#heap.pop();
    }
  }

  /** Takes out the jobs that are ready, at most `limit`. They return to the heap by settle() or putBack(). */
  take(now: number, limit: number): DueTimes[] {
    const found: DueTimes[] = [];
    while (found.length < limit) {
      const ready = this.nextReady();
      if (ready === null || ready > now) return found;
      const { entry } = this.#heap.pop() as HeapEntry;
      const due = dueTimes(entry, now);
      if (due !== null) found.push(due);
      else this.putBack(entry);
    }
    return found;
  }

  /** Records that every due time up to `until` is accounted for, and plans the next one. */
  settle(entry: Entry, until: number): void {
    entry.from = Math.max(entry.from, until);
    entry.due = entry.times.next(entry.from);
    entry.ready = entry.due === null ? 0 : readyAt(entry, entry.due);
    this.putBack(entry);
  }
  putBack(entry: Entry): void {
    if (entry.due === null || this.#entries.get(entry.job.name) !== entry) return;
    this.#heap.push({ entry, ready: entry.ready });
    // An outdated entry stays in the heap until it reaches the top, which may take years.
    if (this.#heap.size > 2 * this.#entries.size + SPARE) this.#heap.keep((one) => this.#isCurrent(one));
  }
  /** The size of the heap, outdated entries included. */
  get heapSize(): number {
    return this.#heap.size;
  }

  /** The moment up to which the due times of all jobs are accounted for. `open`: due times that are being decided on. */
  mark(now: number, open: readonly DueTimes[]): number {
    let mark = now - this.#longestJitterMs;
    const ready = this.nextReady();
    if (ready !== null) mark = Math.min(mark, ready - this.#longestJitterMs - 1);
    for (const { entry } of open) if (entry.due !== null) mark = Math.min(mark, entry.due - 1);
    return mark;
  }

  /** A job is in the heap once for each time that it was settled; only the latest entry counts. */
  #isCurrent({ entry, ready }: HeapEntry): boolean {
    return this.#entries.get(entry.job.name) === entry && entry.due !== null && entry.ready === ready;
  }
}

function dueTimes(entry: Entry, now: number): DueTimes | null {
  const { job, times, from } = entry;
  // All that may be made up for, one that is on time, and one before them: the row that accounts for the rest.
  const found = times.between(from, now, job.missed.limit + 2);
  const ready = [...found.times];
  let count = found.count;
  // Only the last one can still be within its jitter.
  if (ready.length > 0 && readyAt(entry, ready.at(-1) as number) > now) {
    ready.pop();
    count--;
  }
  const until = ready.at(-1);
  return until === undefined ? null : { entry, times: ready, count, until, readyAt: readyAt(entry, until) };
}

/** When a due time should start: later by a part of the job's jitter, but before the next due time. */
export function readyAt({ job, times }: Pick<Entry, 'job' | 'times'>, due: number): number {
  return job.jitterMs === 0 ? due : due + jitterOf(job, due, times.next(due));
}

/** The delay of one due time in ms; every server computes the same one. */
export function jitterOf({ name, jitterMs }: Pick<Job, 'name' | 'jitterMs'>, due: number, next: number | null): number {
  const most = next === null ? jitterMs : Math.min(jitterMs, next - due - 1);
  return most <= 0 ? 0 : digest('jitter', name, due).readUInt32BE(0) % (most + 1);
}

/** The token of a job's run at a due time, the same on every server: 32 hex digits. */
export function tokenOf(job: string, due: number): string {
  return digest('schedule', job, due).toString('hex').slice(0, 32);
}
export function backfillToken(job: string, due: number): string {
  return digest('backfill', job, due).toString('hex').slice(0, 32);
}

function digest(...parts: readonly (string | number)[]): Buffer {
  return createHash('sha256').update(JSON.stringify(parts)).digest();
}
