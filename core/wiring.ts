import path from 'node:path';
import { Channels } from './calls/channels.ts';
import { Connections } from './calls/connections.ts';
import { effectsOn } from './calls/effects.ts';
import { Idempotency } from './calls/idempotency.ts';
import { Securities } from './calls/securities.ts';
import { Services } from './calls/services.ts';
import type { ClusterConfig } from './cluster/cluster.ts';
import { Membership } from './cluster/membership.ts';
import { Fixtures } from './config/fixtures.ts';
import type { Cradle } from './cradle.ts';
import type { Hooks } from './hooks.ts';
import { schedulesOn } from './jobs/schedules.ts';
import { Timetable } from './jobs/timetable.ts';
import type { Logger, Logs } from './log/log.ts';
import { Deployments } from './modules/deployments.ts';
import { type Dictionaries, LiveDictionaries } from './records/dictionaries.ts';
import { Operations } from './records/operations.ts';
import type { Secret } from './schema/secret.ts';
import type { ServerInfo } from './server.ts';
import { raise, type Service } from './service.ts';
import { type KeyValues, keyValues } from './stores/key-values.ts';

export interface WiringOptions {
  readonly logs: Logs;
  readonly name?: string;
  readonly version?: string;
  /** What plugins' own paths are relative to. */
  readonly dir?: string;
  /** Where this process may keep files. */
  readonly data?: string;
  /** What seals secrets in the database. Default: a file in the data folder. */
  readonly secrets?: { readonly keys?: Secret; readonly file?: string };
  /** How often the change log is looked at when nobody tells of a change. Default: 2 s. */
  readonly pollMs?: number;
  /** Kinds of records that are put into effect here; the others are looked up only. Default: all. */
  readonly follows?: readonly string[];
  /** With a token that is not empty: this process is one of a cluster. */
  readonly cluster?: ClusterConfig;
  /** Ends this process in order, so that who supervises it starts it again. */
  readonly onRestart?: () => void;
}

interface Given {
  readonly options: WiringOptions;
  /** What plugins give is there once they are created, which is after this. */
  readonly cradle: Cradle;
  readonly hooks: Hooks;
  readonly log: Logger;
  readonly hasOdb: boolean;
  readonly hasKv: boolean;
  state(): ServerInfo['state'];
}

/** The parts of the core, put together. */
export interface Wired {
  readonly server: ServerInfo;
  readonly services: Services;
  readonly channels: Channels;
  readonly connections: Connections;
  readonly securities: Securities;
  readonly fixtures: Fixtures;
  readonly timetable: Timetable;
  /** Null without an odb plugin. */
  readonly operations: Operations | null;
  /** Null where this process is none of a cluster. */
  readonly membership: Membership | null;
}

/** How late a change is noticed of which nobody tells. */
const POLL_MS = 2000;

export function wire({ options, cradle, hooks, log, hasOdb, hasKv, state }: Given): Wired {
  const { logs, name = 'gantry', version = '0', data = path.resolve('data'), dir = process.cwd() } = options;
  let membership: Membership | null = null;
  const server: ServerInfo = {
    name,
    version,
    data,
    startedAt: new Date(),
    get state() {
      return state();
    },
    behind: () => channels.behind(),
    get unfit() {
      if (state() !== 'ready') return `is ${state()}`;
      return membership?.isBehind === true ? 'cannot get changes that other servers run with' : null;
    },
  };
  const { codecs, guards, transports } = cradle;
  const parts = { hooks, log };
  const late = latecomers(cradle, hasKv, log);
  const securities = new Securities(guards);
  const services = new Services({
    ...parts,
    meter: (service) => (cradle.stats as Cradle['stats'] | null)?.meter(service) ?? null,
    build: (service, own) => service.create(depsOf(service, own)),
    scheduler: () => cradle.scheduler as Cradle['scheduler'] | null,
  });
  const connections = new Connections({ ...parts, transports });
  const channels = new Channels({ ...parts, services, codecs, securities, transports, idempotency: late.idempotency });
  const bound = { channels, connections, securities, log };
  const fixtures = new Fixtures({ ...bound, transports, guards, records: hasOdb });
  const timetable = new Timetable();
  let operations: Operations | null = null;
  let dictionaries: Dictionaries | null = null;
  if (hasOdb) {
    const { secrets = {}, pollMs = POLL_MS, follows = null } = options;
    const deployments = new Deployments({
      services,
      log,
      dir,
      get checker() {
        return cradle.checker as Cradle['checker'] | null;
      },
    });
    const own = { cradle, services, deployments, fixtures, timetable, logs, server, secrets, pollMs, follows };
    operations = new Operations({ ...bound, ...own });
    const { records } = operations;
    dictionaries = new LiveDictionaries(
      (dictionary) => records.find('dictionary', dictionary),
      () => records.names('dictionary'),
    );
  }
  const { cluster } = options;
  if (cluster !== undefined && cluster.token.reveal() !== '' && hasKv) {
    membership = new Membership({
      config: cluster,
      get kv() {
        return cradle.kv;
      },
      server,
      log,
      describe: () => {
        const { revision = 0, staleSince = null, refused = [] } = operations?.records.status() ?? {};
        return { longestMs: channels.longestMs, revision, staleSince, refused };
      },
      urls: () => (cradle.http as Cradle['http'] | null)?.urls() ?? [],
      onRestart: () => options.onRestart?.(),
    });
  }

  function depsOf(service: Service, own: string): Parameters<Service['create']>[0] {
    return {
      log: log.child({ service: own }),
      balancer: cradle.balancer as Cradle['balancer'] | null,
      cluster: membership,
      connections,
      dictionaries,
      effects: hasOdb ? effectsOn(() => cradle.odb, own) : null,
      errors: raise(service.errors),
      kv: late.kv(),
      plugins: { transports, guards },
      records: operations?.records ?? null,
      schedule: operations === null ? null : schedulesOn(operations.records, own),
      scheduler: cradle.scheduler as Cradle['scheduler'] | null,
      server,
      services,
      sessions: operations?.sessions ?? null,
      stats: cradle.stats as Cradle['stats'] | null,
    };
  }

  return { server, services, channels, connections, securities, fixtures, timetable, operations, membership };
}

/** What is made of the kv plugin when it is first asked for. */
function latecomers(cradle: Cradle, hasKv: boolean, log: Logger) {
  let values: KeyValues | null = null;
  let idempotency: Idempotency | null = null;
  return {
    kv: () => (hasKv ? (values ??= keyValues(cradle.kv)) : null),
    idempotency: () => (hasKv ? (idempotency ??= new Idempotency({ kv: cradle.kv, log })) : null),
  };
}
