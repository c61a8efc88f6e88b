import { setTimeout as wait } from 'node:timers/promises';
import { defineService, Type, toGantryError } from 'gantry/api';
import { effect, note } from './_ledger.ts';

/** How often it looks whether it should end. */
const STEP_MS = 50;

export default defineService({
  name: 'load.job',
  description: 'Takes so long, and writes down when it began and how it ended.',
  input: Type.Object({
    forMs: Type.Integer({ minimum: 0, maximum: 600_000 }),
    effect: Type.Optional(Type.Union([Type.Literal('early'), Type.Literal('late')])),
    deaf: Type.Optional(Type.Boolean({ description: 'Goes on when it is told to end' })),
  }),
  output: Type.Object({}),
  create:
    ({ server: { name }, effects }) =>
    async ({ forMs, effect: when, deaf = false }, call) => {
      note('start', call, name);
      // At that moment, whatever it is waiting for then.
      const told = () => note('aborted', call, name, { code: toGantryError(call.signal.reason).code });
      call.signal.addEventListener('abort', told, { once: true });
      if (when === 'early') await effect(call, name, effects);
      // In steps, not until a time: what stands still for a while has all of the rest before it.
      for (let left = forMs; left > 0 && (deaf || !call.aborted); left -= STEP_MS) {
        await wait(Math.min(left, STEP_MS));
      }
      if (when === 'late') await effect(call, name, effects);
      call.signal.removeEventListener('abort', told);
      if (call.aborted && !deaf) throw call.signal.reason;
      note('end', call, name);
      return {};
    },
});
