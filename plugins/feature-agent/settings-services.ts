import {
  type Call,
  defineService,
  GantryError,
  isGantryError,
  type Problem,
  type Records,
  type Saved,
  type Service,
  type TSchema,
  Type,
} from '../../core/api.ts';
import { BalancerSettingsSchema } from '../../core/parts.ts';
import type { Author, Balancer, Change } from '../../core/ports/index.ts';
import { type Agent, BALANCER } from './agent.ts';
import { HIDDEN, laidOver, type Written, withSecrets } from './settings.ts';
import { Problems } from './status.ts';

interface Parts {
  readonly agent: Agent;
  readonly balancer: Balancer;
  readonly records: Records;
}

const { template: Template, ...FIELDS } = BalancerSettingsSchema.properties;
const Settings = Type.Unsafe<Written>(
  asWritten({
    ...BalancerSettingsSchema,
    properties: FIELDS,
    description: 'All of them; what is not there is the default',
  }) as TSchema,
);
const Candidate = {
  settings: Type.Optional(Settings),
  template: Type.Optional(Type.Union([Template as TSchema, Type.Null()], { description: 'null: the usual one again' })),
};
const Version = Type.Integer({ minimum: 1, description: 'The one that the change was made from' });
const Outcome = Type.Object({
  version: Type.Integer(),
  revision: Type.Integer(),
  changedAt: Type.String({ format: 'date-time' }),
});

/** How long a page of the change log may be that is searched for a revision. */
const PAGE = 200;

/** Settings that are checked by the program itself before they are kept, and earlier ones. */
export function settingsServices(parts: Parts): readonly Service[] {
  return [
    defineService({
      name: 'gantry.balancer.check',
      description: 'What the program finds wrong with settings, or with a template; changes nothing',
      attributes: { admin: { role: 'administrator' } },
      input: Type.Object(Candidate),
      output: Type.Object({ problems: Problems }),
      create: () => async (input) => {
        const present = await presentOf(parts.records);
        const problems = await problemsOf(parts, composed(present?.definition ?? {}, input as Input));
        return { problems: problems.map((one) => ({ ...one })) };
      },
    }),
    defineService({
      name: 'gantry.balancer.apply',
      description: 'Checks settings, or a template, by the program, keeps them, and has the balancer work with them',
      attributes: { admin: { role: 'administrator' } },
      input: Type.Object({ ...Candidate, version: Type.Optional(Version) }),
      output: Outcome,
      create: () => async (input, call) => outcomeOf(await apply(parts, input as Input, author(call))),
    }),
    defineService({
      name: 'gantry.balancer.history',
      description: 'Earlier settings, the newest first; secrets are ***',
      attributes: { admin: { role: 'operator' } },
      input: Type.Object({
        after: Type.Optional(Type.String({ description: '`next` of the page before' })),
        limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, default: 50 })),
      }),
      output: Type.Object({
        items: Type.Array(
          Type.Object({
            revision: Type.Integer(),
            version: Type.Integer(),
            action: Type.String(),
            changedAt: Type.String({ format: 'date-time' }),
            changedBy: Type.String(),
            settings: Type.Unknown({ description: 'As they were from then on; null: those of the config' }),
          }),
        ),
        next: Type.Union([Type.String(), Type.Null()]),
        total: Type.Integer(),
      }),
      create: () => {
        return async ({ after, limit = 50 }) => {
          const query = { ...BALANCER, limit, ...(after === undefined ? {} : { after }) };
          const { items, next, total } = await parts.records.history(query);
          return { items: items.map(lineOf), next, total };
        };
      },
    }),
    defineService({
      name: 'gantry.balancer.rollback',
      description:
        'Goes back to the settings of a revision, after the program has checked them; secrets stay as they are',
      attributes: { admin: { role: 'administrator' } },
      input: Type.Object({ revision: Type.Integer({ minimum: 1, description: 'As the history has it' }) }),
      output: Outcome,
      create: () => {
        return async ({ revision }, call) => {
          const earlier = await changeAt(parts.records, revision);
          const { name: _, template = null, ...settings } = (earlier.after ?? {}) as Record<string, unknown>;
          await checkSecrets(parts.records, settings, revision);
          return outcomeOf(await apply(parts, { settings, template: template as string | null }, author(call)));
        };
      },
    }),
  ] as Service[];
}

interface Input {
  readonly settings?: Written;
  readonly template?: string | null;
  readonly version?: number;
}

interface Present {
  readonly version: number;
  readonly definition: Readonly<Record<string, unknown>>;
}

/** What the record would say, its name left out. */
function composed(present: Readonly<Record<string, unknown>>, { settings, template }: Input): Written {
  const { name: _, template: before = null, ...fields } = present;
  const after = template === undefined ? before : template;
  return { ...(settings ?? fields), ...(after === null ? {} : { template: after }) };
}

/** Null where there is none. Rejects with ODB_UNAVAILABLE. */
async function presentOf(records: Records): Promise<Present | null> {
  return records.get(BALANCER.kind, BALANCER.name).catch((thrown: unknown) => {
    if (isGantryError(thrown) && thrown.code === 'RECORD_NOT_FOUND') return null;
    throw thrown;
  });
}

function problemsOf({ agent, balancer, records }: Parts, written: Written): Promise<readonly Problem[]> {
  const live = records.find(BALANCER.kind, BALANCER.name)?.definition ?? {};
  const present = laidOver(agent.configured, live);
  return balancer.check(agent.stateWith(laidOver(agent.configured, withSecrets(written, present))));
}

async function apply(parts: Parts, input: Input, by: Author): Promise<Saved> {
  const { agent, records } = parts;
  if (input.settings === undefined && input.template === undefined) {
    throw new GantryError('INVALID', 'Neither settings nor a template was given');
  }
  const present = await presentOf(records);
  const written = composed(present?.definition ?? {}, input);
  const problems = await problemsOf(parts, written);
  if (problems.length > 0) {
    throw new GantryError('BALANCER_REFUSED', 'The program does not take this; nothing was changed', { problems });
  }
  const saved = await (present === null
    ? records.create(BALANCER.kind, { name: BALANCER.name, ...written }, by)
    : records.update(BALANCER.kind, BALANCER.name, input.version ?? present.version, changes(present, written), by));
  agent.wake();
  return saved;
}

/** From what is there to what is wanted; null takes a field away. */
function changes({ definition }: Present, written: Written): Record<string, unknown> {
  const gone = Object.keys(definition).filter((key) => key !== 'name' && !(key in written));
  return { ...Object.fromEntries(gone.map((key) => [key, null])), ...written };
}

async function changeAt(records: Records, revision: number): Promise<Change> {
  let after: string | undefined;
  do {
    const page = await records.history({ ...BALANCER, limit: PAGE, ...(after === undefined ? {} : { after }) });
    const found = page.items.find((one) => one.revision === revision);
    if (found !== undefined) return found;
    after = page.next ?? undefined;
  } while (after !== undefined);
  throw new GantryError('NOT_FOUND', `No settings of the balancer have the revision ${revision}`, {
    hint: 'gantry.balancer.history lists those that there are.',
  });
}

/** The history has no secrets: where the record has none now either, only the administrator has it. */
async function checkSecrets(records: Records, settings: Written, revision: number): Promise<void> {
  const earlier = settings['stats'] as { readonly password?: unknown } | undefined;
  if (earlier?.password !== HIDDEN) return;
  const present = (await presentOf(records))?.definition['stats'] as typeof earlier;
  if (present?.password !== undefined) return;
  const problem = {
    path: '/stats/password',
    message: `the history does not keep secrets, and the present settings have no password that could stay`,
    expected: 'the password of the page with figures',
    got: HIDDEN,
    hint:
      `Take the settings of revision ${revision} out of "gantry balancer history --json" into a file, write a password ` +
      'in place of ***, and apply that: gantry balancer apply -f FILE.',
  };
  throw new GantryError('BALANCER_REFUSED', `Revision ${revision} has a secret that cannot be had back`, {
    problems: [problem],
  });
}

function lineOf({ revision, version, action, changedAt, changedBy, after }: Change) {
  return { revision, version, action, changedAt: changedAt.toISOString(), changedBy, settings: after ?? null };
}

function outcomeOf({ version, revision, changedAt }: Saved) {
  return { version, revision, changedAt };
}

function author({ identity, cid }: Call): Author {
  return { name: identity?.name ?? 'nobody', cid };
}

/** What is not said is not kept: a default may be another one in a later version. A secret may be ***: the record checks it. */
function asWritten(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(asWritten);
  if (typeof schema !== 'object' || schema === null) return schema;
  const left = (schema as { secret?: boolean }).secret === true ? ['default', 'minLength'] : ['default'];
  const entries = Object.entries(schema).filter(([key]) => !left.includes(key));
  return Object.fromEntries(entries.map(([key, value]) => [key, asWritten(value)]));
}
