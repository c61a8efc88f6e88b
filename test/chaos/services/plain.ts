import { setTimeout as wait } from 'node:timers/promises';
import { defineService, Type } from 'gantry/api';
import { entered } from './_entries.ts';

export default defineService({
  name: 'chaos.plain',
  description: 'What must never be done twice without being asked twice: each entry is written down.',
  input: Type.Object({ slowMs: Type.Integer({ minimum: 0, maximum: 60_000 }), padding: Type.String() }),
  output: Type.Object({ server: Type.String() }),
  create:
    ({ server }) =>
    async ({ slowMs }, { cid }) => {
      entered(cid);
      if (slowMs > 0) await wait(slowMs);
      return { server: server.name };
    },
});
