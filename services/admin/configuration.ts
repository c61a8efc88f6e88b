/** The whole configuration at once: out, in, and its secrets under another key. */
import { type Definition, defineService, defineServices, type Kinds, type Portable, Type } from 'gantry/api';
import { author, using } from './_kind.ts';

/** The schemas of what names a kind, which is one of those that there are. */
function schemasOf(kinds: Kinds) {
  const Kind = Type.Unsafe<string>(Type.Union(kinds.names().map((kind) => Type.Literal(kind))));
  const Entry = Type.Object({
    kind: Kind,
    definition: Type.Unsafe<Definition>(
      Type.Object({ name: Type.String({ minLength: 1 }) }, { additionalProperties: true }),
    ),
  });
  return { Kind, Entry };
}
type Schemas = ReturnType<typeof schemasOf>;

const exporting = ({ Kind, Entry }: Schemas) =>
  defineService({
    name: 'gantry.configuration.export',
    description: 'Every record, secrets sealed: an installation with the same key can read them',
    attributes: { admin: { role: 'administrator' } },
    input: Type.Object({ kinds: Type.Optional(Type.Array(Kind, { minItems: 1, uniqueItems: true })) }),
    output: Type.Object({ records: Type.Array(Entry) }),
    create: ({ records }) => {
      return async ({ kinds }) => ({ records: [...(await using(records).export(kinds))] as Portable[] });
    },
  });

const apply = ({ Kind, Entry }: Schemas) =>
  defineService({
    name: 'gantry.configuration.apply',
    description: 'Creates and updates what differs, all or nothing; what is the same already is left alone',
    attributes: { admin: { role: 'administrator' } },
    timeoutMs: 300_000,
    input: Type.Object({
      records: Type.Array(Entry, { maxItems: 100_000 }),
      dryRun: Type.Optional(Type.Boolean({ default: false, description: 'Only tells what would be done' })),
      prune: Type.Optional(
        Type.Array(Kind, { uniqueItems: true, description: 'Kinds of which everything else is removed' }),
      ),
    }),
    output: Type.Object({
      changes: Type.Array(Type.Object({ kind: Type.String(), name: Type.String(), action: Type.String() })),
      created: Type.Integer(),
      updated: Type.Integer(),
      removed: Type.Integer(),
      unchanged: Type.Integer(),
    }),
    create: ({ records }) => {
      return async ({ records: given, dryRun = false, prune = [] }, call) => {
        const changes = await using(records).apply(given, author(call), { dryRun, prune });
        const count = (action: string) => changes.filter((one) => one.action === action).length;
        return {
          changes: changes.map((one) => ({ ...one })),
          created: count('create'),
          updated: count('update'),
          removed: count('remove'),
          unchanged: count('unchanged'),
        };
      };
    },
  });

const reseal = defineService({
  name: 'gantry.configuration.reseal',
  description: 'Seals every secret anew that is not under the current key, so that older keys can be taken away',
  attributes: { admin: { role: 'administrator' } },
  timeoutMs: 300_000,
  input: Type.Object({}),
  output: Type.Object({ changed: Type.Integer({ description: 'How many records had such a secret' }) }),
  create: ({ records }) => {
    return async (_input, call) => ({ changed: await using(records).reseal(author(call)) });
  },
});

const listing = defineService({
  name: 'gantry.configuration.kinds',
  description: 'Every kind of record: what it is, its fields, and by which of them lists are filtered',
  attributes: { admin: { role: 'viewer' } },
  input: Type.Object({}),
  output: Type.Object({
    kinds: Type.Array(
      Type.Object({
        name: Type.String(),
        description: Type.String(),
        keys: Type.Array(Type.String(), { description: 'The keys of a definition, in their usual order' }),
        fields: Type.Array(Type.String(), { description: 'The keys by which lists are filtered and sorted' }),
        portable: Type.Boolean({ description: 'Whether its records are exported' }),
      }),
    ),
  }),
  create: ({ kinds }) => {
    const all = kinds.names().map((name) => {
      const { description, schema, fields, portable = true } = kinds.get(name);
      return { name, description, keys: Object.keys(schema.properties), fields: [...fields], portable };
    });
    return () => ({ kinds: all });
  },
});

export default defineServices(({ kinds }) => {
  const schemas = schemasOf(kinds);
  return [exporting(schemas), apply(schemas), reseal, listing];
});
