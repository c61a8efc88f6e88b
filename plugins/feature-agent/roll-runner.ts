import { type Cluster, type Held, isGantryError, type Logger, type Member, pause } from '../../core/api.ts';
import { locked, type Roll } from '../../core/parts.ts';
import type { BalancedStatus, Balancer, Kv } from '../../core/ports/index.ts';
import { type OwnRoll, type Rolled, RollLost, type Rolls } from './roll.ts';

export interface RunnerParts {
  readonly kv: Kv;
  readonly rolls: Rolls;
  readonly cluster: Cluster;
  readonly balancer: Balancer;
  readonly log: Logger;
  /** The name of this agent. */
  readonly agent: string;
  /** How long one server may take for one step, e.g. to come back. */
  readonly stepMs: number;
  readonly lookMs: number;
}

const LOCK = 'gantry.roll';
const LOCK_MS = 5000;

/** It was asked to end, or this process is. */
class Interrupted extends Error {}

/** One server did not come through. */
class StepFailed extends Error {}

/** What is known of the server whose turn it is. */
interface Seen {
  readonly member: Member | null;
  readonly others: readonly Member[];
  /** As the balancer tells; null where that does not know the server. */
  readonly own: BalancedStatus | null;
  readonly othersUp: number;
}

/**
 * Does a rolling restart under a lock of the cluster, so that one agent does it. What was done is in the store before the
 * next thing is: whoever goes on after this one begins where it ended.
 */
export class RollRunner {
  readonly #parts: RunnerParts;
  #running: Promise<void> | null = null;

  constructor(parts: RunnerParts) {
    this.#parts = parts;
  }

  /** Begins where nobody else does it; does not wait for its end. */
  start(signal: AbortSignal): void {
    if (this.#running !== null || signal.aborted) return;
    this.#running = this.#run(signal).finally(() => {
      this.#running = null;
    });
  }

  /** What was begun has ended, or was left to another agent. */
  async settle(): Promise<void> {
    await this.#running;
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { kv, log } = this.#parts;
    try {
      await locked(kv, LOCK, { ttlMs: LOCK_MS }, (held) => this.#do(held, AbortSignal.any([signal, held.signal])));
    } catch (error) {
      // Another agent does it.
      if (isGantryError(error) && error.code === 'BUSY') return;
      const reason = error instanceof Error ? error.message : String(error);
      const goesOn = error instanceof RollLost ? 'this agent leaves the rolling restart' : LEFT;
      log.warn({ reason }, goesOn);
      await pause(this.#parts.lookMs * 4, signal).catch(() => {});
    }
  }

  async #do({ fence }: Held, signal: AbortSignal): Promise<void> {
    const { rolls, agent, log } = this.#parts;
    const found = await rolls.find();
    if (found === null || found.endedAt !== null) return;
    const own = rolls.own(found.id, fence);
    const begun = await own.change((roll) => ({
      ...roll,
      ...{ state: 'running', agent, startedAt: roll.startedAt ?? now() },
    }));
    const servers = begun.servers.map(({ name, state }) => `${name} ${state}`);
    log.info({ roll: begun.id, by: begun.requestedBy, servers }, 'rolling restart');
    const { state, problem } = await this.#all(own, signal);
    await own.change((roll) => ({ ...roll, state, problem, endedAt: now() }));
    if (state === 'failed') log.error({ roll: begun.id, problem }, 'the rolling restart stops here');
    else log.info({ roll: begun.id }, `the rolling restart is ${state}`);
  }

  /** How it ended. */
  async #all(own: OwnRoll, signal: AbortSignal): Promise<Pick<Roll, 'state' | 'problem'>> {
    const turn = new Turn(this.#parts, own, signal);
    for (const { name } of (await own.get()).servers) {
      try {
        await turn.take(name);
      } catch (thrown) {
        if (thrown instanceof RollCancelled) return { state: 'cancelled', problem: null };
        if (!(thrown instanceof StepFailed)) throw thrown;
        await turn.mark(name, { state: 'failed', endedAt: now() });
        return { state: 'failed', problem: `${name} ${thrown.message}` };
      }
    }
    return { state: 'done', problem: null };
  }
}

const LEFT = 'the rolling restart is left as it is; an agent goes on with it';

class RollCancelled extends Error {}

/** The turn of one server after the other. */
class Turn {
  readonly #parts: RunnerParts;
  readonly #own: OwnRoll;
  readonly #signal: AbortSignal;

  constructor(parts: RunnerParts, own: OwnRoll, signal: AbortSignal) {
    this.#parts = parts;
    this.#own = own;
    this.#signal = signal;
  }

  /** From wherever it was left. Rejects with StepFailed or RollCancelled. */
  async take(name: string): Promise<void> {
    const { log } = this.#parts;
    const roll = await this.#own.get();
    const { state, instance } = roll.servers.find((each) => each.name === name) as Rolled;
    if (state === 'done') return;
    if (state === 'waiting' && roll.cancelled) throw new RollCancelled();
    const startedAt = performance.now();
    let old = instance;
    if (state === 'waiting' || old === null) {
      old = await this.#begin(roll, name);
      await this.mark(name, { state: 'draining', instance: old, startedAt: now() });
    }
    if (state === 'waiting' || state === 'draining') {
      await this.#drain(roll, name, old);
      await this.mark(name, { state: 'restarting' });
    }
    if (state !== 'checking') {
      await this.#restart(name, old);
      await this.mark(name, { state: 'checking' });
    }
    await this.#serve(name);
    await this.mark(name, { state: 'done', endedAt: now() });
    log.info({ member: name, ms: Math.round(performance.now() - startedAt) }, 'a server was restarted');
  }

  async mark(name: string, changes: Partial<Rolled>): Promise<void> {
    await this.#own.change((roll) => ({
      ...roll,
      servers: roll.servers.map((one) => (one.name === name ? { ...one, ...changes } : one)),
    }));
  }

  /** Its instance now. Others can serve meanwhile, or that is wanted so. */
  async #begin(roll: Roll, name: string): Promise<string> {
    const ready = await this.#until(name, CANCELLABLE, ({ member, othersUp }) => {
      return member?.state === 'ready' && (roll.force || othersUp > 0);
    });
    const { member } = ready.seen;
    if (member === null || member.state !== 'ready') throw new StepFailed('is not there');
    if (!member.supervised) throw new StepFailed('is not supervised: nobody would start it again');
    if (!ready.ok) throw new StepFailed('cannot be restarted: no other server could serve meanwhile');
    return member.instance;
  }

  /** Until it has nothing in hand; what takes longer than the grace is the server's own to end in order. */
  async #drain(roll: Roll, name: string, old: string): Promise<void> {
    const { log } = this.#parts;
    const isNew = ({ member }: Seen) => member !== null && member.instance !== old;
    const drained = await this.#until(name, CANCELLABLE, (seen) => isNew(seen) || isOut(seen));
    if (!drained.ok) throw new StepFailed('could not be drained: the balancer goes on giving it calls');
    const idle = await this.#until(name, CANCELLABLE, (seen) => isNew(seen) || seen.own?.sessions === 0, roll.graceMs);
    const left = idle.seen.own?.sessions ?? 0;
    if (!idle.ok && left > 0) log.warn({ member: name, left }, 'it still has calls in hand; it ends them itself');
  }

  /** Until another instance of it is there, with all that the others run with. */
  async #restart(name: string, old: string): Promise<void> {
    const { cluster } = this.#parts;
    const { member } = await this.#look(name);
    if (member?.instance === old) await cluster.restart(name);
    const back = await this.#until(
      name,
      TO_THE_END,
      (seen) => seen.member?.state === 'ready' && seen.member.instance !== old,
    );
    if (!back.ok) {
      const ended = back.seen.member?.instance !== old;
      throw new StepFailed(
        `${ended ? 'did not come back' : 'did not end'} within ${this.#parts.stepMs / 1000} s; its log tells why`,
      );
    }
    const wanted = Math.max(0, ...back.seen.others.map(({ revision }) => revision));
    const current = await this.#until(name, TO_THE_END, (seen) => (seen.member?.revision ?? 0) >= wanted);
    if (current.ok) return;
    const { revision = 0 } = current.seen.member ?? {};
    throw new StepFailed(`came back and is behind: it runs with change ${revision}, the others with ${wanted}`);
  }

  /** Until it gets calls again; what an administrator took out stays out. */
  async #serve(name: string): Promise<void> {
    let outSince: number | null = null;
    const up = await this.#until(name, TO_THE_END, (seen) => {
      if (seen.own?.up === true) return true;
      // The agent has yet to give it back; what stays out after that was taken out by somebody.
      outSince = isOut(seen) ? (outSince ?? performance.now()) : null;
      return outSince !== null && performance.now() - outSince > this.#parts.lookMs * OUT_LOOKS;
    });
    if (up.ok) return;
    throw new StepFailed(`came back and gets no calls: the balancer says '${up.seen.own?.check ?? 'nothing of it'}'`);
  }

  /** Looks until it holds, at most so long. Where it can be cancelled: rejects with RollCancelled when that was asked for. */
  async #until(
    name: string,
    cancellable: boolean,
    holds: (seen: Seen) => boolean,
    ms = this.#parts.stepMs,
  ): Promise<{ readonly ok: boolean; readonly seen: Seen }> {
    const until = performance.now() + ms;
    while (true) {
      const seen = await this.#look(name);
      if (holds(seen)) return { ok: true, seen };
      if (cancellable && (await this.#own.get()).cancelled) throw new RollCancelled();
      if (performance.now() >= until) return { ok: false, seen };
      await pause(this.#parts.lookMs, this.#signal);
    }
  }

  async #look(name: string): Promise<Seen> {
    const { cluster, balancer } = this.#parts;
    if (this.#signal.aborted) throw new Interrupted('this agent stops, or lost its turn');
    const members = await cluster.members();
    // The program may be starting.
    const servers = await balancer.status().then(
      (status) => status.servers,
      () => [],
    );
    return {
      member: members.find((one) => one.name === name) ?? null,
      others: members.filter((one) => one.name !== name),
      own: servers.find((one) => one.name === name) ?? null,
      othersUp: servers.filter((one) => one.name !== name && one.up).length,
    };
  }
}

const CANCELLABLE = true;
/** A server that was told to end is waited for, whatever was asked meanwhile. */
const TO_THE_END = false;
const OUT_LOOKS = 12;

/** The balancer gives it nothing new. */
function isOut({ own }: Seen): boolean {
  return own !== null && own.state !== 'online';
}

function now(): string {
  return new Date().toISOString();
}
