import { setTimeout as wait } from 'node:timers/promises';
import { defineService, Type } from 'gantry/api';

export default defineService({
  name: 'chaos.read',
  description: 'Answers with who answers, now or after a while.',
  input: Type.Object({ slowMs: Type.Optional(Type.Integer({ minimum: 0, maximum: 60_000 })) }),
  output: Type.Object({ server: Type.String(), version: Type.String() }),
  create:
    ({ server }) =>
    async ({ slowMs = 0 }) => {
      if (slowMs > 0) await wait(slowMs);
      return { server: server.name, version: '0' };
    },
});
