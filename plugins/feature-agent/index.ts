/** The load balancer's agent: makes the balancer follow the cluster, restarts servers one by one, and has an API. */
import {
  definePlugin,
  GantryError,
  type Problem,
  type Secret,
  SecretText,
  type TSchema,
  Type,
} from '../../core/api.ts';
import { BalancerSettingsSchema } from '../../core/parts.ts';
import { Agent } from './agent.ts';
import { commands } from './commands.ts';
import { Presence } from './presence.ts';
import { Rolls } from './roll.ts';
import { RollRunner } from './roll-runner.ts';
import { plainSettings, type Written } from './settings.ts';
import { settingsServices } from './settings-services.ts';
import { statusServices } from './status.ts';

/** A config that takes the password from the environment has none where that has none. */
const { stats } = BalancerSettingsSchema.properties as Readonly<Record<string, TSchema & { properties?: object }>>;
const password = SecretText({ minLength: 0, description: 'Empty: there is no such page' });
const Settings = Type.Unsafe<Written & { readonly stats?: { readonly password: Secret } }>({
  ...BalancerSettingsSchema,
  properties: {
    ...BalancerSettingsSchema.properties,
    stats: { ...stats, properties: { ...stats?.properties, password } },
  },
  default: {},
  description: "What holds where the record 'main' of kind balancer says nothing",
});
/** As BalancerSettingsSchema has it for the record. */
const SHORTEST = 8;

export default definePlugin({
  id: 'feature.agent',
  api: 1,
  config: Type.Object(
    {
      settings: Settings,
      followMs: Type.Integer({
        default: 250,
        minimum: 20,
        maximum: 60_000,
        description: 'How often it looks who is there and what is wanted',
      }),
      forgetMs: Type.Integer({
        default: 10_000,
        minimum: 500,
        maximum: 3_600_000,
        description:
          "How long a server stays known that is not among the cluster's any more, counted from when the store has been answering; more than the lease of servers",
      }),
      restartMs: Type.Integer({
        default: 120_000,
        minimum: 1000,
        maximum: 3_600_000,
        description: 'Of a rolling restart: how long one server may take to end, come back, or get calls',
      }),
    },
    { additionalProperties: false },
  ),
  needs: ['balancer', 'records', 'kv', 'server', 'services'],
  wants: ['cluster'],
  create({ id, config, log, balancer, records, kv, server, services, cluster }) {
    if (cluster === null) throw alone(id);
    refuseShort(id, config.settings.stats?.password);
    const stopping = new AbortController();
    const rolls = new Rolls(kv);
    const presence = new Presence(kv, server);
    const { followMs, forgetMs, restartMs } = config;
    const runner = new RollRunner({
      ...{ kv, rolls, cluster, balancer, log, agent: server.name },
      ...{ stepMs: restartMs, lookMs: followMs },
    });
    const agent = new Agent({
      ...{ balancer, cluster, records, rolls, presence, log, followMs, forgetMs, data: server.data },
      settings: plainSettings(config.settings),
      onRoll: () => runner.start(stopping.signal),
    });
    const parts = { agent, balancer, cluster, records, kv, server };
    let running: Promise<void> | null = null;

    return {
      async start() {
        // Not before all plugins are created: feature.admin puts them on its API when it hears of them.
        for (const one of [...statusServices(parts), ...settingsServices(parts), ...commands(parts)]) {
          services.deploy(one);
        }
        running = agent.run(stopping.signal);
      },
      async stop() {
        stopping.abort(new Error('the agent stops'));
        await running;
        await runner.settle();
        if (running !== null) await presence.leave();
      },
    };
  },
});

function refuseShort(id: string, password: Secret | undefined): void {
  const { length } = password?.reveal() ?? '';
  if (length === 0 || length >= SHORTEST) return;
  const problem: Problem = {
    path: `plugins.${id}.settings.stats.password`,
    message: `must have at least ${SHORTEST} characters`,
    expected: `at least ${SHORTEST} characters, or none for no page`,
    got: 'a secret',
    plugin: id,
    hint: 'Set GANTRY_STATS_PASSWORD to a longer text.',
  };
  throw new GantryError('CONFIG_INVALID', 'The page with figures could be read by guessing', { problems: [problem] });
}

function alone(id: string): GantryError {
  return new GantryError('CONFIG_INVALID', 'The agent follows a cluster, and this process is in none', {
    problems: [
      {
        path: 'cluster.token',
        message: 'must be there',
        expected: 'the token that the servers of the cluster have',
        plugin: id,
        hint: 'Set GANTRY_CLUSTER_TOKEN to it, and load a kv plugin.',
      },
    ],
  });
}
