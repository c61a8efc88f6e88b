import { until } from '../condition.ts';
import { books, kindsTable, noneFailed, notesOf, strict } from '../outcome.ts';
import type { Scenario } from '../scenario.ts';
import { MIX } from '../traffic.ts';
import { trial } from '../trial.ts';

const ROLL_MS = 180_000;

interface Roll {
  readonly id: string;
  readonly state: string;
  readonly endedAt: string | null;
  readonly problem: string | null;
}

/** Rolling restart of all servers by the agent. */
export const roll: Scenario = async (world, terms) => {
  const before = world.servers.map(({ keeper }) => keeper.ends.length);
  const states: string[] = [];
  const done = await trial(world, terms, async ({ mark, answers }) => {
    for (let i = 0; i < terms.rolls; i++) {
      await answers(world.names[0] as string);
      mark(`rolling restart ${i + 1}`);
      const { id } = await world.admin.call<Roll>('cluster.roll', {});
      let roll: Roll | null = null;
      const isOver = async () => {
        ({ roll } = await world.admin.call<{ roll: Roll | null }>('cluster.rolling'));
        return roll?.id === id && roll.endedAt !== null;
      };
      await until('the rolling restart is over', isOver, ROLL_MS, 200);
      const { state, problem } = roll as unknown as Roll;
      mark(`rolling restart ${i + 1} is ${state}`);
      states.push(problem === null ? state : `${state}: ${problem}`);
      for (const name of world.names) await answers(name);
    }
  });
  const restarts = world.servers.map(({ keeper }, i) => keeper.ends.slice(before[i]));
  return {
    title: `rolling restart of all servers, ${terms.rolls} times`,
    about: notesOf(done),
    tables: [kindsTable(done)],
    checks: [
      ...noneFailed(done, ...MIX),
      ...books(done),
      strict(
        'each server was restarted each time',
        restarts.every((ends) => ends.length === terms.rolls && ends.every((code) => code === 75)),
        restarts.map((ends) => ends.join('+')).join(', '),
      ),
      strict(
        'each ended as done',
        states.every((state) => state === 'done'),
        states.join(', '),
      ),
    ],
  };
};
