import { setTimeout as wait } from 'node:timers/promises';
import { strict } from '../../outcome.ts';
import { CLUSTER, type JobScenario, TERMS } from '../scenario.ts';
import type { Statements } from '../statements.ts';

/** Tables of leases and runs. */
const SCHEDULER = /gantry_(leases|runs)/;
const LONGEST = 100;
/** A few looks each second. */
const MOST_PER_SECOND = 5;
/** What is seldom, like the care once a minute, comes all at once: a short time may hold as much of it as a long one. */
const MOST_SELDOM = 20;

/** Nothing to do: what the scheduler asks of the database all the same. */
export const jobsIdle: JobScenario = {
  world: CLUSTER,
  full: { ...TERMS, seconds: 120 },
  short: { ...TERMS, seconds: 5 },
  async run(world, terms) {
    const holder = await world.holding();
    await world.agreed();
    for (const { statements } of world.servers) statements.clear();
    await wait(terms.seconds * 1000);
    const minute = (count: number) => (count * 60) / terms.seconds;
    const told = world.servers.map(({ name, statements }) => ({
      name,
      role: name === holder.name ? 'holder' : '',
      all: minute(statements.total),
      own: minute(statements.of(SCHEDULER)),
    }));
    const most = Math.max(...world.servers.map(({ statements }) => statements.of(SCHEDULER)));
    const allowed = MOST_PER_SECOND * terms.seconds + MOST_SELDOM;
    return {
      title: `no jobs at all, for ${terms.seconds} s: statements a minute`,
      about: told.flatMap(({ name, role }) => [
        `${name} ${role}`.trim(),
        ...textsOf(world.named(name).statements, minute),
      ]),
      tables: [
        {
          head: ['server', 'statements/min', 'of the scheduler'],
          rows: told.map(({ name, role, all, own }) => [`${name} ${role}`.trim(), all.toFixed(0), own.toFixed(0)]),
        },
      ],
      checks: [
        strict(
          'they were heard',
          told.every(({ own }) => own > 0),
          told.map(({ own }) => own.toFixed(0)).join(', '),
        ),
        strict(
          `at most ${MOST_PER_SECOND} a second of the scheduler on each server, and ${MOST_SELDOM} that are seldom`,
          most <= allowed,
          `${most} of ${allowed}`,
        ),
      ],
    };
  },
};

function textsOf(statements: Statements, minute: (count: number) => number): string[] {
  const sorted = [...statements.counts].sort(([, a], [, b]) => b - a).slice(0, 8);
  return sorted.map(
    ([text, count]) => `  ${minute(count).toFixed(0).padStart(5)}  ${text.replace(/\s+/g, ' ').slice(0, LONGEST)}`,
  );
}
