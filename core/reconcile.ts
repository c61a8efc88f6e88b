import { setImmediate as turn } from 'node:timers/promises';
import { GantryError, isGantryError, toGantryError } from './errors.ts';
import type { Logger } from './log.ts';
import type { Bus } from './ports/bus.ts';
import type { Change, Odb, Stored } from './ports/odb.ts';
import type { Definition, LiveRecord, RecordsStatus } from './record.ts';
import { pause } from './retry.ts';

/** What a kind of record does to this server. */
export interface Effect {
  /** Puts a definition into effect, in place of the one of its name. Throws, and what was there stays. */
  put(definition: Definition): void | Promise<void>;
  drop(name: string): void | Promise<void>;
}

/** The last known good state on disk. */
export interface Keep {
  read(): Promise<{ revision: number; records: readonly Stored[]; savedAt: Date } | null>;
  /** Waits for nothing; the newest state wins. */
  save(state: () => { readonly revision: number; readonly records: readonly Stored[] }): void;
  settle(): Promise<void>;
}

export interface ReconcilerParts {
  readonly odb: Odb;
  readonly bus: Bus | null;
  readonly keep: Keep | null;
  /** In the order in which kinds are put into effect; the reverse for what is removed. */
  readonly effects: ReadonlyMap<string, Effect | null>;
  /** Whether the config file of this server has one of that name, which then wins. */
  fixed(kind: string, name: string): boolean;
  /** The record with its secrets in the clear. */
  open(stored: Stored): Definition;
  readonly log: Logger;
  readonly server: string;
  readonly pollMs: number;
}

interface Entry {
  readonly stored: Stored;
  /** Opened on first use. */
  live: LiveRecord | null;
  problem: string | null;
}

const PAGE = 500;
/** How long changes are put into effect before calls get their turn again. */
const SLICE_MS = 4;
/** How long connections are waited for: what takes longer goes on by itself. */
const OPENING_MS = 1000;

/**
 * Makes this server run with what the records say. The change log is the truth: it is followed from the revision that was
 * reached, after a hint of the bus at once, and every few seconds anyway. While the database is away the server goes on
 * with what it has; where it is away at start, with the last known good state on disk.
 */
export class Reconciler {
  readonly #parts: ReconcilerParts;
  readonly #kinds: readonly string[];
  readonly #entries = new Map<string, Map<string, Entry>>();
  /** Those whose address was taken. */
  readonly #stuck = new Set<Entry>();
  #revision = 0;
  #source: RecordsStatus['source'] = 'none';
  #staleSince: Date | null = null;
  #problem: string | null = null;
  #timer: NodeJS.Timeout | null = null;
  #running: Promise<void> | null = null;
  #again = false;
  /** What the run that is under way will find at least. */
  #sought = 0;
  #stopped = false;
  #unsubscribe: () => void = () => {};

  constructor(parts: ReconcilerParts) {
    this.#parts = parts;
    this.#kinds = [...parts.effects.keys()];
    for (const kind of this.#kinds) this.#entries.set(kind, new Map());
  }

  /** Puts everything into effect. Throws where there is neither the database nor a state on disk. */
  async load(): Promise<void> {
    const { odb, keep, log } = this.#parts;
    let from: { revision: number; records: readonly Stored[] };
    try {
      from = await odb.load(this.#kinds);
      this.#source = 'database';
    } catch (thrown) {
      const error = toGantryError(thrown);
      if (!error.retryable) throw thrown;
      const kept = await keep?.read();
      if (kept === null || kept === undefined) {
        throw new GantryError(
          'ODB_UNAVAILABLE',
          `${error.message}; and there is no last known good state to start with`,
          {
            cause: thrown,
            hint: `${error.hint ?? ''} The first start of a server needs its database.`.trim(),
          },
        );
      }
      from = kept;
      this.#source = 'snapshot';
      this.#staleSince = kept.savedAt;
      this.#problem = error.message;
      log.warn(
        { error, revision: kept.revision, savedAt: kept.savedAt.toISOString() },
        'the database is not available: starting with the last known good state; changes are refused until it is back',
      );
    }
    await this.#replaceAll(from);
  }

  /** From now on follows the changes. */
  start(): void {
    const { bus, pollMs } = this.#parts;
    this.#unsubscribe = bus?.subscribe(({ revision }) => void this.#follow(revision)) ?? (() => {});
    this.#timer = setInterval(() => void this.#follow(), pollMs);
    this.#timer.unref();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#unsubscribe();
    if (this.#timer !== null) clearInterval(this.#timer);
    await this.#running;
    await this.#parts.keep?.settle();
  }

  /** Resolves once the server runs with that revision, and says whether it did so in time. */
  async reach(revision: number, ms: number): Promise<boolean> {
    const until = performance.now() + ms;
    while (this.#revision < revision && performance.now() < until && !this.#stopped) {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, Math.max(0, until - performance.now()));
      });
      await Promise.race([this.#follow(revision), late]);
      clearTimeout(timer);
      if (this.#problem !== null) break;
    }
    return this.#revision >= revision;
  }

  find(kind: string, name: string): LiveRecord | null {
    const entry = this.#entries.get(kind)?.get(name);
    if (entry === undefined) return null;
    return (entry.live ??= {
      kind,
      name,
      version: entry.stored.version,
      definition: this.#parts.open(entry.stored),
    });
  }
  /** Why a record is not in effect, or not all of it; null where it is, and where there is none. */
  problem(kind: string, name: string): string | null {
    return this.#entries.get(kind)?.get(name)?.problem ?? null;
  }
  status(): RecordsStatus {
    const entries = [...this.#entries].map(([kind, map]) => [kind, [...map.values()]] as const);
    return {
      revision: this.#revision,
      source: this.#source,
      staleSince: this.#staleSince?.toISOString() ?? null,
      problem: this.#problem,
      refused: entries.flatMap(([kind, list]) =>
        list.flatMap(({ stored, problem }) => (problem === null ? [] : [{ kind, name: stored.name, problem }])),
      ),
      counts: Object.fromEntries(entries.map(([kind, list]) => [kind, list.length])),
    };
  }

  /** One run at a time; who knows of a later revision than the run that is under way gets another one after it. */
  #follow(revision = 0): Promise<void> {
    if (this.#stopped || (revision > 0 && revision <= this.#revision)) return Promise.resolve();
    if (this.#running !== null) {
      this.#again ||= revision > this.#sought;
      this.#sought = Math.max(this.#sought, revision);
      return this.#running;
    }
    this.#sought = revision;
    const run = async () => {
      do {
        this.#again = false;
        await this.#catchUp();
      } while (this.#again && !this.#stopped && this.#problem === null);
    };
    this.#running = run().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  async #catchUp(): Promise<void> {
    const { odb, log } = this.#parts;
    try {
      const latest = await odb.revision();
      // Another database than before, e.g. one that was restored from a backup.
      if (latest < this.#revision) {
        log.warn(
          { from: this.#revision, to: latest },
          'the revision of the database went back: everything is read anew',
        );
        await this.#replaceAll(await odb.load(this.#kinds));
      }
      while (this.#revision < latest && !this.#stopped)
        await this.#page(await odb.changes(this.#revision, PAGE), latest);
      if (this.#staleSince !== null)
        log.info({ revision: this.#revision }, 'the database is back; all changes are in effect');
      this.#source = 'database';
      this.#staleSince = null;
      this.#problem = null;
    } catch (thrown) {
      const error = toGantryError(thrown);
      if (this.#problem === null)
        log.warn({ error }, 'changes cannot be followed; the server goes on with what it has');
      this.#staleSince ??= new Date();
      this.#problem = error.message;
    }
  }

  async #page(changes: readonly Change[], latest: number): Promise<void> {
    const names = new Map<string, Set<string>>();
    for (const { kind, name } of changes) {
      let set = names.get(kind);
      if (set === undefined) names.set(kind, (set = new Set()));
      set.add(name);
    }
    const present: Stored[] = [];
    const gone: { kind: string; name: string }[] = [];
    for (const kind of this.#kinds) {
      const wanted = [...(names.get(kind) ?? [])];
      if (wanted.length === 0) continue;
      const found = await this.#parts.odb.pick(kind, wanted);
      const there = new Set(found.map(({ name }) => name));
      present.push(...found);
      gone.push(...wanted.filter((name) => !there.has(name)).map((name) => ({ kind, name })));
    }
    await this.#apply(present, gone);
    this.#reached(changes.at(-1)?.revision ?? latest);
  }

  async #replaceAll({ revision, records }: { revision: number; records: readonly Stored[] }): Promise<void> {
    const there = new Set(records.map(({ kind, name }) => `${kind}/${name}`));
    const gone = this.#kinds.flatMap((kind) =>
      [...(this.#entries.get(kind)?.keys() ?? [])]
        .filter((name) => !there.has(`${kind}/${name}`))
        .map((name) => ({ kind, name })),
    );
    await this.#apply(records, gone);
    this.#reached(revision);
  }

  #reached(revision: number): void {
    this.#revision = revision;
    if (this.#source === 'snapshot' && this.#problem !== null) return;
    this.#parts.keep?.save(() => ({
      revision: this.#revision,
      records: this.#kinds.flatMap((kind) => [...(this.#entries.get(kind)?.values() ?? [])].map((e) => e.stored)),
    }));
  }

  /** What is removed makes room first, unless something that stays still refers to it: so by kind, and in their order. */
  async #apply(present: readonly Stored[], gone: readonly { kind: string; name: string }[]): Promise<void> {
    let since = performance.now();
    const breathe = async () => {
      if (performance.now() - since < SLICE_MS) return;
      await turn();
      since = performance.now();
    };
    for (const kind of [...this.#kinds].reverse()) {
      for (const { name } of gone.filter((one) => one.kind === kind)) {
        await this.#drop(kind, name);
        await breathe();
      }
    }
    for (const kind of this.#kinds) {
      const changed = present.filter((one) => one.kind === kind && this.#isNews(one));
      if (kind === 'connection') {
        // A system that is not there must not keep other changes waiting.
        await Promise.race([Promise.all(changed.map((stored) => this.#put(stored))), pause(OPENING_MS)]);
        continue;
      }
      for (const stored of changed) {
        const putting = this.#put(stored);
        if (putting !== undefined) await putting;
        await breathe();
      }
      if (changed.length > 0 || gone.length > 0) this.#untangle(kind);
    }
  }

  #isNews({ kind, name, version, revision }: Stored): boolean {
    const known = this.#entries.get(kind)?.get(name)?.stored;
    return known === undefined || known.version !== version || known.revision !== revision;
  }

  #put(stored: Stored): Promise<void> | undefined {
    const { effects, fixed } = this.#parts;
    const { kind, name } = stored;
    const before = this.#entries.get(kind)?.get(name);
    const entry: Entry = { stored, live: null, problem: null };
    this.#entries.get(kind)?.set(name, entry);
    if (fixed(kind, name)) {
      entry.problem = 'the config file of this server has one of that name, which is in effect instead';
      return undefined;
    }
    const effect = effects.get(kind) ?? null;
    if (effect === null) return undefined;
    try {
      const putting = effect.put(this.find(kind, name)?.definition as Definition);
      return putting?.catch((thrown: unknown) => this.#refused(entry, thrown, before));
    } catch (thrown) {
      this.#refused(entry, thrown, before);
      return undefined;
    }
  }

  async #drop(kind: string, name: string): Promise<void> {
    const known = this.#entries.get(kind)?.delete(name) === true;
    if (!known || this.#parts.fixed(kind, name)) return;
    try {
      await this.#parts.effects.get(kind)?.drop(name);
    } catch (error) {
      this.#parts.log.error({ kind, record: name, error }, 'a record was removed, and taking it out of effect failed');
    }
  }

  #refused(entry: Entry, thrown: unknown, before: Entry | undefined): void {
    const { kind, name, version } = entry.stored;
    entry.problem = isGantryError(thrown) ? thrown.message : `failed: ${(thrown as Error)?.message ?? String(thrown)}`;
    if (isGantryError(thrown) && thrown.code === 'CHANNEL_DUPLICATE') this.#stuck.add(entry);
    if (before?.stored === entry.stored && before.problem === entry.problem) return;
    this.#parts.log.error({ kind, record: name, version, error: thrown }, 'a record could not be put into effect');
  }

  /** Channels that stand in each other's way, e.g. two that swapped addresses: all out, then all in, in one turn. */
  #untangle(kind: string): void {
    const effect = this.#parts.effects.get(kind) ?? null;
    const known = this.#entries.get(kind);
    const stuck = [...this.#stuck].filter((e) => known?.get(e.stored.name) === e);
    this.#stuck.clear();
    if (effect === null || stuck.length === 0) return;
    if (stuck.length > 1) for (const { stored } of stuck) void effect.drop(stored.name);
    for (const { stored } of stuck) void this.#put(stored);
  }
}
