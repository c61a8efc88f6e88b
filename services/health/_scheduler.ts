import type { Bucket, Scheduler, SchedulerCounters } from 'gantry/ports';
import { family, label, single } from './_exposition.ts';

/** Jobs and durable calls, as this server knows of them: what it does not know is left out. */
export function aboutScheduler(scheduler: Scheduler): string[] {
  const { holder, isHolder, paused, planned, overdue, inHand, waiting, dead, takenOver, ...rest } = stateOf(scheduler);
  const isUp = holder !== null || scheduler.problem === null;
  return [
    single('gantry_scheduler_up', 'gauge', 'Whether some server has the scheduler, or none needs it', isUp ? 1 : 0),
    single('gantry_scheduler_holder', 'gauge', 'Whether this server has the scheduler', isHolder ? 1 : 0),
    single('gantry_scheduler_paused', 'gauge', 'Whether all jobs are paused', paused ? 1 : 0),
    counter('gantry_scheduler_takeovers_total', 'Times that this server became the holder', takenOver),
    known('gantry_jobs_planned', 'Jobs that will run again; told by the holder', planned),
    single('gantry_jobs_overdue', 'gauge', 'Jobs that should have run and did not, 20 at most', overdue.length),
    known('gantry_runs_waiting', 'Runs that wait, of all servers', waiting),
    known('gantry_runs_dead', 'Runs that were given up, of all servers', dead),
    single('gantry_runs_in_hand', 'gauge', 'Runs in hand on this server', inHand.length),
    ...rest.told,
  ];
}

function stateOf(scheduler: Scheduler) {
  const { counters, ...state } = scheduler.status();
  return { ...state, takenOver: counters.takenOver, told: aboutRuns(counters) };
}

function aboutRuns(counters: SchedulerCounters): string[] {
  const { succeeded, failed, timedOut, interrupted, missed, skipped, lateness, duration } = counters;
  const outcomes = Object.entries({ succeeded, failed, timeout: timedOut, interrupted });
  return [
    family(
      'gantry_runs_total',
      'counter',
      'Runs that ended on this server, by outcome',
      outcomes.map(([outcome, count]) => `gantry_runs_total{${label('outcome', outcome)}} ${count}\n`),
    ),
    counter('gantry_jobs_missed_total', 'Due times that were not started in time', missed),
    counter('gantry_jobs_skipped_total', 'Due times left out, since the run before was under way', skipped),
    histogram('gantry_job_lateness_seconds', 'From when runs were due to their start', lateness),
    histogram('gantry_run_duration_seconds', 'How long runs took', duration),
  ];
}

function counter(name: string, help: string, value: number): string {
  return single(name, 'counter', help, value);
}

function known(name: string, help: string, value: number | null): string {
  return value === null ? '' : single(name, 'gauge', help, value);
}

function histogram(name: string, help: string, buckets: readonly Bucket[]): string {
  const samples: string[] = [];
  let [count, sumMs] = [0, 0];
  for (const bucket of buckets) {
    count += bucket.count;
    sumMs += bucket.sumMs;
    const le = bucket.upToMs === Number.POSITIVE_INFINITY ? '+Inf' : bucket.upToMs / 1000;
    samples.push(`${name}_bucket{le="${le}"} ${count}\n`);
  }
  return family(name, 'histogram', help, [...samples, `${name}_sum ${sumMs / 1000}\n${name}_count ${count}\n`]);
}
