import { setImmediate as turn } from 'node:timers/promises';
import { isGantryError } from '../errors.ts';
import type { Logger } from '../log/log.ts';
import type { Effect } from '../ports/kind.ts';
import type { Reference, Stored } from '../ports/odb.ts';
import { pause } from '../time/retry.ts';
import type { Definition, LiveRecord, RecordsStatus } from './record.ts';

export interface LiveParts {
  /**
   * In the order in which kinds are put into effect; the reverse for what is removed. Asked at the first record, when every
   * plugin has brought its kinds.
   */
  effects(): ReadonlyMap<string, Effect | null>;
  /** Whether the config file of this server has one of that name, which then wins. */
  fixed(kind: string, name: string): boolean;
  /** The record with its secrets in the clear. */
  open(stored: Stored): Definition;
  readonly log: Logger;
}

interface Entry {
  readonly stored: Stored;
  /** Opened on first use. */
  live: LiveRecord | null;
  problem: string | null;
  /** What the problem came from. */
  error: unknown;
  /** The problem that the log was told. */
  told: string | null;
  /** What is in effect: an earlier one, where this one was refused. */
  standing: Stored | null;
}

/** How long changes are put into effect before calls get their turn again. */
const SLICE_MS = 4;

/** The records that this server runs with, and what they do to it. */
export class LiveRecords {
  readonly #parts: LiveParts;
  readonly #entries = new Map<string, Map<string, Entry>>();
  /** Those whose address is taken: they get it with the change that makes it free. */
  readonly #stuck = new Set<Entry>();
  /** What there was before the change that is under way, by kind and name: the state on disk is one that there was. */
  readonly #earlier = new Map<string, Stored | null>();
  #stopped = false;
  #effects: ReadonlyMap<string, Effect | null> | null = null;

  constructor(parts: LiveParts) {
    this.#parts = parts;
  }

  /** In the order in which they are put into effect. */
  get kinds(): readonly string[] {
    return [...this.#known.keys()];
  }
  get #known(): ReadonlyMap<string, Effect | null> {
    if (this.#effects === null) {
      this.#effects = this.#parts.effects();
      for (const kind of this.#effects.keys()) this.#entries.set(kind, new Map());
    }
    return this.#effects;
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
  names(kind: string): readonly string[] {
    return [...(this.#entries.get(kind)?.keys() ?? [])].sort();
  }
  /** Why a record is not in effect, or not all of it; null where it is, and where there is none. */
  problem(kind: string, name: string): string | null {
    return this.#entries.get(kind)?.get(name)?.problem ?? null;
  }
  status(): Pick<RecordsStatus, 'refused' | 'counts'> {
    const entries = this.kinds.map((kind) => [kind, [...(this.#entries.get(kind)?.values() ?? [])]] as const);
    return {
      refused: entries.flatMap(([kind, list]) =>
        list.flatMap(({ stored, problem }) => (problem === null ? [] : [{ kind, name: stored.name, problem }])),
      ),
      counts: Object.fromEntries(entries.map(([kind, list]) => [kind, list.length])),
    };
  }

  /** As they were before the change that is under way; the same as they are where none is. */
  state(): readonly Stored[] {
    const now = [...this.#entries.values()].flatMap((map) => [...map.values()].map(({ stored }) => stored));
    if (this.#earlier.size === 0) return now;
    const before = [...this.#earlier.values()].filter((stored) => stored !== null);
    return [...now.filter((one) => !this.#earlier.has(keyOf(one))), ...before];
  }
  /** What was applied is a whole. */
  settle(): void {
    this.#earlier.clear();
  }
  /** What is being applied ends where it is. */
  stop(): void {
    this.#stopped = true;
  }

  /** Puts these into effect, and takes all others out of it. */
  async replaceAll(records: readonly Stored[]): Promise<void> {
    const there = new Set(records.map(({ kind, name }) => `${kind}/${name}`));
    const gone = this.kinds.flatMap((kind) =>
      [...(this.#entries.get(kind)?.keys() ?? [])]
        .filter((name) => !there.has(`${kind}/${name}`))
        .map((name) => ({ kind, name })),
    );
    await this.apply(records, gone);
  }

  /** Keys that came may open what could not be opened before. */
  async reopen(): Promise<void> {
    const entries = [...this.#entries.values()].flatMap((map) => [...map.values()]);
    for (const entry of entries) entry.live = null;
    const refused = entries.filter(({ problem }) => problem !== null).map(({ stored }) => stored);
    await this.apply(refused, [], () => true);
  }

  /** Tries those again that were refused: what they lack may have come since. They count as refused until it did. */
  async retry(kind: string): Promise<void> {
    for (const entry of [...(this.#entries.get(kind)?.values() ?? [])]) {
      const { name } = entry.stored;
      if (this.#stopped) return;
      if (entry.problem === null || this.#parts.fixed(kind, name)) continue;
      try {
        await this.#known.get(kind)?.put(this.find(kind, name)?.definition as Definition);
        Object.assign(entry, { problem: null, error: null, told: null, standing: entry.stored });
        this.#parts.log.info({ kind, record: name, version: entry.stored.version }, 'a record is in effect after all');
      } catch (thrown) {
        this.#refused(entry, thrown);
      }
    }
  }

  /**
   * What is new comes before what is removed goes, so that nothing refers to what is not there. Where the two want one
   * address, the one makes room for the other in one turn: no call finds nobody there.
   */
  async apply(
    present: readonly Stored[],
    gone: readonly Reference[],
    isNews = (one: Stored) => this.#isNews(one),
  ): Promise<void> {
    await this.#putAll(present.filter(isNews));
    const breathe = breathing();
    for (const kind of [...this.kinds].reverse()) {
      for (const { name } of gone.filter((one) => one.kind === kind)) {
        if (this.#stopped) return;
        await this.#drop(kind, name);
        if (this.#stuck.size === 0) await breathe();
      }
      this.#untangle(kind);
    }
  }

  async #putAll(all: readonly Stored[]): Promise<void> {
    const breathe = breathing();
    for (const kind of this.kinds) {
      const changed = all.filter((one) => one.kind === kind);
      const patienceMs = this.#known.get(kind)?.patienceMs;
      if (patienceMs !== undefined && changed.length > 0 && !this.#stopped) {
        const over = new AbortController();
        const late = pause(patienceMs, over.signal).catch(() => {});
        await Promise.race([Promise.all(changed.map((stored) => this.#put(stored))), late]);
        over.abort();
        continue;
      }
      for (const stored of changed) {
        if (this.#stopped) return;
        const putting = this.#put(stored);
        if (putting !== undefined) await putting;
        await breathe();
      }
    }
  }

  /** A restored database may have come to the same version and revision another time. */
  #isNews({ kind, name, version, revision, changedAt }: Stored): boolean {
    const known = this.#entries.get(kind)?.get(name)?.stored;
    const same = known?.version === version && known.revision === revision;
    return !same || known.changedAt.getTime() !== changedAt.getTime();
  }

  #put(stored: Stored): Promise<void> | undefined {
    const { kind, name } = stored;
    const before = this.#note(kind, name);
    const told = before?.stored === stored ? before.told : null;
    const standing = before?.standing ?? null;
    const entry: Entry = { stored, live: null, problem: null, error: null, told, standing };
    this.#entries.get(kind)?.set(name, entry);
    if (this.#parts.fixed(kind, name)) {
      entry.problem = 'the config file of this server has one of that name, which is in effect instead';
      return undefined;
    }
    return this.#enter(entry);
  }

  #enter(entry: Entry): Promise<void> | undefined {
    const { kind, name } = entry.stored;
    const effect = this.#known.get(kind) ?? null;
    if (effect === null) return undefined;
    try {
      const putting = effect.put(this.find(kind, name)?.definition as Definition);
      if (putting !== undefined) return putting.catch((thrown: unknown) => this.#refused(entry, thrown));
      Object.assign(entry, { problem: null, error: null, told: null, standing: entry.stored });
      this.#stuck.delete(entry);
    } catch (thrown) {
      this.#refused(entry, thrown);
    }
    return undefined;
  }

  async #drop(kind: string, name: string): Promise<void> {
    const known = this.#note(kind, name);
    this.#entries.get(kind)?.delete(name);
    if (known === undefined || this.#parts.fixed(kind, name)) return;
    try {
      const dropping = this.#known.get(kind)?.drop(name);
      if (dropping !== undefined) await dropping;
    } catch (error) {
      this.#parts.log.error({ kind, record: name, error }, 'a record was removed, and taking it out of effect failed');
    }
  }

  /** Remembers what there is before it is changed. */
  #note(kind: string, name: string): Entry | undefined {
    const entry = this.#entries.get(kind)?.get(name);
    const key = keyOf({ kind, name });
    if (!this.#earlier.has(key)) this.#earlier.set(key, entry?.stored ?? null);
    return entry;
  }

  #refused(entry: Entry, thrown: unknown): void {
    entry.problem = isGantryError(thrown) ? thrown.message : `failed: ${(thrown as Error)?.message ?? String(thrown)}`;
    entry.error = thrown;
    // The channel that has its address may be removed by the same change, or swap addresses with it.
    if (isGantryError(thrown) && thrown.code === 'CHANNEL_DUPLICATE') this.#stuck.add(entry);
    else {
      this.#stuck.delete(entry);
      this.#tell(entry);
    }
  }

  #tell(entry: Entry): void {
    const { problem, told, error, stored } = entry;
    if (told === problem) return;
    entry.told = problem;
    const { kind, name: record, version } = stored;
    this.#parts.log.error({ kind, record, version, error }, 'a record could not be put into effect');
  }

  /** Channels that stand in each other's way, e.g. two that swapped addresses: all out, then all in, in one turn. */
  #untangle(kind: string): void {
    const known = this.#entries.get(kind);
    const waiting = () => [...this.#stuck].filter(({ stored }) => stored.kind === kind);
    for (const entry of waiting()) if (known?.get(entry.stored.name) !== entry) this.#stuck.delete(entry);
    for (const entry of waiting()) void this.#enter(entry);
    const stuck = waiting();
    if (stuck.length > 1) {
      for (const { stored } of stuck) void this.#known.get(kind)?.drop(stored.name);
      for (const entry of stuck) void this.#enter(entry);
      for (const entry of waiting()) this.#stay(entry);
    }
    for (const entry of waiting()) this.#tell(entry);
  }

  /** A record that was refused stays in effect as it was, unless another has its address by now. */
  #stay(entry: Entry): void {
    const { standing } = entry;
    if (standing === null) return;
    try {
      void this.#known.get(standing.kind)?.put(this.#parts.open(standing));
    } catch {
      entry.standing = null;
    }
  }
}

function keyOf({ kind, name }: Reference): string {
  return `${kind}/${name}`;
}

/** Gives calls their turn after some work. */
function breathing(): () => Promise<void> {
  let since = performance.now();
  return async () => {
    if (performance.now() - since < SLICE_MS) return;
    await turn();
    since = performance.now();
  };
}
