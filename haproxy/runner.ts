import { GantryError, pause } from 'gantry/api';
import type { Alert } from './program.ts';
import { workerPid } from './runtime.ts';

/** Who runs the program. */
export interface Runner {
  /** Its process id where it runs, also where it ran before us; else null. Changes nothing. */
  find(): Promise<number | null>;
  /** Ends what is left of one that ended. */
  clear(): Promise<void>;
  /** Resolves once it serves. Rejects with `Refused` where it ends instead. */
  start(): Promise<void>;
  /** Resolves once a new worker serves. Rejects with `Refused` where none does; the old one goes on then. */
  reload(): Promise<void>;
  /** Calls in hand may end before it does, for a time. */
  stop(): Promise<void>;
  /** It starts again by itself when it ends: that is not ours. */
  readonly revivesItself: boolean;
}

/** HAProxy did not take a configuration. */
export class Refused extends Error {
  readonly alerts: readonly Alert[];

  constructor(alerts: readonly Alert[]) {
    super(alerts.map(({ message }) => message).join('; '));
    this.alerts = alerts;
  }
}

/** Waits until a worker answers that is not the one of before; rejects where `gone` says why it won't. */
export async function answered(
  socket: string,
  former: number | null,
  withinMs: number,
  gone: () => readonly Alert[] | null,
): Promise<number> {
  const until = Date.now() + withinMs;
  for (;;) {
    const pid = await workerPid(socket, 1000).catch(() => null);
    if (pid !== null && pid !== former) return pid;
    const why = gone();
    if (why !== null) throw new Refused(why);
    if (Date.now() > until) {
      throw new GantryError('BALANCER_FAILED', `HAProxy did not answer within ${withinMs} ms`, {
        hint: `Look into its log. The socket is ${socket}.`,
      });
    }
    await pause(15);
  }
}
