import { createHash } from 'node:crypto';
import { type Job, type Times, timesOf } from '../../core/api.ts';
import { Heap } from './heap.ts';

/** A job in the plan. */
export interface Entry {
  readonly job: Job;
  readonly times: Times;
  /** Every due time up to it is accounted for: run, skipped, missed, or none of this job's business. */
  from: number;
  /** The next due time; null: never again. */
  due: number | null;
  /** When that is to be started, its jitter included. */
  ready: number;
}

/** Places that may be left over. */
const SPARE = 1000;

interface HeapEntry {
  readonly entry: Entry;
  readonly ready: number;
}

/** Due times of one job that are to be decided on. */
export interface DueTimes {
  readonly entry: Entry;
  /** The latest ones, in order; never empty. */
  readonly times: readonly number[];
  /** How many there are, earlier ones too. */
  readonly count: number;
  /** The last one. */
  readonly until: number;
  /** When that was to be started. */
  readonly readyAt: number;
}

/** What is due next, of all jobs. Each next time follows from the job's definition, never from the run before. */
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

  /** In place of what there was of that name; its due times up to `from` are accounted for. */
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

  /** When the first one is ready; null: none ever. */
  nextReady(): number | null {
    while (true) {
      const first = this.#heap.peek();
      if (first === undefined) return null;
      if (this.#isCurrent(first)) return first.ready;
      this.#heap.pop();
    }
  }

  /** Those that are ready, at most `limit` jobs. They are in the plan again once they are settled, or put back. */
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

  /** Everything up to `until` is accounted for. */
  settle(entry: Entry, until: number): void {
    entry.from = Math.max(entry.from, until);
    entry.due = entry.times.next(entry.from);
    entry.ready = entry.due === null ? 0 : readyAt(entry, entry.due);
    this.putBack(entry);
  }
  putBack(entry: Entry): void {
    if (entry.due === null || this.#entries.get(entry.job.name) !== entry) return;
    this.#heap.push({ entry, ready: entry.ready });
    // What was dropped or settled stays in the heap until it comes to the top, which may be in years.
    if (this.#heap.size > 2 * this.#entries.size + SPARE) this.#heap.keep((one) => this.#isCurrent(one));
  }
  /** Places in the heap, those that stand no longer too. */
  get heapSize(): number {
    return this.#heap.size;
  }

  /** Whatever is due up to it, of any job, is accounted for. `open`: those that are being decided on. */
  mark(now: number, open: readonly DueTimes[]): number {
    let mark = now - this.#longestJitterMs;
    const ready = this.nextReady();
    if (ready !== null) mark = Math.min(mark, ready - this.#longestJitterMs - 1);
    for (const { entry } of open) if (entry.due !== null) mark = Math.min(mark, entry.due - 1);
    return mark;
  }

  /** An entry is in the heap once for each time that it was settled: the latest one stands. */
  #isCurrent({ entry, ready }: HeapEntry): boolean {
    return this.#entries.get(entry.job.name) === entry && entry.due !== null && entry.ready === ready;
  }
}

function dueTimes(entry: Entry, now: number): DueTimes | null {
  const { job, times, from } = entry;
  // One more than are made up for, and one that is on time: so what the first ones are accounted for by is a due time, too.
  const found = times.between(from, now, job.missed.limit + 2);
  const ready = [...found.times];
  let count = found.count;
  // Only of the last one the jitter may not be over.
  if (ready.length > 0 && readyAt(entry, ready.at(-1) as number) > now) {
    ready.pop();
    count--;
  }
  const until = ready.at(-1);
  return until === undefined ? null : { entry, times: ready, count, until, readyAt: readyAt(entry, until) };
}

/** When a due time of a job is to be started: later by a part of its jitter, and before the next one is due. */
export function readyAt({ job, times }: Pick<Entry, 'job' | 'times'>, due: number): number {
  return job.jitterMs === 0 ? due : due + jitterOf(job, due, times.next(due));
}

/** The same for one due time on every server. */
export function jitterOf({ name, jitterMs }: Pick<Job, 'name' | 'jitterMs'>, due: number, next: number | null): number {
  const most = next === null ? jitterMs : Math.min(jitterMs, next - due - 1);
  return most <= 0 ? 0 : digest('jitter', name, due).readUInt32BE(0) % (most + 1);
}

/** Of the firing of a job at a time: the same wherever it is made. 32 hex digits. */
export function tokenOf(job: string, due: number): string {
  return digest('schedule', job, due).toString('hex').slice(0, 32);
}
export function backfillToken(job: string, due: number): string {
  return digest('backfill', job, due).toString('hex').slice(0, 32);
}

function digest(...parts: readonly (string | number)[]): Buffer {
  return createHash('sha256').update(JSON.stringify(parts)).digest();
}
