import {
  type Call,
  type Definition,
  defineService,
  GantryError,
  isGantryError,
  type Problem,
  type Records,
  type Service,
  type ServiceDeps,
  stepsOf,
  type TObject,
  type TSchema,
  Type,
} from 'gantry/api';
import type { Author, Kind } from 'gantry/ports';

/** What is told of a change of one kind beside what is told of all. */
export interface More {
  /** All optional. */
  readonly fields: TObject['properties'];
  /** Gives them. The change is made: it does not reject. */
  tell(deps: ServiceDeps): (name: string, version: number) => Promise<object>;
}

const NOTHING: More = { fields: {}, tell: () => async () => ({}) };

export const Name = Type.String({ minLength: 1, maxLength: 200 });
export const Version = Type.Integer({ minimum: 1, description: 'The one that the change was made from' });
const Time = Type.String({ format: 'date-time' });

const Saved = Type.Object({
  kind: Type.String(),
  name: Type.String(),
  version: Type.Integer({ description: '0 for a removed one' }),
  revision: Type.Integer({ description: 'The place of the change in the change log' }),
  changedAt: Time,
  live: Type.Boolean({ description: 'Whether this server runs with it already' }),
  problem: Type.Optional(Type.String({ description: 'Why it does not' })),
});
const Reference = Type.Object({ kind: Type.String(), name: Type.String() });
const Named = Type.Object({ name: Name });
/** Secrets are `***`. Open, since a plugin of another version may have written it. */
const Shown = Type.Record(Type.String(), Type.Unknown(), { description: 'As it was created; secrets are ***' });
const Record = Type.Object({
  kind: Type.String(),
  name: Type.String(),
  version: Type.Integer(),
  changedAt: Time,
  changedBy: Type.String(),
  definition: Shown,
});

/** The services that read and change the records of one kind. */
export function kindServices(kind: string, rules: Kind, more: More = NOTHING): Service[] {
  const { schema, description, fields, roles } = rules;
  const output = Type.Object({ ...Saved.properties, ...more.fields }) as typeof Saved;
  const of = (verb: string) => `gantry.${kind}.${verb}`;
  const one = `${description.charAt(0).toLowerCase()}${description.slice(1)}`;
  const services = [
    defineService({
      name: of('create'),
      description: `Creates: ${one}`,
      attributes: { admin: { role: roles.write } },
      // What is not said is not kept: a default may be another one in a later version.
      input: Type.Unsafe<Definition>(withoutDefaults(schema) as TSchema),
      output,
      create: (deps) => {
        const { records, services } = deps;
        const tell = telling(more, deps);
        return async (definition, call) => {
          refuseAdministration(services, definition, call);
          return tell(await using(records).create(kind, definition, author(call)));
        };
      },
    }),
    defineService({
      name: of('get'),
      description: `Reads one: ${one}`,
      attributes: { admin: { role: roles.read } },
      input: Named,
      output: Record,
      create: ({ records }) => {
        return ({ name }) => using(records).get(kind, name);
      },
    }),
    list(kind, rules),
    defineService({
      name: of('update'),
      description: `Changes some fields of one: ${one}`,
      attributes: { admin: { role: roles.write } },
      input: Type.Object({
        name: Name,
        version: Version,
        changes: Type.Record(Type.String(), Type.Unknown(), {
          description: 'Fields of the definition; null takes one away, a secret given as *** stays what it is',
        }),
      }),
      output,
      create: (deps) => {
        const { records, services } = deps;
        const tell = telling(more, deps);
        return async ({ name, version, changes }, call) => {
          if ('name' in changes && changes['name'] !== name) throw renamed();
          const kept = using(records);
          refuseAdministration(services, changes, call);
          if (fields.includes('service')) await refuseAdministered(kept, services, { kind, name, version }, call);
          const saved = await kept.update(kind, name, version, changes, author(call)).catch((thrown: unknown) => {
            throw below('/changes', thrown, (path) => Object.hasOwn(changes, firstOf(path)));
          });
          return tell(saved);
        };
      },
    }),
    defineService({
      name: of('remove'),
      description: `Removes one, unless it is used: ${one}`,
      attributes: { admin: { role: roles.write } },
      input: Type.Object({ name: Name, version: Type.Optional(Version) }),
      output: Saved,
      create: ({ records }) => {
        return ({ name, version }, call) => using(records).remove(kind, name, version, author(call));
      },
    }),
    defineService({
      name: of('usage'),
      description: 'Tells which records refer to one, and keep it from being removed',
      attributes: { admin: { role: roles.read } },
      input: Named,
      output: Type.Object({ usedBy: Type.Array(Reference) }),
      create: ({ records }) => {
        return async ({ name }) => ({ usedBy: [...(await using(records).referrers(kind, name))] });
      },
    }),
  ] as Service[];
  return fields.includes('active') && roles.write === 'developer'
    ? [...services, toggle(kind, fields, more)]
    : services;
}

/** What was saved, and what else there is to tell of it. */
function telling({ tell }: More, deps: ServiceDeps) {
  const rest = tell(deps);
  return async <S extends { readonly name: string; readonly version: number }>(saved: S): Promise<S> => {
    return { ...saved, ...(await rest(saved.name, saved.version)) };
  };
}

function list(kind: string, { roles, fields, schema }: Kind): Service {
  const filters = Object.fromEntries(fields.map((field) => [field, Type.Optional(Type.String())]));
  const sorts = ['name', 'changedAt', ...fields].map((field) => Type.Literal(field));
  return defineService({
    name: `gantry.${kind}.list`,
    description: 'Pages through them: by a part of the name, by fields, in an order',
    attributes: { admin: { role: roles.read } },
    input: Type.Object({
      search: Type.Optional(Type.String({ maxLength: 200, description: 'A part of the name' })),
      filter: Type.Optional(Type.Object(filters, { additionalProperties: false, description: 'Exact values' })),
      sort: Type.Optional(Type.Union(sorts, { default: 'name' })),
      descending: Type.Optional(Type.Boolean({ default: false })),
      after: Type.Optional(Type.String({ description: '`next` of the page before' })),
      limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, default: 50 })),
    }),
    output: Type.Object({
      items: Type.Array(Record),
      next: Type.Union([Type.String(), Type.Null()], { description: 'Null on the last page' }),
      total: Type.Integer(),
      fixtures: Type.Array(Shown, {
        description: "Those of this server's config file, on the first page: they are changed there",
      }),
    }),
    create: ({ records }) => {
      return async (query) => {
        const { search = '', filter = {}, after, limit = 50 } = query;
        const kept = using(records);
        const { items, next, total } = await kept.list(kind, { ...query, limit } as Parameters<Records['list']>[1]);
        const fits = (one: Definition) =>
          one.name.toLowerCase().includes(search.toLowerCase()) &&
          Object.entries(filter).every(([field, value]) => String(one[field] ?? defaultOf(schema, field)) === value);
        const fixtures = after === undefined ? kept.fixtures(kind).filter(fits) : [];
        return { items: [...items], next, total, fixtures };
      };
    },
  }) as Service;
}

/** What an operator may do at night without being a developer. */
function toggle(kind: string, fields: readonly string[], more: More): Service {
  return defineService({
    name: `gantry.${kind}.toggle`,
    description: 'Switches one on or off',
    attributes: { admin: { role: 'operator' } },
    input: Type.Object({ name: Name, version: Version, active: Type.Boolean() }),
    output: Type.Object({ ...Saved.properties, ...more.fields }) as typeof Saved,
    create: (deps) => {
      const { records, services } = deps;
      const tell = telling(more, deps);
      return async ({ name, version, active }, call) => {
        const kept = using(records);
        // Whoever may be here at night may shut a door to the admin API, but not open one.
        const opens = active && fields.includes('service');
        if (opens) await refuseAdministered(kept, services, { kind, name, version }, call);
        return tell(await kept.update(kind, name, version, { active }, author(call)));
      };
    },
  }) as Service;
}

export interface Names {
  find(name: string): Service | null;
}

/** Fields of a definition that name what is run. */
const RUNS = ['service', 'onSuccess', 'onError'];

/**
 * What a channel or a job runs, it runs for everybody who may reach it: who is less than an administrator would be one
 * by a channel that leads to the admin API. Throws FORBIDDEN.
 */
export function refuseAdministration(services: Names, definition: Readonly<Record<string, unknown>>, call: Call): void {
  if (isAdministrator(call)) return;
  const service = RUNS.map((field) => definition[field]).find((name) => isAdministration(services, name));
  if (service === undefined) return;
  throw new GantryError(
    'FORBIDDEN',
    `'${service}' belongs to the admin API: only an administrator may put it elsewhere`,
  );
}

/** One that is not deployed on this server may be so on another; ours are known by their name. */
export function isAdministration(services: Names, service: unknown): boolean {
  if (typeof service !== 'string') return false;
  const found = services.find(service);
  return found === null ? service.startsWith('gantry.') : found.attributes?.['admin'] !== undefined;
}

/**
 * The same for a record that is there. Throws RECORD_STALE where it is not what the change is made from: what it becomes
 * meanwhile is not what was looked at here.
 */
async function refuseAdministered(
  kept: Records,
  services: Names,
  { kind, name, version }: { readonly kind: string; readonly name: string; readonly version: number },
  call: Call,
): Promise<void> {
  if (isAdministrator(call)) return;
  const read = await kept.get(kind, name);
  refuseAdministration(services, read.definition, call);
  if (read.version === version) return;
  const text = `The ${kind} '${name}' has version ${read.version}, not ${version}. Read it again and repeat the change`;
  throw new GantryError('RECORD_STALE', text);
}

export function isAdministrator({ identity }: Call): boolean {
  return identity?.roles.includes('administrator') === true;
}

/** The same error, whose problems are where they stand in the input of the call: a definition is a part of that. */
export function below(at: string, thrown: unknown, there = (_path: string) => true): unknown {
  if (!isGantryError(thrown) || thrown.problems === undefined) return thrown;
  const { code, kind, message, hint, cause } = thrown;
  const problems = thrown.problems.map(
    (one): Problem => (there(one.path) ? { ...one, path: `${at}${one.path}` } : one),
  );
  return new GantryError(code, message, { kind, problems, cause, ...(hint === undefined ? {} : { hint }) });
}

/** The key that a JSON pointer begins with. */
function firstOf(pointer: string): string {
  return stepsOf(pointer)[0] ?? '';
}

/** Throws UNAVAILABLE where no ODB plugin is loaded. */
export function using(records: Records | null): Records {
  if (records !== null) return records;
  throw new GantryError('UNAVAILABLE', 'This server keeps no records', {
    hint: 'Add odb.sequelize and a dialect to "plugins" in the config.',
  });
}

export function author({ identity, cid }: Call): Author {
  return { name: identity?.name ?? 'nobody', cid };
}

function renamed(): GantryError {
  const problems = [
    { path: '/changes/name', message: 'cannot be changed', hint: 'Create another record, and remove this one.' },
  ];
  return new GantryError('RECORD_INVALID', 'A record keeps its name', { problems });
}

function withoutDefaults(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(withoutDefaults);
  if (typeof schema !== 'object' || schema === null) return schema;
  const entries = Object.entries(schema).filter(([key]) => key !== 'default');
  return Object.fromEntries(entries.map(([key, value]) => [key, withoutDefaults(value)]));
}

function defaultOf(schema: TObject, field: string): unknown {
  return (schema.properties[field] as TSchema & { default?: unknown })?.default ?? '';
}
