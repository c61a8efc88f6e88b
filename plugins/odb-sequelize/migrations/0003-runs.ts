import type { Migration } from '../schema.ts';

/** Who may do something alone, and the runs of services that must not be forgotten. */
export const runs: Migration = {
  name: '0003-runs',
  async up(schema) {
    await schema.table('gantry_leases', ({ text, integer }) => ({
      name: { type: text(200), primaryKey: true },
      holder: { type: text(100) },
      server: { type: text(200) },
      epoch: { type: integer },
      // By the clock of the database; 0 of one that was released.
      until_ms: { type: integer },
      // For how long it was given: one that lasts much longer than that is of before the clock was put back.
      for_ms: { type: integer },
      mark: { type: integer, allowNull: true },
    }));
    await schema.table('gantry_runs', ({ text, long, integer }) => ({
      token: { type: text(100), primaryKey: true },
      attempt: { type: integer, primaryKey: true },
      source: { type: text(10) },
      job: { type: text(200), allowNull: true },
      service: { type: text(200) },
      due_at: { type: integer },
      ready_at: { type: integer },
      pool: { type: text(10) },
      // Of an ended one NULL, as `dead` is of one that is not: the indexes of the few are not full of the many.
      state: { type: text(10), allowNull: true },
      owner: { type: text(100), allowNull: true },
      server: { type: text(200), allowNull: true },
      epoch: { type: integer },
      started_at: { type: integer, allowNull: true },
      ended_at: { type: integer, allowNull: true },
      outcome: { type: text(15), allowNull: true },
      code: { type: text(200), allowNull: true },
      reason: { type: long, allowNull: true },
      attempts: { type: integer },
      // How many due times it stands for; `count` is a reserved word here and there.
      repeats: { type: integer },
      // JSON.
      data: { type: long, allowNull: true },
      dead: { type: integer, allowNull: true },
      // The asking that added or started it, by which it is known again after a lost answer.
      asking: { type: text(36), allowNull: true },
    }));
    await schema.index('gantry_runs', 'gantry_runs_open', ['state', 'pool', 'ready_at'], 'state');
    await schema.index('gantry_runs', 'gantry_runs_open_of_job', ['job', 'state'], 'state');
    await schema.index('gantry_runs', 'gantry_runs_dead', ['dead', 'due_at'], 'dead');
    await schema.index('gantry_runs', 'gantry_runs_by_job', ['job', 'due_at']);
    await schema.index('gantry_runs', 'gantry_runs_by_service', ['service', 'due_at']);
    await schema.index('gantry_runs', 'gantry_runs_by_due', ['due_at']);
    await schema.index('gantry_runs', 'gantry_runs_by_outcome', ['outcome', 'due_at']);
    await schema.index('gantry_runs', 'gantry_runs_by_end', ['ended_at']);
  },
};
