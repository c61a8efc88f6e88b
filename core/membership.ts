import { createHmac, randomUUID, timingSafeEqual } from 'node:crypto';
import { networkInterfaces } from 'node:os';
import { setTimeout as wait } from 'node:timers/promises';
import type { Cluster, ClusterConfig, Member, Reached } from './cluster.ts';
import { GantryError, toGantryError } from './errors.ts';
import type { Logger } from './log.ts';
import type { Kv } from './ports/kv.ts';
import type { ServerInfo } from './server.ts';

interface Parts {
  readonly config: ClusterConfig;
  readonly kv: Kv;
  readonly server: ServerInfo;
  readonly log: Logger;
  /** What changes from beat to beat. */
  describe(): Pick<Member, 'longestMs' | 'revision' | 'staleSince' | 'refused'>;
  /** Where it listens: URLs. */
  urls(): readonly string[];
  onRestart(): void;
}

const INDEX = 'members';
/** The latest change that any of them runs with. */
const LATEST = 'revision';
const REFUSED = 50;
const LOOK_MS = 50;

/**
 * Membership: who is there says so every second, signed with the token that the cluster shares; the store forgets who
 * does not. With the store away nobody is dropped and nobody new is seen.
 */
export class Membership implements Cluster {
  readonly instance = randomUUID();
  readonly #parts: Parts;
  #state: Member['state'] | 'absent' = 'absent';
  #timer: NodeJS.Timeout | null = null;
  #beating: Promise<void> | null = null;
  #told = '';
  #beatAt = Number.NEGATIVE_INFINITY;
  #problem: GantryError | null = null;
  /** The latest revision that others run with, as far as is known. */
  #latest = 0;
  readonly #strangers = new Set<string>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  get problem(): GantryError | null {
    return this.#problem ?? this.#parts.kv.problem;
  }
  get self(): Member | null {
    return this.#state === 'absent' ? null : this.#about(this.#state);
  }
  /** Others run with changes that this server cannot get: better that they take its calls. */
  get isBehind(): boolean {
    const { revision, staleSince } = this.#parts.describe();
    return staleSince !== null && this.#latest > revision;
  }

  /** Throws CLUSTER_REFUSED where another server has its name. One that died is believed until its lease ends. */
  async claim(): Promise<void> {
    if (this.#parts.config.announce) await this.#refuseNamesake();
  }

  /** From now on it is there. */
  async join(): Promise<void> {
    const { config, log } = this.#parts;
    if (!config.announce) return;
    this.#state = 'ready';
    await this.#beat();
    const { host, port } = this.#about('ready');
    log.info({ address: `${host}:${port}`, instance: this.instance }, 'this server is one of the cluster');
    this.#timer = setInterval(() => void this.#beat(), Math.min(LOOK_MS * 2, config.beatMs));
    this.#timer.unref();
  }

  /** Tells the balancers, and gives them time to hear of it. Who comes meanwhile is served. */
  async leave(): Promise<void> {
    if (this.#state !== 'ready') return;
    this.#state = 'draining';
    const told = this.#beat();
    await wait(this.#parts.config.lingerMs);
    await told;
  }

  async stop(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    await this.#beating;
    if (this.#state === 'absent') return;
    this.#state = 'absent';
    const { kv, server, log } = this.#parts;
    try {
      await kv.remove(keyOf(server.name));
      await kv.hashRemove(INDEX, server.name);
    } catch (error) {
      log.debug({ error }, 'the lease is left to end by itself');
    }
  }

  async members(): Promise<readonly Member[]> {
    const { kv } = this.#parts;
    const names = Object.keys(await kv.hashAll(INDEX)).sort();
    if (names.length === 0) return [];
    const texts = await kv.getMany(names.map(keyOf));
    const found: Member[] = [];
    for (const [i, text] of texts.entries()) {
      const name = names[i] as string;
      if (text === null) continue;
      const member = this.#read(text);
      if (member === null || member.name !== name) this.#stranger(name);
      else found.push(member);
    }
    await this.#forget(names.filter((_, i) => texts[i] === null));
    return found;
  }

  async reached(revision: number, withinMs: number): Promise<Reached> {
    const until = performance.now() + withinMs;
    while (true) {
      const all = await this.members();
      const late = all.filter((one) => one.revision < revision);
      if (late.length === 0 || performance.now() >= until) {
        return {
          revision,
          reached: all.filter((one) => one.revision >= revision).map(({ name }) => name),
          late: late.map((one) => ({ name: one.name, revision: one.revision })),
        };
      }
      await wait(LOOK_MS);
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
    const order = this.#sign(JSON.stringify({ restart: member.instance }));
    await kv.set(commandOf(name), order, { ttlMs: Math.max(10_000, config.leaseMs * 2) });
  }

  /** Says so where something changed or it is time, and looks for orders. */
  #beat(): Promise<void> {
    this.#beating ??= this.#beatOnce().finally(() => {
      this.#beating = null;
    });
    return this.#beating;
  }

  async #beatOnce(): Promise<void> {
    if (this.#state === 'absent') return;
    const { kv, config, server, log } = this.#parts;
    const about = this.#about(this.#state);
    const told = JSON.stringify(about);
    const isDue = performance.now() - this.#beatAt >= config.beatMs;
    if (!isDue && told === this.#told) return;
    try {
      await kv.set(keyOf(server.name), this.#sign(told), { ttlMs: config.leaseMs });
      this.#told = told;
      this.#beatAt = performance.now();
      if (isDue) {
        // Again each time: a store that lost everything knows it within a beat.
        await kv.hashSet(INDEX, { [server.name]: this.instance });
        await this.#lookAround(about.revision);
      }
      if (this.#problem !== null) log.info({}, 'the cluster hears of this server again');
      this.#problem = null;
    } catch (thrown) {
      const error = toGantryError(thrown);
      if (this.#problem === null)
        log.warn({ error }, 'the cluster does not hear of this server now; it serves on, and stays where it is known');
      this.#problem = error;
      // Not twenty times a second.
      this.#beatAt = performance.now();
      this.#told = told;
    }
  }

  async #lookAround(revision: number): Promise<void> {
    const { kv, server, onRestart, log } = this.#parts;
    const [latest, order] = await kv.getMany([LATEST, commandOf(server.name)]);
    this.#latest = Number(latest ?? 0);
    if (this.#parts.describe().staleSince === null && this.#latest !== revision) {
      await kv.swap(LATEST, latest ?? null, String(revision));
      this.#latest = revision;
    }
    if (order === null || order === undefined) return;
    const said = this.#open(order) as { restart?: string } | null;
    if (said?.restart !== this.instance) return;
    await kv.remove(commandOf(server.name));
    log.info({}, 'told to restart');
    onRestart();
  }

  async #refuseNamesake(): Promise<void> {
    const { kv, config, server, log } = this.#parts;
    const own = this.#about('ready');
    let first: string | null = null;
    const until = performance.now() + config.leaseMs + config.beatMs;
    while (performance.now() < until) {
      let text: string | null;
      try {
        text = await kv.get(keyOf(server.name));
      } catch (error) {
        log.warn({ error }, 'whether another server has this name cannot be asked now');
        return;
      }
      const other = text === null ? null : this.#read(text);
      if (other === null) return;
      if (other.host === own.host && other.port === own.port) return;
      first ??= text;
      if (first === text) log.debug({ other: other.instance }, 'waiting for the lease of a server of this name to end');
      await wait(Math.min(200, config.beatMs));
    }
    const other = this.#read((await kv.get(keyOf(server.name))) ?? '');
    if (other === null) return;
    throw new GantryError(
      'CLUSTER_REFUSED',
      `Another server of this cluster is named '${server.name}', at ${other.host}:${other.port}`,
      { hint: 'Give this one another "name" in its config (GANTRY_NAME), or end the other.' },
    );
  }

  #about(state: Member['state']): Member {
    const { server, config, describe } = this.#parts;
    const { refused, ...rest } = describe();
    return {
      name: server.name,
      instance: this.instance,
      ...this.#address(),
      version: server.version,
      state,
      startedAt: server.startedAt.toISOString(),
      supervised: config.supervised,
      ...rest,
      refused: refused.slice(0, REFUSED),
    };
  }

  /** Of several addresses the first; one that listens everywhere is reached by the machine's own. */
  #address(): Pick<Member, 'host' | 'port' | 'tls'> {
    const { config, urls } = this.#parts;
    const url = new URL(urls()[0] ?? 'http://127.0.0.1:0');
    const tls = url.protocol === 'https:';
    if (config.address !== undefined) {
      const at = config.address.lastIndexOf(':');
      return { host: config.address.slice(0, at), port: Number(config.address.slice(at + 1)), tls };
    }
    const listens = url.hostname.replace(/^\[|\]$/g, '');
    const host = listens === '0.0.0.0' || listens === '::' ? machineAddress() : listens;
    return { host, port: Number(url.port || (tls ? 443 : 80)), tls };
  }

  #sign(text: string): string {
    return `${this.#mac(text)} ${text}`;
  }
  #mac(text: string): string {
    return createHmac('sha256', this.#parts.config.token.reveal()).update(text).digest('hex');
  }
  #open(signed: string): unknown {
    const at = signed.indexOf(' ');
    const [mac, text] = [Buffer.from(signed.slice(0, Math.max(0, at))), signed.slice(at + 1)];
    const own = Buffer.from(this.#mac(text));
    if (mac.length !== own.length || !timingSafeEqual(mac, own)) return null;
    try {
      return JSON.parse(text);
    } catch {
      return null;
    }
  }
  #read(signed: string): Member | null {
    return this.#open(signed) as Member | null;
  }

  #stranger(name: string): void {
    if (this.#strangers.has(name)) return;
    this.#strangers.add(name);
    this.#parts.log.warn(
      { server: name },
      'a server announced itself without the token of this cluster: it is given no calls. Give it the same cluster.token',
    );
  }

  /** Of those that died, the index still tells. */
  async #forget(names: readonly string[]): Promise<void> {
    for (const name of names) if (name !== this.#parts.server.name) await this.#parts.kv.hashRemove(INDEX, name);
  }
}

function keyOf(name: string): string {
  return `member:${name}`;
}
function commandOf(name: string): string {
  return `command:${name}`;
}

function machineAddress(): string {
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return all.find(({ family, internal }) => family === 'IPv4' && !internal)?.address ?? '127.0.0.1';
}
