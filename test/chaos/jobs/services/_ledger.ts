import { openSync, writeSync } from 'node:fs';
import { type Call, type Effects, GantryError, toGantryError } from 'gantry/api';

/** What a run did, and when. */
export type Event = 'start' | 'end' | 'failed' | 'aborted' | 'effect' | 'refused';

const file = process.env['JOBS_LEDGER'];
let opened: number | null = null;

/** One line, appended at once: it is there before the run goes on, whatever becomes of this process. */
export function note(
  event: Event,
  { firing }: Call,
  server: string,
  more: Readonly<Record<string, unknown>> = {},
): void {
  if (firing === null) throw new GantryError('INVALID', 'Only the scheduler runs this');
  if (file === undefined) return;
  opened ??= openSync(file, 'a');
  const { job, token, dueAt, attempt, owner, source } = firing;
  // A clock that all processes of a machine share, and that nobody sets.
  const steadyMs = Number(process.hrtime.bigint()) / 1e6;
  const line = {
    event,
    job,
    token,
    dueAt: dueAt.getTime(),
    attempt,
    owner,
    source,
    server,
    pid: process.pid,
    steadyMs,
  };
  writeSync(opened, `${JSON.stringify({ ...line, ...more })}\n`);
}

/** A row of a table that has no unique key: a second one would be seen. Never rejects; how it went is in the ledger. */
export async function effect(call: Call, server: string, effects: Effects | null): Promise<void> {
  const { firing } = call;
  try {
    if (effects === null || firing === null) throw new GantryError('UNAVAILABLE', 'There is no database');
    const { first } = await effects.once(call, async (run) => {
      const values = [firing.token, firing.attempt, server];
      await run('INSERT INTO chaos_job_effects (token, attempt, server) VALUES ($1, $2, $3)', values);
      return null;
    });
    note('effect', call, server, { first });
  } catch (error) {
    note('refused', call, server, { code: toGantryError(error).code });
  }
}
