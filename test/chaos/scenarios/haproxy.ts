import { until } from '../condition.ts';
import { boundsOf, isOk, longestGap } from '../figures.ts';
import { books, type Check, kindsTable, noneFailed, notesOf, type Outcome, strict, timely } from '../outcome.ts';
import type { Scenario } from '../scenario.ts';
import { MIX } from '../traffic.ts';
import { type Trial, trial } from '../trial.ts';

/** Reloads, the end of the agent, the end of HAProxy: each with a load of its own, since other things are promised. */
export const haproxy: Scenario = async (world, terms) => {
  const share = { ...terms, seconds: terms.seconds / 3 };
  const reloads = await trial(world, share, async ({ mark, answers }) => {
    for (let i = 0; i < terms.reloads; i++) {
      mark(`reload ${i + 1}`);
      await world.agentAdmin.call('balancer.reload');
      await answers(world.names[i % world.names.length] as string);
    }
  });
  const agent = await trial(world, share, async ({ mark, answers }) => {
    await answers(world.names[0] as string);
    mark('kill -9 of the agent');
    await world.agent.end('SIGKILL');
    for (const name of world.names) await answers(name);
    await world.agent.start();
    mark('the agent is there again');
    await world.ready();
    for (const name of world.names) await answers(name);
  });
  let killedAt = 0;
  let againAt = 0;
  const master = await trial(world, share, async ({ mark, answers }) => {
    await answers(world.names[0] as string);
    const { pid } = await world.balancer();
    if (pid === null) throw new Error('HAProxy does not run');
    killedAt = mark("kill -9 of HAProxy's master").at;
    process.kill(pid, 'SIGKILL');
    await until('HAProxy runs again', async () => {
      const again = await world.balancer();
      return again.running && again.pid !== pid;
    });
    againAt = mark('HAProxy runs again').at;
    for (const name of world.names) await answers(name);
  });
  const failed = master.sent.filter((one) => !isOk(one));
  const lastMs = boundsOf(failed.map(({ sentAt }) => sentAt - killedAt)).most;
  const held = failed.filter(({ sentAt }) => sentAt <= killedAt).length;
  return {
    title: `HAProxy: ${terms.reloads} reloads; kill -9 of the agent; kill -9 of HAProxy's master`,
    about: [
      'reloads:',
      ...notesOf(reloads),
      'agent:',
      ...notesOf(agent),
      'master:',
      ...notesOf(master),
      `of the ${failed.length} that failed ${held} were in hand; the others came while nobody listened`,
    ],
    tables: [reloads, agent, master].map(kindsTable),
    checks: [
      ...named('reloads', [...noneFailed(reloads, ...MIX), ...books(reloads)]),
      ...named('agent', [...noneFailed(agent, ...MIX), ...books(agent)]),
      ...named('master', [...books(master), serving(master, againAt)]),
      timely('master: the last one that failed was sent, after the kill', Math.max(0, lastMs), 2000),
      timely('master: longest time without an answer', longestGap(master.sent), 2000),
    ],
  };
};

function named(what: string, checks: Outcome['checks']): Outcome['checks'] {
  return checks.map((one) => ({ ...one, text: `${what}: ${one.text}` }));
}

/** Once it runs again nothing fails. */
function serving({ sent }: Trial, againAt: number): Check {
  const after = sent.filter(({ sentAt }) => sentAt > againAt);
  const failed = after.filter((one) => !isOk(one));
  const measured = `${failed.length} of ${after.length}`;
  return strict('nothing fails once it runs again', failed.length === 0 && after.length > 0, measured);
}
