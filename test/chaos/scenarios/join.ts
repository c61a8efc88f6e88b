import { boundsOf } from '../figures.ts';
import { HotModule, versionAt } from '../hot.ts';
import { books, kindsTable, noneFailed, notesOf, strict, timely } from '../outcome.ts';
import type { Scenario } from '../scenario.ts';
import { MIX } from '../traffic.ts';
import { trial } from '../trial.ts';

/** One more server, which leaves again at the end. */
export const join: Scenario = async (world, terms) => {
  const hot = new HotModule(world);
  await hot.begin();
  await hot.deploy();
  const server = await world.prepare();
  let launchedAt = 0;
  let readyAt = 0;
  let own = '';
  const services = async (admin = world.admin) =>
    (await admin.call<{ items: readonly { name: string }[] }>('service.list', { limit: 1000 })).items
      .map(({ name }) => name)
      .join();
  let same = false;
  const kinds = [...MIX, 'hot'] as const;
  const done = await trial(world, { ...terms, kinds }, async ({ mark, answers }) => {
    await answers(world.names[0] as string);
    launchedAt = mark(`${server.name} is started`).at;
    await server.keeper.start();
    readyAt = mark(`${server.name} is ready`).at;
    await answers(server.name, 1);
    mark(`${server.name} has answered through the balancer`);
    own = await versionAt(server.url);
    same = (await services(server.admin)) === (await services());
    await answers(server.name, 100);
  });
  const answered = done.sent.filter(({ by }) => by === server.name);
  const first = boundsOf(answered.map(({ endedAt }) => endedAt)).least;
  await server.keeper.end('SIGTERM');
  await world.forget(server);
  await hot.remove();
  return {
    title: 'a fourth server joins',
    about: [
      ...notesOf(done),
      `from the start of its process to its first answer: ${Math.round(first - launchedAt)} ms`,
    ],
    tables: [kindsTable(done)],
    checks: [
      ...noneFailed(done, ...kinds),
      ...books(done),
      timely('serves, from when it is ready', first - readyAt, 3000),
      strict('it has the same services', same, same ? 'the same list' : 'another list'),
      strict('and the module in the same version', own === String(hot.version), `version ${own}`),
    ],
  };
};
