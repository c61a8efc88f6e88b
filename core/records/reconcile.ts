import { GantryError, toGantryError } from '../errors.ts';
import type { Bus } from '../ports/bus.ts';
import type { Change, Odb, Reference, Stored } from '../ports/odb.ts';
import { type LiveParts, LiveRecords } from './live-records.ts';
import type { LiveRecord, RecordsStatus } from './record.ts';

/** The last known good state on disk. */
export interface Keep {
  read(): Promise<{ revision: number; records: readonly Stored[]; savedAt: Date } | null>;
  /** Waits for nothing; the newest state wins. */
  save(state: () => { readonly revision: number; readonly records: readonly Stored[] }): void;
  settle(): Promise<void>;
}

export interface ReconcilerParts extends LiveParts {
  readonly odb: Odb;
  readonly bus: Bus | null;
  readonly keep: Keep | null;
  /** Which keys there are, the current one first: others may open what could not be opened before. */
  keys(): string;
  readonly server: string;
  readonly pollMs: number;
}

const PAGE = 500;
/** After so many polls, modules that were refused are tried again: a package that they lack may be installed by now. */
const RETRY_POLLS = 15;

/**
 * Makes this server run with what the records say. The change log is the truth: the reconciler follows it from the
 * revision that it has reached, at once after a hint of the bus, and every few seconds anyway. While the database is
 * unavailable the server goes on with what it has. If it is unavailable at the start, the server uses the last known good
 * state on disk.
 */
export class Reconciler {
  readonly #parts: ReconcilerParts;
  readonly #live: LiveRecords;
  #revision = 0;
  /** The line of the change log at that revision: with another one it is another database, e.g. a restored one. */
  #mark = '';
  #keys = '';
  #source: RecordsStatus['source'] = 'none';
  #staleSince: Date | null = null;
  #problem: string | null = null;
  #timer: NodeJS.Timeout | null = null;
  #running: Promise<void> | null = null;
  #again = false;
  #polls = 0;
  /** What the run that is under way will find at least. */
  #sought = 0;
  #stopped = false;
  #unsubscribe: () => void = () => {};

  constructor(parts: ReconcilerParts) {
    this.#parts = parts;
    this.#live = new LiveRecords(parts);
  }

  /** Puts everything into effect. Throws where there is neither the database nor a state on disk. */
  async load(): Promise<void> {
    const loading = this.#load();
    // stop() waits for it.
    this.#running = loading
      .catch(() => {})
      .finally(() => {
        this.#running = null;
      });
    await loading;
  }

  async #load(): Promise<void> {
    const { keep, log } = this.#parts;
    this.#keys = this.#parts.keys();
    try {
      await this.#loadAll();
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
      this.#source = 'snapshot';
      this.#staleSince = kept.savedAt;
      this.#problem = error.message;
      log.warn(
        { error, revision: kept.revision, savedAt: kept.savedAt.toISOString() },
        'the database is not available: starting with the last known good state; changes are refused until it is back',
      );
      await this.#live.replaceAll(kept.records);
      this.#reached(kept.revision);
    }
  }

  /** From now on follows the changes. */
  start(): void {
    const { bus, pollMs } = this.#parts;
    if (this.#stopped) return;
    this.#unsubscribe =
      bus?.subscribe(({ topic, revision }) => void (topic === 'changed' && this.#follow(revision))) ?? (() => {});
    this.#timer = setInterval(() => this.#poll(), pollMs);
    this.#timer.unref();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#live.stop();
    this.#unsubscribe();
    if (this.#timer !== null) clearInterval(this.#timer);
    await this.#running;
    await this.#parts.keep?.settle();
  }

  /** Resolves once the server runs with that revision, and says whether it did so in time. */
  async reach(revision: number, ms: number): Promise<boolean> {
    const until = performance.now() + ms;
    while (!this.#runsWith(revision) && performance.now() < until && !this.#stopped) {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, Math.max(0, until - performance.now()));
      });
      await Promise.race([this.#follow(revision), late]);
      clearTimeout(timer);
      if (this.#problem !== null) break;
    }
    return this.#runsWith(revision);
  }

  /** The state on disk may be of a time, or of a database, that there is no more: its revision tells nothing. */
  #runsWith(revision: number): boolean {
    return this.#revision >= revision && this.#source === 'database';
  }

  /** Looks for changes now, and takes over what there is. */
  async catchUp(): Promise<void> {
    // One that was under way may have looked before.
    await this.#running;
    await this.#follow();
  }

  find(kind: string, name: string): LiveRecord | null {
    return this.#live.find(kind, name);
  }
  names(kind: string): readonly string[] {
    return this.#live.names(kind);
  }
  /** Why a record is not in effect, or not all of it; null where it is, and where there is none. */
  problem(kind: string, name: string): string | null {
    return this.#live.problem(kind, name);
  }
  status(): RecordsStatus {
    return {
      revision: this.#revision,
      source: this.#source,
      staleSince: this.#staleSince?.toISOString() ?? null,
      // A database whose disk is full refuses changes and still answers reads.
      problem: this.#problem ?? this.#parts.odb.problem?.message ?? null,
      ...this.#live.status(),
    };
  }

  #poll(): void {
    this.#polls++;
    void this.#follow();
  }

  /** One run at a time. If a later revision is reported while a run is under way, another run follows it. */
  #follow(revision = 0): Promise<void> {
    if (this.#stopped || (revision > 0 && this.#runsWith(revision))) return Promise.resolve();
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
        if (this.#polls >= RETRY_POLLS) {
          this.#polls = 0;
          await this.#live.retry('module');
        }
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
      await this.#takeKeys();
      const latest = await odb.revision();
      if (this.#source !== 'database') await this.#loadAll();
      else if (!(await this.#isSame(latest))) {
        log.warn(
          { from: this.#revision, to: latest },
          'the database is another one than before, e.g. restored from a backup: everything is read anew',
        );
        await this.#loadAll();
      }
      if (this.#revision < latest) await this.#followTo(latest);
      if (this.#staleSince !== null)
        log.info({ revision: this.#revision }, 'the database is back; all changes are in effect');
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

  /** Whether the changes go on from where this server is. Looks only where there are some, or could have been unseen. */
  async #isSame(latest: number): Promise<boolean> {
    if (latest < this.#revision) return false;
    if (latest === this.#revision && this.#problem === null) return true;
    return (await this.#markAt(this.#revision)) === this.#mark;
  }
  async #markAt(revision: number): Promise<string> {
    if (revision === 0) return '';
    const [line] = await this.#parts.odb.changes(revision - 1, 1);
    return line?.revision === revision ? markOf(line) : '';
  }

  /** Keys that came may open what could not be opened before. The state on disk is signed with the current one. */
  async #takeKeys(): Promise<void> {
    const keys = this.#parts.keys();
    if (keys === this.#keys) return;
    this.#keys = keys;
    await this.#live.reopen();
    this.#reached(this.#revision);
  }

  /** All of them as one: a batch may be longer than a page, and its parts belong together. */
  async #followTo(latest: number): Promise<void> {
    const { odb } = this.#parts;
    const names = new Map<string, Set<string>>(this.#live.kinds.map((kind) => [kind, new Set()]));
    let mark = this.#mark;
    for (let at = this.#revision; at < latest; ) {
      const lines = (await odb.changes(at, PAGE)).filter(({ revision }) => revision <= latest);
      const last = lines.at(-1);
      if (last === undefined) break;
      for (const { kind, name } of lines) names.get(kind)?.add(name);
      at = last.revision;
      mark = markOf(last);
    }
    const present: Stored[] = [];
    const gone: Reference[] = [];
    for (const [kind, all] of names) {
      const wanted = [...all];
      for (let i = 0; i < wanted.length; i += PAGE) {
        const some = wanted.slice(i, i + PAGE);
        const found = await odb.pick(kind, some);
        const there = new Set(found.map(({ name }) => name));
        present.push(...found);
        gone.push(...some.filter((name) => !there.has(name)).map((name) => ({ kind, name })));
      }
    }
    await this.#live.apply(present, gone);
    if (this.#stopped) return;
    this.#mark = mark;
    this.#reached(latest);
  }

  async #loadAll(): Promise<void> {
    const { revision, records } = await this.#parts.odb.load(this.#live.kinds);
    const mark = await this.#markAt(revision);
    await this.#live.replaceAll(records);
    if (this.#stopped) return;
    this.#source = 'database';
    this.#mark = mark;
    this.#reached(revision);
  }

  #reached(revision: number): void {
    if (this.#stopped) return;
    this.#revision = revision;
    this.#live.settle();
    // Taken later, maybe in the middle of the next change: it is the state at this revision nevertheless.
    const state = () => ({ revision: this.#revision, records: this.#live.state() });
    if (this.#source === 'database') this.#parts.keep?.save(state);
  }
}

/** What tells one line of a change log from another one at the same revision. */
function markOf({ revision, action, kind, name, version, changedAt, changedBy, cid }: Change): string {
  return JSON.stringify([revision, action, kind, name, version, changedAt.getTime(), changedBy, cid]);
}
