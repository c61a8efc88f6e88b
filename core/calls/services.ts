import type { AsyncOptions, Call, InvokeOptions, Invoker, Outcome, RetryOptions, Target, Work } from '../call.ts';
import { didYouMean, GantryError, toGantryError } from '../errors.ts';
import type { Hooks } from '../hooks.ts';
import type { Logger } from '../log/log.ts';
import type { Scheduler } from '../ports/scheduler.ts';
import type { Stats } from '../ports/stats.ts';
import type { When } from '../schema/check.ts';
import type { Handlers, Service } from '../service.ts';
import { backoffMs, pause } from '../time/retry.ts';
import { durably } from './durable.ts';
import { built, compiled, invoked, type Slot, vacant } from './slot.ts';

export interface ServicesParts {
  readonly hooks: Hooks;
  readonly log: Logger;
  /** Null where there are no statistics. */
  readonly stats: Pick<Stats, 'meter'> | null;
}

/** What services work with. Some of it needs the services itself, so that it is handed over when it is there. */
export interface Equipment {
  /** Gives the service what it needs and makes its handlers. */
  build(service: Service, name: string): Handlers<unknown, unknown>;
  /** What keeps durable calls; null where no plugin does. */
  readonly scheduler: Pick<Scheduler, 'accept'> | null;
}

/** Deploys, retires and invokes services. */
export class Services implements Invoker {
  readonly log: Logger;
  readonly #parts: ServicesParts;
  readonly #slots = new Map<string, Slot>();
  #equipment: Equipment | null = null;
  #background = 0;
  #idle: (() => void)[] = [];

  constructor(parts: ServicesParts) {
    this.#parts = parts;
    this.log = parts.log;
  }

  /** To be called once, before the first service is deployed. */
  equip(equipment: Equipment): void {
    this.#equipment = equipment;
  }

  /**
   * Makes the service live under its name, in place of what was there. Throws SERVICE_INVALID and changes nothing. The
   * schemas are compiled now, or at the first call where it is known that they are valid.
   */
  deploy(service: Service, name = service.name, when: When = 'now'): void {
    if (name === undefined) throw new GantryError('SERVICE_INVALID', 'A service has no name');
    const of = `service '${name}'`;
    const fresh = {
      ...compiled(service, this.#build(service, name, of), of, when),
      meter: this.#parts.stats?.meter(name) ?? null,
    };
    Object.assign(this.#place(name), fresh);
    this.#parts.hooks.serviceDeployed.call(service.name === name ? service : { ...service, name });
  }

  /** Does all that deploying it would, and deploys nothing. What it returns runs it, checked on both sides. */
  rehearse(service: Service, name: string): (input: unknown, call: Call) => Promise<unknown> {
    const of = `service '${name}'`;
    const slot: Slot = { ...vacant(name), ...compiled(service, this.#build(service, name, of), of), meter: null };
    return (input, call) => invoked(slot, input, call);
  }

  /** Takes the service away; its channels answer 'unavailable' until it is deployed again. */
  retire(name: string): void {
    const slot = this.get(name);
    Object.assign(slot, vacant(name));
    this.#parts.hooks.serviceRetired.call(name);
  }

  /** The slot of a name, vacant where nothing is deployed yet. */
  slot(name: string): Slot {
    return this.#place(name);
  }
  has(name: string): boolean {
    return (this.#slots.get(name)?.service ?? null) !== null;
  }
  /** Throws SERVICE_NOT_FOUND, with the nearest name. */
  get(name: string): Slot {
    const slot = this.#slots.get(name);
    if (slot !== undefined && slot.service !== null) return slot;
    throw new GantryError('SERVICE_NOT_FOUND', `No service is named '${name}'`, {
      hint: didYouMean(name, this.names()) || `Deployed: ${this.names().join(', ') || 'none'}.`,
    });
  }
  /** Those that are deployed, in alphabetical order. */
  list(): readonly Slot[] {
    return [...this.#slots.values()].filter((s) => s.service !== null).sort((a, b) => (a.name < b.name ? -1 : 1));
  }
  find(name: string): Service | null {
    return this.#slots.get(name)?.service ?? null;
  }
  names(): string[] {
    return this.list().map((slot) => slot.name);
  }

  async invoke(target: Target, input: unknown, from: Call, options: InvokeOptions): Promise<unknown> {
    const slot = this.#invoked(target);
    const call = from.child(options.verb);
    const limit = options.timeoutMs ?? slot.timeoutMs;
    if (limit !== null) call.deadlineAt = Math.min(call.deadlineAt, performance.now() + limit);
    const startedAt = performance.now();
    let failed = true;
    try {
      if (call.aborted) throw toGantryError(call.signal.reason);
      const given = await invoked(slot, input, call);
      failed = false;
      return given;
    } finally {
      if (slot.meter !== null) slot.meter.record(performance.now() - startedAt, failed);
      from.release(call);
      // The scheduler waits for it before it starts the next attempt.
      if (from.firing !== null && from.parent === null) from.late ??= call.late;
    }
  }

  /**
   * Runs a service for the server itself, with a call of its own; stopping waits for it.
   */
  async run(name: string, input: unknown, call: Call, options: InvokeOptions): Promise<unknown> {
    call.invoker = this;
    this.#background++;
    try {
      return await this.invoke(name, input, call, options);
    } finally {
      this.#ended();
    }
  }

  invokeAsync(target: Target, input: unknown, from: Call, options: AsyncOptions): Promise<string> | undefined {
    const slot = this.#invoked(target);
    const { callback, durable = false } = options;
    if (callback !== undefined) this.#invoked(callback);
    if (durable !== false) return durably(this.#equipment?.scheduler ?? null, slot.name, input, from, options);
    this.#behind(from, async (call) => {
      const outcome = await this.#outcome({ service: slot.name, input }, call, options);
      if (callback !== undefined) await this.invoke(callback, told(slot.name, call, outcome), call, {});
      else if (!outcome.ok) call.log.error({ service: slot.name, error: outcome.error }, 'an asynchronous call failed');
    });
    return undefined;
  }

  parallel(work: readonly Work[], from: Call, options: InvokeOptions): Promise<Outcome[]> {
    return Promise.all(work.map((one) => this.#outcome(one, from, options)));
  }

  fanOut(
    work: readonly Work[],
    from: Call,
    options: InvokeOptions & { onEach?: Target | undefined; onFinal?: Target | undefined },
  ): void {
    const { onEach, onFinal } = options;
    for (const one of [...work.map((w) => w.service), onEach, onFinal]) if (one !== undefined) this.#invoked(one);
    this.#behind(from, async (call) => {
      const all = await Promise.all(
        work.map(async (one) => {
          const service = nameOf(one.service);
          const outcome = await this.#outcome(one, call, options);
          const said = told(service, call, outcome);
          const quiet = onEach === undefined && onFinal === undefined;
          if (!outcome.ok && quiet) call.log.error({ service, error: outcome.error }, 'an asynchronous call failed');
          // One callback that fails must not take the others' away.
          if (onEach !== undefined) {
            await this.invoke(onEach, said, call, {}).catch((error: unknown) => {
              call.log.error({ service: nameOf(onEach), error }, 'a callback failed');
            });
          }
          return said;
        }),
      );
      if (onFinal !== undefined) await this.invoke(onFinal, { cid: call.cid, outcomes: all }, call, {});
    });
  }

  async retry(target: Target, input: unknown, from: Call, options: RetryOptions): Promise<unknown> {
    const { attempts = 3, when = (error: GantryError) => error.retryable } = options;
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.invoke(target, input, from, options);
      } catch (thrown) {
        const error = toGantryError(thrown);
        const wait = error.retryAfterMs ?? backoffMs(attempt, options);
        if (attempt >= attempts || from.aborted || !when(error) || wait > from.remainingMs) throw error;
        from.log.debug({ service: nameOf(target), attempt, wait, error }, 'trying again');
        await pause(wait, from.signal);
      }
    }
  }

  /** Resolves once no asynchronous call is running, at most after ms. */
  async settle(ms: number): Promise<void> {
    if (this.#background === 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#idle.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
  /** Asynchronous calls that are running. */
  get background(): number {
    return this.#background;
  }

  /** Outlives the call that asked for it: its own deadline, its own signal, the same id and caller. */
  #behind(from: Call, work: (call: Call) => Promise<void>): void {
    const call = from.child();
    from.release(call);
    call.deadlineAt = Number.POSITIVE_INFINITY;
    this.#background++;
    work(call)
      .catch((error: unknown) => call.log.error({ error }, 'an asynchronous call failed'))
      .finally(() => this.#ended());
  }
  #ended(): void {
    if (--this.#background === 0) for (const idle of this.#idle.splice(0)) idle();
  }

  async #outcome({ service, input }: Work, from: Call, options: InvokeOptions): Promise<Outcome> {
    try {
      return { ok: true, value: await this.invoke(service, input, from, options) };
    } catch (thrown) {
      return { ok: false, error: toGantryError(thrown) };
    }
  }

  #build(service: Service, name: string, of: string): Handlers<unknown, unknown> {
    const equipment = this.#equipment;
    if (equipment === null) throw new GantryError('SERVICE_INVALID', `${of} came before the services were equipped`);
    return built(() => equipment.build(service, name), of);
  }

  /** The calling service names another: what is wrong with that is its bug, not its caller's. */
  #invoked(target: Target): Slot {
    try {
      return this.get(nameOf(target));
    } catch (cause) {
      const { message, hint = '' } = toGantryError(cause);
      throw new GantryError('INVOCATION_INVALID', 'The service failed', { cause, hint: `${message}. ${hint}` });
    }
  }

  #place(name: string): Slot {
    let slot = this.#slots.get(name);
    if (slot === undefined) this.#slots.set(name, (slot = vacant(name)));
    return slot;
  }
}

/** What a callback is invoked with. */
export function told(service: string, call: Pick<Call, 'cid'>, outcome: Outcome): object {
  return outcome.ok
    ? { cid: call.cid, service, ok: true, value: outcome.value }
    : {
        cid: call.cid,
        service,
        ok: false,
        error: { code: outcome.error.code, kind: outcome.error.kind, message: outcome.error.message },
      };
}

function nameOf(target: Target): string {
  const name = typeof target === 'string' ? target : target.name;
  if (name !== undefined) return name;
  throw new GantryError('SERVICE_NOT_FOUND', 'The service has no name yet', {
    hint: 'Give it one in defineService, to invoke it by its definition.',
  });
}
