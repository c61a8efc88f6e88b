import { existsSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import { defineService, GantryError, Type } from 'gantry/api';
import { effect, note } from './_ledger.ts';

const mended = process.env['JOBS_MENDED'];

export default defineService({
  name: 'load.task',
  description: 'What is called durably: takes so long, makes its effect, and may fail until something is mended.',
  input: Type.Object({
    id: Type.String(),
    forMs: Type.Integer({ minimum: 0, maximum: 600_000 }),
    broken: Type.Boolean(),
  }),
  output: Type.Object({}),
  create:
    ({ server: { name }, effects }) =>
    async ({ id, forMs, broken }, call) => {
      note('start', call, name, { id });
      await wait(forMs);
      if (broken && (mended === undefined || !existsSync(mended))) {
        note('failed', call, name, { id });
        throw new GantryError('UNAVAILABLE', 'What it needs is not there yet');
      }
      await effect(call, name, effects);
      note('end', call, name, { id });
      return {};
    },
});
