import { setTimeout as wait } from 'node:timers/promises';
import { defineService, GantryError, Type } from 'gantry/api';
import { entered } from './_entries.ts';

export default defineService({
  name: 'chaos.keyed',
  description: 'Writes its effect and its key in one transaction: once, however often this is entered.',
  input: Type.Object({ slowMs: Type.Integer({ minimum: 0, maximum: 60_000 }), padding: Type.String() }),
  output: Type.Object({ server: Type.String(), first: Type.Boolean() }),
  create:
    ({ server, effects }) =>
    async ({ slowMs }, call) => {
      entered(call.cid);
      if (effects === null) throw new GantryError('UNAVAILABLE', 'There is no database');
      const { first } = await effects.once(call, async (run) => {
        await run('INSERT INTO chaos_effects (id, server) VALUES ($1, $2)', [call.cid, server.name]);
        return null;
      });
      // So that some servers die between the effect and the answer.
      if (slowMs > 0) await wait(slowMs);
      return { server: server.name, first };
    },
});
