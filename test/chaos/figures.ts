import { KINDS, type KindName, type Sent } from './traffic.ts';

/** What became of all requests of one kind. */
export interface Summary {
  readonly kind: KindName;
  readonly label: string;
  readonly sent: number;
  readonly ok: number;
  readonly failed: number;
  /** How they failed, and how often. */
  readonly failures: Readonly<Record<string, number>>;
  /** From when it was due to the end of the answer; of those that succeeded. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  /** The longest time in which none was answered well. */
  readonly gapMs: number;
}

export const isOk = ({ failure }: Sent) => failure === '';

/** One summary for each kind that was sent. */
export function summarise(sent: readonly Sent[]): readonly Summary[] {
  return KINDS.map(({ name, label }) => {
    const own = sent.filter(({ kind }) => kind === name);
    const good = own.filter(isOk);
    const latencies = good.map(({ dueAt, endedAt }) => endedAt - dueAt).sort((a, b) => a - b);
    return {
      kind: name,
      label,
      sent: own.length,
      ok: good.length,
      failed: own.length - good.length,
      failures: countBy(
        own.filter((one) => !isOk(one)),
        ({ failure }) => failure,
      ),
      p50Ms: quantile(latencies, 0.5),
      p99Ms: quantile(latencies, 0.99),
      maxMs: latencies.at(-1) ?? Number.NaN,
      gapMs: longestGap(own),
    };
  }).filter((one) => one.sent > 0);
}

/** Of all of them: the value below which a share of the latencies lies. */
export function latencyOf(sent: readonly Sent[], share: number): number {
  const latencies = sent
    .filter(isOk)
    .map(({ dueAt, endedAt }) => endedAt - dueAt)
    .sort((a, b) => a - b);
  return quantile(latencies, share);
}

/** Between the first and the last that were due. */
export function longestGap(sent: readonly Sent[]): number {
  if (sent.length === 0) return 0;
  const { least: from, most: until } = boundsOf(sent.map(({ dueAt }) => dueAt));
  const good = sent
    .filter(isOk)
    .map(({ endedAt }) => endedAt)
    .filter((at) => at < until)
    .sort((a, b) => a - b);
  let gap = 0;
  let last = from;
  for (const at of [...good, until]) {
    gap = Math.max(gap, at - last);
    last = at;
  }
  return gap;
}

/** Of any number of values: more than a call takes arguments. */
export function boundsOf(values: readonly number[]): { readonly least: number; readonly most: number } {
  let least = Number.POSITIVE_INFINITY;
  let most = Number.NEGATIVE_INFINITY;
  for (const value of values) {
    if (value < least) least = value;
    if (value > most) most = value;
  }
  return { least, most };
}

export function countBy<T>(all: readonly T[], key: (one: T) => string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const one of all) counts[key(one)] = (counts[key(one)] ?? 0) + 1;
  return counts;
}

export function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** Something that was done, and when: ms since the epoch. */
export interface Mark {
  readonly at: number;
  readonly what: string;
}

/** Where the parts of a timeline begin, in ms after a mark. */
const STEPS_MS = [0, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000];
const LINES = 40;

/** When failures ended, by the mark before them: `kill s1 +0..50 ms: 7 x get 502 (sent -40..-2 ms)`. */
export function timeline(sent: readonly Sent[], marks: readonly Mark[]): readonly string[] {
  const groups = new Map<string, { mark: Mark; step: number; failed: Sent[] }>();
  for (const one of sent.filter((each) => !isOk(each)).sort((a, b) => a.endedAt - b.endedAt)) {
    const mark = marks.findLast(({ at }) => at <= one.endedAt) ?? { at: sent[0]?.dueAt ?? 0, what: 'start' };
    const step = STEPS_MS.findLastIndex((from) => from <= one.endedAt - mark.at);
    const key = `${mark.what} ${mark.at} ${step}`;
    const group = groups.get(key) ?? { mark, step, failed: [] };
    group.failed.push(one);
    groups.set(key, group);
  }
  const lines = [...groups.values()].map(({ mark, step, failed }) => {
    const how = countBy(failed, ({ kind, failure }) => `${kind} ${failure}`);
    const began = boundsOf(failed.map(({ sentAt }) => Math.round(sentAt - mark.at)));
    const told = Object.entries(how).map(([what, count]) => `${count} x ${what}`);
    const span = `+${STEPS_MS[step] ?? 0}..${STEPS_MS[step + 1] ?? ''} ms`;
    return `${mark.what} ${span}: ${told.join(', ')} (sent ${began.least}..${began.most} ms)`;
  });
  return lines.length <= LINES ? lines : [...lines.slice(0, LINES), `... and ${lines.length - LINES} more`];
}
