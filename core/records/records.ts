import { setImmediate as turn } from 'node:timers/promises';
import { didYouMean, GantryError, type Problem, toGantryError } from '../errors.ts';
import type { Bus } from '../ports/bus.ts';
import type { Batch, Siblings } from '../ports/kind.ts';
import type {
  Author,
  Change,
  HistoryQuery,
  Odb,
  Page,
  RecordQuery,
  Reference,
  Stored,
  Write,
  Written,
} from '../ports/odb.ts';
import type { Keyring } from '../secrets/keyring.ts';
import { hide, reseal } from '../secrets/sealing.ts';
import type { Draft, Drafts } from './drafts.ts';
import type { Kinds } from './kinds.ts';
import type { Reconciler } from './reconcile.ts';
import type {
  Applied,
  ApplyOptions,
  Definition,
  Fixed,
  LiveRecord,
  Portable,
  Records,
  RecordsStatus,
  RecordView,
  Saved,
} from './record.ts';

interface Parts {
  readonly odb: Odb;
  readonly bus: Bus | null;
  readonly kinds: Kinds;
  readonly drafts: Drafts;
  readonly reconciler: Reconciler;
  readonly fixtures: Fixed;
  readonly keyring: () => Keyring;
  readonly server: string;
}

/** How long a change waits for this server to run with it, before it is answered. */
const LIVE_MS = 2000;
/** How long many definitions are checked before calls get their turn again. */
const SLICE_MS = 4;

/** Reads and changes records: the ODB keeps them, the reconciler puts them into effect. */
export class RecordKeeper implements Records {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  async get(kind: string, name: string): Promise<RecordView> {
    return view(await this.#stored(kind, name));
  }

  async list(kind: string, query: RecordQuery): Promise<Page<RecordView>> {
    this.#parts.kinds.get(kind);
    const { items, next, total } = await this.#parts.odb.list(kind, query);
    return { items: items.map(view), next, total };
  }

  fixtures(kind: string): readonly Definition[] {
    return this.#parts.fixtures.of(kind).map((one) => this.#parts.drafts.hidden(kind, one));
  }

  async create(kind: string, definition: Definition, by: Author): Promise<Saved> {
    this.#parts.kinds.get(kind);
    this.#refuseFixture(kind, definition.name);
    const draft = await this.#parts.drafts.make(kind, definition, null);
    return this.#save([draft.write], by);
  }

  async update(
    kind: string,
    name: string,
    version: number,
    changes: Readonly<Record<string, unknown>>,
    by: Author,
  ): Promise<Saved> {
    const stored = await this.#stored(kind, name);
    if (stored.version !== version) throw stale(stored, version);
    const draft = await this.#parts.drafts.make(kind, this.#changed(stored, changes), stored);
    return this.#protected([draft.write], (writes) => this.#save(writes, by));
  }

  async remove(kind: string, name: string, version: number | undefined, by: Author): Promise<Saved> {
    const stored = await this.#stored(kind, name);
    if (version !== undefined && stored.version !== version) throw stale(stored, version);
    this.#refuseUsedByFixtures(kind, name);
    const write: Write = {
      action: 'remove',
      kind,
      name,
      before: view(stored).definition,
      ...(version === undefined ? {} : { version }),
    };
    return this.#protected([write], (writes) => this.#save(writes, by));
  }

  async referrers(kind: string, name: string): Promise<readonly Reference[]> {
    return [...(await this.#parts.odb.referrers(kind, name)), ...this.#fixturesThatName({ kind, name })];
  }

  async export(kinds: readonly string[] = this.#portable()): Promise<readonly Portable[]> {
    for (const kind of kinds) this.#parts.kinds.get(kind);
    const { records } = await this.#parts.odb.load(kinds);
    return records.map(({ kind, name, body }) => {
      const portable = Object.entries(body).filter(
        ([key]) => this.#parts.kinds.find(kind)?.own?.includes(key) !== true,
      );
      return { kind, definition: { name, ...Object.fromEntries(portable) } };
    });
  }

  async apply(
    records: readonly Portable[],
    by: Author,
    { dryRun = false, prune = [] }: ApplyOptions = {},
  ): Promise<readonly Applied[]> {
    const { odb, kinds: known } = this.#parts;
    const given = index(records);
    const kinds = [...new Set([...records.map(({ kind }) => kind), ...prune])];
    for (const kind of kinds) known.get(kind);
    const ordered = known.names().filter((kind) => kinds.includes(kind));
    const { records: present } = await odb.load(ordered);
    const earlier = new Map(present.map((one) => [`${one.kind}/${one.name}`, one]));
    const drafts = await this.#drafts(records, earlier, given);
    const removed = present.filter(({ kind, name }) => prune.includes(kind) && !given.has(kind, name));
    for (const { kind, name } of removed) this.#refuseUsedByFixtures(kind, name);
    const writes = [
      ...removed.map(
        (one): Write => ({
          action: 'remove',
          kind: one.kind,
          name: one.name,
          version: one.version,
          before: view(one).definition,
        }),
      ),
      ...drafts.filter(({ unchanged }) => !unchanged).map(({ write }) => write),
    ];
    await this.#protected(writes, async (all) => {
      if (all.length === 0) return;
      if (dryRun) await odb.rehearse(all, by);
      else await this.#written(await odb.write(all, by));
    });
    return [
      ...removed.map(({ kind, name }): Applied => ({ kind, name, action: 'remove' })),
      ...drafts.map(
        ({ kind, name, unchanged, write }): Applied => ({
          kind,
          name,
          action: unchanged ? 'unchanged' : write.action,
        }),
      ),
    ];
  }

  async reseal(by: Author): Promise<number> {
    const { odb, kinds } = this.#parts;
    const keyring = this.#parts.keyring();
    // Another key may have become the current one since it was read.
    keyring.refresh();
    const { records } = await odb.load(kinds.names());
    let count = 0;
    for (const stored of records) {
      const { value, changed } = reseal(stored.body, keyring, `${stored.kind}/${stored.name}`);
      if (!changed) continue;
      await this.#resealed(stored, value as Stored['body'], by);
      count++;
    }
    return count;
  }

  history(query: HistoryQuery): Promise<Page<Change>> {
    return this.#parts.odb.history(query);
  }
  find(kind: string, name: string): LiveRecord | null {
    return this.#parts.reconciler.find(kind, name);
  }
  names(kind: string): readonly string[] {
    return this.#parts.reconciler.names(kind);
  }
  status(): RecordsStatus {
    return this.#parts.reconciler.status();
  }

  async #stored(kind: string, name: string): Promise<Stored> {
    const { odb, fixtures, kinds } = this.#parts;
    kinds.get(kind);
    const stored = await odb.find(kind, name);
    if (stored !== null) return stored;
    if (fixtures.has(kind, name)) {
      throw new GantryError(
        'RECORD_NOT_FOUND',
        `The ${kind} '${name}' is no record: it is in the config file of this server`,
        {
          hint: 'Change it there.',
        },
      );
    }
    const near = await odb.list(kind, { limit: 1000 }).catch(() => null);
    const hint = didYouMean(name, near?.items.map((one) => one.name) ?? []);
    throw new GantryError('RECORD_NOT_FOUND', `There is no ${kind} '${name}'${hint === '' ? '' : `. ${hint}`}`);
  }

  /** All drafts, or the problems of all records. */
  async #drafts(records: readonly Portable[], known: ReadonlyMap<string, Stored>, batch: Batch): Promise<Draft[]> {
    const drafts: Draft[] = [];
    const problems: Problem[] = [];
    let since = performance.now();
    for (const kind of this.#parts.kinds.names()) {
      for (const [i, { kind: own, definition }] of records.entries()) {
        if (own !== kind) continue;
        if (performance.now() - since > SLICE_MS) {
          await turn();
          since = performance.now();
        }
        try {
          this.#refuseFixture(kind, definition.name);
          const earlier = known.get(`${kind}/${definition.name}`) ?? null;
          drafts.push(await this.#parts.drafts.make(kind, definition, earlier, batch));
        } catch (thrown) {
          const error = toGantryError(thrown);
          if (error.kind !== 'invalid' && error.kind !== 'conflict') throw thrown;
          const at = `/records/${i}/definition`;
          const all = error.problems ?? [{ path: '', message: error.message }];
          problems.push(
            ...all.map((p) => ({
              ...p,
              path: `${at}${p.path}`,
              message: `${p.message} (${kind} '${definition.name}')`,
            })),
          );
        }
      }
    }
    if (problems.length === 0) return drafts;
    throw new GantryError(
      'RECORD_INVALID',
      `${problems.length} problem(s) in what is to be applied; nothing was changed`,
      {
        problems,
      },
    );
  }

  /** Tells about the first of them. */
  async #save(writes: readonly Write[], by: Author): Promise<Saved> {
    const written = await this.#parts.odb.write(writes, by);
    const { kind, name, version, revision, changedAt } = written[0] as Written;
    const live = await this.#written(written);
    const problem = live
      ? this.#parts.reconciler.problem(kind, name)
      : 'this server has not taken it over yet; it goes on trying';
    return {
      kind,
      name,
      version,
      revision,
      changedAt: changedAt.toISOString(),
      live: live && problem === null,
      ...(problem === null ? {} : { problem }),
    };
  }

  /** Tells the others, and waits until this server runs with it. */
  #written(written: readonly Written[]): Promise<boolean> {
    const { bus, reconciler, server } = this.#parts;
    const revision = written.at(-1)?.revision ?? 0;
    bus?.publish({ topic: 'changed', revision, from: server });
    return reconciler.reach(revision, LIVE_MS);
  }

  async #resealed(stored: Stored, body: Stored['body'], by: Author): Promise<void> {
    try {
      await this.#save([this.#parts.drafts.resealed(stored, body)], by);
    } catch (thrown) {
      // A change in the meantime has sealed the record with the current key, or removed it.
      const { kind } = toGantryError(thrown);
      if (kind !== 'conflict' && kind !== 'missing') throw thrown;
    }
  }

  #refuseFixture(kind: string, name: string): void {
    if (!this.#parts.fixtures.has(kind, name)) return;
    throw new GantryError('RECORD_DUPLICATE', `The config file of this server has a ${kind} '${name}'`, {
      hint: 'Change it there, or choose another name.',
    });
  }

  /** Definitions of the config file that refer to a record. */
  #fixturesThatName({ kind, name }: Reference): Reference[] {
    const { fixtures, kinds } = this.#parts;
    return kinds.names().flatMap((own) => {
      const referrers = fixtures.of(own).filter((one) => {
        const references = kinds.get(own).references?.(one) ?? [];
        return references.some((to) => to.kind === kind && to.name === name);
      });
      return referrers.map((one): Reference => ({ kind: own, name: one.name }));
    });
  }

  /** Makes a change through each kind in it that protects its records. */
  #protected<T>(writes: readonly Write[], make: (writes: readonly Write[]) => Promise<T>): Promise<T> {
    let making = make;
    for (const name of new Set(writes.map((write) => write.kind))) {
      const { protect } = this.#parts.kinds.get(name);
      const inner = making;
      if (protect !== undefined) making = (all) => protect(all, inner, this.#siblings(name));
    }
    return making(writes);
  }

  #siblings(kind: string): Siblings {
    const { odb, drafts } = this.#parts;
    return {
      load: async () => (await odb.load([kind])).records,
      again: (stored) => drafts.resealed(stored, stored.body),
    };
  }

  /** A definition with changes; null removes a field. */
  #changed({ kind, name, body }: Stored, changes: Readonly<Record<string, unknown>>): Definition {
    const amended = this.#parts.kinds.get(kind).amend?.(body, changes) ?? { ...body, ...changes };
    return Object.fromEntries(Object.entries({ ...amended, name }).filter(([, value]) => value !== null)) as Definition;
  }

  #portable(): string[] {
    const { kinds } = this.#parts;
    return kinds.names().filter((kind) => kinds.get(kind).portable !== false);
  }

  #refuseUsedByFixtures(kind: string, name: string): void {
    const users = this.#fixturesThatName({ kind, name });
    if (users.length === 0) return;
    throw new GantryError('RECORD_IN_USE', `The ${kind} '${name}' is used by ${told(users)} of the config file`);
  }
}

function view({ kind, name, version, changedAt, changedBy, body }: Stored): RecordView {
  const definition = hide({ name, ...body }) as Definition;
  return { kind, name, version, changedAt: changedAt.toISOString(), changedBy, definition };
}

function stale({ kind, name, version, changedBy, changedAt }: Stored, given: number): GantryError {
  const when = changedAt.toISOString();
  return new GantryError(
    'RECORD_STALE',
    `The ${kind} '${name}' has version ${version}, not ${given}: ${changedBy} changed it at ${when}. Read it again and repeat the change`,
  );
}

function told(records: readonly Reference[]): string {
  return records.map(({ kind, name }) => `${kind} '${name}'`).join(', ');
}

/** Throws RECORD_INVALID where one is there twice, or has no name. */
function index(records: readonly Portable[]): Batch {
  const all = new Map<string, number>();
  const problems: Problem[] = [];
  for (const [i, { kind, definition }] of records.entries()) {
    const key = `${kind}/${definition.name}`;
    const other = all.get(key);
    if (other !== undefined) {
      problems.push({
        path: `/records/${i}`,
        message: `is also at /records/${other}`,
        got: `${kind} '${definition.name}'`,
      });
    }
    all.set(key, i);
  }
  if (problems.length > 0) throw new GantryError('RECORD_INVALID', 'A record is there twice', { problems });
  return { has: (kind, name) => all.has(`${kind}/${name}`) };
}
