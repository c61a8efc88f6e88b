import { PERIODS, type Period, periodOf, type Tally } from '../../core/parts.ts';

/** What is written in one piece, and again with the same number until it is known to be written. */
export interface Batch {
  readonly per: Period;
  /** When the period began. */
  readonly begin: number;
  readonly service: string;
  /** Greater than that of every batch before. */
  readonly seq: number;
  readonly tally: Tally;
  /** Until then Redis surely remembers whether it was written; later on nobody knows. */
  readonly markedUntil: number;
}

interface Slot {
  /** Not written yet. */
  waiting: Tally | null;
  /** Written, perhaps: nobody has said so. Nothing else of this slot is written before that is known. */
  batch: Batch | null;
}

type Services = Map<string, Slot>;

/**
 * What was counted here and is not in Redis yet, by the minute in which it happened. Where it becomes too much, the
 * oldest minutes are added up to hours, and so on: precision goes, no call does.
 */
export class Buffer {
  readonly #most: number;
  readonly #expiry: (per: Period, begin: number) => number;
  readonly #coarsened: () => void;
  readonly #periods = new Map<Period, Map<number, Services>>(PERIODS.map((per) => [per, new Map()]));
  #size = 0;
  #seq = 0;

  /** `most`: services times periods. `expiry` tells when Redis forgets a period; `coarsened`: precision went. */
  constructor(most: number, expiry: (per: Period, begin: number) => number, coarsened: () => void) {
    this.#most = most;
    this.#expiry = expiry;
    this.#coarsened = coarsened;
  }

  /** Services times periods that are not in Redis yet. */
  get size(): number {
    return this.#size;
  }
  get calls(): number {
    let calls = 0;
    for (const { slot } of this.#all()) calls += (slot.waiting?.calls ?? 0) + (slot.batch?.tally.calls ?? 0);
    return calls;
  }

  add(atMs: number, taken: readonly (readonly [service: string, tally: Tally])[]): void {
    const minute = periodOf('minute', atMs);
    for (const [service, tally] of taken) this.#wait('minute', minute, service, tally);
    if (this.#size > this.#most) this.#coarsen(minute);
  }

  /** All that is to be written now: what waits, and what was written without an answer. */
  seal(nowMs: number): { readonly batches: readonly Batch[]; readonly lostCalls: number } {
    const batches: Batch[] = [];
    let lostCalls = 0;
    for (const { per, begin, service, slot } of this.#all()) {
      if (slot.batch !== null && slot.batch.markedUntil <= nowMs) {
        lostCalls += slot.batch.tally.calls;
        slot.batch = null;
      }
      if (slot.batch === null && slot.waiting !== null) {
        const markedUntil = this.#expiry(per, begin);
        slot.batch = { per, begin, service, seq: ++this.#seq, tally: slot.waiting, markedUntil };
        slot.waiting = null;
      }
      if (slot.batch === null) this.#remove(per, begin, service);
      else batches.push(slot.batch);
    }
    return { batches, lostCalls };
  }

  /** It is written. */
  settle({ per, begin, service, seq }: Batch): void {
    const slot = this.#periods.get(per)?.get(begin)?.get(service);
    if (slot?.batch?.seq !== seq) return;
    slot.batch = null;
    if (slot.waiting === null) this.#remove(per, begin, service);
  }

  #wait(per: Period, begin: number, service: string, tally: Tally): void {
    const periods = this.#periods.get(per) as Map<number, Services>;
    let services = periods.get(begin);
    if (services === undefined) periods.set(begin, (services = new Map()));
    let slot = services.get(service);
    if (slot === undefined) {
      services.set(service, (slot = { waiting: null, batch: null }));
      this.#size++;
    }
    if (slot.waiting === null) slot.waiting = tally;
    else slot.waiting.add(tally);
  }

  #remove(per: Period, begin: number, service: string): void {
    const services = this.#periods.get(per)?.get(begin);
    if (services?.delete(service) === true) this.#size--;
    if (services?.size === 0) this.#periods.get(per)?.delete(begin);
  }

  /** The finest first, of these the oldest first, and never the present one. */
  #coarsen(present: number): void {
    for (const [i, per] of PERIODS.entries()) {
      const coarser = PERIODS[i + 1];
      if (coarser === undefined) return;
      for (const begin of [...(this.#periods.get(per)?.keys() ?? [])].sort((one, other) => one - other)) {
        if (this.#size <= this.#most) return;
        if (begin === periodOf(per, present)) continue;
        this.#raise(per, begin, coarser);
      }
    }
  }

  #raise(per: Period, begin: number, coarser: Period): void {
    for (const [service, slot] of [...(this.#periods.get(per)?.get(begin) ?? [])]) {
      if (slot.waiting === null) continue;
      this.#wait(coarser, periodOf(coarser, begin), service, slot.waiting);
      slot.waiting = null;
      // What was written, perhaps, has to be written again where it was.
      if (slot.batch === null) this.#remove(per, begin, service);
      this.#coarsened();
    }
  }

  *#all() {
    for (const [per, periods] of this.#periods) {
      for (const [begin, services] of [...periods]) {
        for (const [service, slot] of [...services]) yield { per, begin, service, slot };
      }
    }
  }
}
