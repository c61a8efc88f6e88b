import { setTimeout as wait } from 'node:timers/promises';
import { until } from '../../condition.ts';
import { strict } from '../../outcome.ts';
import { effectsOf } from '../rows.ts';
import { CLUSTER, type JobScenario, TERMS } from '../scenario.ts';
import { committing, noneOf, summaryOf, unprovoked, verdictChecks, watch } from '../trial.ts';

const WAYS = ['from a commit on', 'back', 'to the database'] as const;
const PAYLOAD = { forMs: 300, effect: 'late' };

/** What the holder says to the database comes late, or what the database answers. */
export const jobsSlowDatabase: JobScenario = {
  world: CLUSTER,
  full: { ...TERMS, jobs: 10, times: 3, awayMs: [1000, 3000, 8000, 20_000] },
  short: { ...TERMS, jobs: 4, times: 2, awayMs: [7000] },
  async run(world, terms) {
    const told: string[] = [];
    const half = (name: string, again: boolean) => {
      return { name, count: Math.ceil(terms.jobs / 2), everyMs: 1000, payload: PAYLOAD, again };
    };
    const groups = [half('again', true), half('leave', false)];
    const trial = await watch(world, { groups, seconds: terms.seconds }, async (acting) => {
      for (let turn = 0; turn < terms.times; turn++) {
        for (const [i, ms] of terms.awayMs.entries()) {
          await acting.goesOn();
          const holder = await world.holding();
          await acting.inHand(holder.keeper.pid);
          const way = WAYS[(turn + i) % WAYS.length] as (typeof WAYS)[number];
          // Firings that are in the database are told of so late.
          if (way === 'from a commit on') await committing(holder);
          holder.proxy?.delay(way === 'to the database' ? { toServerMs: ms } : { toClientMs: ms });
          // Some statements on their way, and some after them.
          await wait(ms + 5000);
          const next = await world.holder();
          holder.proxy?.delay({});
          const kept = next?.by === holder ? 'kept the lease' : `lost it to ${next?.by.name ?? 'nobody yet'}`;
          told.push(`${ms / 1000} s ${way}: ${holder.name} ${kept}`);
          await until(`${holder.name} is well again`, () => isWell(holder.url));
        }
      }
      await acting.goesOn(4);
    });
    const { rows, verdict } = trial;
    const effects = await effectsOf(world.database);
    const twice = [...effects].filter(([, count]) => count > 1);
    const done = rows.filter(({ outcome }) => outcome === 'succeeded');
    const without = done.filter(({ token }) => effects.get(token) !== 1);
    return {
      title: `the holder's way to the database slow by ${terms.awayMs.map((ms) => ms / 1000).join(', ')} s`,
      about: [
        ...summaryOf(trial),
        ...told,
        `interrupted though their process lived, since its lease had ended: ${unprovoked(trial).length}`,
      ],
      tables: [],
      checks: [
        ...verdictChecks(trial),
        noneOf(trial, 'missed', 'skipped', 'timeout', 'none'),
        strict('no effect was made twice', twice.length === 0, twice.length),
        strict(
          'every firing that succeeded has one effect',
          without.length === 0 && done.length > 0,
          `${done.length - without.length} of ${done.length}`,
        ),
        strict('runs went on', verdict.fired > 0, `${verdict.fired} of ${verdict.promised}`),
      ],
    };
  },
};

async function isWell(url: string): Promise<boolean> {
  const response = await fetch(`${url}/gantry/ping`, { signal: AbortSignal.timeout(2000) });
  await response.arrayBuffer();
  return response.status === 200;
}
