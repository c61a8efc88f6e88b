/** Modules: services that every server runs, put there while it runs. Whoever may do that has all that a server may do. */
import {
  type Cluster,
  defineService,
  GantryError,
  type Member,
  type Records,
  type Static,
  Type,
  toGantryError,
} from 'gantry/api';
import type { Change } from 'gantry/ports';
import { author, below, Name, using } from './_kind.ts';

const Language = Type.Union([Type.Literal('typescript'), Type.Literal('javascript')]);
const Unasked = Type.Optional(
  Type.String({ description: 'Why the other servers could not be asked; left out if they were' }),
);
const Deployed = Type.Object({
  name: Type.String(),
  version: Type.Integer({ description: 'Counts up with each change' }),
  revision: Type.Integer(),
  changed: Type.Boolean({ description: 'False: it was so already' }),
  services: Type.Array(Type.String(), { description: 'What it holds' }),
  live: Type.Boolean({ description: 'Whether this server runs it' }),
  problem: Type.Optional(Type.String()),
  reached: Type.Array(Type.String(), { description: 'Servers that run it; without a cluster none is named' }),
  late: Type.Array(
    Type.Object({ name: Type.String(), revision: Type.Integer(), problem: Type.Optional(Type.String()) }),
    {
      description: 'Servers that do not run it yet, refused it, or do not tell',
    },
  ),
  unasked: Unasked,
});

/** How long others are waited for. */
const REACH_MS = 2000;

const upload = defineService({
  name: 'gantry.module.upload',
  description: 'Checks a module and deploys it on every server, in place of the one of its name',
  attributes: { admin: { role: 'administrator' } },
  input: Type.Object({
    file: Type.String({
      pattern: '^[A-Za-z0-9][A-Za-z0-9._-]*\\.[jt]s$',
      maxLength: 103,
      description: 'E.g. orders.ts',
    }),
    source: Type.String({ minLength: 1, maxLength: 200_000 }),
    allowTypeErrors: Type.Optional(Type.Boolean({ default: false })),
  }),
  output: Deployed,
  create: ({ records, cluster }) => {
    return async ({ file, source, allowTypeErrors = false }, call) => {
      const kept = using(records);
      const name = file.replace(/\.[jt]s$/, '');
      const language: 'typescript' | 'javascript' = file.endsWith('.ts') ? 'typescript' : 'javascript';
      const known = await find(kept, name);
      const own = { language, source, active: true, ...(allowTypeErrors ? { allowTypeErrors } : {}) };
      const at = (pointer: string) => pointer.startsWith('/source');
      try {
        if (known === null)
          return await told(kept, cluster, await kept.create('module', { name, ...own }, author(call)));
        if (isSame(known.definition, own)) return await unchanged(kept, cluster, known);
        const changes = { ...own, allowTypeErrors: allowTypeErrors || null };
        return await told(kept, cluster, await kept.update('module', name, known.version, changes, author(call)));
      } catch (thrown) {
        throw below('', thrown, at);
      }
    };
  },
});

const Version = Type.Object({
  version: Type.Integer(),
  revision: Type.Integer(),
  changedAt: Type.String({ format: 'date-time' }),
  changedBy: Type.String(),
  language: Language,
  bytes: Type.Integer(),
  services: Type.Array(Type.String()),
  active: Type.Boolean(),
});

const history = defineService({
  name: 'gantry.module.history',
  description: 'Every version that a module had, newest first',
  attributes: { admin: { role: 'viewer' } },
  input: Type.Object({
    name: Name,
    after: Type.Optional(Type.String({ description: '`next` of the page before' })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, default: 50 })),
  }),
  output: Type.Object({
    items: Type.Array(Version),
    next: Type.Union([Type.String(), Type.Null()]),
    total: Type.Integer(),
  }),
  create: ({ records }) => {
    return async ({ name, after, limit = 50 }) => {
      const query = { kind: 'module', name, limit, ...(after === undefined ? {} : { after }) };
      const { items, next, total } = await using(records).history(query);
      return { items: items.filter(({ action }) => action !== 'remove').map(about), next, total };
    };
  },
});

const rollback = defineService({
  name: 'gantry.module.rollback',
  description:
    'Deploys an earlier version of a module again, also of one that is not active; it becomes the newest one',
  attributes: { admin: { role: 'administrator' } },
  input: Type.Object({ name: Name, version: Type.Integer({ minimum: 1, description: 'Of gantry.module.history' }) }),
  output: Deployed,
  create: ({ records, cluster }) => {
    return async ({ name, version }, call) => {
      const kept = using(records);
      const wanted = await versionOf(kept, name, version);
      const { name: _name, services: _services, ...rest } = wanted;
      const own = { ...rest, active: true };
      const known = await find(kept, name);
      if (known === null) {
        return told(kept, cluster, await kept.create('module', { name, ...own }, author(call)));
      }
      if (isSame(known.definition, own)) return unchanged(kept, cluster, known);
      const changes = { allowTypeErrors: null, ...own };
      return told(kept, cluster, await kept.update('module', name, known.version, changes, author(call)));
    };
  },
});

const STATES =
  'late: it runs without the last change. off: the module is not active. unknown: it refused more than it tells';
const State = Type.Union(
  [Type.Literal('live'), Type.Literal('late'), Type.Literal('refused'), Type.Literal('off'), Type.Literal('unknown')],
  { description: STATES },
);

const status = defineService({
  name: 'gantry.module.status',
  description: 'Which server runs which version of each module, as the servers themselves say',
  attributes: { admin: { role: 'viewer' } },
  input: Type.Object({ name: Type.Optional(Name) }),
  output: Type.Object({
    modules: Type.Array(
      Type.Object({
        name: Type.String(),
        version: Type.Integer(),
        services: Type.Array(Type.String()),
        active: Type.Boolean(),
        servers: Type.Array(
          Type.Object({
            name: Type.String(),
            state: State,
            problem: Type.Optional(Type.String()),
          }),
        ),
      }),
    ),
    unasked: Unasked,
  }),
  create: ({ records, cluster, server }) => {
    return async ({ name }) => {
      const kept = using(records);
      const names = name === undefined ? await namesOf(kept) : [name];
      const { all, ...rest } = await standings(cluster, kept, server.name);
      const modules = await Promise.all(
        names.map(async (one) => {
          const { definition, version, revision } = await get(kept, one);
          const active = definition['active'] !== false;
          const servers = all.map((of) => ({ name: of.name, ...standingOf(of, one, revision, active) }));
          return { name: one, version, services: servicesOf(definition), active, servers };
        }),
      );
      return { modules, ...rest };
    };
  },
});

interface Kept {
  readonly definition: Readonly<Record<string, unknown>>;
  readonly version: number;
  /** Of its last change. */
  readonly revision: number;
}

async function get(records: Records, name: string): Promise<Kept> {
  const { definition, version } = await records.get('module', name);
  const { items } = await records.history({ kind: 'module', name, limit: 1 });
  return { definition, version, revision: items[0]?.revision ?? 0 };
}

async function find(records: Records, name: string): Promise<Kept | null> {
  try {
    return await get(records, name);
  } catch (thrown) {
    if ((thrown as { code?: string }).code === 'RECORD_NOT_FOUND') return null;
    throw thrown;
  }
}

async function namesOf(records: Records): Promise<string[]> {
  const names: string[] = [];
  for (let after: string | undefined; ; ) {
    const page = await records.list('module', { limit: 1000, ...(after === undefined ? {} : { after }) });
    names.push(...page.items.map(({ name }) => name));
    if (page.next === null) return names;
    after = page.next;
  }
}

/** What of a version a rollback needs. Its number may have come twice, where the module was removed and made again: the latest counts. */
async function versionOf(records: Records, name: string, version: number) {
  for (let after: string | undefined; ; ) {
    const query = { kind: 'module', name, limit: 100, ...(after === undefined ? {} : { after }) };
    const { items, next } = await records.history(query);
    const found = items.find((one) => one.version === version && one.action !== 'remove');
    if (found !== undefined) return found.after as Readonly<Record<string, unknown>>;
    if (next === null) throw new GantryError('NOT_FOUND', `The module '${name}' has had no version ${version}`);
    after = next;
  }
}

function about({ version, revision, changedAt, changedBy, after }: Change) {
  const { language, source = '', services, active } = (after ?? {}) as Readonly<Record<string, unknown>>;
  return {
    version,
    revision,
    changedAt: changedAt.toISOString(),
    changedBy,
    language: language === 'javascript' ? ('javascript' as const) : ('typescript' as const),
    bytes: Buffer.byteLength(String(source)),
    services: Array.isArray(services) ? services.map(String) : [],
    active: active !== false,
  };
}

function isSame(kept: Readonly<Record<string, unknown>>, own: Readonly<Record<string, unknown>>): boolean {
  const fields = ['language', 'source', 'allowTypeErrors'];
  return kept['active'] !== false && fields.every((field) => (kept[field] ?? false) === (own[field] ?? false));
}

function servicesOf(definition: Readonly<Record<string, unknown>>): string[] {
  return ((definition['services'] ?? []) as readonly unknown[]).map(String);
}

interface Done {
  readonly name: string;
  readonly version: number;
  readonly revision: number;
  readonly live: boolean;
  readonly problem?: string;
}

/** What came of it, here and on the others. */
async function told(records: Records, cluster: Cluster | null, saved: Done) {
  const elsewhere = await spread(cluster, saved.name, saved.revision);
  return { ...saved, changed: true, services: await holds(records, saved.name), ...elsewhere };
}

/** Nothing was changed; whether this server runs it is another question, asked once the others had their time. */
async function unchanged(records: Records, cluster: Cluster | null, { version, revision, definition }: Kept) {
  const name = String(definition['name']);
  const elsewhere = await spread(cluster, name, revision);
  const { revision: reached, source, refused } = records.status();
  const isReached = source === 'database' && reached >= revision;
  const problem = isReached ? problemOf(refused, name) : 'this server has not taken it over yet; it goes on trying';
  const own = { name, version, revision, live: problem === undefined, ...(problem === undefined ? {} : { problem }) };
  return { ...own, changed: false, services: servicesOf(definition), ...elsewhere };
}

async function holds(records: Records, name: string): Promise<string[]> {
  return servicesOf(records.find('module', name)?.definition ?? (await get(records, name)).definition);
}

/** Who runs it by now, and who does not. */
async function spread(cluster: Cluster | null, name: string, revision: number) {
  if (cluster === null) return { reached: [], late: [] };
  try {
    await cluster.reached(revision, REACH_MS);
    const all = (await cluster.members()).map((one) => ({ one, ...standingOf(one, name, revision, true) }));
    return {
      reached: all.filter(({ state }) => state === 'live').map(({ one }) => one.name),
      late: all
        .filter(({ state }) => state !== 'live')
        .map(({ one, problem }) => {
          return { name: one.name, revision: one.revision, ...(problem === undefined ? {} : { problem }) };
        }),
    };
  } catch (thrown) {
    // The change itself is made.
    return { reached: [], late: [], unasked: toGantryError(thrown).message };
  }
}

type Standing = Pick<Member, 'name' | 'revision' | 'refused' | 'refusedMore'>;

/** What a server says of itself comes to this. */
function standingOf(of: Standing, name: string, revision: number, active: boolean): Stand {
  if (of.revision < revision) return { state: 'late' };
  const problem = problemOf(of.refused, name);
  if (problem !== undefined) return { state: 'refused', problem };
  if (!active) return { state: 'off' };
  if (of.refusedMore === 0) return { state: 'live' };
  return { state: 'unknown', problem: `it refused ${of.refusedMore} records more than it names, maybe this one` };
}
interface Stand {
  readonly state: Static<typeof State>;
  readonly problem?: string;
}

function problemOf(refused: Standing['refused'], name: string): string | undefined {
  return refused.find((one) => one.kind === 'module' && one.name === name)?.problem;
}

/** The servers as they say themselves, by name. A process that is given no calls, as an agent, is none of them. */
async function standings(cluster: Cluster | null, records: Records, name: string) {
  const { revision, refused } = records.status();
  const isServer = cluster === null || cluster.self !== null;
  const own: readonly Standing[] = isServer ? [{ name, revision, refused, refusedMore: 0 }] : [];
  if (cluster === null) return { all: own };
  try {
    const others = (await cluster.members()).filter((one) => !isServer || one.name !== name);
    return { all: [...others, ...own].sort((one, other) => (one.name < other.name ? -1 : 1)) };
  } catch (thrown) {
    return { all: own, unasked: toGantryError(thrown).message };
  }
}

export default [upload, history, rollback, status];
