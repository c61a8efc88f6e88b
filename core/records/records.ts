import { setImmediate as turn } from 'node:timers/promises';
import type { Fixtures } from '../config/fixtures.ts';
import { didYouMean, GantryError, type Problem, toGantryError } from '../errors.ts';
import { KINDS } from '../kinds/index.ts';
import type { Bus } from '../ports/bus.ts';
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
import { Administrators } from '../users/administrators.ts';
import { type Batch, type Draft, type Drafts, kindOf } from './drafts.ts';
import type { Reconciler } from './reconcile.ts';
import type {
  Applied,
  ApplyOptions,
  Definition,
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
  readonly drafts: Drafts;
  readonly reconciler: Reconciler;
  readonly fixtures: Fixtures;
  readonly keyring: Keyring;
  readonly server: string;
}

/** How long a change waits for this server to run with it, before it is answered. */
const LIVE_MS = 2000;
/** How long many definitions are checked before calls get their turn again. */
const SLICE_MS = 4;

/** Reads and changes records: the ODB keeps them, the reconciler puts them into effect. */
export class RecordKeeper implements Records {
  readonly #parts: Parts;
  readonly #administrators: Administrators;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#administrators = new Administrators(parts);
  }

  async get(kind: string, name: string): Promise<RecordView> {
    return view(await this.#stored(kind, name));
  }

  async list(kind: string, query: RecordQuery): Promise<Page<RecordView>> {
    kindOf(kind);
    const { items, next, total } = await this.#parts.odb.list(kind, query);
    return { items: items.map(view), next, total };
  }

  fixtures(kind: string): readonly Definition[] {
    return this.#parts.fixtures.of(kind).map((one) => this.#parts.drafts.hidden(kind, one));
  }

  async create(kind: string, definition: Definition, by: Author): Promise<Saved> {
    kindOf(kind);
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
    const draft = await this.#parts.drafts.make(kind, changed(stored, changes), stored);
    return this.#administrators.keep([draft.write], (writes) => this.#save(writes, by));
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
    return this.#administrators.keep([write], (writes) => this.#save(writes, by));
  }

  async referrers(kind: string, name: string): Promise<readonly Reference[]> {
    return [...(await this.#parts.odb.referrers(kind, name)), ...this.#fixturesThatName(kind, name)];
  }

  async export(kinds: readonly string[] = PORTABLE): Promise<readonly Portable[]> {
    for (const kind of kinds) kindOf(kind);
    const { records } = await this.#parts.odb.load(kinds);
    return records.map(({ kind, name, body }) => {
      const portable = Object.entries(body).filter(([key]) => KINDS[kind]?.own?.includes(key) !== true);
      return { kind, definition: { name, ...Object.fromEntries(portable) } };
    });
  }

  async apply(
    records: readonly Portable[],
    by: Author,
    { dryRun = false, prune = [] }: ApplyOptions = {},
  ): Promise<readonly Applied[]> {
    const { odb } = this.#parts;
    const given = index(records);
    const kinds = [...new Set([...records.map(({ kind }) => kind), ...prune])];
    for (const kind of kinds) kindOf(kind);
    const ordered = Object.keys(KINDS).filter((kind) => kinds.includes(kind));
    const { records: present } = await odb.load(ordered);
    const known = new Map(present.map((one) => [`${one.kind}/${one.name}`, one]));
    const drafts = await this.#drafts(records, known, given);
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
    await this.#administrators.keep(writes, async (all) => {
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
    const { odb, keyring } = this.#parts;
    // Another key may have become the current one since it was read.
    keyring.refresh();
    const { records } = await odb.load(Object.keys(KINDS));
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
    const { odb, fixtures } = this.#parts;
    kindOf(kind);
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
    for (const kind of Object.keys(KINDS)) {
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
      // Who changed or removed the record meanwhile has sealed it under the current key.
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

  #fixturesThatName(kind: string, security: string): Reference[] {
    if (kind !== 'security') return [];
    return this.#parts.fixtures
      .of('channel')
      .filter((one) => [one['security']].flat().includes(security))
      .map(({ name }) => ({ kind: 'channel', name }));
  }

  #refuseUsedByFixtures(kind: string, name: string): void {
    const users = this.#fixturesThatName(kind, name);
    if (users.length === 0) return;
    throw new GantryError('RECORD_IN_USE', `The ${kind} '${name}' is used by ${told(users)} of the config file`);
  }
}

/** What changes make of a record: null takes a field away, and a new password takes the place of the hash of the old. */
function changed({ kind, name, body }: Stored, changes: Readonly<Record<string, unknown>>): Definition {
  const kept = kind === 'user' && (changes['password'] ?? null) !== null ? { ...body, passwordHash: null } : body;
  const fields = Object.entries({ ...kept, ...changes, name }).filter(([, value]) => value !== null);
  return Object.fromEntries(fields) as Definition;
}

/** A whole configuration; a server tells about itself. */
const PORTABLE = Object.keys(KINDS).filter((kind) => kind !== 'server');

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
