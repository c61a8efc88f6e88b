/** The servers that work together: who is there, how far each is, who gets calls, and starting them anew. */
import {
  type Call,
  type Cluster,
  defineService,
  didYouMean,
  GantryError,
  isGantryError,
  type KeyValues,
  type Member,
  type Records,
  Type,
  toGantryError,
} from 'gantry/api';
import { Agent, Roll } from 'gantry/parts';
import { author, Name, using } from './_kind.ts';
import { agents, cancelRoll, findRoll, requestRoll } from './_roll.ts';

const Time = Type.String({ format: 'date-time' });
const State = Type.Union([Type.Literal('online'), Type.Literal('draining'), Type.Literal('offline')]);
const Late = Type.Array(Type.Object({ name: Type.String(), revision: Type.Integer() }), {
  description: 'Those that do not run with it, and how far they are',
});
const Server = Type.Object({
  name: Type.String(),
  address: Type.String(),
  tls: Type.Boolean(),
  state: Type.Union([Type.Literal('ready'), Type.Literal('draining')], { description: 'As it says itself' }),
  wanted: Type.Union([State, Type.Null()], { description: 'What an administrator made of it; null: not on record' }),
  weight: Type.Union([Type.Integer(), Type.Null()]),
  version: Type.String({ description: 'Its release' }),
  startedAt: Time,
  supervised: Type.Boolean({ description: 'Whether somebody starts it again when it ends' }),
  revision: Type.Integer({ description: 'The change that it runs with' }),
  behind: Type.Boolean({ description: 'Others run with a later one' }),
  staleSince: Type.Union([Time, Type.Null()], { description: 'Since when it cannot ask the database' }),
  refused: Type.Array(Type.Object({ kind: Type.String(), name: Type.String(), problem: Type.String() })),
  refusedMore: Type.Integer({ description: 'How many more it could not put into effect' }),
});

const status = defineService({
  name: 'gantry.cluster.status',
  description: 'The servers of the cluster, how far each is, and the agents of its balancers',
  attributes: { admin: { role: 'viewer' } },
  input: Type.Object({}),
  output: Type.Object({
    self: Type.Union([Type.String(), Type.Null()], { description: 'Which of them answered; null: none of them' }),
    revision: Type.Integer({ description: 'The latest change that any of them runs with' }),
    servers: Type.Array(Server),
    late: Late,
    absent: Type.Array(Type.String(), { description: 'On record, and not there' }),
    agents: Type.Array(Agent),
    problem: Type.Union([Type.String(), Type.Null()], { description: 'Why no other could be asked; null: all were' }),
  }),
  create: ({ cluster, kv, records }) => {
    return async () => {
      const all = of(cluster);
      let problem: string | null = null;
      const apart =
        <T>(instead: T) =>
        (thrown: unknown): T => {
          problem = toGantryError(thrown).message;
          return instead;
        };
      const members = await all.members().catch(apart(all.self === null ? [] : [all.self]));
      const revision = latest(members, records);
      const present = await agents(stored(kv)).catch(apart([]));
      const known = new Set([...members, ...present].map(({ name }) => name));
      return {
        self: cluster?.self?.name ?? null,
        revision,
        servers: members.map((member) => shown(member, revision, records)),
        late: lateOf(members, revision),
        absent: problem === null ? (records?.names('server') ?? []).filter((name) => !known.has(name)) : [],
        agents: present,
        problem,
      };
    };
  },
});

const wait = defineService({
  name: 'gantry.cluster.wait',
  description: 'Waits until every server that is there runs with a change',
  attributes: { admin: { role: 'viewer' } },
  timeoutMs: 310_000,
  input: Type.Object({
    revision: Type.Optional(
      Type.Integer({ minimum: 0, description: 'Default: the latest that any of them runs with' }),
    ),
    timeoutMs: Type.Optional(Type.Integer({ minimum: 0, maximum: 300_000, default: 10_000 })),
  }),
  output: Type.Object({
    revision: Type.Integer(),
    reached: Type.Array(Type.String(), { description: 'Those that run with it' }),
    late: Late,
  }),
  create: ({ cluster, records }) => {
    return async ({ revision, timeoutMs = 10_000 }) => {
      const all = of(cluster);
      const wanted = revision ?? latest(await all.members(), records);
      const found = await all.reached(wanted, timeoutMs);
      return { revision: wanted, reached: [...found.reached], late: found.late.map((one) => ({ ...one })) };
    };
  },
});

const restart = defineService({
  name: 'gantry.server.restart',
  description: 'Has a server end in order, so that who supervises it starts it again',
  attributes: { admin: { role: 'operator' } },
  input: Type.Object({ name: Name }),
  output: Type.Object({ name: Type.String(), instance: Type.String({ description: 'The one that ends' }) }),
  create: ({ cluster, log }) => {
    return async ({ name }, { identity }) => {
      const all = of(cluster);
      const { instance } = named(await all.members(), name);
      await all.restart(name);
      log.info({ member: name, by: identity?.name }, 'a server was told to restart');
      return { name, instance };
    };
  },
});

const roll = defineService({
  name: 'gantry.cluster.roll',
  description: 'Restarts the servers one after the other, without losing a call; an agent of a balancer does it',
  attributes: { admin: { role: 'operator' } },
  input: Type.Object({
    graceMs: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 3_600_000,
        default: 30_000,
        description: 'How long a server is waited for until it has nothing in hand; then it ends that itself',
      }),
    ),
    only: Type.Optional(Type.Array(Name, { minItems: 1, uniqueItems: true, description: 'Default: all of them' })),
    force: Type.Optional(
      Type.Boolean({ default: false, description: 'Also where nobody else can serve meanwhile: callers get errors' }),
    ),
  }),
  output: Roll,
  create: ({ cluster, kv }) => {
    return async ({ graceMs = 30_000, only, force = false }, call) => {
      const members = await of(cluster).members();
      const chosen = only === undefined ? members : only.map((name) => named(members, name));
      refuseUnfit(chosen, members, force);
      if ((await agents(stored(kv))).length === 0) {
        throw new GantryError('UNAVAILABLE', 'No agent of a balancer is there that would do it', {
          hint: 'Start one: gantry start --config config/balancer.yaml, with the same Redis and cluster token.',
        });
      }
      const ordered = [...chosen].sort((one, other) => (one.name < other.name ? -1 : 1));
      return requestRoll(stored(kv), ordered, { graceMs, force, requestedBy: author(call).name });
    };
  },
});

const rolling = defineService({
  name: 'gantry.cluster.rolling',
  description: 'How far the rolling restart is, or how the last one ended',
  attributes: { admin: { role: 'viewer' } },
  input: Type.Object({}),
  output: Type.Object({ roll: Type.Union([Roll, Type.Null()]) }),
  create:
    ({ kv }) =>
    async () => ({ roll: await findRoll(stored(kv)) }),
});

const cancel = defineService({
  name: 'gantry.cluster.cancelRoll',
  description: 'Ends the rolling restart: the server whose turn it is comes through, and no further one is restarted',
  attributes: { admin: { role: 'operator' } },
  input: Type.Object({}),
  output: Roll,
  create:
    ({ kv }) =>
    () =>
      cancelRoll(stored(kv)),
});

const Changed = Type.Object({
  name: Type.String(),
  state: State,
  weight: Type.Integer(),
  version: Type.Integer({ description: 'Of its record' }),
  revision: Type.Integer({ description: 'The place of the change in the change log' }),
});

/** The desired states of a server, each a verb of its own. */
const states = (
  [
    ['drain', 'draining', 'Gives a server no new calls; it ends what it has'],
    ['offline', 'offline', 'Gives a server nothing at all, checks included'],
    ['online', 'online', 'Gives a server calls again'],
  ] as const
).map(([verb, state, description]) =>
  defineService({
    name: `gantry.server.${verb}`,
    description,
    attributes: { admin: { role: 'operator' } },
    input: Type.Object({ name: Name }),
    output: Changed,
    create:
      ({ records }) =>
      ({ name }, call) =>
        change(using(records), name, { state }, call),
  }),
);

const weigh = defineService({
  name: 'gantry.server.weight',
  description: 'Gives a server a larger or smaller share of the calls',
  attributes: { admin: { role: 'operator' } },
  input: Type.Object({
    name: Name,
    weight: Type.Integer({ minimum: 0, maximum: 256, description: '100 is the share of a usual one' }),
  }),
  output: Changed,
  create:
    ({ records }) =>
    ({ name, weight }, call) =>
      change(using(records), name, { weight }, call),
});

/** Throws CONFLICT where this process is in no cluster: to ask again would not help. */
function of(cluster: Cluster | null): Cluster {
  if (cluster !== null) return cluster;
  throw new GantryError('CONFLICT', 'This server is in no cluster', {
    hint: 'Set GANTRY_CLUSTER_TOKEN, the same for all servers, and load a kv plugin.',
  });
}

function stored(kv: KeyValues | null): KeyValues {
  if (kv !== null) return kv;
  throw new GantryError('CONFLICT', 'This server shares nothing with others', { hint: 'Load a kv plugin.' });
}

/** Throws NOT_FOUND, with the nearest name. */
function named(members: readonly Member[], name: string): Member {
  const found = members.find((one) => one.name === name);
  if (found !== undefined) return found;
  const near = didYouMean(
    name,
    members.map((one) => one.name),
  );
  throw new GantryError('NOT_FOUND', `No server of the cluster is named '${name}'. ${near}`.trim());
}

function refuseUnfit(chosen: readonly Member[], members: readonly Member[], force: boolean): void {
  const alone = chosen.filter(({ supervised }) => !supervised).map(({ name }) => name);
  if (alone.length > 0) {
    throw new GantryError('CONFLICT', `Nobody would start ${alone.join(', ')} again`, {
      hint: 'Run each server under systemd or the launcher, and set GANTRY_SUPERVISED=true there.',
    });
  }
  if (chosen.length === 0) throw new GantryError('CONFLICT', 'There is no server');
  if (members.length > 1 || force) return;
  throw new GantryError('CONFLICT', 'There is one server only: nobody would serve while it restarts', {
    hint: 'With "force" it is restarted all the same.',
  });
}

function latest(members: readonly Member[], records: Records | null): number {
  return Math.max(records?.status().revision ?? 0, ...members.map(({ revision }) => revision));
}

function lateOf(members: readonly Member[], wanted: number) {
  return members.filter((one) => one.revision < wanted).map(({ name, revision }) => ({ name, revision }));
}

function shown(
  { host, port, refused, instance: _, longestMs: __, machine: ___, ...member }: Member,
  newest: number,
  records: Records | null,
) {
  const record = records?.find('server', member.name)?.definition ?? null;
  const { state: wanted = 'online', weight = 100 } = (record ?? {}) as Desired;
  return {
    ...member,
    address: `${host}:${port}`,
    wanted: record === null ? null : wanted,
    weight: record === null ? null : weight,
    behind: member.revision < newest,
    refused: refused.map((one) => ({ ...one })),
  };
}

interface Desired {
  readonly state?: 'online' | 'draining' | 'offline';
  readonly weight?: number;
}

const TRIES = 5;

/** Whoever changes the record at the same time, e.g. the server itself when it starts, changes other fields of it. */
async function change(records: Records, name: string, changes: Desired, call: Call) {
  for (let left = TRIES; ; left--) {
    const { version } = await records.get('server', name);
    try {
      const saved = await records.update('server', name, version, { ...changes }, author(call));
      const { definition } = await records.get('server', name);
      const { state = 'online', weight = 100 } = definition as Desired;
      return { name, state, weight, version: saved.version, revision: saved.revision };
    } catch (thrown) {
      if (!isGantryError(thrown) || thrown.code !== 'RECORD_STALE' || left === 0) throw thrown;
    }
  }
}

export default [status, wait, restart, roll, rolling, cancel, ...states, weigh];
