import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { GantryError, refuse, toGantryError } from '../errors.ts';
import type { Logger } from '../log/log.ts';
import type { Kv } from '../ports/kv.ts';
import type { ServerInfo } from '../server.ts';
import { type Clock, every, machineClock } from '../time/clock.ts';
import {
  type Announced,
  Announcements,
  addressOf,
  addressProblems,
  isReachable,
  isThere,
  nameIn,
  nameTaken,
  type Place,
  placeMissing,
  placeOf,
} from './announcements.ts';
import type { Cluster, ClusterConfig, Member, Reached } from './cluster.ts';

interface Parts {
  readonly config: ClusterConfig;
  readonly kv: Kv;
  readonly server: Pick<ServerInfo, 'name' | 'version' | 'startedAt'>;
  readonly log: Logger;
  /** What changes from beat to beat. */
  describe(): Pick<Member, 'longestMs' | 'revision' | 'staleSince' | 'refused'>;
  /** Where it listens: URLs. */
  urls(): readonly string[];
  onRestart(): void;
  /** Default: the machine's. */
  readonly clock?: Clock;
}

const REFUSED = 50;
const PROBLEM_CHARACTERS = 1000;
const LOOK_MS = 50;
const TRIES = 5;

/**
 * Membership: every server announces itself each second, signed with the cluster's token, and the store forgets a server
 * that stops. While the store is unavailable no server is dropped and no new one is seen.
 */
export class Membership implements Cluster {
  readonly instance = randomUUID();
  readonly #parts: Parts;
  readonly #said: Announcements;
  readonly #own: string;
  readonly #machine = hostname();
  #state: Announced['state'] | 'absent' = 'absent';
  readonly #clock: Clock;
  /** Null: it does not beat. */
  #stopBeating: (() => void) | null = null;
  #beating: Promise<void> | null = null;
  #told = '';
  #toldAt = Number.NEGATIVE_INFINITY;
  /** What is under its name, as far as is known; null: nothing. */
  #kept: string | null = null;
  #hasHeldName = false;
  /** The other server that has its name. */
  #rival: Announced | null = null;
  #problem: GantryError | null = null;
  /** The greatest revision of a server that is up to date, seen while this one was not, and until when that counts. */
  #ahead = { revision: 0, until: Number.NEGATIVE_INFINITY };
  readonly #strangers = new Set<string>();

  /** Throws CONFIG_INVALID for an address that nobody can reach. */
  constructor(parts: Parts) {
    this.#parts = parts;
    this.#clock = parts.clock ?? machineClock;
    refuse(addressProblems(parts.config.address));
    this.#said = new Announcements(parts.config.token);
    this.#own = this.#said.entryOf(parts.server.name);
  }

  get problem(): GantryError | null {
    return this.#problem ?? this.#parts.kv.problem;
  }
  get self(): Member | null {
    const about = this.#state === 'absent' || this.#rival !== null ? null : this.#about(this.#state);
    return about !== null && isThere(about) ? about : null;
  }
  /** One that is there runs with changes that this server cannot get: better that it takes the calls. */
  get isBehind(): boolean {
    const { revision, staleSince } = this.#parts.describe();
    const { revision: latest, until } = this.#ahead;
    return staleSince !== null && latest > revision && this.#clock.steady() < until;
  }

  /**
   * Takes its name, and keeps it from then on. Throws CLUSTER_REFUSED where another server has it, or where this one has
   * no address. One that died is believed until its lease ends.
   */
  async claim(): Promise<void> {
    const { config, server, log } = this.#parts;
    if (!config.announce) return;
    if (!isReachable(this.#place())) throw placeMissing(server.name);
    this.#state = 'starting';
    const until = this.#clock.steady() + config.leaseMs + config.beatMs;
    await this.#alone(() => this.#say());
    while (this.#state === 'starting' && this.#rival !== null && this.#problem === null) {
      if (this.#clock.steady() >= until) throw nameTaken(this.#rival);
      log.debug({ other: this.#rival.instance }, 'waiting for the lease of a server of this name to end');
      await this.#clock.sleep(Math.min(200, config.beatMs));
      await this.#alone(() => this.#say());
    }
    // While the store is unavailable this is not known; a later beat finds out.
    this.#rival = null;
    if (this.#state !== 'starting') return;
    const lookMs = Math.min(LOOK_MS * 2, config.beatMs);
    this.#stopBeating = every(this.#clock, lookMs, () => void this.#alone(() => this.#beat()));
  }

  /** From now on it is there. */
  async join(): Promise<void> {
    if (this.#state !== 'starting') return;
    await this.#enter('ready');
    const { self } = this;
    if (self === null) return;
    this.#parts.log.info({ address: addressOf(self), instance: this.instance }, 'this server is one of the cluster');
  }

  /** Announces that it drains, and gives the balancers time to see it. Calls that come meanwhile are served. */
  async leave(): Promise<void> {
    if (this.#state !== 'ready') return;
    await this.#enter('draining');
    await this.#clock.sleep(this.#parts.config.lingerMs);
  }

  async stop(): Promise<void> {
    const wasThere = this.#state !== 'absent';
    this.#state = 'absent';
    this.#stopBeating?.();
    await this.#beating;
    if (!wasThere) return;
    try {
      await this.#giveUpName();
    } catch (error) {
      this.#parts.log.debug({ error }, 'the lease is left to end by itself');
    }
  }

  async members(): Promise<readonly Member[]> {
    const { kv } = this.#parts;
    const entries = Object.keys(await kv.hashAll(this.#said.index)).sort();
    if (entries.length === 0) return [];
    const texts = await kv.getMany(entries.map((entry) => this.#said.keyOf(entry)));
    const found: Member[] = [];
    for (const [i, text] of texts.entries()) {
      const entry = entries[i] as string;
      if (text === null) continue;
      const member = this.#said.read(text, entry);
      if (member === null) this.#stranger(entry);
      else if (isThere(member)) found.push(member);
    }
    await this.#forget(entries.filter((_, i) => texts[i] === null));
    return found;
  }

  async reached(revision: number, withinMs: number): Promise<Reached> {
    const until = this.#clock.steady() + withinMs;
    while (true) {
      const all = await this.members();
      const late = all.filter((one) => one.revision < revision);
      if (late.length === 0 || this.#clock.steady() >= until) {
        return {
          revision,
          reached: all.filter((one) => one.revision >= revision).map(({ name }) => name),
          late: late.map((one) => ({ name: one.name, revision: one.revision })),
        };
      }
      await this.#clock.sleep(LOOK_MS);
    }
  }

  async restart(name: string): Promise<void> {
    const member = (await this.members()).find((one) => one.name === name);
    if (member === undefined) throw new GantryError('NOT_FOUND', `No server of the cluster is named '${name}'`);
    if (!member.supervised) {
      throw new GantryError('CONFLICT', `Nobody would start '${name}' again`, {
        hint: 'Run it under systemd or the launcher, and set GANTRY_SUPERVISED=true there.',
      });
    }
    const { kv, config } = this.#parts;
    const order = this.#said.sign(JSON.stringify({ restart: member.instance }));
    await kv.set(this.#said.orderOf(this.#said.entryOf(name)), order, { ttlMs: Math.max(10_000, config.leaseMs * 2) });
  }

  /** One after the other: what is under its name is known between two of them. */
  #alone(work: () => Promise<void>): Promise<void> {
    this.#beating ??= work().finally(() => {
      this.#beating = null;
    });
    return this.#beating;
  }

  async #enter(state: Member['state']): Promise<void> {
    this.#state = state;
    // A beat under way may say what was before.
    await this.#beating;
    await this.#alone(() => this.#say());
  }

  /** Says so where something changed or it is time. */
  async #beat(): Promise<void> {
    if (this.#state === 'absent') return;
    const isDue = this.#clock.steady() - this.#toldAt >= this.#parts.config.beatMs;
    const isNew = this.#rival === null && JSON.stringify(this.#about(this.#state)) !== this.#told;
    if (isDue || isNew) await this.#say();
  }

  async #say(): Promise<void> {
    if (this.#state === 'absent') return;
    const { log } = this.#parts;
    const about = this.#about(this.#state);
    this.#told = JSON.stringify(about);
    try {
      this.#meet(await this.#takeName(this.#said.sign(this.#told)));
      if (this.#rival === null && isThere(about)) await this.#takePart(about);
      if (this.#problem !== null) log.info({}, 'the cluster hears of this server again');
      this.#problem = null;
    } catch (thrown) {
      const error = toGantryError(thrown);
      if (this.#problem === null)
        log.warn({ error }, 'the cluster does not hear of this server now; it serves on, and stays where it is known');
      this.#problem = error;
    }
    // Also where it failed: not ten times a second.
    this.#toldAt = this.#clock.steady();
  }

  /** Puts a text in the place of the one before. Where that is another server's: gives that one, and changes nothing. */
  async #takeName(text: string): Promise<Announced | null> {
    const { kv, config, server } = this.#parts;
    for (let left = TRIES; left > 0; left--) {
      if (await kv.swap(this.#said.keyOf(this.#own), this.#kept, text, config.leaseMs)) {
        this.#kept = text;
        this.#hasHeldName = true;
        return null;
      }
      const found = await kv.get(this.#said.keyOf(this.#own));
      const other = found === null ? null : this.#said.read(found, this.#own);
      // Its own where an answer was lost. What has not the token is no obstacle.
      if (other !== null && other.instance !== this.instance && !this.#isPredecessor(other)) {
        this.#kept = null;
        return other;
      }
      this.#kept = found;
    }
    throw new GantryError('CONFLICT', `Somebody else writes what is kept of '${server.name}' all the time`);
  }

  /** Only one can listen in a place, so the one before is dead there. Where this one had the name, the other came after it. */
  #isPredecessor({ machine, host, port }: Announced): boolean {
    const own = this.#place();
    return !this.#hasHeldName && machine === this.#machine && host === own.host && port === own.port;
  }

  /** Where another server has its name: says so once, and once when it is gone. */
  #meet(rival: Announced | null): void {
    const { log } = this.#parts;
    const before = this.#rival;
    this.#rival = rival;
    // Until then claim() tells.
    if (this.#stopBeating === null) return;
    if (before === null && rival !== null) {
      log.error(
        { address: addressOf(rival), machine: rival.machine, instance: rival.instance },
        'another server of the cluster has the name of this one, which is given no calls until that one is gone. Give one of them another "name"',
      );
    }
    if (before !== null && rival === null) log.info({}, 'the name of this server is its own again');
  }

  async #giveUpName(): Promise<void> {
    const { kv } = this.#parts;
    for (let left = TRIES; left > 0; left--) {
      if (this.#kept !== null && (await kv.swap(this.#said.keyOf(this.#own), this.#kept, null))) {
        await kv.hashRemove(this.#said.index, this.#own);
        return;
      }
      this.#kept = await kv.get(this.#said.keyOf(this.#own));
      if (this.#kept === null || this.#said.read(this.#kept, this.#own)?.instance !== this.instance) return;
    }
  }

  async #takePart({ staleSince }: Member): Promise<void> {
    const { kv, log, onRestart } = this.#parts;
    // Again each time: a store that lost everything knows it within a beat.
    await kv.hashSet(this.#said.index, { [this.#own]: this.instance });
    if (staleSince !== null) await this.#lookAhead();
    const order = await kv.get(this.#said.orderOf(this.#own));
    if (order === null) return;
    const said = this.#said.open(order) as { restart?: string } | null;
    if (said?.restart !== this.instance) return;
    await kv.remove(this.#said.orderOf(this.#own));
    log.info({}, 'told to restart');
    onRestart();
  }

  /** A server that is up to date counts as long as its lease holds. */
  async #lookAhead(): Promise<void> {
    const current = (await this.members()).filter((one) => one.state === 'ready' && one.staleSince === null);
    const revision = Math.max(0, ...current.map((one) => one.revision));
    this.#ahead = { revision, until: this.#clock.steady() + this.#parts.config.leaseMs };
  }

  #about(state: Announced['state']): Announced {
    const { server, config, describe } = this.#parts;
    const { refused, ...rest } = describe();
    const isModule = ({ kind }: { readonly kind: string }) => kind === 'module';
    const modulesFirst = [...refused.filter(isModule), ...refused.filter((one) => !isModule(one))];
    return {
      name: server.name,
      instance: this.instance,
      machine: this.#machine,
      ...this.#place(),
      version: server.version,
      state,
      startedAt: server.startedAt.toISOString(),
      supervised: config.supervised,
      ...rest,
      refused: modulesFirst
        .slice(0, REFUSED)
        .map((one) => ({ ...one, problem: one.problem.slice(0, PROBLEM_CHARACTERS) })),
      refusedMore: Math.max(0, refused.length - REFUSED),
    };
  }

  #place(): Place {
    return placeOf(this.#parts.urls(), this.#parts.config.address);
  }

  #stranger(entry: string): void {
    const name = nameIn(entry);
    if (this.#strangers.has(name)) return;
    this.#strangers.add(name);
    this.#parts.log.warn(
      { member: name },
      'a server announced itself without the token of this cluster: it is given no calls. Give it the same cluster.token',
    );
  }

  /** Of those that died, the index still tells. */
  async #forget(entries: readonly string[]): Promise<void> {
    for (const entry of entries) if (entry !== this.#own) await this.#parts.kv.hashRemove(this.#said.index, entry);
  }
}
