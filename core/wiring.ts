import { Channels } from './calls/channels.ts';
import { Connections } from './calls/connections.ts';
import { effectsOn } from './calls/effects.ts';
import { Idempotency } from './calls/idempotency.ts';
import { Securities } from './calls/securities.ts';
import { Services } from './calls/services.ts';
import type { ClusterConfig } from './cluster/cluster.ts';
import { Membership } from './cluster/membership.ts';
import { Fixtures } from './config/fixtures.ts';
import type { Cradle, ServiceDeps } from './cradle.ts';
import type { Hooks } from './hooks.ts';
import { schedulesOn } from './jobs/schedules.ts';
import { Timetable } from './jobs/timetable.ts';
import type { Part } from './kernel/part.ts';
import { ownKinds } from './kinds/index.ts';
import type { Loader } from './loading/loader.ts';
import type { Logger } from './log/log.ts';
import { Deployments } from './modules/deployments.ts';
import { type Dictionaries, LiveDictionaries } from './records/dictionaries.ts';
import { Drafts } from './records/drafts.ts';
import { Kinds } from './records/kinds.ts';
import { Operations, reconcilerOf } from './records/operations.ts';
import type { Reconciler } from './records/reconcile.ts';
import { RecordKeeper } from './records/records.ts';
import type { Secret } from './schema/secret.ts';
import { keyringOf } from './secrets/installation.ts';
import type { Keyring } from './secrets/keyring.ts';
import type { OwnServer } from './server.ts';
import { type ErrorTable, raise } from './service.ts';
import { type KeyValues, keyValues } from './stores/key-values.ts';
import { SignedSessions } from './users/sessions.ts';

/** What exists before any part is made. */
export interface Given {
  readonly hooks: Hooks;
  readonly log: Logger;
  readonly loader: Loader;
  readonly server: OwnServer;
  /** The folder that operators' paths are relative to. */
  readonly dir: string;
  /** The keys that seal secrets in the database. Default: a file in the data folder. */
  readonly secrets: { readonly keys?: Secret; readonly file?: string };
  readonly records: { readonly pollMs: number; readonly follows: readonly string[] | null };
  /** Ends this process in an orderly way, so that its supervisor starts it again. */
  readonly onRestart: () => void;
}

/** Everything in the container: what plugins may ask for, and what only the core uses. */
export interface Everything extends Omit<Cradle, 'server'> {
  /** What the process was given. */
  given: Given;
  /** Present if this process is a member of a cluster. */
  membershipConfig: ClusterConfig;
  server: OwnServer;
  cluster: Membership;
  records: RecordKeeper;
  sessions: SignedSessions;
  keyring: () => Keyring;
  idempotency: Idempotency;
  deployments: Deployments;
  fixtures: Fixtures;
  recordKinds: Kinds;
  drafts: Drafts;
  reconciler: Reconciler;
  operations: Operations;
  dictionaries: Dictionaries;
  keyValues: KeyValues;
}

/** Tokens that are null if no plugin provides them, or if something that they need is missing. */
type Optional =
  | ('http' | 'stats' | 'dialect' | 'odb' | 'bus' | 'kv' | 'checker' | 'scheduler' | 'balancer' | 'passwords')
  | ('cluster' | 'records' | 'sessions' | 'idempotency' | 'reconciler' | 'operations' | 'dictionaries' | 'keyValues');
/** The container after everything was made. */
export type Wired = Omit<Everything, Optional> & { readonly [T in Optional]: Everything[T] | null };

interface Wish<N extends keyof Everything, W extends keyof Everything, R> extends Pick<Part, 'hint'> {
  readonly needs?: readonly N[];
  readonly wants?: readonly W[];
  create(given: Pick<Everything, N> & { [T in W]: Everything[T] | null }): R;
}

/** Gives a part its types; returns it unchanged. */
function part<R, const N extends keyof Everything = never, const W extends keyof Everything = never>(
  wish: Wish<N, W, R>,
): Wish<N, W, R> {
  return wish;
}

/**
 * The parts of the core, each made once. A part that needs a port exists only if a plugin provides that port, and is
 * made after that plugin.
 */
export const PARTS = {
  keyring: part({
    needs: ['given', 'server'],
    create: ({ given: { secrets, log }, server }) => keyringOf({ secrets, server, log }),
  }),
  securities: part({ needs: ['guards'], create: ({ guards }) => new Securities(guards) }),
  services: part({
    needs: ['given'],
    wants: ['stats'],
    create: ({ given: { hooks, log }, stats }) => new Services({ hooks, log, stats }),
  }),
  connections: part({
    needs: ['given', 'transports'],
    create: ({ given: { hooks, log }, transports }) => new Connections({ hooks, log, transports }),
  }),
  idempotency: part({
    needs: ['given', 'kv'],
    create: ({ given: { log }, kv }) => new Idempotency({ kv, log }),
  }),
  keyValues: part({ needs: ['kv'], create: ({ kv }) => keyValues(kv) }),
  channels: part({
    needs: ['given', 'server', 'services', 'codecs', 'securities', 'transports'],
    wants: ['idempotency'],
    create({ given: { hooks, log }, server, ...parts }) {
      const channels = new Channels({ hooks, log, ...parts });
      server.behind = () => channels.behind();
      return channels;
    },
  }),
  fixtures: part({
    needs: ['given', 'channels', 'connections', 'securities', 'transports', 'guards'],
    wants: ['odb'],
    create: ({ given: { log }, odb, ...parts }) => new Fixtures({ ...parts, log, hasRecords: odb !== null }),
  }),
  timetable: part({ create: () => new Timetable() }),
  deployments: part({
    needs: ['given', 'services'],
    wants: ['checker'],
    create: ({ given: { log, dir, loader }, services, checker }) =>
      new Deployments({ services, checker, log, dir, loader }),
  }),
  recordKinds: part({
    needs: [
      ...(['channels', 'connections', 'securities', 'services', 'deployments', 'timetable'] as const),
      ...(['transports', 'guards', 'logs', 'kinds'] as const),
    ],
    wants: ['passwords'],
    create: ({ kinds, ...parts }) => new Kinds(ownKinds(parts), kinds),
  }),
  drafts: part({
    needs: ['recordKinds', 'fixtures', 'keyring'],
    create: ({ recordKinds: kinds, fixtures, keyring }) => new Drafts({ kinds, fixtures, keyring }),
  }),
  reconciler: part({
    needs: ['given', 'server', 'odb', 'recordKinds', 'fixtures', 'keyring'],
    wants: ['bus'],
    create: ({ given: { log, records }, recordKinds: kinds, ...parts }) =>
      reconcilerOf({ ...parts, ...records, kinds, log }),
  }),
  records: part({
    needs: ['server', 'odb', 'recordKinds', 'drafts', 'reconciler', 'fixtures', 'keyring'],
    wants: ['bus'],
    create: ({ server, recordKinds: kinds, ...parts }) => new RecordKeeper({ ...parts, kinds, server: server.name }),
  }),
  operations: part({
    needs: ['given', 'odb', 'reconciler', 'keyring'],
    create: ({ given: { log }, ...parts }) => new Operations({ ...parts, log }),
  }),
  sessions: part({
    needs: ['records', 'keyring'],
    create: ({ records, keyring }) => new SignedSessions(keyring, (user) => records.find('user', user)),
  }),
  dictionaries: part({
    needs: ['records'],
    create: ({ records }) =>
      new LiveDictionaries(
        (dictionary) => records.find('dictionary', dictionary),
        () => records.names('dictionary'),
      ),
  }),
  cluster: part({
    needs: ['membershipConfig', 'given', 'kv', 'server', 'channels'],
    wants: ['records', 'http'],
    hint: 'Give "cluster" in the config a token (GANTRY_CLUSTER_TOKEN), and add a plugin kv.<name>',
    create({ membershipConfig: config, given: { log, onRestart }, kv, server, channels, records, http }) {
      const membership = new Membership({
        ...{ config, kv, server, log, onRestart },
        describe() {
          const { revision = 0, staleSince = null, refused = [] } = records?.status() ?? {};
          return { longestMs: channels.longestMs, revision, staleSince, refused };
        },
        urls: () => http?.urls() ?? [],
      });
      server.doubt = () => (membership.isBehind ? 'cannot get changes that other servers run with' : null);
      return membership;
    },
  }),
} as const;

/** What a service's create() is given. It is called after everything was made. */
export function depsOf(all: Wired, name: string, errors: ErrorTable = {}): ServiceDeps {
  const { odb, records, transports, guards } = all;
  return {
    log: all.given.log.child({ service: name }),
    balancer: all.balancer,
    cluster: all.cluster,
    connections: all.connections,
    dictionaries: all.dictionaries,
    effects: odb === null ? null : effectsOn(odb, name),
    errors: raise(errors),
    kinds: all.recordKinds,
    kv: all.keyValues,
    plugins: { transports, guards },
    records,
    schedule: records === null ? null : schedulesOn(records, name),
    scheduler: all.scheduler,
    server: all.server,
    services: all.services,
    sessions: all.sessions,
    stats: all.stats,
  };
}
