import {
  type Cluster,
  defineService,
  type Problem,
  type Records,
  type ServerInfo,
  type Service,
  Type,
  toGantryError,
} from '../../core/api.ts';
import type { Balancer, BalancerStatus, Kv } from '../../core/ports/index.ts';
import type { Agent } from './agent.ts';
import { withoutSecrets } from './settings.ts';

interface Parts {
  readonly agent: Agent;
  readonly balancer: Balancer;
  readonly cluster: Cluster;
  readonly records: Records;
  readonly kv: Kv;
  readonly server: ServerInfo;
}

const Time = Type.String({ format: 'date-time' });
const orNull = <T extends Parameters<typeof Type.Union>[0][number]>(type: T) => Type.Union([type, Type.Null()]);
const ProblemSchema = Type.Unsafe<Problem>(
  Type.Object({
    path: Type.String(),
    message: Type.String(),
    expected: Type.Optional(Type.String()),
    got: Type.Optional(Type.String()),
    hint: Type.Optional(Type.String()),
  }),
);
export const Problems = Type.Array(ProblemSchema);

const Server = Type.Object({
  name: Type.String(),
  address: Type.String(),
  state: Type.String({ description: 'What an administrator, or its own leaving, made of it' }),
  up: Type.Boolean({ description: 'Whether it gets calls' }),
  weight: Type.Integer(),
  sessions: Type.Integer({ description: 'Calls in hand' }),
  queued: Type.Integer(),
  calls: Type.Integer(),
  errors: Type.Integer(),
  retries: Type.Integer(),
  check: Type.String({ description: 'What the last check said' }),
});

const AWAY: Omit<BalancerStatus, 'servers'> & { servers: [] } = {
  ...{ running: false, halted: false, pid: null, version: null, startedAt: null, reloads: 0, crashes: 0 },
  servers: [],
};

/** How the balancer does, and what it works with. */
export function statusServices(parts: Parts): readonly Service[] {
  const { agent, balancer } = parts;
  return [
    defineService({
      name: 'gantry.balancer.status',
      description: 'How the balancer does: its servers, its process, and what the agent made of them last',
      attributes: { admin: { role: 'viewer' } },
      input: Type.Object({}),
      output: Type.Object({
        agent: Type.String(),
        running: Type.Boolean(),
        halted: Type.Boolean({ description: 'Stopped by somebody, and stays so until it is started' }),
        pid: orNull(Type.Integer()),
        version: orNull(Type.String()),
        startedAt: orNull(Time),
        reloads: Type.Integer(),
        crashes: Type.Integer(),
        problem: orNull(Type.String({ description: 'Why the program cannot be asked' })),
        servers: Type.Array(Server),
        settings: orNull(Type.Integer({ description: "The version of the record 'main' in use; null: the config's" })),
        applied: orNull(Type.Object({ at: Time, how: Type.String(), why: Type.Array(Type.String()) })),
        refused: orNull(
          Type.Object(
            { at: Time, message: Type.String(), problems: Problems },
            { description: 'Settings that the program does not take: it goes on with the last good ones' },
          ),
        ),
        failing: orNull(Type.Object({ since: Time, message: Type.String() })),
        store: orNull(Type.String({ description: 'Why nobody can be asked who is there' })),
        database: orNull(Type.String({ description: 'Why the records may be old' })),
      }),
      create: () => () => statusOf(parts),
    }),
    defineService({
      name: 'gantry.balancer.source',
      description: 'The configuration that the program works with, as it is made from the settings and the servers',
      attributes: { admin: { role: 'operator' } },
      input: Type.Object({}),
      output: Type.Object({
        text: Type.String(),
        template: orNull(Type.String({ description: 'What it is made from, where that is not the usual one' })),
      }),
      create: () => async () => {
        const { settings } = agent;
        return {
          text: withoutSecrets(await balancer.source(), settings),
          template: settings.template ?? null,
        };
      },
    }),
  ] as Service[];
}

async function statusOf({ agent, balancer, cluster, records, server }: Parts) {
  let problem: string | null = null;
  const status = await balancer.status().catch((thrown: unknown) => {
    problem = toGantryError(thrown).message;
    return AWAY;
  });
  const { applied, refused, failing, version } = agent.report;
  return {
    ...status,
    agent: server.name,
    problem,
    servers: status.servers.map((one) => ({ ...one })),
    settings: version,
    applied: applied === null ? null : { ...applied, why: [...applied.why] },
    refused: refused === null ? null : { ...refused, problems: refused.problems.map((one) => ({ ...one })) },
    failing,
    store: cluster.problem?.message ?? null,
    database: records.status().problem,
  };
}
