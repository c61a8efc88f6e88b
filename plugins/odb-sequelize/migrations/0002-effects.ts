import type { Migration } from '../schema.ts';

/** What was done once, by the key under which it was asked for. */
export const effects: Migration = {
  name: '0002-effects',
  async up(schema) {
    await schema.table('gantry_effects', ({ text, long, integer }) => ({
      key: { type: text(200), primaryKey: true },
      // JSON of what the work gave; without it that was null.
      result: { type: long, allowNull: true },
      made_at: { type: integer },
    }));
    await schema.index('gantry_effects', 'gantry_effects_by_time', ['made_at']);
  },
};
