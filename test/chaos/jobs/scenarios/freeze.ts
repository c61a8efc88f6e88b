import { setTimeout as wait } from 'node:timers/promises';
import { type Check, strict, timely } from '../../outcome.ts';
import { type Absence, grouped, keyOf } from '../judge.ts';
import type { Line } from '../lines.ts';
import { effectsOf } from '../rows.ts';
import { CLUSTER, type JobScenario, type JobTerms, TERMS } from '../scenario.ts';
import {
  committing,
  type Group,
  type JobTrial,
  noneOf,
  spreadOf,
  summaryOf,
  underWay,
  unprovoked,
  verdictChecks,
  watch,
} from '../trial.ts';

/** Longer than the server stands still by so much, so that it is thawed with runs in the middle. */
const LONGER_MS = 5000;
/** A thawed run hears at once that it is not its own any more. */
const TOLD_MS = 1000;

/** Long ones that listen and long ones that do not, each with an effect at its end; and short ones. */
function groupsOf({ awayMs }: JobTerms): readonly Group[] {
  return (['again', 'leave'] as const).flatMap((name) => {
    const all = { count: 1, everyMs: 4000, again: name === 'again' };
    const payload = { forMs: Math.max(...awayMs) + LONGER_MS, effect: 'late' };
    return [
      { ...all, name: `long-${name}`, payload },
      { ...all, name: `deaf-${name}`, payload: { ...payload, deaf: true } },
      { ...all, name: `short-${name}`, everyMs: 1000, payload: { forMs: 300, effect: 'late' } },
    ];
  });
}

/** What was in hand on a process that stood still, and what became of it there. */
interface Held {
  readonly start: Line;
  readonly thawedAt: number;
  /** What it wrote down after the thaw. */
  readonly later: readonly Line[];
}

/** SIGSTOP of the holder until its leases have ended, with runs in the middle, and SIGCONT. */
export const jobsFreeze: JobScenario = {
  world: CLUSTER,
  full: { ...TERMS, times: 10, awayMs: [15_000] },
  short: { ...TERMS, times: 1, awayMs: [12_000] },
  async run(world, terms) {
    const stops: Absence[] = [];
    const tookMs: number[] = [];
    const trial = await watch(world, { groups: groupsOf(terms), seconds: terms.seconds }, async (acting) => {
      for (let i = 0; i < terms.times; i++) {
        await acting.goesOn(4);
        const holder = await world.holding();
        const pid = holder.keeper.pid;
        await acting.inHand(pid);
        // Each second time when it has just told the database what it starts now.
        if (i % 2 === 1) await committing(holder);
        const thaw = await world.freeze(holder);
        const over = wait(terms.awayMs[i % terms.awayMs.length]);
        const { at } = await acting.startedElsewhere(pid, Date.now());
        await over;
        const stop = thaw();
        stops.push(stop);
        tookMs.push(at - stop.from);
        await acting.goesOn();
      }
    });
    const held = stops.flatMap((stop) => heldBy(trial.lines, stop));
    const strays = unprovoked(trial);
    return {
      title: `SIGSTOP of the holder for ${terms.awayMs.map((ms) => ms / 1000).join(', ')} s in the middle of runs, and SIGCONT, ${terms.times} times`,
      about: [
        ...summaryOf(trial),
        `in hand on those that stood still: ${held.length}; from SIGSTOP to the first start by the next holder: ${spreadOf(tookMs)}`,
      ],
      tables: [],
      checks: [
        ...verdictChecks(trial),
        noneOf(trial, 'missed', 'skipped', 'failed', 'timeout', 'none'),
        strict(
          'only runs of who stood still were interrupted',
          strays.length === 0,
          strays.slice(0, 3).join('; ') || 0,
        ),
        ...ofTheThawed(trial, held, terms.times),
        ...(await ofEffects(trial, await effectsOf(world.database))),
      ],
    };
  },
};

function heldBy(lines: readonly Line[], { pid, from, until }: Absence): Held[] {
  const own = lines.filter((line) => line.pid === pid);
  const after = grouped(
    own.filter(({ at }) => at >= until),
    keyOf,
  );
  const starts = underWay(own.filter(({ at }) => at <= from));
  return starts.map((start) => ({ start, thawedAt: until, later: after.get(keyOf(start)) ?? [] }));
}

/** They are told, and whatever they do then counts no more. */
function ofTheThawed({ rows }: JobTrial, held: readonly Held[], times: number): Check[] {
  const rowOf = new Map(rows.map((row) => [keyOf(row), row]));
  const long = held.filter(({ start }) => /-(long|deaf)-/.test(start.job ?? ''));
  const untold = long.filter(
    ({ later }) => !later.some(({ event, code }) => event === 'aborted' && code === 'LEASE_LOST'),
  );
  const told = long
    .filter(({ start }) => start.job?.includes('-long-'))
    .flatMap(({ later, thawedAt }) => later.filter(({ event }) => event === 'aborted').map(({ at }) => at - thawedAt));
  const notRefused = long.filter(
    ({ later }) => !later.some(({ event, code }) => event === 'refused' && code === 'LEASE_LOST'),
  );
  const made = held.filter(({ later }) => later.some(({ event }) => event === 'effect'));
  const kept = held.filter(({ start }) => rowOf.get(keyOf(start))?.outcome !== 'interrupted');
  const deaf = held.filter(
    ({ start, later }) => start.job?.includes('-deaf-') && later.some(({ event }) => event === 'end'),
  );
  const first = (some: readonly Held[]) =>
    some
      .map(({ start }) => `${start.job} ${keyOf(start)}`)
      .slice(0, 3)
      .join('; ');
  return [
    strict('long runs were in the middle each time', long.length >= 2 * times, long.length),
    strict(
      'every long run that was thawed is told LEASE_LOST',
      untold.length === 0,
      first(untold) || `${long.length} told`,
    ),
    strict(
      'its effect is refused with LEASE_LOST',
      notRefused.length === 0,
      first(notRefused) || `${long.length} refused`,
    ),
    strict('no run makes an effect after the thaw', made.length === 0, first(made) || 0),
    strict('each is recorded as interrupted, whatever it ended with', kept.length === 0, first(kept) || held.length),
    strict('some of them went on to their end', deaf.length > 0, deaf.length),
    timely('after the thaw it is told', Math.max(...told), TOLD_MS),
  ];
}

/** What succeeded has one effect; the token is the same for all attempts, so that none has two. */
async function ofEffects({ rows }: JobTrial, effects: ReadonlyMap<string, number>): Promise<Check[]> {
  const done = rows.filter(({ outcome }) => outcome === 'succeeded');
  const without = done.filter(({ token }) => effects.get(token) !== 1);
  const left = rows.filter(({ outcome, token }) => outcome !== 'succeeded' && !done.some((one) => one.token === token));
  const stray = left.filter(({ token }) => effects.has(token));
  return [
    strict(
      'every firing that succeeded has one effect',
      without.length === 0 && done.length > 0,
      `${done.length - without.length} of ${done.length}`,
    ),
    strict('one that did not has none', stray.length === 0, `${stray.length} of ${left.length}`),
  ];
}
