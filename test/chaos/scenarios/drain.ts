import { until } from '../condition.ts';
import { books, kindsTable, noneFailed, notesOf, strict } from '../outcome.ts';
import type { Scenario } from '../scenario.ts';
import { MIX } from '../traffic.ts';
import { trial } from '../trial.ts';

/** Drain, offline and online of each server by an administrator. */
export const drain: Scenario = async (world, terms) => {
  const leaks: string[] = [];
  const done = await trial(world, terms, async ({ mark, answers, progress }) => {
    for (const { name } of world.servers.slice(0, terms.turns)) {
      await answers(name);
      const admin = (world.servers.find((one) => one.name !== name) ?? world.named(name)).admin;
      const is = async (holds: (one: { state: string; up: boolean; sessions: number }) => boolean) =>
        (await world.balancer()).servers.some((one) => one.name === name && holds(one));
      mark(`drain ${name}`);
      await admin.call('server.drain', { name });
      await until(`${name} is drained`, () => is(({ state, sessions }) => state === 'draining' && sessions === 0));
      mark(`offline ${name}`);
      await admin.call('server.offline', { name });
      await until(`${name} is offline`, () => is(({ state }) => state === 'offline'));
      const before = progress().by[name] ?? 0;
      // The others go on meanwhile.
      const other = world.names.find((one) => one !== name) as string;
      await answers(other, 100);
      const more = (progress().by[name] ?? 0) - before;
      if (more > 0) leaks.push(`${name} answered ${more}`);
      mark(`online ${name}`);
      await admin.call('server.online', { name });
      await until(`${name} is back`, () => is(({ up }) => up));
      await answers(name);
    }
  });
  return {
    title: `drain, offline and online of ${world.names.slice(0, terms.turns).join(', ')} by an administrator`,
    about: notesOf(done),
    tables: [kindsTable(done)],
    checks: [
      ...noneFailed(done, ...MIX),
      ...books(done),
      strict('one that is offline gets no calls', leaks.length === 0, leaks.join(', ') || 0),
    ],
  };
};
