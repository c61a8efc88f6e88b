import type { AsyncOptions, Call, DurableOptions, Target } from '../call.ts';
import { GantryError } from '../errors.ts';
import type { Scheduler } from '../ports/scheduler.ts';

const ATTEMPTS = 10;
const BACKOFF_MS = 1000;
const MAX_BACKOFF_MS = 300_000;

/** Hands a call to what keeps it, and gives its token. */
export function durably(
  scheduler: Pick<Scheduler, 'accept'> | null,
  service: string,
  input: unknown,
  from: Call,
  { durable, callback, verb, timeoutMs }: AsyncOptions,
): Promise<string> {
  if (scheduler === null) {
    return Promise.reject(
      new GantryError('SCHEDULER_UNAVAILABLE', 'Nothing here keeps durable calls', {
        hint: `Add scheduler.agenda, and an odb, to "plugins" in the config; '${service}' was to be invoked durably.`,
      }),
    );
  }
  const options: DurableOptions = typeof durable === 'object' ? durable : {};
  return scheduler.accept({
    service,
    input,
    verb: verb ?? from.verb ?? null,
    cid: from.cid,
    channel: from.channel,
    identity: from.identity === null ? null : { name: from.identity.name, roles: [...from.identity.roles] },
    traceparent: from.message.traceparent ?? null,
    callback: callback === undefined ? null : nameOf(callback),
    attempts: options.attempts ?? ATTEMPTS,
    backoffMs: options.backoffMs ?? BACKOFF_MS,
    maxBackoffMs: options.maxBackoffMs ?? MAX_BACKOFF_MS,
    timeoutMs: timeoutMs ?? null,
    afterMs: options.afterMs ?? 0,
    key: options.key ?? null,
  });
}

function nameOf(target: Target): string {
  return typeof target === 'string' ? target : (target.name ?? '');
}
