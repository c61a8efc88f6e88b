import type { Member } from '../../core/api.ts';
import type { BalancedServer } from '../../core/ports/index.ts';

/** A server as it was last heard of. JSON: it is kept on disk as it is. */
export interface Known {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
  readonly longestMs: number;
  /** It told that it ends. */
  readonly leaving: boolean;
  /** What the administrator made of it. */
  readonly state: BalancedServer['state'];
  readonly weight: number;
}

/** What its record says of a server. */
export type Desired = Pick<Known, 'state' | 'weight'>;

/** Between two answers of the store it may have lost everything, where they are further apart. */
const GAP_MS = 2000;

/**
 * The servers that are known. One is forgotten only when the store has been answering without it for a while, and never
 * the last: a store that restarted empty, or is another one than it should be, must not empty the balancer. Who is dead
 * is found out by the balancer's own checks.
 */
export class Fleet {
  readonly #forgetMs: number;
  readonly #known = new Map<string, Known>();
  readonly #seenAt = new Map<string, number>();
  #answeringSince: number | null = null;
  #answeredAt = Number.NEGATIVE_INFINITY;

  constructor(forgetMs: number, known: readonly Known[] = []) {
    this.#forgetMs = forgetMs;
    for (const one of known) this.#known.set(one.name, one);
  }

  /** In the order of names. */
  list(): readonly Known[] {
    return [...this.#known.values()].sort((one, other) => (one.name < other.name ? -1 : 1));
  }

  /** How long the store has been answering without a pause. */
  answeringMs(now: number): number {
    return this.#answeringSince === null ? 0 : now - this.#answeringSince;
  }

  /** Takes over who is there; null where nobody could be asked. `now` is in ms, on a clock that only goes on. */
  see(members: readonly Member[] | null, now: number): void {
    if (members === null) {
      this.#answeringSince = null;
      return;
    }
    if (this.#answeringSince === null || now - this.#answeredAt > GAP_MS) this.#answeringSince = now;
    this.#answeredAt = now;
    for (const { name, host, port, tls, longestMs, state } of members) {
      const { state: wanted = 'online', weight = 100 } = this.#known.get(name) ?? {};
      this.#known.set(name, { name, host, port, tls, longestMs, leaving: state === 'draining', state: wanted, weight });
      this.#seenAt.set(name, now);
    }
    if (members.length > 0) this.#forget(now);
  }

  /** Null where nobody knows what the record says. */
  desire(of: (name: string) => Desired | null): void {
    for (const [name, known] of this.#known) this.#known.set(name, { ...known, ...of(name) });
  }

  #forget(now: number): void {
    for (const name of this.#known.keys()) {
      const since = Math.max(this.#seenAt.get(name) ?? Number.NEGATIVE_INFINITY, this.#answeringSince ?? now);
      if (now - since <= this.#forgetMs) continue;
      this.#known.delete(name);
      this.#seenAt.delete(name);
    }
  }
}

/** What the balancer is to make of a server; `held` is one that is being restarted. */
export function balanced({ name, host, port, tls, leaving, state, weight }: Known, held: boolean): BalancedServer {
  const drains = state === 'online' && (leaving || held);
  return { name, host, port, ...(tls ? { tls } : {}), weight, state: drains ? 'draining' : state };
}
