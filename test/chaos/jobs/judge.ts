/** Whether each firing was run as promised: by what runs wrote down themselves, and by the rows of the database. */
import type { Line } from './lines.ts';
import type { Row } from './rows.ts';

/** A job, and when it was due. */
export interface Watched {
  readonly job: string;
  /** All due times of the trial, in order. */
  readonly times: readonly number[];
  /** Whether a run whose server died gets another attempt. */
  readonly again: boolean;
}

/** When a process did not run. */
export interface Absence {
  readonly pid: number;
  readonly from: number;
  /** Infinity: it was killed. */
  readonly until: number;
}

export interface Evidence {
  readonly watched: readonly Watched[];
  readonly lines: readonly Line[];
  readonly rows: readonly Row[];
  readonly absences: readonly Absence[];
}

/** What must never be, and what it is called where it must not. */
export const FAULTS = {
  lost: 'no due time is lost: each has a row, or is counted in one',
  counted: 'no due time has two rows, or is counted in two',
  strange: 'no firing for a time at which its job was not due',
  open: 'every row has an outcome',
  repeated: 'no attempt was started twice',
  unrecorded: 'nothing was started without a row',
  foreign: 'every attempt was run by the server that its row names',
  belated: 'nothing was started whose row had an outcome already',
  unproven: 'what has succeeded was started, and came to its end',
  further:
    'there are further attempts of interrupted runs only, where the job asks for them, each with the next number',
  forsaken: 'every interrupted run has another attempt where its job asks for it, up to five',
  together:
    'never two attempts of a firing at once: the one before has ended, was told to end, or its process does not run',
} as const;
/** Servers know the time of the database to some milliseconds. */
const CLOSE_MS = 100;
/** After so many interruptions it is given up: docs/jobs.md. */
const MOST_ATTEMPTS = 6;
export type Fault = keyof typeof FAULTS;

/** After these lines nothing of a run counts any more. */
export const ENDS: ReadonlySet<Line['event']> = new Set(['end', 'failed', 'aborted']);

export interface Verdict {
  readonly faults: Readonly<Record<Fault, readonly string[]>>;
  /** Due times of all jobs. */
  readonly promised: number;
  /** Firings of which an attempt was started, and attempts that were. */
  readonly fired: number;
  readonly starts: number;
  /** Rows by their outcome; of those that stand for several due times, each. */
  readonly outcomes: Readonly<Record<string, number>>;
  readonly furtherAttempts: number;
  /** From due to the first start, in ms, the least first. */
  readonly latenessMs: readonly number[];
}

/** Only rows of schedules and what was run for them is looked at. */
export function judge({ watched, lines, rows, absences }: Evidence): Verdict {
  const jobs = new Map(watched.map((one) => [one.job, one]));
  const faults = Object.fromEntries(Object.keys(FAULTS).map((name) => [name, []])) as unknown as Record<
    Fault,
    string[]
  >;
  const own = rows.filter(({ job, source }) => source === 'schedule' && job !== null && jobs.has(job));
  const said = lines.filter(({ job, source }) => source === 'schedule' && job !== null && jobs.has(job));
  const starts = said.filter(({ event }) => event === 'start');
  const byToken = grouped(own, ({ token }) => token);

  judgeTimes(watched, byToken, faults);
  judgeAttempts(jobs, byToken, faults);
  judgeRuns(own, said, faults);
  for (const attempts of grouped(starts, ({ token }) => token).values()) {
    faults.together.push(...overlaps(attempts, said, absences));
  }

  const outcomes: Record<string, number> = {};
  for (const { outcome, count } of own) outcomes[outcome ?? 'none'] = (outcomes[outcome ?? 'none'] ?? 0) + count;
  return {
    faults,
    promised: watched.reduce((sum, { times }) => sum + times.length, 0),
    fired: new Set(starts.map(({ token }) => token)).size,
    starts: starts.length,
    outcomes,
    furtherAttempts: own.filter(({ attempt }) => attempt > 1).length,
    latenessMs: latenessOf(starts),
  };
}

/** Each due time is in exactly one firing. */
function judgeTimes(
  watched: readonly Watched[],
  byToken: ReadonlyMap<string, readonly Row[]>,
  faults: Record<Fault, string[]>,
): void {
  const firings = grouped(
    [...byToken.values()].map(([first]) => first as Row),
    ({ job }) => job as string,
  );
  for (const { job, times } of watched) {
    const places = new Map(times.map((time, i) => [time, i]));
    const counted = times.map(() => 0);
    const [first = Number.POSITIVE_INFINITY, last = Number.NEGATIVE_INFINITY] = [times[0], times.at(-1)];
    for (const { dueAt, count, outcome } of firings.get(job) ?? []) {
      // One that stands for many that nobody ran ends with the last of them, or between two.
      const at = places.get(dueAt) ?? (outcome === 'missed' ? indexBefore(times, dueAt) : undefined);
      if (at === undefined) {
        // Before and after the trial is no business of it.
        if (dueAt > first && dueAt < last) faults.strange.push(`${job} at ${shown(dueAt)}`);
        continue;
      }
      for (let i = at; i > at - count && i >= 0; i--) counted[i] = (counted[i] ?? 0) + 1;
    }
    for (const [i, n] of counted.entries()) {
      const what = `${job} at ${shown(times[i] as number)}`;
      if (n === 0) faults.lost.push(what);
      if (n > 1) faults.counted.push(`${what}: ${n} times`);
    }
  }
}

/** Of the last one before that time. */
function indexBefore(times: readonly number[], time: number): number | undefined {
  const at = times.findLastIndex((one) => one < time);
  return at === -1 ? undefined : at;
}

/** The attempts of one firing follow one another. */
function judgeAttempts(
  jobs: ReadonlyMap<string, Watched>,
  byToken: ReadonlyMap<string, readonly Row[]>,
  faults: Record<Fault, string[]>,
): void {
  for (const [token, unsorted] of byToken) {
    const attempts = [...unsorted].sort((a, b) => a.attempt - b.attempt);
    const { again = false } = jobs.get(attempts[0]?.job as string) ?? {};
    for (const [i, row] of attempts.entries()) {
      const what = `${row.job} ${token} attempt ${row.attempt}`;
      const before = attempts[i - 1];
      if (row.outcome === null) faults.open.push(what);
      if (row.attempt > MOST_ATTEMPTS) faults.further.push(`${what}: too many`);
      if (row.attempt !== i + 1) faults.further.push(`${what} is the ${i + 1}th`);
      if (row.dueAt !== attempts[0]?.dueAt || row.job !== attempts[0]?.job) faults.further.push(`${what} is another's`);
      if (before !== undefined && (!again || before.outcome !== 'interrupted')) {
        faults.further.push(`${what} after one that was ${before.outcome}${again ? '' : ', of a job that wants none'}`);
      }
    }
    const last = attempts.at(-1);
    if (again && last?.outcome === 'interrupted' && last.attempt < MOST_ATTEMPTS)
      faults.forsaken.push(`${last.job} ${token} attempt ${last.attempt}`);
  }
}

/** What was started is what the rows say. */
function judgeRuns(rows: readonly Row[], lines: readonly Line[], faults: Record<Fault, string[]>): void {
  const kept = new Map(rows.map((row) => [keyOf(row), row]));
  const said = grouped(lines, keyOf);
  for (const [key, own] of said) {
    const row = kept.get(key);
    const begun = own.filter(({ event }) => event === 'start');
    if (begun.length > 1)
      faults.repeated.push(`${key}: ${begun.map(({ server, at }) => `${server} ${shown(at)}`).join(', ')}`);
    if (row === undefined) {
      faults.unrecorded.push(key);
      continue;
    }
    const strangers = own.filter(({ owner, server, dueAt, job }) => {
      return owner !== row.owner || server !== row.server || dueAt !== row.dueAt || job !== row.job;
    });
    const [start] = begun;
    if (start !== undefined && row.endedAt !== null && start.at > row.endedAt + CLOSE_MS) {
      faults.belated.push(`${key}: ${row.outcome} at ${shown(row.endedAt)}, started at ${shown(start.at)}`);
    }
    if (strangers.length > 0) faults.foreign.push(`${key}: of ${row.server}, run by ${strangers[0]?.server}`);
  }
  for (const row of rows.filter(({ outcome }) => outcome === 'succeeded')) {
    const events = new Set((said.get(keyOf(row)) ?? []).map(({ event }) => event));
    if (!events.has('start') || !events.has('end'))
      faults.unproven.push(`${keyOf(row)}: ${[...events].join(', ') || 'nothing'}`);
  }
}

/** Of the attempts of one firing: those that began while another one was running. */
export function overlaps(starts: readonly Line[], lines: readonly Line[], absences: readonly Absence[]): string[] {
  if (starts.length < 2) return [];
  const spans = starts.map((start) => ({ start, until: untilOf(start, lines, absences) }));
  spans.sort((a, b) => a.start.at - b.start.at);
  const found: string[] = [];
  for (const [i, { start }] of spans.entries()) {
    const running = spans.slice(0, i).find(({ until }) => until > start.at);
    if (running === undefined) continue;
    const [one, other] = [running.start, start];
    found.push(`${one.token}: ${one.attempt} on ${one.server} and ${other.attempt} on ${other.server}`);
  }
  return found;
}

/** When it ended, was told to, or its process stopped running it: what it still does then is judged by its effects. */
function untilOf(start: Line, lines: readonly Line[], absences: readonly Absence[]): number {
  const ends = lines.filter((line) => line.pid === start.pid && keyOf(line) === keyOf(start) && ENDS.has(line.event));
  const gone = absences.filter(({ pid, until }) => pid === start.pid && until > start.at).map(({ from }) => from);
  return Math.min(Number.POSITIVE_INFINITY, ...ends.map(({ at }) => at), ...gone);
}

/** Of each firing: when its first attempt was started. */
export function latenessOf(starts: readonly Line[]): readonly number[] {
  const first = new Map<string, Line>();
  for (const start of starts) {
    if (start.at < (first.get(start.token)?.at ?? Number.POSITIVE_INFINITY)) first.set(start.token, start);
  }
  return [...first.values()].map(({ at, dueAt }) => at - dueAt).sort((a, b) => a - b);
}

export function keyOf({ token, attempt }: { readonly token: string; readonly attempt: number }): string {
  return `${token}#${attempt}`;
}

export function grouped<T>(all: readonly T[], key: (one: T) => string): ReadonlyMap<string, readonly T[]> {
  const groups = new Map<string, T[]>();
  for (const one of all) {
    const group = groups.get(key(one));
    if (group === undefined) groups.set(key(one), [one]);
    else group.push(one);
  }
  return groups;
}

function shown(time: number): string {
  return new Date(time).toISOString().slice(11, 23);
}
