import { defineService, type Service, Type } from '../../core/api.ts';
import type { Balancer } from '../../core/ports/index.ts';
import type { Agent } from './agent.ts';
import { withoutSecrets } from './settings.ts';

interface Parts {
  readonly agent: Agent;
  readonly balancer: Balancer;
}

const State = Type.Object({ running: Type.Boolean(), halted: Type.Boolean() });

/** What can be told to the program, and asked of it. */
export function commands({ agent, balancer }: Parts): readonly Service[] {
  const stateOf = async () => {
    const { running, halted } = await balancer.status();
    return { running, halted };
  };
  return [
    defineService({
      name: 'gantry.balancer.show',
      description: 'What the program answers to one of its own questions, as it is',
      attributes: { admin: { role: 'operator' } },
      input: Type.Object({
        what: Type.Union([Type.Literal('info'), Type.Literal('stat'), Type.Literal('sess'), Type.Literal('errors')]),
      }),
      output: Type.Object({ text: Type.String() }),
      create:
        () =>
        async ({ what }) => ({ text: withoutSecrets(await balancer.show(what), agent.settings) }),
    }),
    defineService({
      name: 'gantry.balancer.start',
      description: 'Starts the program where it does not run, with the last good configuration',
      attributes: { admin: { role: 'operator' } },
      input: Type.Object({}),
      output: State,
      create: ({ log }) => {
        return async (_input, { identity }) => {
          log.info({ by: identity?.name }, 'told to start the balancer');
          await balancer.launch();
          agent.wake();
          return stateOf();
        };
      },
    }),
    defineService({
      name: 'gantry.balancer.stop',
      description: 'Ends the program, and it stays ended: no calls come in until it is started',
      attributes: { admin: { role: 'administrator' } },
      input: Type.Object({}),
      output: State,
      create: ({ log }) => {
        return async (_input, { identity }) => {
          log.warn({ by: identity?.name }, 'told to stop the balancer');
          await balancer.halt();
          return stateOf();
        };
      },
    }),
    defineService({
      name: 'gantry.balancer.reload',
      description: 'Has the program read its configuration again, e.g. for new certificates, without losing a call',
      attributes: { admin: { role: 'operator' } },
      input: Type.Object({}),
      output: State,
      create: ({ log }) => {
        return async (_input, { identity }) => {
          log.info({ by: identity?.name }, 'told to reload the balancer');
          await balancer.reload();
          return stateOf();
        };
      },
    }),
  ] as Service[];
}
