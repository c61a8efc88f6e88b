import type { Logger } from '../../core/api.ts';
import type { Job, Timetable } from '../../core/parts.ts';
import type { Attempt, Leases, RunEnd, Runs } from '../../core/ports/index.ts';
import type { DatabaseTime } from './clock.ts';
import type { Counters } from './counters.ts';
import { type HeldLeases, runLeaseName } from './leases.ts';
import { type Ending, sequelOf } from './sequel.ts';

interface Deps {
  readonly runs: Runs;
  readonly leases: Leases;
  readonly timetable: Timetable;
  readonly heldLeases: HeldLeases;
  readonly time: DatabaseTime;
  readonly counters: Counters;
  readonly log: Logger;
}

export interface Reaped {
  readonly interrupted: number;
}

const MOST = 10_000;
/** Small: if an effect of one of these runs is still being written, the whole transaction waits for it. */
const PORTION = 20;

/**
 * Ends the runs of dead servers as interrupted. Removes their leases first, so that a server that wakes up again cannot renew
 * its lease, and its writes are refused. Reads runs before leases, since a server has its lease before it has runs. `isOn`:
 * whether this server is still the holder.
 */
export async function reap(deps: Deps, isOn: () => boolean): Promise<Reaped> {
  const { runs, leases, heldLeases, log } = deps;
  const running = await runs.open({ state: 'running', brief: true, limit: MOST });
  const alive = new Set<string>();
  for (const lease of (await leases.renew([])).leases) {
    if (!lease.name.startsWith(runLeaseName(''))) continue;
    const isOwn = lease.holder === heldLeases.owner;
    const dead = lease.remainingMs <= 0 && !isOwn && (await leases.remove(lease.name, lease.holder));
    if (!dead) alive.add(lease.holder);
  }
  const owners = new Set(running.map(({ owner }) => owner as string));
  let interrupted = 0;
  for (const owner of owners) {
    if (alive.has(owner) || owner === heldLeases.owner || !isOn()) continue;
    const found = await runs.open({ state: 'running', owner, limit: MOST });
    for (let i = 0; i < found.length && isOn(); i += PORTION) {
      const some = found.slice(i, i + PORTION);
      const written = await runs.end(
        some.map((run) => endOf(deps, run)),
        owner,
        heldLeases.fence(),
      );
      interrupted += written.length;
      for (const _ of written) deps.counters.ended('interrupted', 0);
    }
    log.warn(
      { runs: found.length, of: found[0]?.server, owner },
      'the runs of a server whose lease expired are recorded as interrupted',
    );
  }
  return { interrupted };
}

function endOf({ timetable, time }: Deps, run: Attempt): RunEnd {
  const job: Job | null = run.job === null ? null : timetable.get(run.job);
  const endedAt = time.now();
  const reason = `'${run.server}' ended, or lost its lease, before there was an outcome`;
  const ending: Ending = { outcome: 'interrupted', endedAt, code: 'RUN_INTERRUPTED', reason };
  const { followers, dead } = sequelOf(run, ending, job);
  const { token, attempt } = run;
  return { token, attempt, outcome: ending.outcome, endedAt, reason, code: ending.code, dead, followers };
}
