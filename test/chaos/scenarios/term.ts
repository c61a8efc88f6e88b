import { books, kindsTable, noneFailed, notesOf, strict } from '../outcome.ts';
import type { Scenario } from '../scenario.ts';
import { MIX } from '../traffic.ts';
import { trial } from '../trial.ts';

/** SIGTERM to each server in turn, as systemd stops it, and a start. */
export const term: Scenario = async (world, terms) => {
  const turns = world.servers.slice(0, terms.turns);
  const before = turns.map(({ keeper }) => keeper.ends.length);
  const done = await trial(world, terms, async ({ mark, answers }) => {
    for (const { name, keeper } of turns) {
      await answers(name);
      mark(`SIGTERM ${name}`);
      await keeper.end('SIGTERM');
      mark(`${name} has ended`);
      await keeper.start();
      await world.ready();
      await answers(name);
    }
  });
  const ends = turns.map(({ keeper }, i) => keeper.ends.slice(before[i]).join());
  return {
    title: `SIGTERM to ${turns.map(({ name }) => name).join(', ')}, and a start`,
    about: notesOf(done),
    tables: [kindsTable(done)],
    checks: [
      ...noneFailed(done, ...MIX),
      ...books(done),
      strict(
        'each ended in order',
        ends.every((code) => code === '0'),
        `exit codes ${ends.join(', ')}`,
      ),
    ],
  };
};
