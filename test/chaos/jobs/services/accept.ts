import { defineService, Type } from 'gantry/api';

export default defineService({
  name: 'load.accept',
  description: 'Takes a call that must not be forgotten, and answers when it is kept.',
  input: Type.Object({
    id: Type.String(),
    forMs: Type.Integer({ minimum: 0, maximum: 600_000 }),
    broken: Type.Boolean(),
    attempts: Type.Integer({ minimum: 1, maximum: 100 }),
  }),
  output: Type.Object({ token: Type.String() }),
  create:
    () =>
    async ({ attempts, ...input }, call) => ({
      token: await call.invokeAsync('load.task', input, { durable: { attempts, backoffMs: 200, maxBackoffMs: 1000 } }),
    }),
});
